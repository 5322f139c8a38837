"""The one table of what is trained: which protocol, networks, seeds and settings."""

from typing import NamedTuple

import numpy as np

from experiments.tasks import LEARNING_RATES, STARTS, TASKS, TRACKING, TaskSettings
from experiments.utterances import TranscriberSettings
from experiments.writing import WritingSettings
from helpers.models import ARCHITECTURES, CELLS, SCANS
from helpers.training import PROTOCOLS, RunSettings

FOLDS = 5


class Row(NamedTuple):
    """Runs that differ only in their network and their seed.

    Attributes
    ----------
    protocol : str
        The name under which they are recorded and compared.
    dataset : str
    networks : dict
        ``{layer: numbers of architectures}``.
    seeds : int
        How many: seeds 0, 1, … With folds, a seed is a fold.
    settings : dict
        All that :class:`helpers.training.RunSettings` holds beside these.
    """

    protocol: str
    dataset: str
    networks: dict
    seeds: int
    settings: dict


STROKES, SPEECH = ARCHITECTURES
REPORTS = dict.fromkeys(CELLS, (1, 2, 3, 4, 5))
VALIDATED_STROKES, VALIDATED_SPEECH = PROTOCOLS["validated"].values()
# What is distorted anew in every epoch takes longer to learn, and to overfit.
DISTORTED_STROKES = VALIDATED_STROKES | {"augment": True}
DISTORTED_SPEECH = VALIDATED_SPEECH | {"augment": True, "max_epochs": 20, "patience": 20}

# One setting of the validated protocol changed at a time, on networks that the report ranks high
# and low.
TRIED = {STROKES: {"SimpleRNN": (1,), "LSTM": (4,)}, SPEECH: {"SimpleRNN": (4,), "LSTM": (1,)}}
BY_LENGTH = {"batches": "by_length"}
PARTS = {
    "by_length_full": {"batches": "by_length_full"},
    "shuffled_handfuls": {"batches": "shuffled_handfuls"},
}
CHANGES = {
    "by_length": BY_LENGTH,
    "unclipped": {"clip": 0.0},
    "constant_rate": {"decay": False},
    "report_rule": {"validation": 0.0},
    "unmasked": {"masked": False},
}
CHANGED = {
    STROKES: CHANGES
    | {
        "global_max": {"scaling": "global_max"},
        "per_file": {"scaling": "per_file"},
        "double_batch": {"batch_size": 64},
        "backwards": {"backwards": True},
    },
    SPEECH: CHANGES
    | {
        "unscaled": {"scaling": "none"},
        "all_speakers": {"scaling": "standard"},
        "double_batch": {"batch_size": 128},
    },
}

# Candidates beside the report's networks: other layers, distorted copies, class weights. Fixed
# before any test score of theirs was looked at; choice is by the predictions out of folds.
OTHERS = {
    "beyond": {
        STROKES: {"LSTM": (6, 7, 8), "GRU": (8,), "Conv1D": (7,), "Transformer": (7,)},
        SPEECH: {"LSTM": (6, 7, 8), "GRU": (8,), "Conv1D": (9,), "Transformer": (9,)},
    },
    "augmented": {
        STROKES: {"LSTM": (8,)},
        SPEECH: {"LSTM": (8,), "GRU": (8,), "Conv1D": (9,)},
    },
    "weighted": {SPEECH: {"LSTM": (8,)}},
}
OTHER_SETTINGS = {
    "beyond": {STROKES: VALIDATED_STROKES, SPEECH: VALIDATED_SPEECH},
    "augmented": {STROKES: DISTORTED_STROKES, SPEECH: DISTORTED_SPEECH},
    "weighted": {SPEECH: VALIDATED_SPEECH | {"class_weights": True}},
}

