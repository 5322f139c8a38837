"""The ledger of chapter 15: its rule, its tests, every verdict function, its file and its table."""

import functools
import inspect
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import SITE
from lxml import html
from scipy import stats

from experiments import evidence, findings, ledger
from experiments.evidence import Material
from experiments.findings import (
    Found,
    crossed,
    decide,
    holm,
    mcnemar,
    same_files,
    separate_files,
)
from experiments.ledger import CANNOT_BE_TOLD, CONTRADICTED, DOES_NOT_FOLLOW, HOLDS, verdict
from helpers.data import REPORT_CLASSES, DataFormatError, SequenceDataset, Sequences
from helpers.models import ARCHITECTURES, CELLS, count_parameters
from helpers.runs import crossed_error, crossed_test

STROKES, SPEECH = "handwriting", "cv_segments"


# --- The rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "ours", "expected"),
    [
        ("for", "for", HOLDS),
        ("for", "open", HOLDS),
        ("for", "none", HOLDS),
        ("for", "against", CANNOT_BE_TOLD),
        ("against", "for", CANNOT_BE_TOLD),
        ("against", "against", CONTRADICTED),
        ("against", "open", CONTRADICTED),
        ("against", "none", CONTRADICTED),
        ("open", "for", HOLDS),
        ("open", "against", CONTRADICTED),
        ("open", "open", DOES_NOT_FOLLOW),
        ("open", "none", DOES_NOT_FOLLOW),
        ("none", "for", HOLDS),
        ("none", "against", CONTRADICTED),
        ("none", "open", CANNOT_BE_TOLD),
        ("none", "none", CANNOT_BE_TOLD),
    ],
)
def test_the_rule(report, ours, expected):
    assert verdict(report, ours) == expected
    assert verdict(report, ours, "none") == expected


def test_a_third_source_counts_like_the_second():
    assert verdict("open", "none", "for") == HOLDS
    assert verdict("none", "open", "against") == CONTRADICTED
    assert verdict("none", "for", "against") == CANNOT_BE_TOLD


@pytest.mark.parametrize(
    ("tests", "of_any", "of_every"),
    [
        ([], "open", "open"),
        ([(1, 0.01)], "for", "for"),
        ([(-1, 0.01)], "against", "against"),
        ([(1, 0.05)], "open", "open"),  # not below the level
        ([(1, 0.01), (1, 0.5)], "for", "open"),
        ([(1, 0.01), (1, 0.02)], "for", "for"),
        ([(1, 0.01), (-1, 0.02)], "open", "against"),
        ([(1, 0.5), (-1, 0.02)], "against", "against"),
        ([(1, float("nan"))], "open", "open"),
    ],
)
def test_from_tests_to_a_finding(tests, of_any, of_every):
    assert decide(tests) == of_any
    assert decide(tests, every=True) == of_every


def test_the_level_decides():
    assert decide([(1, 0.02)], level=0.01) == "open"
    assert decide([(1, 0.06)], level=0.1) == "for"


def test_a_claim_that_needs_every_test_corrects_only_what_speaks_against_it():
    assert findings.tested_everywhere([(1, 0.04), (1, 0.03)]).finding == "for"
    assert findings.tested_everywhere([(1, 0.04), (-1, 0.04)]).finding == "open"  # 0.04 × 2 by Holm
    assert findings.tested_everywhere([(1, 0.04), (-1, 0.02)]).finding == "against"


def test_a_claim_that_needs_one_test_pays_for_all_that_were_tried():
    assert findings.tested_somewhere([(1, 0.02), (1, 0.9)]).finding == "for"
    assert findings.tested_somewhere([(1, 0.02), (1, 0.9), (1, 0.9)]).finding == "open"
    assert (
        findings.tested_somewhere([(-1, 1e-9), (1, 0.9)]).finding == "open"
    )  # none can disprove it


# --- The tests --------------------------------------------------------------------------------


def test_crossed_by_hand():
    # Seeds' means 1.5 and 3.5, files' means 2 and 3, nothing left over.
    effect, p = crossed([[1, 2], [3, 4]])
    assert effect == 2.5
    # Variance 2/2 + 0.5/2 - 0; Satterthwaite's degrees of freedom.
    error, freedom = np.sqrt(1.25), 1.25**2 / (1**2 / 1 + 0.25**2 / 1)
    assert crossed_error([[1, 2], [3, 4]]) == pytest.approx((2.5, error, freedom))
    assert p == pytest.approx(2 * stats.t.sf(2.5 / error, freedom))
    low, high = (2.5 + sign * stats.t.isf(0.025, freedom) * error for sign in (-1, 1))
    assert findings.words_of_interval(2.5, error, freedom) == f"{low:+.3f} to {high:+.3f}"


def test_crossed_is_the_test_of_chapter_14():
    rng = np.random.default_rng(4)
    one, two = (rng.random((5, 30)) < chance for chance in (0.7, 0.5))
    difference, *_, p = crossed_test(one, two)
    assert crossed(one.astype(float) - two) == pytest.approx((difference, p))


def crossed_variance(*blocks):
    return crossed_error(*blocks)[1] ** 2


def test_crossed_of_other_files_subtracts_their_mean_and_adds_their_chance():
    rng = np.random.default_rng(0)
    a, b = (
        rng.normal(0, 0.5, (6, n)) + rng.normal(0, 1, (6, 1)) + rng.normal(0, 1, n) for n in (8, 20)
    )
    effect, p = crossed(a, b)
    assert effect == pytest.approx(a.mean() - b.mean())
    assert crossed(b, a) == (pytest.approx(-effect), pytest.approx(p))
    variance = [crossed_variance(a), crossed_variance(b), crossed_variance(a, b)]
    seeds = np.cov(a.mean(axis=1), b.mean(axis=1))[0, 1] / 6  # what the two share
    assert variance[2] == pytest.approx(variance[0] + variance[1] - 2 * seeds)


