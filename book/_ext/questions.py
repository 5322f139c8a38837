"""Questions at a chapter's end, from ``book/questions/NN_name.yml``: one source, four forms.

On the site they are forms that a script marks; without one, the answers stand folded below them. In
readers' notebooks they are Markdown with folded answers. ``assignment/week/quizzes.py`` exports
them for learning platforms. They stand before a chapter's exercises, if its file is there.
"""

import ast
import math
import re
from pathlib import Path
from string import ascii_lowercase

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = "book/questions"
TITLE = "Check yourself"
EXERCISES = re.compile(r"^## Exercises$", re.M)
KEYS = {"question", "options", "number", "check", "tolerance", "why"}


class QuestionError(Exception):
    """A file of questions does not hold what it should; names the file and the question."""


def load(chapter, root=ROOT):
    """Return the questions of a chapter, checked; none if it has no file.

    Parameters
    ----------
    chapter : str
        Its name, such as ``"05_lstm"``.
    root : Path, optional
        Of the repository.

    Returns
    -------
    list of dict
        With ``question`` and either ``options`` (each with ``answer``, ``why`` and perhaps
        ``right``) or ``number``, ``tolerance`` and ``why``.
    """
    file = Path(root) / FOLDER / f"{chapter}.yml"
    if not file.exists():
        return []
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    for number, question in enumerate(found, 1):
        problem = problem_of(question)
        if problem:
            raise QuestionError(f"{file.name}, question {number}: {problem}")
    return found


def problem_of(question):
    """Return what is wrong with a question, or None."""
    if question.keys() - KEYS or "question" not in question:
        return f"found {sorted(question)}; expected some of {sorted(KEYS)}"
    if "options" in question:
        options = question["options"]
        if len(options) < 3 or sum(bool(option.get("right")) for option in options) != 1:
            return "expected three options or more, one of them right"
        if not all(option.get("answer") and option.get("why") for option in options):
            return "expected an answer and a reason for each option"
        return None
    if not {"number", "check", "why"} <= question.keys():
        return "expected options, or a number with its check and its reason"
    value, tolerance = compute(question["check"]), question.get("tolerance", 0)
    if abs(value - question["number"]) > max(tolerance / 2, 1e-9 * abs(value)):
        return f"found the number {question['number']}; its check gives {value}"
    return None


def compute(expression):
    """Return the value of an expression with the functions of :mod:`math`."""
    names = {node.id for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)}
    known = {name: getattr(math, name) for name in names if hasattr(math, name)}
    known |= {"sum": sum, "range": range}
    return eval(expression, {"__builtins__": {}} | known)


def with_quiz(text, quiz):
    """Return a chapter's text with a quiz before its exercises, if these stand in it."""
    return EXERCISES.sub(lambda match: f"## {TITLE}\n\n{quiz}\n\n{match[0]}", text, count=1)


def lettered(options):
    """Return pairs of a letter and an option."""
    return zip(ascii_lowercase, options, strict=False)


def as_markdown(questions, fold):
    """Return questions as Markdown for a notebook, with their answers folded by a function."""
    asked, answers = [], []
    for number, question in enumerate(questions, 1):
        asked.append(f"**{number}.** {question['question'].strip()}\n")
        if "options" not in question:
            answers.append(f"**{number}.** **{spell(question)}.** {question['why'].strip()}\n")
            continue
        options = list(lettered(question["options"]))
        lines = [f"- {letter}) {option['answer'].strip()}" for letter, option in options]
        asked.append("\n".join(lines) + "\n")
        answers.append(f"**{number}.**\n")
        for letter, option in options:
            mark = "**right.**" if option.get("right") else "wrong."
            answers.append(f"- {letter}) {mark} {option['why'].strip()}")
        answers.append("")
    return "\n".join(asked) + "\n" + fold("\n".join(answers).strip())


def spell(question):
    """Return the right number, with a true minus sign."""
    return str(question["number"]).replace("-", "−")
