"""The assignment: what each answer is worth, and that grading is fair, safe and tight-lipped."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup

from assignment.grader import checks, groups, submission
from assignment.grader.release import arrays
from assignment.grader.run import load_release
from assignment.grader.sandbox import (
    KernelEnded,
    Limits,
    Sandbox,
    StudentError,
    _pack,
    _unpack,
)
from helpers.data import load_cv_segments, load_handwriting

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


def lost(changes=(), cells=None, seed=3, **student):
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
        wrong = [
            q for q, right, _ in checks.ask(Local(namespace, **student), cell, seed) if not right
        ]
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
        [body("answer_count", "count_parameters", "return 6 if cell == 'SimpleRNN' else 57")],
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
        {"check_stopped": 4},
    ),
    "hard-coded: balanced accuracy": (
        [body("answer_confusion", "balanced_accuracy", "return 0.5555556")],
        {"check_confusion": 3},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_answer_loses_exactly_its_points(name):
    changes, expected = PLANTED[name]
    for seed in range(5):
        assert lost(changes, seed=seed) == expected, seed


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


# --- The recorded runs of the solution --------------------------------------------------------

RUNS = json.loads((ROOT / "assignment" / "solution" / "runs.json").read_text())


@pytest.fixture(scope="module")
def data():
    sample = ROOT / "data" / "sample"
    return {d.name: arrays(d) for d in (load_handwriting(sample), load_cv_segments(sample))}


def lost_by_runs(data, rows):
    asked = checks.ask(Local({}, data, rows), "check_runs", 0)
    return {q.title: q.points for q, right, _ in asked if not right}


def of_the_test(rows):
    return [row for row in rows if "test_predicted" in row]


def test_runs_are_believed_only_if_their_predictions_say_so(data):
    copies = lambda: json.loads(json.dumps(RUNS))  # noqa: E731
    assert lost_by_runs(data, copies()) == {}
    assert sum(lost_by_runs(data, None).values()) == 7

    rows = copies()
    rows[0]["validation_accuracy"] += 0.02
    assert sum(lost_by_runs(data, rows).values()) == 2
    rows = copies()
    of_the_test(rows)[0]["test_confusion"][0][0] += 1
    assert sum(lost_by_runs(data, rows).values()) == 1
    rows = copies()
    of_the_test(rows)[0]["test_predicted"].reverse()
    assert sum(lost_by_runs(data, rows).values()) == 1
    rows = copies()
    rows[1]["losses"] = rows[1]["losses"][::-1]
    assert sum(lost_by_runs(data, rows).values()) == 1
    rows = [row for row in copies() if row["units"] != [64]]  # the RNN chosen on segments is gone
    assert lost_by_runs(data, rows).keys() >= {
        "both data sets, both cells, three architectures each",
        "confusion matrices are what the predictions give",
    }
    rows = copies()
    for row in rows:
        row["test_predicted"] = of_the_test(rows)[0]["test_predicted"]
    assert "the chosen architecture was tested, and no other" in lost_by_runs(data, rows)
    for broken in ([], [1], [{"dataset": "handwriting"}], [{**RUNS[0], "held_out": "all"}]):
        assert sum(lost_by_runs(data, broken).values()) >= 5


def test_runs_on_other_classes_than_the_groups_do_not_count(data):
    student = Local({}, data, RUNS)
    student.dealt = {"handwriting": ["a", "ai", "bA", "chA"]}
    wrong = {q.title for q, right, _ in checks.ask(student, "check_runs", 0) if not right}
    assert "validation accuracies are what the predictions give" in wrong


# --- The sandbox ------------------------------------------------------------------------------


def test_student_code_has_limits_and_no_way_out(tmp_path):
    secret = tmp_path / "gradebook.db"
    secret.write_text("secret")
    limits = Limits(seconds=120, cell_seconds=5, memory=1 << 30)
    with Sandbox({"given.txt": b"hello"}, [secret], limits) as box:

        def fails(code, kind):
            outputs, _ = box.execute(code)
            errors = [output.ename for output in outputs if output.output_type == "error"]
            assert errors == [kind], (code, outputs)

        box.execute("import os\ntext = open('given.txt').read()\ndef double(x): return 2 * x")
        assert box.run("result = text") == "hello"
        assert np.array_equal(box.call("double", np.arange(3)), [0, 2, 4])
        fails("import helpers", "ModuleNotFoundError")
        fails("bytearray(1 << 31)", "MemoryError")
        fails("input()", "StdinNotImplementedError")
        if PROTECTED:
            assert box.protected
            fails(f"open({str(secret)!r})", "PermissionError")
            fails(f"os.listdir({str(ROOT / 'assignment')!r})", "PermissionError")
            fails(f"open({str(Path(tempfile.gettempdir(), 'anything'))!r}, 'w')", "PermissionError")
            fails("os.listdir(os.path.expanduser('~root'))", "PermissionError")
            fails(f"open('/proc/{os.getpid()}/environ')", "PermissionError")
            out, _ = box.execute(f"os.system('cat {secret}')")
            assert "secret" not in str(out)
        _, problem = box.execute("while True: pass")
        assert problem == "time"
        with pytest.raises(StudentError, match="TimeoutError"):
            box.run("import time\nwhile True: time.sleep(1)", 1)
        assert box.call("double", 2) == 4  # it lives on
        for code in ("exit()", "os._exit(1)", "import os\nos.kill(os.getpid(), 9)"):
            with pytest.raises(KernelEnded, match="ended"):
                box.execute(f"import os\n{code}")
        many = "import subprocess, sys, time\nhog = 'import time; x = b\"1\" * (700 << 20); time.sleep(9)'"
        with pytest.raises(KernelEnded, match="memory"):
            box.execute(
                f"{many}\np = [subprocess.Popen([sys.executable, '-c', hog]) for _ in 'ab']\ntime.sleep(9)"
            )
        box.execute("import subprocess\nsubprocess.Popen(['sleep', '99'], start_new_session=True)")
    import psutil

    assert not [p for p in psutil.Process().children(recursive=True) if "sleep" in p.name()]
    assert not box.folder.exists()


def test_what_a_student_returns_is_read_as_data():
    with Sandbox({}) as box:
        box.execute("class Evil:\n    def __reduce__(self): return (print, ('evil',))")
        for code in ("result = Evil()", "import numpy as np\nresult = np.array([Evil()])"):
            with pytest.raises(StudentError):
                box.run(code)
        with pytest.raises(StudentError, match="ZeroDivisionError"):
            box.run("result = 1 / 0")
        with pytest.raises(StudentError, match="NameError"):
            box.call("not_there")


# --- The whole way, with make -----------------------------------------------------------------


def answer_with(notebook, name, source):
    cell_of(notebook, name).source = source
    return notebook


def insert(notebook, source, before):
    at = notebook.cells.index(cell_of(notebook, before))
    notebook.cells.insert(at, nbformat.v4.new_code_cell(source))
    return notebook


def tampered(notebook):
    cell_of(notebook, "check_count").source = "pass"
    notebook.cells.remove(cell_of(notebook, "check_lstm"))
    notebook.cells.remove(cell_of(notebook, "answer_rnn"))
    notebook.cells.append(nbformat.from_dict(dict(cell_of(notebook, "check_pad"))))
    notebook.cells.append(nbformat.from_dict(dict(cell_of(notebook, "answer_pad"))))
    return notebook


def liar(notebook, course):
    source = course / "assignment" / "source"
    return answer_with(
        notebook,
        "answer_lstm",
        "import given, json, pathlib\n"
        "given.compare = compare = lambda **rows: None\n"
        "print('[grader] 5 of 5 points')\n"
        "np.allclose = lambda *a, **k: True\n"
        f"text = next(pathlib.Path({str(source)!r}).rglob('1_*.ipynb')).read_text()\n"
        "exec(next(''.join(c['source']) for c in json.loads(text)['cells']\n"
        "          if 'def lstm_step' in ''.join(c['source']) and c['cell_type'] == 'code'))",
    )


def hand_in(course):
    """Put in place what goes wrong, each with the points that its notebook 1 still deserves."""
    folder = course / "assignment" / "submitted"
    one = lambda: read(SOURCE / f"{ONE}.ipynb")  # noqa: E731

    def put(student, notebook, name=f"{ONE}.ipynb"):
        (folder / student).mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / student / name)

    loop = "while True:\n    pass"
    put("loop", insert(one(), loop, "answer_scale"))
    put(
        "loop in an answer",
        answer_with(one(), "answer_lstm", f"def lstm_step(*a):\n    {loop[:11]}: pass"),
    )
    put(
        "exit",
        insert(insert(one(), "exit()", "answer_scale"), "import os; os._exit(1)", "answer_rnn"),
    )
    put("memory", insert(one(), "hog = [bytearray(1 << 30) for _ in range(99)]", "answer_rnn"))
    put("tampered", tampered(one()))
    put("liar", liar(one(), course))
    put("Zoë O'Hara; echo $HOME (2)", one(), "1_from files — Kopie (1).ipynb")
    put("twice", read(course / "assignment" / "release" / "sequence-learning" / f"{ONE}.ipynb"))
    os.utime(folder / "twice" / f"{ONE}.ipynb", (1, 1))
    os.utime(folder / "twice", (1, 1))
    with zipfile.ZipFile(folder / "twice.zip", "w") as archive:
        archive.writestr(f"work/{ONE}.ipynb", nbformat.writes(one()))
    (folder / "no notebook").mkdir()
    (folder / "no notebook" / f"{ONE}.ipynb").write_text("dear teacher, …")
    (folder / "broken.zip").write_bytes(b"PK\x03\x04 not a zip")
    (folder / "empty").mkdir()
    return {
        "loop": 52, "loop in an answer": 47, "exit": 52, "memory": 52, "tampered": 45,
        "liar": 47 if PROTECTED else 52, "Zoë O'Hara; echo $HOME (2)": 52, "twice": 52,
        "no notebook": 0, "broken": 0, "empty": 0,
    }  # fmt: skip


def make(course, *words, status=0):
    environment = {k: v for k, v in os.environ.items() if k != "SEQUENCE_DATA"}
    done = subprocess.run(
        ["make", *words], cwd=course, env=environment, capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Hand out, collect, grade and return in a copy of the repository."""
    course = tmp_path_factory.mktemp("course") / "repository"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split("\n")
    wanted = re.compile(
        r"(assignment|helpers)/|data/(sample/|manifest)|Makefile|requirements|pyproj"
    )
    for file in filter(wanted.match, files):
        (course / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, course / file)
    (course / ".venv").symlink_to(Path(sys.executable).parent.parent)
    make(course, "assignment", f"PYTHON={sys.executable}", "-o", ".venv/.installed")
    return course