def test_crossed_is_wrong_as_often_as_it_says_where_files_have_their_peculiarities():
    rng = np.random.default_rng(1)
    draws = [
        rng.normal(0, 0.05, (8, 1)) + rng.normal(0, 0.3, 40) + rng.normal(0, 0.3, (8, 40))
        for _ in range(1000)
    ]
    wrong = np.mean([crossed(d)[1] < 0.05 for d in draws])
    seeds_only = np.mean([crossed(d.mean(axis=1, keepdims=True))[1] < 0.05 for d in draws])
    assert 0.01 < wrong < 0.08 and seeds_only > 0.2


def test_crossed_estimates_the_variance_of_the_mean():
    """What belongs to single pairs of seed and file is in both kinds of means, and counts once."""
    rng = np.random.default_rng(2)
    means, variances = [], []
    for _ in range(1500):
        d = rng.normal(0, 0.5, (6, 1)) + rng.normal(0, 0.5, 6) + rng.normal(0, 1, (6, 6))
        means.append(d.mean())
        variances.append(crossed_variance(d))
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.12)
    assert np.mean(means) == pytest.approx(0, abs=0.05)


def test_crossed_without_any_spread():
    assert crossed(np.zeros((3, 4))) == (0.0, 1.0)
    assert crossed(np.ones((3, 4))) == (1.0, 0.0)


def test_mcnemar_counts_what_only_one_gets_right():
    assert mcnemar(0, 0) == 1 and mcnemar(3, 3) == 1
    assert mcnemar(0, 10) == pytest.approx(2 / 2**10)
    assert mcnemar(4, 1) == mcnemar(1, 4) == pytest.approx(2 * 6 / 2**5)


@pytest.mark.parametrize(("k", "m", "n"), [(79, 89, 100), (3, 5, 5), (2, 2, 9), (0, 9, 9)])
def test_counts_on_the_same_files_bound_p_over_every_overlap(k, m, n):
    possible = [mcnemar(k - both, m - both) for both in range(min(k, m) + 1) if k + m - both <= n]
    assert same_files(k, m, n) == (min(possible), max(possible))


def test_counts_on_other_files():
    assert separate_files(3, 0, 3, 3) == pytest.approx(0.1)
    assert separate_files(5, 5, 10) == pytest.approx(1)


# --- Made-up material -------------------------------------------------------------------------


def constant(value):
    return lambda *_: value


USUAL = {"right": constant(0.7), "train": constant(0.8), "seconds": constant(10)}


def trained(
    right=USUAL["right"],
    wrong=None,
    data=STROKES,
    protocol="validated",
    layers=CELLS,
    architectures=5,
    seeds=6,
    files=12,
    train=USUAL["train"],
    on=None,
    validation=None,
    seconds=USUAL["seconds"],
    epochs=5,
    shift=0.02,
    seed=0,
):
    """Make up runs, their curves and their predictions.

    ``right(layer, architecture, label)`` is the chance of a right answer, ``wrong(layer, label)``
    the answer otherwise (the next class, if not given), ``train(layer, architecture)`` the accuracy
    in training, dropout off, and ``on`` that with dropout on.
    """
    rng, classes = np.random.default_rng(seed), REPORT_CLASSES[data]
    easy = rng.normal(0, 0.05, (len(classes), files))
    runs, curves, predictions = [], [], []
    for layer in layers:
        for k in range(1, architectures + 1):
            for s in range(seeds):
                name, lucky = f"{data}-{layer}-{k}-{protocol}-{s}", rng.normal(0, shift)
                keys = [name, data, protocol, layer, k, s]
                hits = []
                for c, label in enumerate(classes):
                    chance = right(layer, k, label) + lucky + easy[c]
                    hit = rng.random(files) < chance
                    other = wrong(layer, label) if wrong else classes[(c + 1) % len(classes)]
                    hits += list(hit)
                    for i, h in enumerate(hit):
                        file = f"{label}/Test/{i % 6:02d}_{label}_{i}.x"
                        predictions.append([*keys, "test", file, label, label if h else other])
                accuracy, in_training = np.mean(hits), train(layer, k)
                curves.append([*keys, epochs, in_training if on is None else on(layer, k)])
                runs.append(
                    [*keys, accuracy, in_training, accuracy if validation is None else validation,
                     seconds(layer), epochs, k]
                )  # fmt: skip
    keys = evidence.RUN_KEYS
    scores = ["test_accuracy", "train_accuracy", "validation_accuracy"]
    return (
        pd.DataFrame(runs, columns=[*keys, *scores, "seconds", "epochs", "parameters"]),
        pd.DataFrame(curves, columns=[*keys, "epoch", "accuracy"]),
        pd.DataFrame(predictions, columns=[*keys, "split", "file", "label", "predicted"]),
    )


