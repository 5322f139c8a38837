"""The report's architectures as data, and the one function that builds a Keras model of them."""

from typing import NamedTuple

CELLS = ("SimpleRNN", "LSTM", "GRU")


class Architecture(NamedTuple):
    """A stack of recurrent layers, each followed by dropout.

    Attributes
    ----------
    number : int
        As in the report's figures 2.2 and 3.2.
    units : tuple of int
        Width of each recurrent layer.
    dropout : tuple of float
        Share of features dropped after each layer; 0 where the report lists none.
    """

    number: int
    units: tuple
    dropout: tuple


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


def build(cell, architecture, features, classes, mask_value, learning_rate=1e-3):
    """Build and compile a many-to-one classifier: masking, recurrent layers, dense softmax.

    Parameters
    ----------
    cell : str
        ``SimpleRNN``, ``LSTM`` or ``GRU``.
    architecture : Architecture
    features, classes : int
        Width of a step and number of classes.
    mask_value : float
        A step that has this value in all its features is skipped.
    learning_rate : float
        Of Adam; the report's is 0.001.

    Returns
    -------
    keras.Model
        From (batch, time, features) to (batch, classes); any time up to the longest of a batch.

    Raises
    ------
    ValueError
        If ``cell`` is none of :data:`CELLS`.
    """
    import keras

    if cell not in CELLS:
        raise ValueError(f"found cell {cell!r}; expected one of {', '.join(CELLS)}")
    layers = [keras.Input((None, features)), keras.layers.Masking(mask_value)]
    last = len(architecture.units) - 1
    for i, (units, dropout) in enumerate(
        zip(architecture.units, architecture.dropout, strict=True)
    ):
        layers.append(getattr(keras.layers, cell)(units, return_sequences=i < last))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
    layers.append(keras.layers.Dense(classes, activation="softmax"))
    model = keras.Sequential(layers, name=f"{cell}_{architecture.number}")
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def count_parameters(cell, architecture, features, classes):
    """Count the weights by formula, layer by layer.

    A layer of n units on m inputs has n(n + m + 1) weights for SimpleRNN, four times as many for
    LSTM, and 3n(n + m + 2) for GRU as Keras builds it (``reset_after=True``, two biases).

    Parameters
    ----------
    cell, architecture, features, classes
        As in :func:`build`.

    Returns
    -------
    list of int
        One count for each recurrent layer, and last the dense layer's.
    """
    counts, m = [], features
    for n in architecture.units:
        counts.append(
            {
                "SimpleRNN": n * (n + m + 1),
                "LSTM": 4 * n * (n + m + 1),
                "GRU": 3 * n * (n + m + 2),
            }[cell]
        )
        m = n
    return [*counts, classes * (m + 1)]
