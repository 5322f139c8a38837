"""From sequences of unequal length to tensors: scaling, padding, masks, length buckets."""

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


def fit_scaling(method, train):
    """Return the function that scales a list of sequences, fitted on the training sequences.

    Parameters
    ----------
    method : str
        ``none``; ``per_file`` and ``aspect`` (each sequence by itself, nothing is fitted);
        ``global_max`` (each feature divided by its largest magnitude in ``train``);
        ``standard`` (zero mean, unit variance over all steps of ``train``).
    train : list of arrays, each of shape (T_i, features)

    Returns
    -------
    callable
        Takes and returns a list of arrays of shape (T_i, features), float32.

    Raises
    ------
    ValueError
        If ``method`` is none of these.
    """
    if method == "none":
        return list
    if method == "per_file":
        return lambda x: [scale_per_file(sequence) for sequence in x]
    if method == "aspect":
        return lambda x: [scale_keep_aspect(sequence) for sequence in x]
    steps = np.concatenate(train)
    if method == "global_max":
        largest = np.abs(steps).max(axis=0)
        largest = np.where(largest == 0, 1, largest).astype(np.float32)
        return lambda x: [sequence / largest for sequence in x]
    if method == "standard":
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(steps.astype(np.float64))
        return lambda x: [scaler.transform(sequence).astype(np.float32) for sequence in x]
    raise ValueError(
        f"found scaling {method!r}; expected none, per_file, aspect, global_max or standard"
    )


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


# --- Length buckets ---------------------------------------------------------------------------


def bucket_boundaries(lengths, buckets=5):
    """Return the lengths at which ``buckets`` groups of about equal size part.

    Parameters
    ----------
    lengths : array of int, shape (n,)
    buckets : int

    Returns
    -------
    list of int
        At most ``buckets - 1`` increasing boundaries; a sequence as long as a boundary
        belongs to the bucket after it.
    """
    shares = np.linspace(0, 1, buckets + 1)[1:-1]
    cuts = np.quantile(lengths, shares, method="higher")  # a length that occurs: no empty bucket
    return sorted({int(cut) for cut in cuts if cut > lengths.min()})


def bucketed_batches(x, y, batch_size, value, seed, buckets=5, files=None):
    """Batches for training in which sequences of similar length stand together.

    Each epoch shuffles all sequences, then collects batches within length buckets, each padded
    only to its own longest sequence. The order depends on ``seed`` and the epoch alone.

    Parameters
    ----------
    x : list of arrays, each of shape (T_i, features), float32
    y : array of int, shape (n,)
    batch_size : int
    value : float
        Padding value, refused if it occurs as a whole step.
    seed : int
    buckets : int
    files : sequence of str, optional
        Names for errors.

    Returns
    -------
    tf.data.Dataset
        Of pairs ``(batch, time, features)``, ``(batch,)``.
    """
    import tensorflow as tf

    steps = _steps(x, value, files)
    lengths = np.array([len(sequence) for sequence in x])
    boundaries = bucket_boundaries(lengths, buckets)
    _, sizes = np.unique(np.digitize(lengths, boundaries), return_counts=True)
    batches = int(np.ceil(sizes / batch_size).sum())
    return (
        tf.data.Dataset.from_tensor_slices((np.arange(len(x)), np.asarray(y, dtype=np.int64)))
        .shuffle(len(x), seed=seed, reshuffle_each_iteration=True)
        .map(lambda i, label: (steps(i), label))
        .bucket_by_sequence_length(
            lambda sequence, label: tf.shape(sequence)[0],
            bucket_boundaries=boundaries,
            bucket_batch_sizes=[batch_size] * (len(boundaries) + 1),
            padding_values=(np.float32(value), np.int64(0)),
        )
        .apply(tf.data.experimental.assert_cardinality(batches))
        .prefetch(2)
    )


def sorted_batches(x, batch_size, value, files=None):
    """Batches for prediction, by increasing length, and the order that undoes the sorting.

    Parameters
    ----------
    x, batch_size, value, files
        As in :func:`bucketed_batches`.

    Returns
    -------
    batches : tf.data.Dataset
        Of arrays of shape (batch, time, features).
    restore : array of int, shape (n,)
        ``predictions[restore]`` stands in the order of ``x``.
    """
    import tensorflow as tf

    steps = _steps(x, value, files)
    order = np.argsort([len(sequence) for sequence in x], kind="stable")
    batches = (
        tf.data.Dataset.from_tensor_slices(order)
        .map(steps)
        .padded_batch(batch_size, padding_values=np.float32(value))
        .prefetch(2)
    )
    return batches, np.argsort(order, kind="stable")


def _steps(x, value, files):
    """Return a TensorFlow function from an index to that sequence.

    All steps lie in one array: tf.data slices it, which costs no Python call per sequence.
    """
    import tensorflow as tf

    check_padding_value(x, value, files)
    flat = tf.constant(np.concatenate(x), dtype=tf.float32)
    lengths = np.array([len(sequence) for sequence in x])
    starts, ends = tf.constant(np.cumsum(lengths) - lengths), tf.constant(np.cumsum(lengths))
    return lambda i: flat[starts[i] : ends[i]]


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
    steps = np.linalg.norm(np.diff(x, axis=0), axis=1)
    travelled = np.concatenate([[0], np.cumsum(steps)])
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
