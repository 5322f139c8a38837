"""helpers/data.py: what it reads, and what it says of all it cannot read."""

import hashlib
import io
import json
import re
import tracemalloc
import unicodedata
import zipfile

import numpy as np
import pytest
from bs4 import BeautifulSoup
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import helpers.data
from helpers.data import (
    DataFormatError,
    DataNotFoundError,
    _Summary,
    load_cv_segments,
    load_handwriting,
    parse_segment,
    parse_stroke,
    speaker_of,
    utterance_of,
)

fuzz = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,  # a run of the tests says the same everywhere
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def stroke(n):
    """Return a stroke of n points that differs from all others."""
    return f"{n} {' '.join(str(k / 100) for k in range(2 * n))} ".encode()


def row(width=39, **at):
    """Return a row of MFCC features; row(_7="nan") has nan for its seventh value."""
    return " ".join(at.get(f"_{k}", f"{k / 10 - 2:.2f}") for k in range(1, width + 1)) + " "


def segment(n):
    return ((row() + "\n") * n).encode()


def handwriting(labels=("a", "ai"), train="train", test="dev"):
    return {
        f"{label}/{split}/{n}.txt": stroke(n + i)
        for i, label in enumerate(labels)
        for split, numbers in ((train, (1, 2, 10)), (test, (4, 7)))
        for n in numbers
    }


def cv_segments(labels=("ne", "pa"), train="Train", test="Test"):
    return {
        f"{label}/{split}/{speaker}_{label}_{n}_3.mfcc": segment(n + i)
        for i, label in enumerate(labels)
        for split, n in ((train, 3), (test, 6))
        for speaker in ("01", "12")
    }


