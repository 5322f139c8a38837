"""Run one submission in its sandbox, then ask it everything.

``python -m assignment.grader.run`` does so in a process of its own, which ends with the submission:
``make grade`` starts one for each, so that whatever a submission does to its grader stays there.
"""

import argparse
import base64
import json
import re
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from assignment.grader import pages, questions
from assignment.grader.handin import clean, printable, read
from assignment.grader.sandbox import Ended, Limits, OutOfTime, Sandbox

WHY = {
    "time": "did not stop within its time",
    "output": "printed without end",
    "memory": "used more memory than allowed",
    "ended": "ended Python",
}
RESTARTS = 6
MAX_SHOWN = 20_000  # characters of one cell's output
MAX_SHOWN_IN_ALL = 1_000_000  # of one notebook
MAX_PICTURE = 1_000_000  # bytes
MAX_PICTURES = 40
ADDRESS_SPACE = 8 << 30  # of the process that reads and asks


@dataclass
class Result:
    """What grading one submission gave.

    Attributes
    ----------
    student : str
    answers : dict
        Question → ``{"check", "points", "right", "message"}``.
    notebooks : dict
        Name → list of cells as they are shown: ``{"name", "html"}``.
    essays : dict
        Essay → its text; empty if it was left as it was handed out.
    code : str
        All that the student wrote into answer cells, for the report on similarity.
    messages : list of str
    unused : list of (str, str)
    seconds, processor : float
        By the clock, and of the processor.
    failed : bool
        Whether the grader could not do its work.
    """

    student: str
    answers: dict = field(default_factory=dict)
    notebooks: dict = field(default_factory=dict)
    essays: dict = field(default_factory=dict)
    code: str = ""
    messages: list = field(default_factory=list)
    unused: list = field(default_factory=list)
    seconds: float = 0.0
    processor: float = 0.0
    failed: bool = False


class Student:
    """The student's functions, as the questions see them.

    A sandbox that ends is started again, and the cells that ran before are run again.

    Attributes
    ----------
    files : dict of bytes
        What was handed in beside the notebooks.
    data : dict
        What the assignment's ``load_data`` returned.
    dealt : dict
        What the student's group was given.
    memo : dict
        For questions that look at the same answer.
    """

    def __init__(self, box, files=None, data=None, dealt=None):
        self.box, self.files, self.data, self.dealt = box, files or {}, data or {}, dealt or {}
        self.good, self.restarts, self.memo, self.question = [], 0, {}, None

    def execute(self, source, mark=None):
        """Run a cell that is to be kept; if it ends the sandbox, it is left out from now on."""
        try:
            done = self.box.execute(source, mark)
        except Ended:
            self.recover()
            if mark:
                self.box.execute("", mark)
                self.good.append(("", mark))
            raise
        self.good.append((source, mark))
        return done

    def run(self, code, **inputs):
        """As :meth:`Sandbox.run`."""
        question = self.question
        return self.box.run(code, question.seconds, question.check, **inputs)

    def call(self, name, *args):
        """Call one of the student's functions."""
        return self.run(f"result = {name}(*args)", args=list(args))

    def recover(self):
        """Start again and run what ran before."""
        self.restarts += 1
        if self.restarts > RESTARTS:
            raise OutOfTime
        for source, mark in self.good:
            try:
                self.box.execute(source, mark)
            except Ended:
                raise OutOfTime from None