def report_with(rnn=None, lstm=None, data=STROKES):
    """Make up a report whose networks all have 70 %, and whose matrices say so, but for changes."""
    n = evidence.FILES[data][1]
    each = n // 5
    matrix = np.full((5, 5), (each - round(0.7 * each)) // 4)
    matrix[np.diag_indices(5)] += each - matrix[0].sum()
    cell = {
        "train_accuracy": [0.7] * 5,
        "test_accuracy": [0.7] * 5,
        "epochs": [5] * 5,
        "best": 1,
        "confusion": matrix.tolist(),
    }
    return {data: {"SimpleRNN": cell | (rnn or {}), "LSTM": cell | (lstm or {})}}


def matrix_of(right, n=20, wrong=1):
    """Make a matrix with these right answers, its errors all for the class ``wrong`` further on."""
    matrix = np.diag(right)
    for c, k in enumerate(right):
        matrix[c, (c + wrong) % 5] += n - k
    return matrix.tolist()


def material(*trained_runs, report=None, **more):
    tables = [pd.concat(t) for t in zip(*trained_runs, strict=True)] if trained_runs else [None] * 3
    names = ("runs", "curves", "predictions")
    return Material(report=report or {}, **dict(zip(names, tables, strict=True)), **more)


def sequences(x, groups=None):
    n = len(x)
    files = tuple(f"a/train/{i}.txt" for i in range(n))
    x = [np.asarray(sequence, np.float32) for sequence in x]
    return Sequences(x, np.zeros(n, int), files, np.array(groups or ["1"] * n))


def dataset(train, test=None, name=STROKES, groups=None):
    splits = sequences(train, groups), sequences(test or train)
    return {name: SequenceDataset(name, ("a",), *splits, "made up", {})}


def finding(function, m, **arguments):
    return getattr(evidence, function)(m, **arguments).finding


# --- Verdict functions: the report's own numbers ----------------------------------------------


@pytest.mark.parametrize(("printed", "expected"), [(0.6899, "for"), (0.7501, "against")])
def test_possible_accuracies(printed, expected):
    assert finding("possible_accuracy_in_report", material(), printed=printed, n=100) == expected


def test_whether_five_differ():
    for a, expected in (([0.7, 0.72, 0.69, 0.7, 0.7], "open"), ([0.9, 0.5, 0.5, 0.5, 0.5], "for")):
        m = material(report=report_with({"test_accuracy": a}))
        assert finding("five_differ_in_report", m, data=STROKES, cell="SimpleRNN") == expected


@pytest.mark.parametrize(
    ("test", "train", "expected"),
    [
        ([0.9, 0.8, 0.8, 0.8, 0.8], [0.9, 0.8, 0.8, 0.8, 0.8], "for"),
        ([0.9, 0.9, 0.8, 0.8, 0.8], [0.9, 0.8, 0.8, 0.8, 0.8], "for"),  # a tie is no loss
        ([0.9, 0.8, 0.8, 0.8, 0.8], [0.8, 0.9, 0.8, 0.8, 0.8], "against"),
        ([0.8, 0.9, 0.8, 0.8, 0.8], [0.9, 0.8, 0.8, 0.8, 0.8], "against"),
    ],
)
def test_what_a_table_says_of_its_winner(test, train, expected):
    m = material(report=report_with({"test_accuracy": test, "train_accuracy": train}))
    assert finding("own_table_in_report", m, data=STROKES, cell="SimpleRNN") == expected


def test_whether_matrix_and_table_are_of_one_network():
    for k, expected in ((14, "for"), (13, "open")):  # one of the two is wrong, but which?
        m = material(report=report_with({"confusion": matrix_of([14, 14, 14, 14, k])}))
        assert finding("same_network_in_report", m, data=STROKES, cell="SimpleRNN") == expected
    # The best architecture's accuracy is meant, whichever it is.
    fourth = {"best": 4, "test_accuracy": [0.7, 0.7, 0.7, 0.8, 0.7]}
    m = material(report=report_with(fourth | {"confusion": matrix_of([16] * 5)}))
    assert finding("same_network_in_report", m, data=STROKES, cell="SimpleRNN") == "for"


@pytest.mark.parametrize(
    ("rnn", "lstm", "expected"),
    [(0.5, 0.9, "for"), (0.79, 0.89, "open"), (0.9, 0.5, "against")],
)
def test_lstm_over_rnn_by_counts(rnn, lstm, expected):
    networks = [
        {"test_accuracy": [a] * 5, "confusion": matrix_of([round(20 * a)] * 5)} for a in (rnn, lstm)
    ]
    m = material(report=report_with(*networks))
    if expected != "open":
        assert finding("lstm_over_rnn_in_report", m, data=STROKES) == expected
    # Whichever of two counts the RNN has: the weaker decides.
    networks[0]["confusion"] = networks[1]["confusion"]
    m = material(report=report_with(*networks))
    if rnn < lstm:
        assert finding("lstm_over_rnn_in_report", m, data=STROKES) == "open"


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(2, 18, "for"), (10, 12, "open"), (18, 2, "against")]
)
def test_gain_by_counts(before, after, expected):
    full = [20] * 5
    m = material(
        report=report_with(
            {"confusion": matrix_of([before, *full[1:]])},
            {"confusion": matrix_of([after, *full[1:]])},
        )
    )
    assert finding("gain_in_report", m, data=STROKES, classes=["a"]) == expected
    # The errors on a all go to ai: more right answers are fewer of those.
    fewer = {"data": STROKES, "classes": ["a"], "answer": "ai", "fewer": True}
    assert finding("gain_in_report", m, **fewer) == expected
    assert evidence.gain_in_report(m, STROKES, ["a", "ai"]).numbers["a"] == f"{before} → {after}"


@pytest.mark.parametrize(
    ("more", "less", "expected"), [(0.9, 0.5, "for"), (0.72, 0.7, "open"), (0.5, 0.9, "against")]
)
def test_one_architecture_over_another_by_counts(more, less, expected):
    m = material(report=report_with({"test_accuracy": [less, more, 0.7, 0.7, 0.7]}))
    arguments = {"data": STROKES, "cell": "SimpleRNN", "more": 2, "less": 1}
    assert finding("second_layer_in_report", m, **arguments) == expected


def test_where_errors_lie_by_counts():
    # All errors of a for ai and of dA for a: none between bA and chA, a third … of them touch dA.
    m = material(report=report_with(*[{"confusion": matrix_of([10, 20, 20, 20, 10])}] * 2))
    between = {"data": STROKES, "classes": ["a", "ai"]}
    assert finding("errors_in_report", m, **between) == "for"
    assert finding("errors_in_report", m, **between, fewer=True) == "against"
    assert (
        finding("errors_in_report", m, data=STROKES, classes=["bA", "chA"]) == "open"
    )  # 20 errors
    touching = {"data": STROKES, "classes": ["bA"], "both": False, "fewer": True}
    assert finding("errors_in_report", m, **touching) == "for"
    # One network alone is not enough.
    m.report[STROKES]["LSTM"]["confusion"] = matrix_of([20, 20, 18, 20, 20])
    assert finding("errors_in_report", m, **between) == "open"


