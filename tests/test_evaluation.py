"""Reading recorded runs beside the report."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from helpers.data import DATA, REPORT_CLASSES, load_handwriting, load_report
from helpers.evaluation import (
    accuracy_table,
    chosen_architectures,
    ensemble,
    hardest_files,
    makespan,
    pooled_confusion,
    recall_by_class,
    recorded,
    recorded_baselines,
    replay_stopping_rule,
    reported_among_seeds,
    score_baselines,
    seed_interval,
    sweep_costs,
)
from helpers.training import RESULTS, load_results

TEST_FILES = {
    "handwriting": [20, 20, 20, 20, 20],
    "cv_segments": [52, 243, 47, 48, 53],
}


@pytest.mark.parametrize("dataset", list(TEST_FILES))
@pytest.mark.parametrize("cell", ["SimpleRNN", "LSTM"])
def test_the_reports_numbers_were_copied_without_slips(dataset, cell):
    numbers = load_report()[dataset][cell]
    matrix = np.array(numbers["confusion"])
    assert matrix.sum(axis=1).tolist() == TEST_FILES[dataset]
    assert all(len(numbers[key]) == 5 for key in ("train_accuracy", "test_accuracy", "epochs"))
    # An accuracy is k of n, but the report prints some cut, some rounded (.8899 for 89 of 100).
    for key, n in (("test_accuracy", matrix.sum()),):
        k = np.array(numbers[key]) * n
        assert (np.abs(k - np.round(k)) < 0.06).all()
    right = np.trace(matrix) / matrix.sum()
    agrees = abs(right - numbers["test_accuracy"][numbers["best"] - 1]) < 1e-3
    assert agrees == ((dataset, cell) != ("cv_segments", "SimpleRNN"))  # figure 3.5 does not


@pytest.mark.parametrize("dataset", list(TEST_FILES))
def test_pooled_confusions_count_every_test_file_once_per_seed(dataset):
    runs, _, predictions = recorded(dataset)
    chosen = chosen_architectures(runs)
    for cell, number in chosen.items():
        here = runs[(runs["cell"] == cell) & (runs["architecture"] == number)]
        matrix = pooled_confusion(predictions, cell, number, REPORT_CLASSES[dataset])
        assert (matrix.sum(axis=1) == len(here) * np.array(TEST_FILES[dataset])).all()
        accuracy = np.trace(matrix) / matrix.sum()
        assert accuracy == pytest.approx(here["test_accuracy"].mean(), abs=1e-5)
        balanced = recall_by_class(matrix).mean()
        assert balanced == pytest.approx(here["test_balanced_accuracy"].mean(), abs=1e-5)


def test_the_architecture_is_chosen_on_validation_not_on_test():
    runs = pd.DataFrame(
        {
            "cell": ["LSTM"] * 4,
            "architecture": [1, 1, 2, 2],
            "validation_accuracy": [0.8, 0.9, 0.7, 0.8],
            "test_accuracy": [0.1, 0.2, 0.9, 0.9],
        }
    )
    assert chosen_architectures(runs) == {"LSTM": 1}


def test_the_accuracy_table_averages_seeds():
    runs = pd.DataFrame(
        {
            "architecture": [2, 2],
            "train_accuracy": [0.9, 1.0],
            "validation_accuracy": [0.8, 0.9],
            "test_accuracy": [0.7, 0.8],
            "test_balanced_accuracy": [0.6, 0.7],
        }
    )
    report = load_report()["handwriting"]["LSTM"]
    row = accuracy_table(runs, report).iloc[0]
    assert row["test"] == pytest.approx(0.75) and row["sd"] == pytest.approx(0.0707, abs=1e-4)
    assert row["lowest to highest"] == "0.70 to 0.80"
    assert row["report, test"] == 0.86 and row["report, train"] == 0.8869
    # Student's t with one degree of freedom: 12.706 standard errors of 0.05 each way, cut at 1.
    assert row["95 % interval"] == "0.115 to 1.000"
    assert not any(column.startswith("report") for column in accuracy_table(runs))


def test_a_reported_figure_is_placed_among_the_seeds():
    runs = pd.DataFrame(
        {"cell": "LSTM", "architecture": np.repeat([1, 2, 3], 2)}
        | {"test_accuracy": [0.7, 0.9, 0.87, 0.89, 0.3, 0.83]}
    )
    reported = {"LSTM": {"test_accuracy": [0.8799, 0.86, 0.8399]}}
    table = reported_among_seeds(runs, reported)
    assert table["report is"].tolist() == ["inside", "below", "above"]
    assert not len(reported_among_seeds(runs.assign(cell="GRU"), reported))


def test_the_hardest_files_come_first():
    rows = [
        ("r1", "x", "a", "b"),
        ("r2", "x", "a", "b"),
        ("r1", "y", "a", "a"),
        ("r2", "y", "a", "c"),
    ]
    rows += [("r1", "z", "b", "b"), ("r2", "z", "b", "b")]
    table = pd.DataFrame(rows, columns=["run", "file", "label", "predicted"]).assign(split="test")
    held_out = table.assign(split="validation", predicted="c")
    found = hardest_files(pd.concat([table, held_out]))
    assert found["file"].tolist() == ["x", "y", "z"]
    assert found["right"].tolist() == [0, 1, 2] and (found["runs"] == 2).all()
    assert found["taken_for"].tolist() == ["b", "c", ""]


def test_the_interval_over_seeds():
    low, high = seed_interval(np.array([0.76, 0.79, 0.82]))  # t = 4.303 with two degrees
    assert np.allclose(
        [low, high], [0.79 - 4.303 * 0.03 / 3**0.5, 0.79 + 4.303 * 0.03 / 3**0.5], atol=1e-4
    )
    assert seed_interval(np.array([0.99, 0.9, 0.99]))[1] == 1.0
    assert seed_interval(np.array([0.99, 0.99, 0.99])) == (0.99, 0.99)


def test_an_ensemble_averages_probabilities_of_test_files():
    rows = [
        ("r1", "test", "x", "a", 0.6, 0.4),  # two weak votes for a …
        ("r2", "test", "x", "a", 0.6, 0.4),
        ("r3", "test", "x", "a", 0.1, 0.9),  # … and a sure one for b
        ("r1", "validation", "x", "a", 1.0, 0.0),  # another split has no say
        ("r1", "test", "y", "b", 0.2, 0.8),
        ("r2", "test", "y", "b", 0.4, 0.6),
        ("r3", "test", "y", "b", 0.7, 0.3),
    ]
    table = pd.DataFrame(rows, columns=["run", "split", "file", "label", "p1", "p2"])
    found = ensemble(table, ["a", "b"])
    assert found["file"].tolist() == ["x", "y"] and found["label"].tolist() == ["a", "b"]
    assert found["predicted"].tolist() == ["b", "b"]
    assert np.allclose(found[["p1", "p2"]], [[1.3 / 3, 1.7 / 3], [1.3 / 3, 1.7 / 3]])


def test_what_a_sweep_costs():
    seconds = [4, 1, 1, 1, 1, 6]
    assert makespan(seconds, 1) == 14
    assert makespan(seconds, 2) == 10  # 4, then 6; beside it 1 four times
    assert makespan(seconds, 200) == 6
    runs = pd.DataFrame(
        {"protocol": ["b"] * 4 + ["a"] * 2, "seconds": [3600.0 * s for s in seconds]}
    )
    costs = sweep_costs(runs, (2,))
    assert costs["protocol"].tolist() == ["b", "a", "all"] and costs["runs"].tolist() == [4, 2, 6]
    assert costs["core hours"].tolist() == [7, 7, 14]
    assert costs["hours on 2 cores"].tolist() == [4, 6, 10]


def test_replaying_the_stopping_rule():
    assert replay_stopping_rule([1, 0.5, 0.49995, 0.3]) == 3
    assert np.isnan(replay_stopping_rule([1, 0.5, 0.4]))


def test_asking_for_runs_that_are_not_there():
    with pytest.raises(ValueError, match="found no report runs of handwriting; expected some"):
        recorded("handwriting", protocol="report", cells=("none",))


def test_recorded_baselines_are_those_of_the_data_of_the_runs():
    table = pd.read_csv(RESULTS / "baselines.csv")
    runs = load_results()["runs"]
    for dataset, sizes in TEST_FILES.items():
        digests = set(table[table["dataset"] == dataset]["data"])
        assert digests == set(runs[runs["dataset"] == dataset]["data"])
        baselines = recorded_baselines(dataset)
        assert baselines["majority class"] == pytest.approx(max(sizes) / sum(sizes), abs=1e-5)
        assert max(baselines.values()) > baselines["majority class"] + 0.2


def test_baselines_are_scored_on_the_test_split():
    dataset = load_handwriting(DATA / "sample")
    scores = score_baselines(dataset).set_index("model")["test_accuracy"]
    assert scores["majority class"] == 0.2
    swapped = dataclasses.replace(dataset, test=dataset.train.subset(range(69)))
    assert score_baselines(swapped)["test_accuracy"].iloc[0] in (0, 1)  # one class only
    assert scores["logistic regression"] > 0.9
