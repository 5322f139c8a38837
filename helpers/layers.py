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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numba import get_num_threads, njit, types
from numba.extending import overload

# --- Packing ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packing:
    """Where the real steps of a padded batch stand.

    The sequences are dealt among parts, long and short alike; each part is packed by itself, and
    the parts stand one below the other.

    Attributes
    ----------
    rows : array of int, shape (steps,)
        For each packed step, its row in ``x.reshape(batch * time, features)``.
    last : array of int, shape (batch,)
        The packed row of each sequence's last step.
    parts : list of (slice, array of int)
        Of each part the packed rows, and how many sequences have a step 1, a step 2, …
    """

    rows: np.ndarray
    last: np.ndarray
    parts: list

    @classmethod
    def of(cls, mask, backwards=False, parts=1):
        """Find the real steps of a batch.

        Parameters
        ----------
        mask : array, shape (batch, time), bool
        backwards : bool
            Whether step 1 is each sequence's last.
        parts : int

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
        rows, last, found = np.empty(lengths.sum(), np.int64), np.empty_like(lengths), []
        start = 0
        for k in range(min(parts, len(order))):
            active = _pack(lengths, order[k::parts], mask.shape[1], backwards, start, rows, last)
            found.append((slice(start, start + active.sum()), active))
            start += active.sum()
        return cls(rows, last, found)


@njit(cache=True)
def _pack(lengths, sequences, time, backwards, start, rows, last):
    """Fill in ``rows`` and ``last`` for one part; return how many sequences have each step."""
    active = np.empty(lengths[sequences[0]], np.int64)
    going_on = len(sequences)
    for t in range(len(active)):
        while lengths[sequences[going_on - 1]] <= t:
            going_on -= 1
        active[t] = going_on
        for sequence in sequences[:going_on]:
            position = lengths[sequence] - 1 - t if backwards else t
            rows[start] = sequence * time + position
            last[sequence] = start
            start += 1
    return active


# --- Activations ------------------------------------------------------------------------------

# Without numpy's error model, a check for division by zero keeps loops from being vectorised.
_FAST = {"fastmath": True, "error_model": "numpy"}
# Without the interpreter's lock, so that parts of a batch run on several cores.
_KERNEL = {**_FAST, "cache": True, "nogil": True}


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
# Each works on one part of a batch. Forward: x (batch * time, m) -> h (steps, n), filled in, and
# what the way back needs beside it. At step t sequence k of the part stands at row start + k; its
# step before at before + k.
# Backward: d_h (steps, n), the gradients that reach each state from outside the recurrence, not
# through later states -> delta (steps, blocks * n), at the inputs' side and at the states' side.


@njit(**_KERNEL)
def _rnn_forward(x, rows, active, W_x, W_h, b, h):
    n = W_h.shape[0]
    np.dot(x[rows], W_x, h)
    product = np.zeros((active[0], n), h.dtype)
    before = start = 0
    for t, going_on in enumerate(active):
        if t:
            np.dot(h[before : before + going_on], W_h, product[:going_on])
        for k in range(going_on):
            h_now, a_h = h[start + k], product[k]
            for j in range(n):
                h_now[j] = _tanh(h_now[j] + a_h[j] + b[j])
        before, start = start, start + going_on


@njit(**_KERNEL)
def _rnn_backward(d_h, active, W_h, h_before, h):
    n, one = W_h.shape[0], h.dtype.type(1)
    W_h_T = np.ascontiguousarray(W_h.T)
    delta = np.empty_like(h)
    back = np.zeros((active[0], n), h.dtype)
    start = len(h)
    for going_on in active[::-1]:
        start -= going_on
        for k in range(going_on):
            h_now, d_now = h[start + k], d_h[start + k]
            delta_now, back_k = delta[start + k], back[k]
            for j in range(n):
                delta_now[j] = (d_now[j] + back_k[j]) * (one - h_now[j] * h_now[j])
        np.dot(delta[start : start + going_on], W_h_T, back[:going_on])
    return delta, delta


@njit(**_KERNEL)
def _lstm_forward(x, rows, active, W_x, W_h, b, h, gates, c):
    n = W_h.shape[0]
    np.dot(x[rows], W_x, gates)
    product = np.zeros((active[0], 4 * n), h.dtype)
    zero = np.zeros(n, h.dtype)
    before = start = 0
    for t, going_on in enumerate(active):
        if t:
            np.dot(h[before : before + going_on], W_h, product[:going_on])
        for k in range(going_on):
            a, a_h, h_now, c_now = gates[start + k], product[k], h[start + k], c[start + k]
            c_before = c[before + k] if t else zero
            for j in range(n):
                i = _sigmoid(a[j] + a_h[j] + b[j])
                f = _sigmoid(a[n + j] + a_h[n + j] + b[n + j])
                c_tilde = _tanh(a[2 * n + j] + a_h[2 * n + j] + b[2 * n + j])
                o = _sigmoid(a[3 * n + j] + a_h[3 * n + j] + b[3 * n + j])
                c_j = f * c_before[j] + i * c_tilde
                c_now[j] = c_j
                h_now[j] = o * _tanh(c_j)
                a[j], a[n + j], a[2 * n + j], a[3 * n + j] = i, f, c_tilde, o
        before, start = start, start + going_on


@njit(**_KERNEL)
def _lstm_backward(d_h, active, W_h, h_before, h, gates, c):
    n, one = W_h.shape[0], h.dtype.type(1)
    W_h_T = np.ascontiguousarray(W_h.T)
    delta = np.empty_like(gates)
    back_h, back_c = np.zeros((active[0], n), h.dtype), np.zeros((active[0], n), h.dtype)
    zero = np.zeros(n, h.dtype)
    start = len(h)
    for t in range(len(active) - 1, -1, -1):
        going_on = active[t]
        start -= going_on
        before = start - active[t - 1] if t else 0
        for k in range(going_on):
            a, c_now, delta_now = gates[start + k], c[start + k], delta[start + k]
            d_now, back_h_k, back_c_k = d_h[start + k], back_h[k], back_c[k]
            c_before = c[before + k] if t else zero
            for j in range(n):
                i, f, c_tilde, o = a[j], a[n + j], a[2 * n + j], a[3 * n + j]
                tanh_c = _tanh(c_now[j])
                d_h_j = d_now[j] + back_h_k[j]
                d_c_j = back_c_k[j] + d_h_j * o * (one - tanh_c * tanh_c)
                delta_now[j] = d_c_j * c_tilde * i * (one - i)
                delta_now[n + j] = d_c_j * c_before[j] * f * (one - f)
                delta_now[2 * n + j] = d_c_j * i * (one - c_tilde * c_tilde)
                delta_now[3 * n + j] = d_h_j * tanh_c * o * (one - o)
                back_c_k[j] = d_c_j * f
        np.dot(delta[start : start + going_on], W_h_T, back_h[:going_on])
    return delta, delta


@njit(**_KERNEL)
def _gru_forward(x, rows, active, W_x, W_h, b, h, gates, inner):
    n, one = W_h.shape[0], h.dtype.type(1)
    b_x, b_h = b[0], b[1]
    np.dot(x[rows], W_x, gates)
    product = np.zeros((active[0], 3 * n), h.dtype)
    zero = np.zeros(n, h.dtype)
    before = start = 0
    for t, going_on in enumerate(active):
        if t:
            np.dot(h[before : before + going_on], W_h, product[:going_on])
        for k in range(going_on):
            a, a_h, h_now, inner_now = gates[start + k], product[k], h[start + k], inner[start + k]
            h_before = h[before + k] if t else zero
            for j in range(n):
                z = _sigmoid(a[j] + b_x[j] + a_h[j] + b_h[j])
                r = _sigmoid(a[n + j] + b_x[n + j] + a_h[n + j] + b_h[n + j])
                inner_j = a_h[2 * n + j] + b_h[2 * n + j]
                h_tilde = _tanh(a[2 * n + j] + b_x[2 * n + j] + r * inner_j)
                h_now[j] = z * h_before[j] + (one - z) * h_tilde
                a[j], a[n + j], a[2 * n + j], inner_now[j] = z, r, h_tilde, inner_j
        before, start = start, start + going_on


@njit(**_KERNEL)
def _gru_backward(d_h, active, W_h, h_before, h, gates, inner):
    n, one = W_h.shape[0], h.dtype.type(1)
    W_h_T = np.ascontiguousarray(W_h.T)
    at_x, at_h = np.empty_like(gates), np.empty_like(gates)
    back, keep = np.zeros((active[0], n), h.dtype), np.zeros((active[0], n), h.dtype)
    start = len(h)
    for going_on in active[::-1]:
        start -= going_on
        for k in range(going_on):
            a, inner_now, before_now = gates[start + k], inner[start + k], h_before[start + k]
            d_now, back_k, keep_k = d_h[start + k], back[k], keep[k]
            at_x_now, at_h_now = at_x[start + k], at_h[start + k]
            for j in range(n):
                z, r, h_tilde = a[j], a[n + j], a[2 * n + j]
                d_h_j = d_now[j] + back_k[j] + keep_k[j]
                delta_z = d_h_j * (before_now[j] - h_tilde) * z * (one - z)
                delta_h = d_h_j * (one - z) * (one - h_tilde * h_tilde)
                delta_r = delta_h * inner_now[j] * r * (one - r)
                at_x_now[j], at_x_now[n + j], at_x_now[2 * n + j] = delta_z, delta_r, delta_h
                at_h_now[j], at_h_now[n + j], at_h_now[2 * n + j] = delta_z, delta_r, delta_h * r
                keep_k[j] = d_h_j * z
        np.dot(at_h[start : start + going_on], W_h_T, back[:going_on])
    return at_x, at_h


@njit(**_KERNEL)
def _step_before(h, active):
    """Put beside each packed step the state before it: (steps, n), zero at first steps."""
    h_before = np.zeros_like(h)
    before, start = 0, active[0]
    for going_on in active[1:]:
        h_before[start : start + going_on] = h[before : before + going_on]
        before, start = start, start + going_on
    return h_before


@njit(**_KERNEL)
def _sum_over_steps(x, rows, W_x, h_before, at_x, at_h, d_x):
    """Fill in the gradient by x; return those by W_x, by W_h, and by the bias at either side."""
    d_x[rows] = np.dot(at_x, W_x.T)
    return np.dot(x[rows].T, at_x), np.dot(h_before.T, at_h), at_x.sum(axis=0), at_h.sum(axis=0)


# Both ways, and the widths of what the first fills in, in multiples of n: h, and so on.
_RECURRENCES = {
    "SimpleRNN": (_rnn_forward, _rnn_backward, (1,)),
    "LSTM": (_lstm_forward, _lstm_backward, (1, 4, 1)),
    "GRU": (_gru_forward, _gru_backward, (1, 3, 1)),
}


@cache
def _workers():
    return ThreadPoolExecutor(get_num_threads())


def _for_each_part(work, parts):
    """Call ``work`` for each part of a batch, at the same time on several cores."""
    return [work(*parts[0])] if len(parts) == 1 else list(_workers().map(lambda p: work(*p), parts))


def forward(cell, x, packing, W_x, W_h, b):
    """Run a recurrence over the real steps of a padded batch.

    Parameters
    ----------
    cell : str
        ``SimpleRNN``, ``LSTM`` or ``GRU``.
    x : array, shape (batch, time, m)
    packing : Packing
    W_x, W_h, b : array
        As Keras keeps them; of a GRU, ``b`` has two rows (``reset_after=True``).

    Returns
    -------
    list of arrays, shape (steps, …)
        First the hidden state after each packed step, then what else :func:`backward` needs.
    """
    run, _, widths = _RECURRENCES[cell]
    flat, n = x.reshape(-1, x.shape[-1]), len(W_h)
    states = [np.empty((len(packing.rows), width * n), x.dtype) for width in widths]

    def work(where, active):
        run(flat, packing.rows[where], active, W_x, W_h, b, *(s[where] for s in states))

    _for_each_part(work, packing.parts)
    return states


def backward(cell, d_h, x, packing, W_x, W_h, b, states):
    """Send gradients back through :func:`forward`.

    Parameters
    ----------
    d_h : array, shape (steps, n)
        Gradient of the loss by each packed state, paths through later states left out.
    cell, x, packing, W_x, W_h, b
        As in :func:`forward`.
    states : list of arrays
        What it returned.

    Returns
    -------
    tuple of arrays
        The gradients by ``x``, ``W_x``, ``W_h`` and ``b``; zero where ``x`` is padding.
    """
    _, run_back, _ = _RECURRENCES[cell]
    flat = x.reshape(-1, x.shape[-1])
    d_x = np.zeros_like(flat)

    def work(where, active):
        part = [state[where] for state in states]
        h_before = _step_before(part[0], active)
        at_x, at_h = run_back(d_h[where], active, W_h, h_before, *part)
        return _sum_over_steps(flat, packing.rows[where], W_x, h_before, at_x, at_h, d_x)

    sums = zip(*_for_each_part(work, packing.parts), strict=True)
    d_W_x, d_W_h, d_b_x, d_b_h = (sum(parts) for parts in sums)
    d_b = np.stack([d_b_x, d_b_h]) if b.ndim == 2 else d_b_x
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
        cell, every, units = type(self).__name__, self.return_sequences, self.units
        widths = _RECURRENCES[cell][2]

        def pack(mask):
            packing = Packing.of(mask, self.go_backwards, get_num_threads())
            return packing, self._places(packing, mask) if every else packing.last

        def run(x, mask, W_x, W_h, b):
            packing, places = pack(mask)
            states = forward(cell, x, packing, W_x, W_h, b)
            if not every:
                return states[0][places], *states
            output = np.zeros((mask.size, units), x.dtype)
            output[places] = states[0]
            return output.reshape(*mask.shape, units), *states

        def run_back(d_output, x, mask, W_x, W_h, b, *states):
            packing, places = pack(mask)
            if every:
                d_h = d_output.reshape(mask.size, units)[places]
            else:
                d_h = np.zeros_like(states[0])
                d_h[places] = d_output
            return backward(cell, d_h, x, packing, W_x, W_h, b, states)

        @tf.custom_gradient
        def recurrence(x, W_x, W_h, b):
            output, *saved = tf.numpy_function(
                run, [x, mask, W_x, W_h, b], [x.dtype] * (1 + len(widths)), stateful=False
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