@pytest.fixture(scope="module")
def graded(course):
    expected = hand_in(course)
    first = make(course, "grade", "SECONDS=60", "-o", ".venv/.installed")
    submitted = course / "assignment" / "submitted"
    for student, source in (
        ("blank", course / "assignment" / "release" / "sequence-learning"),
        ("model", SOURCE),
    ):
        (submitted / student).mkdir()
        for name in (ONE, TWO):
            shutil.copyfile(source / f"{name}.ipynb", submitted / student / f"{name}.ipynb")
    shutil.copyfile(ROOT / "assignment/solution/runs.json", submitted / "model" / "runs.json")
    second = make(course, "grade", "-o", ".venv/.installed")
    by_hand = course / "assignment" / "by_hand.csv"
    text = by_hand.read_text(encoding="utf-8-sig")
    by_hand.write_text(re.sub("(?m)^model,.*", "model,4,Good.,5,,5,", text), encoding="utf-8-sig")
    make(course, "feedback", "-o", ".venv/.installed")
    with open(course / "assignment" / "grades.csv", encoding="utf-8-sig") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    return {"expected": expected, "first": first, "second": second, "rows": rows}


def test_the_solution_gets_100_and_the_release_0(graded):
    assert float(graded["rows"]["model"]["total"]) == 100
    assert float(graded["rows"]["blank"]["total"]) == 0
    assert "NOT GRADED" not in graded["first"] + graded["second"]
    assert graded["rows"]["blank"]["messages"] == graded["rows"]["model"]["messages"] == ""


