"""The cells: forward beside Keras, backward beside central differences and tf.GradientTape."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers.cells import (
    GRU,
    LSTM,
    RNN,
    Network,
    backward,
    central_differences,
    cross_entropy,
    forward,
    from_keras,
    network_from_keras,
    orthogonal,
    relative_error,
    squared_error,
    to_keras,
)

KINDS = {
    "RNN": (RNN, {}, keras.layers.SimpleRNN, {}),
    "LSTM": (LSTM, {}, keras.layers.LSTM, {}),
    "GRU after": (GRU, {"reset_after": True}, keras.layers.GRU, {"reset_after": True}),
    "GRU before": (GRU, {"reset_after": False}, keras.layers.GRU, {"reset_after": False}),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def randomised(cell, rng):
    """The same cell with every weight random, biases included."""
    for weight in cell.weights.values():
        weight[...] = rng.normal(scale=0.4, size=weight.shape)
    return cell


def random_batch(rng, batch=4, time=7, features=3):
    """Inputs, and a mask with padding before, between and after, and one sequence of all steps."""
    mask = rng.random((batch, time)) < 0.7
    mask[0], mask[1, :2], mask[2, -3:] = True, False, False
    mask[:, 3] = True
    return rng.normal(size=(batch, time, features)), mask


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("masked", [False, True])
def test_forward_is_keras(kind, seed, masked):
    cell_class, _, layer_class, keras_options = kind
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 6, 2)
    x, mask = random_batch(rng, time=int(rng.integers(6, 12)), features=m)
    mask = mask if masked else None
    layer = layer_class(int(n), return_sequences=True, **keras_options)
    layer.build((None, None, int(m)))
    layer.set_weights([rng.normal(scale=0.5, size=w.shape) for w in layer.get_weights()])
    cell = from_keras(layer)
    assert isinstance(cell, cell_class)
    trace = forward(cell, x.astype("float32"), mask)
    assert trace.h.dtype == np.float32
    expected = layer(x, mask=mask).numpy()
    assert np.abs(trace.h - expected).max() < 1e-6
    last = type(layer)(int(n), **keras_options)
    last.build((None, None, int(m)))
    to_keras(cell, last)
    assert np.abs(trace.state[0] - last(x, mask=mask).numpy()).max() < 1e-6


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("loss", [cross_entropy, squared_error])
def test_gradients_are_central_differences(kind, rng, layers, every_step, loss):
    cell_class, options, _, _ = kind
    network = Network.random(rng, cell_class, 3, [4] * layers, 5, **options)
    for cell in network.cells:
        randomised(cell, rng)
    x, mask = random_batch(rng)
    shape = (4, 7) if every_step else (4,)
    y = rng.integers(0, 5, shape) if loss is cross_entropy else rng.normal(size=(*shape, 5))
    arguments = {"y": y, "mask": mask, "every_step": every_step, "loss": loss}
    _, gradients = network.loss_and_gradients(x, **arguments)
    checked = {**network.weights, "x": x}
    assert gradients.keys() == checked.keys()
    for name, array in checked.items():
        estimate = central_differences(
            lambda: network.loss_and_gradients(x, **arguments)[0], array, step=1e-5
        )
        assert np.linalg.norm(estimate) > 1e-6, f"{name}: nothing to compare"
        assert relative_error(gradients[name], estimate) < 1e-7, name


def test_gradients_are_those_of_the_gradient_tape(kind, rng):
    _, _, layer_class, options = kind
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.Masking(9.0),
            layer_class(6, return_sequences=True, **options),
            layer_class(4, **options),
            keras.layers.Dense(5, activation="softmax"),
        ]
    )
    x, _ = random_batch(rng)
    mask = np.arange(7) < np.array([[7], [4], [5], [1]])
    x[~mask] = 9.0
    y = rng.integers(0, 5, 4)
    network = network_from_keras(model)
    loss, gradients = network.loss_and_gradients(x.astype("float32"), y, mask)
    with tf.GradientTape() as tape:
        p = model(x.astype("float32"))
        expected_loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, p))
    expected = tape.gradient(expected_loss, model.trainable_variables)
    assert loss == pytest.approx(float(expected_loss), rel=1e-5)
    assert len(expected) == len(network.weights)
    for name, other in zip(network.weights, expected, strict=True):
        assert relative_error(gradients[name], other.numpy()) < 1e-5, name


def test_state_gradients_hold_all_later_paths(kind, rng):
    """Check ``Gradients.states`` by moving each state by hand."""
    cell_class, options, _, _ = kind
    cell = randomised(cell_class.random(rng, 2, 3, **options), rng)
    x = rng.normal(size=(1, 5, 2))
    readout = rng.normal(size=(1, 3))
    trace = forward(cell, x)
    d_h = np.zeros_like(trace.h)
    d_h[:, -1] = readout
    back = backward(cell, trace, d_h)
    for t in range(5):
        state = forward(cell, x[:, :t], state=None).state if t else cell.initial(1)
        for part, gradient in zip(state, back.states[t], strict=True):
            estimate = central_differences(
                lambda s=state, t=t: float(
                    (forward(cell, x[:, t:], state=s).h[:, -1] * readout).sum()
                ),
                part,
            )
            assert relative_error(gradient, estimate) < 1e-7


def test_chunks_with_a_carried_state_add_up_to_the_whole(kind, rng):
    cell_class, options, _, _ = kind
    cell = randomised(cell_class.random(rng, 2, 3, **options), rng)
    x = rng.normal(size=(2, 6, 2))
    d_h = rng.normal(size=(2, 6, 3))
    whole = backward(cell, forward(cell, x), d_h)
    first = forward(cell, x[:, :4])
    second = forward(cell, x[:, 4:], state=first.state)
    back_second = backward(cell, second, d_h[:, 4:])
    back_first = backward(cell, first, d_h[:, :4], d_state=back_second.states[0])
    for name, gradient in whole.weights.items():
        added = back_first.weights[name] + back_second.weights[name]
        assert np.allclose(added, gradient, rtol=1e-12)


def test_masked_steps_change_neither_output_nor_gradient(kind, rng):
    cell_class, options, _, _ = kind
    network = Network.random(rng, cell_class, 3, [4, 3], 2, **options)
    x, mask = random_batch(rng)
    y = np.array([0, 1, 1, 0])
    loss, gradients = network.loss_and_gradients(x, y, mask)
    x[~mask] = 1e3
    other_loss, other = network.loss_and_gradients(x, y, mask)
    assert loss == other_loss
    for name in network.weights:
        assert np.array_equal(gradients[name], other[name]), name
    assert not gradients["x"][~mask].any()


def test_random_weights_are_drawn_as_keras_draws_them(kind, rng):
    cell_class, options, layer_class, keras_options = kind
    layer = layer_class(200, **keras_options)
    layer.build((None, None, 100))
    cell = cell_class.random(rng, 100, 200, **options)
    W_x, W_h, b = layer.get_weights()
    assert cell.W_x.shape == W_x.shape and cell.W_h.shape == W_h.shape
    assert np.std(cell.W_x) == pytest.approx(np.std(W_x), rel=0.05)
    assert np.abs(cell.W_x).max() == pytest.approx(np.abs(W_x).max(), rel=0.05)
    assert np.allclose(cell.W_h @ cell.W_h.T, np.eye(200)) and np.allclose(
        W_h @ W_h.T, np.eye(200), atol=1e-5
    )
    assert np.array_equal(cell.b, b)


def test_an_orthogonal_matrix_keeps_lengths(rng):
    q = orthogonal(rng, 8)
    assert np.allclose(np.linalg.norm(np.ones(8) @ q), np.sqrt(8))


def test_a_copy_in_another_type_is_a_copy(kind, rng):
    cell_class, options, _, _ = kind
    network = Network.random(rng, cell_class, 2, [3], 2, **options)
    single = network.astype("float32")
    before = copy.deepcopy(network.weights)
    for weight in single.weights.values():
        assert weight.dtype == np.float32
        weight += 1
    for name, weight in network.weights.items():
        assert np.array_equal(weight, before[name])
    assert vars(single.cells[0]).keys() == vars(network.cells[0]).keys()


def test_wrong_shapes_and_layers_are_named(rng):
    cell = RNN.random(rng, 2, 3)
    with pytest.raises(ValueError, match=r"found x of shape \(4, 5, 3\); expected .*2"):
        forward(cell, np.zeros((4, 5, 3)))
    with pytest.raises(ValueError, match=r"found a mask of shape \(5,\); expected \(4, 5\)"):
        forward(cell, np.zeros((4, 5, 2)), np.ones(5))
    with pytest.raises(ValueError, match=r"reset_after=False: found a bias of shape \(2, 9\)"):
        GRU(np.zeros((2, 9)), np.zeros((3, 9)), np.zeros((2, 9)), reset_after=False)
    with pytest.raises(ValueError, match="found a layer Dense"):
        from_keras(keras.layers.Dense(3))
    layer = keras.layers.LSTM(3, activation="relu")
    layer.build((None, None, 2))
    with pytest.raises(ValueError, match="found activation='relu'; expected 'tanh'"):
        from_keras(layer)
    layer = keras.layers.SimpleRNN(3, use_bias=False)
    layer.build((None, None, 2))
    with pytest.raises(ValueError, match="use_bias"):
        from_keras(layer)


@pytest.mark.parametrize("every_step", [False, True])
def test_the_loss_is_the_mean_over_real_steps_or_over_sequences(rng, every_step):
    network = Network.random(rng, RNN, 3, [4], 5)
    lengths = np.array([5, 2, 3])
    x, y = rng.normal(size=(3, 5, 3)), rng.integers(0, 5, (3, 5) if every_step else 3)
    mask = np.arange(5) < lengths[:, None]
    loss, _ = network.loss_and_gradients(x, y, mask, every_step)
    losses = []
    for k, T in enumerate(lengths):  # one by one, unpadded
        outputs = network.outputs(x[k : k + 1, :T], every_step=every_step)
        p = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
        right = y[k, :T] if every_step else y[k : k + 1]
        losses.append(-np.log(p.reshape(-1, 5)[np.arange(len(right)), right]))
    assert loss == pytest.approx(np.concatenate(losses).mean(), rel=1e-12)
