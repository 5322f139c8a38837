"""The one table of what is trained: which protocol, networks, seeds and settings."""

from typing import NamedTuple

from experiments.tasks import TASKS, TaskSettings
from experiments.utterances import TranscriberSettings
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

# Tasks that measure memory: each of these models at each lag of each task, with these seeds.
MEMORY_MODELS = (("SimpleRNN", ""), ("LSTM", "0"), ("LSTM", "1"), ("LSTM", "log T"), ("GRU", ""))
MEMORY_SEEDS = (1, 2, 3, 4, 5)

# Networks that write down utterances: under which name, what each is taught, with which changes.
SYMBOL_RUNS = (
    ("per_speaker", "frames", {}),
    ("per_speaker", "ctc", {}),
    ("per_speaker", "attention", {}),
    ("standard", "ctc", {"scaling": "standard"}),
    ("faded", "ctc", {"fade": 3}),
)
SYMBOL_SEEDS = (1, 2, 3, 4, 5)


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


def planned_memory_runs():
    """Return the settings of every run on a task, seed by seed.

    Returns
    -------
    list of TaskSettings
    """
    return [
        TaskSettings(name, cell, bias, lag, seed)
        for seed in MEMORY_SEEDS
        for name, task in TASKS.items()
        for lag in task.lags
        for cell, bias in MEMORY_MODELS
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