PLAN = (
    Row("validated", STROKES, REPORTS, 10, VALIDATED_STROKES),
    Row("validated", SPEECH, REPORTS, 10, VALIDATED_SPEECH),
    Row("report", STROKES, REPORTS, 5, PROTOCOLS["report"][STROKES]),
    Row("report", SPEECH, REPORTS, 5, PROTOCOLS["report"][SPEECH]),
    # What the short cut of length buckets did under the report's protocol, and which part of it.
    Row("report_by_length", STROKES, REPORTS, 5, BY_LENGTH | PROTOCOLS["report"][STROKES]),
    Row("report_by_length", SPEECH, REPORTS, 5, BY_LENGTH | PROTOCOLS["report"][SPEECH]),
    *(
        Row(f"report_{part}", STROKES, TRIED[STROKES], 5, PROTOCOLS["report"][STROKES] | batches)
        for part, batches in PARTS.items()
    ),
    *(
        Row(change, dataset, TRIED[dataset], 10, PROTOCOLS["validated"][dataset] | setting)
        for dataset, changes in CHANGED.items()
        for change, setting in changes.items()
    ),
    # Folds of the training split: strokes by file, segments by file and by speaker.
    Row("folds", STROKES, REPORTS, FOLDS, VALIDATED_STROKES | {"split": "by_file"}),
    Row("known_speakers", SPEECH, REPORTS, FOLDS, VALIDATED_SPEECH | {"split": "by_file"}),
    Row("new_speakers", SPEECH, REPORTS, FOLDS, VALIDATED_SPEECH | {"split": "by_speaker"}),
    *(
        Row(f"{protocol}{suffix}", dataset, networks, 5, OTHER_SETTINGS[protocol][dataset] | split)
        for protocol, each in OTHERS.items()
        for dataset, networks in each.items()
        for suffix, split in (("_folds", {"split": "by_file"}), ("", {}))
    ),
    # Recurrences whose gates read the input alone, in place of a cell of the report.
    Row("linear", STROKES, dict.fromkeys(SCANS, (4,)), 5, VALIDATED_STROKES),
    Row("linear", SPEECH, dict.fromkeys(SCANS, (1,)), 5, VALIDATED_SPEECH),
)

# Tasks that measure memory: every start at each width and lag of each task. Pilot runs with a seed
# of their own, at the two middle lags, choose a learning rate for each start, task and width.
MEMORY_UNITS = (32, 64)
MEMORY_SEEDS = (1, 2, 3, 4, 5)
PILOT_SEED = 0

# Recurrences whose gates read the input alone beside those whose gates see the state: on each of
# the memory tasks at one lag, and where a state is to be tracked. What copies, at a longer lag too.
SEEING = ("SimpleRNN", "LSTM, bias 1", "GRU")
NOT_SEEING = SCANS
SCAN_PLAN = (
    ("adding", 100, (*SEEING, *NOT_SEEING, "MinGRU, bias 0")),
    ("copy", 20, (*SEEING, *NOT_SEEING, "MinGRU, bias 0")),
    ("counting", 40, SEEING + NOT_SEEING),
    *((game, 20, (*SEEING, *NOT_SEEING, "MinGRU, signed")) for game in TRACKING),
    ("copy", 160, ("LRU",)),
)

# Networks that write down utterances: under which name, what each is taught, with which changes.
SYMBOL_RUNS = (
    ("per_speaker", "frames", {}),
    ("per_speaker", "ctc", {}),
    ("per_speaker", "attention", {}),
    ("standard", "ctc", {"scaling": "standard"}),
    ("faded", "ctc", {"fade": 3}),
)
SYMBOL_SEEDS = (1, 2, 3, 4, 5)

# Networks that write: what each changes of the defaults of WritingSettings, with these seeds.
WRITING = {
    "mixture": {},
    "one Gaussian": {"components": 1},
    "squared error": {"components": 0},
    "on the lattice": {"dequantised": False},
    "no class": {"conditioned": False},
    "squared error, no class": {"components": 0, "conditioned": False},
}
WRITING_SEEDS = (1, 2, 3, 4, 5)


