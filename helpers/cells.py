"""RNN, LSTM and GRU in NumPy, forward and backward through time: what the theory chapters show.

Vectors are rows and the batch comes first: ``x (batch, time, features)``, ``mask (batch, time)``.
Everything is computed in the type of the weights: float64 for checks, float32 beside Keras.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import log_softmax


def sigmoid(a):
    """Return ``1 / (1 + exp(-a))``, as a tanh, which is many times faster and cannot overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * a)


def glorot(rng, rows, columns):
    """Uniform weights of variance 2 / (rows + columns), Glorot and Bengio (2010), eq. 16."""
    limit = np.sqrt(6 / (rows + columns))
    return rng.uniform(-limit, limit, (rows, columns))


def orthogonal(rng, n):
    """Draw an orthogonal matrix of shape (n, n), uniform over all of them (Mezzadri, 2007)."""
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return q * np.sign(np.diag(r))


# --- Cells: one step, forward and backward ----------------------------------------------------


@dataclass
class Cell:
    """The weights of one recurrent layer of ``n`` units on ``m`` features.

    The cells differ in how many blocks of ``n`` columns the weights have, and in the step.

    Attributes
    ----------
    W_x : array, shape (m, blocks * n)
    W_h : array, shape (n, blocks * n)
    b : array, shape (blocks * n,), or (2, blocks * n) for a GRU that resets after the product
    """

    W_x: np.ndarray
    W_h: np.ndarray
    b: np.ndarray

    blocks = 1
    states = ("h",)

    @classmethod
    def random(cls, rng, features, units):
        """Draw weights as Keras does: Glorot for ``W_x``, orthogonal for ``W_h``, bias 0.

        Parameters
        ----------
        rng : numpy.random.Generator
        features, units : int

        Returns
        -------
        Cell
            In float64. Of an LSTM, the forget gate's bias is 1.
        """
        W_x = glorot(rng, features, cls.blocks * units)
        # Keras draws orthonormal rows over all blocks together; so do we.
        W_h = orthogonal(rng, cls.blocks * units)[:units]
        return cls(W_x, W_h, np.zeros(cls.blocks * units))

    @property
    def units(self):
        """Width of the hidden state, ``n``."""
        return self.W_h.shape[0]

    @property
    def weights(self):
        """The weights by name; changing an array in place changes the cell."""
        return {"W_x": self.W_x, "W_h": self.W_h, "b": self.b}

    def initial(self, batch):
        """Return the state before the first step: zeros, shape (batch, n) each."""
        return tuple(np.zeros((batch, self.units), self.W_h.dtype) for _ in self.states)


class RNN(Cell):
    """The tanh RNN, Elman (1990); Keras' ``SimpleRNN``."""

    def step(self, x, state):
        """Advance by one step: ``h = tanh(x W_x + h W_h + b)``.

        Parameters
        ----------
        x : array, shape (batch, m)
        state : tuple of one array, shape (batch, n)
            The hidden state of the step before.

        Returns
        -------
        state : tuple of one array, shape (batch, n)
        cache : dict
            What :meth:`step_backward` needs.
        """
        (h_before,) = state
        h = np.tanh(x @ self.W_x + h_before @ self.W_h + self.b)
        return (h,), {"x": x, "h_before": h_before, "h": h}

    def step_backward(self, d_state, cache):
        """Send a gradient back through one step.

        Parameters
        ----------
        d_state : tuple of one array, shape (batch, n)
            Gradient of the loss by the state after the step, the paths through all later
            steps included.
        cache : dict

        Returns
        -------
        d_x : array, shape (batch, m)
        d_state : tuple of one array, shape (batch, n)
            Gradient by the state before the step, along this step alone.
        d_weights : dict
            What this step adds to the gradients of the weights.
        """
        (d_h,) = d_state
        delta = d_h * (1 - cache["h"] ** 2)
        d_weights = {
            "W_x": cache["x"].T @ delta,
            "W_h": cache["h_before"].T @ delta,
            "b": delta.sum(axis=0),
        }
        return delta @ self.W_x.T, (delta @ self.W_h.T,), d_weights


