"""Read the two data sets: their file formats, their folders, and where to look for them.

Files become a :class:`SequenceDataset`; anything malformed becomes one :class:`DataFormatError`.
"""

import hashlib
import html
import json
import os
import re
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from IPython.display import display

DATA = Path(__file__).resolve().parent.parent / "data"
REPORT_CLASSES = {
    "handwriting": ("a", "ai", "bA", "chA", "dA"),
    "cv_segments": ("hI", "ne", "ni", "nii", "pa"),
}
SPLIT_FOLDERS = {"train": "train", "dev": "test", "test": "test"}
N_MFCC = 39
# Some 25,000 frames, four minutes of one syllable, or 500,000 positions of a pen: what is larger
# is no such file, and a few bytes of a zip can stand for any number of them.
MAX_BYTES = 10_000_000

_PLAIN = "plain text in ASCII or UTF-8"
# float() would also take 1_000, Arabic digits, nan and inf; the formats have none of these.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class DataFormatError(ValueError):
    """Data that cannot be read as said: names the file, the place, what was found and expected."""

    def __init__(self, where, found, expected):
        self.where, self.found, self.expected = str(where), found, expected
        super().__init__(f"{where}: found {found}; expected {expected}")


class DataNotFoundError(DataFormatError):
    """A place that is not there, or holds nothing of the data set that was looked for."""


@dataclass(frozen=True)
class Sequences:
    """Labelled sequences of unequal length.

    Attributes
    ----------
    x : list of arrays, each of shape (T_i, features), float32
    y : array of shape (n,), int64
        Index into the data set's ``classes``.
    files : tuple of str
        ``class/split/file`` of each sequence, in its folder or zip; é is one character.
    groups : array of shape (n,), str
        What may make sequences alike: the speaker of a CV segment, the file number of a stroke.
    """

    x: list
    y: np.ndarray
    files: tuple
    groups: np.ndarray

    def __len__(self):
        """Return the number of sequences."""
        return len(self.x)

    @property
    def lengths(self):
        """Number of time steps of each sequence, shape (n,), int64."""
        return np.array([len(sequence) for sequence in self.x], dtype=np.int64)

    def subset(self, index):
        """Return the sequences at the integer positions ``index``, in that order."""
        index = np.asarray(index)
        if index.dtype == bool:
            raise ValueError("found a mask; expected integer positions: np.flatnonzero(mask)")
        index = index.astype(np.int64)
        x, files = [self.x[i] for i in index], tuple(self.files[i] for i in index)
        return Sequences(x, self.y[index], files, self.groups[index])

    def extend(self, other):
        """Return these sequences and then those of ``other``."""
        y, groups = (
            np.concatenate(pair) for pair in ((self.y, other.y), (self.groups, other.groups))
        )
        return Sequences([*self.x, *other.x], y, (*self.files, *other.files), groups)

    def with_x(self, x):
        """Return the same labels, files and groups with other sequences ``x``."""
        if len(x) != len(self.x):
            raise ValueError(f"found {len(x)} sequences; expected {len(self.x)}")
        return Sequences(list(x), self.y, self.files, self.groups)


@dataclass(frozen=True)
class SequenceDataset:
    """A train and a test split of labelled sequences, and where they came from.

    Attributes
    ----------
    name : str
        ``handwriting`` or ``cv_segments``.
    classes : tuple of str
        Class names, as they were asked for; a label is an index into it.
    train, test : Sequences
    source : str
        The folder or zip that was read.
    digests : dict
        ``{class: {split: {"files": n, "sha256": hex}}}`` over file names and contents; names in
        composed Unicode, so that the same files give the same digests on every system.
    ignored : tuple of str
        Files beside the samples that were not read (pictures, ``Mapping.txt``).
    """

    name: str
    classes: tuple
    train: Sequences
    test: Sequences
    source: str
    digests: dict = field(repr=False)
    ignored: tuple = field(default=(), repr=False)

    @property
    def digest(self):
        """Sixteen hexadecimal digits that stand for every byte read and the order of classes."""
        classes = [_composed(name) for name in self.classes]
        text = json.dumps([self.name, classes, self.digests], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def origin(self):
        """``course``, ``sample`` or ``other``: whose classes these are, byte for byte."""
        known = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))
        for origin, manifests in known.items():
            if self.digests.items() <= manifests.get(self.name, {}).items():
                return origin
        return "other"

    def summary(self):
        """Show classes, counts, lengths, groups and origin: a table in a notebook, else text."""
        display(_Summary(self))


