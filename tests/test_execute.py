"""Executing notebooks: what is stored, what is stale, what stays quiet, what a page shows."""

import base64
import io
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell as code
from nbformat.v4 import new_markdown_cell as text
from PIL import Image
from sphinx.cmd.build import build_main
from with_solutions import with_expressions

from book import execute, stale

ROOT = Path(__file__).resolve().parent.parent
BAR = """\
print("before")
for n in range(3):
    print(f"\\r{n} of 3, 00:0{n}", end="")
print()
print("after", flush=True)
print("and on")"""
PLACES = """\
In a sentence {eval}`f"{a:.2f}"`, negative {eval}`f"{b:+.1f}"`, tiny {eval}`f"{tiny:.0e}"`, a range {eval}`"3-5"`.

- In an item {eval}`f"{a:.3f}"`.

  :::{note}
  In a box in an item {eval}`words["it's"]`.
  :::

| in a table |
|---|
| {eval}`f"{a:.4f}"` |

:::{admonition} In a title {eval}`f"{a:.5f}"`
In a box {eval}`words["it's"]`.
:::

```{exercise} Find it
:label: ex-1

In an exercise {eval}``f"{a:.6f}"``.
```

```{solution} ex-1
:class: dropdown

In a solution {eval}`2`.
```

:::{list-table} In a caption {eval}`f"{a:.7f}"`
* - in a list table {eval}`f"{a:.8f}"`
:::
"""  # noqa: E501
FIGURE = {
    "mystnb": {"figure": {"caption": 'Of a figure {eval}`f"{a:.9f}"`', "name": "fig-1"}},
}


def write(path, *cells):
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return path


def run(path, monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["book.execute", *options, str(path)])
    return execute.main()


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    path = tmp_path_factory.mktemp("executed") / "index.ipynb"
    write(
        path,
        text("# Title"),
        code('a, b, tiny, words = 0.973, -0.5, 3e-5, {"it\'s": "it’s"}'),
        text(PLACES),
        code("import matplotlib.pyplot as plt\nplt.plot([1, 2]);", metadata=FIGURE),
        code("a = 0.1"),
        text('Later {eval}`f"{a:.2f}"`.'),
        code(BAR),
        code("object()"),
        code("from helpers.data import load_report\nload_report();"),
        code("import numpy as np\nopen('notes.txt', 'w').close()"),
    )
    execute.execute(path)
    return path


def values(cell):
    return {
        e["expression"]: e["result"]["data"]["text/plain"] for e in cell.metadata.user_expressions
    }


def test_each_text_keeps_the_values_of_its_place(executed):
    cells = nbformat.read(executed, as_version=4).cells
    assert "user_expressions" not in cells[0].metadata
    assert values(cells[2])['f"{a:.2f}"'] == "'0.97'"
    assert values(cells[2])["2"] == "2"
    assert values(cells[3]) == {'f"{a:.9f}"': "'0.973000000'"}
    assert values(cells[5]) == {'f"{a:.2f}"': "'0.10'"}


def test_stored_pictures_have_few_colours():
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    png = base64.b64encode(file.getvalue()).decode()
    output = nbformat.v4.new_output("display_data", {"image/png": png})
    (stored,) = execute.tidy([output])
    with Image.open(io.BytesIO(base64.b64decode(stored.data["image/png"]))) as picture:
        assert picture.size == (80, 60) and picture.mode == "P"
        assert np.abs(np.asarray(picture.convert("RGB"), int) - noise).mean() < 20
    assert len(stored.data["image/png"]) < len(png) / 2


