"""What a recurrent network has to beat: models that are not recurrent, tuned on train alone."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from experiments.plan import FOLDS
from helpers.padding import fit_scaling, resample_by_arc_length, segment_means


class Baseline(NamedTuple):
    """A model that is not recurrent, and what it sees of a sequence.

    Attributes
    ----------
    name : str
    scaling : str
        As in :func:`helpers.padding.fit_scaling`.
    features : callable
        From the scaled training sequences and those to describe, two lists of arrays, to one row
        for each of the latter.
    model : sklearn estimator
    grid : dict
        Values of its parameters; those with the best accuracy on folds of train are taken.
    """

    name: str
    scaling: str
    features: Callable
    model: object
    grid: dict


def resampled(x, steps):
    """Return sequences at equally spaced times, shape (n, features, steps)."""
    at = [np.linspace(0, len(s) - 1, steps) for s in x]
    return np.array(
        [[np.interp(t, np.arange(len(s)), f) for f in s.T] for t, s in zip(at, x, strict=True)]
    )


def _each(describe):
    return lambda train, x: np.array([describe(s) for s in x])


def _summary(x):
    ends = [x[0], x[-1], x.mean(axis=0), x.std(axis=0), x.min(axis=0), x.max(axis=0)]
    return np.concatenate([[len(x)], *ends])


def _arc_points(x):
    return resample_by_arc_length(x).ravel()


def _warped(describe):
    """Warping distances to every training sequence (Sakoe and Chiba, 1978)."""

    def distances(train, x):
        from aeon.distances import pairwise_distance

        rows, columns = ([describe(s).T.astype(np.float64) for s in each] for each in (x, train))
        return pairwise_distance(rows, columns, method="dtw")

    return distances


def _minirocket(steps):
    """Share of positive outputs of random convolutions (Dempster and others, 2021)."""

    def transformed(train, x):
        from aeon.transformations.collection.convolution_based import MiniRocket

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kernels = MiniRocket(random_state=0).fit(resampled(train, steps))
            return kernels.transform(resampled(x, steps))

    return transformed


def _standardised(model):
    return make_pipeline(StandardScaler(), model)


def _neighbours(**options):
    return KNeighborsClassifier(**options), {"n_neighbors": [1, 3, 5, 15, 45]}


_LENGTH = ("length alone", "none", _each(lambda x: [len(x)]), *_neighbours())
_RIDGE = _standardised(RidgeClassifierCV(alphas=np.logspace(-2, 4, 13))), {}
_BOOSTED = (
    HistGradientBoostingClassifier(random_state=0),
    {"learning_rate": [0.03, 0.1], "max_leaf_nodes": [7, 31]},
)
_SVM = _standardised(SVC()), {"svc__C": [1, 3, 10, 30]}
_FOREMOST = Baseline("majority class", "none", _each(lambda x: [0]), DummyClassifier(), {})
BASELINES = {
    "handwriting": (
        _FOREMOST,
        Baseline(*_LENGTH),
        Baseline("gradient boosting, summary statistics", "per_file", _each(_summary), *_BOOSTED),
        Baseline(
            "nearest neighbours, points by arc length",
            "per_file",
            _each(_arc_points),
            *_neighbours(),
        ),
        Baseline(
            "nearest neighbours, warped points by arc length",
            "per_file",
            _warped(resample_by_arc_length),
            *_neighbours(metric="precomputed"),
        ),
        Baseline(
            "nearest neighbours, warped points as written",
            "per_file",
            _warped(np.asarray),
            *_neighbours(metric="precomputed"),
        ),
        Baseline(
            "logistic regression",
            "per_file",
            _each(_arc_points),
            LogisticRegression(max_iter=5000),
            {"C": [0.1, 1, 10]},
        ),
        Baseline("MiniRocket", "per_file", _minirocket(128), *_RIDGE),
    ),
    "cv_segments": (
        _FOREMOST,
        Baseline(*_LENGTH),
        Baseline(
            "gradient boosting, summary statistics", "per_speaker", _each(_summary), *_BOOSTED
        ),
        Baseline("MiniRocket", "per_speaker", _minirocket(64), *_RIDGE),
        Baseline(
            "linear discriminants on segment means",
            "per_speaker",
            _each(segment_means),
            LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
            {},
        ),
        Baseline(
            "SVM on segment means, all speakers alike", "standard", _each(segment_means), *_SVM
        ),
        Baseline("SVM on segment means", "per_speaker", _each(segment_means), *_SVM),
    ),
}


def score_baselines(dataset, limit=None):
    """Score models that are not recurrent on the test split.

    Their parameters are chosen on five folds of the training files.

    Parameters
    ----------
    dataset : SequenceDataset
    limit : int, optional
        Only the first so many.

    Returns
    -------
    pandas.DataFrame
        ``dataset, data, model, parameters, folds_accuracy, test_accuracy,
        test_balanced_accuracy``, one row for each of :data:`BASELINES`. Scaling by speaker is
        fitted on all training files, whose labels it does not use.
    """
    train, test = dataset.train, dataset.test
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    rows = []
    for baseline in BASELINES[dataset.name][:limit]:
        known, new = _described(dataset, baseline)
        search = GridSearchCV(baseline.model, baseline.grid, cv=folds)
        predicted = search.fit(known, train.y).predict(new)
        chosen = {name.split("__")[-1]: value for name, value in search.best_params_.items()}
        rows.append(
            {
                "dataset": dataset.name,
                "data": dataset.digest,
                "model": baseline.name,
                "parameters": ", ".join(f"{name} {value}" for name, value in chosen.items()),
                "folds_accuracy": search.best_score_,
                "test_accuracy": np.mean(predicted == test.y),
                "test_balanced_accuracy": balanced_accuracy_score(test.y, predicted),
            }
        )
    return pd.DataFrame(rows)


def _described(dataset, baseline):
    """Features of the training and of the test sequences."""
    train, test = dataset.train, dataset.test
    scale = fit_scaling(baseline.scaling, train.x, train.groups)
    known, new = scale(train.x, train.groups), scale(test.x, test.groups)
    return baseline.features(known, known), baseline.features(known, new)


def refit_baseline(dataset, row):
    """Fit a recorded baseline again, for its answers file by file.

    Parameters
    ----------
    dataset : SequenceDataset
    row : pandas.Series
        Of :func:`score_baselines`, named by the model; its parameters are taken.

    Returns
    -------
    right : pandas.Series of bool
        Whether each test file is recognised.
    known, new : array, shape (files, features)
        What the model sees of the training and of the test sequences.
    """
    baseline = next(b for b in BASELINES[dataset.name] if b.name == row.name)
    chosen = {
        name: value
        for name, values in baseline.grid.items()
        for value in values
        if f"{name.split('__')[-1]} {value}" in str(row["parameters"]).split(", ")
    }
    known, new = _described(dataset, baseline)
    model = baseline.model.set_params(**chosen).fit(known, dataset.train.y)
    return pd.Series(model.predict(new) == dataset.test.y, dataset.test.files), known, new
