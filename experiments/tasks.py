"""Tasks that measure memory or track a state, and training of one recurrent layer on them."""

import dataclasses
import sys
import time
from dataclasses import dataclass
from functools import partial
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from helpers import scans
from helpers.cells import GRU, LSTM, RNN, Network, cross_entropy, squared_error
from helpers.layers import Packing, backward, forward

SYMBOLS, REMEMBERED = 4, 5  # of the copy task
BATCH, JUDGED, EVERY = 32, 250, 100
# A run ends when it has solved its task; when its lowest error has not fallen by a twentieth for
# PATIENCE updates; or at the latest after UPDATES.
UPDATES, PATIENCE, MOVED = 20_000, 3000, 0.95
PILOT_UPDATES = 1500
LONGER = (1.5, 2)  # multiples of the lag at which a network is judged once, after training
# Gradients that vanish fall below the smallest normal float32, where processors are
# several times as slow. Their backward pass is done on this multiple of them, a power of two.
SCALE = 2.0**80
SMALL = 0.001  # standard deviation of the weights around an identity
LEARNING_RATES = (0.001, 0.003, 0.01)


# --- The tasks --------------------------------------------------------------------------------


def adding_problem(rng, batch, lag):
    """Draw sequences of numbers, two of them marked, whose sum is asked for at the end.

    Hochreiter and Schmidhuber (1997), experiment 4, with one mark in each half, as in Arjovsky
    and others (2016).

    Parameters
    ----------
    rng : numpy.random.Generator
    batch, lag : int
        ``lag`` is the length of the sequences.

    Returns
    -------
    x : array, shape (batch, lag, 2), float32
        A number of 0…1 and a mark, 0 or 1.
    y : array, shape (batch, 1), float32
    """
    x = np.zeros((batch, lag, 2), np.float32)
    x[..., 0] = rng.random((batch, lag))
    rows = np.arange(batch)
    first, second = rng.integers(0, lag // 2, batch), rng.integers(lag // 2, lag, batch)
    x[rows, first, 1] = x[rows, second, 1] = 1
    return x, (x[rows, first, 0] + x[rows, second, 0])[:, None]


def copy_task(rng, batch, lag):
    """Draw sequences of five symbols, then blanks, then a signal to write the five down.

    Hochreiter and Schmidhuber (1997) and Arjovsky and others (2016), with 4 symbols, not 8.

    Parameters
    ----------
    rng : numpy.random.Generator
    batch, lag : int
        ``lag`` is the number of steps between reading a symbol and writing it, less five.

    Returns
    -------
    x : array, shape (batch, lag + 10, 6), float32
        One-hot: four symbols, blank, signal.
    y : array of int, shape (batch, lag + 10)
        Blank (4), and at the last five steps the symbols.
    """
    symbols = rng.integers(0, SYMBOLS, (batch, REMEMBERED))
    x = np.full((batch, lag + 2 * REMEMBERED), SYMBOLS)
    y = x.copy()
    x[:, :REMEMBERED] = symbols
    x[:, lag + REMEMBERED - 1] = SYMBOLS + 1
    y[:, -REMEMBERED:] = symbols
    return np.eye(SYMBOLS + 2, dtype=np.float32)[x], y


def counting_task(rng, batch, lag):
    """Draw sequences of ups, then of downs, to say which of the two were more.

    Comparing two counts is what languages such as aⁿbⁿ ask for; Weiss and others (2018).

    Parameters
    ----------
    rng : numpy.random.Generator
    batch, lag : int
        ``lag`` is the length of the sequences.

    Returns
    -------
    x : array, shape (batch, lag, 2), float32
        Ups stand anywhere in the first half, at least one, and downs in the second; 1 in the first
        feature is an up, 1 in the second a down.
    y : array of int, shape (batch,)
        Downs less ups, plus one: -1, 0 and 1 are equally frequent.
    """
    half = lag // 2
    ups, y = rng.integers(1, half, batch), rng.integers(0, 3, batch)
    x = np.zeros((batch, lag, 2), np.float32)
    for feature, (start, stop) in enumerate(((0, half), (half, lag))):
        count = ups if feature == 0 else ups + y - 1
        places = rng.random((batch, stop - start)).argsort(axis=1)
        x[:, start:stop, feature] = places < count[:, None]
    return x, y


def cups_task(rng, batch, lag, cups):
    """Draw games in which a ball lies under one of some cups, and two may be swapped at each step.

    With two cups: parity, the number of swaps modulo 2. With three: swaps whose order matters.
    Merrill and others (2024) study five.

    Parameters
    ----------
    rng : numpy.random.Generator
    batch, lag : int
        ``lag`` is the length of the sequences.
    cups : int

    Returns
    -------
    x : array, shape (batch, lag, 1 + pairs), float32
        One-hot: nothing happens, or one pair of cups is swapped; all are equally frequent.
    y : array of int, shape (batch, lag)
        Where the ball is after each step; it starts under cup 0.
    """
    pairs = list(combinations(range(cups), 2))
    moves = np.tile(np.arange(cups), (1 + len(pairs), 1))  # moves[move, from] = to
    for move, pair in zip(moves[1:], pairs, strict=True):
        move[list(pair)] = pair[::-1]
    chosen = rng.integers(0, len(moves), (batch, lag))
    y, ball = np.empty((batch, lag), int), np.zeros(batch, int)
    for t in range(lag):
        y[:, t] = ball = moves[chosen[:, t], ball]
    return np.eye(len(moves), dtype=np.float32)[chosen], y


def _share_wrong_at_last(outputs, y):
    return _share_wrong(outputs[:, -1], y[:, -1])


def _mean_squared_error(outputs, y):
    return float(((outputs - y) ** 2).mean())


def _share_wrong(outputs, y):
    return float((outputs.argmax(axis=-1) != y).mean())


def _share_forgotten(outputs, y):
    wrong = outputs.argmax(axis=-1) != y
    return float(wrong[:, -REMEMBERED:].mean())


class Task(NamedTuple):
    """A task and how it is judged.

    Attributes
    ----------
    draw : callable
        From a generator, a batch size and a lag to inputs and targets.
    outputs : int
    every_step : bool
        Whether the loss is taken at each step.
    loss, error : callable
        What is minimised, and what is reported: 0 is perfect.
    ignorant : float
        The error of the best constant answer.
    solved : float
        An error at or below this one counts as solved.
    lags : tuple of int
        Of the recorded runs.
    shortest : int or None
        If given, each batch is of one lag from this one to the run's; otherwise all are of the
        run's.
    longer : tuple of float
        Multiples of the lag at which a network is judged once, after training.
    """

    draw: object
    outputs: int
    every_step: bool
    loss: object
    error: object
    ignorant: float
    solved: float
    lags: tuple
    shortest: int | None = None
    longer: tuple = LONGER


TASKS = {
    "adding": Task(
        adding_problem,
        1,
        False,
        squared_error,
        _mean_squared_error,
        1 / 6,
        0.01,
        (25, 50, 100, 200),
    ),
    "copy": Task(copy_task, 5, True, cross_entropy, _share_forgotten, 3 / 4, 0.02, (5, 10, 20, 40)),
    "counting": Task(
        counting_task, 3, False, cross_entropy, _share_wrong, 2 / 3, 0.02, (10, 20, 40, 80), 4
    ),
}

# Tasks that ask for a state which every step may turn into another.
TRACKING = {
    f"{cups} cups": Task(
        partial(cups_task, cups=cups),
        cups,
        True,
        cross_entropy,
        _share_wrong_at_last,
        1 - 1 / cups,
        0.02,
        (10, 20, 40),
        longer=(2, 4),
    )
    for cups in (2, 3)
}


# --- Starts -----------------------------------------------------------------------------------


class ReluRNN(RNN):
    """A plain RNN of rectified linear units started from the identity, Le and others (2015)."""

    @classmethod
    def random(cls, rng, features, units):
        """Draw weights as the authors do: ``W_h`` the identity, ``W_x`` small and normal, bias 0.

        Parameters
        ----------
        rng : numpy.random.Generator
        features, units : int

        Returns
        -------
        ReluRNN
            In float64.
        """
        return cls(rng.normal(0, SMALL, (features, units)), np.eye(units), np.zeros(units))

    def step(self, x, state):
        """Advance by one step: ``h = max(0, x W_x + h W_h + b)``."""
        (h_before,) = state
        h = np.maximum(0, x @ self.W_x + h_before @ self.W_h + self.b)
        return (h,), {"x": x, "h_before": h_before, "h": h}

    def step_backward(self, d_state, cache):
        """Send a gradient back through one step, as in :meth:`helpers.cells.RNN.step_backward`."""
        delta = d_state[0] * (cache["h"] > 0)
        d_weights = {
            "W_x": cache["x"].T @ delta,
            "W_h": cache["h_before"].T @ delta,
            "b": delta.sum(axis=0),
        }
        return delta @ self.W_x.T, (delta @ self.W_h.T,), d_weights


# The cell, and whether its gates are told how long sequences are.
STARTS = {
    "SimpleRNN": RNN,
    "ReLU RNN, identity": ReluRNN,
    "LSTM, bias 0": LSTM,
    "LSTM, bias 1": LSTM,
    "LSTM, chrono": LSTM,
    "GRU": GRU,
    "GRU, chrono": GRU,
}
SCAN_STARTS = {
    "MinGRU, bias 0": scans.MinGRU,
    "MinGRU": scans.MinGRU,
    "MinGRU, signed": scans.MinGRU,
    "MinLSTM": scans.MinLSTM,
    "LRU": scans.LRU,
    "Selective": scans.Selective,
}


def new_network(start, rng, features, units, outputs, steps):
    """Draw the weights of a network of one layer.

    *Chrono* gives each unit a time scale ``u``, uniform on 1…T-1 with T the length of a sequence,
    Tallec and Ollivier (2018): of an LSTM, the forget gate's bias is ``log u`` and the input gate's
    ``-log u``; of a GRU, whose one gate does both, the update gate's is ``log u``.

    Parameters
    ----------
    start : str
        One of :data:`STARTS` or :data:`SCAN_STARTS`. The rest is as Keras draws it, or the authors
        of the start.
    rng : numpy.random.Generator
    features, units, outputs : int
    steps : int
        Length of the sequences.

    Returns
    -------
    helpers.cells.Network
        In float64.
    """
    options = {"longest": 1} if start == "MinGRU, bias 0" else {}
    options |= {"signed": True} if start.endswith("signed") else {}
    cell = (STARTS | SCAN_STARTS)[start]
    network = Network.random(rng, cell, features, [units], outputs, **options)
    b = network.cells[0].b
    if start == "LSTM, bias 0":
        b[:] = 0
    elif start.endswith("chrono"):
        scales = np.log(rng.uniform(1, steps - 1, units))
        if b.ndim == 1:
            b[:units], b[units : 2 * units] = -scales, scales
        else:
            b[0, :units] = scales
    elif start == "ReLU RNN, identity":
        network.W_y[...] = rng.normal(0, SMALL, network.W_y.shape)
    return network


# --- One run ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskSettings:
    """What decides a run.

    Attributes
    ----------
    task : str
        One of :data:`TASKS` or :data:`TRACKING`.
    model : str
        The cell and how it starts, one of :data:`STARTS` or :data:`SCAN_STARTS`.
    units, lag, seed : int
    learning_rate : float
    pilot : bool
        Whether the run serves to choose a learning rate.
    """

    task: str
    model: str
    units: int
    lag: int
    seed: int
    learning_rate: float
    pilot: bool = False

    @property
    def name(self):
        """The name of the run in tables; it also seeds all that the run draws."""
        parts = [self.task, self.model.replace(",", ""), self.units, self.lag, self.seed]
        if self.pilot:
            parts += ["pilot", self.learning_rate]
        return "-".join(str(part) for part in parts).replace(" ", "-")


def _states(network, x):
    """Run the one layer of a network, all sequences of one length; (packing, states, h by step)."""
    cell = network.cells[0]
    if isinstance(cell, ReluRNN):
        h = _relu_forward(x, *cell.weights.values())
        return None, h, h
    if isinstance(cell, scans.LinearCell):
        h, trace = scans.forward(cell, x)
        return None, trace, h.swapaxes(0, 1)
    packing = Packing.of(np.ones(x.shape[:2], bool))
    states = forward(_name(cell), x, packing, *cell.weights.values())
    return packing, states, states[0].reshape(x.shape[1], len(x), -1)  # step 1 of all comes first


def _name(cell):
    return {RNN: "SimpleRNN", LSTM: "LSTM", GRU: "GRU"}[type(cell)]


def _relu_forward(x, W_x, W_h, b):
    """Return the states of a :class:`ReluRNN`, shape (time, batch, n)."""
    h = x.swapaxes(0, 1) @ W_x + b
    np.maximum(h[0], 0, out=h[0])
    for before, now in pairwise(h):
        now += before @ W_h
        np.maximum(now, 0, out=now)
    return h


def _relu_backward(d_h, x, W_x, W_h, b, h):
    """Return the gradients by the weights, from those by the states along no later step."""
    delta, back = np.empty_like(h), 0
    for t in reversed(range(len(h))):
        delta[t] = (d_h[t] + back) * (h[t] > 0)
        back = delta[t] @ W_h.T
    by_step = ((0, 1), (0, 1))
    return (
        np.tensordot(x.swapaxes(0, 1), delta, by_step),
        np.tensordot(h[:-1], delta[1:], by_step),
        delta.sum(axis=(0, 1)),
    )


def outputs(network, x, task):
    """Return what :meth:`helpers.cells.Network.outputs` does, by the compiled layers."""
    h = _states(network, x)[2]
    return (h.swapaxes(0, 1) if task.every_step else h[-1]) @ network.W_y + network.b_y


def loss_and_gradients(network, x, y, task):
    """Return what :meth:`helpers.cells.Network.loss_and_gradients` does, by compiled layers.

    Parameters
    ----------
    network : Network
        Of one layer.
    x : array, shape (batch, time, m)
        In the type of the weights; no padding.
    y : array
        As the task draws it.
    task : Task

    Returns
    -------
    float
    dict
        Gradients under the names of ``network.weights``.
    """
    packing, states, h = _states(network, x)
    judged, y = (h, y.swapaxes(0, 1)) if task.every_step else (h[-1:], y[None])
    losses, d_a_y = task.loss(judged @ network.W_y + network.b_y, y)
    d_a_y /= losses.size
    cell = network.cells[0]
    weights = cell.weights
    d_h = np.zeros_like(h)
    d_h[-len(judged) :] = d_a_y @ network.W_y.T
    if isinstance(cell, scans.LinearCell):
        _, d_weights = scans.backward(cell, states, d_h.swapaxes(0, 1))
        d_cell = d_weights.values()
    elif packing is None:
        d_cell = _relu_backward(d_h, x, *weights.values(), h)
    else:
        for scale in (SCALE, 1):
            flat = (d_h * h.dtype.type(scale)).reshape(states[0].shape)
            _, *d_cell = backward(_name(cell), flat, x, packing, *weights.values(), states)
            if all(np.isfinite(gradient).all() for gradient in d_cell):
                break
        d_cell = [gradient / h.dtype.type(scale) for gradient in d_cell]
    gradients = dict(zip((f"0.{name}" for name in weights), d_cell, strict=True))
    gradients["W_y"] = np.tensordot(judged, d_a_y, ((0, 1), (0, 1)))
    return float(losses.mean()), gradients | {"b_y": d_a_y.sum(axis=(0, 1))}


class Adam:
    """Adam, Kingma and Ba (2015), on one array, with the gradient's norm clipped.

    The same numbers as :class:`keras.optimizers.Adam`, whose call costs as much time as the
    gradients of networks as narrow as these.

    Parameters
    ----------
    weights : array, shape (k,)
        Changed in place.
    learning_rate : float
    clip : float
        The largest norm of a gradient.
    """

    def __init__(self, weights, learning_rate, clip=1.0):
        self.weights, self.learning_rate, self.clip = weights, learning_rate, clip
        self.mean, self.square, self.updates = np.zeros_like(weights), np.zeros_like(weights), 0

    def apply(self, gradient):
        """Make one update."""
        gradient = gradient * np.float32(self.clip / max(np.linalg.norm(gradient), self.clip))
        self.updates += 1
        self.mean += np.float32(0.1) * (gradient - self.mean)
        self.square += np.float32(0.001) * (gradient**2 - self.square)
        corrected = np.sqrt(1 - 0.999**self.updates) / (1 - 0.9**self.updates)
        rate = np.float32(self.learning_rate * corrected)
        self.weights -= rate * self.mean / (np.sqrt(self.square) + np.float32(1e-7))


def _flattened(network):
    """Return all weights in one array, and a network of float32 whose weights are parts of it."""
    flat = np.concatenate([w.ravel() for w in network.weights.values()]).astype(np.float32)
    network, start = network.astype(np.float32), 0
    for owner, name in [(network.cells[0], n) for n in network.cells[0].weights] + [
        (network, "W_y"), (network, "b_y"),
    ]:  # fmt: skip
        weight = getattr(owner, name)
        setattr(owner, name, flat[start : start + weight.size].reshape(weight.shape))
        start += weight.size
    return flat, network


def train(settings, updates=None, patience=PATIENCE, progress=True, network=None):
    """Train one network on fresh batches until the task is solved, nothing moves, or the end.

    Adam with the norm of the whole gradient clipped to 1. Judged every 100 updates, and after the
    last, on 250 sequences that no batch contains. Solved once two judgements in a row say so.

    Parameters
    ----------
    settings : TaskSettings
    updates : int, optional
        At most; 20,000 if not given, and 1500 for a pilot.
    patience : int
        The run ends if its lowest error has not fallen by a twentieth in so many updates.
    progress : bool
    network : Network, optional
        Of one layer, to start from, and left as it is; drawn as the settings say if not given.

    Returns
    -------
    row : dict
        Settings, updates, last error and that at longer lags, as the task says (but of pilots),
        whether it is solved, how it ended (``solved``, ``still``, ``limit`` or
        ``overflow``), seconds.
    curve : pandas.DataFrame
        ``run, update, error``.
    network : Network
    """
    started = time.process_time()
    updates = updates or (PILOT_UPDATES if settings.pilot else UPDATES)
    task = (TASKS | TRACKING)[settings.task]
    rng = np.random.default_rng(list(settings.name.encode()))
    x_judged, y_judged = task.draw(rng, JUDGED, settings.lag)
    steps, features = x_judged.shape[1:]
    if network is None:
        network = new_network(settings.model, rng, features, settings.units, task.outputs, steps)
    flat, network = _flattened(network)
    adam = Adam(flat, settings.learning_rate)
    curve, ended, lowest, moved = [], "limit", np.inf, 0
    bar = tqdm(
        total=updates, file=sys.stdout, disable=not progress, desc=settings.model,
        bar_format="{desc} {bar:20} update {n} of at most {total}, {elapsed}{postfix}",
    )  # fmt: skip
    for update in range(1, updates + 1):
        lag = rng.integers(task.shortest or settings.lag, settings.lag + 1)
        x, y = task.draw(rng, BATCH, lag)
        loss, gradients = loss_and_gradients(network, x, y, task)
        if not np.isfinite(loss):
            ended = "overflow"
            break
        adam.apply(np.concatenate([gradients[name].ravel() for name in network.weights]))
        if update % EVERY == 0 or update == updates:
            error = task.error(outputs(network, x_judged, task), y_judged)
            curve.append((settings.name, update, error))
            bar.set_postfix({"error": f"{error:.3f}"}, refresh=False)
            bar.update(update - bar.n)
            if error < MOVED * lowest:
                lowest, moved = error, update
            if len(curve) > 1 and max(curve[-1][2], curve[-2][2]) <= task.solved:
                ended = "solved"
            elif update - moved >= patience:
                ended = "still"
            if ended != "limit":
                break
    bar.close()
    curve = pd.DataFrame(curve, columns=["run", "update", "error"])
    longer = {}
    for times in () if settings.pilot else task.longer:
        x, y = task.draw(rng, JUDGED, int(times * settings.lag))
        longer[f"error_at_{times}"] = task.error(outputs(network, x, task), y)
    row = {
        "run": settings.name,
        **dataclasses.asdict(settings),
        "updates": update,
        "error": curve["error"].iloc[-1] if len(curve) else np.inf,
        **longer,
        "solved": ended == "solved",
        "ended": ended,
        "numpy": np.__version__,
        "seconds": round(time.process_time() - started, 1),
    }
    return row, curve, network
