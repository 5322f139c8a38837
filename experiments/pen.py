"""Networks that read a stroke while it is being written: how they were chosen, and their weights.

    python -m experiments.pen [--data …]

makes the runs that are missing in ``data/results/pen.csv``, then trains once more what they chose,
for the page on which a reader writes: ``data/results/pen.json``. Only the second step opens the
test split.
"""

import argparse
import base64
import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from experiments import store
from experiments.sweep import is_recorded, make
from helpers import layers
from helpers.data import DATA, load_handwriting
from helpers.models import CELLS, Architecture, build
from helpers.padding import (
    PADDING_VALUE,
    distance_travelled,
    padded_batches,
    read_along,
    resample_by_arc_length,
)  # fmt: skip
from helpers.runs import PEN_FILES, RESULTS, load_tables
from helpers.training import predict, split_validation

ONE_LAYER = Architecture(0, (32,), (0.0,))
VALUE = PADDING_VALUE["handwriting"]
COPIES, SHORTEST, EPOCHS, BATCH, VALIDATION = 6, 0.3, 25, 64, 0.15
SEEDS = range(5)
REPLAYED = 4  # test strokes of each class of the sample
SHARES = ("share_25", "share_50", "share_75", "share_100")  # their mean is what chooses


# --- Readings: from a stroke to the steps of a network, without a look ahead ------------------


def size_of(strokes):
    """Return how large strokes are: the median of their longest sides."""
    return float(np.median([np.ptp(x, axis=0).max() for x in strokes]))


def read_points(x, size, spacing=0.0):
    """Return positions as the tablet reports them, in units of the size; shape (T, 2)."""
    return (x / size).astype(np.float32)


def read_differences(x, size, spacing=0.05):
    """Return steps between reported positions, in units of the spacing; shape (T, 2)."""
    return (np.diff(x, axis=0, prepend=x[:1]) / (spacing * size)).astype(np.float32)


READINGS = {"points": read_points, "differences": read_differences, "along": read_along}


# --- What is done to strokes ------------------------------------------------------------------


def cut(x, share):
    """Return the beginning of a stroke, a share of its path, at least two points."""
    travelled = distance_travelled(x)
    return x[: max(2, np.searchsorted(travelled, share * travelled[-1], side="right"))]


def transform(x, matrix):
    """Turn, stretch or slant a stroke (T, 2) about the point where the pen came down."""
    return ((x - x[0]) @ np.asarray(matrix) + x[0]).astype(np.float32)


def sample_often(x, times=4):
    """Report the pen several times as often, on straight lines between the points of a stroke."""
    index = np.arange(len(x))
    at = np.linspace(0, len(x) - 1, times * (len(x) - 1) + 1)
    return np.stack([np.interp(at, index, axis) for axis in x.T], axis=1)


def distorted_copies(sequences, rng, whole):
    """Return copies of strokes to train on, each distorted at random, and their labels.

    Parameters
    ----------
    sequences : Sequences
    rng : numpy.random.Generator
    whole : bool
        Or (False) each copy ends somewhere between 30 and 100 % of its path.

    Returns
    -------
    x : list of arrays, each of shape (T_i, 2)
    y : array of int
    """
    x = []
    for stroke in (stroke for stroke in sequences.x for _ in range(COPIES)):
        size = np.exp(rng.uniform(-0.7, 0.7))  # half to twice
        share = rng.uniform(SHORTEST, 1)  # drawn for whole copies too: the same distortions
        copy = transform(stroke, size * (np.eye(2) + rng.normal(0, 0.15, (2, 2))))
        x.append(copy if whole else cut(copy, share))
    return x, np.repeat(sequences.y, COPIES)


SLANT = np.tan(np.radians(30))
TRIALS = {
    "share_25": lambda x: cut(x, 0.25),
    "share_50": lambda x: cut(x, 0.50),
    "share_75": lambda x: cut(x, 0.75),
    "share_100": lambda x: x,
    "half_points": lambda x: x[::2],
    "four_times_points": sample_often,
    "half_size": lambda x: transform(x, [[0.5, 0], [0, 0.5]]),
    "double_size": lambda x: transform(x, [[2, 0], [0, 2]]),
    "slant_left": lambda x: transform(x, [[1, 0], [-SLANT, 1]]),
    "slant_right": lambda x: transform(x, [[1, 0], [SLANT, 1]]),
}


