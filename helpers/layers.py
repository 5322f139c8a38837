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
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import keras
import numpy as np
import scipy.linalg  # noqa: F401, whose BLAS the compiled code calls
import tensorflow as tf
from joblib import cpu_count
from keras import ops
from numba import njit, types
from numba.extending import overload, register_jitable
from threadpoolctl import threadpool_limits

from helpers import scans

# Parts of a batch share the cores; a second thread of BLAS in each would only be in the way.
threadpool_limits(1, "blas")

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

# All of fast mathematics but another order of sums: with that, code just compiled and the same code
# from the cache were seen to differ in the last digit. Without numpy's error model, a check for
# division by zero keeps loops from being vectorised.
_FAST = {"fastmath": {"nnan", "ninf", "nsz", "arcp", "contract", "afn"}, "error_model": "numpy"}
# Cached, and without the interpreter's lock, so that parts of a batch run on several cores.
_KERNEL = {**_FAST, "cache": True, "nogil": True}
# A plain 1 would be an int64, and make float64 of float32.
_ONE, _HALF, _LARGEST = np.float32(1), np.float32(0.5), np.float32(9)
# A ratio of polynomials within 3e-7 of tanh: minimax coefficients, as in Eigen's ptanh_float.
_P13, _P11, _P9, _P7, _P5, _P3, _P1 = np.float32(
    [-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
     1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03]
)  # fmt: skip
_Q6, _Q4, _Q2, _Q0 = np.float32(
    [1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03]
)


def _tanh(a):
    """Stand for the compiled tanh: of the library for float64, a faster one for float32."""


@overload(_tanh, jit_options=_FAST)
def _compiled_tanh(a):
    if a != types.float32:
        return lambda a: math.tanh(a)

    def ratio(a):
        a = min(max(a, -_LARGEST), _LARGEST)
        s = a * a
        p = (((((_P13 * s + _P11) * s + _P9) * s + _P7) * s + _P5) * s + _P3) * s + _P1
        return a * p / (((_Q6 * s + _Q4) * s + _Q2) * s + _Q0)

    return ratio


@register_jitable(**_FAST)
def _sigmoid(a):
    return _HALF + _HALF * _tanh(_HALF * a)


# --- One step of one sequence -----------------------------------------------------------------
#
# Forward: from a = x W_x, a_h = h_before W_h, the bias and the states before, fill in h and s, and
# replace a by the gates. The second state s is c of an LSTM; a GRU keeps h_before W_h + b there.
# Backward: from the gradient d_h by h that arrives from outside the recurrence, and from what comes
# back from the step after, fill in delta at the inputs' side and, where it differs, at the states'.
# back is what came through W_h; carry what came past it.


@register_jitable(**_FAST)
def _rnn_step(a, a_h, b, h_before, s_before, h, s):
    for j in range(len(h)):
        h[j] = _tanh(a[j] + a_h[j] + b[j])


@register_jitable(**_FAST)
def _rnn_step_back(d_h, back, carry, a, h_before, s_before, h, s, delta, delta_h):
    for j in range(len(h)):
        delta[j] = (d_h[j] + back[j]) * (_ONE - h[j] * h[j])


@register_jitable(**_FAST)
def _lstm_step(a, a_h, b, h_before, c_before, h, c):
    n = len(h)
    for j in range(n):
        i = _sigmoid(a[j] + a_h[j] + b[j])
        f = _sigmoid(a[n + j] + a_h[n + j] + b[n + j])
        c_tilde = _tanh(a[2 * n + j] + a_h[2 * n + j] + b[2 * n + j])
        o = _sigmoid(a[3 * n + j] + a_h[3 * n + j] + b[3 * n + j])
        c[j] = f * c_before[j] + i * c_tilde
        h[j] = o * _tanh(c[j])
        a[j], a[n + j], a[2 * n + j], a[3 * n + j] = i, f, c_tilde, o