def test_best_class_by_counts():
    good, poor = {"confusion": matrix_of([18, 9, 9, 9, 9])}, {"confusion": matrix_of([8] + [9] * 4)}
    for networks, expected in (((good, good), "for"), ((good, poor), "against")):
        m = material(report=report_with(*networks))
        assert finding("best_class_in_report", m, data=STROKES, best="a") == expected


@pytest.mark.parametrize(
    ("own", "rest", "expected"), [(4, 18, "for"), (14, 15, "open"), (18, 4, "against")]
)
def test_taken_for_by_counts(own, rest, expected):
    matrix = np.diag([own, 20, rest, 20, 20])
    matrix[0, 1], matrix[2, 1] = 20 - own, 20 - rest
    m = material(report=report_with({"confusion": matrix.tolist()}))
    arguments = {"data": STROKES, "cell": "SimpleRNN", "of": "a", "answer": "ai", "others": ["bA"]}
    assert finding("taken_for_in_report", m, **arguments) == expected


@pytest.mark.parametrize(("sign", "expected"), [(1, "for"), (0, "open"), (-1, "against")])
def test_gap_with_size_by_ranks(sign, expected):
    size = [sum(count_parameters("LSTM", a, 2, 5)) for a in ARCHITECTURES[STROKES].values()]
    order = np.argsort(np.argsort(size))
    gaps = 0.02 * (order if sign > 0 else -order if sign < 0 else (2 * order + 2) % 5)
    m = material(report=report_with(*[{"train_accuracy": (0.7 + gaps).tolist()}] * 2))
    assert finding("gap_with_size_in_report", m, data=STROKES) == expected


def test_the_widest_gap_by_counts():
    for train, expected in ((0.95, "for"), (0.78, "open"), (0.3, "open")):
        m = material(report=report_with({"train_accuracy": [0.7, 0.7, train, 0.7, 0.7]}))
        assert finding("widest_gap_in_report", m, data=STROKES) == expected


def test_test_above_training_accuracy_by_counts():
    for train, expected in ((0.69, "for"), (0.71, "against")):
        m = material(report=report_with(*[{"train_accuracy": [train] * 5}] * 2))
        assert finding("above_train_in_report", m, data=STROKES) == expected


def test_what_the_report_says_of_curves_classes_and_dropout():
    m = material(report=report_with(data=SPEECH))
    assert finding("stopped_falling_in_report", m, slope=0.03, threshold=1e-4) == "against"
    assert finding("stopped_falling_in_report", m, slope=1e-5, threshold=1e-4) == "for"
    for arguments, expected in (
        ({"classes": 5}, "for"),
        ({"classes": 6}, "against"),
        ({"others": 4}, "for"),
        ({"others": 5}, "against"),
    ):
        assert finding("classes_in_report", m, data=SPEECH, **arguments) == expected
    assert finding("dropout_in_report", m, data=SPEECH, architecture=4) == "against"
    assert finding("dropout_in_report", m, data=SPEECH, architecture=1) == "for"


# --- Verdict functions: data ------------------------------------------------------------------

LINE = np.column_stack([np.linspace(0, 1, 30), np.linspace(0, 1, 30)])


@pytest.mark.parametrize(
    ("function", "arguments", "supports", "refutes"),
    [
        ("lengths_vary", {"data": STROKES}, [LINE, LINE[:9]], [LINE, LINE]),
        ("longest", {"data": STROKES, "steps": 30}, [LINE, LINE[:9]], [LINE[:9]]),
        ("neighbours_correlate", {}, [LINE], [np.tile([[0, 0], [1, 1]], (15, 1))]),
        ("fills_unit_square", {}, [LINE, LINE / 2], [LINE, LINE - 0.5]),
        ("nothing_masked", {"data": STROKES, "value": 2.0}, [LINE], [LINE, [[2, 2], [0, 0]]]),
    ],
)
def test_what_data_say(function, arguments, supports, refutes):
    assert finding(function, material(data=dataset(supports)), **arguments) == "for"
    assert finding(function, material(data=dataset(refutes)), **arguments) == "against"


def test_what_data_say_of_frames_and_of_files():
    frame = np.zeros((4, 39))
    for width, groups, expected in (
        (39, "12", "for"),
        (39, "11", "against"),
        (38, "12", "against"),
    ):
        x = [frame[:, :width]] * 2
        m = material(data=dataset(x, name=SPEECH, groups=list(groups)))
        assert finding("frames", m, features=39) == expected
    m = material(data=dataset([LINE] * 3, [LINE]), baselines={STROKES: {"a": 0.2, "b": 0.9}})
    assert evidence.readable(m, STROKES) == Found("for", {"n": 4})
    assert evidence.enough_for_baseline(m, STROKES) == Found("open", {"n": 3, "baseline": 0.9})


def test_a_convolution_takes_any_length():
    found = evidence.any_length(material(data=dataset([LINE, LINE[:9]])))
    assert found == Found("against", {"shortest": 9, "longest": 30})


# --- Verdict functions: small networks --------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        ("state_carries", {}, "for"),
        ("gradients_agree", {}, "for"),
        ("output_each_step", {}, "against"),
        ("starts_random", {}, "open"),
        ("best_of_five", {}, "open"),
        ("gates_see", {"what": "contents"}, "against"),
        ("gates_see", {"what": "state"}, "for"),
        ("cell_keeps", {}, "for"),
        ("gradient_grows", {}, "open"),
        ("small_or_large", {}, "for"),
        ("small_or_large", {"weights": (0.5, 1.0)}, "against"),
        ("gru_gate_weighs", {"gate": "reset"}, "for"),
        ("gru_gate_weighs", {"gate": "update"}, "for"),
        ("fewer_parameters", {}, "for"),
        ("two_gates", {}, "for"),
    ],
)
def test_what_small_networks_say(function, arguments, expected):
    assert finding(function, material(), **arguments) == expected


