"""The memory tasks, how networks start and train on them, and the recorded runs."""

import dataclasses
import math

import keras
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.findings import sooner
from experiments.plan import (
    MEMORY_UNITS,
    chosen_rates,
    planned_memory_pilots,
    planned_memory_runs,
)
from experiments.tasks import (
    EVERY,
    LEARNING_RATES,
    MOVED,
    PATIENCE,
    PILOT_UPDATES,
    STARTS,
    TASKS,
    UPDATES,
    Adam,
    ReluRNN,
    TaskSettings,
    adding_problem,
    copy_task,
    counting_task,
    loss_and_gradients,
    new_network,
    outputs,
    train,
)
from helpers.cells import central_differences, relative_error
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


def test_the_counting_task_asks_which_of_two_counts_is_larger(rng):
    x, y = counting_task(rng, 3000, 20)
    assert x.shape == (3000, 20, 2) and y.shape == (3000,) and set(np.unique(x)) == {0, 1}
    assert not x[:, 10:, 0].any() and not x[:, :10, 1].any()  # first the ups, then the downs
    ups, downs = x[..., 0].sum(axis=1), x[..., 1].sum(axis=1)
    assert np.array_equal(downs - ups, y - 1)
    assert set(ups) == set(range(1, 10)) and set(downs) == set(range(11))
    assert np.allclose(np.bincount(y) / 3000, 1 / 3, atol=0.03)
    # The counts alone tell nothing, nor does where the marks stand.
    assert all(abs(y[ups == k].mean() - 1) < 0.15 for k in range(1, 10))
    task = TASKS["counting"]
    assert task.error(np.eye(3)[y], y) == 0
    assert task.error(np.zeros((3000, 3)), y) == pytest.approx(task.ignorant, rel=0.05)


# --- Starts -----------------------------------------------------------------------------------


def test_the_starts_are_what_their_authors_say(rng):
    n, steps = 400, 50
    scales = {}
    for model in STARTS:
        network = new_network(model, np.random.default_rng(3), 2, n, 1, steps)
        scales[model] = network.cells[0].b
    assert (scales["LSTM, bias 0"] == 0).all() and (scales["SimpleRNN"] == 0).all()
    i, f, c, o = scales["LSTM, bias 1"].reshape(4, n)
    assert (f == 1).all() and not i.any() and not c.any() and not o.any()
    i, f, c, o = scales["LSTM, chrono"].reshape(4, n)
    assert np.array_equal(i, -f) and not c.any() and not o.any()  # both halves
    (z, r, h), at_state = scales["GRU, chrono"][0].reshape(3, n), scales["GRU, chrono"][1]
    assert not r.any() and not h.any() and not at_state.any() and not scales["GRU"].any()
    for drawn in (f, z):  # the logarithm of what is uniform on 1…T-1
        u = np.exp(drawn)
        assert 1 <= u.min() < 3 and 47 < u.max() <= 49 and u.mean() == pytest.approx(25, abs=2)
    identity = new_network("ReLU RNN, identity", rng, 2, n, 1, steps)
    cell = identity.cells[0]
    assert isinstance(cell, ReluRNN) and np.array_equal(cell.W_h, np.eye(n)) and not cell.b.any()
    assert cell.W_x.std() == pytest.approx(0.001, rel=0.1)
    assert identity.W_y.std() == pytest.approx(0.001, rel=0.15)


def test_a_rectified_network_keeps_what_is_positive_and_differentiates(rng):
    cell = ReluRNN.random(rng, 3, 5)
    cell.W_h += rng.normal(0, 0.3, (5, 5))
    cell.W_x[...] = rng.normal(size=(3, 5))
    x, h = rng.normal(size=(4, 3)), abs(rng.normal(size=(4, 5)))
    (after,), cache = cell.step(x, (h,))
    assert np.array_equal(after, np.maximum(0, x @ cell.W_x + h @ cell.W_h))
    assert 0 < (after == 0).mean() < 1
    d = rng.normal(size=after.shape)
    d_x, (d_h,), d_weights = cell.step_backward((d,), cache)
    for array, gradient in ((x, d_x), (h, d_h), (cell.W_h, d_weights["W_h"])):
        expected = central_differences(lambda: float((cell.step(x, (h,))[0][0] * d).sum()), array)
        assert relative_error(gradient, expected) < 1e-7


# --- Training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", STARTS)
@pytest.mark.parametrize("name", TASKS)
def test_the_compiled_gradients_are_those_of_the_theory_chapters(name, model, rng):
    task = TASKS[name]
    x, y = task.draw(rng, 7, 12)
    x = x.astype(np.float64)
    network = new_network(model, rng, x.shape[2], 6, task.outputs, x.shape[1])
    if model == "ReLU RNN, identity":  # away from its start, where hardly anything happens
        network.cells[0].W_x[...] = rng.normal(0, 0.5, network.cells[0].W_x.shape)
        network.W_y[...] = rng.normal(size=network.W_y.shape)
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


