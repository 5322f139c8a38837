"""The one table of what is trained: which protocol, networks, seeds and settings."""

from typing import NamedTuple

import numpy as np

from experiments.tasks import LEARNING_RATES, STARTS, TASKS, TaskSettings
from helpers.models import ARCHITECTURES, CELLS
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
DISTORTED_SPEECH = VALIDATED_SPEECH | {"augment": True, "max_epochs": 20, "patience": 20}

PLAN = (
    Row("validated", STROKES, REPORTS, 10, VALIDATED_STROKES),
    Row("validated", SPEECH, REPORTS, 10, VALIDATED_SPEECH),
    Row("report", STROKES, REPORTS, 5, PROTOCOLS["report"][STROKES]),
    Row("report", SPEECH, REPORTS, 5, PROTOCOLS["report"][SPEECH]),
    Row("known_speakers", SPEECH, REPORTS, FOLDS, VALIDATED_SPEECH | {"split": "by_file"}),
    Row("new_speakers", SPEECH, REPORTS, FOLDS, VALIDATED_SPEECH | {"split": "by_speaker"}),
    # Other networks, distorted copies, class weights. What validation chose has ten seeds.
    Row("beyond", STROKES, {"LSTM": (6,)}, 10, VALIDATED_STROKES),
    Row(
        "beyond",
        STROKES,
        {"LSTM": (7, 8), "GRU": (8,), "Conv1D": (7,), "Transformer": (7,)},
        5,
        VALIDATED_STROKES,
    ),
    Row(
        "beyond",
        SPEECH,
        {"LSTM": (6, 7, 8), "GRU": (8,), "Conv1D": (9,), "Transformer": (9,)},
        5,
        VALIDATED_SPEECH,
    ),
    Row(
        "augmented",
        STROKES,
        {"LSTM": (8,), "Conv1D": (7,)},
        5,
        VALIDATED_STROKES | {"augment": True},
    ),
    Row("augmented", SPEECH, {"LSTM": (10,)}, 10, DISTORTED_SPEECH),
    Row(
        "augmented",
        SPEECH,
        {"LSTM": (8,), "GRU": (8,), "Conv1D": (9, 11)},
        5,
        DISTORTED_SPEECH,
    ),
    Row("weighted", SPEECH, {"LSTM": (8,)}, 5, VALIDATED_SPEECH | {"class_weights": True}),
    # What validation chose, among the report's LSTMs and among all, on all training files.
    Row("refitted", STROKES, {"LSTM": (3, 6)}, 10, VALIDATED_STROKES | {"refit": True}),
    Row("refitted", SPEECH, {"LSTM": (1,)}, 10, VALIDATED_SPEECH | {"refit": True}),
    Row("augmented_refitted", SPEECH, {"LSTM": (10,)}, 10, DISTORTED_SPEECH | {"refit": True}),
)

# The tables that ship were still made in length buckets. Runs in shuffled batches will replace
# them; until then the plan says what was done.
PLAN = tuple(row._replace(settings=row.settings | {"batches": "by_length"}) for row in PLAN)

# Tasks that measure memory: every start at each width and lag of each task. Pilot runs with a seed
# of their own, at the two middle lags, choose a learning rate for each start, task and width.
MEMORY_UNITS = (32, 64)
MEMORY_SEEDS = (1, 2, 3, 4, 5)
PILOT_SEED = 0


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
    pilots = tables["runs"].query("pilot").set_index("run")
    curves = tables["curves"].query("run in @pilots.index")
    curves = curves.pivot(index="run", columns="update", values="error").ffill(axis=1)
    curves = curves.reindex(pilots.index)
    least = pilots["task"].map({name: task.solved for name, task in TASKS.items()})
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