def test_numbers_of_small_networks():
    m = material()
    chosen, fresh = (evidence.best_of_five(m).numbers[k] for k in ("chosen", "fresh"))
    assert 0.03 < chosen < 0.07 and abs(fresh) < 0.002
    assert evidence.gradient_grows(m).numbers["growth"] > 1e10
    update = evidence.gru_gate_weighs(m, "update").numbers
    assert update["opened"] == pytest.approx(0, abs=1e-6) and update["shut"] > 0.3
    assert evidence.two_gates(m).numbers == {"gru": 2, "lstm": 3}
    assert evidence.starts_random(m).numbers == {"drawn": 0, "singular": pytest.approx(1, abs=1e-4)}


# --- Verdict functions: memory and speed ------------------------------------------------------


def trials(**solved):
    """Make up trials: how many of ten each model solves at each of two lags of two tasks."""
    names = {"lstm": ("LSTM, bias 1", "LSTM, chrono"), "gru": ("GRU", "GRU, chrono")}
    rows = [
        {
            "task": task,
            "lag": lag,
            "units": 32,
            "seed": seed,
            "model": name,
            "solved": seed < k[task],
            "updates": 100,
        }
        for model, k in solved.items()
        for name in names.get(model, ("SimpleRNN",))
        for task in ("adding", "copy")
        for lag in (25, 50)
        for seed in range(10)
    ]
    return material(memory=pd.DataFrame(rows))


def both(k):
    return {"adding": k, "copy": k}


@pytest.mark.parametrize(
    ("gated", "plain", "expected"),
    [(10, 0, "for"), (10, 4, "for"), (5, 4, "open"), (0, 10, "against")],
)
def test_gated_over_plain(gated, plain, expected):
    for cell in ("lstm", "gru"):
        m = trials(**{cell: both(gated), "rnn": both(plain)})
        found = evidence.gated_over_plain(m, cell.upper())
        assert found.finding == expected and found.numbers["n"] == 10  # lag 50 of adding alone


def test_hard_on_long_lags():
    assert finding("hard_on_long", trials(rnn=both(4))) == "for"
    assert finding("hard_on_long", trials(rnn=both(5))) == "against"


@pytest.mark.parametrize(("written", "expected"), [("122", "for"), ("222", "against")])
def test_transcripts_are_held_against_a_constant_answer(written, expected):
    rows = {"seed": [1, 2, 2], "symbols": ["112", "112", "21"], "beam": ["112", written, "21"]}
    rows |= {"segments": "2-5", "protocol": "per_speaker", "kind": "ctc"}
    material = Material(transcripts=pd.DataFrame(rows))
    assert finding("transcribes", material) == expected


@pytest.mark.parametrize(
    ("lstm", "gru", "expected"),
    [
        (both(10), both(0), "for"),
        (both(10), both(6), "for"),  # eight pairs of trials differ, all one way
        ({"adding": 10, "copy": 5}, {"adding": 0, "copy": 5}, "for"),  # all in all
        (both(5), both(5), "open"),
        ({"adding": 10, "copy": 0}, {"adding": 0, "copy": 10}, "open"),
        (both(0), both(10), "against"),
    ],
)
def test_whether_the_lstm_remembers_longer(lstm, gru, expected):
    assert finding("lstm_remembers_longer", trials(lstm=lstm, gru=gru)) == expected


@pytest.mark.parametrize(
    ("strokes", "speech", "expected"),
    [(20, 20, "for"), (20, 10, "open"), (20, 5, "against"), (10, 10, "open")],
)
def test_whether_the_gru_is_faster_on_both(strokes, speech, expected):
    rng = np.random.default_rng(0)
    runs = [
        trained(data=data, files=1, seconds=lambda layer, n=n: n[layer] * rng.lognormal(0, 0.01))
        for data, n in (
            (STROKES, {"SimpleRNN": 5, "LSTM": strokes, "GRU": 10}),
            (SPEECH, {"SimpleRNN": 5, "LSTM": speech, "GRU": 10}),
        )
    ]
    assert finding("gru_faster", material(*runs)) == expected


@pytest.mark.parametrize(
    ("strokes", "speech", "expected"),
    [(0.5, 0.5, "for"), (0.5, 0.8, "open"), (0.5, 0.99, "against")],
)
def test_whether_a_network_beats_every_baseline(strokes, speech, expected):
    runs = [trained(constant(0.8), data=data, files=30) for data in (STROKES, SPEECH)]
    baselines = {STROKES: {"a": 0.2, "b": strokes}, SPEECH: {"a": 0.2, "b": speech}}
    assert finding("above_baseline", material(*runs, baselines=baselines)) == expected


# --- Verdict functions: the report's experiments ----------------------------------------------


def by_layer(**chance):
    return lambda layer, *_: chance.get(layer, 0.7)


@pytest.mark.parametrize(
    ("ours", "spread", "expected"),
    [(0.7, 0.01, "for"), (0.5, 0.01, "against"), (0.7, 0.3, "open"), (0.65, 0.05, "open")],
)
def test_whether_the_reports_table_is_repeated(ours, spread, expected):
    runs, curves, predictions = trained(protocol="report", files=1, seeds=5)
    rng = np.random.default_rng(3)
    runs["test_accuracy"] = ours + spread * rng.standard_normal(len(runs))
    m = material((runs, curves, predictions), report=report_with())
    arguments = {"data": STROKES, "cell": "LSTM", "margin": 0.05}
    found = evidence.reproduced(m, **arguments)
    assert found.finding == expected and len(found.tests) == 2


def test_no_difference_found_does_not_make_a_repetition():
    """Few seeds that scatter widely contain the report's figures, and show nothing."""
    runs, *rest = trained(protocol="report", files=1, seeds=2)
    runs["test_accuracy"] = np.where(runs["seed"] == 0, 0.4, 1.0)
    found = evidence.reproduced(
        material((runs, *rest), report=report_with()), STROKES, "LSTM", 0.05
    )
    assert found.numbers["inside"] == 5 and found.finding == "open"


