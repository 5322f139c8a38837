"""From sequences of unequal length to tensors: scaling, padding, masks, batches."""

import numpy as np

from helpers.data import DataFormatError

# The report pads strokes with 2 to 178 steps and CV segments with −1 to 64 frames.
PADDING_VALUE = {"handwriting": 2.0, "cv_segments": -1.0}
PADDED_LENGTH = {"handwriting": 178, "cv_segments": 64}


# --- Scaling ----------------------------------------------------------------------------------


def scale_per_file(x):
    """Map each feature of one sequence to 0…1 by its own minimum and maximum.

    Parameters
    ----------
    x : array, shape (T, features)

    Returns
    -------
    array, shape (T, features), float32
        A feature that does not change becomes 0.
    """
    low = x.min(axis=0)
    span = x.max(axis=0) - low
    return ((x - low) / np.where(span == 0, 1, span)).astype(np.float32)


def scale_keep_aspect(x):
    """Map one sequence into 0…1 by its longest side, so that proportions stay.

    Parameters
    ----------
    x : array, shape (T, features)

    Returns
    -------
    array, shape (T, features), float32
        The feature with the widest span covers 0…1; the others start at 0.
    """
    low = x.min(axis=0)
    span = (x.max(axis=0) - low).max()
    return ((x - low) / (span or 1)).astype(np.float32)


def fit_scaling(method, train, groups=None):
    """Return the function that scales a list of sequences, fitted on the training sequences.

    Parameters
    ----------
    method : str
        ``none``; ``per_file`` and ``aspect`` (each sequence by itself, nothing is fitted);
        ``global_max`` (each feature divided by its largest magnitude in ``train``);
        ``standard`` (zero mean, unit variance over all steps of ``train``);
        ``per_speaker`` (the same over all steps of one speaker, or whatever ``groups`` names).
    train : list of arrays, each of shape (T_i, features)
    groups : array of shape (n,), optional
        Who each training sequence is of; ``per_speaker`` needs it.

    Returns
    -------
    callable
        Takes a list of arrays of shape (T_i, features) and, if need be, their groups; returns a
        list of arrays of the same shapes, float32. A speaker who is not in ``train`` is scaled by
        the sequences that are given of that speaker, whose labels are not used.

    Raises
    ------
    ValueError
        If ``method`` is none of these, or ``groups`` is needed and not given.
    """
    if method == "none":
        return lambda x, groups=None: list(x)
    if method == "per_file":
        return lambda x, groups=None: [scale_per_file(sequence) for sequence in x]
    if method == "aspect":
        return lambda x, groups=None: [scale_keep_aspect(sequence) for sequence in x]
    if method == "global_max":
        largest = np.abs(np.concatenate(train)).max(axis=0)
        largest = np.where(largest == 0, 1, largest).astype(np.float32)
        return lambda x, groups=None: [sequence / largest for sequence in x]
    if method == "standard":
        everyone = _standard_scalers(train, np.zeros(len(train)))[0]
        return lambda x, groups=None: [_float32(everyone, sequence) for sequence in x]
    if method == "per_speaker":
        known = _standard_scalers(train, groups)

        def scale(x, groups=None):
            scalers = _standard_scalers(x, groups) | known
            return [_float32(scalers[g], s) for s, g in zip(x, groups, strict=True)]

        return scale
    raise ValueError(
        f"found scaling {method!r}; expected none, per_file, aspect, global_max, standard or "
        f"per_speaker"
    )


def _standard_scalers(x, groups):
    from sklearn.preprocessing import StandardScaler

    if groups is None:
        raise ValueError("scaling per_speaker: found no groups; expected one of each sequence")
    steps = {g: [s for s, other in zip(x, groups, strict=True) if other == g] for g in set(groups)}
    return {
        g: StandardScaler().fit(np.concatenate(of_one).astype(np.float64))
        for g, of_one in steps.items()
    }


def _float32(scaler, sequence):
    return scaler.transform(sequence).astype(np.float32)


# --- Padding and masks ------------------------------------------------------------------------


def check_padding_value(x, value, files=None):
    """Refuse a padding value that a real step has in all its features, since it would be masked.

    Parameters
    ----------
    x : list of arrays, each of shape (T_i, features)
    value : float
    files : sequence of str, optional
        Names for the error.

    Raises
    ------
    DataFormatError
        Naming the first sequence and step where that is so.
    """
    for i, sequence in enumerate(x):
        hidden = np.flatnonzero((sequence == np.float32(value)).all(axis=1))
        if len(hidden):
            name = files[i] if files is not None else f"sequence {i}"
            raise DataFormatError(
                f"{name}, step {hidden[0] + 1}",
                f"the padding value {value:g} in every feature",
                "a padding value that no step consists of",
            )


def pad(x, value, length=None, files=None):
    """Pad sequences at their end to one length.

    Parameters
    ----------
    x : list of arrays, each of shape (T_i, features)
    value : float
        Must not occur as a whole step of any sequence.
    length : int, optional
        The longest sequence's length if not given.
    files : sequence of str, optional
        Names for errors.

    Returns
    -------
    array, shape (n, length, features), float32

    Raises
    ------
    DataFormatError
        If a step equals the padding value, or a sequence is longer than ``length``:
        nothing is cut.
    """
    import keras

    check_padding_value(x, value, files)
    longest = int(np.argmax([len(sequence) for sequence in x]))
    if length is not None and len(x[longest]) > length:
        raise DataFormatError(
            files[longest] if files is not None else f"sequence {longest}",
            f"{len(x[longest])} steps",
            f"at most {length}, the padded length",
        )
    return keras.utils.pad_sequences(
        x, maxlen=length, dtype="float32", padding="post", value=float(value)
    )


