"""Read the recorded runs beside the report's numbers."""

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from helpers.padding import resample_by_arc_length, scale_per_file, segment_means
from helpers.training import RESULTS, load_results


def recorded(dataset, protocol="validated", cells=("SimpleRNN", "LSTM")):
    """Return the recorded runs of one data set and protocol, with their curves and predictions.

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
    keys = runs[["run", "cell", "architecture", "seed"]]
    return runs, tables["curves"].merge(keys, on="run"), tables["predictions"].merge(keys, on="run")


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


def accuracy_table(runs, reported):
    """Put the accuracies of one cell beside the report's, a row per architecture.

    Parameters
    ----------
    runs : pandas.DataFrame
        Of one cell.
    reported : dict
        The same cell's entry of :func:`helpers.data.load_report`.

    Returns
    -------
    pandas.DataFrame
        Means over seeds, and the lowest and highest test accuracy.
    """
    rows = []
    for number, group in runs.groupby("architecture"):
        test = group["test_accuracy"]
        rows.append(
            {
                "architecture": number,
                "report, train": reported["train_accuracy"][number - 1],
                "ours, train": group["train_accuracy"].mean(),
                "ours, validation": group["validation_accuracy"].mean(),
                "report, test": reported["test_accuracy"][number - 1],
                "ours, test": test.mean(),
                "lowest to highest": f"{test.min():.2f} to {test.max():.2f}",
                "ours, balanced": group["test_balanced_accuracy"].mean(),
            }
        )
    return pd.DataFrame(rows)


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


def recall_by_class(matrix):
    """Share of each true class that lies on the diagonal, shape (classes,)."""
    matrix = np.asarray(matrix)
    return np.diag(matrix) / matrix.sum(axis=1)


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
