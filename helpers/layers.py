"""Keras layers that respect masks: recurrent ones on the real steps alone, and others.

What stands in the padding reaches no output and no gradient.

The recurrent layers are those of :mod:`keras.layers`: same weights, same outputs. A batch arrives
padded at the end, with its mask, as after :class:`keras.layers.Masking`. Its sequences are sorted
by length and their real steps stand one below the other, step 1 of all sequences first: the
*packed* batch. Step ``t`` then works on the first rows of the state, those of the sequences that
are still going on, and time is spent on real steps only.

What does not wait for the state before is taken out of the loop and done for all steps at once:
the product with the inputs on the way forward; on the way back, what the gates contribute to the
derivatives, and the gradients of the weights, each one product of two long matrices. The
derivations are those of :mod:`helpers.cells`, against which, and against Keras, the tests hold
these layers.
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import ops

# --- Packing ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packing:
    """Where the real steps of a padded batch stand.

    Attributes
    ----------
    rows : array of int, shape (steps,)
        For each packed step, its row in ``x.reshape(batch * time, features)``.
    active : list of int
        How many sequences have a step 1, a step 2, …
    before : array of int, shape (steps - batch,)
        For each packed step but the first steps, the packed row of the step before it.
    order : array of int, shape (batch,)
        The sequences by decreasing length.
    last : array of int, shape (batch,)
        The packed row of each sequence's last step, in the batch's own order.
    """

    rows: np.ndarray
    active: list
    before: np.ndarray
    order: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, mask, backwards=False):
        """Find the real steps of a batch.

        Parameters
        ----------
        mask : array, shape (batch, time), bool
        backwards : bool
            Whether step 1 is each sequence's last.

        Returns
        -------
        Packing

        Raises
        ------
        ValueError
            If a sequence has no real step, or one after a masked step.
        """
        batch, time = mask.shape
        lengths = mask.sum(axis=1)
        steps = np.arange(time)
        wrong = np.flatnonzero((mask != (steps < lengths[:, None])).any(axis=1) | (lengths == 0))
        if len(wrong):
            row = mask[wrong[0]].astype(int)
            raise ValueError(
                f"sequence {wrong[0]} of the batch: found the mask {row.tolist()}; expected at "
                f"least one real step, and none after a masked one (padding at the end)"
            )
        order = np.argsort(-lengths, kind="stable")
        longest = lengths[order[0]]
        here = steps[:longest, None] < lengths[order]  # (longest, batch): who has a step t
        t, rank = np.nonzero(here)
        sequence = order[rank]
        active = here.sum(axis=1)
        starts = np.cumsum(active) - active
        position = lengths[sequence] - 1 - t if backwards else t
        last = np.empty(batch, int)
        last[order] = starts[lengths[order] - 1] + np.arange(batch)
        before = (starts[t - 1] + rank)[batch:]
        return cls(sequence * time + position, active.tolist(), before, order, last)

    def steps(self):
        """Pairs of the first and the last packed row of each step, in order."""
        end = 0
        for rows in self.active:
            start, end = end, end + rows
            yield start, end


# --- The recurrences, on packed steps ---------------------------------------------------------
#
# Forward: x (steps, features) -> h (steps, n) and what the way back needs.
# Backward: d_h (steps, n), the gradients that reach each state from outside the recurrence, not
# through later states -> delta (steps, blocks * n) at the inputs' side, and at the states' side.


def _rnn_forward(a, W_h, b_h, packing):
    n = W_h.shape[0]
    h = np.empty((len(a), n), a.dtype)
    product = np.empty((packing.active[0], n), a.dtype)
    previous = np.zeros((packing.active[0], n), a.dtype)
    for start, end in packing.steps():
        now, out = a[start:end], h[start:end]
        now += np.matmul(previous[: end - start], W_h, out=product[: end - start])
        np.tanh(now, out=out)
        previous = out
    return h, ()


def _rnn_backward(d_h, W_h, packing, h):
    slope = 1 - h * h
    delta = np.empty_like(h)
    carry = np.zeros((packing.active[0], h.shape[1]), h.dtype)
    W = np.ascontiguousarray(W_h.T)
    for start, end in reversed(list(packing.steps())):
        back = carry[: end - start]
        back += d_h[start:end]
        np.multiply(back, slope[start:end], out=delta[start:end])
        np.matmul(delta[start:end], W, out=back)
    return delta, delta


def _lstm_forward(a, W_h, b_h, packing):
    n, batch = W_h.shape[0], packing.active[0]
    # sigmoid(a) = 0.5 + 0.5 tanh(a / 2): halve three blocks once, and one tanh serves all four.
    scale = np.repeat(np.array([0.5, 0.5, 1, 0.5], a.dtype), n)
    shift = np.repeat(np.array([0.5, 0.5, 0, 0.5], a.dtype), n)
    a *= scale
    W = W_h * scale
    h, c, tanh_c = (np.empty((len(a), n), a.dtype) for _ in range(3))
    product = np.empty((batch, 4 * n), a.dtype)
    write = np.empty((batch, n), a.dtype)
    h_before, c_before = np.zeros((batch, n), a.dtype), np.zeros((batch, n), a.dtype)
    for start, end in packing.steps():
        rows = end - start
        gates = a[start:end]
        gates += np.matmul(h_before[:rows], W, out=product[:rows])
        np.tanh(gates, out=gates)
        gates *= scale
        gates += shift
        c_now, h_now, tanh_now = c[start:end], h[start:end], tanh_c[start:end]
        np.multiply(gates[:, n : 2 * n], c_before[:rows], out=c_now)
        c_now += np.multiply(gates[:, :n], gates[:, 2 * n : 3 * n], out=write[:rows])
        np.tanh(c_now, out=tanh_now)
        np.multiply(gates[:, 3 * n :], tanh_now, out=h_now)
        h_before, c_before = h_now, c_now
    return h, (a, c, tanh_c)


def _lstm_backward(d_h, W_h, packing, h, gates, c, tanh_c):
    n, batch = W_h.shape[0], packing.active[0]
    i, f, c_tilde, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
    # What one unit of gradient by c (first three blocks) or by h (last) adds to each delta.
    factor = np.empty((len(h), 4, n), h.dtype)
    factor[:, 0] = c_tilde * i * (1 - i)
    factor[:batch, 1] = 0  # c is zero before the first step
    factor[batch:, 1] = c[packing.before]
    factor[:, 1] *= f * (1 - f)
    factor[:, 2] = i * (1 - c_tilde * c_tilde)
    factor[:, 3] = tanh_c * o * (1 - o)
    through = o * (1 - tanh_c * tanh_c)  # from h to c
    delta = np.empty_like(factor)
    carry_h, carry_c, part = (np.zeros((batch, n), h.dtype) for _ in range(3))
    W = np.ascontiguousarray(W_h.T)
    for start, end in reversed(list(packing.steps())):
        rows = end - start
        back_h, back_c = carry_h[:rows], carry_c[:rows]
        back_h += d_h[start:end]
        back_c += np.multiply(back_h, through[start:end], out=part[:rows])
        now = delta[start:end]
        np.multiply(factor[start:end, :3], back_c[:, None], out=now[:, :3])
        np.multiply(factor[start:end, 3], back_h, out=now[:, 3])
        np.matmul(now.reshape(rows, 4 * n), W, out=back_h)
        back_c *= f[start:end]
    delta = delta.reshape(len(h), 4 * n)
    return delta, delta


def _gru_forward(a, W_h, b_h, packing):
    n, batch = W_h.shape[0], packing.active[0]
    half = a.dtype.type(0.5)
    W = W_h.copy()
    W[:, : 2 * n] *= half
    a[:, : 2 * n] += b_h[: 2 * n]
    a[:, : 2 * n] *= half
    h, inner = (np.empty((len(a), n), a.dtype) for _ in range(2))
    product = np.empty((batch, 3 * n), a.dtype)
    h_before = np.zeros((batch, n), a.dtype)
    for start, end in packing.steps():
        rows = end - start
        now, through = a[start:end], inner[start:end]
        from_h = np.matmul(h_before[:rows], W, out=product[:rows])
        gates, candidate = now[:, : 2 * n], now[:, 2 * n :]
        gates += from_h[:, : 2 * n]
        np.tanh(gates, out=gates)
        gates *= half
        gates += half
        np.add(from_h[:, 2 * n :], b_h[2 * n :], out=through)
        candidate += np.multiply(gates[:, n:], through, out=product[:rows, :n])
        np.tanh(candidate, out=candidate)
        h_now = np.subtract(h_before[:rows], candidate, out=h[start:end])
        h_now *= gates[:, :n]
        h_now += candidate
        h_before = h_now
    return h, (a, inner)


def _gru_backward(d_h, W_h, packing, h, gates, inner):
    n, batch = W_h.shape[0], packing.active[0]
    z, r, h_tilde = (gates[:, k * n : (k + 1) * n] for k in range(3))
    h_before = np.zeros_like(h)
    h_before[batch:] = h[packing.before]
    # What one unit of gradient by h adds: to z, to r, to the product h W_h + b, to the candidate.
    factor = np.empty((len(h), 4, n), h.dtype)
    factor[:, 0] = (h_before - h_tilde) * z * (1 - z)
    factor[:, 3] = (1 - z) * (1 - h_tilde * h_tilde)
    factor[:, 2] = factor[:, 3] * r
    factor[:, 1] = factor[:, 2] * (1 - r) * inner
    delta = np.empty_like(factor)
    carry, product = (np.zeros((batch, n), h.dtype) for _ in range(2))
    W = np.ascontiguousarray(W_h.T)
    for start, end in reversed(list(packing.steps())):
        rows = end - start
        back, now = carry[:rows], delta[start:end]
        back += d_h[start:end]
        np.multiply(factor[start:end], back[:, None], out=now)
        np.matmul(now.reshape(rows, 4 * n)[:, : 3 * n], W, out=product[:rows])
        back *= z[start:end]
        back += product[:rows]
    delta = delta.reshape(len(h), 4 * n)
    at_x = np.concatenate([delta[:, : 2 * n], delta[:, 3 * n :]], axis=1)
    return at_x, delta[:, : 3 * n]


_KERNELS = {
    "SimpleRNN": (_rnn_forward, _rnn_backward),
    "LSTM": (_lstm_forward, _lstm_backward),
    "GRU": (_gru_forward, _gru_backward),
}


def forward(cell, x, mask, W_x, W_h, b, backwards=False):
    """Run a recurrence over the real steps of a padded batch.

    Parameters
    ----------
    cell : str
        ``SimpleRNN``, ``LSTM`` or ``GRU``.
    x : array, shape (batch, time, m)
    mask : array, shape (batch, time), bool
    W_x, W_h, b : array
        As Keras keeps them; of a GRU, ``b`` has two rows (``reset_after=True``).
    backwards : bool

    Returns
    -------
    packing : Packing
    h : array, shape (steps, n)
        The hidden state after each packed step.
    saved : tuple of arrays
        What :func:`backward` needs.
    """
    packing = Packing.of(mask, backwards)
    packed = x.reshape(-1, x.shape[-1])[packing.rows]
    b_x, b_h = b if b.ndim == 2 else (b, None)
    a = packed @ W_x
    a += b_x
    h, saved = _KERNELS[cell][0](a, W_h, b_h, packing)
    return packing, h, saved


def backward(cell, d_h, x, W_x, W_h, b, packing, h, saved):
    """Send gradients back through :func:`forward`.

    Parameters
    ----------
    d_h : array, shape (steps, n)
        Gradient of the loss by each packed state, paths through later states left out.
    cell, x, W_x, W_h, b
        As in :func:`forward`.
    packing, h, saved
        As it returned them.

    Returns
    -------
    tuple of arrays
        The gradients by ``x``, ``W_x``, ``W_h`` and ``b``; zero where ``x`` is padding.
    """
    at_x, at_h = _KERNELS[cell][1](d_h, W_h, packing, h, *saved)
    flat = x.reshape(-1, x.shape[-1])
    d_x = np.zeros_like(flat)
    d_x[packing.rows] = at_x @ W_x.T
    d_W_x = flat[packing.rows].T @ at_x
    d_W_h = h[packing.before].T @ at_h[packing.active[0] :]
    d_b = at_x.sum(axis=0)
    if b.ndim == 2:
        d_b = np.stack([d_b, at_h.sum(axis=0)])
    return d_x.reshape(x.shape), d_W_x, d_W_h, d_b


# --- As Keras layers --------------------------------------------------------------------------


_COMPUTED = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": True,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "return_state": False,
    "stateful": False,
    "reset_after": True,
}


class _Packed:
    """What replaces ``call`` in Keras' recurrent layers; weights and options stay theirs."""

    def __init__(self, units, **options):
        super().__init__(units, **options)
        self.supports_jit = False
        config = self.get_config()
        for name, value in _COMPUTED.items():
            if config.get(name, value) != value:
                raise ValueError(
                    f"{type(self).__name__}: found {name}={config[name]!r}; expected {value!r}, "
                    f"all that the packed layer computes: take keras.layers for others"
                )

    def call(self, sequences, initial_state=None, mask=None, training=False):
        """Run over a batch (batch, time, m); to (batch, time, n), or (batch, n) of the last step.

        At padding the states returned are zero.
        """
        if initial_state is not None:
            raise ValueError("found an initial_state; expected None: packed layers start from 0")
        if mask is None:
            mask = tf.ones(tf.shape(sequences)[:2], bool)
        weights = (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        output = self._recurrence(sequences, mask, *map(tf.convert_to_tensor, weights))
        time = (sequences.shape[1],) if self.return_sequences else ()
        output.set_shape((sequences.shape[0], *time, self.units))
        return output

    def _recurrence(self, x, mask, W_x, W_h, b):
        cell, backwards = type(self).__name__, self.go_backwards
        every = self.return_sequences
        floats = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}[cell]

        def run(x, mask, W_x, W_h, b):
            packing, h, saved = forward(cell, x, mask, W_x, W_h, b, backwards)
            if not every:
                return h[packing.last], h, *saved
            states = np.zeros((mask.size, h.shape[1]), h.dtype)
            states[self._places(packing, mask)] = h
            return states.reshape(*mask.shape, -1), h, *saved

        def run_back(d_output, x, mask, W_x, W_h, b, h, *saved):
            packing = Packing.of(mask, backwards)
            if every:
                d_h = d_output.reshape(mask.size, -1)[self._places(packing, mask)]
            else:
                d_h = np.zeros_like(h)
                d_h[packing.last] = d_output
            return backward(cell, d_h, x, W_x, W_h, b, packing, h, saved)

        @tf.custom_gradient
        def recurrence(x, W_x, W_h, b):
            output, *saved = tf.numpy_function(
                run, [x, mask, W_x, W_h, b], [x.dtype] * (1 + floats), stateful=False
            )

            def gradient(d_output):
                grads = tf.numpy_function(
                    run_back,
                    [d_output, x, mask, W_x, W_h, b, *saved],
                    [x.dtype] * 4,
                    stateful=False,
                )
                for grad, by in zip(grads, (x, W_x, W_h, b), strict=True):
                    grad.set_shape(by.shape)
                return grads

            return output, gradient

        return recurrence(x, W_x, W_h, b)

    def _places(self, packing, mask):
        """Rows of the packed states in the output: Keras hands a backward layer's out reversed."""
        if not self.go_backwards:
            return packing.rows
        sequence, position = np.divmod(packing.rows, mask.shape[1])
        return sequence * mask.shape[1] + mask.shape[1] - 1 - position


@keras.saving.register_keras_serializable("helpers")
class SimpleRNN(_Packed, keras.layers.SimpleRNN):
    """:class:`keras.layers.SimpleRNN` on the real steps alone."""


@keras.saving.register_keras_serializable("helpers")
class LSTM(_Packed, keras.layers.LSTM):
    """:class:`keras.layers.LSTM` on the real steps alone."""


@keras.saving.register_keras_serializable("helpers")
class GRU(_Packed, keras.layers.GRU):
    """:class:`keras.layers.GRU` on the real steps alone, resetting after the product."""


# --- Convolution, attention, pooling, distortion ----------------------------------------------


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
