"""The questions of every assignment: right answers keep their points, wrong ones lose theirs."""

import importlib.util
import json
import re
import shutil
import sys

import numpy as np
import pytest
from conftest import some

from assignment.grader import questions
from assignment.grader.runner import pack, unpack
from assignment.grader.sandbox import StudentError

SLOW = ("check_model", "check_train", "check_layer")  # they build and train networks


def load(name):
    assignment = questions.load(name, released=False)
    path = assignment.source / "answers.py"
    spec = importlib.util.spec_from_file_location("answers", path)
    answers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(answers)
    return assignment, answers


ALL = {name: load(name) for name in questions.names()}
WRONG = [(name, wrong) for name, (_, answers) in ALL.items() for wrong in answers.WRONG]
RIGHT = [(name, right) for name, (_, answers) in ALL.items() for right in answers.RIGHT]


def solutions(assignment):
    return {cell.name: cell.source for cell in assignment.cells if cell.role == "answer"}


def changed(sources, changes):
    """Change solutions in places; a name of a function stands for its whole body."""
    out = dict(sources)
    for answer, old, new in changes:
        if old.isidentifier():
            head = rf"(def {old}\(.*\):\n(?:    \"\"\".*\"\"\"\n)?)(?:(?: .*)?\n)+?(    ### END SOLUTION)"
            out[answer], made = re.subn(head, lambda m: f"{m[1]}    {new}\n{m[2]}", out[answer])  # noqa: B023
        else:
            made = out[answer].count(old)
            out[answer] = out[answer].replace(old, new)
        assert made, f"{answer}: {old!r} is not in the solution"
    return out


class Local:
    """The questions' view of functions in this process; values travel as to a sandbox."""

    def __init__(self, sources, data=None, files=None):
        self.names = {"np": np}
        for answer, source in sources.items():
            if "keras" in source and "keras" not in self.names:
                import keras

                self.names["keras"] = keras
            if answer != "answer_curves":
                exec(source, self.names)
        self.data, self.files = data or {}, files or {}
        self.dealt, self.memo = {}, {}

    def run(self, code, **inputs):
        travel = lambda value: unpack(json.loads(json.dumps(pack(value))))  # noqa: E731
        names = {**self.names, **travel(inputs)}
        try:
            with np.errstate(all="warn"):  # as in a process of its own
                exec(code, names)
            return travel(names["result"])
        except Exception as error:
            raise StudentError([k.__name__ for k in type(error).__mro__], str(error)) from None

    def call(self, name, *args):
        return self.run(f"result = {name}(*args)", args=list(args))


def lost(assignment, student, seed, only):
    out = {}
    for each in assignment.questions:
        if each.check in only:
            student.memo.clear()
            right, _ = questions.ask(each, student, seed)
            if not right:
                out[each.check] = out.get(each.check, 0) + each.points
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = {}
    for name, (assignment, _) in ALL.items():
        folder = tmp_path_factory.mktemp(name)
        if hasattr(assignment.module, "load_data"):
            assignment.module.add_files(folder)
            out[name] = assignment.module.load_data(folder)
    return out


def touched(assignment, changes):
    """Return the checks below the answers that are changed."""
    changed = {answer.replace("answer_", "check_") for answer, _, _ in changes}
    return {each.check for each in assignment.questions} & changed


@pytest.fixture
def draws(request):
    """How many draws are asked: in CI, and of `make test ALL=1`, a hundred."""
    return 100 if request.config.getoption("--all") else 10


def builds(case):
    """Whether a wrong answer is one of those that build and train networks."""
    name, wrong = case
    return any(
        answer.replace("answer_", "check_") in SLOW for answer, *_ in ALL[name][1].WRONG[wrong][0]
    )


QUICK = [case for case in WRONG if not builds(case)] + [case for case in WRONG if builds(case)][::4]


@pytest.mark.parametrize("case", some(WRONG, QUICK), ids=[wrong for _, wrong in WRONG])
def test_a_wrong_answer_loses_the_same_points_in_every_draw(case, data, draws):
    name, wrong = case
    assignment, answers = ALL[name]
    changes, expected = answers.WRONG[wrong]
    student = Local(changed(solutions(assignment), changes), data.get(name))
    only = touched(assignment, changes)
    draws = 1 if only & {*SLOW} else draws
    assert all(lost(assignment, student, seed, only) == expected for seed in range(draws))


@pytest.mark.parametrize("name, right", RIGHT, ids=[right for _, right in RIGHT])
def test_a_right_answer_loses_nothing(name, right, data, draws):
    assignment, answers = ALL[name]
    changes = answers.RIGHT[right]
    student = Local(changed(solutions(assignment), changes), data.get(name))
    quick = {each.check for each in assignment.questions} - {*SLOW, "check_runs"}
    only = touched(assignment, changes) or quick
    draws = 1 if only & {*SLOW} else draws if changes else draws // 5
    for seed in range(draws):
        assert lost(assignment, student, seed, only) == {}, seed