def test_stored_outputs_are_tidy(executed):
    notebook = nbformat.read(executed, as_version=4)
    (stream,), (thing,) = notebook.cells[6].outputs, notebook.cells[7].outputs
    assert stream.text == "before\nafter\nand on\n"
    assert thing.data["text/plain"] == "<object>"
    assert not any("execution" in cell.metadata for cell in notebook.cells)
    counts = [c.execution_count for c in notebook.cells if c.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_the_record_names_modules_and_files_of_this_repository_alone(executed):
    record = nbformat.read(executed, as_version=4).metadata[stale.KEY]
    assert "helpers/data.py" in record["modules"] and "helpers/cells.py" not in record["modules"]
    assert set(record["files"]) == {"data/report.json"}
    assert not stale.changed(executed)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("nowhere + 1", "NameError: name 'nowhere' is not defined"),
        ("np.float64(0.5)", "gave np.float64(0.5); expected text, an int or a float"),
    ],
)
def test_an_expression_that_fails_is_named_and_the_others_have_their_turn(
    tmp_path, monkeypatch, capsys, expression, complaint
):
    bad = write(
        tmp_path / "bad.ipynb",
        code("import numpy as np"),
        text(f"Two\n{{eval}}`{expression}`"),
    )
    good = write(tmp_path / "good.ipynb", code("1 + 1"))
    before = bad.read_bytes()
    monkeypatch.setattr(sys, "argv", ["book.execute", str(bad), str(good)])
    assert execute.main() == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"bad.ipynb: cell 1 (markdown, “Two”): {{eval}}`{expression}`" in last
    assert complaint in last
    assert bad.read_bytes() == before
    assert nbformat.read(good, as_version=4).cells[0].outputs[0].data["text/plain"] == "2"


def test_a_cell_that_fails_is_named(tmp_path, monkeypatch, capsys):
    bad = write(tmp_path / "bad.ipynb", text("One"), code("x = 1\n1 / 0"))
    assert run(bad, monkeypatch) == 1
    assert "cell 1 (code, “x = 1”): ZeroDivisionError: division by zero" in capsys.readouterr().out


def test_only_what_is_stale_is_executed(executed, monkeypatch, capsys):
    assert run(executed, monkeypatch) == 0
    assert "nothing is stale" in capsys.readouterr().out


# --- Stale ------------------------------------------------------------------------------------

