"""Runs on utterances, and the recorded ones."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import some

from experiments import utterances
from experiments.plan import planned_symbol_runs
from experiments.utterances import (
    SEGMENTS,
    TEST_SETS,
    TranscriberSettings,
    inputs_and_targets,
    run,
    split_by_speaker,
    train,
    transcribe,
)
from helpers.data import load_cv_segments
from helpers.runs import SYMBOL_FILES, load_tables, recorded_transcripts
from helpers.transcription import KINDS, PADDING, Utterances, draw_utterances, error_rate

SMALL = {"units": 16, "dropout": 0.0, "noise": 0.0, "speed": 1.0, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def dataset():
    return load_cv_segments("data/sample")


@pytest.fixture(scope="module")
def splits(dataset):
    return split_by_speaker(dataset)


def test_no_speaker_is_in_two_splits_and_no_segment_is_lost(dataset, splits):
    groups = {name: set(split.groups) for name, split in splits.items()}
    assert sum(map(len, groups.values())) == len(set.union(*groups.values())) == 19
    files = [file for split in splits.values() for file in split.files]
    assert sorted(files) == sorted(dataset.train.files + dataset.test.files)
    for split in splits.values():  # and each speaker is scaled by what that speaker said
        for group in set(split.groups):
            frames = np.concatenate(
                [x for x, g in zip(split.x, split.groups, strict=True) if g == group]
            )
            assert np.allclose(frames.mean(axis=0), 0, atol=0.1)  # of every second frame
            assert np.allclose(frames.std(axis=0), 1, atol=0.1)


def test_what_networks_are_given_and_asked_for():
    x = [np.ones((5, 2), np.float32), np.zeros((3, 2), np.float32)]
    y, ends = [np.array([3, 3]), np.array([2])], [np.array([2, 5]), np.array([3])]
    two = Utterances(x, y, ends, np.array(["a", "b"]))
    padded, named = inputs_and_targets(two, "frames")
    assert named.tolist() == [[3, 3, 3, 3, 3], [2, 2, 2, -1, -1]]
    assert (padded[1, 3:] == PADDING).all()
    assert inputs_and_targets(two, "ctc")[1].tolist() == [[3, 3], [2, 0]]
    (_, before), after = inputs_and_targets(two, "attention", steps=4)
    assert before.tolist() == [[0, 3, 3, 0], [0, 2, 0, 0]]
    assert after.tolist() == [[3, 3, 0, -1], [2, 0, -1, -1]]


@pytest.mark.parametrize("kind", some(KINDS, ["ctc"]))
def test_a_network_learns_what_one_speaker_says(kind, splits):
    one = splits["train"].groups == splits["train"].groups[0]
    known = splits["train"].subset(np.flatnonzero(one))
    settings = TranscriberSettings(kind, 1, updates=150, **SMALL)
    model, curve = train({"train": known, "validation": known}, settings, 5, progress=False)
    assert curve["loss"].iloc[-1] < 0.75 * curve["loss"].iloc[0]
    drawn = draw_utterances(np.random.default_rng(5), known, 30, SEGMENTS)
    table = transcribe(model, drawn, kind, beam=8)
    error = error_rate(drawn.y, table["voted" if kind == "frames" else "greedy"])
    assert error < (0.8 if kind == "attention" else 0.45)  # which learns more slowly
    if kind == "attention":
        assert table["attended"].dropna().between(0, 1.0001).all()
    for symbols, peaks, x in zip(table["greedy"], table["peaks"], drawn.x, strict=True):
        assert len(symbols) == len(peaks) and all(0 <= t < len(x) for t in peaks)


def test_a_run_leaves_three_tables_and_is_the_same_again(dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(utterances, "TEST_SETS", {SEGMENTS: 6, (8, 8): 3})
    settings = TranscriberSettings("ctc", 3, updates=50, **SMALL)
    tables = run(dataset, settings)
    assert tables["transcripts"].groupby("segments", sort=False).size().to_dict() == {
        "2-5": 6,
        "8": 3,
    }
    assert set(tables["transcripts"]["speaker"]) <= set(split_by_speaker(dataset)["test"].groups)
    again = run(dataset, settings)
    for name, table in tables.items():
        columns = [column for column in table if column != "seconds"]
        pd.testing.assert_frame_equal(table[columns], again[name][columns])


def test_symbols_stand_in_tables_with_one_sign_each(dataset, monkeypatch):
    monkeypatch.setattr(utterances, "TEST_SETS", {SEGMENTS: 2})
    settings = TranscriberSettings("ctc", 3, updates=25, **SMALL)
    names = [f"{k:02}" for k in range(22)]
    train, test = (
        dataclasses.replace(split, y=split.y + 17) for split in (dataset.train, dataset.test)
    )
    many = dataclasses.replace(dataset, classes=names, train=train, test=test)
    signs = run(many, settings)["transcripts"]["symbols"]
    assert set("".join(signs)) <= set("IJKLM") and signs.str.len().between(*SEGMENTS).all()
    with pytest.raises(ValueError, match="found 23 classes; expected at most 22"):
        run(dataclasses.replace(many, classes=[*names, "22"]), settings)


def test_speakers_with_too_few_segments_are_named_before_training(dataset, monkeypatch):
    monkeypatch.setattr(utterances, "TEST_SETS", {(999, 999): 1})
    monkeypatch.setattr(utterances, "train", lambda *_, **__: 1 / 0)
    with pytest.raises(ValueError, match=r"found .* segments"):
        run(dataset, TranscriberSettings("ctc", 3, **SMALL))


def test_the_recorded_runs_are_the_plan_and_say_what_was_said():
    tables = load_tables(SYMBOL_FILES)
    found = {row.run: row for row in tables["runs"].itertuples()}
    expected = planned_symbol_runs()
    assert set(found) == {settings.name for settings in expected}
    for settings in expected:
        for key, value in dataclasses.asdict(settings).items():
            assert getattr(found[settings.name], key) == value, (settings.name, key)
    runs, curves, transcripts = recorded_transcripts()
    assert len(set(runs["data"])) == 1 and (runs["origin"] == "course").all()
    last = curves.groupby("run")["update"].max()
    assert (last[runs["run"]].to_numpy() == runs["updates"]).all()
    counts = {"-".join(map(str, dict.fromkeys(n))): count for n, count in TEST_SETS.items()}
    for _, one in transcripts.groupby("run"):
        assert one.groupby("segments").size().to_dict() == counts
        said = one[["symbols", "speaker"]].to_numpy().tolist()
        assert said == transcripts[["symbols", "speaker"]].head(len(one)).to_numpy().tolist()
    assert transcripts["speaker"].nunique() == 3
    for row in transcripts.sample(200, random_state=0).itertuples():
        assert len(row.ends) == len(row.symbols) and len(row.peaks) == len(row.greedy)
        assert (np.diff(row.ends) > 0).all() and set(row.symbols) <= set("12345")
        assert (row.beam != "") <= (row.kind == "ctc") and (row.voted != "") == (
            row.kind == "frames"
        )
