"""Scaling, padding, masks and batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.batches import bucketed_batches
from helpers.data import DataFormatError
from helpers.padding import (
    check_padding_value,
    fit_scaling,
    mask_of,
    pad,
    padded_batches,
    resample_by_arc_length,
    scale_keep_aspect,
    scale_per_file,
    segment_means,
)

stroke = st.integers(1, 12).flatmap(
    lambda n: arrays(np.float32, (n, 2), elements=st.floats(-100, 100, width=32))
)


def ragged(lengths, features=2, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, features)).astype(np.float32) for n in lengths]


@given(stroke)
def test_per_file_scaling_fills_the_unit_square(x):
    scaled = scale_per_file(x)
    assert scaled.dtype == np.float32 and scaled.shape == x.shape
    assert (scaled.min(axis=0) == 0).all()
    moves = np.ptp(x, axis=0) > 1e-30
    assert np.allclose(scaled.max(axis=0)[moves], 1)
    assert (scaled[:, np.ptp(x, axis=0) == 0] == 0).all()


@given(stroke)
def test_aspect_scaling_keeps_proportions(x):
    scaled, span = scale_keep_aspect(x), np.ptp(x, axis=0)
    assert scaled.min() == 0 and scaled.max() <= 1 + 1e-6
    if span.max() > 1e-3:
        assert np.allclose(np.ptp(scaled, axis=0), span / span.max(), atol=1e-3)


def test_global_maximum_is_fitted_on_train_per_feature():
    scale = fit_scaling("global_max", [np.array([[2, -8], [-4, 1]], np.float32)])
    assert np.array_equal(scale([np.array([[4, 8]], np.float32)])[0], [[1, 1]])


def test_standardising_uses_the_training_moments_only():
    train = ragged([30, 50], features=3)
    scale = fit_scaling("standard", train)
    steps = np.concatenate(scale(train))
    assert np.allclose(steps.mean(axis=0), 0, atol=1e-6) and np.allclose(steps.std(axis=0), 1)
    shifted = [x + 5 for x in train]
    assert np.concatenate(scale(shifted)).mean() > 1  # not fitted again on what it scales


def test_each_speaker_is_standardised_alone():
    train, groups = ragged([30, 50, 40], features=3), np.array(["m", "f", "m"])
    loud = [x * 7 + 5 if g == "f" else x for x, g in zip(train, groups, strict=True)]
    scale = fit_scaling("per_speaker", loud, groups)
    scaled = scale(loud, groups)
    for steps in (scaled[1], np.concatenate([scaled[0], scaled[2]])):
        assert np.allclose(steps.mean(axis=0), 0, atol=1e-5)
        assert np.allclose(steps.std(axis=0), 1, atol=1e-5)
    # One who is known is scaled as in training, one who is not by what is there.
    assert scale([loud[0] + 100], ["m"])[0].min() > 10
    assert np.allclose(scale([loud[0] + 100], ["x"])[0].mean(axis=0), 0, atol=1e-4)
    with pytest.raises(ValueError, match="found no groups"):
        fit_scaling("per_speaker", loud)


def test_an_unknown_scaling_is_refused():
    with pytest.raises(ValueError, match="'minmax'; expected none, per_file"):
        fit_scaling("minmax", ragged([3]))


@pytest.mark.parametrize(("value", "length", "features"), [(2.0, 178, 2), (-1.0, 64, 39)])
def test_padding_to_the_reports_shapes(value, length, features):
    x = ragged([5, length, 1], features)
    padded = pad(x, value, length)
    assert padded.shape == (3, length, features) and padded.dtype == np.float32
    for row, sequence in zip(padded, x, strict=True):
        assert np.array_equal(row[: len(sequence)], sequence)
        assert (row[len(sequence) :] == value).all()
    assert np.array_equal(mask_of(padded, value).sum(axis=1), [5, length, 1])


def test_a_sequence_longer_than_the_padded_length_is_not_cut():
    with pytest.raises(DataFormatError, match=r"b\.txt: found 9 steps; expected at most 8"):
        pad(ragged([3, 9]), 2, 8, files=["a.txt", "b.txt"])


def test_a_padding_value_that_is_a_whole_step_is_refused():
    x = ragged([4, 4])
    x[1][2] = 0
    with pytest.raises(DataFormatError, match=r"b\.txt, step 3: found the padding value 0"):
        check_padding_value(x, 0, ["a.txt", "b.txt"])
    for use in (
        lambda: pad(x, 0),
        lambda: padded_batches(x, 2, 0),
    ):
        with pytest.raises(DataFormatError):
            use()


def test_a_padding_value_in_one_feature_is_no_padding():
    x = [np.array([[2, 0], [2, 1]], np.float32)]
    check_padding_value(x, 2)
    assert mask_of(pad(x, 2, 3), 2).tolist() == [[True, True, False]]


def test_the_mask_is_the_one_keras_uses():
    import keras

    padded = pad(ragged([3, 7, 1], 4), -1, 9)
    expected = np.array(keras.layers.Masking(-1.0).compute_mask(padded))
    assert np.array_equal(mask_of(padded, -1), expected)


@pytest.mark.parametrize("cell", ["SimpleRNN", "LSTM", "GRU"])
def test_the_amount_of_padding_does_not_change_the_output(cell):
    from helpers.models import Architecture, build

    model = build(cell, Architecture(0, (5, 4), (0.2, 0.2)), 2, 3, mask_value=2.0)
    x = ragged([6, 2])
    short, long = (model(pad(x, 2.0, length)).numpy() for length in (6, 40))
    assert np.allclose(short, long, atol=1e-6)


def test_an_epoch_holds_every_sequence_once_with_its_label():
    lengths = np.random.default_rng(1).integers(1, 60, size=70)
    x = ragged(lengths)
    for options in ({}, {"shuffle_seed": 3}):
        batches = padded_batches(x, 8, 2.0, np.arange(70), **options)
        assert int(batches.cardinality()) == 9
        orders = []
        for _ in range(2):
            seen = []
            for batch, labels in batches:
                assert batch.shape[1] == max(lengths[i] for i in labels.numpy())
                for padded, i in zip(batch.numpy(), labels.numpy(), strict=True):
                    assert np.array_equal(padded[mask_of(padded[None], 2.0)[0]], x[i])
                    seen.append(int(i))
            assert sorted(seen) == list(range(70))
            orders.append(seen)
        assert (orders[0] == orders[1] == sorted(orders[0])) == (not options)
        assert (orders[0] == orders[1]) == (not options)


def test_the_company_of_a_sequence_is_chance_whatever_its_length():
    lengths = np.repeat([5, 50], 200)  # all short ones first
    batches = padded_batches(ragged(lengths), 20, 2.0, np.arange(400), shuffle_seed=0)
    short = [(lengths[labels.numpy()] == 5).sum() for _ in range(5) for _, labels in batches]
    # Of 20 draws without replacement from 200 and 200: mean 10, standard deviation 2.18.
    assert np.mean(short) == 10 and 1.5 < np.std(short) < 2.9


def test_the_order_of_batches_is_a_matter_of_the_seed():
    x = ragged(np.random.default_rng(2).integers(1, 60, size=40))

    def order(seed):
        batches = padded_batches(x, 8, 2.0, range(40), shuffle_seed=seed)
        return [labels.numpy().tolist() for _, labels in batches]

    assert order(5) == order(5) != order(6)


def test_resampling_forgets_the_speed_of_the_pen():
    even = np.array([[0, 0], [1, 0], [2, 0], [2, 1]], np.float32)
    uneven = np.array([[0, 0], [0.1, 0], [0.1, 0], [2, 0], [2, 0.9], [2, 1]], np.float32)
    assert np.allclose(resample_by_arc_length(even, 7), resample_by_arc_length(uneven, 7))
    assert np.allclose(resample_by_arc_length(even, 4), even)
    assert np.allclose(resample_by_arc_length(even[:1], 3), 0)


def test_segment_means():
    x = np.arange(10, dtype=np.float32)[:, None]
    assert segment_means(x, 5).tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert segment_means(x[:2], 4).tolist() == [0, 0, 1, 1]


def test_no_epoch_waits_for_a_thread_that_tunes():
    x = [np.full((length, 2), 0.5) for length in (3, 1, 2, 5)]
    ways = padded_batches(x, 2, -1.0), bucketed_batches(x, 2, -1.0, np.zeros(4), buckets=1)
    for batches in ways:
        assert batches.options().autotune.enabled is False
        assert batches.cache().options().autotune.enabled is False