MODULE = '''\
"""Of a module."""


def double(x):
    """Return twice a number."""
    return 2 * x  # and not more
'''


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return a notebook that was made from a module and a table, in a repository of its own."""
    monkeypatch.setattr(stale, "ROOT", tmp_path)
    module, table = tmp_path / "module.py", tmp_path / "table.csv"
    module.write_text(MODULE, encoding="utf-8")
    table.write_text("a,b\n1,2\n", encoding="utf-8")
    path = write(
        tmp_path / "one.ipynb", text("Prose {eval}`x`."), code("x = 1"), code("# a comment")
    )
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata["user_expressions"] = [
        {"expression": "x", "result": {"status": "ok", "data": {"text/plain": "1"}, "metadata": {}}}
    ]
    notebook.metadata[stale.KEY] = stale.made_from(notebook, [module], [table])
    nbformat.write(notebook, path)
    return path


@pytest.mark.parametrize(
    ("file", "old", "new", "reasons"),
    [
        ("one.ipynb", "Prose", "Better prose", []),
        ("one.ipynb", "{eval}`x`", "{eval}`x + 1`", ["one.ipynb"]),
        ("one.ipynb", "x = 1", "x = 2", ["one.ipynb"]),
        ("one.ipynb", '"expression": "x"', '"expression": "y"', ["one.ipynb"]),
        ("one.ipynb", '"made_from"', '"made"', ["one.ipynb (which says nothing of what it was"]),
        ("module.py", "twice a number", "a number times two", []),
        ("module.py", "Of a module", "Of one\n\nmodule", []),
        ("module.py", "and not more", "or not", []),
        ("module.py", "2 * x", "3 * x", ["module.py"]),
        ("table.csv", "1,2", "1,3", ["table.csv"]),
    ],
)
def test_a_change_makes_stale_what_depends_on_it(made, file, old, new, reasons):
    stale.module_digest.cache_clear()
    stale.file_digest.cache_clear()
    assert not stale.changed(made)
    path = made.parent / file
    source = path.read_text(encoding="utf-8")
    assert old in source
    path.write_text(source.replace(old, new), encoding="utf-8")
    stale.module_digest.cache_clear()
    stale.file_digest.cache_clear()
    found = stale.changed(made)
    assert len(found) == len(reasons)
    assert all(f.startswith(r) for f, r in zip(found, reasons, strict=True))


def test_a_notebook_that_shows_source_depends_on_docstrings_too(tmp_path):
    path = write(
        tmp_path / "shows.ipynb",
        code("import inspect\nfrom helpers.cells import RNN\nprint(inspect.getsource(RNN.step))"),
    )
    execute.execute(path)
    record = nbformat.read(path, as_version=4).metadata[stale.KEY]
    assert set(record["files"]) == {"helpers/cells.py"}


def test_settings_and_styles_of_helpers_count_as_files():
    notebook, helpers = nbformat.v4.new_notebook(), stale.ROOT / "helpers"
    names = {"protocols.toml", "diagrams.toml", "book.mplstyle", "slider.js"}
    opened = [str(helpers / name) for name in names] + [str(stale.ROOT / "pyproject.toml")]
    _, files = execute.dependencies(notebook, [], opened, [])
    assert {path.name for path in files} == names


# --- Quiet ------------------------------------------------------------------------------------


def without_timings(path):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "timing" in cell.metadata.get("tags", []):
            cell.metadata.pop("user_expressions", None)
            if cell.cell_type == "code":
                cell.outputs = []
    return nbformat.writes(notebook)


def test_executing_a_chapter_again_changes_no_byte(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQUENCE_DATA", str(ROOT / "data/sample"))
    chapter = ROOT / "notebooks/10_handwriting_data.ipynb"
    for name in ("first.ipynb", "second.ipynb"):
        execute.execute(chapter, tmp_path / name)
    assert without_timings(tmp_path / "first.ipynb") == without_timings(tmp_path / "second.ipynb")


# --- On the sample, and on a page ---------------------------------------------------------------


def test_nbval_evaluates_expressions_where_they_stand():
    cells = [text("{eval}`x` and {eval}`y`"), code("x = 1"), text("None.")]
    notebook = with_expressions(nbformat.v4.new_notebook(cells=cells))
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds == ["markdown", "code", "code", "markdown"]
    with pytest.raises(NameError):
        exec(notebook.cells[1].source, {})
    exec(notebook.cells[1].source, {"x": 1, "y": "2"})
    with pytest.raises(AssertionError):
        exec(notebook.cells[1].source, {"x": 1, "y": [2]})


def build(executed, folder):
    """Build a page; return its article and the warnings."""
    folder.mkdir()
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book/_ext')!r})\n"
        "extensions = ['myst_nb', 'sphinx_exercise', 'expressions']\n"
        "nb_execution_mode = 'off'\nmyst_enable_extensions = ['colon_fence']\n",
        encoding="utf-8",
    )
    (folder / "index.ipynb").write_bytes(executed.read_bytes())
    warnings = folder / "warnings.txt"
    build_main(["-q", "-w", str(warnings), str(folder), str(folder / "out")])
    page = (folder / "out/index.html").read_text(encoding="utf-8")
    return BeautifulSoup(page, "lxml"), warnings.read_text(encoding="utf-8")


def test_a_page_shows_the_stored_values_everywhere(executed, tmp_path):
    page, warnings = build(executed, tmp_path / "site")
    assert not warnings
    shown = [number.get_text() for number in page.select(".book-number")]
    assert shown == [
        *(
            "0.97",
            "−0.5",
            "3 × 10−5",
            "3-5",
            "0.973",
            "it’s",
            "0.9730",
            "0.97300",
            "it’s",
            "0.973000",
        ),
        *("2", "0.9730000", "0.97300000", "0.973000000", "0.10"),
    ]
    assert page.select_one(".book-number sup").get_text() == "−5"
    assert "{eval}" not in page.get_text()


def test_a_value_that_is_missing_is_a_warning_that_names_it(executed, tmp_path):
    notebook = nbformat.read(executed, as_version=4)
    notebook.cells[0].source += "\n\n{eval}`missing + 1` and {eval}`2`"  # another cell's
    other = tmp_path / "other.ipynb"
    nbformat.write(notebook, other)
    _, warnings = build(other, tmp_path / "site")
    for expression in ("missing + 1", "2"):
        assert f"index, cell 0: no value is stored for {{eval}}`{expression}`" in warnings
