"""The report's architectures as data, and the one function that builds a Keras model of them."""

from typing import NamedTuple

CELLS = ("SimpleRNN", "LSTM", "GRU")
SCANS = ("MinGRU", "MinLSTM", "LRU", "Selective")
LAYERS = (*CELLS, "Conv1D", "Transformer", *SCANS)


class Architecture(NamedTuple):
    """A stack of layers, each followed by dropout.

    Attributes
    ----------
    number : int
        1 to 5 as in the report's figures 2.2 and 3.2; higher ones are not the report's.
    units : tuple of int
        Width of each layer.
    dropout : tuple of float
        Share of features dropped after each layer; 0 where the report lists none.
    bidirectional : bool
        Whether each recurrent layer reads the sequence from both ends.
    pooling : bool
        Whether the classifier sees the mean and the maximum over time of the last layer's
        states, instead of the last state.
    """

    number: int
    units: tuple
    dropout: tuple
    bidirectional: bool = False
    pooling: bool = False


ARCHITECTURES = {
    "handwriting": {
        1: Architecture(1, (64, 32, 32), (0.2, 0.2, 0.2)),
        2: Architecture(2, (128, 32, 32), (0.2, 0.2, 0.2)),
        3: Architecture(3, (64, 32), (0.2, 0.2)),
        4: Architecture(4, (64, 64), (0.2, 0.2)),
        5: Architecture(5, (32, 32, 32), (0.2, 0.2, 0.2)),
    },
    "cv_segments": {
        1: Architecture(1, (256,), (0.2,)),
        2: Architecture(2, (256, 256), (0.2, 0.2)),
        3: Architecture(3, (128,), (0.3,)),
        4: Architecture(4, (64, 64), (0.0, 0.0)),
        5: Architecture(5, (32, 32), (0.2, 0.2)),
    },
}

# Bidirectional, pooled, both; for segments deeper ones, too, since layers that see a few steps
# only need depth, and distorted copies carry more of it.
VARIANTS = {
    "handwriting": {
        6: Architecture(6, (64, 64), (0.2, 0.2), bidirectional=True),
        7: Architecture(7, (64, 64), (0.2, 0.2), pooling=True),
        8: Architecture(8, (64, 64), (0.2, 0.2), bidirectional=True, pooling=True),
    },
    "cv_segments": {
        6: Architecture(6, (128,), (0.5,), bidirectional=True),
        7: Architecture(7, (128,), (0.5,), pooling=True),
        8: Architecture(8, (128,), (0.5,), bidirectional=True, pooling=True),
        9: Architecture(9, (128, 128), (0.3, 0.3), pooling=True),
    },
}


def build(
    layer,
    architecture,
    features,
    classes,
    mask_value,
    learning_rate=1e-3,
    clip=0.0,
    augment=(),
    recurrent=None,
):
    """Build and compile a many-to-one classifier: masking, hidden layers, dense softmax.

    Parameters
    ----------
    layer : str
        What the hidden layers are: ``SimpleRNN``, ``LSTM`` or ``GRU``; ``MinGRU``, ``MinLSTM``,
        ``LRU`` or ``Selective``, whose gates read the input alone; ``Conv1D`` (width 5) or
        ``Transformer`` (encoder blocks), which need an architecture that pools.
    architecture : Architecture
    features, classes : int
        Width of a step and number of classes.
    mask_value : float or None
        A step that has this value in all its features is skipped; with None, no step is.
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
        Of Adam; the report's is 0.001.
    clip : float
        Bound on the norm of all gradients together; 0 for none.
    augment : sequence of keras.layers.Layer
        What distorts the input in training.
    recurrent : module, optional
        Where the layers of :data:`CELLS` come from: :mod:`keras.layers` if not given, or
        :mod:`helpers.layers`, which computes the same and spends no time on padding.

    Returns
    -------
    keras.Model
        From (batch, time, features) to (batch, classes); any time up to the longest of a batch.

    Raises
    ------
    ValueError
        If ``layer`` is unknown, or the architecture does not suit it.
    """
    import keras

    from helpers import layers
    from helpers.layers import EncoderBlock, MaskedConv1D, MeanMaxPooling, PositionEncoding

    if layer not in LAYERS:
        raise ValueError(f"found layer {layer!r}; expected one of {', '.join(LAYERS)}")
    if layer not in (*CELLS, *SCANS) and (architecture.bidirectional or not architecture.pooling):
        raise ValueError(
            f"{layer}: found architecture {architecture.number}, with a last or a backward state; "
            f"expected one that pools over time"
        )
    masking = () if mask_value is None else (keras.layers.Masking(mask_value),)
    stack = [keras.Input((None, features)), *masking, *augment]
    if layer == "Transformer":
        stack += [keras.layers.Dense(architecture.units[0]), PositionEncoding()]
    last = len(architecture.units) - 1
    for i, (units, dropout) in enumerate(
        zip(architecture.units, architecture.dropout, strict=True)
    ):
        if layer in (*CELLS, *SCANS):
            every = architecture.pooling or i < last
            source = layers if layer in SCANS else recurrent or keras.layers
            one = getattr(source, layer)(units, return_sequences=every)
            stack.append(keras.layers.Bidirectional(one) if architecture.bidirectional else one)
        elif layer == "Conv1D":
            stack.append(MaskedConv1D(units, 5, activation="relu"))
        else:
            stack.append(EncoderBlock(units, dropout=dropout))
        if dropout and layer != "Transformer":  # whose blocks hold their own
            stack.append(keras.layers.Dropout(dropout))
    if architecture.pooling:
        stack.append(MeanMaxPooling())
    stack.append(keras.layers.Dense(classes, activation="softmax"))
    model = keras.Sequential(stack, name=f"{layer}_{architecture.number}")
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate, global_clipnorm=clip or None),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def augmentation(dataset, seed):
    """Return the layers that distort training sequences of a data set.

    Parameters
    ----------
    dataset : str
        ``handwriting``: small affine maps of each stroke. ``cv_segments``: noise, and runs of
        frames and cepstra silenced.
    seed : int

    Returns
    -------
    list of keras.layers.Layer
        Active in training only.
    """
    import keras

    from helpers.layers import RandomAffine, RandomMasking

    if dataset == "handwriting":
        return [RandomAffine(0.1, seed=seed)]
    return [keras.layers.GaussianNoise(0.3, seed=seed), RandomMasking(seed=seed)]


def count_parameters(layer, architecture, features, classes):
    """Count the weights by formula, layer by layer.

    A layer of n units on m inputs has n(n + m + 1) weights for SimpleRNN, four times as many for
    LSTM, and 3n(n + m + 2) for GRU as Keras builds it (``reset_after=True``, two biases).

    Parameters
    ----------
    layer : str
        ``SimpleRNN``, ``LSTM`` or ``GRU``.
    architecture, features, classes
        As in :func:`build`.

    Returns
    -------
    list of int
        One count for each recurrent layer, and last the dense layer's.

    Raises
    ------
    ValueError
        If ``layer`` is another one.
    """
    if layer not in CELLS:
        raise ValueError(f"found layer {layer!r}; expected one of {', '.join(CELLS)}")
    counts, m = [], features
    for n in architecture.units:
        counts.append(
            {
                "SimpleRNN": n * (n + m + 1),
                "LSTM": 4 * n * (n + m + 1),
                "GRU": 3 * n * (n + m + 2),
            }[layer]
        )
        m = n
    return [*counts, classes * (m + 1)]