def below(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


def store(path, files):
    """Write files to a folder, or to a zip if the path ends so; return the path."""
    if path.suffix == ".zip":
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.fixture(params=["data", "data.zip"])
def place(request, tmp_path):
    """Return a path for a folder, then for a zip."""
    return tmp_path / request.param


@pytest.fixture(autouse=True)
def made_up_home(tmp_path, monkeypatch):
    """Let no test see the repository's own data."""
    monkeypatch.delenv("SEQUENCE_DATA", raising=False)
    monkeypatch.setattr(helpers.data, "DATA", tmp_path / "home")
    store(tmp_path / "home", {"manifest.json": b"{}"})


def check(error, where, found, expected):
    """An error names the file, the place in it, what was found and what was expected."""
    message = str(error.value)
    for part in (where, f"found {found}", "; expected ", expected):
        assert part in message, f"{part!r} is not in {message!r}"
    assert len(message) < 500 and "\n" not in message


# --- One file that is wrong ---------------------------------------------------------------------

BAD_STROKES = {
    "count too small": ("2 1 1 2 2 3 3", "f.txt", "the count 2 before 6 coordinates", "4 coord"),
    "count too large": ("3 1 1 2 2", "f.txt", "the count 3 before 4 coord", "or the count 2"),
    "odd coordinates": ("2 1 1 2", "f.txt", "3 coordinates, an odd number", "one x and one y"),
    "no coordinates": ("1", "f.txt", "the count 1 before 0 coordinates", "2 coordinates"),
    "count 0": ("0", "f.txt, value 1", "'0'", "number of points, a positive integer"),
    "count -1": ("-1 1 1", "f.txt, value 1", "'-1'", "a positive integer"),
    "count 1.5": ("1.5 1 1 2", "f.txt, value 1", "'1.5'", "a positive integer"),
    "count 2.0": ("2.0 1 1 2 2", "f.txt, value 1", "'2.0'", "a positive integer"),
    "count is text": ("two 1 1 2 2", "f.txt, value 1", "'two'", "a positive integer"),
    "count huge": ("9" * 5000 + " 1 1", "f.txt, value 1", "'999", "a positive integer"),
    "count of many zeros": ("0" * 5000 + "1 1 1", "f.txt, value 1", "'000", "a positive integer"),
    "count Arabic": ("١ 1 1", "f.txt, value 1", "'١'", "a positive integer"),
    "text": ("2 1 1 x 2", "f.txt, value 4", "'x'", "a finite number"),
    "comma": ("2 1,1 2,2", "f.txt, value 2", "'1,1'", "a finite number"),
    "nan": ("1 nan 1", "f.txt, value 2", "'nan'", "a finite number"),
    "inf": ("1 1 -inf", "f.txt, value 3", "'-inf'", "a finite number"),
    "too large for float32": ("1 1 1e39", "f.txt, value 3", "'1e39'", "fits in float32"),
    "too large for float64": ("1 1e999 1", "f.txt, value 2", "'1e999'", "fits in float32"),
    "underscore": ("1 1_000 1", "f.txt, value 2", "'1_000'", "a finite number"),
    "Arabic digits": ("1 1 ٣", "f.txt, value 3", "'٣'", "a finite number"),
    "hexadecimal": ("1 1 0x1p3", "f.txt, value 3", "'0x1p3'", "a finite number"),
    "minus sign U+2212": ("1 1 −1", "f.txt, value 3", "'−1'", "a finite number"),
    "sign alone": ("1 1 -", "f.txt, value 3", "'-'", "a finite number"),
    "two numbers stuck together": ("1 1 1-2", "f.txt, value 3", "'1-2'", "a finite number"),
    "long word": ("1 1 " + "y" * 9999, "f.txt, value 3", "'yyy", "a finite number"),
    "empty": ("", "f.txt", "no numbers", "N x1 y1 … xN yN"),
    "white space only": (" \r\n\t ", "f.txt", "no numbers", "N x1 y1 … xN yN"),
    "BOM only": (b"\xef\xbb\xbf", "f.txt", "no numbers", "N x1 y1 … xN yN"),
    "binary": (b"1 \x89PNG", "f.txt, byte 3", "binary data", "plain text"),
    "zero byte": (b"1 1 \x001", "f.txt, byte 5", "a zero byte", "plain text"),
    "UTF-16": ("1 1 1".encode("utf-16"), "f.txt", "UTF-16 text", "ASCII or UTF-8"),
    "UTF-16, no BOM": ("1 1 1".encode("utf-16-le"), "f.txt, byte 2", "a zero byte", "plain text"),
}  # fmt: skip

BAD_SEGMENTS = {
    "38 values": (row(38), "f.mfcc, row 1", "38 values", "39 values in every row"),
    "40 values": (row(40), "f.mfcc, row 1", "40 values", "39 values in every row"),
    "unequal rows": (f"{row()}\n{row(13)}\n", "f.mfcc, row 2", "13 values", "39 values"),
    "blank line inside": (f"{row()}\n\n{row()}", "f.mfcc, row 2", "0 values", "39 values"),
    "blank line first": (f"\n{row()}", "f.mfcc, row 1", "0 values", "39 values"),
    "all in one row": (row() * 2, "f.mfcc, row 1", "78 values", "39 values"),
    "nan": (f"{row()}\n{row(_7='nan')}", "f.mfcc, row 2, value 7", "'nan'", "a finite number"),
    "text": (row(_39="end"), "f.mfcc, row 1, value 39", "'end'", "a finite number"),
    "1e39": (f"{row()}\r\n{row(_1='1e39')}", "f.mfcc, row 2, value 1", "'1e39'", "float32"),
    "underscore": (row(_2="1_0"), "f.mfcc, row 1, value 2", "'1_0'", "a finite number"),
    "empty": ("", "f.mfcc", "no numbers", "rows of 39 numbers"),
    "white space only": ("\n \n", "f.mfcc", "no numbers", "rows of 39 numbers"),
    "binary": (b"\xff" * 64, "f.mfcc, byte 1", "binary data", "plain text"),
    "UTF-16": (row().encode("utf-16"), "f.mfcc", "UTF-16 text", "ASCII or UTF-8"),
    "UTF-16, no BOM": (row().encode("utf-16-be"), "f.mfcc, byte 1", "a zero byte", "plain text"),
}  # fmt: skip


def as_bytes(content):
    return content if isinstance(content, bytes) else content.encode()


@pytest.mark.parametrize("case", BAD_STROKES)
def test_bad_stroke(case):
    content, *said = BAD_STROKES[case]
    with pytest.raises(DataFormatError) as error:
        parse_stroke(as_bytes(content), "f.txt")
    check(error, *said)


@pytest.mark.parametrize("case", BAD_SEGMENTS)
def test_bad_segment(case):
    content, *said = BAD_SEGMENTS[case]
    with pytest.raises(DataFormatError) as error:
        parse_segment(as_bytes(content), "f.mfcc")
    check(error, *said)


def test_a_loader_names_the_file(place):
    store(place, handwriting() | {"ai/dev/7.txt": b"1 1 x"})
    with pytest.raises(DataFormatError) as error:
        load_handwriting(place)
    check(error, f"{place}/ai/dev/7.txt, value 3", "'x'", "a finite number")


# --- Good files ---------------------------------------------------------------------------------


GOOD_STROKES = {
    "as delivered": "2 0.5 -1 2e-1 +.25 ",
    "CRLF": "2 0.5 -1 0.2 0.25\r\n",
    "BOM": "\ufeff2 0.5 -1 0.2 0.25",
    "lines and tabs": "2\n0.5\t-1.\n2E-1 0.25\n\n",
    "zeros first": "02 00.5 -01 .2 .25",
}


@pytest.mark.parametrize("case", GOOD_STROKES)
def test_stroke_values(case):
    points = parse_stroke(GOOD_STROKES[case].encode())
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, np.float32([[0.5, -1], [0.2, 0.25]]))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start, end", [("", ""), ("\ufeff", "\n"), ("", "\n\n  \n")])
def test_segment_values(start, newline, end):
    frames = parse_segment((start + row() + newline + row(_1="7") + end).encode())
    assert frames.dtype == np.float32 and frames.shape == (2, 39)
    np.testing.assert_array_equal(frames[0], np.float32(row().split()))
    assert frames[1, 0] == 7


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
any_length = st.integers(1, 20)


