"""Length buckets, a short cut that changes what is learned: kept to put it on trial."""

from functools import partial

import numpy as np
import tensorflow as tf

from helpers.padding import check_padding_value, untuned


def bucket_edges(lengths, buckets):
    """Return the lengths at which equally large buckets part, ascending.

    Parameters
    ----------
    lengths : array of int, shape (n,)
    buckets : int

    Returns
    -------
    list of int
        At most ``buckets`` − 1; sequences of one length are never parted.
    """
    shares = np.arange(1, buckets) / buckets
    return np.unique(np.quantile(lengths, shares, method="higher")).tolist()


def bucketed_batches(
    x,
    batch_size,
    value,
    y,
    files=None,
    shuffle_seed=0,
    buckets=5,
    neighbours=True,
    handfuls=True,
):
    """Batches drawn from one bucket each, shuffled anew each epoch.

    Parameters
    ----------
    x, batch_size, value, y, files, shuffle_seed
        As in :func:`helpers.padding.padded_batches`.
    buckets : int
    neighbours : bool
        Whether a bucket holds sequences of neighbouring lengths, which is what saves padding
        (Khomenko and others, 2016). If not, sequences are dealt at random into buckets of the
        same sizes: the batches are as many and as large, and their company is any.
    handfuls : bool
        Whether what is left in a bucket at the end of an epoch, less than a batch, is a batch.
        If not, it is left out of that epoch; another epoch leaves out others.

    Returns
    -------
    tf.data.Dataset
        Of pairs of arrays ``(batch, time, features)`` and ``(batch,)``.

    Raises
    ------
    DataFormatError
        If a step equals the padding value.
    """
    check_padding_value(x, value, files)
    lengths = np.array([len(sequence) for sequence in x])
    edges = bucket_edges(lengths, buckets)
    key = lengths if neighbours else np.random.default_rng(shuffle_seed).permutation(lengths)
    steps = tf.RaggedTensor.from_row_lengths(np.concatenate(x).astype(np.float32), lengths)
    key, labels = tf.constant(key, tf.int32), tf.constant(np.asarray(y, dtype=np.int64))
    order = tf.data.Dataset.range(len(x)).shuffle(len(x), seed=shuffle_seed)
    chosen = order.bucket_by_sequence_length(
        lambda i: key[i],
        bucket_boundaries=edges,
        bucket_batch_sizes=[batch_size] * (len(edges) + 1),
        drop_remainder=not handfuls,
    )
    batches = chosen.map(
        lambda i: (
            tf.gather(steps, i).to_tensor(default_value=np.float32(value)),
            tf.gather(labels, i),
        )
    )
    sizes = np.bincount(np.digitize(key, edges))
    number = sum(size // batch_size + (handfuls and size % batch_size > 0) for size in sizes)
    batches = batches.apply(tf.data.experimental.assert_cardinality(int(number)))
    return untuned(batches.prefetch(2))


# How batches are drawn, by the name in a run's settings; None leaves it to helpers.training.
BATCHES = {
    "shuffled": None,
    "by_length": bucketed_batches,
    "by_length_full": partial(bucketed_batches, handfuls=False),
    "shuffled_handfuls": partial(bucketed_batches, neighbours=False),
}
