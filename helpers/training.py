"""One run: split, scale, train, stop, evaluate once."""

import dataclasses
import platform
import sys
import time
import tomllib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from sklearn.utils.class_weight import compute_class_weight
from tqdm import tqdm
from tqdm.keras import TqdmCallback

from helpers import layers
from helpers.models import ARCHITECTURES, VARIANTS, augmentation, build
from helpers.padding import PADDED_LENGTH, PADDING_VALUE, fit_scaling, pad, padded_batches


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides a run, beside the data and the versions.

    Attributes
    ----------
    dataset : str
        ``handwriting`` or ``cv_segments``.
    layer : str
        What the hidden layers are, one of :data:`helpers.models.LAYERS`.
    architecture : int
        A key of :data:`helpers.models.ARCHITECTURES` or of :data:`helpers.models.VARIANTS`.
    seed : int
        Decides the split, the initial weights, the dropout and the order of batches.
    protocol : str
        The name under which runs of these settings are compared.
    split : str
        What is tested on: ``delivered``, the data set's own test split; or folds of the train
        split, drawn ``by_file`` or ``by_speaker``, which the data set given consists of then.
    scaling : str
        As in :func:`helpers.padding.fit_scaling`; fitted on what is trained on.
    validation : float
        Share of the training files held out for early stopping, stratified by class, and with
        ``by_speaker`` by speaker. With 0 the run stops by the report's rule
        (:class:`AverageErrorStop`).
    batch_size, max_epochs : int
    batches : str
        ``shuffled``, as stock Keras draws them, or another way that is put on trial against it.
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
    masked : bool
        Whether padding is skipped. If not, every sequence is padded to the longest of both splits
        (the report's length at least), and padding is read like any step.
    backwards : bool
        Whether sequences are read from their end.
    refit : bool
        Whether a second network, from the same start, is trained on the validation files too, for
        as many epochs as validation chose for the first; it is the one that counts.
    """

    dataset: str
    layer: str
    architecture: int
    seed: int
    protocol: str
    scaling: str
    batch_size: int
    max_epochs: int
    split: str = "delivered"
    validation: float = 0.0
    patience: int = 0
    monitor: str = "val_loss"
    learning_rate: float = 1e-3
    decay: bool = False
    clip: float = 0.0
    class_weights: bool = False
    augment: bool = False
    refit: bool = False
    batches: str = "shuffled"
    masked: bool = True
    backwards: bool = False

    @property
    def name(self):
        """The name of the run in tables."""
        return "-".join(
            [self.dataset, self.layer, str(self.architecture), self.protocol, str(self.seed)]
        )

    @property
    def padding_value(self):
        """What batches are filled up with; NaN, which equals nothing, if no step is masked."""
        return PADDING_VALUE[self.dataset] if self.masked else np.nan


PROTOCOLS = tomllib.loads((Path(__file__).parent / "protocols.toml").read_text(encoding="utf-8"))


def settings_for(dataset, layer, architecture, seed, protocol="validated", **changes):
    """Return the settings of a run under a protocol, with any setting changed by name.

    Raises
    ------
    ValueError
        If the protocol or the data set is unknown.
    """
    if dataset not in PROTOCOLS.get(protocol, {}):
        known = ", ".join(name for name in PROTOCOLS if dataset in PROTOCOLS[name])
        raise ValueError(f"found protocol {protocol!r} of {dataset!r}; expected one of {known}")
    settings = {**PROTOCOLS[protocol][dataset], **changes}
    return RunSettings(dataset, layer, architecture, seed, protocol, **settings)


# --- Stopping ---------------------------------------------------------------------------------


def stopped_after(errors, threshold=1e-4):
    """Return the epoch after which the report's rule stops, |E(k) − E(k − 1)| < threshold.

    The rule of its sections 2.2 and 3.2. It is not :class:`keras.callbacks.EarlyStopping`, which
    waits for a lack of *improvement*: an error that rises by 0.1 stops that one and not this one.

    Parameters
    ----------
    errors : sequence of float
        Mean training error of each epoch, so far.
    threshold : float

    Returns
    -------
    int or None
        The first epoch, counted from 1, whose error differs by less than ``threshold`` from the
        one before; None if there is none.

    Raises
    ------
    ValueError
        If the threshold is not positive.
    """
    if not threshold > 0:
        raise ValueError(f"found threshold {threshold!r}; expected a positive number")
    still = np.flatnonzero(np.abs(np.diff(errors)) < threshold)
    return int(still[0]) + 2 if len(still) else None


class AverageErrorStop(keras.callbacks.Callback):
    """Stop training by the report's rule, :func:`stopped_after`.

    Attributes
    ----------
    stopped_epoch : int or None
        The epoch after which training stopped, counted from 1; None if it did not.
    """

    def on_train_begin(self, logs=None):
        """Forget the errors of an earlier fit."""
        self.errors, self.stopped_epoch = [], None

    def on_epoch_end(self, epoch, logs=None):
        """Compare this epoch's average error with the one before."""
        self.errors.append(logs["loss"])
        self.stopped_epoch = stopped_after(self.errors)
        self.model.stop_training |= self.stopped_epoch is not None


# --- One run ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What a run leaves behind.

    Attributes
    ----------
    row : dict
        Settings, data digest, versions, epochs, accuracies, seconds of processor time: one row of
        a table.
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
        Keep all sequences of a speaker (a group) together; the share is then approximate.

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


def predict(model, x, value, batch_size=256):
    """Class probabilities in the order of ``x``, shape (n, classes); dropout is off."""
    return model.predict(padded_batches(x, batch_size, value), verbose=0)


def fit(dataset, settings, progress=True, make_batches=None):
    """Train one model as its settings say and evaluate it; the test split is used once, at the end.

    The same settings, data and versions give the same run on the same machine.

    Parameters
    ----------
    dataset : SequenceDataset
    settings : RunSettings
    progress : bool
        Show a progress bar.
    make_batches : callable, optional
        Draws the batches to learn from in place of :func:`helpers.padding.padded_batches`, where
        the settings ask for another way.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If the settings are for another data set or contradict themselves.
    """
    if dataset.name != settings.dataset:
        raise ValueError(f"found {dataset.name} data; expected {settings.dataset}")
    if settings.refit and not settings.validation:
        raise ValueError("refit: found validation 0; expected a share that chooses the epochs")
    if (settings.batches == "shuffled") != (make_batches is None):
        raise ValueError(
            f"batches {settings.batches!r}: found make_batches {make_batches}; expected a function "
            f"that draws them, and with 'shuffled' none"
        )
    started = time.process_time()
    train, validation = split_validation(
        dataset.train, settings.validation, settings.seed, settings.split == "by_speaker"
    )
    classes = len(dataset.classes)
    longest = max(PADDED_LENGTH[settings.dataset], *dataset.train.lengths, *dataset.test.lengths)
    how = settings, classes, longest, make_batches, progress
    model, prepare, curve, best = _train(train, validation, None, *how)
    if settings.refit:
        train, validation = dataset.train, None
        model, prepare, curve, best = _train(train, None, best, *how)
    curve.insert(0, "run", settings.name)
    splits = {"train": train, "validation": validation, "test": dataset.test}
    probabilities = {
        name: predict(model, prepare(split), settings.padding_value)
        for name, split in splits.items()
        if split is not None
    }
    scores = {
        f"{name}_accuracy": float(np.mean(p.argmax(axis=1) == splits[name].y))
        for name, p in probabilities.items()
    }
    predicted = probabilities["test"].argmax(axis=1)
    row = {
        "run": settings.name,
        **dataclasses.asdict(settings),
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
        "test_balanced_accuracy": balanced_accuracy_score(dataset.test.y, predicted),
        "test_macro_f1": f1_score(
            dataset.test.y, predicted, labels=np.arange(classes), average="macro", zero_division=0
        ),
        "seconds": round(time.process_time() - started, 1),
    }
    predictions = pd.concat(
        [
            _prediction_table(settings.name, name, splits[name], p, dataset.classes)
            for name, p in probabilities.items()
            if name != "train"
        ],
        ignore_index=True,
    )
    return Run(row, curve, predictions, model)


def _train(train, validation, epochs, settings, classes, longest, make_batches, progress):
    """Train one model, for a number of epochs if given, else until its rule says stop.

    Returns
    -------
    model : keras.Model
    prepare : callable
        What was fitted on ``train``: from Sequences to the arrays that the model reads.
    curve : pandas.DataFrame
        One row an epoch.
    best : int
        The epoch, counted from 1, that the weights are of.
    """
    keras.utils.set_random_seed(settings.seed)
    scale = fit_scaling(settings.scaling, train.x, train.groups)

    def prepare(split):
        x = [s[::-1] if settings.backwards else s for s in scale(split.x, split.groups)]
        if settings.masked:
            return x
        return list(pad(x, PADDING_VALUE[settings.dataset], longest, split.files))

    value = settings.padding_value
    batches = (make_batches or padded_batches)(
        prepare(train), settings.batch_size, value, train.y, train.files, shuffle_seed=settings.seed
    )
    rate = settings.learning_rate
    if settings.decay:
        rate = keras.optimizers.schedules.CosineDecay(rate, settings.max_epochs * len(batches))
    model = build(
        settings.layer,
        (ARCHITECTURES[settings.dataset] | VARIANTS[settings.dataset])[settings.architecture],
        features=train.x[0].shape[1],
        classes=classes,
        mask_value=value if settings.masked else None,
        learning_rate=rate,
        clip=settings.clip,
        augment=augmentation(settings.dataset, settings.seed) if settings.augment else (),
        recurrent=layers,
    )
    # On standard output, since a page of the book keeps nothing from standard error.
    bar = partial(tqdm, file=sys.stdout, leave=False)
    callbacks = [TqdmCallback(verbose=0, tqdm_class=bar)] if progress else []
    held_out = None
    if validation is not None:
        stop = keras.callbacks.EarlyStopping(
            monitor=settings.monitor,
            mode="min" if settings.monitor == "val_loss" else "max",
            patience=settings.patience,
            restore_best_weights=True,
        )
        callbacks.append(stop)
        x = prepare(validation)
        held_out = padded_batches(x, 256, value, validation.y, validation.files).cache()
    elif epochs is None:
        callbacks.append(AverageErrorStop())
    weights = None
    if settings.class_weights:
        labels = np.unique(train.y)
        balanced = compute_class_weight("balanced", classes=labels, y=train.y)
        weights = dict(zip(labels.tolist(), balanced, strict=True))
    history = model.fit(
        batches,
        class_weight=weights,
        epochs=epochs or settings.max_epochs,
        validation_data=held_out,
        callbacks=callbacks,
        shuffle=False,  # the batches shuffle themselves
        verbose=0,
    )
    curve = pd.DataFrame(history.history)
    curve.insert(0, "epoch", np.arange(1, len(curve) + 1))
    best = len(curve) if validation is None else stop.best_epoch + 1
    return model, prepare, curve, best


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
