"""A network that writes: steps of a pen, training on the next step, writing, and judging it."""

import dataclasses
import platform
import sys
import time
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm
from tqdm.keras import TqdmCallback

from helpers import layers, mixture
from helpers.cells import network_from_keras
from helpers.padding import (
    mask_of,
    pad,
    resample_by_arc_length,
    scale_keep_aspect,
    scale_per_file,
    untuned,
)
from helpers.training import fit, settings_for, split_validation

VALIDATION = 0.15
TEMPERATURES = (1.0, 0.7, 0.5, 0.25, 0.1, 0.0)
PER_CLASS = 100  # strokes written with each pen
# Noise was added to the steps that are learned, and rounding adds as much to those that are drawn.
TWO_NOISES, LIGHT = 2 / 12, 0.05
PENS = (
    *({"temperature": temperature} for temperature in TEMPERATURES),
    {"taken": TWO_NOISES},
    {"least": LIGHT},
    {"taken": TWO_NOISES, "least": LIGHT},
)
# The network of the page on which a reader writes is small; its pen is cautious.
PAGE_NETWORK = {"components": 5, "units": 96}
PAGE_PEN = {"temperature": 0.5, "taken": TWO_NOISES, "least": LIGHT}
# What brings steps (pixels) and places (pixels from the start) to the size of the other inputs.
STEP_UNIT, PLACE_UNIT = 2.0, 30.0
PADDING = 2.0  # no step consists of it: all but one of the class inputs are 0
LONGEST = 200


@dataclass(frozen=True)
class WritingSettings:
    """Everything that decides a run, beside the data and the versions.

    Attributes
    ----------
    variant : str
        The name under which runs of these settings are compared.
    seed : int
        Decides the split, the initial weights, the copies and what is written.
    components : int
        Of the mixture; 0 for squared error, a Gaussian whose shape is not learned.
    distance : int
        Pixels between points along the stroke; 0 for the points as they are.
    dequantised : bool
        Whether uniform noise of one pixel is added to the steps that are learned.
    conditioned : bool
        Whether the network is told the class.
    units, epochs, batch_size : int
    learning_rate : float
        Of Adam, falling to 0 along half a cosine; gradients are clipped to length 1.
    strength : float
        Standard deviation of each entry of the matrix, about the identity, that distorts a copy.
    """

    variant: str
    seed: int
    components: int = 20
    distance: int = 4
    dequantised: bool = True
    conditioned: bool = True
    units: int = 256
    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 5e-3
    strength: float = 0.1
    dataset: str = "handwriting"

    @property
    def name(self):
        """The name of the run in tables."""
        return f"{self.variant.replace(' ', '_').replace(',', '')}-{self.seed}"


# --- Strokes as steps -------------------------------------------------------------------------


def pixel_of(strokes):
    """Return the width of a pixel: the commonest distance between neighbouring coordinates.

    Parameters
    ----------
    strokes : list of arrays, each of shape (T_i, 2)

    Returns
    -------
    float
        In the strokes' own units.
    """
    return float(np.median(np.diff(np.unique(np.concatenate(strokes)[:, 0]))))


def pen_steps(x, distance=4):
    """Turn a stroke into steps between points at equal distances along it, in whole pixels.

    Parameters
    ----------
    x : array, shape (P, 2)
        In pixels.
    distance : float
        Between points, in pixels; 0 for the points as they are.

    Returns
    -------
    array, shape (T, 2), float32
        At least one step.
    """
    if distance:
        travelled = np.linalg.norm(np.diff(x, axis=0), axis=1).sum()
        x = resample_by_arc_length(x, max(2, round(travelled / distance) + 1))
    return np.diff(np.round(x - x[0]), axis=0).astype(np.float32)


def path(steps):
    """Return the points that steps lead to, from (0, 0), shape (T + 1, 2), float32."""
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)]).astype(np.float32)