class _Summary:
    """What a data set holds, as text and as a table."""

    def __init__(self, dataset):
        origin = {
            "course": "the report's own data, byte for byte",
            "sample": "the synthetic sample that ships with the book, byte for byte",
            "other": "neither the report's data nor the sample",
        }[dataset.origin]
        self.above = [
            f"{dataset.name}: {len(dataset.classes)} classes from {Path(dataset.source).name}",
            f"origin: {origin} (digest {dataset.digest})",
        ]
        self.table = pd.DataFrame({"class": [*dataset.classes, "all"]})
        for name, part in ("train", dataset.train), ("test", dataset.test):
            lengths, y = part.lengths, part.y
            found = [*(lengths[y == k] for k in range(len(dataset.classes))), lengths]
            self.table[name] = [len(n) for n in found]
            self.table[f"steps, {name}"] = [f"{n.min()}/{n.mean():.0f}/{n.max()}" for n in found]
        train, test = (set(part.groups) for part in (dataset.train, dataset.test))
        self.below = [
            f"steps: least/mean/most; groups: {len(train)} in train, {len(test)} in test, "
            f"{len(train & test)} in both; {dataset.train.x[0].shape[1]} features a step"
        ]
        if more := len(dataset.ignored):
            self.below.append(f"not read: {more} other files, such as {dataset.ignored[0]}")

    def __repr__(self):
        return "\n".join([*self.above, self.table.to_string(index=False), *self.below])

    def _repr_html_(self):
        parts = ("<br>".join(map(html.escape, lines)) for lines in (self.above, self.below))
        return self.table.to_html(index=False, border=0).join(f"<p>{part}</p>" for part in parts)


def load_report():
    """Return the report's numbers: accuracies, epochs and confusion matrices.

    Returns
    -------
    dict
        ``{dataset: {cell: {"train_accuracy", "test_accuracy", "epochs", "last_loss", "best",
        "confusion"}}}``, lists in the order of its five architectures, and ``source``.
    """
    return json.loads((DATA / "report.json").read_text(encoding="utf-8"))


# --- One file ---------------------------------------------------------------------------------


def parse_stroke(content, file="<bytes>"):
    """Read one handwritten stroke: ``N x1 y1 … xN yN``.

    Parameters
    ----------
    content : bytes
    file : str
        Named in errors.

    Returns
    -------
    array of shape (N, 2), float32
        Pen positions in writing order, in the file's own units.

    Raises
    ------
    DataFormatError
        If the text is no such list of finite numbers, or the count does not match it.
    """
    tokens = _text(content, file).split()
    if not tokens:
        raise DataFormatError(file, "no numbers", "N x1 y1 … xN yN")
    if not re.fullmatch(r"0{0,9}[1-9][0-9]{0,8}", tokens[0]):
        where, found = f"{file}, value 1", repr(tokens[0][:40])
        raise DataFormatError(where, found, "the number of points, a positive integer")
    numbers = _numbers(tokens[1:], lambda k: f"{file}, value {k + 2}")
    if len(numbers) % 2:
        found = f"{len(numbers)} coordinates, an odd number"
        raise DataFormatError(file, found, "one x and one y for each point")
    count = int(tokens[0])
    if len(numbers) != 2 * count:
        found = f"the count {count} before {len(numbers)} coordinates"
        expected = f"{2 * count} coordinates, or the count {len(numbers) // 2}"
        raise DataFormatError(file, found, expected)
    return numbers.reshape(count, 2)


