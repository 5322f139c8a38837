"""Read the two data sets: their file formats, their folders, and where to look for them.

Files become a :class:`SequenceDataset`; anything malformed becomes one :class:`DataFormatError`.
"""

import hashlib
import json
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

DATA = Path(__file__).resolve().parent.parent / "data"
REPORT_CLASSES = {
    "handwriting": ("a", "ai", "bA", "chA", "dA"),
    "cv_segments": ("hI", "ne", "ni", "nii", "pa"),
}
SPLIT_FOLDERS = {"train": "train", "dev": "test", "test": "test"}
N_MFCC = 39

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
        ``class/split/file`` of each sequence, as it stood in its folder or zip.
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
        index = np.asarray(index, dtype=np.int64)
        return Sequences(
            [self.x[i] for i in index],
            self.y[index],
            tuple(self.files[i] for i in index),
            self.groups[index],
        )

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
        Class names; a label is an index into it.
    train, test : Sequences
    source : str
        The folder or zip that was read.
    digests : dict
        ``{class: {split: {"files": n, "sha256": hex}}}`` over file names and contents.
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
        text = json.dumps([self.name, list(self.classes), self.digests], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def origin(self):
        """``course``, ``sample`` or ``other``: whose classes these are, byte for byte."""
        known = json.loads((DATA / "manifest.json").read_text())
        for origin, manifests in known.items():
            if self.digests.items() <= manifests.get(self.name, {}).items():
                return origin
        return "other"

    def summary(self):
        """Print classes, counts, lengths, groups and origin."""
        origin = {
            "course": "the report's own data, byte for byte",
            "sample": "the synthetic sample that ships with the book, byte for byte",
            "other": "neither the report's data nor the sample",
        }[self.origin]
        print(f"{self.name}: {len(self.classes)} classes, read from {Path(self.source).name}")
        print(f"origin: {origin} (digest {self.digest})")
        print(f"{'':8}{'train':>7}{'test':>7}    length min/mean/max: {'train':>12}{'test':>14}")

        def lengths(sequences, keep):
            found = sequences.lengths[keep]
            return f"{found.min()}/{found.mean():.0f}/{found.max()}"

        for i, label in [*enumerate(self.classes), (None, "all")]:
            train = slice(None) if i is None else self.train.y == i
            test = slice(None) if i is None else self.test.y == i
            print(
                f"{label:8}{len(self.train.y[train]):7}{len(self.test.y[test]):7}"
                f"{lengths(self.train, train):>38}{lengths(self.test, test):>14}"
            )
        train, test = set(self.train.groups), set(self.test.groups)
        print(
            f"groups: {len(train)} in train, {len(test)} in test, {len(train & test)} in both; "
            f"{self.train.x[0].shape[1]} features a step"
        )
        if self.ignored:
            print(f"not read: {len(self.ignored)} other files, such as {self.ignored[0]}")


def load_report():
    """Return the report's numbers: accuracies, epochs and confusion matrices.

    Returns
    -------
    dict
        ``{dataset: {cell: {"train_accuracy", "test_accuracy", "epochs", "last_loss", "best",
        "confusion"}}}``, lists in the order of its five architectures, and ``source``.
    """
    return json.loads((DATA / "report.json").read_text())


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
        raise DataFormatError(
            f"{file}, value 1", repr(tokens[0][:40]), "the number of points, a positive integer"
        )
    numbers = _numbers(tokens[1:], lambda k: f"{file}, value {k + 2}")
    if len(numbers) % 2:
        raise DataFormatError(
            file, f"{len(numbers)} coordinates, an odd number", "one x and one y for each point"
        )
    count = int(tokens[0])
    if len(numbers) != 2 * count:
        raise DataFormatError(
            file,
            f"the count {count} before {len(numbers)} coordinates",
            f"{2 * count} coordinates, or the count {len(numbers) // 2}",
        )
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
            raise DataFormatError(
                f"{file}, row {r}", f"{len(row)} values", f"{N_MFCC} values in every row"
            )
    numbers = _numbers(
        [token for row in rows for token in row],
        lambda k: f"{file}, row {k // N_MFCC + 1}, value {k % N_MFCC + 1}",
    )
    return numbers.reshape(-1, N_MFCC)


def _text(content, file):
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataFormatError(file, "UTF-16 text", "plain text in ASCII or UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFormatError(
            f"{file}, byte {error.start + 1}", "binary data", "plain text in ASCII or UTF-8"
        ) from None
    if "\0" in text:
        raise DataFormatError(
            f"{file}, byte {content.index(0) + 1}",
            "a zero byte (binary data or UTF-16)",
            "plain text in ASCII or UTF-8",
        )
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
    if path is None and os.environ.get("SEQUENCE_DATA"):
        path = os.environ["SEQUENCE_DATA"]
    if path is not None:
        return _load_from(fmt, Path(path).expanduser(), classes)
    try:
        return _load_from(fmt, DATA / "course", classes)
    except DataNotFoundError:  # no such folder, or only the other data set was put there
        return _load_from(fmt, DATA / "sample", classes)


class _Tree(NamedTuple):
    """The files below one root, whatever holds them. Hidden ones are left out."""

    root: Path
    files: tuple[PurePosixPath, ...]
    folders: frozenset[PurePosixPath]
    read: Callable[[Iterable[PurePosixPath]], Iterable[bytes]]


# What the standard library raises for a zip that is cut, damaged or of an unknown kind.
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RuntimeError,
    struct.error,
)  # fmt: skip