@pytest.mark.parametrize(
    ("rnn", "lstm", "expected"), [(0.5, 0.9, "for"), (0.7, 0.7, "open"), (0.9, 0.5, "against")]
)
def test_lstm_over_rnn_gain_and_second_layer(rnn, lstm, expected):
    m = material(trained(by_layer(SimpleRNN=rnn, LSTM=lstm), seed=2))
    assert finding("lstm_over_rnn", m, data=STROKES) == expected
    assert finding("gain", m, data=STROKES, classes=["bA", "chA"]) == expected
    # Wrong answers to bA are all chA.
    fewer = {"data": STROKES, "classes": ["bA"], "answer": "chA", "fewer": True}
    assert finding("gain", m, **fewer) == expected
    m = material(trained(lambda layer, k, _: lstm if k == 2 else rnn))
    arguments = {"data": STROKES, "cell": "LSTM", "more": 2, "less": 1}
    assert finding("second_layer", m, **arguments) == expected


def test_gain_tells_the_classes_apart():
    gains = lambda layer, k, label: 0.95 if (layer, label) == ("LSTM", "bA") else 0.3  # noqa: E731
    found = evidence.gain(material(trained(gains)), STROKES, ["bA", "chA"])
    assert found.numbers["bA"] > 0.4 > 0.2 > abs(found.numbers["chA"])
    assert found.numbers["change"] == pytest.approx(
        (found.numbers["bA"] + found.numbers["chA"]) / 2
    )


def test_where_errors_lie():
    pair = {"bA": "chA", "chA": "bA"}
    concentrated = trained(wrong=lambda layer, c: pair.get(c, "a"))
    spread = trained(wrong=lambda layer, c: "bA" if c == "a" else "a")
    arguments = {"data": STROKES, "classes": ["bA", "chA"]}
    assert finding("errors", material(concentrated), **arguments) == "for"
    assert finding("errors", material(concentrated), **arguments, fewer=True) == "against"
    assert finding("errors", material(spread), **arguments) == "against"
    touching = {"data": STROKES, "classes": ["chA"], "both": False}
    assert finding("errors", material(concentrated), **touching) == "open"  # two of five: chance
    found = evidence.errors(material(concentrated), **touching)
    assert found.numbers["chance"] == pytest.approx(8 / 20)


@pytest.mark.parametrize(
    ("own", "other", "expected"), [(0.95, 0.5, "for"), (0.7, 0.7, "open"), (0.5, 0.95, "against")]
)
def test_best_class(own, other, expected):
    m = material(trained(lambda layer, k, label: own if label == "dA" else other, files=40))
    assert finding("best_class", m, data=STROKES, best="dA") == expected


@pytest.mark.parametrize(
    ("own", "other", "expected"), [(0.2, 0.8, "for"), (0.5, 0.5, "open"), (0.8, 0.2, "against")]
)
def test_taken_for(own, other, expected):
    runs = trained(lambda layer, k, label: own if label == "a" else other, lambda *_: "ai")
    arguments = {"data": STROKES, "cell": "LSTM", "of": "a", "answer": "ai", "others": ["bA", "dA"]}
    assert finding("taken_for", material(runs), **arguments) == expected


@pytest.mark.parametrize(
    ("best", "second", "others", "expected"),
    [
        (0.95, 0.5, 0.5, "for"),
        (0.7, 0.7, 0.7, "open"),
        (0.9, 0.9, 0.3, "open"),  # better than three of four is not best
        (0.5, 0.95, 0.3, "against"),  # one that is better is enough
        (0.5, 0.3, 0.95, "against"),
    ],
)
def test_the_reports_winner(best, second, others, expected):
    chance = {1: best, 2: second}
    m = material(trained(lambda layer, k, _: chance.get(k, others), files=20), report=report_with())
    assert finding("winner", m, data=STROKES, cell="LSTM") == expected


@pytest.mark.parametrize(("slope", "expected"), [(0.08, "for"), (0, "open"), (-0.08, "against")])
def test_whether_the_gap_grows_with_size(slope, expected):
    runs = [
        trained(protocol=protocol, files=40, train=lambda layer, k: 0.7 + slope * (k - 3))
        for protocol in ("report", "validated")
    ]
    found = evidence.gap_with_size(material(*runs), STROKES)
    assert found.finding == expected
    assert found.numbers["validated"] == pytest.approx(slope, abs=0.03)


def test_the_slope_of_the_gap_is_the_one_that_least_squares_give():
    runs, curves, predictions = trained(files=3, seeds=2, train=lambda layer, k: 0.1 * k * k)
    other = trained(files=3, seeds=2, protocol="report")
    found = evidence.gap_with_size(material((runs, curves, predictions), other), STROKES)
    lstm = runs.query("layer == 'LSTM'")
    slope = np.polyfit(lstm["architecture"], lstm["train_accuracy"] - lstm["test_accuracy"], 1)[0]
    assert found.numbers["validated"] == pytest.approx(slope)


def test_the_widest_gap_of_runs():
    for train, expected in ((0.99, "for"), (0.72, "open"), (0.3, "open")):
        runs = trained(protocol="report", files=40, train=constant(train), shift=0)
        assert finding("widest_gap", material(runs), data=STROKES) == expected


def test_test_above_training_accuracy_of_runs():
    for train, expected in ((0.2, "for"), (1.0, "against")):
        runs = [trained(protocol=p, train=constant(train)) for p in ("report", "validated")]
        assert finding("above_train", material(*runs), data=STROKES) == expected


@pytest.mark.parametrize(("on", "off", "expected"), [(0.3, 0.99, "for"), (0.99, 0.99, "open"),
                                                     (0.99, 0.3, "against")])  # fmt: skip
def test_whether_dropout_has_a_part_in_test_above_training(on, off, expected):
    described = trained(protocol="report", train=constant(off), on=constant(on), seed=1)
    m = material(described, trained(), data=dataset([LINE]))
    assert finding("dropout_has_a_part", m, data=STROKES) == expected