def inputs(steps, label, classes):
    """Return what the network reads before each step, shape (T, 5 + classes), float32.

    The step before, the place, whether this is the start, and the class, one-hot.

    Parameters
    ----------
    steps : array, shape (T, 2)
        In pixels.
    label : int or None
        None: no class is told.
    classes : int
    """
    before = path(steps)[:-1]
    x = np.zeros((len(steps), 5 + classes), np.float32)
    x[1:, :2], x[:, 2:4] = steps[:-1] / STEP_UNIT, before / PLACE_UNIT
    x[0, 4] = 1
    if label is not None:
        x[:, 5 + label] = 1
    return x


def targets(steps, rng=None):
    """Return what is to be predicted: each step, and whether it is the last, shape (T, 3), float32.

    Parameters
    ----------
    steps : array, shape (T, 2)
        In pixels.
    rng : numpy.random.Generator, optional
        If given, each step is moved to a random place inside its pixel.
    """
    moved = steps if rng is None else steps + rng.uniform(-0.5, 0.5, steps.shape)
    return np.column_stack([moved, np.arange(len(steps)) == len(steps) - 1]).astype(np.float32)


class Copies:
    """Padded batches of inputs and targets, of strokes distorted and shuffled anew each epoch.

    Parameters
    ----------
    strokes : list of arrays, each of shape (P_i, 2)
        In pixels.
    labels : array of int, shape (n,)
    classes : int
    settings : WritingSettings
    strength : float, optional
        Instead of the settings'. With 0 the strokes are neither distorted nor shuffled.
    """

    def __init__(self, strokes, labels, classes, settings, strength=None):
        self.strokes, self.labels, self.classes = strokes, labels, classes
        self.settings = settings
        self.strength = settings.strength if strength is None else strength
        self.rng = np.random.default_rng(settings.seed)

    def __len__(self):
        """Return the number of batches."""
        return -(-len(self.strokes) // self.settings.batch_size)

    def batch(self, index):
        """Return inputs and targets of new copies of the strokes at these places."""
        x, y = [], []
        for i in index:
            matrix = np.eye(2) + self.rng.normal(0, self.strength, (2, 2))
            steps = pen_steps(self.strokes[i] @ matrix, self.settings.distance)
            label = self.labels[i] if self.settings.conditioned else None
            x.append(inputs(steps, label, self.classes))
            y.append(targets(steps, self.rng if self.settings.dequantised else None))
        return pad(x, PADDING), keras.utils.pad_sequences(y, dtype="float32", padding="post")

    def epoch(self):
        """Yield the batches of one epoch."""
        order = np.arange(len(self.strokes))
        if self.strength:
            self.rng.shuffle(order)
        for k in range(len(self)):
            yield self.batch(order[k * self.settings.batch_size :][: self.settings.batch_size])

    def dataset(self):
        """Return a tf.data.Dataset that calls :meth:`epoch` whenever it is gone through."""
        widths = (5 + self.classes, 3)
        signature = tuple(tf.TensorSpec((None, None, width), tf.float32) for width in widths)
        batches = tf.data.Dataset.from_generator(self.epoch, output_signature=signature)
        return untuned(batches.apply(tf.data.experimental.assert_cardinality(len(self))))


# --- Training ---------------------------------------------------------------------------------


def build(settings, features, updates):
    """Build and compile the network that says how a step may go on.

    Parameters
    ----------
    settings : WritingSettings
    features : int
        Width of the inputs.
    updates : int
        After which the learning rate has fallen to 0.

    Returns
    -------
    keras.Model
        From (batch, time, features) to the outputs of a mixture, (batch, time, 6 M + 1).
    """
    options, components = {}, settings.components or 1
    if not settings.components:
        # Squared error: the logarithms of the standard deviations and the correlation stay at 0.
        learned = np.float32([0, 1, 1, 0, 0, 0, 1])
        options = dict.fromkeys(("kernel_constraint", "bias_constraint"), lambda w: w * learned)
    model = keras.Sequential(
        [
            keras.Input((None, features)),
            keras.layers.Masking(PADDING),
            layers.LSTM(settings.units, return_sequences=True),
            keras.layers.Dense(mixture.width(components), **options),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, updates)
    model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=1.0), loss=mixture.keras_mixture_density
    )
    return model