def odd_values():
    """Return 200 values that nobody asked for."""
    cut = np.arange(3.0)
    plain = [
        *(None, True, -1, 0, 10**400, -(10**30), 1e308, float("nan"), float("inf"), 1j, "", "7.0"),
        *("\ud83d", b"bytes", [], {}, (), set(), [[]], [[1], [2, 3]], {"W_x": None}, {1: {2: 3}}),
        *(cut, cut[:0], cut.reshape(1, 3), np.array("text"), np.array([None]), np.zeros((0, 5))),
        *(
            np.float16(3),
            np.array(2.0),
            np.array([True]),
            np.full((2, 2), np.nan),
            np.ma.array([1]),
        ),
        *(np.datetime64("2026-01-01"), np.array([1, "a"], object), range(3), object(), print, int),
        *(slice(2), memoryview(b"a"), complex("nan"), "9" * 5000, [None, None], ["a", "b"]),
        np.zeros((1,) * 32),
    ]
    pairs = [(a, b) for a in plain[::3] for b in plain[1::4]][: 200 - 3 * len(plain)]
    return [*plain, *([v] for v in plain), *({"W_x": v, "h": v, "c": v} for v in plain), *pairs]


@pytest.mark.parametrize("name", ALL)
def test_an_odd_answer_is_a_wrong_answer_to_that_question_alone(name, data):
    assignment, _ = ALL[name]
    sources = solutions(assignment)
    student = Local({k: v for k, v in sources.items() if "keras" not in v}, data.get(name))
    functions = re.findall(r"(?m)^def (\w+)", "\n".join(sources.values()))
    values = odd_values()
    assert len(values) == 200
    right = 0
    quick = [each for each in assignment.questions if each.check not in SLOW]
    for value in values:
        student.names |= dict.fromkeys(functions, lambda *a, v=value, **k: v)
        student.files = {"runs.json": json.dumps(str(value)).encode()}
        for each in quick:
            student.memo.clear()
            answer, message = questions.ask(each, student, 0)
            right += answer and each.name not in ("does_not_stop", "counts_by_hand")
            assert isinstance(message, str) and len(message) <= 300
    assert right == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_runs_of_the_solution_are_made_on_the_sample_as_it_is(tmp_path, monkeypatch):
    """The grader starts a run again, drawn by lot: one made on an older sample costs points."""
    assignment, _ = ALL["sequence-learning"]
    released = shutil.copytree(assignment.source, tmp_path / "released")
    assignment.module.add_files(released)
    monkeypatch.chdir(released)
    monkeypatch.syspath_prepend(str(released))
    monkeypatch.delitem(sys.modules, "given", raising=False)
    student = Local(solutions(assignment), assignment.module.load_data(released))
    student.names["CLASSES"] = dict.fromkeys(student.data)
    for cell in assignment.cells:
        if cell.name in ("imports_2", "data"):
            exec(cell.source, student.names)
    student.files["runs.json"] = (released / "solution" / "runs.json").read_bytes()
    smallest = {}
    for row in sorted(assignment.module.read_rows(student), key=lambda row: row["parameters"]):
        smallest.setdefault((row["dataset"], row["cell"]), row)
    assert len(smallest) == 4
    for row in smallest.values():
        assert assignment.module.run_again(student, [row], np.random.default_rng(0)) is None


def test_all_points_together_are_100_and_the_text_says_so():
    for name, (assignment, _) in ALL.items():
        checks, essays = assignment.graded(by_hand=False), assignment.graded(by_hand=True)
        texts = "\n".join(cell.source for cell in assignment.cells)
        headings = dict(re.findall(r"(?m)^## (\d\.\d) .* \((\d+) points\)", texts))
        expected = {}
        for cell, points in {**checks, **essays}.items():
            part = assignment.parts[cell]
            expected[part] = expected.get(part, 0) + points
        assert {part: int(points) for part, points in headings.items()} == expected, name
    assert sum(ALL["sequence-learning"][0].graded(False).values()) == 86
    assert sum(ALL["sequence-learning"][0].graded(True).values()) == 14


def test_questions_have_names_and_titles():
    for assignment, _ in ALL.values():
        names = [each.name for each in assignment.questions]
        assert len(names) == len({*names}) and all(each.title for each in assignment.questions)


# What no visible check can show without giving the answer away, or only rarely.
HIDDEN_ONLY = {"adds the step back", "a wrong number by hand", "a gradient cut at 80 steps"}


def visibly(assignment, sources, check, monkeypatch):
    """Run the check below an answer, as a student would."""
    monkeypatch.chdir(assignment.source)
    monkeypatch.syspath_prepend(str(assignment.source))
    monkeypatch.delitem(sys.modules, "given", raising=False)
    names = {}
    exec(
        "import warnings\nfrom pathlib import Path\nimport numpy as np\nfrom given import *", names
    )
    exec("EXAMPLES = Path('examples')", names)
    for answer in {"answer_rnn", check.replace("check_", "answer_")} & {*sources}:
        exec(sources[answer], names)
    for cell in assignment.cells:
        if cell.name in (check, "gradient_check" if check == "check_backward" else check):
            exec(cell.source, names)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ALL)
def test_the_visible_checks_fail_where_points_are_lost(name, monkeypatch):
    assignment, answers = ALL[name]
    sources = solutions(assignment)
    for wrong, (changes, lost) in answers.WRONG.items():
        (check,) = lost
        if check in SLOW:
            continue
        visibly(assignment, sources, check, monkeypatch)
        if wrong not in HIDDEN_ONLY and not wrong.startswith("hard-coded"):
            with pytest.raises(Exception):  # noqa: B017
                visibly(assignment, changed(sources, changes), check, monkeypatch)
                print("passes visibly:", wrong)
