"""Reading recorded runs beside the report."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from experiments.findings import single_changes
from experiments.plan import PLAN, planned_runs
from helpers.data import REPORT_CLASSES
from helpers.runs import (
    RESULTS,
    RUN_FILES,
    crossed_interval,
    crossed_test,
    load_tables,
    recorded,
    recorded_baselines,
    seed_interval,
)

TEST_FILES = {
    "handwriting": [20, 20, 20, 20, 20],
    "cv_segments": [52, 243, 47, 48, 53],
}


@pytest.fixture(scope="module")
def tables():
    return load_tables(RUN_FILES)


def test_asking_for_runs_that_are_not_there():
    with pytest.raises(ValueError, match="found no report runs of handwriting; expected some"):
        recorded("handwriting", protocol="report", layers=("none",))


def test_recorded_baselines_are_those_of_the_data_of_the_runs(tables):
    table = pd.read_csv(RESULTS / "baselines.csv")
    runs = tables["runs"]
    for dataset, sizes in TEST_FILES.items():
        digests = set(table[table["dataset"] == dataset]["data"])
        assert digests == set(runs[runs["dataset"] == dataset]["data"])
        baselines = recorded_baselines(dataset)
        assert baselines["majority class"] == pytest.approx(max(sizes) / sum(sizes), abs=1e-5)
        assert max(baselines.values()) > baselines["majority class"] + 0.2


def test_the_recorded_runs_add_up(tables):
    runs = tables["runs"].set_index("run")
    assert runs.index.is_unique and (runs["origin"] == "course").all()
    curves = tables["curves"].groupby("run")["epoch"].agg(["max", "size"])
    curves = curves.reindex(runs.index)
    assert (curves["max"] == runs["epochs"]).all() and (curves["size"] == runs["epochs"]).all()
    right = tables["predictions"].assign(right=lambda t: t["label"] == t["predicted"])
    right = right.pivot_table(index="run", columns="split", values="right")
    assert set(right.index) == set(runs.index)
    for split in ("validation", "test"):
        recorded = runs.loc[right.index, f"{split}_accuracy"]
        assert np.allclose(right[split], recorded, atol=1e-5, equal_nan=True)
    assert right["test"].notna().all()
    unseen = (runs["validation"] > 0) & ~runs["refit"]
    assert (right["validation"].notna() == unseen[right.index]).all()
    # All of the test split, or a fifth of the train split; folds of whole speakers differ in size.
    sizes = {
        ("handwriting", "delivered"): {100},
        ("cv_segments", "delivered"): {443},
        ("handwriting", "by_file"): {69},
        ("cv_segments", "by_file"): {354, 355},
    }
    tested = tables["predictions"].query("split == 'test'").groupby("run").size()
    for run, size in tested.items():
        dataset, split = runs.loc[run, ["dataset", "split"]]
        if split != "by_speaker":
            assert size in sizes[dataset, split], run
    # The class predicted is the likeliest, up to the rounding of the probabilities.
    test = tables["predictions"].query("split == 'test'")
    p = test.filter(regex="^p[1-5]$").to_numpy()
    named = test["predicted"].map(
        {c: k for classes in REPORT_CLASSES.values() for k, c in enumerate(classes)}
    )
    chosen = p[np.arange(len(p)), named]
    assert (p.max(axis=1) - chosen < 0.0011).all() and np.allclose(p.sum(axis=1), 1, atol=0.003)


@pytest.mark.parametrize("protocol", dict.fromkeys(row.protocol for row in PLAN))
def test_every_planned_run_is_recorded_and_no_other(tables, protocol):
    runs = tables["runs"].query("protocol == @protocol")
    found = {row.run: row for row in runs.itertuples()}
    expected = planned_runs([protocol])
    assert set(found) == {settings.name for settings in expected} and len(runs) == len(expected)
    for settings in expected:
        for key, value in dataclasses.asdict(settings).items():
            assert getattr(found[settings.name], key) == value, (settings.name, key)


def test_the_interval_of_a_mean_over_seeds():
    # Student's t of two degrees of freedom: 4.303.
    low, high = seed_interval([0.4, 0.5, 0.6])
    assert (low, high) == pytest.approx(
        (0.5 - 4.303 * 0.1 / 3**0.5, 0.5 + 4.303 * 0.1 / 3**0.5), abs=1e-3
    )
    assert seed_interval([0.9, 1.0])[1] == 1 < seed_interval([0.9, 1.0], bounds=None)[1]
    assert seed_interval([0.7, 0.7]) == (0.7, 0.7)
    assert np.isnan(seed_interval([0.7])).all()  # one seed says nothing of others


def two_way(rng, seeds, files, by_seed, by_file, by_both):
    """Draw a table of seeds by files with effects of given standard deviations."""
    return (
        rng.normal(0, by_seed, (seeds, 1))
        + rng.normal(0, by_file, files)
        + rng.normal(0, by_both, (seeds, files))
    )


@pytest.mark.parametrize(("by_seed", "by_file"), [(0.3, 0.0), (0.0, 1.0), (0.2, 0.7)])
def test_the_crossed_test_keeps_its_level_whichever_factor_varies(by_seed, by_file):
    rng = np.random.default_rng(4)
    found = [
        crossed_test(two_way(rng, 8, 60, by_seed, by_file, 1.0), np.zeros((8, 60)))[3] < 0.05
        for _ in range(1500)
    ]
    assert 0.015 < np.mean(found) < 0.075


def test_the_crossed_test_finds_what_is_there_and_says_how_much():
    rng = np.random.default_rng(0)
    second = rng.random((10, 400)) < 0.5
    first = second | (rng.random((10, 400)) < 0.3)
    difference, low, high, p = crossed_test(first, second)
    assert difference == pytest.approx(first.mean() - second.mean())
    assert low < difference < high and p < 1e-6
    assert crossed_test(second, second) == (0, 0, 0, 1)
    assert crossed_test(second, first)[:3] == pytest.approx((-difference, -high, -low))


def test_crossed_intervals_grow_with_what_clusters():
    rng = np.random.default_rng(1)
    speakers = np.repeat(np.arange(20), 20)
    rate = np.clip(0.7 + rng.normal(0, 0.2, 20)[speakers], 0, 1)
    right = rng.random((6, 400)) < rate
    alone, bundled = crossed_interval(right), crossed_interval(right, groups=speakers)
    assert alone[0] < right.mean() < alone[1]
    assert np.ptp(bundled) > 1.5 * np.ptp(alone)
    assert crossed_interval(right) == alone  # the same draws


def test_crossed_intervals_of_balanced_accuracy_treat_classes_alike():
    right = np.array([[True] * 90 + [False, True] * 5] * 3)
    labels = np.array(["large"] * 90 + ["small"] * 10)
    low, high = crossed_interval(right, labels)
    assert low < (1.0 + 0.5) / 2 < high < 0.95 < crossed_interval(right)[1]


def test_single_changes_are_compared_by_seed_and_file():
    changes = ("by_length", "nowhere", "report")
    table = single_changes(["handwriting"], changes)
    assert set(table["change"]) <= {"by_length", "report"} and len(table)
    assert list(table["change"]) == sorted(table["change"], key=changes.index)
    row = table.query("change == 'report' and layer == 'LSTM' and architecture == 4").iloc[0]
    right = []
    for protocol in ("report", "validated"):
        _, _, p = recorded("handwriting", protocol, ["LSTM"])
        p = p.query("architecture == 4 and split == 'test' and seed < @row.seeds")
        p = p.assign(right=p["label"] == p["predicted"])
        right.append(p.pivot_table("right", "seed", "file").to_numpy())
    expected = crossed_test(*right)
    assert row[["difference", "low", "high", "p"]].tolist() == pytest.approx(expected)
    assert row["difference"] == pytest.approx(row["changed"] - row["base"])
    assert (table["holm"] >= table["p"]).all() and table["holm"].max() <= 1
    assert not len(single_changes(["handwriting"], ["nowhere"]))
    cells = single_changes(["handwriting"], ["report"], by=["layer"]).set_index("layer")
    apart = table.query("change == 'report'").groupby("layer")
    assert cells["seeds"].to_dict() == apart["seeds"].sum().to_dict()
    assert np.allclose(cells["difference"], apart["difference"].mean()[cells.index])