def grade(handin, assignment, seed, limits=None, dealt=None):
    """Run a submission's notebooks and ask all questions.

    Parameters
    ----------
    handin : assignment.grader.handin.HandIn
    assignment : assignment.grader.questions.Assignment
    seed : int
    limits : Limits
    dealt : dict, optional
        What the student's group was given.

    Returns
    -------
    Result
    """
    started, limits = time.perf_counter(), limits or Limits()
    result = Result(handin.student, messages=list(handin.messages), unused=handin.unused)
    data = getattr(assignment.module, "load_data", lambda folder: {})(assignment.release)
    with Sandbox(assignment.release, handin.files, limits) as box:
        for name, original in assignment.notebooks.items():
            asked = {cell.name for cell in original if cell.role == "check"}
            asked = [each for each in assignment.questions if each.check in asked]
            cells = handin.notebooks.get(name)
            result.notebooks[name] = shown = []
            if cells is None:
                _unanswered(result, asked, "the notebook was not handed in")
                continue
            _keep_words(cells, original, result)
            box.stop()  # a new notebook in a new process
            student = Student(box, handin.files, data, dealt)
            try:
                for cell in cells:
                    shown.append({**asdict(cell), "shown": _show(student, cell, result, name)})
                for each in asked:
                    result.answers[each.name] = _ask(each, student, seed)
            except OutOfTime:
                why = f"not reached within {limits.seconds:g} s and {RESTARTS} restarts"
                result.messages.append(f"{name}: {why}")
                _unanswered(result, asked, why)
                shown += [{**asdict(cell), "shown": []} for cell in cells[len(shown) :]]
        result.processor = round(box.used(), 1)
    for cells in result.notebooks.values():
        for cell in cells:
            cell["html"] = pages.cell(
                *(cell.pop(key) for key in ("kind", "source", "role", "shown"))
            )
    result.seconds = round(time.perf_counter() - started, 1)
    result.messages = [printable(message)[:400] for message in result.messages][:80]
    return result


def _keep_words(cells, original, result):
    """Keep the essays, and the code for the report on similarity."""
    models = {cell.name: cell for cell in original}
    for cell in cells:
        same = cell.name in models and cell.source.strip() == models[cell.name].source.strip()
        if cell.role == "essay":
            result.essays[cell.name] = "" if same else cell.source.strip()
        elif cell.kind == "code" and not same:
            result.code += f"{cell.source}\n\n"


def _unanswered(result, asked, why):
    for each in asked:
        result.answers.setdefault(each.name, _row(each, False, why))


def _row(question, right, message):
    message = printable(message)
    return {"check": question.check, "points": question.points, "right": right, "message": message}


def _ask(question, student, seed):
    try:
        return _row(question, *questions.ask(question, student, seed))
    except Ended as error:
        student.recover()
        return _row(question, False, f"the call {WHY.get(str(error), 'failed')}")


def _show(student, cell, result, name):
    """Run one cell and return what it showed: text and pictures, nothing else."""
    if cell.kind != "code":
        return []
    try:
        outputs, problem = student.execute(cell.source, cell.name if cell.role == "check" else None)
    except Ended as error:
        outputs, problem = [], str(error)
    shown, before = [], [o for c in result.notebooks[name] for o in c["shown"]]
    room = MAX_SHOWN_IN_ALL - sum(len(o.get("text", "")) for o in before)
    for output in outputs if isinstance(outputs, list) else []:
        output = output if isinstance(output, dict) else {}
        if output.get("kind") == "picture" and (png := _picture(output.get("png"))):
            if sum("png" in o for o in [*before, *shown]) < MAX_PICTURES:
                shown.append({"png": png})
        elif isinstance(output.get("text"), str):
            shown.append({"text": _plain(output["text"])[: max(0, room)]})
            room -= len(shown[-1]["text"])
            if output.get("name") == "MemoryError":
                problem = problem or "memory"
    shown = shown[:40]
    if problem:
        why = WHY.get(problem, "was stopped")
        what = cell.name or (cell.source.strip().splitlines() or ["empty"])[0][:40]
        result.messages.append(f"{name}: a cell {why} ({what})")
        shown.append({"note": f"This cell {why}."})
    return shown


def _picture(text):
    """Return the picture if it is one and not too large, else None."""
    try:
        content = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        return None
    size = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or len(content) > MAX_PICTURE:
        return None
    return text if max(size) <= 4000 else None


def _plain(text):
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", clean(text))
    return text if len(text) < MAX_SHOWN else text[:MAX_SHOWN] + "\n… cut here"


def main():
    """Grade what the command line says and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assignment")
    parser.add_argument("student")
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=Limits.seconds)
    parser.add_argument("--memory", type=float, default=Limits.memory / 2**30)
    parser.add_argument("--dealt", type=json.loads, default={})
    options = parser.parse_args()
    # Only the soft limit: the sandbox has its own.
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.RLIM_INFINITY))
    assignment = questions.load(options.assignment)
    handin = read(options.student, options.paths, assignment)
    limits = Limits(options.seconds, options.seconds / 5, int(options.memory * 2**30))
    result = grade(handin, assignment, options.seed, limits, options.dealt)
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
