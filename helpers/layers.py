"""Keras layers that respect masks: recurrent ones on the real steps alone, and others.

What stands in the padding reaches no output and no gradient.

The recurrent layers are those of :mod:`keras.layers`: same weights, same outputs, same gradients.
A batch arrives padded at the end, with its mask, as after :class:`keras.layers.Masking`. Its
sequences are sorted by length and their real steps stand one below the other, step 1 of all
sequences first: the *packed* batch. Step ``t`` then works on the first rows of the state, those of
the sequences that are still going on, and time is spent on real steps only.

The recurrences are compiled by numba. Each way has one product with the recurrent weights a step,
left to BLAS, and one loop over the units that reads like the equations of the cell; the product
with the inputs and the gradients of the weights are one product of long matrices for all steps. The
tests hold the compiled recurrences against :mod:`helpers.cells`, and the layers against Keras.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numba import njit, types
from numba.extending import overload

# --- Packing ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packing:
    """Where the real steps of a padded batch stand.

    Attributes
    ----------
    rows : array of int, shape (steps,)
        For each packed step, its row in ``x.reshape(batch * time, features)``.
    active : array of int, shape (longest,)
        How many sequences have a step 1, a step 2, …
    last : array of int, shape (batch,)
        The packed row of each sequence's last step, in the batch's own order.
    """

    rows: np.ndarray
    active: np.ndarray
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
        lengths = mask.sum(axis=1)
        wrong = (mask != (np.arange(mask.shape[1]) < lengths[:, None])).any(axis=1)
        wrong = np.flatnonzero(wrong | (lengths == 0))
        if len(wrong):
            row = mask[wrong[0]].astype(int)
            raise ValueError(
                f"sequence {wrong[0]} of the batch: found the mask {row.tolist()}; expected at "
                f"least one real step, and none after a masked one (padding at the end)"
            )
        order = np.argsort(-lengths, kind="stable")
        return cls(*_pack(lengths, order, mask.shape[1], backwards))


@njit(cache=True)
def _pack(lengths, order, time, backwards):
    rows, last = np.empty(lengths.sum(), np.int64), np.empty_like(lengths)
    active = np.empty(lengths.max(), np.int64)
    packed, going_on = 0, len(order)
    for t in range(len(active)):
        while lengths[order[going_on - 1]] <= t:
            going_on -= 1
        active[t] = going_on
        for sequence in order[:going_on]:
            rows[packed] = sequence * time + (lengths[sequence] - 1 - t if backwards else t)
            last[sequence] = packed
            packed += 1
    return rows, active, last


# --- Activations ------------------------------------------------------------------------------

# Without numpy's error model, a check for division by zero keeps loops from being vectorised.
_FAST = {"fastmath": True, "error_model": "numpy"}


def _tanh(a):
    """Stand for the compiled tanh below."""


@overload(_tanh, jit_options=_FAST)
def _compiled_tanh(a):
    if a != types.float32:
        return lambda a: math.tanh(a)
    # A ratio of polynomials, within 3e-7 of tanh: minimax coefficients as in Eigen's ptanh_float.
    p1, p3, p5, p7, p9, p11, p13 = np.float32(
        [4.89352455891786e-03, 6.37261928875436e-04, 1.48572235717979e-05, 5.12229709037114e-08,
         -8.60467152213735e-11, 2.00018790482477e-13, -2.76076847742355e-16]
    )  # fmt: skip
    q0, q2, q4, q6 = np.float32(
        [4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06]
    )
    largest = np.float32(9)

    def ratio(a):
        a = min(max(a, -largest), largest)
        s = a * a
        p = (((((p13 * s + p11) * s + p9) * s + p7) * s + p5) * s + p3) * s + p1
        return a * p / (((q6 * s + q4) * s + q2) * s + q0)

    return ratio


def _sigmoid(a):
    """Stand for the compiled sigmoid below."""


@overload(_sigmoid, jit_options=_FAST)
def _compiled_sigmoid(a):
    half = np.float32(0.5) if a == types.float32 else 0.5
    return lambda a: half + half * _tanh(half * a)


# --- The recurrences, on packed steps ---------------------------------------------------------
#
# Forward: a (steps, blocks * n), what the inputs and the bias contribute -> h (steps, n), and what
# the way back needs. Sequence k of step t stands at row start + k, its step before at before + k.
# Backward: d_h (steps, n), the gradients that reach each state from outside the recurrence, not
# through later states -> delta (steps, blocks * n) at the inputs' side, and at the states' side.


@njit(cache=True, **_FAST)
def _rnn_forward(a, W_h, b_h, active):
    n = W_h.shape[0]
    h = np.empty((len(a), n), a.dtype)
    product = np.zeros((active[0], n), a.dtype)
    before = start = 0
    for t, rows in enumerate(active):
        if t:
            np.dot(h[before : before + rows], W_h, product[:rows])
        for k in range(rows):
            a_now, a_h, h_now = a[start + k], product[k], h[start + k]
            for j in range(n):
                h_now[j] = _tanh(a_now[j] + a_h[j])
        before, start = start, start + rows
    return h, ()


@njit(cache=True, **_FAST)
def _rnn_backward(d_h, W_h, active, h, h_before, saved):
    n, one = W_h.shape[0], d_h.dtype.type(1)
    W_h_T = np.ascontiguousarray(W_h.T)
    delta = np.empty_like(d_h)
    back = np.zeros((active[0], n), d_h.dtype)
    start = len(d_h)
    for rows in active[::-1]:
        start -= rows
        for k in range(rows):
            d_now, h_now, delta_now, back_k = (
                d_h[start + k],
                h[start + k],
                delta[start + k],
                back[k],
            )
            for j in range(n):
                delta_now[j] = (d_now[j] + back_k[j]) * (one - h_now[j] * h_now[j])
        np.dot(delta[start : start + rows], W_h_T, back[:rows])
    return delta, delta


@njit(cache=True, **_FAST)
def _lstm_forward(a, W_h, b_h, active):
    n = W_h.shape[0]
    h, c = np.empty((len(a), n), a.dtype), np.empty((len(a), n), a.dtype)
    product = np.zeros((active[0], 4 * n), a.dtype)
    start_c = np.zeros(n, a.dtype)
    before = start = 0
    for t, rows in enumerate(active):
        if t:
            np.dot(h[before : before + rows], W_h, product[:rows])
        for k in range(rows):
            gates, a_h, h_now, c_now = a[start + k], product[k], h[start + k], c[start + k]
            c_before = c[before + k] if t else start_c
            for j in range(n):
                i = _sigmoid(gates[j] + a_h[j])
                f = _sigmoid(gates[n + j] + a_h[n + j])
                c_tilde = _tanh(gates[2 * n + j] + a_h[2 * n + j])
                o = _sigmoid(gates[3 * n + j] + a_h[3 * n + j])
                c_j = f * c_before[j] + i * c_tilde
                c_now[j] = c_j
                h_now[j] = o * _tanh(c_j)
                gates[j], gates[n + j], gates[2 * n + j], gates[3 * n + j] = i, f, c_tilde, o
        before, start = start, start + rows
    return h, (a, c)


@njit(cache=True, **_FAST)
def _lstm_backward(d_h, W_h, active, h, h_before, saved):
    a, c = saved
    n, one = W_h.shape[0], d_h.dtype.type(1)
    W_h_T = np.ascontiguousarray(W_h.T)
    delta = np.empty_like(a)
    back_h, back_c = np.zeros((active[0], n), d_h.dtype), np.zeros((active[0], n), d_h.dtype)
    start_c = np.zeros(n, d_h.dtype)
    start = len(d_h)
    for t in range(len(active) - 1, -1, -1):
        rows = active[t]
        start -= rows
        before = start - active[t - 1] if t else 0
        for k in range(rows):
            gates, c_now, delta_now = a[start + k], c[start + k], delta[start + k]
            d_now, back_h_k, back_c_k = d_h[start + k], back_h[k], back_c[k]
            c_before = c[before + k] if t else start_c
            for j in range(n):
                i, f, c_tilde, o = gates[j], gates[n + j], gates[2 * n + j], gates[3 * n + j]
                tanh_c = _tanh(c_now[j])
                d_h_j = d_now[j] + back_h_k[j]
                d_c_j = back_c_k[j] + d_h_j * o * (one - tanh_c * tanh_c)
                delta_now[j] = d_c_j * c_tilde * i * (one - i)
                delta_now[n + j] = d_c_j * c_before[j] * f * (one - f)
                delta_now[2 * n + j] = d_c_j * i * (one - c_tilde * c_tilde)
                delta_now[3 * n + j] = d_h_j * tanh_c * o * (one - o)
                back_c_k[j] = d_c_j * f
        np.dot(delta[start : start + rows], W_h_T, back_h[:rows])
    return delta, delta


@njit(cache=True, **_FAST)
def _gru_forward(a, W_h, b_h, active):
    n, one = W_h.shape[0], a.dtype.type(1)
    h, inner = np.empty((len(a), n), a.dtype), np.empty((len(a), n), a.dtype)
    product = np.zeros((active[0], 3 * n), a.dtype)
    start_h = np.zeros(n, a.dtype)
    before = start = 0
    for t, rows in enumerate(active):
        if t:
            np.dot(h[before : before + rows], W_h, product[:rows])
        for k in range(rows):
            gates, a_h, h_now, inner_now = a[start + k], product[k], h[start + k], inner[start + k]
            h_k = h[before + k] if t else start_h
            for j in range(n):
                z = _sigmoid(gates[j] + a_h[j] + b_h[j])
                r = _sigmoid(gates[n + j] + a_h[n + j] + b_h[n + j])
                inner_j = a_h[2 * n + j] + b_h[2 * n + j]
                h_tilde = _tanh(gates[2 * n + j] + r * inner_j)
                h_now[j] = z * h_k[j] + (one - z) * h_tilde
                gates[j], gates[n + j], gates[2 * n + j], inner_now[j] = z, r, h_tilde, inner_j
        before, start = start, start + rows
    return h, (a, inner)


@njit(cache=True, **_FAST)
def _gru_backward(d_h, W_h, active, h, h_before, saved):
    a, inner = saved
    n, one = W_h.shape[0], d_h.dtype.type(1)
    W_h_T = np.ascontiguousarray(W_h.T)
    at_x, at_h = np.empty_like(a), np.empty_like(a)
    back = np.zeros((active[0], n), d_h.dtype)
    keep = np.zeros((active[0], n), d_h.dtype)
    start = len(d_h)
    for rows in active[::-1]:
        start -= rows
        for k in range(rows):
            gates, inner_now, h_k = a[start + k], inner[start + k], h_before[start + k]
            d_now, back_k, keep_k = d_h[start + k], back[k], keep[k]
            at_x_now, at_h_now = at_x[start + k], at_h[start + k]
            for j in range(n):
                z, r, h_tilde = gates[j], gates[n + j], gates[2 * n + j]
                d_h_j = d_now[j] + back_k[j] + keep_k[j]
                delta_z = d_h_j * (h_k[j] - h_tilde) * z * (one - z)
                delta_h = d_h_j * (one - z) * (one - h_tilde * h_tilde)
                delta_r = delta_h * inner_now[j] * r * (one - r)
                at_x_now[j], at_x_now[n + j], at_x_now[2 * n + j] = delta_z, delta_r, delta_h
                at_h_now[j], at_h_now[n + j], at_h_now[2 * n + j] = delta_z, delta_r, delta_h * r
                keep_k[j] = d_h_j * z
        np.dot(at_h[start : start + rows], W_h_T, back[:rows])
    return at_x, at_h


@njit(cache=True)
def _step_before(h, active):
    """Put beside each packed step the state before it: (steps, n), zero at first steps."""
    h_before = np.zeros_like(h)
    before, start = 0, active[0]
    for rows in active[1:]:
        h_before[start : start + rows] = h[before : before + rows]
        before, start = start, start + rows
    return h_before


_KERNELS = {
    "SimpleRNN": (_rnn_forward, _rnn_backward),
    "LSTM": (_lstm_forward, _lstm_backward),
    "GRU": (_gru_forward, _gru_backward),
}


def forward(cell, x, packing, W_x, W_h, b):
    """Run a recurrence over the real steps of a padded batch.

    Parameters
    ----------
    cell : str
        ``SimpleRNN``, ``LSTM`` or ``GRU``.
    x : array, shape (batch, time, m)
    packing : Packing
        Of the batch's mask.
    W_x, W_h, b : array
        As Keras keeps them; of a GRU, ``b`` has two rows (``reset_after=True``).

    Returns
    -------
    h : array, shape (steps, n)
        The hidden state after each packed step.
    saved : tuple of arrays
        What :func:`backward` needs.
    """
    b_x, b_h = b if b.ndim == 2 else (b, b)
    a = x.reshape(-1, x.shape[-1])[packing.rows] @ W_x
    a += b_x
    return _KERNELS[cell][0](a, W_h, b_h, packing.active)


def backward(cell, d_h, x, packing, W_x, W_h, b, h, saved):
    """Send gradients back through :func:`forward`.

    Parameters
    ----------
    d_h : array, shape (steps, n)
        Gradient of the loss by each packed state, paths through later states left out.
    cell, x, packing, W_x, W_h, b
        As in :func:`forward`.
    h, saved
        As it returned them.

    Returns
    -------
    tuple of arrays
        The gradients by ``x``, ``W_x``, ``W_h`` and ``b``; zero where ``x`` is padding.
    """
    h_before = _step_before(h, packing.active)
    at_x, at_h = _KERNELS[cell][1](d_h, W_h, packing.active, h, h_before, saved)
    flat = x.reshape(-1, x.shape[-1])
    d_x = np.zeros_like(flat)
    d_x[packing.rows] = at_x @ W_x.T
    d_b = at_x.sum(axis=0)
    if b.ndim == 2:
        d_b = np.stack([d_b, at_h.sum(axis=0)])
    return d_x.reshape(x.shape), flat[packing.rows].T @ at_x, h_before.T @ at_h, d_b


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
        floats = {"SimpleRNN": 2, "LSTM": 4, "GRU": 4}[cell]  # the output, h, and what is saved

        def run(x, mask, W_x, W_h, b):
            packing = Packing.of(mask, backwards)
            h, saved = forward(cell, x, packing, W_x, W_h, b)
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
            return backward(cell, d_h, x, packing, W_x, W_h, b, h, saved)

        @tf.custom_gradient
        def recurrence(x, W_x, W_h, b):
            output, *saved = tf.numpy_function(
                run, [x, mask, W_x, W_h, b], [x.dtype] * floats, stateful=False
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
