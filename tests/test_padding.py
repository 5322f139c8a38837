"""Scaling, padding, masks and length buckets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.data import DataFormatError
from helpers.padding import (
    bucket_boundaries,
    bucketed_batches,
    check_padding_value,
    fit_scaling,
    mask_of,
    pad,
    resample_by_arc_length,
    scale_keep_aspect,
    scale_per_file,
    segment_means,
    sorted_batches,
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
        lambda: bucketed_batches(x, [0, 1], 2, 0, seed=0),
        lambda: sorted_batches(x, 2, 0),
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


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 8))
def test_bucket_boundaries_increase_and_leave_no_bucket_empty(lengths, buckets):
    lengths = np.array(lengths)
    boundaries = bucket_boundaries(lengths, buckets)
    assert boundaries == sorted(set(boundaries)) and len(boundaries) <= buckets - 1
    assert set(np.digitize(lengths, boundaries)) == set(range(len(boundaries) + 1))


def test_an_epoch_of_buckets_holds_every_sequence_once_with_its_label():
    lengths = np.random.default_rng(1).integers(1, 60, size=70)
    x = ragged(lengths)
    batches = bucketed_batches(x, np.arange(70), 8, 2.0, seed=3)
    for epoch in range(2):
        seen = {}
        n = 0
        for batch, labels in batches:
            assert len(batch) <= 8
            assert batch.shape[1] == max(lengths[i] for i in labels.numpy())
            for padded, i in zip(batch.numpy(), labels.numpy(), strict=True):
                assert i not in seen
                seen[i] = padded[mask_of(padded[None], 2.0)[0]]
            n += 1
        assert n == int(batches.cardinality())
        assert len(seen) == 70 and all(np.array_equal(seen[i], x[i]) for i in range(70)), epoch


def test_the_order_of_batches_is_a_matter_of_the_seed():
    x = ragged(np.random.default_rng(2).integers(1, 60, size=40))

    def order(seed):
        return [
            labels.numpy().tolist() for _, labels in bucketed_batches(x, range(40), 8, 2.0, seed)
        ]

    assert order(5) == order(5) != order(6)


def test_buckets_save_padding():
    lengths = np.random.default_rng(4).integers(19, 179, size=300)
    padded = sum(
        batch.shape[0] * batch.shape[1]
        for batch, _ in bucketed_batches(ragged(lengths), np.zeros(300), 32, 2.0, seed=0)
    )
    assert padded < 0.75 * 300 * lengths.max()


def test_sorted_batches_can_be_put_back_in_order():
    x = ragged([7, 2, 9, 2, 5])
    batches, restore = sorted_batches(x, 2, 2.0)
    sums = [row[mask_of(row[None], 2.0)[0]].sum() for batch in batches for row in batch.numpy()]
    assert np.allclose(np.array(sums)[restore], [sequence.sum() for sequence in x], atol=1e-5)


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
