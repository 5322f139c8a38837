"""Read the recorded runs beside the report's numbers."""

import heapq

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from helpers.models import CELLS
from helpers.padding import resample_by_arc_length, scale_per_file, segment_means
from helpers.training import RESULTS, load_results


def recorded(dataset, protocol="validated", cells=CELLS):
    """Return the recorded runs of one data set and protocol, with their curves and predictions.

    Sorted by cell, in the order asked for, architecture and seed.

    Parameters
    ----------
    dataset : str
        ``handwriting`` or ``cv_segments``.
    protocol : str
    cells : sequence of str

    Returns
    -------
    runs, curves, predictions : pandas.DataFrame
        As :func:`helpers.training.load_results` describes them; ``curves`` and ``predictions``
        also carry ``cell``, ``architecture`` and ``seed``.

    Raises
    ------
    ValueError
        If no such run is recorded.
    """
    tables = load_results()
    runs = tables["runs"]
    if len(runs):
        runs = runs[
            (runs["dataset"] == dataset) & (runs["protocol"] == protocol) & runs["cell"].isin(cells)
        ]
    if not len(runs):
        raise ValueError(f"found no {protocol} runs of {dataset}; expected some: make results")
    place = {cell: k for k, cell in enumerate(cells)}
    runs = runs.sort_values(
        ["cell", "architecture", "seed"],
        key=lambda column: column.map(place) if column.name == "cell" else column,
        ignore_index=True,
    )
    keys = runs[["run", "cell", "architecture", "seed"]]
    return runs, keys.merge(tables["curves"], on="run"), keys.merge(tables["predictions"], on="run")


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
        "cell": "cell",
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
    """Return, for each cell, the architecture with the best mean validation accuracy.

    Parameters
    ----------
    runs : pandas.DataFrame

    Returns
    -------
    dict
        ``{cell: architecture}``.
    """
    mean = runs.groupby(["cell", "architecture"])["validation_accuracy"].mean()
    return {cell: int(mean[cell].idxmax()) for cell in dict.fromkeys(runs["cell"])}


def seed_interval(scores, confidence=0.95):
    """Return where the mean over all seeds lies, judged by the seeds at hand: Student's interval.

    Parameters
    ----------
    scores : array, shape (seeds,)
        One score a seed, of runs that differ in nothing else.
    confidence : float

    Returns
    -------
    low, high : float
        Of a *mean* over seeds on this test split, cut at 0 and 1, where accuracies end. A single
        run scatters more, and another test split adds its own chance.
    """
    if np.ptp(scores) == 0:  # no spread to judge by; scipy would warn
        return float(np.min(scores)), float(np.max(scores))
    interval = ttest_1samp(scores, 0).confidence_interval(confidence)
    return max(interval.low, 0.0), min(interval.high, 1.0)


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
        Of train, validation (if there was one) and test: means over seeds; of test also the
        standard deviation over seeds, the interval of the mean and the range.
    """
    rows = []
    for number, group in runs.groupby("architecture"):
        test = group["test_accuracy"]
        low, high = seed_interval(test)
        row = {
            "architecture": number,
            "report, train": reported and reported["train_accuracy"][number - 1],
            "train": group["train_accuracy"].mean(),
            "validation": group["validation_accuracy"].mean(),
            "report, test": reported and reported["test_accuracy"][number - 1],
            "test": test.mean(),
            "sd": test.std(),
            "95 % interval": f"{low:.3f} to {high:.3f}",
            "lowest to highest": f"{test.min():.2f} to {test.max():.2f}",
            "balanced": group["test_balanced_accuracy"].mean(),
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
    for (cell, number), group in runs.groupby(["cell", "architecture"], sort=False):
        if cell not in reported:
            continue
        # The report prints k/n with the rounding errors of float32.
        figure = round(reported[cell]["test_accuracy"][number - 1], 3)
        low, high = group["test_accuracy"].min().round(3), group["test_accuracy"].max().round(3)
        rows.append(
            {
                "cell": cell,
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


def pooled_confusion(predictions, cell, architecture, classes):
    """Count the test predictions of all seeds of one network.

    Parameters
    ----------
    predictions : pandas.DataFrame
    cell : str
    architecture : int
    classes : sequence of str

    Returns
    -------
    array, shape (classes, classes), int
        Rows are true classes.
    """
    p = predictions[
        (predictions["cell"] == cell)
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


def makespan(seconds, processes):
    """Return when the last of some runs ends, if each free process takes the next in line.

    Parameters
    ----------
    seconds : sequence of float
        What each run takes, in the order of the sweep.
    processes : int

    Returns
    -------
    float
        Seconds from the start of the first run. A sweep cannot take less than its longest run.
    """
    free = [0.0] * processes
    for duration in seconds:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def sweep_costs(runs, processes=(2, 16, 200)):
    """Compute what recorded runs cost, and would cost on more cores.

    Parameters
    ----------
    runs : pandas.DataFrame
        With the columns ``protocol`` and ``seconds``, measured in processes of one thread each.
    processes : sequence of int

    Returns
    -------
    pandas.DataFrame
        A row per protocol and one for all: runs, core hours, and hours from start to end.
    """
    parts = [*runs.groupby("protocol", sort=False), ("all", runs)]
    return pd.DataFrame(
        [
            {"protocol": name, "runs": len(part), "core hours": part["seconds"].sum() / 3600}
            | {f"hours on {n} cores": makespan(part["seconds"], n) / 3600 for n in processes}
            for name, part in parts
        ]
    )


def score_baselines(dataset):
    """Score on the test split what a recurrent network has to beat.

    Parameters
    ----------
    dataset : SequenceDataset

    Returns
    -------
    pandas.DataFrame
        Columns ``dataset, data, model, test_accuracy``: the majority class; for strokes logistic
        regression on 40 points by arc length, for CV segments a support vector machine on the
        means of five segments.
    """
    if dataset.name == "handwriting":
        name, model = "logistic regression", LogisticRegression(max_iter=5000)
        train, test = (
            [resample_by_arc_length(scale_per_file(x)).ravel() for x in split.x]
            for split in (dataset.train, dataset.test)
        )
    else:
        name, model = "SVM on segment means", make_pipeline(StandardScaler(), SVC(C=10))
        train, test = ([segment_means(x) for x in s.x] for s in (dataset.train, dataset.test))
    models = {"majority class": DummyClassifier(), name: model}
    return pd.DataFrame(
        {
            "dataset": dataset.name,
            "data": dataset.digest,
            "model": list(models),
            "test_accuracy": [
                m.fit(train, dataset.train.y).score(test, dataset.test.y) for m in models.values()
            ],
        }
    )


def recorded_baselines(dataset):
    """Return the recorded test accuracy of each baseline of one data set, by name."""
    table = pd.read_csv(RESULTS / "baselines.csv").query("dataset == @dataset")
    return dict(zip(table["model"], table["test_accuracy"], strict=True))


def replay_stopping_rule(losses, threshold=1e-4):
    """Return the epoch after which the report's rule would have stopped a recorded curve.

    Parameters
    ----------
    losses : array, shape (epochs,)
        Mean training loss of each epoch.
    threshold : float

    Returns
    -------
    float
        The first epoch, from 1, whose loss differs by less than ``threshold`` from the one
        before; NaN if there is none.
    """
    still = np.flatnonzero(np.abs(np.diff(losses)) < threshold)
    return float(still[0] + 2) if len(still) else np.nan
