"""The stopping rule and one run."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score
from toys import quick, toy_dataset

from experiments.batches import BATCHES
from helpers.padding import mask_of, padded_batches
from helpers.training import (
    AverageErrorStop,
    fit,
    predict,
    settings_for,
    split_validation,
    stopped_after,
)


@pytest.fixture(scope="module")
def toy():
    return toy_dataset()


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
    assert stopped_after(errors) == stopped
    rule = AverageErrorStop()
    rule.set_model(SimpleNamespace(stop_training=False))
    rule.on_train_begin()
    for epoch, error in enumerate(errors):
        rule.on_epoch_end(epoch, {"loss": error})
        if rule.model.stop_training:
            break
    assert rule.stopped_epoch == stopped


def test_the_stopping_rule_starts_afresh_in_a_second_fit():
    rule = AverageErrorStop()
    rule.set_model(SimpleNamespace(stop_training=False))
    for _ in range(2):
        rule.on_train_begin()
        rule.on_epoch_end(0, {"loss": 0.5})
        assert not rule.model.stop_training


def test_the_threshold_must_be_positive():
    with pytest.raises(ValueError, match="found threshold 0; expected a positive number"):
        stopped_after([1.0, 0.5], 0)


def test_the_report_protocol_stops_by_its_rule(toy, monkeypatch):
    monkeypatch.setattr("helpers.training.stopped_after", lambda e: stopped_after(e, 10.0))
    settings = settings_for("handwriting", "SimpleRNN", 5, 0, "report", max_epochs=9)
    assert settings.validation == 0
    run = fit(toy, settings, progress=False)
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
    run = fit(toy, quick(layer="LSTM", max_epochs=40, patience=40), progress=False)
    row, table = run.row, run.predictions
    assert row["run"] == "handwriting-LSTM-5-validated-0"
    assert row["data"] == toy.digest and row["origin"] == "other"
    assert row["epochs"] == len(run.curve) == 40
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
    run = fit(toy, quick(max_epochs=20, patience=20, learning_rate=0.3), progress=False)
    assert run.row["best_epoch"] < run.row["epochs"]  # else there would be nothing to restore
    _, held = split_validation(toy.train, 0.15, seed=0)
    p = predict(run.model, held.x, 2.0)
    loss = -np.log(p[np.arange(len(held)), held.y]).mean()
    assert loss == pytest.approx(run.curve["val_loss"].min(), abs=1e-4)


def test_refitting_uses_the_validation_files_for_as_many_epochs_as_they_chose(toy, monkeypatch):
    seen = []

    def batches(x, batch_size, value, y=None, files=None, **options):
        if options:  # it trains
            seen.append(files)
        return padded_batches(x, batch_size, value, y, files, **options)

    plain = fit(toy, quick(max_epochs=20, patience=20, learning_rate=0.3), progress=False)
    monkeypatch.setattr("helpers.training.padded_batches", batches)
    run = fit(toy, quick(max_epochs=20, patience=20, learning_rate=0.3, refit=True), progress=False)
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
        fit(toy, settings_for("cv_segments", "LSTM", 4, 0), progress=False)
    for dataset, protocol in (("handwriting", "valid"), ("strokes", "report")):
        with pytest.raises(ValueError, match=f"found protocol '{protocol}' of '{dataset}'"):
            settings_for(dataset, "LSTM", 4, 0, protocol)
    by_length = settings_for("handwriting", "LSTM", 4, 0, batches="by_length")
    with pytest.raises(ValueError, match="batches 'by_length': found make_batches None; expected"):
        fit(toy, by_length, progress=False)


def test_the_rate_falls_to_nothing_and_gradients_are_clipped(toy):
    run = fit(toy, quick(max_epochs=3, clip=0.5, decay=True), progress=False)
    adam = run.model.optimizer
    steps = int(adam.iterations)
    assert adam.global_clipnorm == 0.5 and steps > 3
    assert float(adam.learning_rate) == pytest.approx(0, abs=1e-6)
    plain = fit(toy, quick(max_epochs=1, clip=0.0, decay=False), progress=False)
    assert plain.model.optimizer.global_clipnorm is None
    assert float(plain.model.optimizer.learning_rate) == pytest.approx(3e-3)


def test_each_split_is_scored_from_its_own_predictions(toy):
    run = fit(toy, quick(max_epochs=2), progress=False)
    train, held = split_validation(toy.train, 0.15, seed=0)
    for name, split in (("train", train), ("validation", held), ("test", toy.test)):
        right = predict(run.model, split.x, 2.0).argmax(axis=1) == split.y
        assert run.row[f"{name}_accuracy"] == pytest.approx(right.mean()), name


def test_reading_backwards_is_training_on_reversed_strokes(toy):
    reverse = lambda s: s.with_x([x[::-1] for x in s.x])  # noqa: E731
    mirrored = dataclasses.replace(toy, train=reverse(toy.train), test=reverse(toy.test))
    there = fit(toy, quick(backwards=True), progress=False)
    back = fit(mirrored, quick(), progress=False)
    assert there.curve["loss"].tolist() == back.curve["loss"].tolist()
    assert there.curve["loss"].tolist() != fit(toy, quick(), progress=False).curve["loss"].tolist()


def test_without_a_mask_padding_is_read(toy):
    run = fit(toy, quick(masked=False), progress=False)
    x = toy.test.x[:2]
    value, length = 2.0, 178
    full = np.full((2, length, 2), value, np.float32)
    for row, s in zip(full, x, strict=True):
        row[: len(s)] = s
    known = run.predictions[run.predictions["split"] == "test"].head(2)[["p1", "p2", "p3"]]
    assert np.allclose(run.model.predict(full, verbose=0), known, atol=1e-3)
    assert not np.allclose(run.model.predict(full[:, :20], verbose=0), known, atol=1e-2)


def test_batches_on_trial_have_to_be_given(toy):
    with pytest.raises(ValueError, match="by_length': found make_batches None"):
        fit(toy, quick(batches="by_length"), progress=False)


@pytest.mark.parametrize("name", ["by_length", "by_length_full", "shuffled_handfuls"])
def test_batches_on_trial_hold_what_they_say(name, toy):
    x, y = toy.train.x, toy.train.y
    batches = list(BATCHES[name](x, 8, 2.0, y, shuffle_seed=1))
    assert len(batches) == BATCHES[name](x, 8, 2.0, y, shuffle_seed=1).cardinality()
    sizes = [len(labels) for _, labels in batches]
    ranges = [np.ptp(mask_of(padded.numpy(), 2.0).sum(axis=1)) for padded, _ in batches]
    assert set(sizes) == {8} if name == "by_length_full" else sum(sizes) == len(x)
    assert (max(ranges) <= 5) == name.startswith("by_length")
    again = list(BATCHES[name](x, 8, 2.0, y, shuffle_seed=1))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(batches, again, strict=True))
