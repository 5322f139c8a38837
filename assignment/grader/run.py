"""Run one submission in its own place and ask it everything. Needs no nbgrader."""

import json
import re
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import numpy as np

from assignment.grader import checks
from assignment.grader.release import files_of
from assignment.grader.sandbox import KernelEnded, Limits, OutOfTime, Sandbox, StudentError
from assignment.grader.submission import grade_id

COURSE = Path(__file__).resolve().parent.parent
# What student code must not read; every sandbox tries them before any student code runs.
SECRETS = (COURSE, COURSE / "source", COURSE / "grader", COURSE / "gradebook.db")
WHY = {
    "time": "did not stop within its time",
    "output": "printed without end",
    "memory": "used more memory than allowed",
    "ended": "ended the kernel",
}
RESTARTS = 6


@dataclass
class Result:
    """What grading one submission gave.

    Attributes
    ----------
    student : str
    answers : dict
        Check cell → list of ``[title, points, right, message]``.
    notebooks : dict
        Name → executed notebook, each check cell with its result.
    messages : list of str
    seconds, processor : float
        Wall-clock and processor seconds.
    cell_seconds : dict
        Check cell → seconds for its questions, and ``cells`` for running the notebooks.
    protected : bool or None
        Whether student code was unable to read the grader's files; None if nothing was run.
    """

    student: str
    answers: dict = field(default_factory=dict)
    notebooks: dict = field(default_factory=dict)
    messages: list = field(default_factory=list)
    seconds: float = 0.0
    processor: float = 0.0
    cell_seconds: dict = field(default_factory=dict)
    protected: bool | None = None

    def points(self, cell=None):
        """Return the points of one check cell, or of all."""
        cells = self.answers if cell is None else [cell]
        return sum(p for c in cells for _, p, right, _ in self.answers.get(c, ()) if right)


class Student:
    """The student's functions, as the questions see them.

    A kernel that ends is started again, and the cells that ran before are run again.
    """

    def __init__(self, box, data, runs, dealt):
        self.box, self.data, self.runs, self.dealt = box, data, runs, dealt
        self.good, self.restarts, self.seconds, self.memo = [], 0, None, {}

    def begin(self):
        """Forget all cells: a new notebook in a new kernel."""
        self.box.stop()
        self.good = []

    def execute(self, source):
        """Run a cell that is to be kept."""
        try:
            done = self.box.execute(source)
        except KernelEnded:
            self._recover()
            raise
        self.good.append(source)
        return done

    def run(self, code, **inputs):
        """As :meth:`Sandbox.run`."""
        try:
            return self.box.run(code, self.seconds, **inputs)
        except KernelEnded as error:
            self._recover()
            raise StudentError("KernelEnded", WHY.get(str(error), str(error))) from None

    def call(self, name, *args):
        """As :meth:`Sandbox.call`."""
        return self.run(f"result = {name}(*args)", args=list(args))

    def _recover(self):
        self.restarts += 1
        if self.restarts > RESTARTS:
            raise OutOfTime
        for source in self.good:
            try:
                self.box.execute(source)
            except KernelEnded:
                raise OutOfTime from None


def load_release(folder):
    """Return the notebooks as handed out, by name, and the data in their zip."""
    notebooks = {
        path.stem: nbformat.read(path, as_version=4) for path in sorted(folder.glob("*.ipynb"))
    }
    if not notebooks:
        raise SystemExit(f"{folder}: found no notebooks; expected a release: run `make assignment`")
    data = {}
    for path in sorted((folder / "data").glob("*.npz")):
        with np.load(path) as file:
            data[path.stem] = {name: file[name] for name in file.files}
    return notebooks, data


def grade(submission, release, seed, limits=None, dealt=None, secrets=SECRETS):
    """Run a submission's notebooks and ask all questions.

    Parameters
    ----------
    submission : Submission
    release : Path
        The folder that was handed out.
    seed : int
    limits : Limits
    dealt : dict, optional
        Data set → classes that the student's group was given.
    secrets : sequence of Path

    Returns
    -------
    Result
    """
    started, processor = time.perf_counter(), _processor()
    result = Result(submission.student, messages=list(submission.messages))
    originals, data = load_release(release)
    files = {
        str(file.relative_to(release)): file
        for file in files_of(release)
        if file.suffix not in (".ipynb", ".md")
    }
    if submission.runs is not None:
        files["runs.json"] = json.dumps(submission.runs).encode()
    limits = limits or Limits()
    with Sandbox(files, secrets, limits) as box:
        student = Student(box, data, submission.runs, dealt or {})
        for name, original in originals.items():
            notebook = submission.notebooks.get(name)
            if notebook is None:
                result.notebooks[name] = _unanswered(original, result, "was not handed in")
                continue
            student.begin()
            result.notebooks[name] = notebook
            late = False
            for cell in notebook.cells:
                if cell.cell_type != "code":
                    continue
                if late:
                    _not_reached(cell, result, limits)
                    continue
                try:
                    _one_cell(cell, student, result, seed, name)
                except OutOfTime:
                    late = True
                    _not_reached(cell, result, limits)
            if late:
                result.messages.append(
                    f"{name}: not run to its end (limit {limits.seconds:g} s, {RESTARTS} restarts)"
                )
        result.protected = box.protected
    result.seconds = round(time.perf_counter() - started, 1)
    result.processor = round(_processor() - processor, 1)
    return result


