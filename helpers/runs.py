"""Read the recorded runs, and set them beside the report's numbers."""

import base64
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t, ttest_1samp
from sklearn.metrics import confusion_matrix

from helpers.cells import CELLS as NUMPY_CELLS
from helpers.cells import Network
from helpers.data import DATA
from helpers.models import CELLS

RESULTS = DATA / "results"
# The last table of each kind has one row a run.
RUN_FILES = {"curves": "curves.csv.bz2", "predictions": "predictions.csv.bz2", "runs": "runs.csv"}
SYMBOL_FILES = {
    "curves": "symbol_curves.csv.bz2",
    "transcripts": "symbol_transcripts.csv.bz2",
    "runs": "symbol_runs.csv",
}
MEMORY_FILES = {"curves": "memory_curves.csv.bz2", "runs": "memory_runs.csv"}
SCAN_FILES = {"curves": "scan_curves.csv.bz2", "runs": "scan_runs.csv"}
WRITING_FILES = {
    "curves": "writing_curves.csv.bz2",
    "scores": "writing_scores.csv",
    "runs": "writing_runs.csv",
}
PEN_FILES = {"runs": "pen.csv"}
# Columns that may look like numbers and are none.
TEXT = dict.fromkeys(("symbols", "greedy", "beam", "voted", "ends", "peaks", "speaker"), str)


def load_tables(files, folder=RESULTS):
    """Read the tables of recorded runs.

    Parameters
    ----------
    files : dict
        :data:`RUN_FILES` (the two data sets), :data:`MEMORY_FILES` (tasks that measure memory),
        :data:`SCAN_FILES` (the same and others, by linear recurrences), :data:`WRITING_FILES`
        (networks that write) or :data:`SYMBOL_FILES` (utterances).
    folder : str or Path

    Returns
    -------
    dict of pandas.DataFrame
        ``runs`` (one row a run), ``curves`` (one row a judgement), of the data sets
        ``predictions`` (one row a sample of the validation and the test split), of networks that
        write ``scores`` (one row a pen) and of utterances ``transcripts`` (one row each), all with
        a column ``run`` and sorted by it. Empty where nothing is recorded. A run counts once its
        row is in ``runs``.
    """
    tables = {}
    for name, file in files.items():
        path = Path(folder) / file
        tables[name] = pd.read_csv(path, dtype=TEXT) if path.exists() else pd.DataFrame({"run": []})
    known = tables["runs"]["run"]
    return {
        name: table[table["run"].isin(known)].sort_values("run", kind="stable", ignore_index=True)
        for name, table in tables.items()
    }


def recorded(dataset, protocol="validated", layers=CELLS):
    """Return the recorded runs of one data set and protocol, with their curves and predictions.

    Sorted by layer, in the order asked for, architecture and seed.

    Parameters
    ----------
    dataset : str
        ``handwriting`` or ``cv_segments``.
    protocol : str
    layers : sequence of str
        Some of :data:`helpers.models.LAYERS`.

    Returns
    -------
    runs, curves, predictions : pandas.DataFrame
        As :func:`load_tables` describes them; ``curves`` and ``predictions`` also carry ``layer``,
        ``architecture`` and ``seed``.

    Raises
    ------
    ValueError
        If no such run is recorded.
    """
    tables = load_tables(RUN_FILES)
    runs = tables["runs"]
    if len(runs):
        runs = runs.query("dataset == @dataset and protocol == @protocol and layer in @layers")
    if not len(runs):
        raise ValueError(f"found no {protocol} runs of {dataset}; expected some: make results")
    place = {layer: k for k, layer in enumerate(layers)}
    runs = runs.sort_values(
        ["layer", "architecture", "seed"],
        key=lambda column: column.map(place) if column.name == "layer" else column,
        ignore_index=True,
    )
    keys = runs[["run", "layer", "architecture", "seed"]]
    return runs, keys.merge(tables["curves"], on="run"), keys.merge(tables["predictions"], on="run")


