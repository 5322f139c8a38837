"""Recurrences whose gates read the input alone, so that no step has to wait, in NumPy.

All states follow ``c_t = a_t * c_before + b_t``, element by element, where ``a_t`` and ``b_t`` come
from ``x_t``: a *diagonal linear recurrence*. What a layer passes on, ``h_t``, is read from ``c_t``
and ``x_t``. Conventions and cells' methods are those of :mod:`helpers.cells`, whose ``forward``,
``backward`` and ``Network`` run these cells step by step; :func:`forward` and :func:`backward` here
do all steps at once but for the recurrence itself.
"""

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numba import njit
from scipy.special import softplus

from helpers.cells import glorot, sigmoid

# --- The recurrence, three ways ---------------------------------------------------------------


@njit(cache=True, nogil=True)
def _run(a, b, start, c):
    for sequence in range(len(c)):
        before = start[sequence]
        for t in range(c.shape[1]):
            for j in range(c.shape[2]):
                c[sequence, t, j] = a[sequence, t, j] * before[j] + b[sequence, t, j]
            before = c[sequence, t]


@njit(cache=True, nogil=True)
def _run_back(a, d_c, delta):
    for sequence in range(len(delta)):
        delta[sequence, -1] = d_c[sequence, -1]
        for t in range(delta.shape[1] - 2, -1, -1):
            for j in range(delta.shape[2]):
                delta[sequence, t, j] = (
                    d_c[sequence, t, j] + a[sequence, t + 1, j] * delta[sequence, t + 1, j]
                )


def linear_loop(a, b, start=None):
    """Return all states of ``c_t = a_t c_before + b_t``, one step after the other (compiled).

    Parameters
    ----------
    a, b : array, shape (batch, time, n)
        Real or complex.
    start : array, shape (batch, n), optional
        The state before the first step; zeros if not given.

    Returns
    -------
    array, shape (batch, time, n)
    """
    c = np.empty_like(b)
    start = np.zeros_like(b, shape=(len(b), b.shape[2])) if start is None else start
    _run(np.ascontiguousarray(a), np.ascontiguousarray(b), np.ascontiguousarray(start), c)
    return c


def linear_loop_back(a, d_c):
    """Return the gradient by each ``b_t``: the same recurrence, from the last step to the first.

    ``delta_t = d_c_t + conj(a_{t+1}) delta_{t+1}``. The gradient by ``a_t`` is
    ``conj(c_{t-1}) delta_t``. Of a complex number it is that by its real part, plus i times that
    by its imaginary part, as in TensorFlow.

    Parameters
    ----------
    a : array, shape (batch, time, n)
    d_c : array, shape (batch, time, n)
        Immediate gradient by each state: not through later states.

    Returns
    -------
    array, shape (batch, time, n)
    """
    delta = np.empty_like(d_c)
    if delta.shape[1]:
        _run_back(np.ascontiguousarray(a.conj()), np.ascontiguousarray(d_c), delta)
    return delta


def linear_scan(a, b, start=None):
    """Return what :func:`linear_loop` does, by pairs of steps at growing distance.

    Two steps in a row are one step, ``(a_2, b_2) after (a_1, b_1) = (a_2 a_1, a_2 b_1 + b_2)``, and
    it does not matter which neighbours are joined first. After round k each step holds the last
    2^k steps joined (Hillis and Steele, 1986): log2(T) rounds, each of which could do all of its
    steps at the same time.

    Parameters, and what is returned, as for :func:`linear_loop`.
    """
    a, b = a.copy(), b.copy()
    if start is not None and b.shape[1]:
        b[:, 0] += a[:, 0] * start
    distance = 1
    while distance < b.shape[1]:
        b[:, distance:] += a[:, distance:] * b[:, :-distance]
        a[:, distance:] = a[:, distance:] * a[:, :-distance]
        distance *= 2
    return b


# --- Cells ------------------------------------------------------------------------------------


def _time_scales(rng, units, longest):
    """Draw ``log u`` with ``u`` uniform on 1…longest, Tallec and Ollivier (2018).

    A gate ``sigmoid(log u)`` keeps ``u / (u + 1)`` a step, so a unit remembers for about u steps.
    """
    return np.log(rng.uniform(1, longest, units))