def parse_segment(content, file="<bytes>"):
    """Read one speech segment: a row of 39 MFCC features per frame.

    Parameters
    ----------
    content : bytes
    file : str
        Named in errors.

    Returns
    -------
    array of shape (T, 39), float32
        12 cepstra and energy, their first and their second differences, frame by frame.

    Raises
    ------
    DataFormatError
        If a row has other than 39 finite numbers or there is no row.
    """
    lines = _text(content, file).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    rows = [line.split() for line in lines]
    while rows and not rows[-1]:
        rows.pop()
    if not rows:
        raise DataFormatError(file, "no numbers", f"rows of {N_MFCC} numbers")
    for r, row in enumerate(rows, 1):
        if len(row) != N_MFCC:
            expected = f"{N_MFCC} values in every row"
            raise DataFormatError(f"{file}, row {r}", f"{len(row)} values", expected)
    numbers = _numbers(
        [token for row in rows for token in row],
        lambda k: f"{file}, row {k // N_MFCC + 1}, value {k % N_MFCC + 1}",
    )
    return numbers.reshape(-1, N_MFCC)


def _text(content, file):
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataFormatError(file, "UTF-16 text", _PLAIN)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"{file}, byte {error.start + 1}"
        raise DataFormatError(where, "binary data", _PLAIN) from None
    if "\0" in text:
        where = f"{file}, byte {content.index(0) + 1}"
        raise DataFormatError(where, "a zero byte (binary data or UTF-16)", _PLAIN)
    return text


def _numbers(tokens, where):
    # Of words made of these characters alone, float() takes what _NUMBER takes, and is much faster:
    # _NUMBER only has to name the first word that is none.
    try:
        if "".join(tokens).encode().translate(None, b"0123456789.eE+-"):
            raise ValueError
        numbers = np.array(tokens, dtype=np.float64)
    except ValueError:
        k = next(k for k, token in enumerate(tokens) if not _NUMBER.fullmatch(token))
        raise DataFormatError(where(k), repr(tokens[k][:40]), "a finite number") from None
    with np.errstate(over="ignore"):  # what overflows is infinite below, and named there
        numbers = numbers.astype(np.float32)
    if not np.isfinite(numbers).all():
        k = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise DataFormatError(where(k), repr(tokens[k][:40]), "a number that fits in float32")
    return numbers


def speaker_of(file):
    """Return who spoke a segment: the first field of its name, ``05`` of ``05_ni_125_3.mfcc``."""
    return Path(file).stem.split("_")[0]


def utterance_of(file):
    """Return speaker and third field of a segment's name, ``05 125`` of ``05_ni_125_3.mfcc``.

    The data come without an explanation of the third field. If it numbers the utterances of a
    speaker, this is what segments from one utterance share.

    Raises
    ------
    DataFormatError
        If the name has fewer fields.
    """
    fields = Path(file).stem.split("_")
    if len(fields) < 3:
        raise DataFormatError(file, f"{len(fields)} fields in the name", "speaker_class_number…")
    return f"{fields[0]} {fields[2]}"


# --- A folder or a zip of files ---------------------------------------------------------------


class _Format(NamedTuple):
    name: str
    suffix: str
    parse: Callable
    group: Callable


_HANDWRITING = _Format("handwriting", ".txt", parse_stroke, lambda file: Path(file).stem)
_CV_SEGMENTS = _Format("cv_segments", ".mfcc", parse_segment, speaker_of)


def load_handwriting(path=None, classes=None):
    """Load online handwritten characters, one stroke a file.

    Expects ``<class>/train/*.txt`` and ``<class>/dev/*.txt`` (or ``test``), in a folder or a zip,
    at any depth; a class folder may hold a folder of its own name once more.

    Parameters
    ----------
    path : str or Path, optional
        A folder or a zip. Without it: the environment variable ``SEQUENCE_DATA``, ``data/course``,
        ``data/sample``, in that order.
    classes : sequence of str, optional
        Which classes, in which order. Without it, all that are there, the report's first.

    Returns
    -------
    SequenceDataset
        Sequences of shape (T_i, 2), float32, as delivered: not scaled.

    Raises
    ------
    DataFormatError
        If a file, a folder or a zip is not as described. Nothing is skipped or cut.
    """
    return _load(_HANDWRITING, path, classes)