def test_gradients_that_explode_are_those_of_the_unscaled_pass(rng):
    task = TASKS["adding"]
    x, y = task.draw(rng, 5, 60)
    network = new_network("SimpleRNN", rng, 2, 6, 1, 60).astype(np.float32)
    network.cells[0].W_h *= 3
    network.cells[0].W_x[...] = network.cells[0].b[...] = 0  # stays at 0, where tanh has slope 1
    _, gradients = loss_and_gradients(network, x, y, task)
    _, expected = network.loss_and_gradients(x, y, loss=task.loss)
    assert abs(expected["0.W_x"]).max() > 1e18  # times the scale, too large for float32
    for key in network.weights:
        found, right = (g[key].astype(np.float64) for g in (gradients, expected))
        assert relative_error(found, right) < 1e-4, key


def test_adam_is_that_of_keras(rng):
    weights, gradients = rng.normal(size=7), rng.normal(size=(60, 7)) * [[3.0]] * 0.3
    own, variable = weights.astype(np.float32), keras.Variable(weights, dtype="float32")
    adam = Adam(own, 0.01)
    keras_adam = keras.optimizers.Adam(0.01, global_clipnorm=1.0)
    assert (np.linalg.norm(gradients, axis=1) > 1).any()  # some are clipped, some are not
    assert (np.linalg.norm(gradients, axis=1) < 1).any()
    for gradient in gradients.astype(np.float32):
        adam.apply(gradient)
        keras_adam.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    assert np.allclose(own, variable.numpy(), atol=1e-6) and abs(own - weights).max() > 0.1


def test_a_run_learns_and_is_the_same_again():
    config = TaskSettings("adding", "GRU", 32, 6, 1, 0.01)
    row, curve, network = train(config, updates=600, progress=False)
    assert row["solved"] and row["ended"] == "solved" and row["updates"] < 600
    assert (curve["error"].iloc[-2:] <= TASKS["adding"].solved).all()
    # What it was judged on is the first that it drew.
    x, y = adding_problem(np.random.default_rng(list(row["run"].encode())), 250, 6)
    assert TASKS["adding"].error(network.outputs(x), y) == pytest.approx(row["error"], rel=1e-4)
    again, curve_again, _ = train(config, updates=600, progress=False)
    pd.testing.assert_frame_equal(curve, curve_again)
    assert {**row, "seconds": 0} == {**again, "seconds": 0}


@pytest.mark.parametrize(("shortest", "expected"), [(None, {10}), (4, {4, 5, 6, 7, 8, 9, 10})])
def test_lags_of_training_and_of_judgement(shortest, expected, monkeypatch):
    trained, judged = [], []

    def draw(rng, batch, lag):
        (trained if batch == 32 else judged).append(int(lag))
        return counting_task(rng, batch, lag)

    monkeypatch.setitem(TASKS, "seen", TASKS["counting"]._replace(draw=draw, shortest=shortest))
    config = TaskSettings("seen", "GRU", 4, 10, 1, 0.01)
    row, _, _ = train(config, updates=100, progress=False)
    assert set(trained) == expected and judged == [10, 15, 20]
    assert {"error_at_1.5", "error_at_2"} < set(row)
    pilot, _, _ = train(dataclasses.replace(config, pilot=True), updates=100, progress=False)
    assert not any(name.startswith("error_at") for name in pilot)


def test_a_run_can_start_from_given_weights():
    given = new_network("LSTM, bias 1", np.random.default_rng(0), 2, 8, 1, 10)
    before = {name: weight.copy() for name, weight in given.weights.items()}
    config = TaskSettings("adding", "LSTM, bias 1", 8, 10, 1, 1e-4)
    _, _, network = train(config, updates=1, progress=False, network=given)
    for name, weight in network.weights.items():
        assert np.array_equal(given.weights[name], before[name])
        assert 0 < abs(weight - before[name]).max() < 2e-4  # one update of Adam


def test_a_run_that_does_not_move_ends():
    stuck = TaskSettings("copy", "SimpleRNN", 4, 30, 1, 1e-9)
    row, _, _ = train(stuck, updates=1000, patience=300, progress=False)
    assert row["ended"] == "still" and row["updates"] == 400 and not row["solved"]
    row, _, _ = train(stuck, updates=200, patience=300, progress=False)
    assert row["ended"] == "limit" and row["updates"] == 200


def test_a_run_that_overflows_ends(monkeypatch):
    monkeypatch.setattr("experiments.tasks.loss_and_gradients", lambda *_: (np.inf, {}))
    row, curve, _ = train(TaskSettings("adding", "GRU", 4, 6, 1, 0.01), progress=False)
    assert row["ended"] == "overflow" and not row["solved"] and not len(curve)


# --- Plan and recorded runs -------------------------------------------------------------------


def pilots(ends):
    """Make up two pilots a rate that end at these errors, and never move before."""
    runs = [
        {"run": f"{rate}-{lag}", "task": "adding", "model": "GRU", "units": 32, "lag": lag,
         "learning_rate": rate, "pilot": True, "ended": "limit"}
        for rate in ends
        for lag in (50, 100)
    ]  # fmt: skip
    curves = [
        {"run": run["run"], "update": update, "error": error}
        for run in runs
        for update, error in zip((100, 200, 300), ends[run["learning_rate"]], strict=False)
    ]
    return {"runs": pd.DataFrame(runs), "curves": pd.DataFrame(curves)}