def recorded_transcripts(folder=RESULTS):
    """Return the recorded runs on utterances, with their curves and what they wrote.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    runs, curves, transcripts : pandas.DataFrame
        As :func:`load_tables` describes them. The last two also carry ``protocol``, ``kind``
        and ``seed``. Symbols are text, one sign each; ``ends`` and ``peaks`` are arrays of frames.

    Raises
    ------
    ValueError
        If no such run is recorded.
    """
    tables = load_tables(SYMBOL_FILES, folder)
    if not len(tables["runs"]):
        raise ValueError("found no runs on utterances; expected some: make symbols")
    keys = tables["runs"][["run", "protocol", "kind", "seed"]]
    curves, transcripts = (keys.merge(tables[name], on="run") for name in ("curves", "transcripts"))
    text = ["greedy", "beam", "voted", "peaks"]  # empty where nothing was written
    transcripts[text] = transcripts[text].fillna("")
    for column in ("ends", "peaks"):
        frames = {words: np.array(words.split(), int) for words in transcripts[column].unique()}
        transcripts[column] = transcripts[column].map(frames)
    return tables["runs"], curves, transcripts


def load_pen(folder=RESULTS):
    """Read what the panel "write here" of the book's site holds: networks, and how they read.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    dict
        ``size`` and ``spacing`` of the reading (:func:`helpers.padding.read_along`), ``classes``,
        and of ``networks`` by their layer: the ``settings`` they were trained with, accuracies on
        the ``test`` split and on that of the ``sample``, and the :class:`helpers.cells.Network`
        itself, ``trained`` and as it was at ``first``.
    """
    page = json.loads((Path(folder) / "pen.json").read_text(encoding="utf-8"))
    for name, stored in page["networks"].items():
        for when in ("trained", "first"):
            flat = np.frombuffer(base64.b64decode(stored[when]), "<f2").astype(np.float32)
            ends = np.cumsum([np.prod(shape) for shape in stored["shapes"]])[:-1]
            parts = zip(np.split(flat, ends), stored["shapes"], strict=True)
            *cell, W_y, b_y = (part.reshape(shape) for part, shape in parts)
            stored[when] = Network([NUMPY_CELLS[name](*cell)], W_y, b_y)
    return page


def run_table(runs):
    """Put the scores of single runs side by side.

    Parameters
    ----------
    runs : list of helpers.training.Run

    Returns
    -------
    pandas.DataFrame
        A row a run: accuracies on all splits, balanced accuracy and macro-F1 on test.
    """
    titles = {
        "layer": "layer",
        "architecture": "architecture",
        "epochs": "epochs",
        "train_accuracy": "train",
        "validation_accuracy": "validation",
        "test_accuracy": "test",
        "test_balanced_accuracy": "test, balanced",
        "test_macro_f1": "test, macro-F1",
    }
    return pd.DataFrame([run.row for run in runs])[list(titles)].rename(columns=titles)


def chosen_architectures(runs):
    """Return, for each kind of layer, the architecture with the best mean validation accuracy.

    Parameters
    ----------
    runs : pandas.DataFrame

    Returns
    -------
    dict
        ``{layer: architecture}``.
    """
    mean = runs.groupby(["layer", "architecture"])["validation_accuracy"].mean()
    return {layer: int(mean[layer].idxmax()) for layer in dict.fromkeys(runs["layer"])}


def seed_interval(scores, confidence=0.95, bounds=(0.0, 1.0)):
    """Return where the mean over all seeds lies, judged by the seeds at hand: Student's interval.

    Parameters
    ----------
    scores : array, shape (seeds,)
        One score a seed, of runs that differ in nothing else.
    confidence : float
    bounds : tuple of float, optional
        Where the interval is cut: accuracies end at 0 and 1, differences (None) do not.

    Returns
    -------
    low, high : float
        Of a *mean* over seeds on this test split. A single run scatters more, and another test
        split adds its own chance. Of one seed nothing can be said: NaN.
    """
    if len(scores) < 2:
        return np.nan, np.nan
    if np.ptp(scores) == 0:  # no spread to judge by; scipy would warn
        return float(np.min(scores)), float(np.max(scores))
    interval = ttest_1samp(scores, 0).confidence_interval(confidence)
    return tuple(interval if bounds is None else np.clip(interval, *bounds))