def mask_of(padded, value):
    """Return which steps are real: those that differ from ``value`` in at least one feature.

    Parameters
    ----------
    padded : array, shape (n, T, features)
    value : float

    Returns
    -------
    array, shape (n, T), bool
        The rule of :class:`keras.layers.Masking`.
    """
    return np.any(padded != np.float32(value), axis=-1)


# --- Batches ----------------------------------------------------------------------------------


def padded_batches(x, batch_size, value, y=None, files=None, shuffle_seed=None):
    """Batches of neighbours in the order of ``x``, or of that order shuffled anew each epoch.

    The same sequences come together as in ``model.fit`` on one padded array; each batch is padded
    only to its own longest sequence. Which sequences share a batch never depends on their lengths.

    Parameters
    ----------
    x : list of arrays, each of shape (T_i, features), float32
    batch_size : int
    value : float
        Padding value, refused if it occurs as a whole step.
    y : array of int, shape (n,), optional
    files : sequence of str, optional
        Names for errors.
    shuffle_seed : int, optional
        If given, each epoch comes in another order, which depends on the seed and the epoch alone.

    Returns
    -------
    tf.data.Dataset
        Of arrays ``(batch, time, features)``, or with ``y`` of pairs of these and ``(batch,)``.

    Raises
    ------
    DataFormatError
        If a step equals the padding value.
    """
    import tensorflow as tf

    check_padding_value(x, value, files)
    # One gather a batch: a Python or TensorFlow call for each sequence would take most of the time.
    lengths = [len(sequence) for sequence in x]
    steps = tf.RaggedTensor.from_row_lengths(np.concatenate(x).astype(np.float32), lengths)
    labels = None if y is None else tf.constant(np.asarray(y, dtype=np.int64))
    order = tf.data.Dataset.range(len(x))
    if shuffle_seed is not None:
        order = order.shuffle(len(x), seed=shuffle_seed, reshuffle_each_iteration=True)

    def batch(index):
        padded = tf.gather(steps, index).to_tensor(default_value=np.float32(value))
        return padded if labels is None else (padded, tf.gather(labels, index))

    return untuned(order.batch(batch_size).map(batch).prefetch(2))


def untuned(batches):
    """Return a tf.data.Dataset without the thread that tunes it.

    Here is nothing to tune. The thread sleeps, twice as long each time, and at the end of an epoch
    one would often wait for it, up to as long as the epoch took.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


# --- A reading that needs no future -----------------------------------------------------------


def distance_travelled(x):
    """How far the pen has travelled at each point of a stroke (T, 2); shape (T,), float64."""
    steps = np.linalg.norm(np.diff(np.asarray(x, np.float64), axis=0), axis=1)
    return np.concatenate([[0], np.cumsum(steps)])


def read_along(x, size, spacing=0.05):
    """Read a stroke point by point as the pen moves, a point each time it has gone a bit further.

    The steps up to a point do not depend on what comes after it, nor on how often the tablet
    reports the pen: the points lie at equal distances along the path, interpolated linearly.

    Parameters
    ----------
    x : array, shape (T, 2)
    size : float
        How large strokes are, in the units of ``x``: one number for all, since no stroke knows its
        own size before it ends.
    spacing : float
        Distance along the path from one point to the next, as a share of ``size``.

    Returns
    -------
    array, shape (steps, 4), float32
        Where the pen is, seen from where it came down, in units of ``size``; and its step since
        the point before, in units of the spacing (at the first point 0).
    """
    travelled = distance_travelled(x)
    at = np.arange(0, travelled[-1] + 1e-9 * size, spacing * size)
    points = np.stack([np.interp(at, travelled, axis) for axis in np.asarray(x, float).T], axis=1)
    steps = np.diff(points, axis=0, prepend=points[:1]) / (spacing * size)
    return np.hstack([(points - points[0]) / size, steps]).astype(np.float32)


# --- Fixed-length features for baselines ------------------------------------------------------


def resample_by_arc_length(x, points=40):
    """Take points at equal distances along a stroke, whatever the speed of the pen.

    Parameters
    ----------
    x : array, shape (T, 2)
    points : int

    Returns
    -------
    array, shape (points, 2), float32
        From the first to the last point of ``x``, interpolated linearly.
    """
    travelled = distance_travelled(x)
    at = np.linspace(0, travelled[-1], points)
    return np.stack([np.interp(at, travelled, axis) for axis in x.T], axis=1).astype(np.float32)


def segment_means(x, segments=5):
    """Cut a sequence into equal parts and return the mean of each feature in each part.

    Parameters
    ----------
    x : array, shape (T, features)
        A sequence shorter than ``segments`` is repeated step by step until it is long enough.
    segments : int

    Returns
    -------
    array, shape (segments * features,), float32
    """
    if len(x) < segments:
        x = np.repeat(x, -(-segments // len(x)), axis=0)
    parts = np.array_split(x, segments)
    return np.concatenate([part.mean(axis=0) for part in parts]).astype(np.float32)
