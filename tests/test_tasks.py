"""The memory tasks and their recorded runs."""

import numpy as np
import pandas as pd
import pytest

from experiments.plan import planned_memory_runs
from experiments.tasks import (
    TASKS,
    UPDATES,
    TaskSettings,
    adding_problem,
    copy_task,
    loss_and_gradients,
    outputs,
    train,
)
from helpers.cells import CELLS, Network, relative_error
from helpers.runs import MEMORY_FILES, load_tables


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def test_the_adding_problem_asks_for_the_sum_of_the_two_marked_numbers(rng):
    x, y = adding_problem(rng, 2000, 31)
    assert x.shape == (2000, 31, 2) and y.shape == (2000, 1)
    assert np.allclose((x[..., 0] * x[..., 1]).sum(axis=1), y[:, 0])
    assert (x[:, :15, 1].sum(axis=1) == 1).all() and (x[:, 15:, 1].sum(axis=1) == 1).all()
    assert set(np.flatnonzero(x[..., 1].any(axis=0))) == set(range(31))
    task = TASKS["adding"]
    assert task.error(np.ones_like(y), y) == pytest.approx(task.ignorant, rel=0.05)
    assert task.error(y, y) == 0


def test_the_copy_task_asks_for_the_symbols_in_their_order_after_the_signal(rng):
    x, y = copy_task(rng, 500, 12)
    assert x.shape == (500, 22, 6) and y.shape == (500, 22)
    assert (x.sum(axis=-1) == 1).all()
    read = x.argmax(axis=-1)
    assert np.array_equal(read[:, :5], y[:, -5:]) and (read[:, :5] < 4).all()
    # The signal comes one step before the first answer; the k-th symbol waits 12 + 5 steps.
    assert (read[:, 16] == 5).all() and (np.delete(read[:, 5:], 11, axis=1) == 4).all()
    assert (y[:, :-5] == 4).all()
    task = TASKS["copy"]
    assert task.error(np.eye(5)[y], y) == 0
    guess = np.zeros((500, 22, 5))
    assert task.error(guess, y) == pytest.approx(task.ignorant, rel=0.05)  # always symbol 0


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", TASKS)
def test_the_compiled_gradients_are_those_of_the_theory_chapters(name, cell, rng):
    task = TASKS[name]
    x, y = task.draw(rng, 7, 12)
    x = x.astype(np.float64)
    network = Network.random(rng, CELLS[cell], x.shape[2], [6], task.outputs)
    loss, gradients = loss_and_gradients(network, x, y, task)
    expected_loss, expected = network.loss_and_gradients(
        x, y, every_step=task.every_step, loss=task.loss
    )
    assert loss == pytest.approx(expected_loss, abs=1e-12)
    assert list(gradients) == list(network.weights)
    for key, gradient in gradients.items():
        assert relative_error(gradient, expected[key]) < 1e-12, key
    assert np.allclose(
        outputs(network, x, task), network.outputs(x, every_step=task.every_step), atol=1e-12
    )


def test_a_run_learns_and_is_the_same_again(rng):
    config = TaskSettings("adding", "GRU", "", 6, seed=1)
    row, curve, network = train(config, updates=300, progress=False)
    assert curve["error"].iloc[-1] < TASKS["adding"].ignorant / 2
    x, y = adding_problem(np.random.default_rng(10_001), 500, 6)
    assert TASKS["adding"].error(network.outputs(x), y) == pytest.approx(row["error"])
    again, curve_again, _ = train(config, updates=300, progress=False)
    pd.testing.assert_frame_equal(curve, curve_again)
    assert {**row, "seconds": 0} == {**again, "seconds": 0}


@pytest.mark.parametrize(("bias", "expected"), [("0", 0), ("1", 1), ("log T", np.log(16))])
def test_the_forget_bias_is_what_the_name_says(bias, expected):
    config = TaskSettings("copy", "LSTM", bias, lag=6, seed=0)
    _, _, network = train(config, updates=1, progress=False)
    # One update of Adam at 0.01 moves no weight by more than 0.01.
    assert np.abs(network.cells[0].b[32:64] - expected).max() < 0.011


def test_the_recorded_runs_are_the_grid_and_follow_from_their_curves():
    tables = load_tables(MEMORY_FILES)
    runs, curves = tables["runs"].set_index("run"), tables["curves"]
    assert set(runs.index) == {s.name for s in planned_memory_runs()} and runs.index.is_unique
    assert set(curves["run"]) == set(runs.index)
    for name, curve in curves.groupby("run"):
        row, task = runs.loc[name], TASKS[runs.loc[name, "task"]]
        assert curve["update"].iloc[-1] == row["updates"] <= UPDATES
        assert curve["error"].iloc[-1] == row["error"]
        two = curve["error"].rolling(2).max() <= task.solved
        assert two.iloc[-1] == row["solved"] and not two.iloc[:-1].any(), name
        assert row["solved"] or row["updates"] == UPDATES
