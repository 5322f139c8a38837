"""What a question is, how an answer is compared, and how an assignment is loaded.

An assignment is one folder in ``source/``: notebooks with solutions, ``questions.py``, and the
files that are handed out beside the notebooks.
"""

import contextlib
import importlib.util
import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assignment.grader.sandbox import Ended, StudentError

COURSE = Path(__file__).resolve().parent.parent


class Wrong(Exception):
    """The answer is not right; the message is for the student."""


@dataclass(frozen=True)
class Question:
    """One thing that is asked, for whole points or none.

    Attributes
    ----------
    check : str
        ``grade_id`` of the check cell it belongs to.
    points : int
    ask : callable
        ``ask(student, rng)``; raises :class:`Wrong` or a :class:`StudentError`.
    seconds : float
        Of processor time, for one call of the student's code.
    """

    check: str
    points: int
    ask: Callable
    seconds: float = 5

    @property
    def name(self):
        """Name of the function."""
        return self.ask.__name__

    @property
    def title(self):
        """What the student reads: the first line of the function's docstring."""
        return self.ask.__doc__.strip().splitlines()[0].rstrip(".")


def question(check, points, seconds=5):
    """Make a question of a function, in ``questions.py`` of an assignment."""

    def mark(ask):
        ask.question = Question(check, points, ask, seconds)
        return ask

    return mark


# --- Comparing --------------------------------------------------------------------------------


def close(found, expected, what, tolerance=1e-6):
    """Require the same shape and values within a tolerance, relative to the largest value.

    Lists, tuples, tensors and arrays are the same here, and so are all widths of numbers; single
    precision may be off by what it rounds.
    """
    expected = np.asarray(expected)
    if isinstance(found, Mapping) or found is None:
        raise Wrong(f"{what}: found {'None' if found is None else 'a dict'}, expected numbers")
    try:
        found = np.asarray(found)
        if found.dtype.kind not in "biufc" and found.size:
            raise Wrong(f"{what}: no array of numbers")
        if not expected.ndim and found.size == 1:  # one number, however it is wrapped
            found = found.reshape(())
        if found.shape != expected.shape:
            raise Wrong(f"{what}: the shape is {found.shape}, expected {expected.shape}")
        if found.dtype in (np.float32, np.float16) and tolerance:
            tolerance = max(tolerance, 2e-5)
        found, expected = found.astype(complex), expected.astype(complex)
    except (TypeError, ValueError, OverflowError):
        raise Wrong(f"{what}: no array of numbers") from None
    if not np.isfinite(found).all():
        raise Wrong(f"{what}: some values are not finite")
    error = np.abs(found - expected).max(initial=0)
    if error > tolerance * max(1.0, np.abs(expected).max(initial=0)):
        raise Wrong(f"{what}: off by up to {error:.2g}")


def items(found, names, what):
    """Take named items out of a dict, or as many items out of a sequence or a stacked array."""
    if isinstance(found, Mapping):
        missing = [name for name in names if name not in found]
        if missing:
            raise Wrong(f"{what}: no {missing[0]!r} in the dict")
        return [found[name] for name in names]
    rows = isinstance(found, np.ndarray) and found.ndim > 0
    if not (rows or isinstance(found, tuple | list)) or len(found) != len(names):
        raise Wrong(f"{what}: expected {' and '.join(names)}")
    return list(found)


def whole(found, what):
    """Require one whole number, of whatever type, and return it."""
    try:
        array = np.asarray(found)
        if array.size == 1 and array.dtype.kind in "iuf" and array.item() == round(array.item()):
            return int(array.item())
    except (TypeError, ValueError, OverflowError):
        pass
    raise Wrong(f"{what}: no whole number")


def refused(student, call, *args, says=(), what):
    """Require a ValueError, or a subclass of it, whose message contains some words."""
    try:
        student.call(call, *args)
    except StudentError as error:
        if "ValueError" not in error.kinds:
            raise Wrong(f"{what}: {error.kinds[0]} instead of ValueError") from None
        for word in says:
            if word not in error.message:
                raise Wrong(f"{what}: the message does not contain {word!r}") from None
        return
    raise Wrong(f"{what}: was not refused")


# --- Asking -----------------------------------------------------------------------------------


def ask(question, student, seed):
    """Ask one question; whatever the answer is, it is right or wrong.

    Parameters
    ----------
    question : Question
    student : object
        Has ``call``, ``run``, ``files``, ``data`` and ``dealt``; see
        :class:`assignment.grader.run.Student`.
    seed : int
        Every question draws from its own generator, so one answer does not change another.

    Returns
    -------
    right : bool
    message : str
        For the student.
    """
    student.question = question
    rng = np.random.default_rng([seed, *question.name.encode()])
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            question.ask(student, rng)
    except (Wrong, StudentError) as error:
        return False, str(error)[:300]
    except Ended:
        raise
    except Exception as error:  # an answer of a kind that the question did not think of
        return False, f"the answer cannot be compared ({type(error).__name__})"
    return True, ""


