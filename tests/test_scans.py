"""Linear recurrences: the scan, the cells, their Keras layers, what they cost."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import some
from toys import assert_learns_through_its_mask

from experiments import scan_costs
from experiments.plan import chosen_rates, planned_scan_pilots, planned_scan_runs
from experiments.tasks import SCAN_STARTS, TASKS, TRACKING, loss_and_gradients, new_network, outputs
from helpers import cells, layers, scans
from helpers.cells import Network, central_differences, cross_entropy, relative_error, squared_error
from helpers.models import SCANS, Architecture, build
from helpers.runs import RESULTS, SCAN_FILES, load_tables

KINDS = {
    "MinGRU": (scans.MinGRU, {}),
    "MinGRU, signed": (scans.MinGRU, {"signed": True}),
    "MinLSTM": (scans.MinLSTM, {}),
    "LRU": (scans.LRU, {}),
    "Selective": (scans.Selective, {"states": 3}),
}
LENGTHS = np.array([4, 9, 1, 7, 7])
MASK = np.arange(9) < LENGTHS[:, None]
GAPS = MASK & (np.arange(9) != 3)  # a masked step between real ones, too


@pytest.fixture
def rng():
    return np.random.default_rng(19)


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


def randomised(cell, rng):
    """The same cell with every weight moved."""
    for weight in cell.weights.values():
        weight += rng.normal(scale=0.4, size=weight.shape)
    return cell


# --- The recurrence ---------------------------------------------------------------------------


@pytest.mark.parametrize("way", [scans.linear_loop, scans.linear_scan])
@pytest.mark.parametrize("time", [0, 1, 2, 7, 64, 65])
@pytest.mark.parametrize("dtype", [float, complex, np.float32, np.complex64])
def test_every_way_is_the_definition(way, time, dtype, rng):
    a, b = (rng.normal(size=(3, time, 4)).astype(dtype) / 2 for _ in range(2))
    start = rng.normal(size=(3, 4)).astype(dtype)
    if np.iscomplexobj(a):
        a *= 1 + 0.5j
    kept = a.copy(), b.copy()
    c, expected = start, []
    for t in range(time):
        c = a[:, t] * c + b[:, t]
        expected.append(c)
    found = way(a, b, start)
    assert found.shape == b.shape and found.dtype == dtype
    if time:
        assert np.allclose(found, np.stack(expected, axis=1), atol=1e-5)
        assert np.allclose(way(a, b), way(a, b, 0 * start))
    assert np.array_equal(a, kept[0]) and np.array_equal(b, kept[1])


def test_the_way_back_is_the_gradient_by_b(rng):
    a, b, target = (rng.normal(size=(2, 6, 3)) for _ in range(3))
    estimate = central_differences(lambda: (scans.linear_loop(a, b) * target).sum(), b)
    assert relative_error(scans.linear_loop_back(a, target), estimate) < 1e-9
    assert scans.linear_loop_back(a[:, :0], target[:, :0]).shape == (2, 0, 3)


@pytest.mark.parametrize("dtype", [tf.float64, tf.complex128])
def test_the_tensors_gradients_are_those_of_a_loop_of_tensorflow(dtype, rng):
    def loop(a, b):
        c, states = tf.zeros_like(b[:, 0]), []
        for t in range(b.shape[1]):
            c = a[:, t] * c + b[:, t]
            states.append(c)
        return tf.stack(states, axis=1)

    values = [rng.normal(size=(2, 5, 3)) + 1j * rng.normal(size=(2, 5, 3)) for _ in range(2)]
    a, b = (tf.cast(v if dtype.is_complex else v.real, dtype) for v in values)
    weights = tf.constant(rng.normal(size=(2, 5, 3)))
    found = []
    for way in (loop, layers.linear_recurrence):
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            c = way(a, b)
            parts = tf.math.real(c) * weights + tf.math.imag(c) ** 2
            loss = tf.reduce_sum(parts if dtype.is_complex else c**2 * weights)
        found.append([loss.numpy(), *(g.numpy() for g in tape.gradient(loss, [a, b]))])
    for one, other in zip(*found, strict=True):
        assert np.allclose(one, other, rtol=1e-10)


# --- Cells ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", some([1, 2], [2]))
@pytest.mark.parametrize("every_step", [False, True])
def test_gradients_are_central_differences(kind, layers, every_step, rng):
    cell, options = kind
    network = Network.random(rng, cell, 3, [4] * layers, 5, **options)
    for one in network.cells:
        randomised(one, rng)
    x, mask = rng.normal(size=(4, 7, 3)), rng.random((4, 7)) < 0.7
    mask[0], mask[1, :2], mask[2, -3:], mask[:, 3] = True, False, False, True
    shape = (4, 7) if every_step else (4,)
    for loss in (cross_entropy, squared_error):
        y = rng.integers(0, 5, shape) if loss is cross_entropy else rng.normal(size=(*shape, 5))
        given = {"y": y, "mask": mask, "every_step": every_step, "loss": loss}
        _, gradients = network.loss_and_gradients(x, **given)
        for name, array in {**network.weights, "x": x}.items():
            estimate = central_differences(
                lambda given=given: network.loss_and_gradients(x, **given)[0], array
            )
            assert np.linalg.norm(estimate) > 1e-6, f"{name}: nothing to compare"
            assert relative_error(gradients[name], estimate) < 1e-6, name


def test_all_steps_at_once_are_the_steps_one_by_one(kind, rng):
    cell = randomised(kind[0].random(rng, 3, 6, **kind[1]), rng)
    x, d_h = rng.normal(size=(4, 9, 3)), rng.normal(size=(4, 9, 6))
    trace = cells.forward(cell, x)
    expected = cells.backward(cell, trace, d_h)
    for way in (scans.linear_loop, scans.linear_scan):
        h, found = scans.forward(cell, x, way)
        assert np.allclose(h, trace.h, atol=1e-12)
        assert np.allclose(found["c"], trace.collect("c"), atol=1e-12)
    d_x, d_weights = scans.backward(cell, found, d_h)
    assert list(d_weights) == list(cell.weights)
    assert relative_error(d_x, expected.x) < 1e-12
    for name, gradient in d_weights.items():
        assert relative_error(gradient, expected.weights[name]) < 1e-12, name


def test_weights_decide_the_type(kind, rng):
    network = Network.random(rng, kind[0], 3, [4], 2, **kind[1]).astype(np.float32)
    h, trace = scans.forward(network.cells[0], rng.normal(size=(2, 5, 3)).astype(np.float32))
    assert h.dtype == np.float32 and trace["c"].dtype in (np.float32, np.complex64)
    assert vars(network.cells[0]).get("signed", None) == kind[1].get(
        "signed", False if kind[0] is scans.MinGRU else None
    )


def test_units_remember_at_the_start_for_as_long_as_they_are_told(rng):
    for cell in (scans.MinGRU, scans.MinLSTM):
        still = np.zeros((1, 2))
        a = cell.random(rng, 2, 5000, longest=50).coefficients(still)[0]
        u = a / (1 - a)
        assert u.min() >= 1 and u.max() <= 50 and abs(u.mean() - 25.5) < 1
        assert np.allclose(cell.random(rng, 2, 5, longest=1).coefficients(still)[0], 0.5)
    a = scans.LRU.random(rng, 2, 5000, ring=(0.5, 0.8)).coefficients(still)[0][0]
    assert abs(a).min() >= 0.5 and abs(a).max() <= 0.8 and (a.imag >= 0).all()
    assert abs((abs(a) ** 2).mean() - (0.25 + 0.64) / 2) < 0.01  # evenly over the ring's area
    cell = scans.Selective.random(rng, 2, 5000)
    step = cell.coefficients(still)[2]["step"]
    assert step.min() >= 0.001 - 1e-9 and step.max() <= 0.1 + 1e-9
    assert abs(np.log(step).mean() - np.log(0.01)) < 0.1


def test_the_minlstm_is_a_mingru_with_another_gate(rng):
    cell = randomised(scans.MinLSTM.random(rng, 3, 4), rng)
    x = rng.normal(size=(2, 6, 3))
    a, b, cache = cell.coefficients(x)
    assert np.allclose(a, cache["f"] / (cache["f"] + cache["i"]))
    assert np.allclose(b, cache["i"] / (cache["f"] + cache["i"]) * cache["h_tilde"])


def test_the_states_of_a_scaled_unit_keep_their_size_on_noise(rng):
    # Orvieto and others (2023), proposition 3.3: with inputs of variance 1 so have the states.
    cell = scans.LRU.random(rng, 1, 500, ring=(0.9, 0.99))
    cell.W_x[...] = np.repeat([[1.0, 0.0]], 500, axis=1)
    _, trace = scans.forward(cell, rng.normal(size=(20, 600, 1)))
    assert abs((abs(trace["c"][:, -1]) ** 2).mean() - 1) < 0.1


# --- Keras layers -----------------------------------------------------------------------------


def pair(name, rng, **options):
    """Return a Keras layer on 3 features and a cell with the same random weights."""
    layer = getattr(layers, name)(6, **options)
    layer.build((None, None, 3))
    layer.set_weights([w + rng.normal(0, 0.4, w.shape) for w in layer.get_weights()])
    return layer, scans.SCANS[name](**{n: v.numpy() for n, v in layer.weight.items()})


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("name", SCANS)
def test_layers_equal_cells_and_padding_reaches_nothing(name, every, rng):
    layer, cell = pair(name, rng, return_sequences=every)
    x = rng.normal(size=(5, 9, 3)).astype(np.float32)
    trace = cells.forward(cell, np.where(GAPS[..., None], x, 0), GAPS)
    d_h = rng.normal(size=(5, 9, 6)).astype(np.float32) * GAPS[..., None]
    if not every:
        last = [2, 8, 0, 6, 6]  # the real steps that come last
        d_h[...] = d_h * (np.arange(9) == np.reshape(last, (5, 1)))[..., None]
    expected = cells.backward(cell, trace, d_h)
    polluted = tf.constant(np.where(GAPS[..., None], x, np.float32(np.nan)))
    with tf.GradientTape() as tape:
        tape.watch(polluted)
        h = layer(polluted, mask=tf.constant(GAPS))
        loss = tf.reduce_sum(h * (d_h if every else d_h.sum(axis=1)))
    real = trace.h * GAPS[..., None] if every else trace.state[0]
    assert np.allclose(h, real, atol=1e-5)  # zero at padding, as the docstring says
    d_x, *d_weights = tape.gradient(loss, [polluted, *layer.trainable_variables])
    assert relative_error(d_x.numpy(), expected.x) < 1e-5
    for weight, gradient in zip(layer.weight, d_weights, strict=True):
        assert relative_error(gradient.numpy(), expected.weights[weight]) < 1e-4, weight


@pytest.mark.parametrize("name", SCANS)
def test_layers_read_backwards_and_from_both_ends(name, rng):
    layer, cell = pair(name, rng, go_backwards=True)
    x = rng.normal(size=(5, 9, 3)).astype(np.float32)
    found = layer(x, mask=tf.constant(MASK)).numpy()
    for k, length in enumerate(LENGTHS):
        alone = scans.forward(cell, x[k : k + 1, :length][:, ::-1])[0][0, -1]
        assert np.allclose(found[k], alone, atol=1e-5)
    both = keras.layers.Bidirectional(getattr(layers, name)(6, return_sequences=True))
    moved = x.copy()
    moved[1, 8] += 1  # the last step of the longest sequence
    h, other = (both(s, mask=tf.constant(MASK)).numpy() for s in (x, moved))
    assert np.array_equal(h[1, 0, :6], other[1, 0, :6])
    assert not np.allclose(h[1, 0, 6:], other[1, 0, 6:], atol=1e-12)
    with pytest.raises(ValueError, match="found an initial_state"):
        layer(x, initial_state=[x[:, 0]])


@pytest.mark.parametrize("pooling", some([True, False], [True]))
@pytest.mark.parametrize("name", some(SCANS, SCANS[::2]))
def test_models_learn_through_their_mask_and_come_back_from_disk(name, pooling, tmp_path, rng):
    architecture = Architecture(0, (8, 8), (0.1, 0.1), bidirectional=pooling, pooling=pooling)
    x = rng.uniform(0.1, 0.9, (5, 9, 2)).astype(np.float32)
    short, long = np.where(MASK[..., None], x, -1), np.full((5, 15, 2), -1, np.float32)
    long[:, :9] = short
    y = np.arange(5)
    keras.utils.set_random_seed(1)
    model = build(name, architecture, 2, 5, -1.0, learning_rate=0.01)
    keras.utils.set_random_seed(1)
    twin = build(name, architecture, 2, 5, -1.0)
    assert np.array_equal(model(short), twin(short))  # the seed decides the weights
    assert_learns_through_its_mask(model, short, long, y, tmp_path)


# --- Tasks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cups", [2, 3])
def test_the_ball_is_where_the_swaps_take_it(cups, rng):
    task = TRACKING[f"{cups} cups"]
    x, y = task.draw(rng, 300, 30)
    assert (x.sum(axis=-1) == 1).all()
    pairs = [(0, 1)] if cups == 2 else [(0, 1), (0, 2), (1, 2)]
    for game, places in zip(x.argmax(axis=-1), y, strict=True):
        order = list(range(cups))  # order[place] = cup; the ball is in cup 0
        for move, place in zip(game, places, strict=True):
            if move:
                i, j = pairs[move - 1]
                order[i], order[j] = order[j], order[i]
            assert order.index(0) == place
    if cups == 2:
        assert np.array_equal(y, x[..., 1].cumsum(axis=1) % 2)
    assert task.error(np.eye(cups)[y], y) == 0
    assert abs(task.error(np.zeros((300, 30, cups)), y) - task.ignorant) < 0.1


@pytest.mark.parametrize("start", SCAN_STARTS)
@pytest.mark.parametrize("name", [*TASKS, *TRACKING])
def test_the_fast_gradients_are_those_step_by_step(name, start, rng):
    task = (TASKS | TRACKING)[name]
    x, y = task.draw(rng, 7, 12)
    x = x.astype(np.float64)
    network = new_network(start, rng, x.shape[2], 6, task.outputs, x.shape[1])
    assert getattr(network.cells[0], "signed", False) == ("signed" in start)
    loss, gradients = loss_and_gradients(network, x, y, task)
    given = {"every_step": task.every_step, "loss": task.loss}
    expected_loss, expected = network.loss_and_gradients(x, y, **given)
    assert loss == pytest.approx(expected_loss, abs=1e-12)
    for key, gradient in gradients.items():
        assert relative_error(gradient, expected[key]) < 1e-12, key
    found = outputs(network, x, task)
    assert np.allclose(found, network.outputs(x, every_step=task.every_step), atol=1e-12)


def test_the_recorded_runs_are_those_of_the_plan():
    tables = load_tables(SCAN_FILES)
    runs, curves = tables["runs"].set_index("run"), tables["curves"]
    planned = {s.name: s for s in planned_scan_pilots() + planned_scan_runs(chosen_rates(tables))}
    assert set(runs.index) == set(planned) and runs.index.is_unique
    assert set(curves["run"]) == set(runs.index)
    for name, settings in planned.items():
        assert runs.loc[name, "learning_rate"] == settings.learning_rate
        error = curves.loc[curves["run"] == name, "error"]
        assert error.iloc[-1] == runs.loc[name, "error"]
        solved = (TASKS | TRACKING)[settings.task].solved
        two = error.rolling(2).max() <= solved
        assert two.iloc[-1] == runs.loc[name, "solved"] and not two.iloc[:-1].any(), name


# --- Costs ------------------------------------------------------------------------------------


def test_all_ways_of_the_same_layer_agree():
    x = tf.random.stateless_normal((1, 37, scan_costs.UNITS), (1, 2))
    found = []
    for name in scan_costs.LAYERS:
        keras.utils.set_random_seed(0)
        h = scan_costs.make_layer(name)(x)
        assert h.shape == x.shape
        if name.startswith("minGRU"):
            found.append(h.numpy())
        moved = tf.concat([x[:, :-1], x[:, -1:] + 1], axis=1)
        keras.utils.set_random_seed(0)
        other = scan_costs.make_layer(name)(moved)
        assert np.allclose(h[:, :-1], other[:, :-1], atol=1e-6), f"{name} looks ahead"
    assert len(found) == 4
    for h in found[1:]:
        assert np.allclose(h, found[0], atol=1e-5)


def test_costs_that_are_missing_are_measured(tmp_path):
    names = ("minGRU, loop",)
    assert scan_costs.sweep(tmp_path, (20,), names) == 1
    assert scan_costs.sweep(tmp_path, (20,), names) == 0
    (row,) = pd.read_csv(tmp_path / scan_costs.FILE).itertuples()
    assert 0 < row.seconds and 0 < row.learn_seconds and row.megabytes <= row.learn_megabytes


def test_the_recorded_costs_are_complete():
    table = pd.read_csv(RESULTS / scan_costs.FILE)
    keys = set(table[["layer", "steps"]].itertuples(index=False, name=None))
    assert keys == {(name, n) for name in scan_costs.LAYERS for n in scan_costs.LENGTHS}
    assert len(table) == len(keys) and (table.drop(columns="layer") >= 0).all(axis=None)
