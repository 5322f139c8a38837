"""Networks that write: steps, copies, writing, judging, and the recorded runs."""

import dataclasses
import json
from functools import partial

import numpy as np
import pandas as pd
import pytest

from experiments import writing
from experiments.pen import packed
from experiments.plan import WRITING, WRITING_SEEDS, planned_writing_runs
from experiments.sweep import sweep
from experiments.writing import (
    PADDING,
    PENS,
    TWO_NOISES,
    Copies,
    Judges,
    WritingSettings,
    build,
    distances,
    inputs,
    path,
    pen_steps,
    pixel_of,
    predicted,
    references,
    targets,
    train,
    write,
)
from helpers.cells import LSTM, Network
from helpers.data import DATA, load_handwriting
from helpers.mixture import mixture_density, width
from helpers.padding import resample_by_arc_length
from helpers.runs import RESULTS, WRITING_FILES, load_tables

QUICK = WritingSettings("quick", 3, components=2, units=8, epochs=2)


@pytest.fixture
def rng():
    return np.random.default_rng(17)


@pytest.fixture(scope="module")
def dataset():
    """Return every fifth training and test stroke of the sample."""
    whole = load_handwriting(DATA / "sample")
    few = {name: getattr(whole, name) for name in ("train", "test")}
    few = {name: split.subset(range(0, len(split), 5)) for name, split in few.items()}
    return dataclasses.replace(whole, **few)


@pytest.fixture(scope="module")
def judges(dataset):
    return Judges(dataset, recurrent=False)


def test_pixels_are_found_and_strokes_stand_on_them(dataset):
    pixel = pixel_of(dataset.train.x)
    assert pixel == pytest.approx(1 / 150, rel=1e-3)
    for x in dataset.train.x:
        places = (x - x[0]) / pixel
        assert np.abs(places - places.round()).max() < 0.02


def test_steps_lead_along_the_stroke_at_equal_distances(dataset):
    pixel = pixel_of(dataset.train.x)
    for x in dataset.train.x[:10]:
        raw, even = pen_steps(x / pixel, 0), pen_steps(x / pixel)
        assert np.allclose(path(raw), (x - x[0]) / pixel, atol=0.02)
        assert (even == even.round()).all() and even.dtype == np.float32
        # Rounding moves either end of a step by half a pixel at most, on each axis.
        assert np.linalg.norm(even, axis=1).max() < 4.2 + np.sqrt(2)
        line = resample_by_arc_length(path(raw), 2000)
        gaps = np.linalg.norm(path(even)[:, None] - line, axis=-1)
        assert gaps.min(axis=1).max() < 0.8  # half a diagonal, and the line's own gaps
    assert np.array_equal(pen_steps(np.zeros((5, 2))), [[0, 0]])


def test_the_network_reads_what_came_before_and_is_asked_for_what_comes(rng):
    steps = np.array([[3.0, 4], [0, 4], [-4, 0]])
    x = inputs(steps, 1, 3)
    assert np.allclose(x[:, :2] * 2, [[0, 0], [3, 4], [0, 4]])
    assert np.allclose(x[:, 2:4] * 30, [[0, 0], [3, 4], [3, 8]])
    assert np.array_equal(x[:, 4], [1, 0, 0]) and (x[:, 5:] == [0, 1, 0]).all()
    assert not inputs(steps, None, 3)[:, 5:].any()
    assert np.array_equal(targets(steps), [[3, 4, 0], [0, 4, 0], [-4, 0, 1]])
    moved = targets(np.zeros((9999, 2)), rng)[:, :2]
    assert np.abs(moved).max() <= 0.5 and moved.var() == pytest.approx(1 / 12, rel=0.05)