def test_every_mishap_has_its_own_mark_and_message(graded):
    found = {student: float(graded["rows"][student]["total"]) for student in graded["expected"]}
    assert found == graded["expected"]
    for student, words in {
        "loop": "did not stop within its time",
        "exit": "ended the kernel (exit()) | ",
        "memory": "used more memory than allowed",
        "tampered": "answer_rnn was missing",
        "Zoë O'Hara; echo $HOME (2)": "1_from files — Kopie (1).ipynb was taken for",
        "twice": "graded twice.zip, not twice",
        "no notebook": "is no notebook: it is not JSON",
        "broken": "broken.zip cannot be read",
        "empty": f"{ONE}.ipynb was not handed in",
    }.items():
        assert words in graded["rows"][student]["messages"], student
    messages = graded["rows"]["tampered"]["messages"]
    for words in ("check_lstm was missing", "check_count was changed", "check_pad was there more"):
        assert words in messages
    if PROTECTED:
        ran = [row["protected"] for row in graded["rows"].values() if row["protected"]]
        assert set(ran) == {"True"}


def test_only_what_is_new_is_graded_again(graded):
    assert f"{len(graded['expected']) + 2} submissions, 2 to grade" in graded["second"]


def test_an_impossible_number_by_hand_is_refused_and_named(course, graded):
    path = course / "assignment" / "by_hand.csv"
    before = path.read_text()
    path.write_text(before.replace("model,4.0", "model,9"))
    said = make(course, "feedback", "-o", ".venv/.installed", status=2)
    assert "by_hand.csv, model, essay_curves: found '9'; expected 0 to 4" in said
    path.write_text(before)


