"""Packed layers compute what Keras' layers and the cells of the theory chapters compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import some

from helpers import cells, layers
from helpers.data import DATA, load_cv_segments, load_handwriting
from helpers.models import ARCHITECTURES, Architecture, build
from helpers.padding import PADDING_VALUE, fit_scaling, padded_batches
from helpers.training import PROTOCOLS

NAMES = ("SimpleRNN", "LSTM", "GRU")
LENGTHS = np.array([4, 9, 1, 7, 7])
MASK = np.arange(9) < LENGTHS[:, None]


def twins(name, rng, **options):
    """Return the Keras layer and the packed one with the same random weights, on 3 features."""
    pair = [getattr(module, name)(6, **options) for module in (keras.layers, layers)]
    for layer in pair:
        layer.build((None, None, 3))
    weights = [rng.normal(0, 0.5, w.shape) for w in pair[0].get_weights()]
    for layer in pair:
        layer.set_weights(weights)
    return pair


def run(layer, x, target, mask):
    """Return the output of a layer, and the gradients of its product with a target."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, mask=tf.constant(mask))
        loss = tf.reduce_sum(output * target)
    return output.numpy(), [g.numpy() for g in tape.gradient(loss, [x, *layer.trainable_variables])]


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_packed_layers_equal_keras(name, every):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 9, 3)).astype(np.float32)
    target = rng.normal(size=(5, 9, 6) if every else (5, 6)).astype(np.float32)
    if every:
        target *= MASK[..., None]
    stock, ours = (
        run(layer, x, target, MASK) for layer in twins(name, rng, return_sequences=every)
    )
    real = MASK[..., None] if every else 1
    assert np.allclose(stock[0] * real, ours[0] * real, atol=1e-6)
    for a, b in zip(stock[1], ours[1], strict=True):
        assert np.allclose(a, b, atol=1e-5)
    if every:
        assert not ours[0][~MASK].any()  # zero at padding, as the docstring says


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_bidirectional_wraps_packed_layers(name, every):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 9, 3)).astype(np.float32)
    pair = [keras.layers.Bidirectional(layer) for layer in twins(name, rng, return_sequences=every)]
    for layer in pair:
        layer.build((None, None, 3))
    pair[1].set_weights(pair[0].get_weights())
    target = rng.normal(size=(5, 9, 12) if every else (5, 12)).astype(np.float32)
    if every:
        target *= MASK[..., None]
    stock, ours = (run(layer, x, target, MASK) for layer in pair)
    real = MASK[..., None] if every else 1
    assert np.allclose(stock[0] * real, ours[0] * real, atol=1e-6)
    for a, b in zip(stock[1], ours[1], strict=True):
        assert np.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("parts", [1, 2, 9])
@pytest.mark.parametrize("name", NAMES)
def test_kernels_equal_the_cells_of_the_theory_chapters(name, parts):
    rng = np.random.default_rng(2)
    cell = cells.CELLS[name].random(rng, 3, 6)
    cell.b += rng.normal(size=cell.b.shape)
    x, d_h = rng.normal(size=(5, 9, 3)), rng.normal(size=(5, 9, 6))
    trace = cells.forward(cell, x, MASK)
    expected = cells.backward(cell, trace, d_h * MASK[..., None])
    found = layers.Packing.of(MASK, parts=parts)
    weights = (cell.W_x, cell.W_h, cell.b)
    states = layers.forward(name, x, found, *weights)
    assert np.allclose(states[0], trace.h.reshape(-1, 6)[found.rows], atol=1e-12)
    assert np.allclose(states[0][found.last], trace.state[0], atol=1e-12)
    by_step = d_h.reshape(-1, 6)[found.rows]
    d_x, *d_weights = layers.backward(name, by_step, x, found, *weights, states)
    assert cells.relative_error(d_x, expected.x) < 1e-12
    for array, by in zip(d_weights, ("W_x", "W_h", "b"), strict=True):
        assert cells.relative_error(array, expected.weights[by]) < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_padding_reaches_nothing_whatever_it_is(name):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, 9, 3)).astype(np.float32)
    _, layer = twins(name, rng)
    target = rng.normal(size=(5, 6)).astype(np.float32)
    clean = run(layer, np.where(MASK[..., None], x, 0), target, MASK)
    spoilt = run(layer, np.where(MASK[..., None], x, np.float32(np.nan)), target, MASK)
    assert np.array_equal(clean[0], spoilt[0])
    for a, b in zip(clean[1], spoilt[1], strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    "row", [[1, 0, 1], [0, 1, 1], [0, 0, 0]], ids=["hole", "padding first", "empty"]
)
def test_other_masks_are_refused(row):
    mask = np.array([[1, 1, 1], row], bool)
    with pytest.raises(ValueError, match="sequence 1 of the batch: found the mask"):
        layers.Packing.of(mask)