def test_copies_are_distorted_anew_or_not_at_all(dataset):
    strokes = [x / pixel_of(dataset.train.x) for x in dataset.train.x]
    settings = dataclasses.replace(QUICK, dequantised=False)
    still = Copies(strokes, dataset.train.y, 5, settings, strength=0)
    x, y = next(still.epoch())
    assert np.array_equal(next(still.epoch())[0], x)
    first = pen_steps(strokes[0])
    assert np.array_equal(x[0, : len(first)], inputs(first, dataset.train.y[0], 5))
    assert np.array_equal(y[0, : len(first)], targets(first)) and not y[0, len(first) :].any()
    assert (x[0, len(first) :] == PADDING).all()
    moving = Copies(strokes, dataset.train.y, 5, settings)
    once, again = ([*moving.epoch()] for _ in range(2))
    assert len(once) == len(moving) == -(-len(strokes) // 32)
    assert sum(len(x) for x, _ in once) == len(strokes)
    classes = [np.concatenate([x[:, 0, 5:] for x, _ in epoch]) for epoch in (once, again)]
    assert not np.array_equal(*classes)  # another order
    assert np.array_equal(*(c.sum(axis=0) for c in classes))
    assert next(iter(moving.dataset()))[0].shape[2] == 10


def test_squared_error_is_a_gaussian_whose_shape_stays(dataset):
    settings = dataclasses.replace(QUICK, components=0)
    model = build(settings, 10, 4)
    x, y = Copies([x * 150 for x in dataset.train.x[:32]], dataset.train.y, 5, settings).batch(
        range(32)
    )
    model.fit(x, y, verbose=0)
    W_y, b_y = model.layers[-1].get_weights()
    assert not W_y[:, [0, 3, 4, 5]].any() and not b_y[[0, 3, 4, 5]].any()
    assert W_y[:, [1, 2, 6]].all()


def test_the_loss_of_training_is_the_mean_over_real_steps(dataset):
    network, curve = train(dataset, QUICK, progress=False)
    assert list(curve.columns) == ["run", "epoch", "loss", "val_loss"] and len(curve) == 2
    held_out = dataset.train
    steps = [pen_steps(x / pixel_of(held_out.x)) for x in held_out.x]
    a_y, y, starts = predicted(network, steps, held_out.y, 5, QUICK)
    assert len(a_y) == len(y) == sum(map(len, steps)) and y[:, 2].sum() == len(steps)
    assert np.array_equal(starts[1:] - 1, np.flatnonzero(y[:, 2])[:-1])
    # Of other strokes in part, but of the same network: near, if padding counts for nothing.
    nll = mixture_density(a_y, y)[0].mean()
    assert nll == pytest.approx(curve["val_loss"].iloc[-1], rel=0.1)


def test_a_network_writes_what_it_would_read(rng):
    network = Network.random(rng, LSTM, 8, [6], width(2)).astype(np.float32)
    network.b_y[-1] = -3
    labels = [0, 2, None]
    begun = [np.array([[3.0, 4], [0, 4]])] * 3
    written = write(network, labels, 3, np.random.default_rng(1), begun, temperature=0.5)
    for steps in written:
        assert np.array_equal(steps[:2], begun[0]) and 2 < len(steps) <= writing.LONGEST
        assert (steps == steps.round()).all()
    # Read at one go, it says at each step what it said while writing: the most likely one at 0.
    (steps,) = write(network, [2], 3, rng, temperature=0.0)
    a_y = network.outputs(inputs(steps, 2, 3)[None], every_step=True)[0]
    heaviest = a_y[:, :2].argmax(axis=1)
    mu = a_y[:, 2:6].reshape(-1, 2, 2)[np.arange(len(steps)), heaviest]
    assert np.allclose(steps, np.round(mu), atol=1)
    assert (a_y[:-1, -1] <= 0).all()


def test_a_pen_is_as_surprised_by_its_draws_as_it_says(rng):
    """Drawn and never read, or written and read: with one probability of each step, entropy."""
    network = Network.random(rng, LSTM, 8, [6], width(2)).astype(np.float32)
    settings, labels = WritingSettings("any", 0, components=2), [0] * 60
    for taken in (0.0, TWO_NOISES):
        own = write(network, labels, 3, rng, taken=taken)
        options = (network, own, labels, 3, settings, taken)
        read, drawn = writing.surprises(*options), writing.surprises(*options, rng)
        assert len(read) == len(drawn) == sum(map(len, own))
        gap = read.mean() - drawn.mean()
        assert abs(gap) < 4 * np.hypot(read.std(), drawn.std()) / np.sqrt(len(read))


def test_distances_and_scores_by_hand(judges, dataset):
    shapes = np.zeros((2, 80))
    shapes[1, ::2], shapes[1, 1::2] = 3, 4
    assert np.allclose(distances(shapes, shapes), [[0, 5], [5, 0]])
    real = [pen_steps(x / pixel_of(dataset.train.x)) for x in dataset.train.x]
    scores = judges.scores(real, dataset.train.y)
    assert scores["linear"] > 0.95 and scores["nearest"] == pytest.approx(0, abs=1e-6)
    assert scores["finished"] == 1 and 0.02 < scores["spread"] < 0.4
    same = judges.scores([real[0]] * 4, np.full(4, dataset.train.y[0]))
    assert same["spread"] == 0 and same["linear"] in (0, 1)


@pytest.mark.slow
def test_runs_are_recorded_once(dataset, judges, tmp_path):
    planned = [QUICK, dataclasses.replace(QUICK, variant="raw", distance=0)]
    function = partial(writing.run, judges=judges)
    options = {"files": WRITING_FILES, "function": function, "processes": 1}
    assert sweep({"handwriting": dataset}, planned, tmp_path, **options) == 2
    assert sweep({"handwriting": dataset}, planned, tmp_path, **options) == 0
    tables = load_tables(WRITING_FILES, tmp_path)
    assert len(tables["runs"]) == 2 and len(tables["curves"]) == 4
    assert len(tables["scores"]) == 2 * len(PENS)
    assert (tables["runs"]["test_pixel"] > 0).all()
    changed = [dataclasses.replace(QUICK, epochs=1)]
    assert sweep({"handwriting": dataset}, changed, tmp_path, **options) == 1


def test_a_class_of_one_stroke_cannot_end_another(rng):
    strokes, labels = [np.ones((4, 2))] * 3, np.array([0, 0, 1])
    with pytest.raises(ValueError, match="class number 1: found 1 strokes; expected 2 or more"):
        writing.ended_by(strokes, labels, labels, rng)


def test_the_rules_without_a_network(dataset, judges):
    table = references(dataset, judges).set_index("name")
    assert table["test_nll"].dropna().is_monotonic_decreasing  # each rule knows more
    assert table.loc["real strokes", "linear"] > 0.8


def test_the_network_of_the_page_is_tested_as_it_is_stored(dataset, judges, rng, monkeypatch):
    units, components = writing.PAGE_NETWORK["units"], writing.PAGE_NETWORK["components"]
    network = Network.random(rng, LSTM, 10, [units], width(components)).astype(np.float32)
    monkeypatch.setattr(writing, "train", lambda *_, **__: (network, None))
    monkeypatch.setattr(writing, "PER_CLASS", 2)
    page = writing.page_network(dataset, judges)
    assert [w.shape for w in page["weights"]] == [w.shape for w in network.weights.values()]
    assert all((w == w.astype(np.float16)).all() for w in page["weights"])
    page["weights"] = packed(page["weights"])
    page = json.loads(json.dumps(page))
    assert 0 <= page["written"] <= 1 and 0 <= page["primed"] <= 1
    assert page["pixel"] == pixel_of(dataset.train.x) and page["data"] == dataset.digest


def test_the_recorded_runs_are_those_of_the_plan():
    tables = load_tables(WRITING_FILES)
    runs = tables["runs"].set_index("run")
    planned = {settings.name: settings for settings in planned_writing_runs()}
    assert len(planned) == len(WRITING) * len(WRITING_SEEDS)
    assert set(runs.index) == set(planned) and runs.index.is_unique
    assert (runs["origin"] == "course").all() and len(set(runs["data"])) == 1
    for name, settings in planned.items():
        for key, value in dataclasses.asdict(settings).items():
            assert runs.loc[name, key] == value, (name, key)
    for name, curve in tables["curves"].groupby("run"):
        assert curve["epoch"].tolist() == list(range(1, planned[name].epochs + 1))
        assert curve["val_loss"].iloc[-1] == runs.loc[name, "validation_nll"]
    kept = {"temperature": 1.0, "taken": 0.0, "least": 0.0}
    pens = [tuple((kept | pen).values()) for pen in PENS]
    for name, scores in tables["scores"].groupby("run"):
        assert name in planned and np.allclose(scores[list(kept)], pens, atol=1e-6)
    assert set(tables["scores"]["run"]) == set(planned)
    shares = tables["scores"][["linear", "lstm", "finished"]]
    assert ((shares >= 0) & (shares <= 1)).all(axis=None)
    references = pd.read_csv(RESULTS / "writing_references.csv")
    assert set(references["data"]) == set(runs["data"]) and len(references) == 9