def _processor():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _one_cell(cell, student, result, seed, name):
    which = grade_id(cell)
    started = time.perf_counter()
    try:
        outputs, problem = student.execute(cell.source)
    except KernelEnded as error:
        outputs, problem = [], str(error)
    _count(result, "cells", started)
    if any(output.get("ename") == "MemoryError" for output in outputs):
        problem = problem or "memory"
    cell.outputs = [_harmless(output) for output in outputs][:40]
    if problem:
        why = WHY.get(problem, problem)
        _say(cell, f"[grader] This cell {why}.")
        result.messages.append(f"{name}: a cell {why} ({which or _first_line(cell)})")
    if not which or not cell.metadata.nbgrader.get("grade"):
        return
    if cell.metadata.nbgrader.get("solution"):
        return
    started = time.perf_counter()
    answers = result.answers.setdefault(which, [])
    try:
        for question, right, message in checks.ask(student, which, seed):
            answers.append([question.title, question.points, right, message])
    finally:
        _count(result, which, started)
    _show_answers(cell, answers)


def _count(result, what, started):
    spent = time.perf_counter() - started
    result.cell_seconds[what] = round(result.cell_seconds.get(what, 0) + spent, 2)


def _unanswered(original, result, why):
    for cell in original.cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade"):
            _no_points(cell, result, why)
    return original


def _not_reached(cell, result, limits):
    cell.outputs = []
    if grade_id(cell) and cell.metadata.nbgrader.get("grade"):
        _no_points(cell, result, f"not reached within {limits.seconds:g} s")


def _no_points(cell, result, why):
    which = grade_id(cell)
    asked = result.answers.setdefault(which, [])
    known = {title for title, *_ in asked}
    for question in checks.QUESTIONS:
        if question.cell == which and question.title not in known:
            asked.append([question.title, question.points, False, why])
    cell.outputs = []
    _show_answers(cell, asked)


def _show_answers(cell, answers):
    """Leave what nbgrader reads: text, and the points as the cell's result."""
    total = sum(points for _, points, _, _ in answers)
    reached = sum(points for _, points, right, _ in answers if right)
    lines = [f"[grader] {reached} of {total} points"]
    for title, points, right, message in answers:
        lines.append(
            f"  {points if right else 0}/{points}  {title}{': ' if message else ''}{message}"
        )
    _say(cell, "\n".join(lines))
    text = f"{float(reached)}"
    cell.outputs.append(
        nbformat.v4.new_output("execute_result", data={"text/plain": text}, execution_count=1)
    )


def _say(cell, text):
    """Add text to a cell's output; errors become text, since nbgrader takes them for no points."""
    kept = []
    for output in cell.outputs:
        if output.output_type == "error":
            text = f"{output.ename}: {output.evalue}\n{text}"
        elif output.output_type == "stream" or "image/png" in output.get("data", {}):
            kept.append(output)
            if output.output_type == "stream":
                output["name"] = "stdout"
    cell.outputs = [*kept, nbformat.v4.new_output("stream", name="stdout", text=text + "\n")]


def _harmless(output):
    """Keep text and pictures: a page that a person opens must not run a student's script."""
    if output.output_type in ("display_data", "execute_result"):
        data = output.data
        output.data = {
            k: v for k, v in data.items() if k in ("text/plain", "image/png", "image/jpeg")
        }
        output.metadata = {}
        output.data.setdefault("text/plain", "")
    if output.output_type == "stream":
        output.text = _plain(output.text)
    if output.output_type == "error":
        output.traceback = [_plain(line) for line in output.traceback]
        output.evalue = _plain(output.evalue)[:500]
    return output


def _plain(text):
    text = text if len(text) < 20_000 else text[:20_000] + "\n[grader] cut here\n"
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _first_line(cell):
    return (cell.source.strip().splitlines() or ["empty"])[0][:40]