def load_cv_segments(path=None, classes=None):
    """Load spoken consonant–vowel segments as MFCC features, one segment a file.

    Expects ``<class>/Train/*.mfcc`` and ``<class>/Test/*.mfcc``, found as in
    :func:`load_handwriting`; the first field of a file name is the speaker.

    Parameters
    ----------
    path, classes
        As in :func:`load_handwriting`.

    Returns
    -------
    SequenceDataset
        Sequences of shape (T_i, 39), float32, as delivered: not scaled.

    Raises
    ------
    DataFormatError
        As in :func:`load_handwriting`.
    """
    return _load(_CV_SEGMENTS, path, classes)


def _load(fmt, path, classes):
    if path is None:
        path = os.environ.get("SEQUENCE_DATA") or None
    if path is not None:
        return _load_from(fmt, Path(path).expanduser(), classes)
    try:
        return _load_from(fmt, DATA / "course", classes)
    except DataNotFoundError:  # no such folder, or only the other data set was put there
        return _load_from(fmt, DATA / "sample", classes)


class _Tree(NamedTuple):
    """What lies below a folder or in a zip, hidden files apart, names in composed Unicode."""

    root: Path
    archive: zipfile.ZipFile | None
    files: dict[PurePosixPath, Path | zipfile.ZipInfo]
    folders: set[PurePosixPath]


def _tree(root):
    archive, files, folders, written = None, {}, {PurePosixPath()}, {}
    if not root.is_dir():
        try:
            archive = zipfile.ZipFile(root)
        except Exception as error:  # of a cut or damaged zip, whatever its bytes lead to
            found = f"no complete zip ({error})"
            raise DataFormatError(root, found, "a folder or a zip") from error
    for name, source in _walk_zip(archive) if archive else _walk_folder(root):
        if any(map(_is_hidden, name.parts)):
            continue
        path = PurePosixPath(_composed(name))
        forms = zip((path, *path.parents), (name, *name.parents), strict=True)
        for known, form in reversed([*forms]):  # folders first
            if written.setdefault(known, form) != form:
                found = f"one name in two Unicode forms, {str(written[known])!a} and {str(form)!a}"
                raise DataFormatError(root, found, "each name once")
        folders.update(path.parents)
        if source is None:
            folders.add(path)
        elif path in files:
            raise DataFormatError(f"{root}, {path}", "two members of one name", "each name once")
        else:
            files[path] = source
    return _Tree(root, archive, files, folders)


def _composed(name):
    """Write é as one character; some systems store it as two, e and an accent."""
    return unicodedata.normalize("NFC", str(name))


def _is_hidden(part):
    return part.startswith((".", "__MACOSX"))


def _walk_folder(root):
    def unreadable(error):
        raise DataFormatError(error.filename, error.strerror, "a readable folder") from error

    for here, below, names in os.walk(root, onerror=unreadable, followlinks=True):
        relative = PurePosixPath(Path(here).relative_to(root).as_posix())
        real, *above = (os.path.realpath(root / path) for path in (relative, *relative.parents))
        if real in above:  # a link that leads back
            below.clear()
            continue
        below[:] = [name for name in below if not _is_hidden(name)]
        yield relative, None
        yield from ((relative / name, Path(here, name)) for name in names)


def _walk_zip(archive):
    for member in archive.infolist():
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:", member.filename):
            found = f"a member that points outside it, {member.filename!r}"
            raise DataFormatError(archive.filename, found, "only inner paths")
        if member.flag_bits & 1:
            where = f"{archive.filename}, {member.filename}"
            raise DataFormatError(where, "an encrypted member", "a zip without a password")
        yield name, None if member.filename.endswith("/") else member  # is_dir() fails on ""