def _is_hidden(name):
    return any(part.startswith((".", "__MACOSX")) for part in name.parts)


def _folder_tree(root):
    files, folders = [], {PurePosixPath()}

    def unreadable(error):
        raise DataFormatError(error.filename, error.strerror, "a readable folder") from error

    for here, below, names in os.walk(root, onerror=unreadable, followlinks=True):
        relative = PurePosixPath(Path(here).relative_to(root).as_posix())
        real, *above = (os.path.realpath(root / path) for path in (relative, *relative.parents))
        if real in above:  # a link that leads back
            below.clear()
            folders.discard(relative)
            continue
        below[:] = [name for name in below if not _is_hidden(PurePosixPath(name))]
        folders.update(relative / name for name in below)
        files += [relative / name for name in names if not _is_hidden(PurePosixPath(name))]

    def read(names):
        for name in names:
            try:
                yield (root / name).read_bytes()
            except OSError as error:
                raise DataFormatError(root / name, error.strerror, "a readable file") from error

    return _Tree(root, tuple(files), frozenset(folders), read)


def _zip_tree(root):
    try:
        with zipfile.ZipFile(root) as archive:
            infos = archive.infolist()
    except _ZIP_ERRORS as error:
        raise DataFormatError(root, f"no complete zip ({error})", "a folder or a zip") from error
    members, folders = {}, {PurePosixPath()}
    for member in infos:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:", member.filename):
            raise DataFormatError(
                root, f"a member that points outside it, {member.filename!r}", "only inner paths"
            )
        if member.flag_bits & 1:
            raise DataFormatError(
                f"{root}, {member.filename}", "an encrypted member", "a zip without a password"
            )
        if _is_hidden(name):
            continue
        folders.update(name.parents)
        if member.filename.endswith("/"):  # is_dir() fails on an empty name
            folders.add(name)
        elif name in members:
            raise DataFormatError(f"{root}, {name}", "two members of one name", "each name once")
        else:
            members[name] = member

    def read(names):
        with zipfile.ZipFile(root) as archive:
            for name in names:
                try:
                    yield archive.read(members[name])
                except _ZIP_ERRORS as error:
                    raise DataFormatError(
                        f"{root}, {name}", f"a damaged member ({error})", "a complete zip"
                    ) from error

    return _Tree(root, tuple(members), frozenset(folders), read)


def _is_split(folder):
    return folder.name.lower() in SPLIT_FOLDERS


def _class_folders(tree, fmt):
    """Map each class folder to the folder that holds all classes, for this format's files."""
    found = {
        name.parent.parent
        for name in tree.files
        if name.suffix.lower() == fmt.suffix and _is_split(name.parent)
    }
    holders = {}
    for folder in found:
        parent = folder.parent
        # `a/a/train`: unless `a` holds other classes too, the inner folder only repeats its name.
        nested = parent.name == folder.name and not any(
            other != folder and other.parent == parent for other in found
        )
        holders[folder] = parent.parent if nested else parent
    return holders


def _not_found(fmt, path, trees, expected):
    """Return the error that says what is there instead."""
    loose = [
        (tree, name) for tree in trees for name in tree.files if name.suffix.lower() == fmt.suffix
    ]
    splits = sorted(str(folder) for folder in trees[0].folders if _is_split(folder))
    if loose:
        found = f"{fmt.suffix} files only outside such folders ({loose[0][1]})"
    elif splits:
        found = f"no {fmt.suffix} file in {', '.join(splits[:4])}"
    else:
        found = f"nothing of {fmt.name}"
    # A file beside folders, such as Mapping.txt, is no sample; one in an innermost folder may be.
    misplaced = any(name.parent not in {f.parent for f in tree.folders} for tree, name in loose)
    return (DataFormatError if misplaced else DataNotFoundError)(path, found, expected)


def _find(fmt, path):
    """Return the tree and, in it, the one folder that holds this format's class folders."""
    expected = (
        f"class folders with {fmt.suffix} files in train and "
        f"{'dev' if fmt is _HANDWRITING else 'test'} folders"
    )
    if not path.exists():
        raise DataNotFoundError(path, "no such file or folder", "a folder or a zip")
    trees, damaged = [_folder_tree(path) if path.is_dir() else _zip_tree(path)], []
    if path.is_dir() and not _class_folders(trees[0], fmt):
        archives = [name for name in trees[0].files if name.suffix.lower() == ".zip"]
        for name in archives:
            try:
                trees.append(_zip_tree(path / name))
            except DataFormatError as error:
                damaged.append(error)
    places = [
        (tree, holder) for tree in trees for holder in set(_class_folders(tree, fmt).values())
    ]
    if len(places) > 1:
        names = sorted(str(tree.root / holder) for tree, holder in places)
        raise DataFormatError(
            path,
            f"{fmt.name} in {len(names)} places ({', '.join(names[:4])})",
            "one; name the one that is meant",
        )
    if not places:
        if damaged:
            raise damaged[0]
        raise _not_found(fmt, path, trees, expected)
    return places[0]