def crossed_interval(right, labels=None, groups=None, repeats=4000, seed=0):
    """Return where the mean accuracy over all seeds and files lies: both are drawn again.

    The bootstrap of Owen (2007) for crossed factors. Rows and columns are drawn independently with
    replacement; what belongs to neither alone is counted a little too often, so the interval errs
    to the wide side.

    Parameters
    ----------
    right : array of bool, shape (seeds, files)
        Whether each seed recognises each file.
    labels : array, shape (files,), optional
        With them, the accuracy is the balanced one: the mean over classes.
    groups : array, shape (files,), optional
        Who each file is of; files of one group are then drawn together.
    repeats, seed : int

    Returns
    -------
    low, high : float
        The middle 95 % of the means.
    """
    right = np.asarray(right, float)
    rng = np.random.default_rng(seed)
    seeds, files = right.shape
    who = np.arange(files) if groups is None else np.unique(groups, return_inverse=True)[1]
    what = np.zeros(files, int) if labels is None else np.unique(labels, return_inverse=True)[1]
    rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), repeats) / seeds
    units = who.max() + 1
    times = rng.multinomial(units, np.full(units, 1 / units), repeats)[:, who]
    drawn = (rows @ right) * times
    of_class = np.eye(what.max() + 1)[what]
    with np.errstate(invalid="ignore"):  # a class that a draw leaves out
        means = np.nanmean((drawn @ of_class) / (times @ of_class), axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def crossed_error(plus, minus=None):
    """Return a mean over seeds and files, which are both a sample of more, and how sure it is.

    A mean's spread over seeds alone speaks of these files, one over files alone of these seeds.
    The means of seeds and the means of files both contain what belongs to single pairs of seed and
    file, which is therefore subtracted once; the degrees of freedom are Satterthwaite's (1946).

    Parameters
    ----------
    plus : array, shape (seeds, files)
        What each run did with each file, such as 1 for a right answer, or a difference of two.
    minus : array, shape (seeds, other files), optional
        The same for other files, whose mean is subtracted.

    Returns
    -------
    mean, error, freedom : float
        The mean, its standard error and degrees of freedom.
    """
    blocks = [np.asarray(plus, float)] + ([] if minus is None else [-np.asarray(minus, float)])
    seeds = len(blocks[0])
    by_seed = sum(block.mean(axis=1) for block in blocks)
    parts = [(by_seed.var(ddof=1) / seeds, seeds - 1)]  # a variance and its degrees of freedom
    both = []
    for block in blocks:
        files = block.shape[1]
        if files == 1:
            continue
        freedom = (seeds - 1) * (files - 1)
        rest = block - block.mean(axis=1, keepdims=True) - block.mean(axis=0) + block.mean()
        parts.append((block.mean(axis=0).var(ddof=1) / files, files - 1))
        both.append(((rest**2).sum() / freedom / (seeds * files), freedom))
    # Chance can make the estimate smaller than what seeds or files alone demand.
    of_files = sum(v for v, _ in parts[1:])
    variance = max(parts[0][0] + of_files - sum(v for v, _ in both), parts[0][0], of_files)
    squares = sum(v**2 / freedom for v, freedom in parts + both)
    freedom = variance**2 / squares if squares else seeds - 1
    return float(by_seed.mean()), float(np.sqrt(variance)), float(freedom)


def p_of(mean, error, freedom):
    """Return Student's two-sided p of a mean and its standard error."""
    if error < 1e-12:  # no spread at all to judge by
        return float(abs(mean) < 1e-12)
    return float(2 * t.sf(abs(mean) / error, freedom))


def crossed_test(first, second):
    """Compare two networks over seeds and files that are both a sample of more.

    Parameters
    ----------
    first, second : array of bool, shape (seeds, files)
        Whether each seed recognises each file; the same seeds and files in both.

    Returns
    -------
    difference, low, high, p : float
        Mean accuracy of the first less the second, its 95 % interval, and the two-sided p-value of
        no difference, from :func:`crossed_error`.
    """
    found = crossed_error(np.asarray(first, float) - np.asarray(second, float))
    half = t.ppf(0.975, found[2]) * found[1]
    return found[0], found[0] - half, found[0] + half, p_of(*found)


def accuracy_table(runs, reported=None):
    """Put the accuracies of one cell beside the report's, a row per architecture.

    Parameters
    ----------
    runs : pandas.DataFrame
        Of one cell and protocol.
    reported : dict, optional
        The same cell's entry of :func:`helpers.data.load_report`.

    Returns
    -------
    pandas.DataFrame
        Of test, validation (if there was one) and train: means over seeds; of test also the
        interval of the mean, the standard deviation over seeds and the range.
    """
    rows = []
    for number, group in runs.groupby("architecture"):
        test = group["test_accuracy"]
        low, high = seed_interval(test)
        row = {  # what matters most first: on a phone the rest is out of sight
            "architecture": number,
            "report, test": reported and reported["test_accuracy"][number - 1],
            "test": test.mean(),
            "95 % interval": f"{low:.3f} to {high:.3f}",
            "balanced": group["test_balanced_accuracy"].mean(),
            "sd": test.std(),
            "lowest to highest": f"{test.min():.2f} to {test.max():.2f}",
            "validation": group["validation_accuracy"].mean(),
            "train": group["train_accuracy"].mean(),
            "report, train": reported and reported["train_accuracy"][number - 1],
        }
        rows.append(row)
    return pd.DataFrame(rows).dropna(axis=1, how="all")


def reported_among_seeds(runs, reported):
    """Say where the report's test accuracies stand among runs of its own protocol.

    Parameters
    ----------
    runs : pandas.DataFrame
        Of the protocol ``report``.
    reported : dict
        ``{cell: {"test_accuracy": [five numbers]}}``.

    Returns
    -------
    pandas.DataFrame
        A row per cell and architecture: the report's figure, the lowest and the highest of the
        seeds, and whether the figure lies ``below``, ``inside`` or ``above``.
    """
    rows = []
    for (cell, number), group in runs.groupby(["layer", "architecture"], sort=False):
        if cell not in reported:
            continue
        # The report prints k/n with the rounding errors of float32.
        figure = round(reported[cell]["test_accuracy"][number - 1], 3)
        low, high = group["test_accuracy"].min().round(3), group["test_accuracy"].max().round(3)
        rows.append(
            {
                "layer": cell,
                "architecture": number,
                "report": figure,
                "lowest": low,
                "mean": group["test_accuracy"].mean(),
                "highest": high,
                "report is": "below" if figure < low else "above" if figure > high else "inside",
            }
        )
    return pd.DataFrame(rows)


def hardest_files(predictions):
    """Count how often each test file is recognised.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Of runs that share a test split.

    Returns
    -------
    pandas.DataFrame
        ``file, label, right, runs, taken_for`` (the commonest wrong answer; empty if there is
        none), hardest first.
    """
    test = predictions[predictions["split"] == "test"]
    right = test["predicted"] == test["label"]
    table = right.groupby([test["file"], test["label"]]).agg(right="sum", runs="size")
    wrong = test[~right].groupby(["file", "label"])["predicted"].agg(lambda p: p.mode()[0])
    table["taken_for"] = wrong.reindex(table.index).fillna("")
    return table.reset_index().sort_values(["right", "file"], ignore_index=True)


def pooled_confusion(predictions, layer, architecture, classes):
    """Count the test predictions of all seeds of one network.

    Parameters
    ----------
    predictions : pandas.DataFrame
    layer : str
    architecture : int
    classes : sequence of str

    Returns
    -------
    array, shape (classes, classes), int
        Rows are true classes.
    """
    p = predictions[
        (predictions["layer"] == layer)
        & (predictions["architecture"] == architecture)
        & (predictions["split"] == "test")
    ]
    return confusion_matrix(p["label"], p["predicted"], labels=classes)


def ensemble(predictions, classes):
    """Let runs vote: average their probabilities of each test file.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Of runs that share a test split: columns ``split``, ``file``, ``label`` and ``p1, p2, …``.
    classes : sequence of str
        In the order of the probabilities.

    Returns
    -------
    pandas.DataFrame
        ``file, label, predicted, p1, p2, …``, a row a test file.
    """
    test = predictions[predictions["split"] == "test"]
    columns = [f"p{k + 1}" for k in range(len(classes))]
    mean = test.groupby(["file", "label"])[columns].mean()
    mean.insert(0, "predicted", np.array(classes)[mean.to_numpy().argmax(axis=1)])
    return mean.reset_index()


def recall_by_class(matrix):
    """Share of each true class that lies on the diagonal, shape (classes,)."""
    matrix = np.asarray(matrix)
    return np.diag(matrix) / matrix.sum(axis=1)


def baseline_table(dataset):
    """Return what models that are not recurrent scored on the report's data.

    Parameters
    ----------
    dataset : str

    Returns
    -------
    pandas.DataFrame
        ``model, parameters, folds_accuracy, test_accuracy, test_balanced_accuracy``, as
        :func:`experiments.baselines.score_baselines` made it.
    """
    table = pd.read_csv(RESULTS / "baselines.csv").query("dataset == @dataset")
    return table.drop(columns=["dataset", "data"]).reset_index(drop=True)


def recorded_baselines(dataset):
    """Return the test accuracy of the majority class and of the model that folds of train prefer.

    Parameters
    ----------
    dataset : str

    Returns
    -------
    dict
        ``{model: accuracy}``.
    """
    table = baseline_table(dataset).set_index("model")
    chosen = ["majority class", table["folds_accuracy"].idxmax()]
    return table.loc[chosen, "test_accuracy"].to_dict()
