"""What was handed in: archives and folders, whatever their names; notebooks, whatever their state.

Nothing in here is trusted: sizes are limited before anything is parsed, links are not followed, and
each file that is not used is listed with the reason.
"""

import ast
import contextlib
import hashlib
import json
import os
import re
import tarfile
import zipfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

from assignment.grader.questions import Cell

MAX_BYTES = 30_000_000  # of one student
MAX_FILES = 2_000
MAX_NOTEBOOK = 10_000_000
MAX_CELLS = 1_000
MAX_TEXT = 200_000  # characters of one cell
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class Unreadable(Exception):
    """A file or an archive cannot be read; the message says why."""


@dataclass
class File:
    """One file of a folder or an archive: its name, when it was changed, what it holds."""

    name: PurePosixPath
    changed: float
    content: bytes


@dataclass
class HandIn:
    """One student's work.

    Attributes
    ----------
    student : str
    notebooks : dict
        Of those of the assignment that were handed in: name → list of cells, given ones restored.
    files : dict of bytes
        The other files that the assignment asks for.
    messages : list of str
        What the instructor and the student should know.
    unused : list of (str, str)
        Files that were not used, and why.
    """

    student: str
    notebooks: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)
    messages: list = field(default_factory=list)
    unused: list = field(default_factory=list)


# --- Files ------------------------------------------------------------------------------------


def clean(text):
    """Return text that can be written to any file: half characters become question marks."""
    return str(text).encode("utf-8", "replace").decode("utf-8")


def printable(text):
    """Return text that can be shown in a terminal on one line."""
    return "".join(c if c.isprintable() else "?" for c in clean(text))


def is_archive(name):
    """Tell whether a name is that of an archive that can be read."""
    return name.lower().endswith(ARCHIVES)


