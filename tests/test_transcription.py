"""CTC, decoding, edit distance and the networks that write symbols."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from helpers.cells import central_differences, relative_error
from helpers.data import load_cv_segments
from helpers.padding import pad
from helpers.transcription import (
    KINDS,
    PADDING,
    AttentionDecoder,
    CertainBlank,
    Edits,
    build_transcriber,
    collapse,
    ctc_backward,
    ctc_forward,
    ctc_loss,
    draw_utterances,
    edit_distance,
    error_rate,
    greedy_decode,
    prefix_beam_search,
    with_blanks,
)


@pytest.fixture
def rng():
    return np.random.default_rng(18)


@pytest.fixture(scope="module")
def segments():
    return load_cv_segments("data/sample").train


def enumerated(log_p):
    """The probability of every sequence of symbols: all paths, one by one."""
    frames, numbers = log_p.shape
    found = {}
    for path in itertools.product(range(numbers), repeat=frames):
        p = np.exp(log_p[np.arange(frames), path].sum())
        found[collapse(path)] = found.get(collapse(path), 0) + p
    return found


# --- Utterances -------------------------------------------------------------------------------


def test_an_utterance_is_segments_of_one_speaker_end_to_end(segments, rng):
    drawn = draw_utterances(rng, segments, 30, (2, 5))
    assert len(drawn) == 30 and set(map(len, drawn.y)) == {2, 3, 4, 5}
    for x, y, ends, group in zip(drawn.x, drawn.y, drawn.ends, drawn.groups, strict=True):
        assert len(x) == ends[-1] and len(y) == len(ends)
        theirs = {s.tobytes(): k for s, k, g in zip(
            segments.x, segments.y, segments.groups, strict=True) if g == group}  # fmt: skip
        parts = np.split(x, ends[:-1])
        assert [theirs[part.tobytes()] + 1 for part in parts] == y.tolist()
        assert len({part.tobytes() for part in parts}) == len(parts)


def test_speed_changes_lengths_and_neither_ends_nor_symbols(segments, rng):
    one = segments.subset(np.flatnonzero(segments.groups == segments.groups[0]))
    plain = draw_utterances(np.random.default_rng(0), one, 40, (3, 3))
    fast = draw_utterances(np.random.default_rng(0), one, 40, (3, 3), speed=1.25)
    ratio = np.array([len(b) / len(a) for a, b in zip(plain.x, fast.x, strict=True)])
    assert 0.75 < ratio.min() < 0.95 and 1.05 < ratio.max() < 1.3
    for a, b in zip(plain.x, fast.x, strict=True):
        assert np.array_equal(a[0], b[0]) and np.allclose(a[-1], b[-1], atol=1e-5)


def test_a_fade_mixes_neighbours_and_keeps_what_lies_between(segments):
    plain = draw_utterances(np.random.default_rng(0), segments, 20, (3, 3))
    faded = draw_utterances(np.random.default_rng(0), segments, 20, (3, 3), fade=5)
    for a, b, ends, moved in zip(plain.x, faded.x, plain.ends, faded.ends, strict=True):
        parts = np.split(a, ends[:-1])
        overs = [min(5, len(p) // 2, len(q) // 2) for p, q in itertools.pairwise(parts)]
        assert len(b) == len(a) - sum(overs) == moved[-1]
        first, over = len(parts[0]), overs[0]
        assert moved[0] == first - over + over // 2
        assert np.array_equal(b[: first - over], a[: first - over])
        half = (b[first - over] - parts[0][first - over]) * (over + 1)  # one share of the second
        assert np.allclose(half, parts[1][0] - parts[0][first - over], atol=1e-3)
        jumps = [np.linalg.norm(np.diff(x, axis=0), axis=1).max() for x in (a, b)]
        assert jumps[1] <= jumps[0] + 1e-5


def test_a_speaker_with_too_few_segments_is_named(segments, rng):
    few = segments.subset(np.flatnonzero(segments.groups == "03")[:4])
    with pytest.raises(ValueError, match="found 4 segments of speaker 03; expected 5"):
        draw_utterances(rng, few, 1, (2, 5))


# --- CTC --------------------------------------------------------------------------------------


def test_collapsing_merges_first_and_removes_blanks_then():
    assert collapse([0, 1, 1, 0, 1, 2, 2, 0]) == (1, 1, 2)
    assert collapse([0, 0]) == () and collapse([3]) == (3,)
    assert with_blanks([1, 1, 2]).tolist() == [0, 1, 0, 1, 0, 2, 0]


@pytest.mark.parametrize("y", [(), (1,), (1, 2), (1, 1), (2, 1, 2), (1, 1, 1)])
def test_the_loss_is_the_sum_over_all_paths(y, rng):
    a = rng.normal(size=(5, 3))
    expected = enumerated(log_softmax(a, axis=1))
    assert sum(expected.values()) == pytest.approx(1)
    loss, _ = ctc_loss(a, y)
    assert loss == pytest.approx(-np.log(expected[y]), abs=1e-12)


@pytest.mark.parametrize("y", [(), (1,), (1, 2, 2), (3, 1, 3)])
def test_the_gradient_is_that_of_central_differences(y, rng):
    a = rng.normal(size=(7, 4))
    _, d_a = ctc_loss(a, y)
    assert relative_error(d_a, central_differences(lambda: ctc_loss(a, y)[0], a)) < 1e-7
    assert np.allclose(d_a.sum(axis=1), 0)


def test_every_frame_sees_the_same_sum(rng):
    log_p = log_softmax(rng.normal(size=(9, 4)), axis=1)
    y = np.array([1, 1, 3])
    sums = np.exp(ctc_forward(log_p, y) + ctc_backward(log_p, y)).sum(axis=1)
    assert np.allclose(sums, sums[0], rtol=1e-12)


def test_a_probability_of_zero_is_no_nan():
    a = np.full((4, 3), -np.inf)
    a[:, 0] = a[1, 1] = 0
    loss, d_a = ctc_loss(a, [1])
    assert loss == pytest.approx(np.log(2)) and np.isfinite(d_a).all()


@pytest.mark.parametrize(("frames", "y", "needed"), [(2, [1, 1], 3), (1, [1, 2], 2), (0, [], 1)])
def test_an_impossible_length_is_an_error(frames, y, needed):
    with pytest.raises(ValueError, match=f"found {frames} frames; expected {needed} or more"):
        ctc_loss(np.zeros((frames, 3)), y)


def test_loss_and_gradient_are_those_of_the_library_and_padding_costs_nothing(rng):
    lengths, labels = (40, 25), ([1, 1, 4, 2], [3])
    a = rng.normal(size=(2, 40, 5)).astype(np.float32)
    real = np.arange(40) < np.array(lengths)[:, None]
    y = keras.utils.pad_sequences(labels, padding="post", value=0)
    with tf.GradientTape() as tape:
        variable = tf.Variable(a)
        padded = CertainBlank()(variable, tf.constant(real))
        losses = keras.losses.CTC(reduction=None)(y, padded)
        total = tf.reduce_sum(losses)
    gradient = tape.gradient(total, variable).numpy()
    for i, (length, one) in enumerate(zip(lengths, labels, strict=True)):
        loss, d_a = ctc_loss(a[i, :length].astype(np.float64), one)
        assert float(losses[i]) == pytest.approx(loss, rel=1e-5)
        assert np.abs(gradient[i, :length] - d_a).max() < 1e-4
        assert not gradient[i, length:].any()


# --- From probabilities to symbols ------------------------------------------------------------


def test_greedy_takes_the_highest_frame_of_each_run():
    p = np.array([[8, 1, 1], [2, 7, 1], [1, 8, 1], [3, 2, 5], [1, 1, 8], [7, 1, 2], [0, 1, 9]])
    assert greedy_decode(np.log(p + 0.1)) == ((1, 2, 2), (2, 4, 6))
    assert greedy_decode(np.log(p[:1])) == ((), ())


def test_a_wide_beam_finds_the_likeliest_symbols_and_all_their_paths(rng):
    for _ in range(20):
        log_p = log_softmax(2 * rng.normal(size=(5, 3)), axis=1)
        expected = enumerated(log_p)
        best = max(expected, key=expected.get)
        found, log_likelihood = prefix_beam_search(log_p, width=200)
        assert found == best and np.exp(log_likelihood) == pytest.approx(expected[best])


def test_the_likeliest_path_is_not_the_likeliest_answer():
    log_p = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert greedy_decode(log_p)[0] == () and prefix_beam_search(log_p)[0] == (1,)


def test_the_beam_is_that_of_the_library(rng):
    log_p = log_softmax(2 * rng.normal(size=(30, 6)), axis=1)
    moved = np.roll(log_p, -1, axis=1)[:, None].astype(np.float32)  # blank last
    (found,), value = tf.nn.ctc_beam_search_decoder(moved, [30], beam_width=50)
    symbols, log_likelihood = prefix_beam_search(log_p, width=50)
    assert tuple((found.values.numpy() + 1).tolist()) == symbols
    assert float(value[0, 0]) == pytest.approx(log_likelihood, rel=1e-4)


def test_edit_distance_by_hand_and_by_the_library(rng):
    assert edit_distance("kitten", "sitting")[1] == Edits(2, 1, 0)
    assert edit_distance("", "ab")[1] == Edits(0, 2, 0)
    assert edit_distance("ab", "")[1] == Edits(0, 0, 2)
    assert edit_distance([1, 2, 2, 3], [1, 2, 3])[1] == Edits(0, 0, 1)
    for _ in range(30):
        a, b = (rng.integers(1, 4, rng.integers(1, 8)) for _ in range(2))
        table, edits = edit_distance(a, b)
        sparse = [tf.sparse.from_dense(s[None]) for s in (a, b)]
        distance = tf.edit_distance(*sparse, normalize=False).numpy()[0]
        assert table[-1, -1] == sum(edits) == distance
        assert edits.insertions - edits.deletions == len(b) - len(a)
    assert error_rate([[1, 2], [3, 3]], [[1], [3, 1, 3]]) == pytest.approx(2 / 4)


# --- Networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_padding_reaches_no_answer(kind, rng):
    keras.utils.set_random_seed(0)
    model = build_transcriber(kind, 4, 3, units=5, steps=3)
    x = [rng.normal(size=(n, 4)).astype(np.float32) for n in (9, 5)]
    batch = pad(x, PADDING)
    previous = np.array([[0, 1, 2], [0, 3, 3]])
    given = (lambda x, p: [x, p]) if kind == "attention" else (lambda x, p: x)
    together = model(given(batch, previous)).numpy()
    for i, one in enumerate(x):
        alone = model(given(one[None], previous[i : i + 1])).numpy()[0]
        assert np.allclose(together[i, : len(alone)], alone, atol=1e-5)
    if kind == "ctc":
        assert (together[1, 5:].argmax(axis=1) == 0).all()


def test_the_decoder_writes_what_it_says_under_its_own_symbols(rng):
    keras.utils.set_random_seed(1)
    model = build_transcriber("attention", 4, 3, units=5, steps=3)
    x = 3 * rng.normal(size=(6, 8, 4)).astype(np.float32)
    decoder = model.get_layer("decoder")
    symbols, weights = decoder.write(*model.encoder(x), longest=3)
    assert np.allclose(weights.sum(axis=2), 1, atol=1e-5)
    previous = np.pad(symbols, ((0, 0), (1, 3)))[:, :3]
    a = model([x, previous]).numpy()
    for row, said in zip(symbols, a.argmax(axis=2), strict=True):
        end = row.tolist().index(0) + 1 if 0 in row else len(row)
        assert np.array_equal(row[:end], said[:end]) and not row[end:].any()
    assert isinstance(decoder, AttentionDecoder)


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="found kind 'rnn'; expected one of frames, ctc"):
        build_transcriber("rnn", 39, 5)