def _read(tree, file):
    source, content = tree.files[file], b""
    try:
        size = source.file_size if tree.archive else source.stat().st_size
        if size <= MAX_BYTES:  # as it says; more may follow
            with tree.archive.open(source) if tree.archive else source.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
    except Exception as error:
        if tree.archive is None:
            raise DataFormatError(tree.root / file, error.strerror, "a readable file") from error
        where, found = f"{tree.root}, {file}", f"a damaged member ({error})"
        raise DataFormatError(where, found, "a complete zip") from error
    if max(size, len(content)) > MAX_BYTES:
        found = f"{max(size, len(content)):,} bytes or more"
        expected = f"one short sequence, at most {MAX_BYTES:,} bytes"
        raise DataFormatError(tree.root / file, found, expected)
    return content


def _is_split(folder):
    return folder.name.lower() in SPLIT_FOLDERS


def _class_folders(tree, fmt):
    """Map each class folder to the folder that holds all classes, for this format's files."""
    found = {
        file.parent.parent
        for file in tree.files
        if file.suffix.lower() == fmt.suffix and _is_split(file.parent)
    }
    holders = {}
    for folder in found:
        parent = folder.parent
        # `a/a/train`: unless `a` holds other classes too, the inner folder only repeats its name.
        others = {other for other in found if other.parent == parent} - {folder}
        nested = parent.name == folder.name and not others
        holders[folder] = parent.parent if nested else parent
    return holders


def _not_found(fmt, path, trees):
    """Return the error that says what is there instead."""
    loose = [(t, file) for t in trees for file in t.files if file.suffix.lower() == fmt.suffix]
    splits = sorted(str(folder) for folder in trees[0].folders if _is_split(folder))
    found = f"nothing of {fmt.name}"
    if splits:
        found = f"no {fmt.suffix} file in {', '.join(splits[:4])}"
    if loose:
        found = f"{fmt.suffix} files only outside such folders ({loose[0][1]})"
    # A file beside folders, such as Mapping.txt, is no sample; one in an innermost folder may be.
    misplaced = any(file.parent not in {f.parent for f in t.folders} for t, file in loose)
    test = "dev" if fmt is _HANDWRITING else "test"
    expected = f"class folders with {fmt.suffix} files in train and {test} folders"
    return (DataFormatError if misplaced else DataNotFoundError)(path, found, expected)


def _find(fmt, path):
    """Return the tree and, in it, the one folder that holds this format's class folders."""
    if not path.exists():
        raise DataNotFoundError(path, "no such file or folder", "a folder or a zip")
    trees, damaged = [_tree(path)], []
    if path.is_dir() and not _class_folders(trees[0], fmt):
        for file in (f for name, f in trees[0].files.items() if name.suffix.lower() == ".zip"):
            try:
                trees.append(_tree(file))
            except DataFormatError as error:
                damaged.append(error)
    places = [(tree, holder) for tree in trees for holder in {*_class_folders(tree, fmt).values()}]
    if len(places) > 1:
        names = sorted(str(tree.root / holder) for tree, holder in places)
        found = f"{fmt.name} in {len(names)} places ({', '.join(names[:4])})"
        raise DataFormatError(path, found, "one; name the one that is meant")
    if not places:
        raise damaged[0] if damaged else _not_found(fmt, path, trees)
    return places[0]


def _load_from(fmt, path, classes):
    tree, holder = _find(fmt, path)
    names = _class_names(tree, fmt, holder, classes)
    splits, digests, taken = {"train": [], "test": []}, {}, set()
    for label, name in enumerate(map(_composed, names)):
        digests[name] = {}
        for split, files in _split_files(tree, fmt, holder / name).items():
            lines = []
            for file in files:
                content = _read(tree, file)
                splits[split].append((fmt.parse(content, f"{tree.root / file}"), label, file))
                lines.append(f"{hashlib.sha256(content).hexdigest()}  {file.name}\n")
            listing = "".join(sorted(lines)).encode(errors="surrogateescape")
            digest = hashlib.sha256(listing).hexdigest()
            digests[name][split] = {"files": len(files), "sha256": digest}
            taken.update(files)
    train, test = (_sequences(splits[split], fmt, holder) for split in ("train", "test"))
    here = (file for file in tree.files if file.is_relative_to(holder) and file not in taken)
    ignored = tuple(sorted(str(file.relative_to(holder)) for file in here))
    return SequenceDataset(fmt.name, names, train, test, str(tree.root / holder), digests, ignored)


