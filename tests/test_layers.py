"""Convolution, attention, pooling, distortion: what they compute; padding reaches nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import some
from toys import assert_learns_through_its_mask

from helpers.layers import (
    EncoderBlock,
    MaskedConv1D,
    MeanMaxPooling,
    PositionEncoding,
    RandomAffine,
    RandomMasking,
)
from helpers.models import VARIANTS, augmentation, build

LENGTHS = np.array([4, 9, 1, 7])
MASK = np.arange(9) < LENGTHS[:, None]
LAYERS = {
    "convolution": lambda: MaskedConv1D(8, 5, activation="relu"),
    "pooling": MeanMaxPooling,
    "encoder": lambda: EncoderBlock(8, heads=2),
}


def sequences(features=8):
    return np.random.default_rng(0).normal(size=(4, 9, features)).astype(np.float32)


def forward(layer, x, mask):
    """Return outputs on real steps (or all, without time), and the gradients of their sum."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x, mask=tf.constant(mask))
        if len(output.shape) == 3:
            output = tf.where(mask[..., None], output, 0.0)
        loss = tf.reduce_sum(output**2)
    return output.numpy(), [g.numpy() for g in tape.gradient(loss, [x, *layer.trainable_variables])]


@pytest.mark.parametrize("name", LAYERS)
def test_padding_reaches_no_output_and_no_gradient(name):
    layer, x = LAYERS[name](), sequences()
    first = forward(layer, x, MASK)
    polluted = np.where(MASK[..., None], x, np.nan)
    second = forward(layer, polluted, MASK)
    assert np.isfinite(first[0]).all()
    assert np.array_equal(first[0], second[0])
    for a, b in zip(first[1], second[1], strict=True):
        assert np.array_equal(a, b) and np.isfinite(a).all()
    assert not first[1][0][~MASK].any()


@pytest.mark.parametrize("name", LAYERS)
def test_padded_and_alone_give_the_same(name):
    layer, x = LAYERS[name](), sequences()
    together, _ = forward(layer, x, MASK)
    for k, length in enumerate(LENGTHS):
        alone = layer(x[k : k + 1, :length]).numpy()[0]
        expected = together[k, :length] if together.ndim == 3 else together[k]
        assert np.allclose(alone, expected, atol=1e-5)


def test_pooling_is_mean_and_maximum_of_the_real_steps():
    x = sequences()
    pooled = MeanMaxPooling()(x, mask=tf.constant(MASK)).numpy()
    for row, steps, length in zip(pooled, x, LENGTHS, strict=True):
        real = steps[:length]
        assert np.allclose(row, [*real.mean(axis=0), *real.max(axis=0)], atol=1e-6)


def test_position_encoding_by_hand():
    """Vaswani and others (2017), with the sines of all rates first, then the cosines."""
    encoded = PositionEncoding()(np.zeros((1, 6, 4), np.float32)).numpy()[0]
    for t in range(6):
        angles = [t, t / 100]  # 10000^(0/4), 10000^(2/4)
        assert np.allclose(encoded[t], [*np.sin(angles), *np.cos(angles)], atol=1e-6)


def test_attention_without_positions_does_not_see_the_order():
    block, x = EncoderBlock(8, heads=2), sequences()
    order = np.random.default_rng(1).permutation(9)
    assert np.allclose(block(x).numpy()[:, order], block(x[:, order]).numpy(), atol=1e-5)


def test_an_encoder_block_adds_to_what_it_gets():
    block, x = EncoderBlock(8, heads=2), sequences()
    block(x)
    block.set_weights([np.zeros_like(w) for w in block.get_weights()])
    assert np.array_equal(block(x), x)


def test_affine_maps_move_points_as_one_and_only_in_training():
    x = sequences(2)
    layer = RandomAffine(0.2, seed=0)
    assert np.array_equal(layer(x, training=False), x)
    moved = layer(x, mask=tf.constant(MASK), training=True).numpy()
    assert not moved[~MASK].any()
    for before, after, length in zip(x, moved, LENGTHS, strict=True):
        if length >= 4:  # three points fix an affine map, the others must follow it
            design = np.c_[before[:length], np.ones(length)]
            fitted, *_ = np.linalg.lstsq(design, after[:length], rcond=None)
            assert np.allclose(design @ fitted, after[:length], atol=1e-4)
            assert not np.allclose(before[:length], after[:length], atol=1e-3)


def test_masking_silences_one_run_of_frames_and_whole_cepstra():
    x = np.ones((200, 20, 39), np.float32)
    mask = np.arange(20) < np.where(np.arange(200) % 2, 20, 10)[:, None]
    layer = RandomMasking(frames=0.4, cepstra=0.2, seed=0)
    assert np.array_equal(layer(x, training=False), x)
    silenced = layer(x, mask=tf.constant(mask), training=True).numpy()
    heard, cepstra = silenced.any(axis=2), silenced.any(axis=1)
    for frames, kept, real in zip(heard, cepstra, mask, strict=True):
        assert not frames[~real].any()
        gone = np.flatnonzero(~frames & real)
        if len(gone):
            assert np.array_equal(gone, np.arange(gone[0], gone[-1] + 1))  # one run
            assert len(gone) <= 0.4 * real.sum() + 1
        thirds = kept.reshape(3, 13)
        assert (thirds == thirds[0]).all()  # a cepstrum goes with its derivatives
    assert 0.1 < 1 - cepstra.mean() < 0.3
    # Half of the sequences are half padding; the run falls on what is real in them as well.
    silenced_share = 1 - heard.sum(axis=1) / mask.sum(axis=1)
    assert np.allclose(silenced_share[::2].mean(), silenced_share[1::2].mean(), atol=0.06)


@pytest.mark.parametrize("name", ["affine", "masking"])
def test_the_seed_decides_the_distortion(name):
    make = {"affine": lambda s: RandomAffine(seed=s), "masking": lambda s: RandomMasking(seed=s)}
    x = sequences(2 if name == "affine" else 39)
    a, b, c = (make[name](seed)(x, training=True).numpy() for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


MODELS = [("LSTM", 6), ("LSTM", 7), ("GRU", 8), ("Conv1D", 7), ("Transformer", 7)]


@pytest.mark.parametrize("model", some(MODELS, MODELS[2::2]), ids=str)
@pytest.mark.parametrize("dataset", some(VARIANTS, ["handwriting"]))
def test_every_model_of_chapter_16_learns_through_its_mask(dataset, model, tmp_path):
    features, value = {"handwriting": (2, 0.0), "cv_segments": (39, -1.0)}[dataset]
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.9, (4, 9, features)).astype(np.float32)
    short, long = np.where(MASK[..., None], x, value), np.full((4, 15, features), value, np.float32)
    long[:, :9] = short
    y = np.array([0, 1, 2, 3])
    keras.utils.set_random_seed(0)
    augment = augmentation(dataset, seed=0)
    cell, number = model
    model = build(cell, VARIANTS[dataset][number], features, 5, value, augment=augment)
    assert_learns_through_its_mask(model, short, long, y, tmp_path)


def test_a_last_state_is_asked_only_of_recurrent_layers():
    with pytest.raises(ValueError, match="found architecture 6, with a last or a backward state"):
        build("Conv1D", VARIANTS["handwriting"][6], 2, 5, 0.0)