@pytest.mark.parametrize("option", [{"activation": "relu"}, {"recurrent_dropout": 0.1}])
def test_options_that_are_not_computed_are_refused(option):
    (name,) = option
    with pytest.raises(ValueError, match=f"LSTM: found {name}="):
        layers.LSTM(4, **option)
    with pytest.raises(ValueError, match="GRU: found reset_after=False"):
        layers.GRU(4, reset_after=False)


def test_an_initial_state_is_refused():
    with pytest.raises(ValueError, match="found an initial_state; expected None"):
        layers.SimpleRNN(4)(np.zeros((1, 2, 3), np.float32), initial_state=np.zeros((1, 4)))


def test_a_saved_model_gives_the_same_answers(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.Masking(-1.0),
            keras.layers.Bidirectional(layers.GRU(4, return_sequences=True)),
            layers.LSTM(4),
        ]
    )
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(4).normal(size=(2, 5, 3)).astype(np.float32)
    again = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


# --- A speed device changes no result ---------------------------------------------------------


class Losses(keras.callbacks.Callback):
    """Keep the loss of every batch, not the running mean that Keras shows."""

    def on_train_begin(self, logs=None):
        self.each, self.total = [], 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = logs["loss"] * (batch + 1)
        self.each.append(total - self.total)
        self.total = total


@pytest.fixture(scope="module")
def scaled():
    """The first training sequences of both samples, in the order of a shuffle, as (x, y)."""
    found = {}
    for load in (load_handwriting, load_cv_segments):
        dataset = load(DATA / "sample")
        some = np.random.default_rng(0).permutation(len(dataset.train))[:128]
        scaling = PROTOCOLS["validated"][dataset.name]["scaling"]
        part = dataset.train.subset(some)
        x = fit_scaling(scaling, dataset.train.x, dataset.train.groups)(part.x, part.groups)
        found[dataset.name] = x, dataset.train.y[some]
    return found


def losses(scaled, dataset, cell, architecture, recurrent, seed=0, epochs=1, batch_size=16):
    """Train from one seed, on batches of one seed; return the loss of each batch."""
    keras.utils.set_random_seed(seed)
    x, y = scaled[dataset]
    value = PADDING_VALUE[dataset]
    model = build(cell, architecture, x[0].shape[1], 5, value, recurrent=recurrent)
    batches = padded_batches(x, batch_size, value, y, shuffle_seed=seed)
    seen = Losses()
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=[seen])
    return np.array(seen.each)


TRAINED = [(d, n, cell) for d in ARCHITECTURES for n in ARCHITECTURES[d] for cell in NAMES]


@pytest.mark.parametrize("trained", some(TRAINED, TRAINED[::7]))
def test_training_goes_step_by_step_as_with_keras(scaled, trained):
    dataset, number, cell = trained
    # Dropout off: what differs is the order of float32 sums, 1e-7 of each gradient, which Adam
    # carries into the weights. Eight steps were seen to move a loss by less than 2e-5 of itself.
    architecture = ARCHITECTURES[dataset][number]
    architecture = architecture._replace(dropout=(0.0,) * len(architecture.units))
    stock, ours = (
        losses(scaled, dataset, cell, architecture, module) for module in (keras.layers, layers)
    )
    assert len(stock) == 8 and np.ptp(stock) > 1e-2  # it moves
    assert np.allclose(ours, stock, rtol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("cell", NAMES)
def test_training_goes_as_with_keras_with_dropout_on_whatever_the_seed(scaled, cell):
    # One seed draws the same masks in both, so that runs can be compared one by one and not only
    # as two distributions; over 48 steps rounding has more time to grow.
    architecture = Architecture(0, (16, 8), (0.2, 0.2))
    ends = []
    for seed in range(3):
        stock, ours = (
            losses(scaled, "handwriting", cell, architecture, module, seed, epochs=6)
            for module in (keras.layers, layers)
        )
        assert np.allclose(ours, stock, rtol=5e-3), seed
        ends.append((stock[-8:].mean(), ours[-8:].mean()))
    stock, ours = np.array(ends).T
    assert np.ptp(stock) > 20 * np.abs(stock - ours).max()  # seeds differ, implementations do not


def test_the_number_of_cores_changes_no_loss(scaled, monkeypatch):
    runs = []
    for parts in (1, 2, 3):
        monkeypatch.setattr("helpers.layers._cores", lambda parts=parts: parts)
        architecture = ARCHITECTURES["cv_segments"][4]
        runs.append(losses(scaled, "cv_segments", "LSTM", architecture, layers))
    assert np.allclose(runs[1], runs[0], rtol=2e-4) and np.allclose(runs[2], runs[0], rtol=2e-4)
