"""The shipped sample: made by data/make_sample.py, byte for byte, in the course's formats."""

import importlib.util
import re
import sys
import zipfile
from collections import Counter

import numpy as np
import pytest

from helpers.data import DATA
from helpers.mfcc import deltas, synthesise

COUNTS = {
    "handwriting": {
        "train": {"a": 69, "ai": 70, "bA": 67, "chA": 70, "dA": 69},
        "dev": {"a": 20, "ai": 20, "bA": 20, "chA": 20, "dA": 20},
    },
    "cv_segments": {
        "Train": {"hI": 209, "ne": 970, "ni": 186, "nii": 194, "pa": 212},
        "Test": {"hI": 52, "ne": 243, "ni": 47, "nii": 48, "pa": 53},
    },
}
LENGTHS = {"train": (19, 178), "dev": (48, 120), "Train": (6, 64), "Test": (7, 62)}
NAME = {
    "handwriting": r"\d+\.txt",
    "cv_segments": r"(0[1-9]|1\d)_(hI|ne|ni|nI|pa)_\d+_\d+\.mfcc",
}
NUMBER = {
    "handwriting": r"\d+( -?\d+\.\d{6})+\n",
    "cv_segments": r"((-?\d\.\d{6}e[+-]\d\d ){39}\n)+",
}


@pytest.fixture(scope="module")
def make_sample():
    """Import data/make_sample.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("make_sample", DATA / "make_sample.py")
    module = sys.modules["make_sample"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=COUNTS)
def dataset(request):
    """Name each data set."""
    return request.param


@pytest.fixture(scope="module")
def shipped(dataset):
    """Read a zip: {member: bytes}, in the zip's order."""
    with zipfile.ZipFile(DATA / "sample" / f"{dataset}.zip") as source:
        return {info.filename: source.read(info) for info in source.infolist()}


def length(dataset, content):
    return int(content.split()[0]) if dataset == "handwriting" else content.count(b"\n")


def test_the_sample_can_be_made_again_byte_for_byte(make_sample, dataset, shipped):
    plan, make = make_sample.MAKERS[dataset]
    parts = {}
    for entry in plan():
        parts.setdefault((entry.label, entry.split), []).append(entry)
    assert len(parts) == 10
    for part in parts.values():
        # Backwards, and with a word in between: no file may depend on the one before it.
        for k in (-1, len(part) // 2, 1, 0):
            assert make(part[k]) == shipped[part[k].member], part[k].member
        synthesise("नमस्ते", voice="hi+f2", rate=200)


def test_the_plan_lists_the_members_and_their_lengths(make_sample, dataset, shipped):
    plan, _ = make_sample.MAKERS[dataset]
    assert {entry.member: entry.length for entry in plan()} == {
        member: length(dataset, content) for member, content in shipped.items()
    }
    assert list(shipped) == sorted(shipped)


def test_counts_lengths_names_and_numbers_are_the_courses(dataset, shipped):
    counts, lengths = {}, {}
    for member, content in shipped.items():
        root, label, split, name = member.split("/")
        assert root == dataset
        assert re.fullmatch(NAME[dataset], name), member
        assert re.fullmatch(NUMBER[dataset], content.decode()), member
        counts.setdefault(split, Counter())[label] += 1
        lengths.setdefault(split, []).append((length(dataset, content), label))
    assert counts == COUNTS[dataset]
    for split, found in lengths.items():
        assert (min(found)[0], max(found)[0]) == LENGTHS[split]
    mean = np.mean([n for n, _ in lengths[next(iter(COUNTS[dataset]))]])
    assert mean == pytest.approx({"handwriting": 78, "cv_segments": 23}[dataset], abs=1)
    if dataset == "handwriting":
        assert min(lengths["train"]) == (19, "chA")


@pytest.mark.parametrize("dataset", ["handwriting"], indirect=True)
def test_strokes_lie_on_the_tablet_and_never_stand_still(dataset, shipped):
    for member, content in shipped.items():
        points = np.array(content.split()[1:], dtype=float).reshape(-1, 2)
        assert -0.25 < points.min() and points.max() < 1.05, member
        assert np.diff(points, axis=0).any(axis=1).all(), member


@pytest.mark.parametrize("dataset", ["cv_segments"], indirect=True)
def test_every_speaker_is_in_both_splits_and_in_no_file_twice(dataset, shipped):
    speakers, names = {"Train": set(), "Test": set()}, set()
    for member in shipped:
        _, label, split, name = member.split("/")
        speakers[split].add(int(name[:2]))
        assert (label, name) not in names  # one name stands for one recording
        names.add((label, name))
    assert speakers == {"Train": set(range(1, 20)), "Test": set(range(1, 20))}


@pytest.mark.parametrize("dataset", ["cv_segments"], indirect=True)
def test_features_are_statics_then_their_differences(dataset, shipped):
    for member, content in list(shipped.items())[::100]:
        x = np.array(content.split(), dtype=float).reshape(-1, 39)
        # Both after the cut: the energy is relative to the loudest frame of the segment, and the
        # differences at either end see no frame beyond it.
        assert x[:, 12].max() == 1 and x[:, 12].min() > -0.2, member
        for low in (0, 13):
            expected = deltas(x[:, low : low + 13])
            found = x[:, low + 13 : low + 26]
            assert np.abs(expected - found).max() < 0.1, member  # what rounding leaves


def test_the_zips_are_small_and_carry_no_clock():
    paths = [DATA / "sample" / f"{name}.zip" for name in COUNTS]
    assert sum(path.stat().st_size for path in paths) <= 4.5e6
    for path in paths:
        with zipfile.ZipFile(path) as source:
            for info in source.infolist():
                assert info.date_time == (2026, 1, 1, 0, 0, 0)
                assert info.compress_type == zipfile.ZIP_DEFLATED


def test_a_word_sounds_the_same_whatever_was_said_before():
    first, rate = synthesise("ने", voice="hi+m3")
    synthesise("पानी", voice="hi+f4", pitch=80)
    again, _ = synthesise("ने", voice="hi+m3")
    assert rate == 22050
    assert np.array_equal(first, again)
    assert not np.array_equal(first, synthesise("नी", voice="hi+m3")[0][: len(first)])