@fuzz
@given(any_length.flatmap(lambda n: arrays(np.float32, (n, 2), elements=finite)))
def test_strokes_round_trip(points):
    text = f"{len(points)} {' '.join(map(str, points.ravel().tolist()))} "
    np.testing.assert_array_equal(parse_stroke(text.encode()), points)


@fuzz
@given(st.integers(1, 4).flatmap(lambda n: arrays(np.float32, (n, 39), elements=finite)))
def test_segments_round_trip(frames):
    text = "".join(" ".join(map(str, frame)) + " \n" for frame in frames.tolist())
    np.testing.assert_array_equal(parse_segment(text.encode()), frames)


# --- Anything at all ----------------------------------------------------------------------------


def spliced(original):
    """Return a strategy for `original` with a few of its bytes replaced, removed or added."""
    splices = st.tuples(
        st.integers(0, len(original)),
        st.integers(0, 9),
        st.one_of(
            st.binary(max_size=9), st.text("0123456789.eE+-_ \n", max_size=9).map(str.encode)
        ),
    )

    def apply(edits):
        content = original
        for at, removed, added in edits:
            content = content[:at] + added + content[at + removed :]
        return content

    return st.lists(splices, min_size=1, max_size=4).map(apply)


@pytest.mark.parametrize("parse, width", [(parse_stroke, 2), (parse_segment, 39)])
@fuzz
@given(st.one_of(st.binary(), st.text().map(str.encode), spliced(stroke(5)), spliced(segment(2))))
def test_nothing_but_a_data_format_error_escapes(parse, width, content):
    try:
        values = parse(content)
    except DataFormatError:
        return
    assert values.dtype == np.float32 and values.shape[1] == width
    assert len(values) and np.isfinite(values).all()
    strict = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
    assert all(re.fullmatch(strict, word) for word in content.decode("utf-8-sig").split())