def _load_from(fmt, path, classes):
    tree, holder = _find(fmt, path)
    names = _class_names(tree, fmt, holder, classes)
    splits, digests, taken = {"train": [], "test": []}, {}, set()
    for label, name in enumerate(names):
        digests[name] = {}
        for split, members in _split_members(tree, fmt, holder / name).items():
            lines = []
            for member, content in zip(members, tree.read(members), strict=True):
                x = fmt.parse(content, f"{tree.root / member}")
                splits[split].append((x, label, member))
                lines.append(f"{hashlib.sha256(content).hexdigest()}  {member.name}\n")
            listing = "".join(sorted(lines)).encode(errors="surrogateescape")
            digest = hashlib.sha256(listing).hexdigest()
            digests[name][split] = {"files": len(members), "sha256": digest}
            taken.update(members)
    here = (file for file in tree.files if file.is_relative_to(holder) and file not in taken)
    return SequenceDataset(
        name=fmt.name,
        classes=names,
        train=_sequences(splits["train"], fmt, holder),
        test=_sequences(splits["test"], fmt, holder),
        source=str(tree.root / holder),
        digests=digests,
        ignored=tuple(sorted(str(file.relative_to(holder)) for file in here)),
    )


def _class_names(tree, fmt, holder, classes):
    """Check the classes asked for, or name all that are there, the report's first."""
    there = {folder.name for folder in tree.folders if folder.parent == holder != folder}
    if classes is not None:
        names = (classes,) if isinstance(classes, str) else tuple(classes)
        if not names or len(set(names)) < len(names):
            raise ValueError(f"found classes={classes!r}; expected one or more different names")
        for name in names:
            if name not in there:
                raise DataFormatError(
                    tree.root / holder,
                    f"no class {name!r}",
                    f"one of those that are there: {', '.join(sorted(there))}",
                )
        return names

    def may_be_class(name):  # a folder of pictures is none; an empty one is a class gone missing
        inside = [file for file in tree.files if file.is_relative_to(holder / name)]
        return not inside or any(
            file.suffix.lower() == fmt.suffix or _is_split(file.parent) for file in inside
        )

    report = [name for name in REPORT_CLASSES[fmt.name] if name in there]
    return (*report, *sorted(name for name in there - {*report} if may_be_class(name)))


def _split_members(tree, fmt, folder):
    """Return the files of one class by split, in the order of their numbers."""
    splits = {}
    for below in tree.folders:
        if _is_split(below) and below.parent in (folder, folder / folder.name):
            splits.setdefault(SPLIT_FOLDERS[below.name.lower()], []).append(below)
    where = tree.root / folder
    for split, allowed in (("train", "train"), ("test", "dev or test")):
        if split not in splits:
            inside = sorted(item.name for item in tree.folders if item.parent == folder)
            raise DataFormatError(
                where,
                f"no {split} split, only {', '.join(inside)}" if inside else "no folder inside",
                f"a folder {allowed}",
            )
    kinds = {below.name.lower() for below in splits["test"]}
    if len(kinds) > 1:
        raise DataFormatError(where, "both a dev and a test folder", "one of them, the test split")
    members = {"train": [], "test": []}
    for file in tree.files:
        if file.suffix.lower() != fmt.suffix or not file.is_relative_to(folder):
            continue
        split = next((split for split, below in splits.items() if file.parent in below), None)
        if split is None:
            raise DataFormatError(
                tree.root / file, "a sample outside the splits", "<class>/<split>/<file>"
            )
        members[split].append(file)
    for split, files in members.items():
        if not files:
            raise DataFormatError(
                tree.root / splits[split][0], f"no {fmt.suffix} file", "one file per sequence"
            )
        files.sort(key=_in_counting_order)
        names = {}
        for file in files:
            if file.name in names:
                raise DataFormatError(
                    tree.root / file,
                    f"the file name of {names[file.name]} again",
                    "each file name once per class and split",
                )
            names[file.name] = file
    return members


def _in_counting_order(file):
    """Sort 2.txt before 10.txt, and 02.txt always on the same side of 2.txt."""
    parts = re.split(r"([0-9]+)", file.name)
    parts[1::2] = ((len(digits), digits) for digits in (part.lstrip("0") for part in parts[1::2]))
    return parts, file.name


def _sequences(rows, fmt, holder):
    x, y, files = zip(*rows, strict=True)
    return Sequences(
        x=list(x),
        y=np.array(y, dtype=np.int64),
        files=tuple(str(file.relative_to(holder)) for file in files),
        groups=np.array([fmt.group(file) for file in files]),
    )
