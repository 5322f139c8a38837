"""Two tasks that measure memory, and training of one recurrent layer on them."""

import dataclasses
import sys
import time
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from helpers.cells import CELLS, Network, cross_entropy, squared_error
from helpers.layers import Packing, backward, forward

SYMBOLS, REMEMBERED = 4, 5  # of the copy task
BATCH, UNITS, UPDATES, EVERY = 32, 32, 2000, 50
# Of 0.001, 0.003 and 0.01 in pilot runs at short lags with seed 0, which is not recorded: the RNN
# did best with 0.003 at adding, the LSTM with 0.01 at copying. The GRU was given the LSTM's.
LEARNING_RATES = {"SimpleRNN": 0.003, "LSTM": 0.01, "GRU": 0.01}


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


def _mean_squared_error(outputs, y):
    return float(((outputs - y) ** 2).mean())


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
    """

    draw: object
    outputs: int
    every_step: bool
    loss: object
    error: object
    ignorant: float
    solved: float
    lags: tuple


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
}


# --- One run ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskSettings:
    """What decides a run.

    Attributes
    ----------
    task : str
        ``adding`` or ``copy``.
    cell : str
        ``SimpleRNN``, ``LSTM`` or ``GRU``.
    forget_bias : str
        Of an LSTM at the start: ``0``, ``1`` or ``log T`` with T the length of the sequences;
        empty for the other cells.
    lag, seed : int
    """

    task: str
    cell: str
    forget_bias: str
    lag: int
    seed: int

    @property
    def model(self):
        """The cell and its forget bias, in words."""
        return f"LSTM, bias {self.forget_bias}" if self.forget_bias else self.cell

    @property
    def name(self):
        """The name of the run in tables."""
        parts = [self.task, self.cell, self.forget_bias.replace(" ", ""), self.lag, self.seed]
        return "-".join(str(part) for part in parts if part != "")


def _states(network, x):
    """Run the one layer of a network, all sequences of one length; (packing, states, h by step)."""
    packing = Packing.of(np.ones(x.shape[:2], bool))
    states = forward(_name(network), x, packing, *network.cells[0].weights.values())
    return packing, states, states[0].reshape(x.shape[1], len(x), -1)  # step 1 of all comes first


def _name(network):
    return next(name for name, cell in CELLS.items() if type(network.cells[0]) is cell)


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
    d_h = np.zeros_like(h)
    d_h[-len(judged) :] = d_a_y @ network.W_y.T
    weights = network.cells[0].weights
    flat = d_h.reshape(states[0].shape)
    _, *d_cell = backward(_name(network), flat, x, packing, *weights.values(), states)
    gradients = dict(zip((f"0.{name}" for name in weights), d_cell, strict=True))
    gradients["W_y"] = np.tensordot(judged, d_a_y, ((0, 1), (0, 1)))
    return float(losses.mean()), gradients | {"b_y": d_a_y.sum(axis=(0, 1))}


def train(settings, updates=UPDATES, progress=True):
    """Train one network of 32 units on fresh batches until the task is solved, or the end.

    Adam with the norm of the whole gradient clipped to 1. Judged every 50 updates, and after the
    last, on 500 sequences that no batch contains. Solved once two judgements in a row say so.

    Parameters
    ----------
    settings : TaskSettings
    updates : int
        At most.
    progress : bool

    Returns
    -------
    row : dict
        Settings, updates, last error, whether it is solved, seconds.
    curve : pandas.DataFrame
        ``run, update, error``.
    network : Network
    """
    started = time.process_time()
    task = TASKS[settings.task]
    rng = np.random.default_rng(settings.seed)
    x_judged, y_judged = task.draw(np.random.default_rng(10_000 + settings.seed), 500, settings.lag)
    options = {}
    if settings.cell == "LSTM":
        bias = {"0": 0.0, "1": 1.0, "log T": np.log(x_judged.shape[1])}
        options["forget_bias"] = bias[settings.forget_bias]
    network = Network.random(
        rng, CELLS[settings.cell], x_judged.shape[2], [UNITS], task.outputs, **options
    ).astype(np.float32)
    adam = keras.optimizers.Adam(LEARNING_RATES[settings.cell], global_clipnorm=1.0)
    variables = [keras.Variable(weight) for weight in network.weights.values()]
    adam.build(variables)
    update_weights = tf.function(adam.apply)
    curve = []
    bar = tqdm(
        total=updates, file=sys.stdout, disable=not progress, desc=settings.model,
        bar_format="{desc} {bar:20} update {n} of {total}, {elapsed}{postfix}",
    )  # fmt: skip
    for update in range(1, updates + 1):
        x, y = task.draw(rng, BATCH, settings.lag)
        _, gradients = loss_and_gradients(network, x, y, task)
        update_weights([tf.constant(gradients[name]) for name in network.weights])
        for weight, variable in zip(network.weights.values(), variables, strict=True):
            weight[...] = variable.numpy()
        if update % EVERY == 0 or update == updates:
            error = task.error(outputs(network, x_judged, task), y_judged)
            curve.append((settings.name, update, error))
            bar.set_postfix({"error": f"{curve[-1][2]:.3f}"}, refresh=False)
            bar.update(update - bar.n)
            if len(curve) > 1 and max(curve[-1][2], curve[-2][2]) <= task.solved:
                break
    bar.close()
    curve = pd.DataFrame(curve, columns=["run", "update", "error"])
    last = curve["error"].iloc[-2:].max()
    row = {
        "run": settings.name,
        **dataclasses.asdict(settings),
        "model": settings.model,
        "learning_rate": LEARNING_RATES[settings.cell],
        "updates": update,
        "error": curve["error"].iloc[-1],
        "solved": bool(last <= task.solved),
        "numpy": np.__version__,
        "keras": keras.__version__,
        "seconds": round(time.process_time() - started, 1),
    }
    return row, curve, network