def planned_runs(protocols=None):
    """Return the settings of every run, seed by seed: all networks with one seed come first.

    Parameters
    ----------
    protocols : collection of str, optional
        All if not given.

    Returns
    -------
    list of RunSettings
    """
    rows = [row for row in PLAN if protocols is None or row.protocol in protocols]
    return [
        RunSettings(row.dataset, layer, number, seed, row.protocol, **row.settings)
        for seed in range(max(row.seeds for row in PLAN))
        for row in rows
        if seed < row.seeds
        for layer, numbers in row.networks.items()
        for number in numbers
    ]


def planned_memory_pilots(units):
    """Return the settings of the runs that choose the learning rates of one width.

    Parameters
    ----------
    units : int

    Returns
    -------
    list of TaskSettings
    """
    return [
        TaskSettings(name, model, units, lag, PILOT_SEED, rate, pilot=True)
        for name, task in TASKS.items()
        for lag in task.lags[1:3]
        for model in STARTS
        for rate in LEARNING_RATES
    ]


def chosen_rates(tables):
    """Choose a learning rate for each start on each task at each width, from pilot runs.

    The one with the lowest error on the way: the logarithm of the error, averaged over the updates
    of a pilot and over the lags. A run that has solved its task stays where it is, and below
    *solved* nothing is gained. A rate at which the states overflow is out.

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        As :func:`helpers.runs.load_tables` returns them.

    Returns
    -------
    dict
        ``{(task, model, units): learning rate}``.
    """
    tasks = TASKS | TRACKING
    pilots = tables["runs"].query("pilot").set_index("run")
    curves = tables["curves"].query("run in @pilots.index")
    curves = curves.pivot(index="run", columns="update", values="error").ffill(axis=1)
    curves = curves.reindex(pilots.index)
    least = pilots["task"].map({name: task.solved for name, task in tasks.items()})
    scores = np.log(curves.clip(lower=least, axis=0)).mean(axis=1)
    pilots["score"] = scores.where(pilots["ended"] != "overflow", np.inf)
    choice = ["task", "model", "units"]
    mean = pilots.groupby([*choice, "learning_rate"])["score"].mean().unstack()
    return mean.idxmin(axis=1).to_dict()


def planned_memory_runs(units, rates):
    """Return the settings of every run of the trial with one width, seed by seed.

    Parameters
    ----------
    units : int
    rates : dict
        Of :func:`chosen_rates`.

    Returns
    -------
    list of TaskSettings
    """
    return [
        TaskSettings(name, model, units, lag, seed, rates[name, model, units])
        for seed in MEMORY_SEEDS
        for name, task in TASKS.items()
        for lag in task.lags
        for model in STARTS
    ]


def planned_scan_pilots():
    """Return the settings of the runs that choose learning rates, at the first lag of a task.

    Returns
    -------
    list of TaskSettings
    """
    return [
        TaskSettings(task, model, MEMORY_UNITS[0], lag, PILOT_SEED, rate, pilot=True)
        for task, lag, models in SCAN_PLAN[:-1]
        for model in models
        for rate in LEARNING_RATES
    ]


def planned_scan_runs(rates):
    """Return the settings of every run of linear recurrences on tasks, seed by seed.

    Parameters
    ----------
    rates : dict
        Of :func:`chosen_rates`.

    Returns
    -------
    list of TaskSettings
    """
    units = MEMORY_UNITS[0]
    return [
        TaskSettings(task, model, units, lag, seed, rates[task, model, units])
        for seed in MEMORY_SEEDS
        for task, lag, models in SCAN_PLAN
        for model in models
    ]


def planned_symbol_runs():
    """Return the settings of every run on utterances, seed by seed.

    Returns
    -------
    list of TranscriberSettings
    """
    return [
        TranscriberSettings(kind, seed, protocol, **changes)
        for seed in SYMBOL_SEEDS
        for protocol, kind, changes in SYMBOL_RUNS
    ]


def planned_writing_runs():
    """Return the settings of every run of a network that writes, seed by seed.

    Returns
    -------
    list of WritingSettings
    """
    return [
        WritingSettings(variant, seed, **changes)
        for seed in WRITING_SEEDS
        for variant, changes in WRITING.items()
    ]