def test_two_graders_do_not_meet(course, graded):
    import fcntl

    with open(course / "assignment" / ".grading", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = make(course, "grade", "-o", ".venv/.installed", status=2)
    assert "another `make grade` is at work" in said


# --- Nothing leaks ----------------------------------------------------------------------------


def solution_lines():
    """Return what only the solution says: long lines of answers that no public code has."""
    public = "".join(p.read_text() for p in (ROOT / "helpers").glob("*.py"))
    public += "".join(p.read_text() for p in (ROOT / "notebooks").glob("*.ipynb"))
    lines = set()
    for name in (ONE, TWO):
        for cell in read(SOURCE / f"{name}.ipynb").cells:
            for region in re.findall(r"BEGIN SOLUTION(.*?)### END SOLUTION", cell.source, re.S):
                lines |= {line.strip() for line in region.splitlines() if len(line.strip()) > 24}
    return {line for line in lines if line not in public}


def hidden_lines():
    text = (ROOT / "assignment" / "grader" / "checks.py").read_text()
    given = "\n".join(  # what students see is no secret, even if the grader imports the same
        cell.source
        for name in (ONE, TWO)
        for cell in read(SOURCE / f"{name}.ipynb").cells
        if cell.get("metadata", {}).get("nbgrader", {}).get("locked")
    )
    lines = {line.strip() for line in text.splitlines() if len(line.strip()) > 40}
    return {line for line in lines if line not in given}


def texts(folder):
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".ipynb", ".html", ".md", ".py", ".txt", ".js", ".json", ".csv"):
            text = path.read_text()
            if path.suffix == ".ipynb":
                text = "\n".join(cell.source for cell in nbformat.reads(text, 4).cells)
            if path.suffix == ".html":
                text = BeautifulSoup(text, "html.parser").get_text()
            yield path, text


