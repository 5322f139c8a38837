"""A number leads to the statements that computed it, and to what was recorded."""

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))

from evidence import Program, tables_of


def program(*cells, files=()):
    """Return the program of a notebook: code cells, and None for a cell of text."""
    kinds = [{"cell_type": "code" if c is not None else "markdown", "source": c} for c in cells]
    return Program({"cells": kinds, "metadata": {"made_from": {"files": dict.fromkeys(files)}}})


def test_the_last_assignment_above_counts():
    notebook = program("x = 1", "x = 2\ny = 3", None, "x = 4")
    assert notebook.evidence("x", 2).parts == {1: "x = 2"}
    assert notebook.evidence("x", 3).parts == {3: "x = 4"}  # in the caption of its own cell


def test_only_what_matters_of_a_cell_is_shown():
    notebook = program("n = 5", "k = n + 1\nother = 7\nx = [k, n]\nprint(other)")
    assert notebook.evidence('f"{x[0]:.2f}"', 1).parts == {1: "k = n + 1\nx = [k, n]"}
    assert notebook.evidence("x[0] + n", 1).parts == {0: "n = 5", 1: "k = n + 1\nx = [k, n]"}


@pytest.mark.parametrize(
    "change",
    ["rows.append(2)", "rows[0] = 2", "rows += [2]", "for k in (1, 2):\n    rows.append(k)",
     "rows.best = 3", "with open(file) as f:\n    rows.extend(f)", "rows[0][1] += 1"],
)  # fmt: skip
def test_a_statement_that_changes_an_object_counts(change):
    notebook = program(f"rows = []\n{change}\nprint(rows)\nlen(rows)", None)
    assert notebook.evidence("rows", 1).parts == {0: f"rows = []\n{change}"}


@pytest.mark.parametrize(
    "binding",
    ["for x in range(3):\n    pass", "x, y = 1, 2", "def x():\n    return 1", "import numpy as x",
     "with open(file) as x:\n    pass", "if (x := 1):\n    pass", "class x:\n    pass",
     "x: int = 3"],
)  # fmt: skip
def test_whatever_gives_a_name_its_value_is_found(binding):
    assert program("x = 0", binding, "print(x)").evidence("x", 2).parts == {1: binding}


def test_names_inside_functions_and_comprehensions_are_their_own():
    notebook = program(
        "n = 1",
        "x = [n for n in range(3)]\ndef f(n):\n    return n",
        None,
        "def g():\n    return n",
    )
    assert notebook.evidence("x", 2).parts == {1: "x = [n for n in range(3)]"}
    assert notebook.evidence("sum(n for n in x)", 2).parts == {1: "x = [n for n in range(3)]"}
    assert notebook.behind({"g"}, 4) == {0, 3}  # `g` uses the `n` of the page


def test_modules_and_functions_count_only_if_nothing_else_does():
    notebook = program("import numpy as np", "def f(x):\n    return x", "y = 2", None)
    assert list(notebook.evidence("f(np.log(y))", 3).parts) == [2]
    assert list(notebook.evidence("f(2)", 3).parts) == [1]
    assert notebook.evidence("2 + 2", 3).parts == {}


def test_recorded_tables_are_named_if_the_notebook_read_them():
    files = ["data/results/runs.csv", "data/results/baselines.csv", "helpers/book.mplstyle"]
    cells = (
        "from helpers import runs\nx = 1",
        "table, curves, _ = runs.recorded('handwriting')",
        "best = table.max()",
        "linear = runs.recorded_baselines('handwriting')",
    )
    notebook = program(*cells, None, files=files)
    assert notebook.evidence("best", 4).tables == ["data/results/runs.csv"]
    assert notebook.evidence("linear", 4).tables == ["data/results/baselines.csv"]
    assert notebook.evidence("x", 4).tables == []
    assert program(*cells, None).evidence("best", 4).tables == []  # nothing was read


def test_what_a_panel_was_given_is_named():
    files = ["data/results/pen.json", "data/results/listen.json", "data/manifest.json"]
    cells = "panel = runs.load_pen()", 'heard = pd.read_json(runs.RESULTS / "listen.json")'
    notebook = program(*cells, None, files=files)
    assert notebook.evidence("panel['spacing']", 2).tables == ["data/results/pen.json"]
    assert notebook.evidence("heard['accuracy']", 2).tables == ["data/results/listen.json"]


def test_what_reads_a_table_is_found_through_the_functions_it_calls():
    assert tables_of("recorded") == {"runs.csv", "curves.csv.bz2", "predictions.csv.bz2"}
    assert tables_of("load_report") == {"report.json"}
    assert tables_of("load_pen") == {"pen.json"}
    assert tables_of("plot_stroke") == set()
