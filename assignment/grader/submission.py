"""What was handed in: find the notebooks, whatever their names, and put the given cells back."""

import copy
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import PurePath

import nbformat

MAX_BYTES = 30_000_000


@dataclass
class Submission:
    """One student's work.

    Attributes
    ----------
    student : str
        Name of the folder or zip.
    notebooks : dict
        Of those of the assignment that were handed in: name → notebook, given cells restored.
    runs : list or None
        What ``runs.json`` holds, if it can be read.
    digest : str
        Of every byte that was read.
    messages : list of str
        What the instructor and the student should know.
    """

    student: str
    notebooks: dict = field(default_factory=dict)
    runs: list | None = None
    digest: str = ""
    messages: list = field(default_factory=list)


def entries(folder):
    """Return what lies in ``submitted/``, by student; a folder, a zip or a notebook each.

    Returns
    -------
    list of (str, list of Path)
        Student, and what was handed in under that name, the newest first.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir() or path.suffix.lower() in (".zip", ".ipynb"):
            name = path.name if path.is_dir() else path.stem
            found.setdefault(name, []).append(path)
    return [(name, sorted(paths, key=_changed, reverse=True)) for name, paths in found.items()]


def _changed(path):
    inside = [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else []
    return max((f.lstat().st_mtime for f in [path, *inside] if f.is_file()), default=0)


def read(student, paths, release):
    """Read one submission.

    Parameters
    ----------
    student : str
    paths : list of Path
        Only the first is read; others are named in the messages.
    release : dict
        Name → notebook as it was handed out.

    Returns
    -------
    Submission
    """
    out = Submission(student)
    if len(paths) > 1:
        others = ", ".join(path.name for path in paths[1:])
        out.messages.append(f"handed in more than once: graded {paths[0].name}, not {others}")
    try:
        files = _files(paths[0])
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError) as error:
        out.messages.append(f"{paths[0].name} cannot be read: {error}")
        files = []
    digest = hashlib.sha256()
    candidates = {}
    for name, changed, content in files:
        digest.update(str(name).encode(errors="surrogateescape") + b"\0" + content)
        if name.name == "runs.json":
            out.runs = _runs(name, content, out.messages)
        if name.suffix.lower() != ".ipynb":
            continue
        try:
            notebook = _notebook(content)
        except ValueError as error:
            out.messages.append(f"{name.name} is no notebook: {error}")
            continue
        which = _which(notebook, release)
        if which is None:
            out.messages.append(f"{name.name} is none of the assignment's notebooks; not graded")
        else:
            candidates.setdefault(which, []).append((name.stem == which, changed, name, notebook))
    for which, found in candidates.items():
        found.sort(key=lambda item: item[:2], reverse=True)
        _, _, name, notebook = found[0]
        if name.stem != which:
            out.messages.append(f"{name.name} was taken for {which}.ipynb")
        if len(found) > 1:
            others = ", ".join(item[2].name for item in found[1:])
            out.messages.append(
                f"{which} is there {len(found)} times: graded {name.name}, not {others}"
            )
        out.notebooks[which] = restore(notebook, release[which], which, out.messages)
    for which in release:
        if which not in out.notebooks:
            out.messages.append(f"{which}.ipynb was not handed in")
    out.digest = digest.hexdigest()
    return out


def _files(path):
    """Return (name, time, content) of everything that matters, without following any link."""
    if path.is_dir():
        inside = [f for f in sorted(path.rglob("*")) if f.is_file() and not f.is_symlink()]
        zips = [f for f in inside if f.suffix.lower() == ".zip"]
        if len(zips) == 1 and not any(f.suffix.lower() == ".ipynb" for f in inside):
            return _members(zips[0])
        wanted = [f for f in inside if _matters(f.relative_to(path))]
        for file in wanted:
            if file.stat().st_size > MAX_BYTES:
                raise ValueError(f"{file.name} is larger than {MAX_BYTES // 10**6} MB")
        return [(f.relative_to(path), f.stat().st_mtime, f.read_bytes()) for f in wanted]
    if path.suffix.lower() == ".zip":
        return _members(path)
    return [(PurePath(path.name), path.stat().st_mtime, path.read_bytes())]


def _members(path):
    out, total = [], 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = PurePath(member.filename)
            if member.is_dir() or not _matters(name):
                continue
            with archive.open(member) as file:  # what a member says of its size may be untrue
                content = file.read(MAX_BYTES + 1)
            total += len(content)
            if total > MAX_BYTES:
                raise ValueError(f"it holds more than {MAX_BYTES // 10**6} MB")
            out.append((name, member.date_time, content))
    return out


def _matters(name):
    hidden = any(part.startswith((".", "__")) for part in name.parts)
    return not hidden and (name.suffix.lower() == ".ipynb" or name.name == "runs.json")


def _runs(name, content, messages):
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        messages.append(f"{name.name} is no list of runs")
        return None
    return rows


def _notebook(content):
    try:
        raw = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("cells"), list):
        raise ValueError("it has no list of cells")
    try:
        for cell in raw["cells"]:
            if (
                isinstance(cell, dict) and "outputs" in cell
            ):  # they are made anew, so it does not matter what they were
                cell["outputs"], cell["execution_count"] = [], None
        notebook = nbformat.read(io.StringIO(json.dumps(raw)), as_version=4)
        _, notebook = nbformat.validator.normalize(notebook)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises whatever a broken file makes it raise
        raise ValueError(str(error).splitlines()[0][:120] or type(error).__name__) from None
    return notebook


def grade_id(cell):
    """Return nbgrader's name of a cell, or None."""
    found = cell.metadata.get("nbgrader")
    return found.get("grade_id") if isinstance(found, dict) else None