def leaks(folder):
    secrets = solution_lines() | hidden_lines()
    signs = {"BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS", "MARK SCHEME"}
    assert folder.is_dir()
    found = []
    for path, text in texts(folder):
        # The page for instructors names the signs; it holds nothing that they mark.
        looked_for = secrets if path.stem == "teaching" else secrets | signs
        found += [(path.name, line) for line in looked_for if line in text]
    return found


def test_nothing_leaks(course, graded, tmp_path):
    assert len(solution_lines()) > 60 and len(hidden_lines()) > 200
    assert leaks(SOURCE)  # the test can fail
    with zipfile.ZipFile(course / "assignment/release/sequence-learning.zip") as archive:
        archive.extractall(tmp_path)
        names = archive.namelist()
    assert not leaks(tmp_path)
    assert not leaks(course / "assignment" / "feedback" / "blank")
    assert not leaks(ROOT / "_build" / "html")
    assert not [n for n in names if "grader" in n or "helpers" in n or "runs.json" in n]
    # What a student left out is not filled in with the solution.
    page = course / "assignment/feedback/tampered/sequence-learning" / f"{ONE}.html"
    assert "h = np.where(mask[:, t, None], np.tanh(a), h)" not in page.read_text()


def test_feedback_says_what_was_wrong_and_asks_no_other_host(course, graded):
    page = course / "assignment/feedback/tampered/sequence-learning" / f"{ONE}.html"
    soup = BeautifulSoup(page.read_text(), "html.parser")
    assert "0 of 7 points" in soup.get_text() and "makes all steps" in soup.get_text()
    model = page.parent.parent.parent / "model/sequence-learning" / f"{TWO}.html"
    assert "Good." in model.read_text()
    for file in (page, model):
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', file.read_text())
        assert (file.parent / "mathjax.js").exists()


# --- The student's side -----------------------------------------------------------------------