@register_jitable(**_FAST)
def _lstm_step_back(d_h, back, carry, a, h_before, c_before, h, c, delta, delta_h):
    n = len(h)
    for j in range(n):
        i, f, c_tilde, o = a[j], a[n + j], a[2 * n + j], a[3 * n + j]
        tanh_c = _tanh(c[j])
        d_h_j = d_h[j] + back[j]
        d_c = carry[j] + d_h_j * o * (_ONE - tanh_c * tanh_c)
        delta[j] = d_c * c_tilde * i * (_ONE - i)
        delta[n + j] = d_c * c_before[j] * f * (_ONE - f)
        delta[2 * n + j] = d_c * i * (_ONE - c_tilde * c_tilde)
        delta[3 * n + j] = d_h_j * tanh_c * o * (_ONE - o)
        carry[j] = d_c * f


@register_jitable(**_FAST)
def _gru_step(a, a_h, b, h_before, s_before, h, inner):
    n, b_x, b_h = len(h), b[0], b[1]
    for j in range(n):
        z = _sigmoid(a[j] + b_x[j] + a_h[j] + b_h[j])
        r = _sigmoid(a[n + j] + b_x[n + j] + a_h[n + j] + b_h[n + j])
        inner[j] = a_h[2 * n + j] + b_h[2 * n + j]
        h_tilde = _tanh(a[2 * n + j] + b_x[2 * n + j] + r * inner[j])
        h[j] = z * h_before[j] + (_ONE - z) * h_tilde
        a[j], a[n + j], a[2 * n + j] = z, r, h_tilde


@register_jitable(**_FAST)
def _gru_step_back(d_h, back, carry, a, h_before, s_before, h, inner, delta, delta_h):
    n = len(h)
    for j in range(n):
        z, r, h_tilde = a[j], a[n + j], a[2 * n + j]
        d_h_j = d_h[j] + back[j] + carry[j]
        delta_tilde = d_h_j * (_ONE - z) * (_ONE - h_tilde * h_tilde)
        delta[j] = delta_h[j] = d_h_j * (h_before[j] - h_tilde) * z * (_ONE - z)
        delta[n + j] = delta_h[n + j] = delta_tilde * inner[j] * r * (_ONE - r)
        delta[2 * n + j], delta_h[2 * n + j] = delta_tilde, delta_tilde * r
        carry[j] = d_h_j * z


# --- All steps of one part of a batch ---------------------------------------------------------
#
# At step t sequence k stands at row start + k; its step before at row before + k.


def _compiled(step, step_back):
    """Return both ways of one recurrence, with its step in their inner loop."""

    @njit(**_KERNEL)
    def run(x, rows, active, W_x, W_h, b, h, a, s):
        np.dot(x[rows], W_x, a)  # for all steps at once
        a_h, zero = np.zeros((active[0], a.shape[1]), h.dtype), np.zeros(h.shape[1], h.dtype)
        before = start = 0
        for t, going_on in enumerate(active):
            if t:
                np.dot(h[before : before + going_on], W_h, a_h[:going_on])
            for k in range(going_on):
                h_before, s_before = (h[before + k], s[before + k]) if t else (zero, zero)
                step(a[start + k], a_h[k], b, h_before, s_before, h[start + k], s[start + k])
            before, start = start, start + going_on

    @njit(**_KERNEL)
    def run_back(d_h, x, rows, active, W_x, W_h, b, h, a, s, d_x):
        delta = np.empty_like(a)
        delta_h = np.empty_like(a) if b.ndim == 2 else delta  # after a reset, the sides differ
        zero, h_before = np.zeros(h.shape[1], h.dtype), np.zeros_like(h)
        back, carry = np.zeros_like(h[: active[0]]), np.zeros_like(h[: active[0]])
        W_h_T = np.ascontiguousarray(W_h.T)
        start = len(h)
        for t in range(len(active) - 1, -1, -1):
            going_on = active[t]
            start -= going_on
            before = start - active[t - 1] if t else 0
            for k in range(going_on):
                now = start + k
                if t:
                    h_before[now] = h[before + k]
                s_before = s[before + k] if t else zero
                step_back(
                    d_h[now], back[k], carry[k], a[now], h_before[now], s_before, h[now], s[now],
                    delta[now], delta_h[now],
                )  # fmt: skip
            np.dot(delta_h[start : start + going_on], W_h_T, back[:going_on])
        d_x[rows] = np.dot(delta, W_x.T)  # these, too, for all steps at once
        d_W_x, d_W_h = np.dot(x[rows].T, delta), np.dot(h_before.T, delta_h)
        return d_W_x, d_W_h, delta.sum(axis=0), delta_h.sum(axis=0)

    return run, run_back