class LSTM(Cell):
    """The LSTM with forget gate, Gers and others (2000), without peepholes; Keras' ``LSTM``.

    Blocks of columns in Keras' order: input gate, forget gate, candidate, output gate.
    """

    blocks = 4
    states = ("h", "c")

    @classmethod
    def random(cls, rng, features, units, forget_bias=1.0):
        """Draw weights as Keras does; ``forget_bias`` is a number or an array of shape (n,)."""
        cell = super().random(rng, features, units)
        cell.b[units : 2 * units] = forget_bias
        return cell

    def step(self, x, state):
        """Advance by one step; ``state`` is ``(h, c)``, parameters as in :meth:`RNN.step`."""
        h_before, c_before = state
        a = x @ self.W_x + h_before @ self.W_h + self.b
        a_i, a_f, a_c, a_o = np.split(a, 4, axis=1)
        i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
        c_tilde = np.tanh(a_c)
        c = f * c_before + i * c_tilde
        tanh_c = np.tanh(c)
        h = o * tanh_c
        cache = {
            **{"x": x, "h_before": h_before, "c_before": c_before, "h": h, "c": c},
            **{"i": i, "f": f, "o": o, "c_tilde": c_tilde, "tanh_c": tanh_c},
        }
        return (h, c), cache

    def step_backward(self, d_state, cache):
        """Send a gradient back through one step, as in :meth:`RNN.step_backward`."""
        d_h, d_c = d_state
        i, f, o, c_tilde = (cache[name] for name in ("i", "f", "o", "c_tilde"))
        d_c = d_c + d_h * o * (1 - cache["tanh_c"] ** 2)
        delta_i = d_c * c_tilde * i * (1 - i)
        delta_f = d_c * cache["c_before"] * f * (1 - f)
        delta_c = d_c * i * (1 - c_tilde**2)
        delta_o = d_h * cache["tanh_c"] * o * (1 - o)
        delta = np.concatenate([delta_i, delta_f, delta_c, delta_o], axis=1)
        d_weights = {
            "W_x": cache["x"].T @ delta,
            "W_h": cache["h_before"].T @ delta,
            "b": delta.sum(axis=0),
        }
        return delta @ self.W_x.T, (delta @ self.W_h.T, d_c * f), d_weights


@dataclass
class GRU(Cell):
    """The GRU, Cho and others (2014), ``h = z h_before + (1 - z) h_tilde``; Keras' ``GRU``.

    Blocks of columns in Keras' order: update gate, reset gate, candidate.

    Attributes
    ----------
    reset_after : bool
        Where the reset gate acts in the candidate: on the product ``h W_h + b[1]`` (True,
        Keras' default, with a second bias) or on ``h`` before the product (False, the paper).
    """

    reset_after: bool = True
    blocks = 3

    def __post_init__(self):
        """Refuse a bias of the other convention."""
        expected = (2, 3 * self.units) if self.reset_after else (3 * self.units,)
        if self.b.shape != expected:
            raise ValueError(
                f"GRU with reset_after={self.reset_after}: found a bias of shape {self.b.shape}; "
                f"expected {expected}"
            )

    @classmethod
    def random(cls, rng, features, units, reset_after=True):
        """Draw weights as Keras does."""
        W_x = glorot(rng, features, 3 * units)
        W_h = orthogonal(rng, 3 * units)[:units]
        return cls(W_x, W_h, np.zeros((2, 3 * units) if reset_after else 3 * units), reset_after)

    def step(self, x, state):
        """Advance by one step; parameters as in :meth:`RNN.step`."""
        (h_before,) = state
        n = self.units
        b_x, b_h = self.b if self.reset_after else (self.b, np.zeros_like(self.b))
        a_x = x @ self.W_x + b_x
        a_h = h_before @ self.W_h[:, : 2 * n] + b_h[: 2 * n]
        z, r = np.split(sigmoid(a_x[:, : 2 * n] + a_h), 2, axis=1)
        if self.reset_after:
            inner = h_before @ self.W_h[:, 2 * n :] + b_h[2 * n :]
            h_tilde = np.tanh(a_x[:, 2 * n :] + r * inner)
        else:
            inner = r * h_before
            h_tilde = np.tanh(a_x[:, 2 * n :] + inner @ self.W_h[:, 2 * n :])
        h = z * h_before + (1 - z) * h_tilde
        cache = {
            **{"x": x, "h_before": h_before, "h": h},
            **{"z": z, "r": r, "h_tilde": h_tilde, "inner": inner},
        }
        return (h,), cache

    def step_backward(self, d_state, cache):
        """Send a gradient back through one step, as in :meth:`RNN.step_backward`."""
        (d_h,) = d_state
        n = self.units
        z, r, h_tilde, h_before, inner = (
            cache[name] for name in ("z", "r", "h_tilde", "h_before", "inner")
        )
        W_h_gates, W_h_candidate = self.W_h[:, : 2 * n], self.W_h[:, 2 * n :]
        delta_z = d_h * (h_before - h_tilde) * z * (1 - z)
        delta_h = d_h * (1 - z) * (1 - h_tilde**2)
        if self.reset_after:
            d_r, d_inner = delta_h * inner, delta_h * r
            d_before, d_W_candidate = d_inner @ W_h_candidate.T, h_before.T @ d_inner
        else:
            d_inner = delta_h @ W_h_candidate.T
            d_r, d_before, d_W_candidate = d_inner * h_before, d_inner * r, inner.T @ delta_h
        delta_r = d_r * r * (1 - r)
        delta_gates = np.concatenate([delta_z, delta_r], axis=1)
        delta = np.concatenate([delta_gates, delta_h], axis=1)
        d_b = delta.sum(axis=0)
        if self.reset_after:
            d_b = np.stack([d_b, np.concatenate([delta_gates, d_inner], axis=1).sum(axis=0)])
        d_weights = {
            "W_x": cache["x"].T @ delta,
            "W_h": np.concatenate([h_before.T @ delta_gates, d_W_candidate], axis=1),
            "b": d_b,
        }
        d_before = d_before + d_h * z + delta_gates @ W_h_gates.T
        return delta @ self.W_x.T, (d_before,), d_weights


