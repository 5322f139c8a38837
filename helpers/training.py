"""One recorded run: split, scale, train, stop, evaluate once; and sweeps of such runs."""

import dataclasses
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split
from sklearn.utils.class_weight import compute_class_weight
from tqdm import tqdm

from helpers import packed, records
from helpers.data import DATA
from helpers.models import ARCHITECTURES, BEYOND, CELLS, augmentation, build
from helpers.padding import PADDING_VALUE, bucketed_batches, fit_scaling, sorted_batches

RESULTS = DATA / "results"


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run, beside the data and the versions.

    Attributes
    ----------
    dataset : str
        ``handwriting`` or ``cv_segments``.
    cell : str
        One of :data:`helpers.models.CELLS`, or ``Conv1D`` or ``Transformer``.
    architecture : int
        A key of :data:`helpers.models.ARCHITECTURES` or of :data:`helpers.models.BEYOND`.
    seed : int
        Decides the split, the initial weights, the dropout and the order of batches.
    protocol : str
        The name under which runs of these settings are compared.
    split : str
        What is tested on: ``delivered``, the data set's own test split; or one of five folds of
        the train split, which one the seed decides, drawn ``by_file`` or ``by_speaker`` (no
        speaker in two folds). With folds the test split is not touched.
    scaling : str
        As in :func:`helpers.padding.fit_scaling`; fitted on what is trained on.
    validation : float
        Share of the training files held out for early stopping, stratified by class, and with
        ``by_speaker`` by speaker. With 0 the run stops by the report's rule
        (:class:`AverageErrorStop`).
    batch_size, max_epochs : int
    patience : int
        Epochs without a better value of ``monitor`` before early stopping.
    monitor : str
        ``val_loss`` or ``val_accuracy``: what early stopping watches and the weights are kept of.
    learning_rate : float
        Of Adam, in the first epoch.
    decay : bool
        Whether the rate falls to 0 along half a cosine, at ``max_epochs``.
    clip : float
        Bound on the norm of all gradients together; 0 for none.
    class_weights : bool
        Whether a training file counts in inverse proportion to the size of its class.
    augment : bool
        Whether training sequences are distorted at random (:func:`helpers.models.augmentation`).
    refit : bool
        Whether a second network, from the same start, is trained on the validation files too, for
        as many epochs as validation chose for the first; it is the one that counts.
    """

    dataset: str
    cell: str
    architecture: int
    seed: int
    protocol: str
    split: str
    scaling: str
    validation: float
    batch_size: int
    max_epochs: int
    patience: int = 0
    monitor: str = "val_loss"
    learning_rate: float = 1e-3
    decay: bool = False
    clip: float = 0.0
    class_weights: bool = False
    augment: bool = False
    refit: bool = False

    @property
    def run(self):
        """The name of the run in tables."""
        return "-".join(
            [self.dataset, self.cell, str(self.architecture), self.protocol, str(self.seed)]
        )


_VALIDATED = {
    "handwriting": {
        "split": "delivered",
        "scaling": "aspect",
        "validation": 0.15,
        "batch_size": 32,
        "max_epochs": 80,
        "patience": 30,
        "learning_rate": 3e-3,
        "decay": True,
        "clip": 1.0,
    },
    "cv_segments": {
        "split": "delivered",
        "scaling": "standard",
        "validation": 0.1,
        "batch_size": 64,
        "max_epochs": 10,
        "patience": 10,
        "learning_rate": 2e-3,
        "decay": True,
        "clip": 1.0,
    },
}

# What is distorted anew every time takes longer to learn, and to overfit.
_DISTORTED = {
    "handwriting": _VALIDATED["handwriting"] | {"augment": True},
    "cv_segments": _VALIDATED["cv_segments"] | {"augment": True, "max_epochs": 20, "patience": 20},
}

PROTOCOLS = {
    "validated": _VALIDATED,
    "report": {
        "handwriting": {
            "split": "delivered",
            "scaling": "global_max",
            "validation": 0.0,
            "batch_size": 32,
            "max_epochs": 120,
        },
        "cv_segments": {
            "split": "delivered",
            "scaling": "none",
            "validation": 0.0,
            "batch_size": 64,
            "max_epochs": 30,
        },
    },
    "known_speakers": {"cv_segments": _VALIDATED["cv_segments"] | {"split": "by_file"}},
    "new_speakers": {"cv_segments": _VALIDATED["cv_segments"] | {"split": "by_speaker"}},
    # Chapter 16: the validated protocol, on other networks and with one setting changed.
    "beyond": _VALIDATED,
    "augmented": _DISTORTED,
    "weighted": {"cv_segments": _VALIDATED["cv_segments"] | {"class_weights": True}},
    "refitted": {name: settings | {"refit": True} for name, settings in _VALIDATED.items()},
    "augmented_refitted": {"cv_segments": _DISTORTED["cv_segments"] | {"refit": True}},
}


def config(dataset, cell, architecture, seed, protocol="validated", **changes):
    """Return the configuration of a run under a protocol, with any setting changed by name."""
    settings = {**PROTOCOLS[protocol][dataset], **changes}
    return RunConfig(dataset, cell, architecture, seed, protocol, **settings)


# --- Stopping ---------------------------------------------------------------------------------


class AverageErrorStop(keras.callbacks.Callback):
    """Stop when the average training error changes by less than a threshold between epochs.

    The report's rule (2.2, 3.2): |E(k) − E(k − 1)| < 1e-4. It is not
    :class:`keras.callbacks.EarlyStopping`, which waits for a lack of *improvement*: an error that
    rises by 0.1 stops that one and not this one.

    Parameters
    ----------
    threshold : float

    Attributes
    ----------
    stopped_epoch : int or None
        The epoch after which training stopped, counted from 1; None if it did not.
    """

    def __init__(self, threshold=1e-4):
        super().__init__()
        if not threshold > 0:
            raise ValueError(f"found threshold {threshold!r}; expected a positive number")
        self.threshold = threshold

    def on_train_begin(self, logs=None):
        """Forget the errors of an earlier fit."""
        self.previous, self.stopped_epoch = None, None

    def on_epoch_end(self, epoch, logs=None):
        """Compare this epoch's average error with the one before."""
        error = logs["loss"]
        if self.previous is not None and abs(error - self.previous) < self.threshold:
            self.stopped_epoch = epoch + 1
            self.model.stop_training = True
        self.previous = error