# --- One run ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PenSettings:
    """What decides a run.

    Attributes
    ----------
    layer : str
        ``SimpleRNN``, ``LSTM`` or ``GRU``; one layer of 32 units.
    reading : str
        A key of :data:`READINGS`.
    copies : str
        What is trained on: ``cut`` or ``whole`` copies.
    spacing : float
        Of the reading along the path, as a share of a stroke's size.
    learning_rate : float
        Of Adam, in the first epoch; it falls to 0 along half a cosine.
    seed : int
        Decides the split, the copies, the initial weights and the order of batches.
    """

    layer: str
    reading: str
    copies: str
    spacing: float
    learning_rate: float
    seed: int

    @property
    def name(self):
        """The name of the run in tables."""
        return "-".join(str(value) for value in dataclasses.astuple(self))

    def reader(self, size):
        """Return the function that reads a stroke."""
        return lambda x: READINGS[self.reading](x, size, self.spacing)


def planned_runs():
    """Return the settings of every run, seed by seed.

    Each reading with cut and with whole copies; of the one along the path two other spacings, and
    a lower learning rate.
    """
    kinds = [(reading, copies, 0.05, 1e-2) for reading in READINGS for copies in ("cut", "whole")]
    kinds += [("along", "cut", 0.03, 1e-2), ("along", "cut", 0.1, 1e-2)]
    kinds += [("along", "cut", 0.05, 3e-3)]
    return [PenSettings(cell, *kind, seed) for seed in SEEDS for kind in kinds for cell in CELLS]


def train(dataset, settings):
    """Train one network.

    Returns
    -------
    model : keras.Model
    first : list of arrays
        Its weights before training.
    read : callable
        From a stroke to what the network reads.
    validation : Sequences
        What was held out.
    """
    strokes, validation = split_validation(dataset.train, VALIDATION, settings.seed)
    read = settings.reader(size_of(dataset.train.x))
    x, y = distorted_copies(
        strokes, np.random.default_rng(settings.seed), settings.copies == "whole"
    )
    x = list(map(read, x))
    keras.utils.set_random_seed(settings.seed)
    batches = padded_batches(x, BATCH, VALUE, y, shuffle_seed=settings.seed)
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, EPOCHS * len(batches))
    model = build(
        settings.layer, ONE_LAYER, x[0].shape[1], len(dataset.classes), VALUE,
        learning_rate=rate, clip=1.0, recurrent=layers,
    )  # fmt: skip
    first = model.get_weights()
    model.fit(batches, epochs=EPOCHS, shuffle=False, verbose=0)
    return model, first, read, validation


def try_out(model, read, sequences):
    """Return the accuracy of a network in each of :data:`TRIALS`, by name."""

    def accuracy(change):
        probabilities = predict(model, [read(change(x)) for x in sequences.x], VALUE)
        return float(np.mean(probabilities.argmax(axis=1) == sequences.y))

    return {name: accuracy(change) for name, change in TRIALS.items()}


def _run(dataset, settings):
    started = time.process_time()
    model, _, read, validation = train(dataset, settings)
    accuracy = try_out(model, read, validation)
    keras.backend.clear_session()
    row = {
        "run": settings.name,
        **dataclasses.asdict(settings),
        "data": dataset.digest,
        "origin": dataset.origin,
        "keras": keras.__version__,
        "seconds": round(time.process_time() - started, 1),
    }
    return {"runs": pd.DataFrame([row | accuracy])}