def zip_of(files, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


@fuzz
@given(
    st.one_of(
        st.binary(),
        spliced(zip_of(handwriting())),
        spliced(zip_of(handwriting(), zipfile.ZIP_BZIP2)),
        spliced(zip_of(handwriting(), zipfile.ZIP_LZMA)),
    )
)
@example(zip_of(handwriting() | {"x": b""}).replace(b"x", b"\0"))  # a member without a name
@pytest.mark.filterwarnings("ignore::UserWarning:zipfile")
def test_nothing_but_a_data_format_error_escapes_from_a_zip(tmp_path, content):
    path = tmp_path / "data.zip"
    path.write_bytes(content)
    try:
        assert len(load_handwriting(path).train)
    except DataFormatError:
        pass


# --- Folders and zips that are wrong ------------------------------------------------------------

GOOD = handwriting()


def without(part):
    return {name: content for name, content in GOOD.items() if part not in name}


BAD_PLACES = {
    "no split": (
        below("b", {"a/1.txt": stroke(2), "a/2.txt": stroke(3)}),
        "", ".txt files only outside such folders (b/a/", "class folders with .txt files in train",
    ),
    "one class without split": (
        GOOD | {"u/1.txt": stroke(2)}, "/u:", "no folder inside", "a folder train",
    ),
    "a split of pictures": (
        GOOD | {"u/train/1.png": b"x"}, "/u:", "no test split, only train", "a folder dev or test",
    ),
    "only train": (without("/dev/"), "/a:", "no test split, only train", "a folder dev or test"),
    "only dev": (without("/train/"), "/a:", "no train split, only dev", "a folder train"),
    "one class only train": (
        without("ai/dev"), "/ai:", "no test split, only train", "a folder dev or test",
    ),
    "a split without files": (
        without("ai/dev") | {"ai/dev/picture.png": b"x"}, "/ai/dev:", "no .txt", "one file per",
    ),
    "splits without files": (
        {"a/train/1.png": b"x", "a/dev/1.png": b"x"}, "", "no .txt file in a/dev, a/train", "class",
    ),
    "dev and test": (
        GOOD | {"a/test/1.txt": stroke(2)}, "/a:", "both a dev and a test folder",
        "one of them, the test split; files for validation belong in train",
    ),
    "train, val and test": (
        handwriting(test="test") | {"ai/val/3.txt": stroke(2)}, "/ai/val:",
        "a validation split, which the book draws from train by itself", "its files moved",
    ),
    "train and validation": (
        handwriting(train="Train", test="Validation"), "/a/Validation:", "a validation split",
        "or another name if it is the test split",
    ),
    "valid in a nested folder": (
        below("a", GOOD) | {"a/a/valid/3.txt": stroke(2)}, "/valid:", "a validation split", "moved",
    ),
    "a sample beside the splits": (
        GOOD | {"a/11.txt": stroke(2)}, "/a/11.txt", "a sample outside the splits", "<class>",
    ),
    "a sample below a split": (
        GOOD | {"a/train/b/11.txt": stroke(2)}, "/a/train/b/11.txt", "a sample outside", "<class>",
    ),
    "one name twice in nested folders": (
        GOOD | {"ai/ai/dev/4.txt": stroke(2)}, "4.txt", "the file name of ", "each file name once",
    ),
    "one name twice in train and Train": (
        GOOD | {"ai/Train/10.txt": stroke(2)}, "10.txt", "the file name of ", "each file name once",
    ),
    "two copies": (
        GOOD | below("copy", GOOD), "", "handwriting in 2 places (", "one; name the one that is",
    ),
    "empty": ({}, "", "nothing of handwriting", "class folders with .txt files in train and dev"),
    "the other data set": (cv_segments(), "", "no .txt file in ne/Test, ne/Train", "class folders"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PLACES)
def test_bad_place(case, place):
    files, where, *said = BAD_PLACES[case]
    store(place, files)
    with pytest.raises(DataFormatError) as error:
        load_handwriting(place)
    check(error, where, *said)
    assert str(place) in str(error.value)


def test_an_empty_folder_beside_the_classes(tmp_path):  # a class whose files went missing
    store(tmp_path / "data", GOOD)
    (tmp_path / "data" / "u").mkdir()
    for path in (tmp_path / "data", store(tmp_path / "data.zip", GOOD | {"u/": b""})):
        with pytest.raises(DataFormatError) as error:
            load_handwriting(path)
        check(error, f"{path}/u", "no folder inside", "a folder train")


def test_no_such_path(tmp_path):
    with pytest.raises(DataFormatError) as error:
        load_cv_segments(tmp_path / "nowhere")
    check(error, f"{tmp_path}/nowhere", "no such file or folder", "a folder or a zip")


def test_a_file_that_is_neither_folder_nor_zip(tmp_path):
    path = store(tmp_path, {"1.txt": stroke(2)}) / "1.txt"
    with pytest.raises(DataFormatError) as error:
        load_handwriting(path)
    check(error, str(path), "no complete zip", "a folder or a zip")


def test_a_class_that_is_not_there(place):
    store(place, handwriting(("a", "ai", "bA")))
    with pytest.raises(DataFormatError) as error:
        load_handwriting(place, classes=["a", "chA"])
    check(error, str(place), "no class 'chA'", "one of those that are there: a, ai, bA")


@pytest.mark.parametrize("classes", [[], ["a", "a"]])
def test_a_senseless_choice_of_classes(place, classes):
    store(place, GOOD)
    with pytest.raises(ValueError, match="one or more different names"):
        load_handwriting(place, classes=classes)


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    store(tmp_path / "data", GOOD)
    scandir = helpers.data.os.scandir

    def refuse(path):
        if str(path).endswith("train"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(helpers.data.os, "scandir", refuse)
    with pytest.raises(DataFormatError) as error:
        load_handwriting(tmp_path / "data")
    check(error, "/train", "Permission denied", "a readable folder")


def test_a_link_to_nowhere(tmp_path):
    store(tmp_path / "data", GOOD)
    (tmp_path / "data" / "a" / "train" / "3.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(DataFormatError) as error:
        load_handwriting(tmp_path / "data")
    check(error, "/a/train/3.txt", "No such file", "a readable file")


@pytest.mark.parametrize("part", [0, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_a_cut_zip(tmp_path, part):
    path = store(tmp_path / "data.zip", GOOD)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DataFormatError) as error:
        load_handwriting(path)
    check(error, str(path), "no complete zip", "a folder or a zip")


METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_member(tmp_path, method):
    content = bytearray(zip_of(GOOD, method))
    start = content.index(b"ai/dev/7.txt") + len("ai/dev/7.txt")
    content[start : start + 20] = b"\xff" * 20
    path = tmp_path / "data.zip"
    path.write_bytes(content)
    with pytest.raises(DataFormatError) as error:
        load_handwriting(path)
    check(error, f"{path}, ai/dev/7.txt", "a damaged member (", "a complete zip")


def test_an_encrypted_zip(tmp_path):
    content = bytearray(zip_of(GOOD))
    for entry in re.finditer(b"PK\x01\x02", bytes(content)):
        content[entry.start() + 8] |= 1  # the flag of an encrypted member
    path = tmp_path / "data.zip"
    path.write_bytes(content)
    with pytest.raises(DataFormatError) as error:
        load_handwriting(path)
    check(error, f"{path}, a/train/1.txt", "an encrypted member", "a zip without a password")


OUTSIDE = [
    "../3.txt",
    "a/../../3.txt",
    "/a/train/3.txt",
    "C:\\a\\train\\3.txt",
    "c:3.txt",
    "..\\3.txt",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_member_that_points_outside(tmp_path, name):
    path = store(tmp_path / "data.zip", GOOD | {name: stroke(2)})
    with pytest.raises(DataFormatError) as error:
        load_handwriting(path)
    check(error, str(path), f"a member that points outside it, {name!r}", "only inner paths")


@pytest.mark.parametrize("again", ["a/train/1.txt", "a//train/./1.txt", "a\\train\\1.txt"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(tmp_path, again):
    path = store(tmp_path / "data.zip", GOOD)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(again, stroke(9))
    with pytest.raises(DataFormatError) as error:
        load_handwriting(path)
    check(error, f"{path}, a/train/1.txt", "two members of one name", "each name once")


# --- Files that are too large -------------------------------------------------------------------


def zeros(path, megabytes, method):
    """Add a member of so many zeros, which a zip holds in a thousandth of them."""
    with zipfile.ZipFile(path, "a", method, compresslevel=1) as archive:
        with archive.open("a/train/3.txt", "w", force_zip64=True) as member:
            for _ in range(megabytes):
                member.write(bytes(1_000_000))
    return path


@pytest.mark.parametrize(
    "method, megabytes",
    [(zipfile.ZIP_DEFLATED, 600), (zipfile.ZIP_BZIP2, 60), (zipfile.ZIP_LZMA, 60)],
)
def test_a_large_member_is_refused_without_being_read(tmp_path, method, megabytes):
    path = zeros(store(tmp_path / "data.zip", GOOD), megabytes, method)
    assert path.stat().st_size < 5_000_000
    tracemalloc.start()
    with pytest.raises(DataFormatError) as error:
        load_handwriting(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    check(error, f"{path}/a/train/3.txt", f"{megabytes},000,000 bytes", "at most 10,000,000 bytes")
    assert peak < 5_000_000


def test_a_member_that_declares_less_than_it_holds(tmp_path):
    path = zeros(store(tmp_path / "data.zip", GOOD), 60, zipfile.ZIP_DEFLATED)
    size, content = (60_000_000).to_bytes(4, "little"), path.read_bytes()
    assert content.count(size) >= 1
    path.write_bytes(content.replace(size, (60).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(DataFormatError) as error:
        load_handwriting(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    check(error, f"{path}, a/train/3.txt", "a damaged member", "a complete zip")
    assert peak < 40_000_000


def test_a_large_file_in_a_folder(tmp_path):
    path = store(tmp_path / "data", GOOD) / "a" / "train" / "3.txt"
    with path.open("wb") as file:
        file.truncate(600_000_000)
    with pytest.raises(DataFormatError) as error:
        load_handwriting(tmp_path / "data")
    check(error, str(path), "600,000,000 bytes", "one short sequence, at most 10,000,000 bytes")
    path.unlink()
    path.symlink_to("/dev/zero")  # says that it holds nothing, and never ends
    with pytest.raises(DataFormatError) as error:
        load_handwriting(tmp_path / "data")
    check(error, str(path), "10,000,001 bytes or more", "at most 10,000,000 bytes")


def test_large_files_that_are_no_samples_are_no_matter(tmp_path):
    path = store(tmp_path / "data", GOOD)
    with (path / "film.mp4").open("wb") as file:
        file.truncate(600_000_000)
    assert load_handwriting(path).ignored == ("film.mp4",)


def test_the_limit_is_exact(tmp_path, monkeypatch, place):
    store(place, GOOD)
    largest = max(map(len, GOOD.values()))
    monkeypatch.setattr(helpers.data, "MAX_BYTES", largest)
    assert len(load_handwriting(place).train) == 6
    monkeypatch.setattr(helpers.data, "MAX_BYTES", largest - 1)
    with pytest.raises(DataFormatError, match=f"found {largest} bytes or more"):
        load_handwriting(place)


# --- Names in either form of Unicode ------------------------------------------------------------

COMPOSED, DECOMPOSED = "é", "e\u0301"  # of which macOS stores the second
FORMS = [COMPOSED, DECOMPOSED]


@pytest.mark.parametrize("there", FORMS)
@pytest.mark.parametrize("typed", [None, *FORMS])
def test_a_class_is_found_in_either_form(tmp_path, place, there, typed):
    nested = f"{there}/{there}/train/2.txt"
    files = (
        handwriting(("a", there)) | {f"{there}/train/{there}.txt": stroke(3)} | {nested: stroke(7)}
    )
    del files[f"{there}/train/2.txt"]
    data = load_handwriting(store(place, files), typed and (typed, "a"))
    assert data.classes == ((typed, "a") if typed else ("a", COMPOSED))  # as typed
    plain = {unicodedata.normalize("NFC", name): content for name, content in files.items()}
    same = load_handwriting(store(tmp_path / "plain", plain), typed and (COMPOSED, "a"))
    assert data.digest == same.digest and data.digests == same.digests
    assert data.train.files == same.train.files and len(data.train) == 7
    assert f"{COMPOSED}/train/{COMPOSED}.txt" in data.train.files
    assert data.train.groups.tolist() == same.train.groups.tolist()


def test_a_zip_in_a_folder_of_either_form(tmp_path):
    store(tmp_path / "data" / DECOMPOSED / f"{DECOMPOSED}.zip", GOOD)
    assert load_handwriting(tmp_path / "data").classes == ("a", "ai")


@pytest.mark.parametrize("files", [
    handwriting(("a", *FORMS)),
    below(COMPOSED, GOOD) | below(DECOMPOSED, GOOD),
    GOOD | {f"a/train/{form}.txt": stroke(2) for form in FORMS},
])  # fmt: skip
def test_two_names_that_differ_in_form_alone(place, files):
    store(place, files)
    with pytest.raises(DataFormatError) as error:
        load_handwriting(place)
    check(error, str(place), "one name in two Unicode forms", "each name once")
    # Written out, since they look alike; of folders that differ, not of all that is in them.
    both = re.search(
        r"'[^']*?(\\xe9|e\\u0301)(?:.txt)?' and '[^']*?(\\xe9|e\\u0301)(?:.txt)?'", str(error.value)
    )
    assert {*both.groups()} == {"\\xe9", "e\\u0301"}


def test_a_class_asked_for_in_both_forms(place):
    store(place, handwriting(("a", COMPOSED)))
    with pytest.raises(ValueError, match="one or more different names"):
        load_handwriting(place, classes=FORMS)


# --- Folders and zips that are right ------------------------------------------------------------


def contents(sequences):
    return {file: x.tobytes() for file, x in zip(sequences.files, sequences.x, strict=True)}


def test_handwriting(place):
    data = load_handwriting(store(place, GOOD))
    assert (data.name, data.classes, data.source) == ("handwriting", ("a", "ai"), str(place))
    names = [f"{c}/train/{n}.txt" for c in ("a", "ai") for n in (1, 2, 10)]  # 2 before 10
    assert data.train.files == tuple(names)
    assert data.train.y.tolist() == [0, 0, 0, 1, 1, 1] and data.train.y.dtype == np.int64
    assert data.test.y.tolist() == [0, 0, 1, 1]
    assert data.train.groups.tolist() == ["1", "2", "10"] * 2
    assert data.train.lengths.tolist() == [1, 2, 10, 2, 3, 11]
    for x, file in zip(data.train.x, data.train.files, strict=True):
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x.ravel(), np.float32(GOOD[file].split()[1:]))
    assert data.ignored == ()


def test_cv_segments(place):
    data = load_cv_segments(store(place, cv_segments()))
    assert (data.name, data.classes) == ("cv_segments", ("ne", "pa"))
    assert data.train.groups.tolist() == ["01", "12"] * 2
    assert data.train.files[0] == "ne/Train/01_ne_3_3.mfcc"
    assert [x.shape for x in data.test.x] == [(6, 39)] * 2 + [(7, 39)] * 2


LAYOUTS = {
    "nested once more": {f"{name.split('/')[0]}/{name}": text for name, text in GOOD.items()},
    "one class nested": without("ai/") | below("ai", {k: v for k, v in GOOD.items() if "ai/" in k}),
    "below other folders": below("course/week 3/data", GOOD),
    "below a folder named as a class": below("a", GOOD),
    "upper case": handwriting(train="Train", test="DEV"),
    "test instead of dev": handwriting(test="test"),
    "beside the other data set": below("h", GOOD) | below("cv", cv_segments()),
    "upper-case suffix": {name.replace(".txt", ".TXT"): text for name, text in GOOD.items()},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, tmp_path, place):
    plain = load_handwriting(store(tmp_path / "plain", GOOD))
    data = load_handwriting(store(place, LAYOUTS[layout]))
    assert data.classes == plain.classes and data.ignored == ()
    for split in ("train", "test"):
        found, expected = getattr(data, split), getattr(plain, split)
        assert found.groups.tolist() == expected.groups.tolist()
        assert found.y.tolist() == expected.y.tolist()
        for one, other in zip(found.x, expected.x, strict=True):
            np.testing.assert_array_equal(one, other)
    if layout != "upper-case suffix":  # only names and contents of files count
        assert data.digests == plain.digests


STRAY = {
    "Mapping.txt": b"a: \xff", "a/sample.png": b"\x89PNG", "a/train/sheet.csv": b"1,2",
    "pictures/a.jpg": b"x", "more.zip": b"no zip",
}  # fmt: skip
HIDDEN = {
    ".DS_Store": b"\0", "a/.DS_Store": b"\0", "a/train/.DS_Store": b"\0", "a/dev/._4.txt": b"\0",
    "__MACOSX/._1.txt": b"\0", "__MACOSX/a/train/._1.txt": b"\0", ".git/a/train/1.txt": b"\0",
    ".ipynb_checkpoints/a/dev/1.txt": b"\0",
}  # fmt: skip


def test_stray_files_are_not_samples(tmp_path, place):
    plain = load_handwriting(store(tmp_path / "plain", GOOD))
    data = load_handwriting(store(place, GOOD | STRAY | HIDDEN))
    assert data.ignored == tuple(sorted(STRAY))
    assert data.classes == plain.classes and data.digests == plain.digests


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_made_on_windows_or_twice(tmp_path):
    plain = load_handwriting(store(tmp_path / "plain", GOOD))
    windows = {name.replace("/", "\\"): content for name, content in GOOD.items()}
    assert load_handwriting(store(tmp_path / "w.zip", windows)).digests == plain.digests
    store(tmp_path / "outer" / "inner.zip", GOOD)  # a zip dropped into a folder
    data = load_handwriting(tmp_path / "outer")
    assert data.digests == plain.digests and data.source.endswith("inner.zip")


def test_a_damaged_zip_in_a_folder(tmp_path):
    path = store(tmp_path / "outer" / "inner.zip", GOOD)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataFormatError) as error:
        load_handwriting(tmp_path / "outer")
    check(error, str(path), "no complete zip", "a folder or a zip")


def test_a_link_that_leads_back(tmp_path):
    store(tmp_path / "data", GOOD)
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "b").symlink_to(tmp_path / "data" / "a")  # this one does not
    assert load_handwriting(tmp_path / "data").classes == ("a", "ai", "b")


def test_any_class_names(place):
    labels = ("ka", "க", "with space", "9", "a")
    data = load_handwriting(store(place, handwriting(labels)))
    assert data.classes == ("a", "9", "ka", "with space", "க")  # the report's first


def test_a_class_may_be_called_as_a_split_is(place):
    data = load_handwriting(store(place, below("val", handwriting(("val",)))))
    assert data.classes == ("val",) and len(data.train) == 3


def test_the_order_asked_for_decides_the_labels(place):
    store(place, handwriting(("a", "ai", "bA")))
    data = load_handwriting(place, classes=("bA", "a"))
    assert data.classes == ("bA", "a")
    assert [file.split("/")[0] for file in data.train.files] == ["bA"] * 3 + ["a"] * 3
    assert data.train.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert load_handwriting(place, classes="ai").classes == ("ai",)
    assert load_handwriting(place).classes == ("a", "ai", "bA")


def test_order_of_files(place):
    names = ["9.txt", "10.txt", "010.txt", "b2.txt", "b10.txt", "a100.txt", f"{'9' * 240}.txt"]
    files = {f"a/train/{name}": stroke(1) for name in names} | {"a/dev/1.txt": stroke(1)}
    data = load_handwriting(store(place, files))
    found = [file.split("/")[-1] for file in data.train.files]
    assert found == [
        "9.txt",
        "010.txt",
        "10.txt",
        f"{'9' * 240}.txt",
        "a100.txt",
        "b2.txt",
        "b10.txt",
    ]


def test_long_numbers_in_a_file_name(tmp_path):  # int() takes no more than 4300 digits
    path = store(tmp_path / "data.zip", GOOD | {f"a/train/{'1' * 5000}.txt": stroke(1)})
    assert len(load_handwriting(path).train) == 7


def test_a_file_name_that_is_no_text(tmp_path):
    store(tmp_path / "data", GOOD)
    try:
        (tmp_path / "data" / "a" / "train" / "3\udcff.txt").write_bytes(stroke(1))
    except OSError:
        pytest.skip("this file system has none")
    assert len(load_handwriting(tmp_path / "data").digest) == 16


# --- Digests, origin, and where data is looked for ----------------------------------------------


def test_digests(tmp_path):
    data = load_handwriting(store(tmp_path / "data", GOOD))
    lines = [f"{hashlib.sha256(GOOD[f'a/dev/{n}.txt']).hexdigest()}  {n}.txt\n" for n in (4, 7)]
    listing = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    assert data.digests["a"]["test"] == {"files": 2, "sha256": listing}
    assert data.digests["a"]["train"]["files"] == 3
    assert load_handwriting(store(tmp_path / "b.zip", GOOD)).digests == data.digests
    assert re.fullmatch("[0-9a-f]{16}", data.digest)
    for n, change in enumerate([{"a/dev/4.txt": stroke(9)}, {"a/dev/5.txt": stroke(1)}]):
        other = load_handwriting(store(tmp_path / f"c{n}.zip", GOOD | change))
        assert other.digests["a"]["test"] != data.digests["a"]["test"]
        assert other.digests["a"]["train"] == data.digests["a"]["train"]
        assert other.digests["ai"] == data.digests["ai"] and other.digest != data.digest
    turned = load_handwriting(tmp_path / "data", classes=("ai", "a"))
    assert turned.digests == data.digests and turned.digest != data.digest


def write_manifest(tmp_path, **known):
    text = json.dumps({origin: {data.name: data.digests} for origin, data in known.items()})
    (tmp_path / "home" / "manifest.json").write_text(text, encoding="utf-8")


def test_origin(tmp_path, capsys):
    data = load_handwriting(store(tmp_path / "one", handwriting(("a", "ai", "bA"))))
    other = load_handwriting(store(tmp_path / "two", GOOD | {"a/dev/4.txt": stroke(9)}))
    assert data.origin == "other"
    write_manifest(tmp_path, course=data, sample=other)
    assert (data.origin, other.origin) == ("course", "sample")
    assert load_handwriting(tmp_path / "one", classes=("bA", "a")).origin == "course"
    more = load_handwriting(store(tmp_path / "more", handwriting(("a", "ai", "bA", "zA"))))
    assert more.origin == "other"


def test_summary(tmp_path, capsys):
    data = load_cv_segments(store(tmp_path / "my data", cv_segments() | {"Mapping.txt": b""}))
    data.summary()
    out = capsys.readouterr().out
    assert "cv_segments: 2 classes from my data\n" in out
    assert f"origin: neither the report's data nor the sample (digest {data.digest})" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["ne", "2", "3/3/3", "2", "6/6/6"] in lines
    assert ["all", "4", "3/4/4", "4", "6/6/7"] in lines
    assert "groups: 2 in train, 2 in test, 2 in both; 39 features a step" in out
    assert "not read: 1 other files, such as Mapping.txt" in out
    shown = BeautifulSoup(_Summary(data)._repr_html_(), "lxml")
    rows = [[cell.text for cell in row.select("td")] for row in shown.select("tbody tr")]
    assert [row[0] for row in rows] == [*data.classes, "all"]
    assert rows[-1] == ["all", "4", "3/4/4", "4", "6/6/7"]
    assert {line for p in shown.select("p") for line in p.stripped_strings} <= {*out.splitlines()}
    write_manifest(tmp_path, course=data)
    data.summary()
    assert "origin: the report's own data, byte for byte" in capsys.readouterr().out
    write_manifest(tmp_path, sample=data)
    data.summary()
    assert "origin: the synthetic sample that ships" in capsys.readouterr().out


def test_where_data_is_looked_for(tmp_path, monkeypatch):
    home = tmp_path / "home"
    with pytest.raises(DataNotFoundError) as error:
        load_handwriting()
    check(error, str(home / "sample"), "no such file or folder", "a folder or a zip")
    store(
        home / "sample", below("handwriting", handwriting(["s"])) | below("cv", cv_segments(["s"]))
    )
    assert load_handwriting().classes == ("s",)
    store(home / "course", below("handwriting", handwriting(["c"])) | {"Mapping.txt": b""})
    assert load_handwriting().classes == ("c",)
    assert load_cv_segments().classes == ("s",)  # only handwriting is in data/course
    monkeypatch.setenv("SEQUENCE_DATA", str(store(tmp_path / "env.zip", handwriting(["e"]))))
    assert load_handwriting().classes == ("e",)
    with pytest.raises(DataFormatError, match=r"env\.zip"):  # what was named is meant
        load_cv_segments()
    assert load_handwriting(store(tmp_path / "path", handwriting(["p"]))).classes == ("p",)
    monkeypatch.setenv("SEQUENCE_DATA", "")
    assert load_handwriting().classes == ("c",)


def test_cv_segments_alone_in_data_course(tmp_path):
    store(tmp_path / "home" / "sample", handwriting(["s"]))
    store(tmp_path / "home" / "course", below("CV", cv_segments(["c"]) | {"Mapping_CV.txt": b""}))
    assert load_handwriting().classes == ("s",)
    assert load_cv_segments().classes == ("c",)


@pytest.mark.parametrize("name", ["course", "course/data.zip"])
def test_bad_data_in_data_course_is_not_passed_over(tmp_path, name):
    store(tmp_path / "home" / "sample", GOOD)
    for files in (without("/dev/"), {"H/a/1.txt": stroke(1)}, GOOD | {"a/dev/4.txt": b"x"}):
        with pytest.raises(DataFormatError, match=r"home/course"):
            store(tmp_path / "home" / name, files)
            load_handwriting()


# --- Sequences ----------------------------------------------------------------------------------


def test_sequences(tmp_path):
    train = load_handwriting(store(tmp_path / "data", GOOD)).train
    part = train.subset([5, 0])
    assert len(part) == 2 and part.files == ("ai/train/10.txt", "a/train/1.txt")
    assert part.y.tolist() == [1, 0] and part.groups.tolist() == ["10", "1"]
    assert part.lengths.tolist() == [11, 1]
    assert len(train.subset([])) == 0
    with pytest.raises(ValueError, match="found a mask; expected integer positions"):
        train.subset(train.y == 1)
    doubled = train.with_x([2 * x for x in train.x])
    np.testing.assert_array_equal(doubled.x[3], 2 * train.x[3])
    assert doubled.files == train.files and doubled.y is train.y
    with pytest.raises(ValueError, match="found 1 sequences; expected 6"):
        train.with_x(train.x[:1])


def test_names_of_segments_tell_speaker_and_utterance():
    file = "ni/Test/05_ni_125_3.mfcc"
    assert speaker_of(file) == "05" and utterance_of(file) == "05 125"
    assert utterance_of("hI/Train/05_hI_125_9.mfcc") == utterance_of(file)
    with pytest.raises(DataFormatError, match="mfcc: found 1 fields in the name; expected speaker"):
        utterance_of("a/b.mfcc")