CELLS = {"SimpleRNN": RNN, "LSTM": LSTM, "GRU": GRU}


# --- A layer over a whole sequence ------------------------------------------------------------


@dataclass
class Trace:
    """What a layer leaves behind on its way forward.

    Attributes
    ----------
    h : array, shape (batch, time, n)
        The hidden state after each step; at a masked step, that of the step before.
    state : tuple of arrays, shape (batch, n)
        The state after the last step.
    mask : array, shape (batch, time)
    caches : list of dict
        One a step.
    """

    h: np.ndarray
    state: tuple
    mask: np.ndarray
    caches: list

    def collect(self, name):
        """Stack what every step stored under a name (``"f"``, ``"c"``): (batch, time, n).

        A masked step computes like any other and its result is dropped: read such steps with
        :attr:`mask` in hand.
        """
        return np.stack([cache[name] for cache in self.caches], axis=1)


@dataclass
class Gradients:
    """What a layer leaves behind on its way back.

    Attributes
    ----------
    x : array, shape (batch, time, m)
        Gradient of the loss by the inputs.
    weights : dict
        By the weights, summed over batch and time.
    states : list of tuples of arrays, shape (batch, n)
        ``states[t]``: by the state after step ``t``, all later paths included; ``states[0]``
        is by the initial state. An LSTM's entry by ``c`` holds ``h`` of the same step fixed.
    """

    x: np.ndarray
    weights: dict
    states: list