def train(dataset, settings, progress=True):
    """Train one network on most of the training strokes.

    Parameters
    ----------
    dataset : SequenceDataset
        Strokes, as delivered.
    settings : WritingSettings
    progress : bool
        Show a progress bar.

    Returns
    -------
    network : Network
        After the last epoch.
    curve : pandas.DataFrame
        ``run, epoch, loss, val_loss``: nats a step, on distorted copies and on held-out strokes.
    """
    keras.utils.set_random_seed(settings.seed)
    learnt, held_out = split_validation(dataset.train, VALIDATION, settings.seed)
    pixel, classes = pixel_of(dataset.train.x), len(dataset.classes)
    batches, judged = (
        Copies([x / pixel for x in split.x], split.y, classes, settings, strength)
        for split, strength in ((learnt, None), (held_out, 0.0))
    )
    model = build(settings, 5 + classes, settings.epochs * len(batches))
    bar = partial(tqdm, file=sys.stdout, leave=False)
    history = model.fit(
        batches.dataset(),
        validation_data=judged.dataset(),
        epochs=settings.epochs,
        callbacks=[TqdmCallback(verbose=0, tqdm_class=bar)] if progress else [],
        shuffle=False,  # the copies shuffle themselves
        verbose=0,
    )
    network = network_from_keras(model)
    if not settings.components:
        steps = [pen_steps(x / pixel, settings.distance) for x in learnt.x]
        a_y, y, _ = predicted(network, steps, learnt.y, classes, settings)
        network.b_y[3:5] = np.log((y - a_y[:, [1, 2, 6]])[:, :2].std(axis=0))
    curve = pd.DataFrame(history.history)
    curve.insert(0, "epoch", np.arange(1, len(curve) + 1))
    curve.insert(0, "run", settings.name)
    return network, curve


def predicted(network, strokes, labels, classes, settings):
    """Return what a network says of each step of some strokes when it reads all steps before it.

    Parameters
    ----------
    network : Network
    strokes : list of arrays, each of shape (T_i, 2)
        Steps in pixels.
    labels : array of int, shape (n,)
    classes : int
    settings : WritingSettings

    Returns
    -------
    a_y : array, shape (steps, 6 M + 1), float64
        Of all steps of all strokes, one below the other.
    y : array, shape (steps, 3)
        The steps, dequantised if the settings say so, always in the same way.
    starts : array of int, shape (n,)
        Where each stroke begins.
    """
    rng = np.random.default_rng(0) if settings.dequantised else None
    told = labels if settings.conditioned else [None] * len(strokes)
    x = [inputs(s, label, classes) for s, label in zip(strokes, told, strict=True)]
    padded = pad(x, PADDING)
    mask = mask_of(padded, PADDING)
    a_y = network.outputs(padded, mask, every_step=True)[mask].astype(np.float64)
    starts = np.cumsum([0, *map(len, strokes)])[:-1]
    return a_y, np.concatenate([targets(s, rng) for s in strokes]), starts


# --- Writing ----------------------------------------------------------------------------------