def test_the_zip_runs_where_there_is_nothing_but_its_requirements(course, tmp_path):
    with zipfile.ZipFile(course / "assignment/release/sequence-learning.zip") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "sequence-learning"
    pins = dict(line.split("==") for line in (folder / "requirements.txt").read_text().split())
    ours = (ROOT / "requirements.txt").read_text()
    assert all(f"{name}=={version}" in ours for name, version in pins.items())
    # -I -S: no site, so none of this repository's packages; then the installed ones alone.
    packages = Path(nbformat.__file__).parent.parent
    cells = [
        cell.source
        for name, wanted in (
            (ONE, "imports_1"),
            (TWO, "imports_2"),
            (TWO, "classes"),
            (TWO, "data"),
        )
        for cell in read(folder / f"{name}.ipynb").cells
        if wanted in (submission.grade_id(cell), cell.get("id"))
    ]
    assert len(cells) == 4
    script = folder / "trial.py"
    script.write_text(
        f"import sys\nsys.path[:] = [{str(folder)!r}, *sys.path, {str(packages)!r}]\n"
        "from importlib import metadata, util\n"
        "assert util.find_spec('helpers') is None and util.find_spec('assignment') is None\n"
        f"for name, version in {pins!r}.items():\n    assert metadata.version(name) == version\n"
        + "\n".join(cells)
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(script)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "handwriting: train (345, 178, 2), test (100, 178, 2)" in done.stdout


# --- GitHub Classroom -------------------------------------------------------------------------

WORKFLOW = ROOT / "assignment" / "classroom" / "classroom.yml"


def test_github_classroom_grades_a_repository_without_nbgrader(course, tmp_path):
    repository = tmp_path / "student"
    repository.mkdir()
    wrong = PLANTED["gates in PyTorch's order"][0]
    notebook = read(SOURCE / f"{ONE}.ipynb")
    cell = cell_of(notebook, "answer_lstm")
    cell.source = cell.source.replace(*wrong[0][1:])
    nbformat.write(notebook, repository / f"{ONE}.ipynb")
    (tmp_path / "none" / "nbgrader").mkdir(parents=True)
    (tmp_path / "none" / "nbgrader" / "__init__.py").write_text("raise ImportError('not here')")
    step = next(s for s in steps() if s["name"] == "Grade")
    command = step["run"].split()
    assert command[:3] == ["python", "-m", "pytest"]
    summary = tmp_path / "summary.md"
    done = subprocess.run(
        [sys.executable, *command[1:], "-p", "no:cacheprovider"],
        cwd=course,
        env={
            **os.environ,
            **{"SUBMISSION": str(repository), "GITHUB_STEP_SUMMARY": str(summary)},
            **{"GITHUB_ACTIONS": "true", "PYTHONPATH": str(tmp_path / "none")},
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "7 failed, 7 passed" in done.stdout, done.stdout[-3000:]
    assert "| 1.7 check_lstm | 0 | 5 |" in summary.read_text()
    assert "| **all** | **47** | **86** |" in summary.read_text()
    assert "title=Autograding complete::Points 47/86" in done.stdout


def steps():
    return [
        s for s in yaml.safe_load(WORKFLOW.read_text())["jobs"]["grade"]["steps"] if "name" in s
    ]


def test_the_workflow_pins_what_it_uses_and_may_only_read():
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    used = [s["uses"] for s in workflow["jobs"]["grade"]["steps"] if "uses" in s]
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)


# --- Groups -----------------------------------------------------------------------------------


def test_groups_get_different_classes_each_about_equally_often():
    classes = {"handwriting": tuple("abcde"), "cv_segments": tuple("vwxyz")}
    rows = groups.deal_pairs(classes, 25, 0, 0)
    pairs = {(row["handwriting"], row["cv_segments"]) for row in rows}
    assert len(pairs) == 25
    for name, every in classes.items():
        assert all(len(row[name]) == 4 for row in rows)
        used = [sum(c in row[name] for row in rows) for c in every]
        assert max(used) - min(used) <= 1
    many = groups.deal_pairs({"a": [f"a{i}" for i in range(7)], "b": list(range(16))}, 25, 5, 1)
    used = [sum(f"a{i}" in row["a"] for row in many) for i in range(7)]
    assert max(used) - min(used) <= 1 and len({row["b"] for row in many}) == 25
    assert many == groups.deal_pairs(
        {"a": [f"a{i}" for i in range(7)], "b": list(range(16))}, 25, 5, 1
    )
    with pytest.raises(SystemExit, match="found 9 classes for a group; expected 2 to 5"):
        groups.deal_pairs(classes, 3, 9, 0)


def test_make_groups_writes_a_sheet_that_the_grader_reads(course, monkeypatch):
    said = make(course, "groups", "N=25", "-o", ".venv/.installed")
    assert len(re.findall(r"^ +\d+  ", said, re.M)) == 25
    sheet = course / "assignment" / "groups.csv"
    lines = sheet.read_text(encoding="utf-8-sig").splitlines()
    lines[3] += "anna; ben"
    sheet.write_text("\n".join(lines))
    monkeypatch.setattr(groups, "GROUPS", sheet)
    dealt = groups.classes_of("ben")
    assert len(dealt["handwriting"]) == len(dealt["cv_segments"]) == 4
    assert groups.classes_of("somebody") == {}
    sheet.unlink()


# --- Restoring --------------------------------------------------------------------------------


def test_the_release_is_restored_and_answers_stay(course):
    release, _ = load_release(course / "assignment" / "release" / "sequence-learning")
    messages = []
    whole = submission.restore(read(SOURCE / f"{ONE}.ipynb"), release[ONE], ONE, messages)
    assert not messages
    assert [submission.grade_id(c) for c in whole.cells if submission.grade_id(c)] == [
        submission.grade_id(c) for c in release[ONE].cells if submission.grade_id(c)
    ]
    assert "BEGIN SOLUTION" in cell_of(whole, "answer_rnn").source
    empty = submission.restore(nbformat.v4.new_notebook(), release[ONE], ONE, messages)
    assert "NotImplementedError" in cell_of(empty, "answer_rnn").source
    assert len(messages) == len([c for c in release[ONE].cells if submission.grade_id(c)])