def test_the_rate_with_the_lowest_error_on_the_way_is_chosen():
    choice = "adding", "GRU", 32
    tables = pilots({0.001: (0.2, 0.2, 0.001), 0.003: (0.2, 0.01, 0.01), 0.01: (0.2, 0.2, 0.2)})
    assert chosen_rates(tables) == {choice: 0.003}  # what is below *solved* gains nothing
    # A run that solved its task ended there, and stays where it was.
    assert chosen_rates(pilots({0.003: (0.2, 0.1, 0.1), 0.01: (0.2, 0.01)})) == {choice: 0.01}
    tables["runs"].loc[tables["runs"]["learning_rate"] == 0.003, "ended"] = "overflow"
    assert chosen_rates(tables) == {choice: 0.001}
    assert planned_memory_pilots(32)[0].learning_rate == LEARNING_RATES[0]


def test_the_recorded_runs_are_the_plan_and_follow_from_their_curves():
    tables = load_tables(MEMORY_FILES)
    runs, curves = tables["runs"].set_index("run"), tables["curves"]
    rates = chosen_rates(tables)
    planned = [
        settings
        for units in MEMORY_UNITS
        for settings in planned_memory_pilots(units) + planned_memory_runs(units, rates)
    ]
    assert set(runs.index) == {s.name for s in planned} and runs.index.is_unique
    longer = runs[["error_at_1.5", "error_at_2"]].notna().all(axis=1)
    assert (longer | runs["pilot"] | (runs["ended"] == "overflow")).all()
    assert all(runs.loc[s.name, "learning_rate"] == s.learning_rate for s in planned)
    for name, curve in curves.groupby("run"):
        row, task = runs.loc[name], TASKS[runs.loc[name, "task"]]
        two = (curve["error"].rolling(2).max() <= task.solved).to_numpy()
        assert two[-1] == row["solved"] == (row["ended"] == "solved") and not two[:-1].any(), name
        if row["ended"] == "overflow":
            continue
        assert curve["update"].iloc[-1] == row["updates"] and row["updates"] % EVERY == 0
        assert curve["error"].iloc[-1] == row["error"]
        lowest, moved = np.inf, 0
        for update, error in zip(curve["update"], curve["error"], strict=True):
            if error < MOVED * lowest * (1 + 1e-5):  # written with six digits
                lowest, moved = error, update
        still = row["updates"] - moved >= PATIENCE
        limit = row["updates"] == (PILOT_UPDATES if row["pilot"] else UPDATES)
        assert row["solved"] or {"still": still, "limit": limit}[row["ended"]], name


# --- Who is sooner ----------------------------------------------------------------------------


def ended(*updates, solved=True, lag=1):
    return pd.DataFrame({"updates": updates, "solved": solved, "lag": lag})


def test_who_is_sooner_is_counted_exactly():
    early, late = ended(1, 2, 3, 4, 5), ended(6, 7, 8, 9, 10)
    assert sooner(early, late, ["lag"])[:2] == pytest.approx((1, 2 / 252))
    assert sooner(late, early, ["lag"])[:2] == pytest.approx((0, 2 / 252))
    # Two strata: the product. The least share is the first whose tail is at most 0.05.
    twice = [pd.concat([kind, kind.assign(lag=2)]) for kind in (early, late)]
    assert sooner(*twice, ["lag"]).p == pytest.approx(2 / 252**2)
    assert 0.6 < sooner(*twice, ["lag"]).least < sooner(early, late, ["lag"]).least < 1
    # All alike, or none that can be told: nothing is found, and could not have been.
    for kind in (ended(3, 3, 3), ended(1, 2, 3, solved=False)):
        share, p, least = sooner(kind, kind, ["lag"])
        assert (share, p) == (0.5, 1) and np.isnan(least)
    # As the exact Wilcoxon test where nothing is tied or censored.
    rng = np.random.default_rng(0)
    values = rng.permutation(9)
    first, second = ended(*values[:4]), ended(*values[4:])
    exact = stats.mannwhitneyu(values[:4], values[4:], method="exact").pvalue
    assert sooner(first, second, ["lag"]).p == pytest.approx(exact)
    # With as many seeds as one likes: here 2 of 1.2e17 ways.
    many = ended(*range(30)), ended(*range(30, 60))
    assert sooner(*many, ["lag"]).p == pytest.approx(2 / math.comb(60, 30))


def test_a_run_that_ended_unsolved_is_later_only_than_those_solved_by_then():
    unsolved = ended(50, solved=False)
    assert sooner(ended(40), unsolved, ["lag"]).share == 1
    assert sooner(ended(50), unsolved, ["lag"]).share == 1
    assert sooner(ended(60), unsolved, ["lag"]).share == 0.5  # who knows
    with pytest.raises(ValueError, match="found no second kind of run for"):
        sooner(unsolved, ended(3, lag=2), ["lag"])
    with pytest.raises(ValueError, match="found no first kind of run for"):
        sooner(unsolved, pd.concat([unsolved, ended(3, lag=2)]), ["lag"])