def write(network, labels, classes, rng, begun=None, **pen):
    """Let a network write: draw a step, read it, draw the next, until the end is drawn.

    Parameters
    ----------
    network : Network
    labels : sequence of int or None, length N
        The class asked for; None: none.
    classes : int
    rng : numpy.random.Generator
    begun : list of arrays, each of shape (T_i, 2), optional
        First steps of each stroke, which the network reads instead of its own.
    **pen
        ``temperature``, ``taken`` and ``least``, as in :func:`helpers.mixture.sample`.

    Returns
    -------
    list of arrays, each of shape (T_i, 2), float32
        Steps in whole pixels, the first ones included; at most 200.
    """
    n = len(labels)
    begun = begun or [()] * n
    state = [cell.initial(n) for cell in network.cells]
    steps, ends = np.zeros((n, LONGEST, 2), np.float32), np.full(n, LONGEST)
    x = np.stack([inputs(np.zeros((1, 2)), label, classes)[0] for label in labels])
    for t in range(LONGEST):
        h = x
        for k, cell in enumerate(network.cells):
            state[k], _ = cell.step(h, state[k])
            h = state[k][0]
        drawn = mixture.sample(rng, h @ network.W_y + network.b_y, **pen)
        steps[:, t], ended = np.round(drawn[:, :2]), drawn[:, 2] > 0
        for k, first in enumerate(begun):
            if t < len(first):
                steps[k, t], ended[k] = first[t], False
        ends = np.where(ended, np.minimum(ends, t + 1), ends)
        if (ends <= t + 1).all():
            break
        x[:, :2] = steps[:, t] / STEP_UNIT
        x[:, 2:4] += steps[:, t] / PLACE_UNIT
        x[:, 4] = 0
    return [s[:end] for s, end in zip(steps, ends, strict=True)]


# --- Judging ----------------------------------------------------------------------------------


def shape_of(steps, scale=scale_keep_aspect):
    """Return 40 points at equal distances along a stroke, its longest side 1, shape (80,)."""
    return resample_by_arc_length(scale(path(steps))).ravel()


def distances(a, b):
    """Return the mean distance between points of two sets of shapes, shape (len(a), len(b))."""
    a, b = (np.reshape(shapes, (len(shapes), -1, 2)) for shapes in (a, b))
    return np.stack([np.linalg.norm(one - b, axis=-1).mean(axis=-1) for one in a])


class Judges:
    """Classifiers of real strokes, and the real strokes, to hold written ones against.

    Parameters
    ----------
    dataset : SequenceDataset
        Strokes, as delivered. The judges learn from its training strokes, at equal distances.
    recurrent : bool
        Whether to train an LSTM beside the linear one.
    """

    def __init__(self, dataset, recurrent=True):
        self.classes, pixel = len(dataset.classes), pixel_of(dataset.train.x)
        train, test = (
            split.with_x([path(pen_steps(x / pixel)) for x in split.x])
            for split in (dataset.train, dataset.test)
        )
        steps = [np.diff(x, axis=0) for x in train.x]
        self.shapes = np.stack([shape_of(s) for s in steps])
        # On the features of experiments.baselines: each side scaled to 1.
        self.linear = LogisticRegression(max_iter=5000)
        self.linear.fit([shape_of(s, scale_per_file) for s in steps], train.y)
        self.network = None
        if recurrent:
            settings = settings_for("handwriting", "LSTM", 4, 0)
            even = dataclasses.replace(dataset, train=train, test=test)
            self.network = network_from_keras(fit(even, settings, progress=False).model)

    def answers(self, strokes):
        """Return the class that each judge sees in each stroke.

        Parameters
        ----------
        strokes : list of arrays, each of shape (T_i, 2)
            Steps in pixels.

        Returns
        -------
        dict of array of int, shape (n,)
            By ``linear``, and ``lstm`` if there is one.
        """
        found = {"linear": self.linear.predict([shape_of(s, scale_per_file) for s in strokes])}
        if self.network:
            x = [scale_keep_aspect(path(pen_steps(path(s)))) for s in strokes]
            padded = pad(x, PADDING)
            outputs = self.network.outputs(padded, mask_of(padded, PADDING))
            found["lstm"] = outputs.argmax(axis=1)
        return found

    def scores(self, strokes, labels):
        """Hold strokes against the classes asked for, each other, and the training strokes.

        Parameters
        ----------
        strokes : list of arrays, each of shape (T_i, 2)
            Steps in pixels.
        labels : array of int, shape (n,)

        Returns
        -------
        dict
            ``linear`` and ``lstm``, the shares recognised as what was asked for; ``spread``, the
            mean distance between two strokes of a class; ``nearest``, the mean distance to the
            nearest training stroke; ``steps``, the mean number of steps; ``finished``, the share
            that came to an end.
        """
        shapes = np.stack([shape_of(s) for s in strokes])
        spreads = []
        for k in np.unique(labels):
            same = distances(shapes[labels == k], shapes[labels == k])
            spreads.append(same[np.triu_indices(len(same), 1)].mean())
        lengths = np.array([len(s) for s in strokes])
        return {
            **{name: np.mean(found == labels) for name, found in self.answers(strokes).items()},
            "spread": np.mean(spreads),
            "nearest": distances(shapes, self.shapes).min(axis=1).mean(),
            "steps": lengths.mean(),
            "finished": np.mean(lengths < LONGEST),
        }