@pytest.mark.parametrize(("held_out", "easier"), [(0.3, True), (None, False)])
def test_whether_the_test_split_is_easier_is_told_beside_it(held_out, easier):
    described = trained(protocol="report", train=constant(0.99), on=constant(0.3), seed=1)
    m = material(described, trained(validation=held_out), data=dataset([LINE]))
    numbers = evidence.dropout_has_a_part(m, STROKES).numbers
    low, high = map(float, numbers["easier_span"].split(" to "))
    assert low <= numbers["easier"] <= high and (low > 0) == easier


def test_lengths_of_training_stay_open():
    m = material(
        trained(protocol="report", epochs=5), report=report_with({"epochs": [5, 6, 5, 5, 5]})
    )
    assert evidence.epochs_alike(m, STROKES) == Found("open", {"alike": 9, "n": 10})


@pytest.mark.parametrize(("rise", "expected"), [(0.25, "for"), (0.0, "open"), (-0.25, "open")])
def test_whether_distorted_copies_help_somewhere(rise, expected):
    of_first = lambda layer, k, _: 0.6 + (rise if k == 1 else 0)  # noqa: E731
    runs = [
        trained(right, protocol=protocol, layers=["LSTM"], files=30, architectures=2, train=train)
        for protocol, right, train in (
            ("beyond", constant(0.6), constant(0.8)),
            ("augmented", of_first, lambda layer, k: 0.8 - (rise if k == 1 else 0)),
        )
    ]
    assert finding("distortion", material(*runs), split="test") == expected
    if rise:
        assert finding("distortion", material(*runs), split="train") == expected


@pytest.mark.parametrize(("new", "expected"), [(0.7, "open"), (0.3, "against"), (0.99, "for")])
def test_whether_strangers_are_understood_as_well(new, expected):
    runs = [
        trained(constant(chance), data=SPEECH, protocol=protocol, files=24)
        for protocol, chance in (("known_speakers", 0.7), ("new_speakers", new))
    ]
    found = evidence.new_speakers(material(*runs))
    assert found.finding == expected and found.numbers["speakers"] == 6


# --- Reading the file -------------------------------------------------------------------------

FUNCTIONS = SimpleNamespace(
    __name__="made up",
    sure=lambda m, sign=1: findings.tested((sign, 0.001), times=3),
    doubtful=lambda m: findings.tested((1.0, 0.03)),
    blunt=lambda m: findings.tested((1.0, 0.2)),
    true=lambda m: Found("for", {}),
    counted=lambda m: [1, 2],
)
ENTRY = """
- id: one
  place: "1.1"
  quote: RNNs <b>< LSTMs</b> & "GRUs"
  reading: a sharp one
"""


OURS = ENTRY + "  ours: {kind: runs, "


def read(tmp_path, text):
    path = tmp_path / "ledger.yaml"
    path.write_text(text, encoding="utf-8")
    return ledger.read(material(), path, FUNCTIONS)


def test_an_entry_becomes_a_claim(tmp_path):
    claims = read(
        tmp_path,
        ENTRY
        + "  report: {kind: table, by: doubtful, text: '{effect:+.1f}, {p}'}\n"
        + "  ours: {kind: runs, by: sure, with: {sign: -1}, text: 'effect {effect}, {times}'}\n"
        + "- {id: two, place: '2.1', quote: words, code: {kind: code, finding: for, text: so}}\n",
    )
    one, two = claims.values()
    assert one.evidence["report"].text == "+1.0, p = 0.030"
    assert one.evidence["ours"].text == "effect −1, 3"
    assert (one.verdict, one.basis) == (CANNOT_BE_TOLD, "")
    assert (two.verdict, two.basis, two.reading) == (HOLDS, "code", "")
    assert one.number("times") == 3
    assert ledger.tally(claims).loc[HOLDS].to_dict() == {"1": 0, "2": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "- {id: one, place: '1.1'}",
            r"entry 1 \(one\): found the fields id, place; expected id, p",
        ),
        (ENTRY + "  verdict: holds", "found the fields id, place, quote, reading, verdict"),
        (ENTRY + ENTRY, r"entry 2 \(one\): found an id that is taken"),
        (OURS + "by: nothing, text: so}", "one.*, ours: found by 'nothing'; expected a function"),
        (OURS + "by: counted, text: so}", "by 'counted'; expected a function that says what it Fo"),
        (OURS + "by: sure, with: {of: 1}, text: so}", r"\{'of': 1\}; expected sure\(m, sign=1\)"),
        (OURS + "by: sure, text: '{share}'}", r"sentence with \['share'\]; expected numbers of"),
        (OURS + "finding: maybe, text: so}", "found finding 'maybe'; expected for, against, open"),
        (OURS + "by: sure, finding: for, text: so}", "found the fields kind, by, finding, text"),
        (OURS + "finding: for, text: no}", "found text: False; expected text"),
        ("- {id: one, place: 1.1, quote: so}", "found place: 1.1; expected text"),
    ],
)
def test_an_entry_that_cannot_be_read_is_named(tmp_path, text, message):
    with pytest.raises(DataFormatError, match=message):
        read(tmp_path, text)


def test_some_entries_alone_can_be_read(tmp_path):
    path = tmp_path / "ledger.yaml"
    other = "- {id: two, place: '2', quote: so, ours: {kind: runs, by: nowhere, text: so}}\n"
    path.write_text(other + OURS + "by: sure, text: so}", encoding="utf-8")
    claims = ledger.read(material(), path, FUNCTIONS, only=["one"])  # the other is not computed
    assert [(name, claim.verdict) for name, claim in claims.items()] == [("one", HOLDS)]
    with pytest.raises(KeyError, match="three"):
        ledger.read(material(), path, FUNCTIONS, only=["three"])