def is_answer(cell):
    """Tell whether students write into this cell."""
    return bool(cell.metadata.nbgrader.get("solution"))


def _which(notebook, release):
    """Tell notebooks by the cells they hold, whatever they are called."""
    here = {grade_id(cell) for cell in notebook.cells}
    shared = {
        name: len(here & {grade_id(cell) for cell in original.cells} - {None})
        for name, original in release.items()
    }
    best = max(shared, key=shared.get)
    return best if shared[best] else None


def restore(notebook, original, name, messages):
    """Put the given cells and the checks back, and keep what the student wrote.

    Parameters
    ----------
    notebook, original : nbformat notebooks
        As handed in, and as handed out.
    name : str
        Named in messages.
    messages : list of str
        What was changed is added.

    Returns
    -------
    nbformat notebook
    """
    given = {grade_id(cell): cell for cell in original.cells if grade_id(cell)}
    cells, seen = [], set()
    for cell in notebook.cells:
        which = grade_id(cell)
        cell = copy.deepcopy(cell)
        if which not in given:
            cell.metadata.pop("nbgrader", None)
            cells.append(cell)
            continue
        model = given[which]
        if which in seen:
            if is_answer(model):  # a copy of an answer runs where it stands, like any other cell
                cell.metadata.pop("nbgrader")
                cells.append(cell)
            messages.append(f"{name}: the cell {which} was there more than once")
            continue
        seen.add(which)
        if is_answer(model) and cell.cell_type == model.cell_type:
            cell.metadata.nbgrader = copy.deepcopy(model.metadata.nbgrader)
        else:
            if "".join(cell.source).strip() != model.source.strip():
                messages.append(f"{name}: the cell {which} was changed; the original was used")
            cell = copy.deepcopy(model)
        cells.append(cell)
    order = [grade_id(cell) for cell in original.cells if grade_id(cell)]
    for position, which in enumerate(order):
        if which in seen:
            continue
        messages.append(f"{name}: the cell {which} was missing; the original was put back")
        before = set(order[:position])
        at = max((i + 1 for i, c in enumerate(cells) if grade_id(c) in before), default=0)
        cells.insert(at, copy.deepcopy(given[which]))
    out = copy.deepcopy(original)
    out.cells = cells
    for number, cell in enumerate(out.cells):
        cell["id"] = f"cell-{number}"
    return out