def other_classes(labels, classes):
    """Return for each label another one, in turn."""
    return (labels + 1 + np.arange(len(labels)) % (classes - 1)) % classes


def ended_by(strokes, labels, ends, rng):
    """Let each stroke end, from its middle, as another one of the class in ``ends`` does.

    Parameters
    ----------
    strokes : list of arrays, each of shape (T_i, 2)
        Steps.
    labels, ends : array of int, shape (n,)
    rng : numpy.random.Generator

    Returns
    -------
    list of arrays

    Raises
    ------
    ValueError
        If there is no other stroke of a class.
    """
    out = []
    for k, (steps, end) in enumerate(zip(strokes, ends, strict=True)):
        same = np.flatnonzero(labels == end)
        others = same[same != k]
        if not len(others):
            raise ValueError(f"class number {end}: found {len(same)} strokes; expected 2 or more")
        other = strokes[rng.choice(others)]
        out.append(np.concatenate([steps[: len(steps) // 2], other[len(other) // 2 :]]))
    return out


def run(dataset, settings, judges):
    """Train one network, let it write, and judge what it wrote; the test strokes are used once.

    Parameters
    ----------
    dataset : SequenceDataset
    settings : WritingSettings
    judges : Judges

    Returns
    -------
    dict of pandas.DataFrame
        ``runs`` (one row: settings, versions, nats a step, what became of test strokes begun and
        left to the network), ``scores`` (one row each of :data:`PENS`) and ``curves``.
    """
    started = time.process_time()
    network, curve = train(dataset, settings, progress=False)
    classes, rng = len(dataset.classes), np.random.default_rng(settings.seed)
    pixel, y = pixel_of(dataset.train.x), dataset.test.y
    real = [pen_steps(x / pixel, settings.distance) for x in dataset.test.x]

    def let_write(labels, **how):
        told = labels if settings.conditioned else [None] * len(labels)
        return write(network, told, classes, rng, **how)

    def nats_a_pixel(strokes, labels, taken, drawn=None):
        return surprises(network, strokes, labels, classes, settings, taken, drawn).mean()

    asked = np.repeat(np.arange(classes), PER_CLASS)
    written, scores = [], []
    for pen in PENS:
        written.append(let_write(asked, **pen))
        pen = {"run": settings.name, "temperature": 1.0, "taken": 0.0, "least": 0.0} | pen
        scores.append(pen | judges.scores(written[-1], asked))
    begun = [steps[: len(steps) // 2] for steps in real]
    others = other_classes(y, classes)
    primed, crossed = (
        judges.answers(let_write(labels, begun=begun))["linear"] for labels in (y, others)
    )
    pixels = {}
    for name, taken, own in (("", 0.0, written[0]), ("_taken", TWO_NOISES, written[-3])):
        pixels[f"test_pixel{name}"] = nats_a_pixel(real, y, taken)
        pixels[f"redrawn_pixel{name}"] = nats_a_pixel(real, y, taken, rng)
        pixels[f"written_pixel{name}"] = nats_a_pixel(own, asked, taken)
    row = {
        "run": settings.name,
        **dataclasses.asdict(settings),
        "data": dataset.digest,
        "origin": dataset.origin,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "train_nll": curve["loss"].iloc[-1],
        "validation_nll": curve["val_loss"].iloc[-1],
        "test_nll": nats(network, real, y, classes, settings),
        **pixels,
        "primed_right": np.mean(primed == y),
        "crossed_asked": np.mean(crossed == others),
        "crossed_begun": np.mean(crossed == y),
        "seconds": round(time.process_time() - started, 1),
    }
    keras.backend.clear_session()
    return {"curves": curve, "scores": pd.DataFrame(scores), "runs": pd.DataFrame([row])}


def nats(network, strokes, labels, classes, settings):
    """Return the mean of minus the log-likelihood over all steps of some strokes."""
    a_y, y, _ = predicted(network, strokes, labels, classes, settings)
    return mixture.mixture_density(a_y, y)[0].mean()


def surprises(network, strokes, labels, classes, settings, taken=0.0, drawn=None):
    """Return minus the log-probability that a pen gives to each step of some strokes.

    Parameters
    ----------
    network, strokes, labels, classes, settings
        As in :func:`predicted`.
    taken : float
        As in :func:`helpers.mixture.without_noise`.
    drawn : numpy.random.Generator, optional
        If given, the strokes are read as they are, and the steps that are judged are those which
        the pen would draw: none of them is ever read.

    Returns
    -------
    array, shape (steps,)
    """
    a_y, _, _ = predicted(network, strokes, labels, classes, settings)
    y = np.concatenate([targets(steps) for steps in strokes])
    if drawn is not None:
        y = mixture.sample(drawn, a_y, taken=taken)
        y[:, :2] = np.round(y[:, :2])
    return mixture.pixel_loss(a_y, y, taken)


def page_network(dataset, judges):
    """Train the small network that goes on with a reader's stroke, and test it as it is stored.

    Parameters
    ----------
    dataset : SequenceDataset
    judges : Judges

    Returns
    -------
    dict
        For JSON: what a script needs to know beside the weights, in pixels; ``written`` and
        ``primed``, the shares that the linear judge recognises of strokes written by it, and of
        test strokes that it finished from their middle; and the ``weights``, as arrays.
    """
    settings = WritingSettings("page", 1, **PAGE_NETWORK)
    network, _ = train(dataset, settings, progress=False)
    network = network.astype(np.float16).astype(np.float32)
    classes, rng = len(dataset.classes), np.random.default_rng(settings.seed)
    pixel = pixel_of(dataset.train.x)
    begun = [pen_steps(x / pixel) for x in dataset.test.x]
    begun = [steps[: len(steps) // 2] for steps in begun]
    asked = np.repeat(np.arange(classes), PER_CLASS)
    written = judges.answers(write(network, asked, classes, rng, **PAGE_PEN))
    primed = judges.answers(write(network, dataset.test.y, classes, rng, begun, **PAGE_PEN))
    keras.backend.clear_session()
    return {
        "settings": dataclasses.asdict(settings),
        "data": dataset.digest,
        "pixel": pixel,
        "distance": settings.distance,
        "step_unit": STEP_UNIT,
        "place_unit": PLACE_UNIT,
        "longest": LONGEST,
        "largest_rho": mixture.LARGEST_RHO,
        "pen": PAGE_PEN,
        "written": np.mean(written["linear"] == asked),
        "primed": np.mean(primed["linear"] == dataset.test.y),
        "weights": list(network.weights.values()),
    }


# --- What needs no network --------------------------------------------------------------------


def references(dataset, judges):
    """Score real strokes, and how well simple rules predict their steps.

    Each rule is a Gaussian about a prediction that is linear in the steps before, fitted to the
    training strokes; that a step is the last one has the same probability at every step.

    Parameters
    ----------
    dataset : SequenceDataset
    judges : Judges

    Returns
    -------
    pandas.DataFrame
        ``data, name, test_nll``, the scores of :meth:`Judges.scores`, and ``crossed_asked`` and
        ``crossed_begun``, the shares seen as the class that ends a stroke and that began it. Rows
        ``mean step``, ``constant velocity``, ``autoregression``; ``real strokes`` (test),
        ``training strokes``, ``distorted copies``; and test strokes that end halfway in another
        manner: ``ended by their class`` (the second half of another test stroke of the class),
        ``ended by another class`` and ``ended straight`` (the last step repeated).
    """
    pixel = pixel_of(dataset.train.x)
    train, test = (
        [pen_steps(x / pixel) for x in split.x] for split in (dataset.train, dataset.test)
    )
    rng, rows = np.random.default_rng(0), []
    for name, order in (("mean step", 0), ("constant velocity", 1), ("autoregression", 3)):
        (x, y), (x_test, y_test) = (
            _with_steps_before(split, order, rng) for split in (train, test)
        )
        weights = np.zeros((x.shape[1], 2))
        if name == "constant velocity":
            weights[1:] = np.eye(2)
        else:
            weights = np.linalg.lstsq(x, y[:, :2])[0]
        covariance = np.cov((y[:, :2] - x @ weights).T)
        end = y[:, 2].mean()
        error = y_test[:, :2] - x_test @ weights
        nll = np.einsum("ti,ij,tj->t", error, np.linalg.inv(covariance), error) / 2
        nll += np.log(2 * np.pi) + np.linalg.slogdet(covariance)[1] / 2
        nll -= np.log(np.where(y_test[:, 2], end, 1 - end))
        rows.append({"name": name, "test_nll": nll.mean()})
    y, settings = dataset.test.y, WritingSettings("copies", 0)
    matrices = np.eye(2) + rng.normal(0, settings.strength, (len(train), 2, 2))
    copies = [
        pen_steps(x / pixel @ m, settings.distance)
        for x, m in zip(dataset.train.x, matrices, strict=True)
    ]
    rows.append({"name": "real strokes", **judges.scores(test, y)})
    rows.append({"name": "training strokes", **judges.scores(train, dataset.train.y)})
    rows.append({"name": "distorted copies", **judges.scores(copies, dataset.train.y)})

    def seen(strokes):  # as which class, a row for each time that all were changed
        return judges.answers(strokes)["linear"].reshape(-1, len(y))

    others = other_classes(y, len(dataset.classes))
    own = seen([s for _ in range(10) for s in ended_by(test, y, y, rng)])
    other = seen([s for _ in range(10) for s in ended_by(test, y, others, rng)])
    halves = [len(s) // 2 for s in test]
    straight = [
        np.pad(s[:half], ((0, len(s) - half), (0, 0)), "edge")
        for s, half in zip(test, halves, strict=True)
    ]
    rows.append({"name": "ended by their class", "linear": np.mean(own == y)})
    shares = {"crossed_asked": np.mean(other == others), "crossed_begun": np.mean(other == y)}
    rows.append({"name": "ended by another class", **shares})
    rows.append({"name": "ended straight", "linear": np.mean(seen(straight) == y)})
    table = pd.DataFrame(rows)
    table.insert(0, "data", dataset.digest)
    return table


def _with_steps_before(strokes, order, rng):
    """Return a one and the steps before, as columns, and the targets, of all steps."""
    x = []
    for steps in strokes:
        before = [np.pad(steps, ((k, 0), (0, 0)))[: len(steps)] for k in range(1, order + 1)]
        x.append(np.column_stack([np.ones(len(steps)), *before]))
    return np.concatenate(x), np.concatenate([targets(steps, rng) for steps in strokes])
