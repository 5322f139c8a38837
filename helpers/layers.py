"""What chapter 16 puts beside recurrent layers: convolution, attention, pooling, augmentation.

All respect the mask: what stands in the padding reaches no output and no gradient.
"""

import keras
import numpy as np
from keras import ops


def _fill_padding(x, mask, value=0.0):
    """Replace what stands in the padding; not by a product, which would keep a nan."""
    return x if mask is None else ops.where(mask[..., None], x, value)


def _lengths(x, mask):
    """Return the number of real steps of each sequence, shape (batch, 1)."""
    return ops.sum(_fill_padding(ops.ones_like(x[..., :1]), mask), axis=1)


@keras.saving.register_keras_serializable("helpers")
class MaskedConv1D(keras.layers.Conv1D):
    """:class:`keras.layers.Conv1D` over as many steps as it gets, padding read as zero."""

    def __init__(self, filters, kernel_size, **options):
        super().__init__(filters, kernel_size, **{"padding": "same", **options})
        self.supports_masking = True

    def call(self, inputs, mask=None):
        """From (batch, time, m) to (batch, time, filters)."""
        return super().call(_fill_padding(inputs, mask))


@keras.saving.register_keras_serializable("helpers")
class MeanMaxPooling(keras.layers.Layer):
    """The mean and the maximum of each feature over the real steps, side by side."""

    def __init__(self, **options):
        super().__init__(**options)
        self.supports_masking = True

    def compute_mask(self, inputs, mask=None):
        """Return nothing: time is gone."""
        return None

    def call(self, inputs, mask=None):
        """From (batch, time, m) to (batch, 2m)."""
        mean = ops.sum(_fill_padding(inputs, mask), axis=1) / _lengths(inputs, mask)
        maximum = ops.max(_fill_padding(inputs, mask, -np.inf), axis=1)
        return ops.concatenate([mean, maximum], axis=-1)


@keras.saving.register_keras_serializable("helpers")
class PositionEncoding(keras.layers.Layer):
    """Add sines and cosines of the position, Vaswani and others (2017), section 3.5."""

    def __init__(self, longest=512, **options):
        super().__init__(**options)
        self.longest = longest
        self.supports_masking = True

    def get_config(self):
        """Return what builds the layer again."""
        return {**super().get_config(), "longest": self.longest}

    def build(self, shape):
        """Compute the table for up to ``longest`` steps."""
        rates = 10000.0 ** (-np.arange(0, shape[-1], 2) / shape[-1])
        angles = np.arange(self.longest)[:, None] * rates
        table = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, : shape[-1]]
        self.table = ops.convert_to_tensor(table.astype("float32"))

    def call(self, inputs):
        """Shape (batch, time, m), unchanged; a ValueError if time exceeds ``longest``."""
        time = ops.shape(inputs)[1]
        if isinstance(time, int) and time > self.longest:
            raise ValueError(f"found {time} steps; expected at most {self.longest}")
        return inputs + self.table[:time]


@keras.saving.register_keras_serializable("helpers")
class EncoderBlock(keras.layers.Layer):
    """One block of a Transformer encoder, normalised before each part (Xiong and others, 2020).

    Parameters
    ----------
    units : int
        Width of every step, and of the block's output; a multiple of ``heads``.
    heads : int
    dropout : float
        After attention and after the dense part.
    """

    def __init__(self, units, heads=4, dropout=0.0, **options):
        super().__init__(**options)
        self.units, self.heads, self.rate = units, heads, dropout
        self.supports_masking = True
        self.norms = [keras.layers.LayerNormalization() for _ in range(2)]
        self.attention = keras.layers.MultiHeadAttention(heads, units // heads)
        self.dense = keras.Sequential(
            [keras.layers.Dense(2 * units, activation="gelu"), keras.layers.Dense(units)]
        )
        self.drop = keras.layers.Dropout(dropout)

    def get_config(self):
        """Return what builds the layer again."""
        own = {"units": self.units, "heads": self.heads, "dropout": self.rate}
        return {**super().get_config(), **own}

    def build(self, shape):
        """Build all parts for steps of ``units`` features."""
        for norm in self.norms:
            norm.build(shape)
        self.attention.build(shape, shape)
        self.dense.build(shape)

    def call(self, inputs, mask=None, training=False):
        """Shape (batch, time, units), unchanged; no step attends to padding."""
        attended = None if mask is None else mask[:, None, :]
        inputs = _fill_padding(inputs, mask)  # weight 0 times a nan would be a nan
        x = self.norms[0](inputs)
        x = self.attention(x, x, attention_mask=attended, training=training)
        x = inputs + self.drop(x, training=training)
        return x + self.drop(self.dense(self.norms[1](x)), training=training)


@keras.saving.register_keras_serializable("helpers")
class RandomAffine(keras.layers.Layer):
    """Rotate, stretch, shear and move each stroke a little, another way each time it is seen.

    Parameters
    ----------
    strength : float
        Standard deviation of each entry of the matrix about the identity, and of the shift.
    seed : int
    """

    def __init__(self, strength=0.1, seed=None, **options):
        super().__init__(**options)
        self.strength, self.seed = strength, seed
        self.random = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def get_config(self):
        """Return what builds the layer again."""
        return {**super().get_config(), "strength": self.strength, "seed": self.seed}

    def call(self, inputs, mask=None, training=False):
        """Shape (batch, time, 2), unchanged; zero stays at padding."""
        if not training:
            return inputs
        batch = ops.shape(inputs)[0]
        matrix = ops.eye(2) + keras.random.normal((batch, 2, 2), 0, self.strength, seed=self.random)
        shift = keras.random.normal((batch, 1, 2), 0, self.strength, seed=self.random)
        return _fill_padding(ops.matmul(inputs - 0.5, matrix) + 0.5 + shift, mask)


@keras.saving.register_keras_serializable("helpers")
class RandomMasking(keras.layers.Layer):
    """Silence a run of frames and some cepstra of each segment, Park and others (2019).

    A cepstrum goes together with its two derivatives; features are standardised, so zero is
    their mean.

    Parameters
    ----------
    frames : float
        Longest run of frames, as a share of the segment.
    cepstra : float
        Share of the 13 cepstra, on average.
    seed : int
    """

    def __init__(self, frames=0.2, cepstra=0.1, seed=None, **options):
        super().__init__(**options)
        self.frames, self.cepstra, self.seed = frames, cepstra, seed
        self.random = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def get_config(self):
        """Return what builds the layer again."""
        own = {"frames": self.frames, "cepstra": self.cepstra, "seed": self.seed}
        return {**super().get_config(), **own}

    def call(self, inputs, mask=None, training=False):
        """Shape (batch, time, features), unchanged."""
        if not training:
            return inputs
        batch, time, features = ops.shape(inputs)
        lengths = _lengths(inputs, mask)

        def uniform(shape):
            return keras.random.uniform(shape, seed=self.random)

        run = uniform((batch, 1)) * self.frames * lengths
        start = uniform((batch, 1)) * (lengths - run)
        step = ops.cast(ops.arange(time), inputs.dtype)[None]
        heard = ops.cast((step < start) | (step >= start + run), inputs.dtype)
        kept = ops.cast(uniform((batch, 1, features // 3)) >= self.cepstra, inputs.dtype)
        return _fill_padding(inputs, mask) * heard[..., None] * ops.tile(kept, (1, 1, 3))
