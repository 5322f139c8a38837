"""The assignment: what each answer is worth, and that grading is fair, safe and tight-lipped."""

import json
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

from assignment.grader import checks, submission
from assignment.grader.release import arrays
from assignment.grader.sandbox import (
    StudentError,
    _pack,
    _unpack,
)
from helpers.data import load_handwriting

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "assignment" / "source" / "sequence-learning"
ONE, TWO = "1_from_files_to_gradients", "2_training_and_judging"
PROTECTED = sys.platform == "linux"


def read(path):
    return nbformat.read(path, as_version=4)


def cell_of(notebook, name):
    return next(c for c in notebook.cells if submission.grade_id(c) == name)


# --- Points -----------------------------------------------------------------------------------


def graded_cells():
    return {
        c.metadata.nbgrader.grade_id: c.metadata.nbgrader
        for name in (ONE, TWO)
        for c in read(SOURCE / f"{name}.ipynb").cells
        if c.metadata.get("nbgrader", {}).get("grade")
    }


def test_all_points_together_are_100_and_the_questions_add_up_to_their_cells():
    cells = graded_cells()
    assert sum(cell.points for cell in cells.values()) == 100
    asked = {name: cell.points for name, cell in cells.items() if not cell.solution}
    assert asked == checks.points()
    assert list(checks.PARTS) == list(checks.points())


def test_the_points_in_the_text_are_those_of_the_cells():
    by_hand = sum(cell.points for cell in graded_cells().values() if cell.solution)
    expected = {part: checks.points(cell) for cell, part in checks.PARTS.items()}
    expected["2.7"] = by_hand
    rows = r"^\| (\d\.\d) \|[^|]+\| (\d+) \|"
    texts = [cell.source for n in (ONE, TWO) for cell in read(SOURCE / f"{n}.ipynb").cells]
    stated = dict(re.findall(rows, "\n".join(texts), re.M))
    page = dict(re.findall(rows, (ROOT / "book" / "teaching.md").read_text(), re.M))
    assert {part: int(points) for part, points in stated.items()} == expected
    assert {part: int(points) for part, points in page.items()} == expected
    headings = dict(re.findall(r"^## (\d\.\d) .* \((\d+) points\)", "\n".join(texts), re.M))
    assert {part: int(points) for part, points in headings.items()} == expected


# --- Right and wrong answers, function by function --------------------------------------------


class Local:
    """The questions' view of functions in this process; values travel as to a sandbox."""

    def __init__(self, namespace, data=None, runs=None):
        self.namespace, self.data, self.runs = namespace, data or {}, runs
        self.dealt, self.memo = {}, {}

    def run(self, code, **inputs):
        travel = lambda value: _unpack(json.loads(json.dumps(_pack(value))))  # noqa: E731
        names = {**self.namespace, **travel(inputs)}
        try:
            exec(code, names)
            return travel(names["result"])
        except Exception as error:
            raise StudentError(type(error).__name__, str(error)) from None

    def call(self, name, *args):
        return self.run(f"result = {name}(*args)", args=list(args))


SLOW = ("check_model", "check_train", "check_runs")
ANSWERS = {
    submission.grade_id(c): c.source
    for name in (ONE, TWO)
    for c in read(SOURCE / f"{name}.ipynb").cells
    if c.cell_type == "code" and c.metadata.get("nbgrader", {}).get("solution")
}
FUNCTIONS = [a for a in ANSWERS if a not in ("answer_architectures", "answer_curves")]


def lost(changes=(), cells=None, **student):
    """Answer with the solution, changed in places; return the points lost by check cell."""
    namespace = {"np": np}
    if "keras." in "".join(new for *_, new in changes) or cells in SLOW:
        import keras

        namespace["keras"] = keras
    answers = {name: ANSWERS[name] for name in FUNCTIONS}
    for name, old, new in changes:
        assert old in answers[name], f"{name}: {old!r} is not in the solution"
        answers[name] = answers[name].replace(old, new)
    for source in answers.values():
        exec(source, namespace)
    asked = [cells] if cells else [cell for cell in checks.PARTS if cell not in SLOW]
    out = {}
    for cell in asked:
        wrong = [q for q, right, _ in checks.ask(Local(namespace, **student), cell, 3) if not right]
        if wrong:
            out[cell] = sum(q.points for q in wrong)
    return out


def test_the_solution_loses_nothing_whatever_the_numbers():
    assert lost() == {}
    namespace = {"np": np}
    for name in FUNCTIONS:
        exec(ANSWERS[name], namespace)
    for seed in range(100, 120):
        for cell in checks.PARTS:
            if cell not in SLOW:
                answers = list(checks.ask(Local(namespace), cell, seed))
                assert all(right for _, right, _ in answers), (seed, cell)


def body(name, function, code):
    """Replace all that a function of an answer does."""
    source = ANSWERS[name]
    head = re.search(rf"def {function}\(.*\):\n(?:    \"\"\".*\"\"\"\n)", source).group()
    return name, head, f"{head}    {code}\n"


