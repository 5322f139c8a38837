"""The stopping rule, one run, the tables of runs and sweeps."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from helpers.data import DATA, REPORT_CLASSES, SequenceDataset, Sequences, load_cv_segments
from helpers.padding import bucketed_batches
from helpers.training import (
    FOLDS,
    PROTOCOLS,
    RESULTS,
    AverageErrorStop,
    config,
    fit,
    grid,
    load_results,
    predict,
    split_test,
    split_validation,
    sweep,
)


@pytest.fixture(scope="module")
def toy():
    """Strokes whose class is the side to which they go: learned within a few epochs."""

    def sequences(n, seed):
        rng = np.random.default_rng(seed)
        y = np.arange(n) % 3
        x = [
            np.column_stack(
                [np.linspace(0, 1, t), np.linspace(0, k - 1, t) + rng.normal(0, 0.05, t)]
            ).astype(np.float32)
            for k, t in zip(y, rng.integers(3, 20, n), strict=True)
        ]
        files = tuple(f"c/{seed}/{i}.txt" for i in range(n))
        return Sequences(x, y, files, np.array([str(i) for i in range(n)]))

    return SequenceDataset(
        "handwriting", ("a", "b", "c"), sequences(60, 1), sequences(30, 2), "toy", {"a": {}}
    )


def quick(seed=0, architecture=5, cell="SimpleRNN", **changes):
    settings = {"scaling": "none", "max_epochs": 3, "patience": 5, **changes}
    return config("handwriting", cell, architecture, seed, **settings)


def replay(errors, threshold=1e-4):
    rule = AverageErrorStop(threshold)
    rule.set_model(SimpleNamespace(stop_training=False))
    rule.on_train_begin()
    for epoch, error in enumerate(errors):
        rule.on_epoch_end(epoch, {"loss": error})
        if rule.model.stop_training:
            break
    return rule.stopped_epoch


@pytest.mark.parametrize(
    ("errors", "stopped"),
    [
        ([1.0, 0.5, 0.49995, 0.3], 3),
        ([1.0, 0.5, 0.50005, 0.3], 3),  # a small rise counts as well
        ([1.0, 1.1, 1.0, 1.1], None),  # no improvement, yet no stop: not EarlyStopping
        ([1.0, 0.9998, 0.9996], None),
        ([0.5], None),
        ([0.5, 0.5], 2),
    ],
)
def test_the_stopping_rule(errors, stopped):
    assert replay(errors) == stopped


def test_the_stopping_rule_starts_afresh_in_a_second_fit():
    rule = AverageErrorStop()
    rule.set_model(SimpleNamespace(stop_training=False))
    for _ in range(2):
        rule.on_train_begin()
        rule.on_epoch_end(0, {"loss": 0.5})
        assert not rule.model.stop_training


def test_the_threshold_must_be_positive():
    with pytest.raises(ValueError, match="found threshold 0; expected a positive number"):
        AverageErrorStop(0)


def test_the_report_protocol_stops_by_its_rule(toy, monkeypatch):
    monkeypatch.setattr("helpers.training.AverageErrorStop", lambda: AverageErrorStop(10.0))
    settings = dataclasses.asdict(config("handwriting", "SimpleRNN", 5, 0, "report"))
    assert settings["validation"] == 0
    run = fit(toy, config("handwriting", "SimpleRNN", 5, 0, "report", max_epochs=9), progress=False)
    assert run.row["epochs"] == 2 and "validation_accuracy" not in run.row
    assert list(run.curve.columns) == ["run", "epoch", "accuracy", "loss"]


def test_validation_comes_from_train_and_is_stratified(toy):
    kept, held = split_validation(toy.train, 0.2, seed=1)
    assert set(kept.files) | set(held.files) == set(toy.train.files)
    assert not set(kept.files) & set(held.files)
    assert np.bincount(held.y).tolist() == [4, 4, 4]
    assert split_validation(toy.train, 0.2, 1)[1].files == held.files
    assert split_validation(toy.train, 0.2, 2)[1].files != held.files
    assert split_validation(toy.train, 0, 1) == (toy.train, None)


def test_a_run_records_what_it_says(toy):
    run = fit(toy, quick(cell="LSTM", max_epochs=25), progress=False)
    row, table = run.row, run.predictions
    assert row["run"] == "handwriting-LSTM-5-validated-0"
    assert row["data"] == toy.digest and row["origin"] == "other"
    assert row["epochs"] == len(run.curve) == 25
    assert row["best_epoch"] == run.curve["val_loss"].idxmin() + 1
    for split, sequences in (("test", toy.test), ("validation", None)):
        rows = table[table["split"] == split]
        assert (rows["label"] == rows["predicted"]).mean() == pytest.approx(
            row[f"{split}_accuracy"]
        )
        if sequences:
            assert tuple(rows["file"]) == sequences.files
            assert rows["label"].tolist() == [toy.classes[k] for k in sequences.y]
    test = table[table["split"] == "test"]
    assert row["test_balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(test["label"], test["predicted"])
    )
    assert row["test_accuracy"] > 0.8  # it learned
    assert row["parameters"] == run.model.count_params()


def test_the_weights_of_the_best_validation_epoch_are_kept(toy):
    run = fit(toy, quick(max_epochs=8, learning_rate=0.3), progress=False)
    assert run.row["best_epoch"] < run.row["epochs"]  # else there would be nothing to restore
    _, held = split_validation(toy.train, 0.15, seed=0)
    p = predict(run.model, held.x, 2.0)
    loss = -np.log(p[np.arange(len(held)), held.y]).mean()
    assert loss == pytest.approx(run.curve["val_loss"].min(), abs=1e-4)


def test_refitting_uses_the_validation_files_for_as_many_epochs_as_they_chose(toy, monkeypatch):
    seen = []

    def batches(x, y, *args, files, **options):
        seen.append(files)
        return bucketed_batches(x, y, *args, files=files, **options)

    plain = fit(toy, quick(max_epochs=8, learning_rate=0.3), progress=False)
    monkeypatch.setattr("helpers.training.bucketed_batches", batches)
    run = fit(toy, quick(max_epochs=8, learning_rate=0.3, refit=True), progress=False)
    kept, _ = split_validation(toy.train, 0.15, seed=0)
    assert seen == [kept.files, toy.train.files]
    assert plain.row["best_epoch"] < plain.row["epochs"]
    assert run.row["epochs"] == run.row["best_epoch"] == plain.row["best_epoch"]
    assert "validation_accuracy" not in run.row and set(run.predictions["split"]) == {"test"}
    assert "val_loss" not in run.curve and len(run.curve) == run.row["epochs"]
    with pytest.raises(ValueError, match="refit: found validation 0; expected a share"):
        fit(toy, quick(validation=0.0, refit=True), progress=False)


def test_the_same_seed_gives_the_same_run(toy):
    first, again, other = (fit(toy, quick(seed), progress=False) for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(first.curve, again.curve)
    pd.testing.assert_frame_equal(first.predictions, again.predictions)
    assert first.curve["loss"].tolist() != other.curve["loss"].tolist()


def test_class_weights_change_training_only(toy):
    plain, weighted = (
        fit(toy, quick(class_weights=w, max_epochs=1), progress=False) for w in (False, True)
    )
    # Balanced classes weigh 1 each, so that nothing changes but for rounding.
    assert plain.curve["loss"][0] == pytest.approx(weighted.curve["loss"][0], abs=1e-5)
    few = np.concatenate([np.flatnonzero(toy.train.y != 0), np.flatnonzero(toy.train.y == 0)[:8]])
    uneven = dataclasses.replace(toy, train=toy.train.subset(few))
    plain, weighted = (
        fit(uneven, quick(class_weights=w, max_epochs=1), progress=False) for w in (False, True)
    )
    assert abs(plain.curve["loss"][0] - weighted.curve["loss"][0]) > 1e-3


def test_the_wrong_data_set_is_refused(toy):
    with pytest.raises(ValueError, match="found handwriting data; expected cv_segments"):
        fit(toy, config("cv_segments", "LSTM", 4, 0), progress=False)


def test_a_sweep_goes_on_where_it_was(toy, tmp_path):
    grid = [quick(seed, max_epochs=1) for seed in (0, 1)]
    assert sweep({"handwriting": toy}, grid[:1], tmp_path, processes=1) == 1
    assert sweep({"handwriting": toy}, grid, tmp_path, processes=1) == 1
    assert sweep({"handwriting": toy}, grid, tmp_path, processes=1) == 0
    tables = load_results(tmp_path)
    assert sorted(tables["runs"]["run"]) == [c.run for c in grid]
    assert len(tables["predictions"]) == 2 * (9 + 30)
    # Other settings under the same name: made again, and it takes the old run's place.
    changed = [dataclasses.replace(grid[0], learning_rate=0.01)]
    assert sweep({"handwriting": toy}, changed, tmp_path, processes=1) == 1
    runs = load_results(tmp_path)["runs"]
    assert len(runs) == 2 and 0.01 in runs["learning_rate"].tolist()


def test_runs_on_other_data_are_not_replaced(toy, tmp_path):
    grid = [quick(0, max_epochs=1)]
    sweep({"handwriting": toy}, grid, tmp_path, processes=1)
    other = dataclasses.replace(toy, digests={"a": {"train": {}}})
    with pytest.raises(ValueError, match=f"found runs on handwriting data {toy.digest}"):
        sweep({"handwriting": other}, grid, tmp_path, processes=1)
    assert load_results(tmp_path)["runs"]["data"].tolist() == [toy.digest]


def test_a_run_without_its_row_does_not_count(toy, tmp_path):
    grid = [quick(seed, max_epochs=1) for seed in (0, 1)]
    sweep({"handwriting": toy}, grid, tmp_path, processes=1)
    runs = pd.read_csv(tmp_path / "runs.csv")
    runs[runs["seed"] == 0].to_csv(tmp_path / "runs.csv", index=False)  # killed before the row
    assert set(load_results(tmp_path)["curves"]["run"]) == {grid[0].run}
    assert sweep({"handwriting": toy}, grid, tmp_path, processes=1) == 1
    tables = load_results(tmp_path)
    assert not tables["predictions"].duplicated(["run", "split", "file"]).any()
    assert len(tables["curves"]) == 2


def test_the_recorded_runs_add_up():
    tables = load_results(RESULTS)
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
    sizes = {"handwriting": [100], "cv_segments": [443], "by_file": [354, 355]}
    tested = tables["predictions"].query("split == 'test'").groupby("run").size()
    for run, size in tested.items():
        dataset, split = runs.loc[run, ["dataset", "split"]]
        if split != "by_speaker":
            assert size in sizes[split if split == "by_file" else dataset], run
    # The class predicted is the likeliest, up to the rounding of the probabilities.
    test = tables["predictions"].query("split == 'test'")
    p = test.filter(regex="^p[1-5]$").to_numpy()
    named = test["predicted"].map(
        {c: k for classes in REPORT_CLASSES.values() for k, c in enumerate(classes)}
    )
    chosen = p[np.arange(len(p)), named]
    assert (p.max(axis=1) - chosen < 0.0011).all() and np.allclose(p.sum(axis=1), 1, atol=0.003)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_run_of_the_grid_is_recorded_and_no_other(protocol):
    runs = load_results(RESULTS)["runs"].query("protocol == @protocol")
    found = {row.run: row for row in runs.itertuples()}
    expected = grid([protocol])
    assert set(found) == {settings.run for settings in expected} and len(runs) == len(expected)
    for settings in expected:
        for key, value in dataclasses.asdict(settings).items():
            assert getattr(found[settings.run], key) == value, (settings.run, key)


def test_folds_by_speaker_keep_every_speaker_on_one_side():
    dataset = load_cv_segments(DATA / "sample")
    for split in ("by_file", "by_speaker"):
        tested = []
        for seed in range(FOLDS):
            train, test = split_test(dataset, split, seed)
            shared = set(train.groups) & set(test.groups)
            assert bool(shared) == (split == "by_file")
            fit, held = split_validation(train, 0.1, seed, by_speaker=split == "by_speaker")
            assert bool(set(fit.groups) & set(held.groups)) == (split == "by_file")
            assert not set(train.files) & set(test.files)
            tested += test.files
        assert sorted(tested) == sorted(dataset.train.files)  # each once, and no test file
    with pytest.raises(ValueError, match="found split 'other'; expected one of delivered, by_file"):
        split_test(dataset, "other", 0)


def test_the_rate_falls_to_nothing_and_gradients_are_clipped(toy):
    run = fit(toy, quick(max_epochs=3, clip=0.5, decay=True), progress=False)
    adam = run.model.optimizer
    steps = int(adam.iterations)
    assert adam.global_clipnorm == 0.5 and steps > 3
    assert float(adam.learning_rate) == pytest.approx(0, abs=1e-6)
    plain = fit(toy, quick(max_epochs=1, clip=0.0, decay=False), progress=False)
    assert plain.model.optimizer.global_clipnorm is None
    assert float(plain.model.optimizer.learning_rate) == pytest.approx(3e-3)
