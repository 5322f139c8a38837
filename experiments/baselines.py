"""What a recurrent network has to beat."""

import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from helpers.padding import resample_by_arc_length, scale_per_file, segment_means


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