def forward(cell, x, mask=None, state=None):
    """Run a layer over a batch of sequences.

    Parameters
    ----------
    cell : Cell
    x : array, shape (batch, time, m)
    mask : array, shape (batch, time), optional
        1 (or True) at real steps. A step that is 0 leaves the state as it is.
    state : tuple of arrays, shape (batch, n), optional
        Zeros if not given.

    Returns
    -------
    Trace

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    if x.ndim != 3 or x.shape[2] != cell.W_x.shape[0]:
        raise ValueError(f"found x of shape {x.shape}; expected (batch, time, {len(cell.W_x)})")
    mask = np.ones(x.shape[:2]) if mask is None else np.asarray(mask)
    if mask.shape != x.shape[:2]:
        raise ValueError(f"found a mask of shape {mask.shape}; expected {x.shape[:2]}")
    mask = mask.astype(cell.W_x.dtype)
    state = cell.initial(len(x)) if state is None else state
    hs, caches = [], []
    for t in range(x.shape[1]):
        new, cache = cell.step(x[:, t], state)
        real = mask[:, t, None]
        state = tuple(real * s + (1 - real) * before for s, before in zip(new, state, strict=True))
        hs.append(state[0])
        caches.append(cache)
    h = np.stack(hs, axis=1) if hs else np.empty((len(x), 0, cell.units), cell.W_x.dtype)
    return Trace(h, state, mask, caches)


def backward(cell, trace, d_h, d_state=None):
    """Send a gradient back through time.

    Parameters
    ----------
    cell : Cell
    trace : Trace
        Of :func:`forward`.
    d_h : array, shape (batch, time, n)
        Immediate gradient of the loss by the hidden state after each step: not through later
        steps. For a loss on the last step only, zero everywhere else.
    d_state : tuple of arrays, shape (batch, n), optional
        Gradient by the last state that comes from elsewhere; zeros if not given.

    Returns
    -------
    Gradients
    """
    d_state = cell.initial(len(d_h)) if d_state is None else d_state
    d_weights = {name: np.zeros_like(weight) for name, weight in cell.weights.items()}
    d_x, states = [], []
    for t in reversed(range(d_h.shape[1])):
        d_state = (d_state[0] + d_h[:, t], *d_state[1:])
        states.append(d_state)
        real = trace.mask[:, t, None]
        d_x_t, d_before, d_step = cell.step_backward(
            tuple(real * d for d in d_state), trace.caches[t]
        )
        d_state = tuple(b + (1 - real) * d for b, d in zip(d_before, d_state, strict=True))
        d_x.append(d_x_t)
        for name, gradient in d_step.items():
            d_weights[name] += gradient
    return Gradients(np.stack(d_x[::-1], axis=1), d_weights, [d_state, *states[::-1]])


# --- Stacked layers with a loss ---------------------------------------------------------------


def cross_entropy(a_y, y):
    """Return the softmax cross-entropy of each row and its gradient by the logits.

    Parameters
    ----------
    a_y : array, shape (…, K)
    y : array of int, shape (…)

    Returns
    -------
    loss : array, shape (…)
        ``-log p[y]``.
    d_a_y : array, shape (…, K)
        ``p - one_hot(y)``.
    """
    log_p = log_softmax(a_y, axis=-1)
    picked = np.expand_dims(y, -1)
    d_a_y = np.exp(log_p)
    np.put_along_axis(d_a_y, picked, np.take_along_axis(d_a_y, picked, -1) - 1, -1)
    return -np.take_along_axis(log_p, picked, -1)[..., 0], d_a_y


def squared_error(a_y, y):
    """Return the mean squared error of each row over its K outputs, and its gradient.

    Parameters
    ----------
    a_y, y : array, shape (…, K)

    Returns
    -------
    loss : array, shape (…)
    d_a_y : array, shape (…, K)
    """
    difference = a_y - y
    return (difference**2).mean(axis=-1), 2 * difference / a_y.shape[-1]


@dataclass
class Network:
    """Recurrent layers, one on the other, and a dense output layer.

    Attributes
    ----------
    cells : list of Cell
    W_y : array, shape (n, K)
    b_y : array, shape (K,)
    """

    cells: list
    W_y: np.ndarray
    b_y: np.ndarray

    @classmethod
    def random(cls, rng, cell, features, units, outputs, **options):
        """Draw the weights of a network.

        Parameters
        ----------
        rng : numpy.random.Generator
        cell : type
            :class:`RNN`, :class:`LSTM` or :class:`GRU`.
        features, outputs : int
        units : sequence of int
            Width of each layer.
        **options
            For ``cell.random``.

        Returns
        -------
        Network
            In float64.
        """
        widths = [features, *units]
        cells = [cell.random(rng, m, n, **options) for m, n in pairwise(widths)]
        return cls(cells, glorot(rng, widths[-1], outputs), np.zeros(outputs))

    @property
    def weights(self):
        """All weights by name (``"0.W_x"``, ``"W_y"``); change the arrays in place to train."""
        named = {
            f"{k}.{name}": weight
            for k, cell in enumerate(self.cells)
            for name, weight in cell.weights.items()
        }
        return {**named, "W_y": self.W_y, "b_y": self.b_y}

    def astype(self, dtype):
        """Return a copy with all weights in another type."""
        cells = [
            type(cell)(**{**vars(cell), **{n: w.astype(dtype) for n, w in cell.weights.items()}})
            for cell in self.cells
        ]
        return Network(cells, self.W_y.astype(dtype), self.b_y.astype(dtype))

    def forward(self, x, mask=None):
        """Run all layers; return the traces, first layer first."""
        traces = []
        for cell in self.cells:
            traces.append(forward(cell, x, mask))
            x = traces[-1].h
        return traces

    def outputs(self, x, mask=None, every_step=False):
        """Return the dense layer's outputs ``h W_y + b_y``, before any softmax.

        Parameters
        ----------
        x : array, shape (batch, time, m)
        mask : array, shape (batch, time), optional
        every_step : bool
            At every step, or (False) only after the last real one.

        Returns
        -------
        array, shape (batch, K) or (batch, time, K)
        """
        h = self.forward(x, mask)[-1].h
        return (h if every_step else h[:, -1]) @ self.W_y + self.b_y

    def loss_and_gradients(self, x, y, mask=None, every_step=False, loss=cross_entropy):
        """Return the mean loss of a batch and its gradients, by backpropagation through time.

        Parameters
        ----------
        x : array, shape (batch, time, m)
        y : array
            Targets, shape (batch, …), or (batch, time, …) with ``every_step``.
        mask : array, shape (batch, time), optional
        every_step : bool
            One loss a real step, averaged over all real steps of the batch; or (False) one a
            sequence, averaged over the batch.
        loss : callable
            :func:`cross_entropy` or :func:`squared_error`.

        Returns
        -------
        float
        dict
            Gradients under the names of :attr:`weights`, and by the input under ``"x"``.
        """
        traces = self.forward(x, mask)
        h = traces[-1].h
        if every_step:
            losses, d_a_y = loss(h @ self.W_y + self.b_y, y)
            share = traces[-1].mask / traces[-1].mask.sum()
            value, d_a_y = (losses * share).sum(), d_a_y * share[..., None]
            d_h = d_a_y @ self.W_y.T
            d_W_y, d_b_y = np.tensordot(h, d_a_y, ((0, 1), (0, 1))), d_a_y.sum(axis=(0, 1))
        else:
            losses, d_a_y = loss(h[:, -1] @ self.W_y + self.b_y, y)
            value, d_a_y = losses.mean(), d_a_y / len(x)
            d_h = np.zeros_like(h)
            d_h[:, -1] = d_a_y @ self.W_y.T
            d_W_y, d_b_y = h[:, -1].T @ d_a_y, d_a_y.sum(axis=0)
        gradients = {"W_y": d_W_y, "b_y": d_b_y}
        for k in reversed(range(len(self.cells))):
            back = backward(self.cells[k], traces[k], d_h)
            gradients |= {f"{k}.{name}": d for name, d in back.weights.items()}
            d_h = back.x
        return float(value), gradients | {"x": d_h}


# --- Checks -----------------------------------------------------------------------------------


def central_differences(value, array, step=1e-5):
    """Estimate the gradient of a number by every entry of an array.

    Parameters
    ----------
    value : callable
        Without arguments; returns the number, computed from ``array`` as it is now.
    array : array of float64
        Changed in place entry by entry, and left as it was.
    step : float
        The error is of the order of ``step**2``, plus rounding of the order of
        ``1e-16 / step``.

    Returns
    -------
    array, of the same shape
    """
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = value()
        array[index] = kept - step
        below = value()
        array[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


def relative_error(a, b):
    """Return ``‖a − b‖ / max(‖a‖, ‖b‖)``; 0 if both are zero."""
    scale = max(np.linalg.norm(a), np.linalg.norm(b))
    return float(np.linalg.norm(np.asarray(a) - b) / scale) if scale else 0.0


# --- Keras ------------------------------------------------------------------------------------


def from_keras(layer):
    """Copy the weights of a Keras layer into a cell.

    Parameters
    ----------
    layer : keras.layers.SimpleRNN, LSTM or GRU
        Built, with the default activations.

    Returns
    -------
    Cell
        In the layer's type, float32 by default.

    Raises
    ------
    ValueError
        If the layer is none of these, or computes something else than the cell does.
    """
    kind = type(layer).__name__
    if kind not in CELLS:
        raise ValueError(f"found a layer {kind}; expected one of {', '.join(CELLS)}")
    expected = {"activation": "tanh", "use_bias": True, "go_backwards": False}
    if kind != "SimpleRNN":
        expected["recurrent_activation"] = "sigmoid"
    settings = layer.get_config()
    for name, value in expected.items():
        if settings[name] != value:
            raise ValueError(f"{kind}: found {name}={settings[name]!r}; expected {value!r}")
    options = {"reset_after": layer.reset_after} if kind == "GRU" else {}
    return CELLS[kind](*layer.get_weights(), **options)


def to_keras(cell, layer):
    """Copy a cell's weights into a built Keras layer of the same kind and size."""
    layer.set_weights(list(cell.weights.values()))


def network_from_keras(model):
    """Copy a Keras model, as :func:`helpers.models.build` makes it, into a :class:`Network`.

    Masking and dropout have no weights and no place here: give :meth:`Network.forward` the mask.
    """
    layers = [layer for layer in model.layers if type(layer).__name__ in CELLS]
    W_y, b_y = model.layers[-1].get_weights()
    return Network([from_keras(layer) for layer in layers], W_y, b_y)