# --- Assignments ------------------------------------------------------------------------------


@dataclass
class Cell:
    """One cell: ``code`` or ``markdown``, its text, and what the assignment knows it as.

    ``role`` is ``answer``, ``check``, ``essay``, ``given``, or empty for a student's own cell.
    """

    kind: str
    source: str
    name: str = ""
    role: str = ""
    points: float = 0


def read_notebook(path):
    """Read a notebook of our own: a list of cells with names, roles and points.

    (nbformat takes seconds to import, which every submission would pay.)
    """
    out = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        about, source = cell["metadata"].get("nbgrader", {}), "".join(cell["source"])
        role = "check" if about.get("grade") else "given" if about else ""
        if about.get("solution"):
            role = "essay" if cell["cell_type"] == "markdown" else "answer"
        name, points = about.get("grade_id", ""), about.get("points", 0)
        out.append(Cell(cell["cell_type"], source, name, role, points))
    return out


@dataclass(frozen=True)
class Assignment:
    """One folder of ``source/``.

    Attributes
    ----------
    name : str
    module : module
        Its ``questions.py``. Beside the questions, all of it optional: ``HANDED_IN``, names of
        files handed in beside the notebooks; ``PACKAGES``, what students install; ``add_files``,
        which writes more files into a release; ``load_data``, which reads them for the questions.
    notebooks : dict
        Name → list of cells as handed out, or of the source if there is no release yet.
    """

    name: str
    module: object
    notebooks: dict

    @property
    def source(self):
        """Folder with the solutions."""
        return COURSE / "source" / self.name

    @property
    def release(self):
        """Folder that was handed out."""
        return COURSE / "release" / self.name

    @property
    def questions(self):
        """All questions, in the order of ``questions.py``."""
        found = [getattr(value, "question", None) for value in vars(self.module).values()]
        return [value for value in found if isinstance(value, Question)]

    @property
    def handed_in(self):
        """Names of files that are handed in beside the notebooks."""
        return tuple(getattr(self.module, "HANDED_IN", ()))

    @property
    def cells(self):
        """The cells of all notebooks."""
        return [cell for notebook in self.notebooks.values() for cell in notebook]

    def graded(self, by_hand):
        """Return ``{cell: points}`` of the checks, or of the texts that a person grades."""
        role = "essay" if by_hand else "check"
        return {cell.name: cell.points for cell in self.cells if cell.role == role}

    @property
    def parts(self):
        """Check or essay → number of its part, from the heading above it."""
        out, number = {}, ""
        for cell in self.cells:
            heading = re.match(r"## (\d+\.\d+) ", cell.source)
            number = heading.group(1) if heading else number
            if cell.role in ("check", "essay"):
                out[cell.name] = number
        return out


def names():
    """Return the names of all assignments."""
    return sorted(path.parent.name for path in (COURSE / "source").glob("*/questions.py"))


def load(name=None, released=True):
    """Load an assignment.

    Parameters
    ----------
    name : str
    released : bool
        Whether a release is expected.

    Raises
    ------
    SystemExit
        If there is no such assignment, no release, or the points do not add up.
    """
    if name not in names():
        raise SystemExit(f"found no assignment {name!r}; expected one of {', '.join(names())}")
    source = COURSE / "source" / name / "questions.py"
    spec = importlib.util.spec_from_file_location(f"questions_of_{name.replace('-', '_')}", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = COURSE / "release" / name if released else source.parent
    found = {path.stem: read_notebook(path) for path in sorted(folder.glob("*.ipynb"))}
    if not found:
        raise SystemExit(f"{folder}: found no notebooks; expected a release: run `make assignment`")
    out = Assignment(name, module, found)
    asked = {}
    for each in out.questions:
        asked[each.check] = asked.get(each.check, 0) + each.points
    if asked != out.graded(by_hand=False):
        differ = {k for k, _ in {*asked.items()} ^ {*out.graded(by_hand=False).items()}}
        raise SystemExit(f"{source}: points differ from the notebooks' in {', '.join(differ)}")
    return out


@contextlib.contextmanager
def comparing(what):
    """Take whatever goes wrong in here for a wrong answer, and say in what."""
    try:
        yield
    except (Wrong, StudentError, Ended):
        raise
    except Exception:
        raise Wrong(f"{what}: cannot be read") from None