def stem(name):
    """Return a name without the ending of a notebook or an archive."""
    for ending in sorted((*ARCHIVES, ".ipynb"), key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


@contextlib.contextmanager
def readable():
    """Turn whatever goes wrong while reading into Unreadable."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:  # zipfile, tarfile, zlib, lzma each have their own
        raise Unreadable(f"{type(error).__name__}: {printable(error)[:120]}") from None


def read_files(path, unused, nested=True):
    """Read all files of a folder, an archive, or one file.

    Parameters
    ----------
    path : Path
    unused : list of (str, str)
        Files that were not read, and why, are added.
    nested : bool
        Whether archives inside are opened too, if there is no notebook beside them.

    Returns
    -------
    list of File

    Raises
    ------
    Unreadable
        If an archive is broken, or it all is too much.
    """
    found, total = [], 0
    with readable():
        for name, changed, read in members(path):
            hidden = any(part.startswith((".", "__")) for part in name.parts)
            content = read(MAX_BYTES - total + 1) if read else b""  # what is hidden counts too
            total += len(content)
            if total > MAX_BYTES:
                raise Unreadable(f"it holds more than {MAX_BYTES // 10**6} MB")
            if len(found) + len(unused) >= MAX_FILES:
                raise Unreadable(f"it holds more than {MAX_FILES} files")
            if read is None or hidden or ".." in name.parts:
                unused.append((str(name), "hidden" if hidden else "a link or no file"))
                continue
            found.append(File(name, changed, content))
    if nested and not any(file.name.suffix.lower() == ".ipynb" for file in found):
        for file in [file for file in found if is_archive(file.name.name)]:
            found.remove(file)
            found += _inside(file, unused)
    return found


def _inside(file, unused):
    """Read an archive that lies in a folder or an archive."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"archive{file.name.name[len(stem(file.name.name)) :]}"
        path.write_bytes(file.content)
        try:
            return read_files(path, unused, nested=False)
        except Unreadable as error:
            unused.append((str(file.name), f"cannot be read: {error}"))
            return []


def members(path):
    """Yield name, time and a function that reads at most so many bytes; None for no file."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            inside = file.relative_to(path)
            if file.is_symlink() or not (file.is_file() or file.is_dir()):
                yield PurePosixPath(inside), 0, None
            elif file.is_file():
                yield PurePosixPath(inside), file.stat().st_mtime, lambda n, f=file: _first(f, n)
    elif path.suffix.lower() == ".zip":
        import calendar

        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    name = PurePosixPath(member.filename.lstrip("/"))
                    changed = calendar.timegm((*member.date_time, 0, 0, 0))
                    yield name, changed, lambda n, m=member: _member(archive.open(m), n)
    elif is_archive(path.name):
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                read = None
                if member.isfile():
                    read = lambda n, m=member: _member(archive.extractfile(m), n)  # noqa: E731
                if not member.isdir():
                    yield PurePosixPath(member.name.lstrip("/")), member.mtime, read
    else:
        yield PurePosixPath(path.name), path.stat().st_mtime, lambda n: _first(path, n)


def _first(path, size):
    with open(path, "rb") as file:
        return file.read(size)


def _member(file, size):
    with file:  # what a member says of its size may be untrue
        return file.read(size)


# --- Who handed in ----------------------------------------------------------------------------


def entries(folder):
    """Return what lies in ``submitted/``, by student.

    Returns
    -------
    found : dict
        Student → paths handed in under that name, the newest first.
    unused : list of (str, str)
        Names that are nobody's work, and why.
    """
    found, unused = {}, []
    for path in sorted(folder.iterdir()):
        # A name that a spreadsheet would take for a formula gets another first character.
        name = re.sub(r"^[=+@-]", "_", printable(path.name).strip())
        if path.name.startswith("."):
            unused.append((name, "hidden"))
        elif path.is_dir() or (path.is_file() and stem(path.name) != path.name):
            student = name if path.is_dir() else stem(name)
            if name != path.name and student in found:  # another one, who looks the same
                student += f" {hashlib.sha256(os.fsencode(path.name)).hexdigest()[:6]}"
            found.setdefault(student or "?", []).append(path)
        else:
            reason = "a link to nothing" if path.is_symlink() else "no folder, archive or notebook"
            unused.append((name, reason))
    return {
        name: sorted(paths, key=_changed, reverse=True) for name, paths in found.items()
    }, unused


def fingerprint(paths):
    """Return a digest of all that lies there, to tell whether it has changed."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted([path, *(path.rglob("*") if path.is_dir() else ())]):
            about = file.lstat()
            digest.update(os.fsencode(file) + f" {about.st_mode} {about.st_size} ".encode())
            if file.is_file() and not (file.is_symlink() and file != path):
                if about.st_size > 3 * MAX_BYTES:
                    digest.update(str(about.st_mtime_ns).encode())
                else:
                    digest.update(file.read_bytes())
    return digest.hexdigest()


def _changed(path):
    inside = [path, *(path.rglob("*") if path.is_dir() else ())]
    return max((f.lstat().st_mtime for f in inside if not f.is_dir()), default=0)


# --- One student ------------------------------------------------------------------------------


def read(student, paths, assignment):
    """Read one submission; whatever is in it, there is a result.

    Parameters
    ----------
    student : str
    paths : list of Path
        Only the first is read; others are named in the messages.
    assignment : assignment.grader.questions.Assignment

    Returns
    -------
    HandIn
    """
    out = HandIn(student)
    if len(paths) > 1:
        others = ", ".join(printable(path.name) for path in paths[1:])
        first = printable(paths[0].name)
        out.messages.append(f"handed in more than once: graded {first}, not {others}")
    path = paths[0]
    if (path / assignment.name).is_dir():  # as nbgrader collects
        path = path / assignment.name
    try:
        files = read_files(path, out.unused)
    except Unreadable as error:
        out.messages.append(f"{printable(path.name)} cannot be read: {error}")
        files = []
    _take_notebooks(files, assignment, out)
    _take_files(files, assignment.handed_in, out)
    out.unused = [(printable(name), why) for name, why in out.unused]
    for name, why in out.unused:
        if PurePosixPath(name).suffix.lower() in (".ipynb", ".json", *ARCHIVES) and why != "hidden":
            out.messages.append(f"{PurePosixPath(name).name} was not used: {why}")
    out.messages = [printable(message)[:400] for message in out.messages][:60]
    return out


def _take_notebooks(files, assignment, out):
    candidates = {}
    for file in [file for file in files if file.name.suffix.lower() == ".ipynb"]:
        try:
            cells = parse(file.content)
        except Unreadable as error:
            out.unused.append((str(file.name), f"no notebook: {error}"))
            continue
        which, by_functions = recognise(cells, assignment.notebooks)
        if which is None:
            out.unused.append((str(file.name), "none of the assignment's notebooks"))
        else:
            right = file.name.stem == which
            candidates.setdefault(which, []).append((right, file.changed, file, cells))
            if by_functions:
                out.messages.append(
                    f"{file.name.name} has lost its metadata; its answers were recognised by the "
                    "names of their functions"
                )
    for which, original in assignment.notebooks.items():
        found = sorted(candidates.get(which, ()), key=lambda item: item[:2], reverse=True)
        if not found:
            out.messages.append(f"{which}.ipynb was not handed in")
            continue
        (right, _, file, cells), *others = found
        if not right:
            out.messages.append(f"{file.name.name} was taken for {which}.ipynb")
        for other in others:
            out.unused.append((str(other[2].name), f"{file.name} was graded as {which}"))
        out.notebooks[which] = restore(cells, original, which, out.messages)


def _take_files(files, wanted, out):
    for name in wanted:
        same = re.compile(
            rf"{re.escape(Path(name).stem)}( ?\(\d+\)|[-_ ]\d+)?{Path(name).suffix}", re.I
        )
        found = [file for file in files if same.fullmatch(file.name.name)]
        found.sort(key=lambda file: (file.name.name == name, file.changed), reverse=True)
        for other in found[1:]:
            out.unused.append((str(other.name), f"{found[0].name} was used as {name}"))
        if found:
            out.files[name] = found[0].content
            if found[0].name.name != name:
                out.messages.append(f"{found[0].name.name} was taken for {name}")
            files = [file for file in files if file not in found]
    for file in files:
        if file.name.suffix.lower() != ".ipynb":
            out.unused.append((str(file.name), "not asked for"))


def parse(content):
    """Read the cells of a notebook, whatever else is in it.

    Raises
    ------
    Unreadable
    """
    if len(content) > MAX_NOTEBOOK:
        raise Unreadable(f"it has {len(content) / 1e6:.0f} MB, expected {MAX_NOTEBOOK // 10**6}")
    text = content.decode("utf-8-sig", "replace")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", "replace")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("it is not JSON") from None
    cells = raw.get("cells") if isinstance(raw, dict) else None
    if not isinstance(cells, list):
        raise Unreadable("it has no list of cells")
    if len(cells) > MAX_CELLS:
        raise Unreadable(f"it has {len(cells)} cells, expected at most {MAX_CELLS}")
    out = []
    for cell in cells:
        cell = cell if isinstance(cell, dict) else {}
        source = cell.get("source", "")
        if isinstance(source, list):
            source = "".join(line for line in source if isinstance(line, str))
        source = clean(source if isinstance(source, str) else "")
        if len(source) > MAX_TEXT:
            source = f"# a cell of {len(source)} characters was left out"
        kind = "code" if cell.get("cell_type") == "code" else "markdown"
        name = cell.get("metadata")
        for key in ("nbgrader", "grade_id"):
            name = name.get(key) if isinstance(name, dict) else None
        out.append(Cell(kind, source, name if isinstance(name, str) else ""))
    return out


def functions(source):
    """Return the names of the functions that a cell defines, even if it cannot be run."""
    try:
        found = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        found = re.findall(r"(?m)^def (\w+)", source)
    return {*found}


def recognise(cells, notebooks):
    """Tell which notebook these cells are, by their names or else by the functions they define.

    In the second case the cells get the names back.

    Returns
    -------
    name : str or None
    by_functions : bool
    """
    here = {cell.name for cell in cells} - {""}
    shared = {name: len(here & {c.name for c in model}) for name, model in notebooks.items()}
    best = max(shared, key=shared.get)
    if here:  # with names of cells, it is this assignment's or another one's
        return (best, False) if shared[best] else (None, False)
    answers = {
        name: {f: c for c in model if c.role == "answer" for f in functions(c.source)}
        for name, model in notebooks.items()
    }
    defined = [functions(cell.source) if cell.kind == "code" else set() for cell in cells]
    shared = {name: len(set().union(*defined) & {*known}) for name, known in answers.items()}
    best = max(shared, key=shared.get)
    if not shared[best]:
        return None, False
    model = notebooks[best]
    for cell, names in zip(cells, defined, strict=True):
        for known in names & {*answers[best]}:
            cell.name = answers[best][known].name
    by_text = {(c.kind, c.source.strip()): c.name for c in model if c.role in ("given", "check")}
    essays = {
        before.source.strip(): essay.name
        for before, essay in pairwise(model)
        if essay.role == "essay"
    }
    for before, cell in pairwise([Cell("", ""), *cells]):
        cell.name = cell.name or by_text.get((cell.kind, cell.source.strip()), "")
        if cell.kind == "markdown" and not cell.name:
            cell.name = essays.get(before.source.strip(), "")
    return best, True


def restore(cells, given, name, messages):
    """Put the given cells and the checks back, and keep what the student wrote.

    Parameters
    ----------
    cells, given : list of Cell
        As handed in, and as handed out.
    name : str
        Named in messages.
    messages : list of str
        What was changed is added.

    Returns
    -------
    list of Cell
    """
    models = {cell.name: cell for cell in given if cell.name}
    texts = {(cell.kind, cell.source.strip()) for cell in given}
    out, seen = [], set()
    for cell in cells:
        model = models.get(cell.name)
        if model is None:
            role = "given" if (cell.kind, cell.source.strip()) in texts else ""
            out.append(Cell(cell.kind, cell.source, role=role))
        elif model.name in seen:
            if model.role in ("answer", "essay"):  # a copy runs where it stands, like any other
                out.append(Cell(cell.kind, cell.source))
            messages.append(f"{name}: the cell {model.name} was there more than once")
        elif model.role in ("answer", "essay") and cell.kind == model.kind:
            seen.add(model.name)
            out.append(Cell(cell.kind, cell.source, model.name, model.role))
        else:
            seen.add(model.name)
            if cell.source.strip() != model.source.strip():
                messages.append(f"{name}: the cell {model.name} was changed; the original was used")
            out.append(model)
    order = [cell.name for cell in given if cell.name]
    for position, which in enumerate(order):
        if which not in seen:
            messages.append(f"{name}: the cell {which} was missing; the original was put back")
            before = {*order[:position]}
            at = max((i + 1 for i, cell in enumerate(out) if cell.name in before), default=0)
            out.insert(at, models[which])
    return out