def _class_names(tree, fmt, holder, classes):
    """Check the classes asked for, or name all that are there, the report's first."""
    there = {folder.name for folder in tree.folders if folder.parent == holder != folder}
    if classes is not None:
        names = (classes,) if isinstance(classes, str) else tuple(classes)
        if not names or len({*map(_composed, names)}) < len(names):
            raise ValueError(f"found classes={classes!r}; expected one or more different names")
        for name in names:
            if _composed(name) not in there:
                expected = f"one of those that are there: {', '.join(sorted(there))}"
                raise DataFormatError(tree.root / holder, f"no class {name!r}", expected)
        return names

    def may_be_class(name):  # a folder of pictures is none; an empty one is a class gone missing
        inside = [file for file in tree.files if file.is_relative_to(holder / name)]
        samples = (f for f in inside if f.suffix.lower() == fmt.suffix or _is_split(f.parent))
        return not inside or any(samples)

    report = [name for name in REPORT_CLASSES[fmt.name] if name in there]
    return (*report, *sorted(name for name in there - {*report} if may_be_class(name)))


def _split_files(tree, fmt, folder):
    """Return the files of one class by split, in the order of their numbers."""
    classes = (folder, folder / folder.name)
    inside = sorted(f for f in tree.folders if f.parent in classes and f not in classes)
    named = {below.name.lower(): below for below in inside}
    for name in named.keys() & {"val", "valid", "validation"}:
        found = "a validation split, which the book draws from train by itself"
        expected = "its files moved into train, or another name if it is the test split"
        raise DataFormatError(tree.root / named[name], found, expected)
    if {"dev", "test"} <= named.keys():
        expected = "one of them, the test split; files for validation belong in train"
        raise DataFormatError(tree.root / folder, "both a dev and a test folder", expected)
    for split, allowed in (("train", "train"), ("test", "dev or test")):
        if not named.keys() & {*allowed.split(" or ")}:
            only = ", ".join(below.name for below in inside)
            found = f"no {split} split, only {only}" if only else "no folder inside"
            raise DataFormatError(tree.root / folder, found, f"a folder {allowed}")
    files = {"train": [], "test": []}
    for file in tree.files:
        if file.suffix.lower() == fmt.suffix and file.is_relative_to(folder):
            if not _is_split(file.parent):
                where, found = tree.root / file, "a sample outside the splits"
                raise DataFormatError(where, found, "<class>/<split>/<file>")
            files[SPLIT_FOLDERS[file.parent.name.lower()]].append(file)
    for split, found in files.items():
        if not found:
            (empty, *_) = (b for b in inside if SPLIT_FOLDERS.get(b.name.lower()) == split)
            where, missing = tree.root / empty, f"no {fmt.suffix} file"
            raise DataFormatError(where, missing, "one file per sequence")
        found.sort(key=_in_counting_order)
        first = {}
        for file in found:
            if first.setdefault(file.name, file) != file:
                again = f"the file name of {first[file.name]} again"
                expected = "each file name once per class and split"
                raise DataFormatError(tree.root / file, again, expected)
    return files


def _in_counting_order(file):
    """Sort 2.txt before 10.txt, and 02.txt always on the same side of 2.txt."""
    parts = re.split(r"([0-9]+)", file.name)
    parts[1::2] = ((len(digits), digits) for digits in (part.lstrip("0") for part in parts[1::2]))
    return parts, file.name


def _sequences(rows, fmt, holder):
    x, y, files = zip(*rows, strict=True)
    names = tuple(str(file.relative_to(holder)) for file in files)
    groups = np.array([fmt.group(file) for file in files])
    return Sequences(list(x), np.array(y, dtype=np.int64), names, groups)