# Both ways, and the widths of h, a and s in multiples of n.
_RECURRENCES = {
    "SimpleRNN": (*_compiled(_rnn_step, _rnn_step_back), (1, 1, 0)),
    "LSTM": (*_compiled(_lstm_step, _lstm_step_back), (1, 4, 1)),
    "GRU": (*_compiled(_gru_step, _gru_step_back), (1, 3, 1)),
}


@cache
def _cores():
    """How many parts of a batch run at a time: as many as TensorFlow's operations may use."""
    asked = tf.config.threading.get_intra_op_parallelism_threads()
    return asked or int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0)) or cpu_count()


@cache
def _workers():
    return ThreadPoolExecutor(_cores())


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
        part = (state[where] for state in states)
        return run_back(d_h[where], flat, packing.rows[where], active, W_x, W_h, b, *part, d_x)

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
            packing = Packing.of(mask, self.go_backwards, _cores())
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


# --- Recurrences whose gates read the input alone ---------------------------------------------


@tf.custom_gradient
def linear_recurrence(a, b):
    """Return all states of ``c_t = a_t c_before + b_t``: :func:`helpers.scans.linear_loop`.

    Parameters
    ----------
    a, b : tensor, shape (batch, time, n)
        Real or complex.

    Returns
    -------
    tensor, shape (batch, time, n)
    """
    c = tf.numpy_function(scans.linear_loop, [a, b], b.dtype, stateful=False)
    c.set_shape(b.shape)

    def gradient(d_c):
        delta = tf.numpy_function(scans.linear_loop_back, [a, d_c], b.dtype, stateful=False)
        delta.set_shape(b.shape)
        before = tf.pad(c[:, :-1], [[0, 0], [1, 0], [0, 0]])
        return tf.math.conj(before) * delta, delta

    return c, gradient


def _pick(steps, last):
    return tf.gather(steps, last, batch_dims=1)


class _Scanned(keras.layers.Layer):
    """A layer with the weights, by name, and the equations of a cell of :mod:`helpers.scans`."""

    def __init__(self, units, return_sequences=False, go_backwards=False, **options):
        super().__init__(**options)
        self.units, self.return_sequences, self.go_backwards = units, return_sequences, go_backwards
        self.return_state = self.stateful = False  # what keras.layers.Bidirectional asks
        self.supports_masking, self.supports_jit = True, False

    def get_config(self):
        """Return what the layer is made from."""
        own = ("units", "return_sequences", "go_backwards")
        return super().get_config() | {name: getattr(self, name) for name in own}

    def build(self, shape):
        """Draw the weights as the cell does, from the seed that Keras was given."""
        rng = np.random.default_rng(random.getrandbits(32))
        cell = scans.SCANS[type(self).__name__].random(rng, shape[-1], self.units)
        self.weight = {
            name: self.add_weight(
                shape=start.shape, initializer=keras.initializers.Constant(start), name=name
            )
            for name, start in cell.weights.items()
        }

    def compute_output_shape(self, shape):
        """(batch, time, n), or (batch, n) of the last step."""
        return (*shape[: 1 + self.return_sequences], self.units)

    def compute_mask(self, sequences, mask=None):
        """Hand the mask on where time goes on."""
        return mask if self.return_sequences else None

    def call(self, sequences, initial_state=None, mask=None, training=False):
        """Run over a batch (batch, time, m); to (batch, time, n), or (batch, n) of the last step.

        At padding the states returned are zero.
        """
        if initial_state is not None:
            raise ValueError("found an initial_state; expected None: these layers start from 0")
        if mask is None:
            mask = tf.ones(tf.shape(sequences)[:2], bool)
        if self.go_backwards:
            sequences, mask = sequences[:, ::-1], mask[:, ::-1]
        weight = {name: tf.convert_to_tensor(variable) for name, variable in self.weight.items()}
        a, b, read_from = self._coefficients(_fill_padding(sequences, mask), weight)
        # At padding the state stays as it is.
        a, b = _fill_padding(a, mask, 1.0), _fill_padding(b, mask)
        c = linear_recurrence(a, b)
        if self.return_sequences:
            return _fill_padding(self._read(c, read_from, weight), mask)
        last = tf.reduce_max(tf.where(mask, tf.range(tf.shape(mask)[1]), 0), axis=1)
        return self._read(_pick(c, last), [_pick(each, last) for each in read_from], weight)

    def _read(self, c, read_from, weight):
        return c