def test_a_recount_varies_every_test(tmp_path):
    claims = read(
        tmp_path,
        "- {id: firm, place: '1', quote: a, ours: {kind: runs, by: 'true', text: so}}\n"
        "- {id: sure, place: '1', quote: a, ours: {kind: runs, by: sure, text: so}}\n"
        "- {id: fragile, place: '1', quote: a, ours: {kind: runs, by: doubtful, text: so}}\n"
        "- {id: again, place: '1', quote: a, ours: {kind: runs, by: doubtful, text: so}}\n"
        "- {id: blunt, place: '1', quote: a, report: {kind: table, by: blunt, text: so}}\n"
        "- {id: coded, place: '1', quote: a, code: {kind: code, finding: for, text: so}}\n",
    )
    assert sorted(ledger.tests_of(claims).values()) == [0.001, 0.03, 0.2]  # one test serves two
    ways = ledger.recount(claims, levels=(0.01, 0.05))
    assert ways["as it stands"].tolist() == [HOLDS] * 4 + [DOES_NOT_FOLLOW, HOLDS]
    assert (ways["level 0.05"] == ways["as it stands"]).all()
    assert ways["level 0.01"].tolist() == [HOLDS] * 2 + [CANNOT_BE_TOLD] * 2 + [
        DOES_NOT_FOLLOW,
        HOLDS,
    ]
    assert holm([0.001, 0.03, 0.2])[1] == 0.06
    assert ways["level 0.05, Holm"].tolist() == ways["level 0.01"].tolist()
    assert ways["the report alone"].tolist() == [CANNOT_BE_TOLD] * 4 + [
        DOES_NOT_FOLLOW,
        CANNOT_BE_TOLD,
    ]
    assert ways["without the code"].tolist()[-1] == CANNOT_BE_TOLD


# --- The report's ledger ----------------------------------------------------------------------


@functools.cache
def claims_of_the_report():
    from helpers.data import load_cv_segments, load_handwriting

    return ledger.read(Material.recorded(load_handwriting(), load_cv_segments()))


def test_no_sentence_has_more_digits_than_anyone_reads():
    for claim in claims_of_the_report().values():
        for source, said in claim.evidence.items():
            assert not re.search(r"\.\d{6}", said.text), (claim.id, source, said.text)


def test_every_sentence_about_a_test_has_one_that_a_recount_can_vary():
    for claim in claims_of_the_report().values():
        for source, said in claim.evidence.items():
            if " p = " in f" {said.text}" or "p below" in said.text or "p from" in said.text:
                assert said.found.tests, (claim.id, source)
            if said.found.tests:
                assert said.found.finding == decide(said.found.tests, every=said.found.every)


def test_a_table_is_repeated_only_by_a_test_that_shows_it():
    for figure in ("2.4", "2.7", "3.4", "3.7"):
        found = claims_of_the_report()[f"table-{figure}"].evidence["ours"].found
        smaller = found.tests[0]
        assert (found.finding == "for") == (smaller[1] < 0.05), figure


def test_every_verdict_function_serves_the_ledger():
    used = {
        e.made.split("(")[0] for c in claims_of_the_report().values() for e in c.evidence.values()
    }
    takes_material = {
        name
        for name, function in inspect.getmembers(evidence, inspect.isfunction)
        if function.__module__ == evidence.__name__
        and not name.startswith("_")
        and next(iter(inspect.signature(function).parameters)) == "m"
    }
    assert takes_material - {"counts_in_report", "new_speakers"} == used - {""}


def test_quotations_are_the_reports_words_alone():
    for claim in claims_of_the_report().values():
        assert claim.quote and not {"[", "]"} & set(claim.quote), claim.id
        assert claim.place[0] in "123"


# --- The table --------------------------------------------------------------------------------


def test_the_table_shows_every_claim_and_escapes_what_it_quotes(tmp_path):
    claims = read(
        tmp_path,
        ENTRY + "  ours: {kind: runs, by: sure, text: '1 < 2'}\n"
        "- {id: two, place: '2', quote: so, instruction: a & b,\n"
        "   code: {kind: code, finding: against, text: never}}\n"
        "- {id: three, place: '3', quote: none}\n",
    )
    page = html.fromstring(ledger.show(claims).data)
    rows = page.findall(".//tbody/tr")
    assert [row.get("data-verdict") for row in rows] == [HOLDS, CONTRADICTED, CANNOT_BE_TOLD]
    assert [row.get("id") for row in rows] == ["claim-one", "claim-two", "claim-three"]
    assert '“RNNs <b>< LSTMs</b> & "GRUs"”' in rows[0].text_content()
    assert (
        "Read as: a sharp one" in rows[0].text_content()
        and "Here: 1 < 2." in rows[0].text_content()
    )
    assert "contradicted, by code" in rows[1].text_content() and "a & b" in rows[1].text_content()
    assert "None, in either place." in rows[2].text_content()
    choices = page.findall(".//label")
    assert [label.text_content().strip() for label in choices] == [
        "all (3)", "holds (1)", "does not follow (0)", "contradicted (1)", "cannot be told (1)",
    ]  # fmt: skip
    # In JupyterLab each that takes the focus keeps its arrow keys.
    focused = page.xpath(".//input | .//*[@tabindex]")
    assert len(focused) == 6 and all(e.get("data-lm-suppress-shortcuts") for e in focused)
    # Without a script all rows are there, and no filter that would do nothing.
    assert page.find(".//fieldset").get("hidden") is not None
    assert not any(row.get("hidden") for row in rows)


def test_the_filter_works_by_keyboard(visit):
    tab = visit(SITE / "notebooks" / "15_auditing_the_report.html")
    rows, said = tab.locator("#ledger tbody tr"), tab.locator("#ledger output")
    number = rows.count()
    tab.locator("#ledger input").first.focus()
    shown = 0
    for name in ledger.VERDICTS:
        tab.keyboard.press("ArrowDown")
        here = tab.locator("#ledger tbody tr:visible")
        assert {row.get_attribute("data-verdict") for row in here.all()} <= {name}
        assert said.inner_text() == f"{here.count()} of {number} claims"
        shown += here.count()
    assert shown == number
    tab.keyboard.press("ArrowDown")  # round to all again
    assert tab.locator("#ledger tbody tr:visible").count() == number
    assert not tab.complaints