def make_runs(dataset, folder, processes=2):
    """Make the runs that are not recorded yet; return all of them.

    Raises
    ------
    ValueError
        If the folder holds runs on other data, which these would replace.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    store.export(PEN_FILES, folder)  # what an interrupted sweep left
    runs = load_tables(PEN_FILES, folder)["runs"]
    if len(runs) and set(runs["data"]) != {dataset.digest}:
        raise ValueError(
            f"{folder}: found runs on data {', '.join(set(runs['data']))}; expected "
            f"{dataset.digest}, the data given: keep runs on other data in another folder"
        )
    missing = [s for s in planned_runs() if not is_recorded(s, dataset.digest, runs)]
    make(_run, [(dataset, s) for s in missing], PEN_FILES, folder, processes)
    return load_tables(PEN_FILES, folder)["runs"]


# --- The networks of the page -----------------------------------------------------------------


def choose(runs):
    """Return the settings of the network of each kind of layer that validation chooses.

    All read along the path, cut copies, at the one spacing that is best for the three together;
    each has its own learning rate, and of the seeds the one that does best on what it held out.

    Parameters
    ----------
    runs : pandas.DataFrame

    Returns
    -------
    dict
        ``{layer: PenSettings}``.
    """
    runs = runs[(runs["reading"] == "along") & (runs["copies"] == "cut")]
    runs = runs.assign(score=runs[list(SHARES)].mean(axis=1))
    means = runs.groupby(["spacing", "layer", "learning_rate"])["score"].mean()
    spacing = means.groupby(["spacing", "layer"]).max().groupby("spacing").mean().idxmax()
    chosen = {}
    for cell in CELLS:
        rate = means[spacing, cell].idxmax()
        same = (runs["spacing"] == spacing) & (runs["layer"] == cell)
        same = runs[same & (runs["learning_rate"] == rate)]
        best = same.loc[same["score"].idxmax()]
        chosen[cell] = PenSettings(cell, "along", "cut", spacing, rate, int(best["seed"]))
    return chosen


def packed(weights):
    """Write arrays as text: 16-bit floats, one after the other, in base 64."""
    flat = np.concatenate([w.ravel() for w in weights]).astype("<f2")
    return base64.b64encode(flat.tobytes()).decode()


def flat(points):
    """Write points as whole numbers x, y, x, y, …, in thousandths."""
    return np.round(1000 * np.asarray(points)).astype(int).ravel().tolist()


def networks(dataset, sample, chosen):
    """Train what was chosen, round its weights to 16 bits, and test it.

    Parameters
    ----------
    dataset, sample : SequenceDataset
        What is learned from, and the sample that ships.
    chosen : dict
        As from :func:`choose`.

    Returns
    -------
    dict
        By layer, for JSON: ``settings``, accuracies on ``test`` and on that of the ``sample``,
        ``shapes`` of the weights, and these, ``trained`` and at ``first``.
    """
    made = {}
    for cell, settings in chosen.items():
        model, first, read, _ = train(dataset, settings)
        trained = [w.astype(np.float16).astype(np.float32) for w in model.get_weights()]
        model.set_weights(trained)
        made[cell] = {
            "settings": dataclasses.asdict(settings),
            "test": try_out(model, read, dataset.test),
            "sample": try_out(model, read, sample.test),
            "shapes": [w.shape for w in trained],
            "trained": packed(trained),
            "first": packed(first),
        }
    return made


def drawn_strokes(sample, size):
    """Return strokes to trace, the mean of each class in train, and to replay, test strokes.

    Parameters
    ----------
    sample : SequenceDataset
    size : float
        That of the strokes which the networks know.

    Returns
    -------
    guides : dict
        ``{class: x, y, x, y, …}``, in thousandths of ``size`` from the middle of their box.
    strokes : list of dict
        ``label``, ``file`` and ``points``, likewise.
    """

    def placed(x):
        return (x - (x.min(axis=0) + x.max(axis=0)) / 2) / size

    guides, strokes = {}, []
    for label, name in enumerate(sample.classes):
        of_class = [sample.train.x[k] for k in np.flatnonzero(sample.train.y == label)]
        drawn = [resample_by_arc_length(placed(x), 64) for x in of_class]
        guides[name] = flat(np.mean(drawn, axis=0))
        for k in np.flatnonzero(sample.test.y == label)[:REPLAYED]:
            stroke = {"label": name, "file": sample.test.files[k]}
            strokes.append(stroke | {"points": flat(placed(sample.test.x[k]))})
    return guides, strokes


def main(arguments=None):
    """Parse the command line, make what is missing, and write the page's data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a folder or zip with handwriting")
    parser.add_argument("--out", default=RESULTS, help="where tables and weights are kept")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    dataset, sample = load_handwriting(given.data), load_handwriting(DATA / "sample")
    dataset.summary()
    try:
        runs = make_runs(dataset, given.out, given.processes)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    chosen, size = choose(runs), size_of(dataset.train.x)
    guides, strokes = drawn_strokes(sample, size)
    page = {
        "classes": dataset.classes,
        "units": ONE_LAYER.units[0],
        "size": size,
        "spacing": chosen["LSTM"].spacing,
        "networks": networks(dataset, sample, chosen),
        "guides": guides,
        "strokes": strokes,
    }
    text = json.dumps(page, separators=(",", ":"), ensure_ascii=False)
    (Path(given.out) / "pen.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