@keras.saving.register_keras_serializable("helpers")
class MinGRU(_Scanned):
    """:class:`helpers.scans.MinGRU`, with a logistic update gate."""

    def _coefficients(self, x, weight):
        a_z, h_tilde = tf.split(x @ weight["W_x"] + weight["b"], 2, axis=-1)
        z = tf.sigmoid(a_z)
        return z, (1 - z) * h_tilde, []


@keras.saving.register_keras_serializable("helpers")
class MinLSTM(_Scanned):
    """:class:`helpers.scans.MinLSTM`."""

    def _coefficients(self, x, weight):
        a_i, a_f, h_tilde = tf.split(x @ weight["W_x"] + weight["b"], 3, axis=-1)
        i, f = tf.sigmoid(a_i), tf.sigmoid(a_f)
        return f / (f + i), i / (f + i) * h_tilde, []


@keras.saving.register_keras_serializable("helpers")
class LRU(_Scanned):
    """:class:`helpers.scans.LRU`."""

    def _coefficients(self, x, weight):
        rate = tf.exp(weight["nu"])
        real, imaginary = tf.split(x @ weight["W_x"], 2, axis=-1)
        scale = tf.sqrt(-tf.math.expm1(-2 * rate))
        b = tf.complex(scale * real, scale * imaginary)
        a = tf.exp(tf.complex(-rate, weight["theta"])) + tf.zeros_like(b)
        return a, b, [x @ weight["W_skip"] + weight["b"]]

    def _read(self, c, read_from, weight):
        both = tf.concat([tf.math.real(c), tf.math.imag(c)], axis=-1)
        return tf.tanh(both @ weight["W_c"] + read_from[0])


@keras.saving.register_keras_serializable("helpers")
class Selective(_Scanned):
    """:class:`helpers.scans.Selective`."""

    def _coefficients(self, x, weight):
        n, k = weight["alpha"].shape
        v, a_step, B, C = tf.split(x @ weight["W_x"] + weight["b"], [n, n, k, k], axis=-1)
        step = tf.nn.softplus(a_step)
        flat = [*tf.unstack(tf.shape(x))[:2], n * k]
        a = tf.exp(-step[..., None] * tf.exp(weight["alpha"]))
        b = (step * v)[..., None] * B[..., None, :]
        return tf.reshape(a, flat), tf.reshape(b, flat), [C, v]

    def _read(self, c, read_from, weight):
        C, v = read_from
        c = tf.reshape(c, [*tf.unstack(tf.shape(c))[:-1], *weight["alpha"].shape])
        return tf.reduce_sum(c * C[..., None, :], axis=-1) + weight["skip"] * v


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

    def __init__(self, **options):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, inputs):
        """Shape (batch, time, m), unchanged."""
        _, time, m = ops.shape(inputs)
        rates = 10000.0 ** (-np.arange(0, m, 2, dtype="float32") / m)
        angles = ops.arange(time, dtype="float32")[:, None] * rates
        return inputs + ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=1)[:, :m]


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
    """Rotate, stretch, shear and move each stroke a little, anew each time it is seen.

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