def _by_weights(x, delta):
    """Gradients of ``x W + b`` by ``W`` and ``b``, summed over all leading axes."""
    flat = delta.reshape(-1, delta.shape[-1])
    return x.reshape(-1, x.shape[-1]).T @ flat, flat.sum(axis=0)


@dataclass
class LinearCell:
    """A diagonal linear recurrence of ``n`` units on ``m`` features.

    A cell gives four methods, for inputs of shape (…, m): :meth:`coefficients`, :meth:`read`, and
    their ways back. The state is ``(h, c)``; nothing reads the ``h`` of the step before.

    Attributes
    ----------
    W_x : array, shape (m, columns)
    b : array, shape (columns,)
    """

    W_x: np.ndarray
    b: np.ndarray

    states: ClassVar = ("h", "c")

    @property
    def weights(self):
        """The weights by name; changing an array in place changes the cell."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if isinstance(value, np.ndarray)}

    @property
    def state_size(self):
        """How many numbers ``c`` holds, complex ones counted once."""
        return self.units

    def initial(self, batch):
        """Return the state before the first step: zeros, shapes (batch, n), (batch, state_size)."""
        a, _, _ = self.coefficients(np.zeros((1, len(self.W_x)), self.W_x.dtype))
        h = np.zeros((batch, self.units), self.W_x.dtype)
        return h, np.zeros((batch, self.state_size), a.dtype)

    def read(self, c, cache):
        """Return ``h`` from ``c``: the state itself, unless a cell says otherwise."""
        return c

    def read_backward(self, d_h, c, cache):
        """Return gradients by ``c`` and, not through ``c``, by ``x`` and the weights.

        Parameters
        ----------
        d_h : array, shape (…, n)
        c : array, shape (…, state_size)
        cache : dict
            Of :meth:`coefficients`.

        Returns
        -------
        d_c, d_x : array
        d_weights : dict
        """
        return d_h, 0.0, {}

    def step(self, x, state):
        """Advance by one step, as :meth:`helpers.cells.RNN.step` does."""
        a, b, cache = self.coefficients(x)
        c = a * state[1] + b
        h = self.read(c, cache)
        return (h, c), {**cache, "a": a, "c_before": state[1], "c": c, "h": h}

    def step_backward(self, d_state, cache):
        """Send a gradient back through one step, as :meth:`helpers.cells.RNN.step_backward`."""
        d_h, delta = d_state
        d_c, d_x, d_weights = self.read_backward(d_h, cache["c"], cache)
        delta = delta + d_c
        d_x_in, d_in = self.coefficients_backward(cache["c_before"].conj() * delta, delta, cache)
        d_before = np.zeros_like(d_h), cache["a"].conj() * delta
        return d_x + d_x_in, d_before, _added(self, d_weights, d_in)


def _added(cell, *parts):
    """Sum gradients by name, zeros where there is none."""
    total = {name: np.zeros_like(weight) for name, weight in cell.weights.items()}
    for part in parts:
        for name, gradient in part.items():
            total[name] += gradient
    return total


@dataclass
class MinGRU(LinearCell):
    """The minGRU, Feng and others (2024): ``h = z h_before + (1 - z) h_tilde``, gates of x alone.

    Blocks of columns: update gate, candidate. The sign of z is Keras' of the GRU, not the paper's.

    Attributes
    ----------
    signed : bool
        Whether z is a tanh, so in (-1, 1) (Grazzi and others, 2025), in place of a logistic.
    """

    signed: bool = False

    @classmethod
    def random(cls, rng, features, units, longest=100, signed=False):
        """Draw the weights of a layer.

        Parameters
        ----------
        rng : numpy.random.Generator
        features, units : int
        longest : float
            Units remember for 1 to so many steps at the start. With 1, all biases are zero, as
            Keras starts a GRU; those of a signed gate are in any case.
        signed : bool

        Returns
        -------
        MinGRU
            In float64.
        """
        cell = cls(glorot(rng, features, 2 * units), np.zeros(2 * units), signed)
        if not signed:
            cell.b[:units] = _time_scales(rng, units, longest)
        return cell

    @property
    def units(self):
        """Width of the hidden state, ``n``."""
        return len(self.b) // 2

    def coefficients(self, x):
        """Return ``a``, ``b`` and a cache of steps that no state has reached yet.

        Parameters
        ----------
        x : array, shape (…, m)

        Returns
        -------
        a, b : array, shape (…, state_size)
        cache : dict
        """
        a_z, h_tilde = np.split(x @ self.W_x + self.b, 2, axis=-1)
        z = np.tanh(a_z) if self.signed else sigmoid(a_z)
        return z, (1 - z) * h_tilde, {"x": x, "z": z, "h_tilde": h_tilde}

    def coefficients_backward(self, d_a, d_b, cache):
        """Return gradients by ``x`` and the weights from those by ``a`` and ``b``."""
        z, h_tilde = cache["z"], cache["h_tilde"]
        slope = 1 - z**2 if self.signed else z * (1 - z)
        delta = np.concatenate([(d_a - d_b * h_tilde) * slope, d_b * (1 - z)], axis=-1)
        d_W_x, d_bias = _by_weights(cache["x"], delta)
        return delta @ self.W_x.T, {"W_x": d_W_x, "b": d_bias}


@dataclass
class MinLSTM(LinearCell):
    """The minLSTM, Feng and others (2024): input and forget gate of x alone, with sum one.

    Blocks of columns: input gate, forget gate, candidate. There is no output gate.
    """

    @classmethod
    def random(cls, rng, features, units, longest=100):
        """Draw the weights of a layer; parameters as in :meth:`MinGRU.random`."""
        cell = cls(glorot(rng, features, 3 * units), np.zeros(3 * units))
        scales = _time_scales(rng, units, longest)
        cell.b[:units], cell.b[units : 2 * units] = -scales, scales
        return cell

    @property
    def units(self):
        """Width of the hidden state, ``n``."""
        return len(self.b) // 3

    def coefficients(self, x):
        """Return ``a``, ``b`` and a cache, as :meth:`MinGRU.coefficients`."""
        a_i, a_f, h_tilde = np.split(x @ self.W_x + self.b, 3, axis=-1)
        i, f = sigmoid(a_i), sigmoid(a_f)
        share = f / (f + i)
        cache = {"x": x, "i": i, "f": f, "share": share, "h_tilde": h_tilde}
        return share, (1 - share) * h_tilde, cache

    def coefficients_backward(self, d_a, d_b, cache):
        """Return gradients by ``x`` and the weights from those by ``a`` and ``b``."""
        i, f, share, h_tilde = (cache[name] for name in ("i", "f", "share", "h_tilde"))
        # share = f / (f + i); by the pre-activations it changes as share (1 - share) (1 - gate).
        d_share = (d_a - d_b * h_tilde) * share * (1 - share)
        delta = np.concatenate([-d_share * (1 - i), d_share * (1 - f), d_b * (1 - share)], axis=-1)
        d_W_x, d_bias = _by_weights(cache["x"], delta)
        return delta @ self.W_x.T, {"W_x": d_W_x, "b": d_bias}


@dataclass
class LRU(LinearCell):
    """The linear recurrent unit, Orvieto and others (2023): a fixed complex ``a`` for each unit.

    ``a = exp(-exp(nu) + i theta)``, inside the unit circle whatever the weights, and inputs scaled
    by ``sqrt(1 - |a|^2)``. Read through tanh, in place of the paper's gated dense layer:
    ``h = tanh(Re(c) W_re + Im(c) W_im + x W_skip + b)``.

    Attributes
    ----------
    W_x : array, shape (m, 2n)
        Real, then imaginary part.
    b : array, shape (n,)
        Of what is read.
    nu, theta : array, shape (n,)
    W_c : array, shape (2n, n)
        For the real, then for the imaginary part.
    W_skip : array, shape (m, n)
    """

    nu: np.ndarray
    theta: np.ndarray
    W_c: np.ndarray
    W_skip: np.ndarray

    @classmethod
    def random(cls, rng, features, units, ring=(0.9, 0.999)):
        """Draw ``a`` evenly from a ring of the upper half plane, all else as Glorot.

        Real inputs give conjugate pairs the same content, so half the plane is enough.
        """
        low, high = np.square(ring)
        nu = np.log(-0.5 * np.log(rng.uniform(low, high, units)))
        return cls(
            W_x=glorot(rng, features, 2 * units),
            b=np.zeros(units),
            nu=nu,
            theta=rng.uniform(0, np.pi, units),
            W_c=glorot(rng, 2 * units, units),
            W_skip=glorot(rng, features, units),
        )

    @property
    def units(self):
        """Width of the hidden state, ``n``."""
        return len(self.b)

    def coefficients(self, x):
        """Return ``a``, ``b`` and a cache, as :meth:`MinGRU.coefficients`; complex."""
        rate = np.exp(self.nu)
        a = np.exp(-rate + 1j * self.theta)
        scale = np.sqrt(-np.expm1(-2 * rate))
        real, imaginary = np.split(x @ self.W_x, 2, axis=-1)
        u = real + 1j * imaginary
        cache = {"x": x, "u": u, "lambda": a, "scale": scale}
        return np.broadcast_to(a, u.shape), scale * u, cache

    def coefficients_backward(self, d_a, d_b, cache):
        """Return gradients by ``x`` and the weights from those by ``a`` and ``b``."""
        leading = tuple(range(d_b.ndim - 1))
        rate, scale = np.exp(self.nu), cache["scale"]
        d_exponent = cache["lambda"].conj() * d_a.sum(axis=leading)
        d_scale = (cache["u"].conj() * d_b).real.sum(axis=leading)
        d_nu = rate * (d_scale * np.exp(-2 * rate) / scale - d_exponent.real)
        delta = np.concatenate([(scale * d_b).real, (scale * d_b).imag], axis=-1)
        d_W_x, _ = _by_weights(cache["x"], delta)
        return delta @ self.W_x.T, {"W_x": d_W_x, "nu": d_nu, "theta": d_exponent.imag}

    def read(self, c, cache):
        """Return ``h`` from ``c`` and ``x``."""
        both = np.concatenate([c.real, c.imag], axis=-1)
        return np.tanh(both @ self.W_c + cache["x"] @ self.W_skip + self.b)

    def read_backward(self, d_h, c, cache):
        """Return gradients by ``c``, ``x`` and the weights, as :meth:`LinearCell.read_backward`."""
        delta = d_h * (1 - self.read(c, cache) ** 2)
        d_real, d_imaginary = np.split(delta @ self.W_c.T, 2, axis=-1)
        d_W_skip, d_bias = _by_weights(cache["x"], delta)
        d_W_c, _ = _by_weights(np.concatenate([c.real, c.imag], axis=-1), delta)
        d_weights = {"W_c": d_W_c, "W_skip": d_W_skip, "b": d_bias}
        return d_real + 1j * d_imaginary, delta @ self.W_skip.T, d_weights


@dataclass
class Selective(LinearCell):
    """A selective state-space layer, Gu and Dao (2023), algorithm 2: what, how long, and where to.

    Each of ``n`` channels has ``k`` states. From ``x_t`` come the values ``v`` of the channels,
    their step sizes ``D = softplus(…)``, and for all of them ``B`` (to write) and ``C`` (to read):
    ``a = exp(-D exp(alpha))``, ``b = D v B``, ``h = sum_k C c + skip v``.

    Attributes
    ----------
    W_x : array, shape (m, 2n + 2k)
        Blocks of columns: values, step sizes, B, C.
    b : array, shape (2n + 2k,)
    alpha : array, shape (n, k)
        Logarithms of the rates of decay.
    skip : array, shape (n,)
    """

    alpha: np.ndarray
    skip: np.ndarray

    @classmethod
    def random(cls, rng, features, units, states=4):
        """Draw rates 1, 2, …, k, and step sizes evenly in logarithm from 0.001 to 0.1."""
        step = np.exp(rng.uniform(np.log(0.001), np.log(0.1), units))
        b = np.zeros(2 * units + 2 * states)
        b[units : 2 * units] = step + np.log(-np.expm1(-step))  # softplus of it is the step
        b[2 * units :] = 1.0  # B and C: a layer that is not selective, to begin with
        alpha = np.tile(np.log(np.arange(1.0, states + 1)), (units, 1))
        return cls(glorot(rng, features, len(b)), b, alpha, np.ones(units))

    @property
    def units(self):
        """Width of the hidden state, ``n``."""
        return len(self.skip)

    @property
    def state_size(self):
        """Of all channels together, ``n k``."""
        return self.alpha.size

    def _parts(self, values):
        n, k = self.alpha.shape
        return np.split(values, [n, 2 * n, 2 * n + k], axis=-1)

    def coefficients(self, x):
        """Return ``a``, ``b`` and a cache, as :meth:`MinGRU.coefficients`."""
        v, a_step, B, C = self._parts(x @ self.W_x + self.b)
        step = softplus(a_step)
        a = np.exp(-step[..., None] * np.exp(self.alpha))
        b = (step * v)[..., None] * B[..., None, :]
        flat = (*x.shape[:-1], self.state_size)
        cache = {"x": x, "v": v, "a_step": a_step, "step": step, "B": B, "C": C, "decay": a}
        return a.reshape(flat), b.reshape(flat), cache

    def coefficients_backward(self, d_a, d_b, cache):
        """Return gradients by ``x`` and the weights from those by ``a`` and ``b``."""
        v, step, B, a = (cache[name] for name in ("v", "step", "B", "decay"))
        d_a, d_b, rates = d_a.reshape(a.shape), d_b.reshape(a.shape), np.exp(self.alpha)
        d_product = -d_a * a  # by step times rate
        d_written = np.einsum("...nk,...k->...n", d_b, B)  # by step times v
        d_step = np.einsum("...nk,nk->...n", d_product, rates) + d_written * v
        d_B = np.einsum("...nk,...n->...k", d_b, step * v)
        flat = d_product.reshape(-1, *rates.shape), step.reshape(-1, self.units)
        d_alpha = rates * np.einsum("tnk,tn->nk", *flat)
        d_a_step = d_step * sigmoid(cache["a_step"])
        delta = np.concatenate([d_written * step, d_a_step, d_B, np.zeros_like(B)], axis=-1)
        d_W_x, d_bias = _by_weights(cache["x"], delta)
        return delta @ self.W_x.T, {"W_x": d_W_x, "b": d_bias, "alpha": d_alpha}

    def read(self, c, cache):
        """Return ``h`` from ``c`` and what ``x`` says should be read."""
        c = c.reshape(*c.shape[:-1], *self.alpha.shape)
        return np.einsum("...nk,...k->...n", c, cache["C"]) + self.skip * cache["v"]

    def read_backward(self, d_h, c, cache):
        """Return gradients by ``c``, ``x`` and the weights, as :meth:`LinearCell.read_backward`."""
        v, C = cache["v"], cache["C"]
        states = c.reshape(*c.shape[:-1], *self.alpha.shape)
        d_C = np.einsum("...nk,...n->...k", states, d_h)
        parts = [d_h * self.skip, np.zeros_like(v), np.zeros_like(C), d_C]
        delta = np.concatenate(parts, axis=-1)
        d_W_x, d_bias = _by_weights(cache["x"], delta)
        d_skip = (d_h * v).reshape(-1, self.units).sum(axis=0)
        d_c = (d_h[..., None] * C[..., None, :]).reshape(c.shape)
        return d_c, delta @ self.W_x.T, {"W_x": d_W_x, "b": d_bias, "skip": d_skip}


SCANS = {"MinGRU": MinGRU, "MinLSTM": MinLSTM, "LRU": LRU, "Selective": Selective}


# --- A layer over a whole sequence ------------------------------------------------------------


def forward(cell, x, recurrence=linear_loop):
    """Run a cell over sequences without padding, all steps at once but for the recurrence.

    Parameters
    ----------
    cell : LinearCell
    x : array, shape (batch, time, m)
    recurrence : callable
        :func:`linear_loop` or :func:`linear_scan`.

    Returns
    -------
    h : array, shape (batch, time, n)
    trace : dict
        What :func:`backward` needs: ``a`` and ``c``, of shape (batch, time, state_size), and more.
    """
    a, b, cache = cell.coefficients(x)
    c = recurrence(a, b)
    return cell.read(c, cache), {**cache, "a": a, "c": c}


def backward(cell, trace, d_h):
    """Send a gradient back through :func:`forward`.

    Parameters
    ----------
    cell : LinearCell
    trace : dict
    d_h : array, shape (batch, time, n)
        Immediate gradient of the loss by the output of each step.

    Returns
    -------
    d_x : array, shape (batch, time, m)
    d_weights : dict
        By the weights, summed over batch and time.
    """
    a, c = trace["a"], trace["c"]
    d_c, d_x, d_read = cell.read_backward(d_h, c, trace)
    delta = linear_loop_back(a, d_c)
    before = np.concatenate([np.zeros_like(c[:, :1]), c[:, :-1]], axis=1)
    d_x_in, d_in = cell.coefficients_backward(before.conj() * delta, delta, trace)
    return d_x + d_x_in, _added(cell, d_read, d_in)