class _Progress(keras.callbacks.Callback):
    """A bar on standard output, since a page of the book keeps nothing from standard error."""

    def __init__(self, config):
        super().__init__()
        self.bar = tqdm(
            total=config.max_epochs,
            desc=f"{config.cell} {config.architecture}",
            bar_format="{desc} {bar:20} epoch {n} of {total}, {elapsed}{postfix}",
            file=sys.stdout,
        )

    def on_epoch_end(self, epoch, logs=None):
        self.bar.set_postfix({"loss": f"{logs['loss']:.3f}"}, refresh=False)
        self.bar.update()

    def on_train_end(self, logs=None):
        self.bar.close()


# --- One run ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What a run leaves behind.

    Attributes
    ----------
    row : dict
        Configuration, data digest, versions, epochs, accuracies, seconds: one row of a table.
    curve : pandas.DataFrame
        ``run, epoch, loss, accuracy`` and, with validation, ``val_loss, val_accuracy``.
    predictions : pandas.DataFrame
        ``run, split, file, label, predicted``, with class names, and ``p1, p2, …``, the
        probabilities of the classes in their order; split is validation or test.
    model : keras.Model
        With the weights that were evaluated.
    """

    row: dict
    curve: pd.DataFrame
    predictions: pd.DataFrame
    model: keras.Model


def split_validation(train, share, seed, by_speaker=False):
    """Split training sequences, stratified by class.

    Parameters
    ----------
    train : Sequences
    share : float
        Of the sequences that go to validation; 0 for none.
    seed : int
    by_speaker : bool
        Keep all sequences of a speaker (a group) together; the share is met about.

    Returns
    -------
    tuple of Sequences
        What is trained on, and the validation split (None if ``share`` is 0).
    """
    if not share:
        return train, None
    if by_speaker:
        folds = StratifiedGroupKFold(round(1 / share), shuffle=True, random_state=seed)
        fit, validation = next(folds.split(train.y, train.y, train.groups))
    else:
        fit, validation = train_test_split(
            np.arange(len(train)), test_size=share, stratify=train.y, random_state=seed
        )
    return train.subset(np.sort(fit)), train.subset(np.sort(validation))


FOLDS = 5


def split_test(dataset, split, seed):
    """Return what a run may learn from and what it is tested on.

    Parameters
    ----------
    dataset : SequenceDataset
    split : str
        As in :class:`RunConfig`.
    seed : int
        Chooses the fold, ``seed % FOLDS``; the folds are always the same.

    Returns
    -------
    train, test : Sequences

    Raises
    ------
    ValueError
        If ``split`` is unknown.
    """
    if split == "delivered":
        return dataset.train, dataset.test
    train = dataset.train
    if split == "by_file":
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(train.y, train.y)
    elif split == "by_speaker":
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
        folds = folds.split(train.y, train.y, train.groups)
    else:
        raise ValueError(f"found split {split!r}; expected one of delivered, by_file, by_speaker")
    fit, test = list(folds)[seed % FOLDS]
    return train.subset(fit), train.subset(test)


def predict(model, x, value, batch_size=256):
    """Class probabilities in the order of ``x``, shape (n, classes); dropout is off."""
    batches, restore = sorted_batches(x, batch_size, value)
    return model.predict(batches, verbose=0)[restore]


def fit(dataset, config, progress=True):
    """Train one model as configured and evaluate it; the test split is used once, at the end.

    The same configuration, data and versions give the same run on the same machine.

    Parameters
    ----------
    dataset : SequenceDataset
    config : RunConfig
    progress : bool
        Show a progress bar.

    Returns
    -------
    Run
    """
    if dataset.name != config.dataset:
        raise ValueError(f"found {dataset.name} data; expected {config.dataset}")
    if config.refit and not config.validation:
        raise ValueError("refit: found validation 0; expected a share that chooses the epochs")
    started = time.perf_counter()
    whole, test = split_test(dataset, config.split, config.seed)
    train, validation = split_validation(
        whole, config.validation, config.seed, config.split == "by_speaker"
    )
    classes = len(dataset.classes)
    model, scale, curve, best = _train(config, classes, train, validation, None, progress)
    if config.refit:
        train, validation = whole, None
        model, scale, curve, best = _train(config, classes, train, None, best, progress)
    curve.insert(0, "run", config.run)
    splits = {"train": train, "validation": validation, "test": test}

    scores, tables = {}, []
    for name, split in splits.items():
        if split is None:
            continue
        probabilities = predict(model, scale(split.x), PADDING_VALUE[config.dataset])
        predicted = probabilities.argmax(axis=1)
        scores[f"{name}_accuracy"] = float(np.mean(predicted == split.y))
        if name != "train":
            tables.append(
                _prediction_table(config.run, name, split, probabilities, dataset.classes)
            )
    labels = np.arange(classes)
    row = {
        "run": config.run,
        **dataclasses.asdict(config),
        "data": dataset.digest,
        "origin": dataset.origin,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "parameters": model.count_params(),
        "epochs": len(curve),
        "best_epoch": best,
        **scores,
        "test_balanced_accuracy": balanced_accuracy_score(test.y, predicted),
        "test_macro_f1": f1_score(
            test.y, predicted, labels=labels, average="macro", zero_division=0
        ),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return Run(row, curve, pd.concat(tables, ignore_index=True), model)


def _train(config, classes, train, validation, epochs, progress):
    """Train one model, for a number of epochs if given, else until its rule says stop.

    Returns
    -------
    model : keras.Model
    scale : callable
        The scaling that was fitted on ``train``.
    curve : pandas.DataFrame
        One row an epoch.
    best : int
        The epoch, counted from 1, that the weights are of.
    """
    keras.utils.set_random_seed(config.seed)
    value = PADDING_VALUE[config.dataset]
    scale = fit_scaling(config.scaling, train.x)
    batches = bucketed_batches(
        scale(train.x), train.y, config.batch_size, value, config.seed, files=train.files
    )
    model = build(
        config.cell,
        {**ARCHITECTURES[config.dataset], **BEYOND[config.dataset]}[config.architecture],
        features=train.x[0].shape[1],
        classes=classes,
        mask_value=value,
        learning_rate=_learning_rate(config, len(batches)),
        clip=config.clip,
        augment=augmentation(config.dataset, config.seed) if config.augment else (),
        layers=packed,
    )
    callbacks = [_Progress(config)] if progress else []
    held_out = None
    if validation is not None:
        stop = keras.callbacks.EarlyStopping(
            monitor=config.monitor,
            mode="min" if config.monitor == "val_loss" else "max",
            patience=config.patience,
            restore_best_weights=True,
        )
        callbacks.append(stop)
        x, _ = sorted_batches(scale(validation.x), 256, value, validation.files)
        order = np.argsort(validation.lengths, kind="stable")
        y = tf.data.Dataset.from_tensor_slices(validation.y[order]).batch(256)
        held_out = tf.data.Dataset.zip(x, y).cache()
    elif epochs is None:
        callbacks.append(AverageErrorStop())
    weights = None
    if config.class_weights:
        labels = np.unique(train.y)
        balanced = compute_class_weight("balanced", classes=labels, y=train.y)
        weights = dict(zip(labels.tolist(), balanced, strict=True))
    history = model.fit(
        batches,
        class_weight=weights,
        epochs=epochs or config.max_epochs,
        validation_data=held_out,
        callbacks=callbacks,
        shuffle=False,  # the batches shuffle themselves
        verbose=0,
    )
    curve = pd.DataFrame(history.history)
    curve.insert(0, "epoch", np.arange(1, len(curve) + 1))
    best = len(curve) if validation is None else stop.best_epoch + 1
    return model, scale, curve, best


def _learning_rate(config, steps):
    """Return a constant rate, or one that falls along half a cosine over all epochs."""
    if not config.decay:
        return config.learning_rate
    return keras.optimizers.schedules.CosineDecay(config.learning_rate, config.max_epochs * steps)


def _prediction_table(run, split, sequences, probabilities, classes):
    names = np.array(classes)
    table = {
        "run": run,
        "split": split,
        "file": sequences.files,
        "label": names[sequences.y],
        "predicted": names[probabilities.argmax(axis=1)],
    }
    rounded = probabilities.round(3).T
    return pd.DataFrame(table | {f"p{k + 1}": column for k, column in enumerate(rounded)})


# --- Sweeps -----------------------------------------------------------------------------------

SEEDS = {
    "validated": 10,
    "report": 5,
    "known_speakers": FOLDS,
    "new_speakers": FOLDS,
    "beyond": 5,
    "augmented": 5,
    "weighted": 5,
    "refitted": 10,
    "augmented_refitted": 10,
}

# The networks of chapter 16, (cell, architecture), and which of them its validation chose: that
# one gets as many seeds as the report's networks. All other protocols train the report's.
_NETWORKS = {
    "beyond": {
        "handwriting": (
            ("LSTM", 6), ("LSTM", 7), ("LSTM", 8), ("GRU", 8), ("Conv1D", 7), ("Transformer", 7),
        ),
        "cv_segments": (
            ("LSTM", 6), ("LSTM", 7), ("LSTM", 8), ("GRU", 8), ("Conv1D", 9), ("Transformer", 9),
        ),
    },
    "augmented": {
        "handwriting": (("LSTM", 8), ("Conv1D", 7)),
        "cv_segments": (
            ("LSTM", 8), ("LSTM", 10), ("GRU", 8), ("Conv1D", 9), ("Conv1D", 11),
        ),
    },
    "weighted": {"cv_segments": (("LSTM", 8),)},
    # What validation chose, among the report's LSTMs and among all.
    "refitted": {"handwriting": (("LSTM", 3), ("LSTM", 6)), "cv_segments": (("LSTM", 1),)},
    "augmented_refitted": {"cv_segments": (("LSTM", 10),)},
}  # fmt: skip
BEST = {
    "handwriting": ("beyond", "LSTM", 6),
    "cv_segments": ("augmented", "LSTM", 10),
}


def networks(protocol, dataset):
    """Return which networks run under a protocol: pairs of a cell and an architecture."""
    if protocol in _NETWORKS:
        return _NETWORKS[protocol][dataset]
    return tuple((cell, number) for cell in CELLS for number in ARCHITECTURES[dataset])


def _seeds(protocol, dataset, cell, architecture):
    chosen = BEST[dataset] == (protocol, cell, architecture)
    return SEEDS["validated"] if chosen else SEEDS[protocol]


_FILES = {"curves": "curves.csv.bz2", "predictions": "predictions.csv.bz2", "runs": "runs.csv"}


def load_results(folder=RESULTS):
    """Read the recorded runs.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    dict of pandas.DataFrame
        ``runs`` (one row a run), ``curves`` (one row an epoch) and ``predictions`` (one row a
        sample of the validation and the test split), all with a column ``run``. Empty tables if
        nothing is recorded.
    """
    return records.load(folder, _FILES)


def grid(protocols=tuple(SEEDS)):
    """Return every configuration that is recorded, one seed of all before the next seed.

    Parameters
    ----------
    protocols : sequence of str
        Keys of :data:`PROTOCOLS`.

    Returns
    -------
    list of RunConfig
    """
    return [
        config(dataset, cell, architecture, seed, protocol)
        for seed in range(max(SEEDS.values()))
        for protocol in protocols
        for dataset in PROTOCOLS[protocol]
        for cell, architecture in networks(protocol, dataset)
        if seed < _seeds(protocol, dataset, cell, architecture)
    ]


def _is_recorded(config, digest, runs):
    """Whether a run of these settings on these data is in the table."""
    if not len(runs):
        return False
    same = runs[(runs["run"] == config.run) & (runs["data"] == digest)]
    settings = dataclasses.asdict(config)
    return len(same) > 0 and all(same.iloc[0][key] == value for key, value in settings.items())


def sweep(datasets, configs, folder=RESULTS, **options):
    """Make the recorded runs that are missing.

    Each finished run is stored at once, so a sweep that is stopped loses only the runs under way;
    started again, it repeats none.

    Parameters
    ----------
    datasets : dict of SequenceDataset
        By name.
    configs : list of RunConfig
    folder : str or Path
    **options
        How many run at a time and where, as in :func:`helpers.records.sweep`.

    Returns
    -------
    int
        How many runs were missing, and made.

    Raises
    ------
    ValueError
        If the folder holds runs on other data, which these would replace.
    """
    folder = Path(folder)
    runs = load_results(folder)["runs"]
    for name, dataset in datasets.items():
        others = set(runs.loc[runs["dataset"] == name, "data"]) if len(runs) else set()
        if others - {dataset.digest}:
            raise ValueError(
                f"{folder}: found runs on {name} data {', '.join(sorted(others))}; expected "
                f"{dataset.digest}, the data given: keep runs on other data in another folder"
            )
    missing = [c for c in configs if not _is_recorded(c, datasets[c.dataset].digest, runs)]
    work = [(datasets[c.dataset], c) for c in missing]
    records.sweep(_tables, work, folder, _FILES, **options)
    return len(missing)


def _tables(dataset, config):
    """Fit in a worker and leave the model there: only tables travel back."""
    run = fit(dataset, config, progress=False)
    keras.backend.clear_session()
    return {
        "curves": run.curve,
        "predictions": run.predictions,
        "runs": pd.DataFrame([run.row]),
    }