PLANTED = {
    "trusts float() alone": (
        [
            ("answer_read_stroke", "if not np.isfinite(numbers).all():", "if False:"),
            ("answer_read_stroke", "if len(numbers) != 2 * int(words[0]):", "if False:"),
        ],
        {"check_read_stroke": 4},
    ),
    "the first word is not looked at": (
        [("answer_read_stroke", "not words[0].isdigit() or int(words[0]) == 0", "False")],
        # "0" before nothing; and the file is not named where int() complains
        {"check_read_stroke": 2},
    ),
    "an error without the file's name": (
        [("answer_read_stroke", 'f"{file}: found {len', 'f"found {len')],
        {"check_read_stroke": 1},
    ),
    "splits at spaces only": (
        [("answer_read_stroke", "text.split()", 'text.split(" ")')],
        {"check_read_stroke": 1},
    ),
    "rows counted from 0": (
        [("answer_read_segment", "enumerate(lines, 1)", "enumerate(lines)")],
        {"check_read_segment": 1},
    ),
    "any width of rows": (
        [("answer_read_segment", "if len(words) != 39:", "if len(words) > 40:")],
        {"check_read_segment": 3},
    ),
    "both axes scaled by the larger": (
        [("answer_scale", "span = x.max(axis=0) - low", "span = (x.max(axis=0) - low).max()")],
        {"check_scale": 2},
    ),
    "scales in place": (
        [
            body(
                "answer_scale",
                "scale_stroke",
                "x -= x.min(axis=0); x /= np.where(np.ptp(x, axis=0) == 0, 1, np.ptp(x, axis=0)); return x",
            )
        ],
        {"check_scale": 2},
    ),
    "means file by file": (
        [
            body(
                "answer_scale",
                "fit_standard",
                "return tuple(np.mean([f(x, axis=0) for x in sequences], axis=0) for f in (np.mean, np.std))",
            )
        ],
        {"check_scale": 2},
    ),
    "divides by zero": (
        [("answer_scale", "np.where(span == 0, 1, span)", "span")],
        {"check_scale": 1},
    ),
    "a mask of any feature": (
        [("answer_pad", "(batch != value).any(axis=-1)", "(batch != value).all(axis=-1)")],
        {"check_pad": 2},
    ),
    "a mask of the first feature": (
        [("answer_pad", "(batch != value).any(axis=-1)", "batch[..., 0] != value")],
        {"check_pad": 2},
    ),
    "pads in front": (
        [("answer_pad", "batch[i, : len(x)] = x", "batch[i, length - len(x) :] = x")],
        {"check_pad": 5},
    ),
    "cuts what is too long": (
        [
            ("answer_pad", "if longest > length:", "if False:"),
            ("answer_pad", "batch[i, : len(x)] = x", "batch[i, : len(x)] = x[:length]"),
        ],
        {"check_pad": 1},
    ),
    "masked steps are reset": (
        [("answer_rnn", "np.tanh(a), h)", "np.tanh(a), 0)")],
        {"check_rnn": 2},
    ),
    "no tanh in the step": (
        [("answer_rnn", "return np.tanh(x @ W_x + h @ W_h + b)", "return x @ W_x + h @ W_h + b")],
        {"check_rnn": 3},
    ),
    "no derivative of the tanh": (
        [("answer_backward", "delta = d_h * (1 - h * h)", "delta = d_h")],
        {"check_backward": 5},
    ),
    "the state after in place of the state before": (
        [("answer_backward", "d_W_h += before.T @ delta", "d_W_h += h.T @ delta")],
        {"check_backward": 2},
    ),
    "one step of the gradient": (
        [("answer_backward", "reversed(range(x.shape[1]))", "[x.shape[1] - 1]")],
        {"check_backward": 5},
    ),
    "forward differences": (
        [
            ("answer_backward", "array[index] = before - step", "array[index] = before"),
            ("answer_backward", "/ (2 * step)", "/ step"),
        ],
        {"check_backward": 2},
    ),
    "adds the step back": (
        [
            ("answer_backward", "array[index] = before - step", "array[index] -= 2 * step"),
            (
                "answer_backward",
                "        array[index] = before\n",
                "        array[index] += step\n",
            ),
        ],
        {"check_backward": 1},
    ),
    "gates in PyTorch's order": (
        [("answer_lstm", "a_i, a_f, a_c, a_o =", "a_i, a_f, a_o, a_c =")],
        {"check_lstm": 5},
    ),
    "a sigmoid that overflows": (
        [("answer_lstm", "return 0.5 + 0.5 * np.tanh(a / 2)", "return 1 / (1 + np.exp(-a))")],
        {"check_lstm": 1},
    ),
    "the cell state from before in h": (
        [
            ("answer_lstm", "    c = sigmoid", "    old, c = c, sigmoid"),
            ("answer_lstm", "* np.tanh(c), c", "* np.tanh(old), c"),
        ],
        {"check_lstm": 3},
    ),
    "an LSTM counted without biases": (
        [
            (
                "answer_count",
                '(4 if cell == "LSTM" else 1) * n * (m + n + 1)',
                '4 * n * (m + n) if cell == "LSTM" else n * (m + n + 1)',
            )
        ],
        {"check_count": 1},
    ),
    "a wrong number by hand": (
        [("answer_count", "first_of_rnn = 64 * (2 + 64 + 1)", "first_of_rnn = 64 * (2 + 64)")],
        {"check_count": 2},
    ),
    "stops where the error rises": (
        [("answer_stopped", "abs(losses[k] - losses[k - 1])", "losses[k - 1] - losses[k]")],
        {"check_stopped": 1},
    ),
    "epochs counted from 0": (
        [("answer_stopped", "return k + 1", "return k")],
        {"check_stopped": 3},
    ),
    "a split that is not stratified": (
        [
            body(
                "answer_choose",
                "split",
                "order = np.random.default_rng(seed).permutation(len(y)); n = round(share * len(y)); return order[n:], order[:n]",
            )
        ],
        {"check_choose": 1},
    ),
    "a split that knows no seed": (
        [("answer_choose", "np.random.default_rng(seed)", "np.random.default_rng(0)")],
        {"check_choose": 1},
    ),
    "the best seed in place of the mean": (
        [("answer_choose", "sum(accuracies) / len(accuracies)", "max(accuracies)")],
        {"check_choose": 2},
    ),
    "chosen on the test files": (
        [("answer_choose", 'run["validation_accuracy"]', 'run["test_accuracy"]')],
        {"check_choose": 3},
    ),
    "ties to whatever comes first": (
        [("answer_choose", '-groups[units][0]["parameters"]', "0")],
        {"check_choose": 1},
    ),
    "rows and columns exchanged": (
        [
            (
                "answer_confusion",
                "(np.asarray(y), np.asarray(predicted))",
                "(np.asarray(predicted), np.asarray(y))",
            )
        ],
        {"check_confusion": 3},
    ),
    "plain accuracy": (
        [
            body(
                "answer_confusion",
                "balanced_accuracy",
                "return float(np.trace(matrix) / np.sum(matrix))",
            )
        ],
        {"check_confusion": 3},
    ),
    "a class without files counts as 0": (
        [
            (
                "answer_confusion",
                "(np.diag(matrix)[files > 0] / files[files > 0]).mean()",
                "(np.diag(matrix) / np.maximum(files, 1)).mean()",
            )
        ],
        {"check_confusion": 1},
    ),
    "hard-coded: the LSTM step": (
        [
            body(
                "answer_lstm",
                "lstm_step",
                "return np.array([[0.0546201]]), np.array([[0.4704070]])",
            )
        ],
        {"check_lstm": 5},
    ),
    "hard-coded: the backward pass": (
        [
            body(
                "answer_backward",
                "rnn_backward",
                'return {"W_x": np.array([[0.3464706]]), "W_h": np.array([[0.1338028]]), "b": np.array([0.4033982])}',
            )
        ],
        {"check_backward": 5},
    ),
    "hard-coded: the counts": (
        [
            body("answer_count", "count_parameters", "return 6 if cell == 'SimpleRNN' else 57")
        ],
        {"check_count": 2},
    ),
    "hard-coded: the stopping rule": (
        [
            body(
                "answer_stopped",
                "stopped_after",
                "return 3 if threshold == 0.2 else 4 if len(losses) == 5 else None",
            )
        ],
        {"check_stopped": 3},
    ),
    "hard-coded: balanced accuracy": (
        [body("answer_confusion", "balanced_accuracy", "return 0.5555556")],
        {"check_confusion": 3},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_answer_loses_exactly_its_points(name):
    changes, expected = PLANTED[name]
    assert lost(changes) == expected


@pytest.mark.parametrize("name", [name for name in PLANTED if name.startswith("hard-coded")])
def test_hard_coded_answers_do_pass_the_visible_checks(name, monkeypatch):
    monkeypatch.syspath_prepend(str(SOURCE))
    import given

    changes, expected = PLANTED[name]
    ((answer, old, new),), (check,) = changes, expected
    namespace = {"np": np, "compare": given.compare, "error_of": given.error_of}
    exec(ANSWERS[answer].replace(old, new), namespace)
    notebook = ONE if check in str(read(SOURCE / f"{ONE}.ipynb")) else TWO
    exec(cell_of(read(SOURCE / f"{notebook}.ipynb"), check).source, namespace)


@pytest.mark.parametrize(
    "answer, old, new, check, expected",
    [
        ("answer_model", "", "", "check_model", {}),
        ("answer_model", ", keras.layers.Masking(mask_value)]", "]", "check_model", 2),
        ("answer_model", "getattr(keras.layers, cell)", "keras.layers.LSTM", "check_model", 2),
        ("answer_train", "if len(losses) > 1 and", "if False and", "check_train", 1),
    ],
    ids=["solution", "no masking", "always LSTM", "no stopping rule"],
)
def test_keras_answers(answer, old, new, check, expected):
    data = {}
    if check == "check_train":
        data = {"handwriting": arrays(load_handwriting(ROOT / "data" / "sample"))}
    changes = [(answer, old, new)] if old else []
    found = lost(changes, check, data=data)
    assert found == ({check: expected} if expected else {})
