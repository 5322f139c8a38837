"""What every stored notebook must be: executed in order, clean, described, small, complete."""

import re
from pathlib import Path

import nbformat
import pytest
import yaml

from book.stale import changed

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MACHINE_PATH = re.compile(r"(?<![\w.])/(home|root|Users|work|tmp|mnt|opt)/|[A-Z]:\\\\Users")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [c for c in notebook.cells if c.cell_type == "code"]


def prose(notebook):
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


def outputs(notebook):
    return [(cell, out) for cell in code_cells(notebook) for out in cell.outputs]


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_it_is_in_the_table_of_contents(path):
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    assert f"notebooks/{path.stem}" in files


def test_it_was_executed_in_order_from_a_fresh_start(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_its_outputs_are_not_older_than_what_they_were_made_from(path):
    reasons = changed(path)
    assert not reasons, f"{path.name} was executed before {', '.join(reasons)} changed: `make run`"


def test_it_stores_no_errors_no_warnings_and_nothing_that_the_site_cannot_show(notebook):
    for cell, out in outputs(notebook):
        assert out.output_type not in ("error", "update_display_data"), cell.source[:60]
        assert out.get("name") != "stderr", out.get("text")
        assert "Warning" not in str(out.get("text", "")), out.text
        assert not any("widget" in kind for kind in out.get("data", {})), cell.source[:60]


def test_it_stores_no_path_of_a_machine(path):
    assert not MACHINE_PATH.findall(path.read_text())


def test_its_stored_outputs_come_from_the_reports_data(notebook):
    code = "\n".join(c.source for c in code_cells(notebook))
    if not re.search(r"load_(handwriting|cv_segments)\(", code):
        assert "**Data:** none" in prose(notebook)
        return
    text = "".join(str(out.get("text", "")) for _, out in outputs(notebook))
    assert "origin: the report's own data, byte for byte" in text


def test_it_is_small(path):
    assert path.stat().st_size < 500_000


def test_every_figure_has_a_caption_a_name_and_a_description(notebook):
    pictures = [c for c, out in outputs(notebook) if "image/png" in out.get("data", {})]
    names = []
    for cell in pictures:
        described = cell.metadata.get("mystnb", {})
        assert len(described.get("image", {}).get("alt", "")) > 60, cell.source[:80]
        assert len(described.get("figure", {}).get("caption", "")) > 20, cell.source[:80]
        names.append(described["figure"]["name"])
    assert len(set(names)) == len(names), "one picture a cell, one name a picture"
    for name in names:
        assert re.search(rf"[`<]{name}[`>]", prose(notebook)), f"{name} is never referred to"


def test_every_slider_says_what_it_shows(notebook):
    for _, out in outputs(notebook):
        html = str(out.get("data", {}).get("text/html", ""))
        if "<input" in html:
            assert 'aria-label="' in html and "<label" in html and "aria-valuetext" in html


def test_it_has_the_parts_of_a_chapter(notebook):
    text = prose(notebook)
    assert text.startswith("# ")
    for part in ("Learning goals", "**Time:**", "**Data:**", "## What to remember", "## Exercises"):
        assert part in text, part
    assert "## Further reading" in text and "{cite:p}" in text.split("## Further reading")[1]
    exercises = re.findall(r"```\{exercise\}.*\n:label: (\S+)", text)
    solutions = re.findall(r"```\{solution\} (\S+)\n:class: dropdown", text)
    assert len(exercises) >= 4 and exercises == solutions
    for level in ("By hand", "Change the code", "Think"):
        assert f"*{level}" in text, level


def test_one_import_cell_and_one_seed(notebook):
    cells = code_cells(notebook)
    assert "plt.style.use" in cells[0].source
    for cell in cells[1:]:
        assert not re.search(r"^(import|from) ", cell.source, re.M), cell.source[:80]
    assert sum(len(re.findall(r"^SEED = \d+", c.source, re.M)) for c in cells) == 1


def test_sizes_and_colours_come_from_the_style(notebook):
    for cell in code_cells(notebook):
        assert "figsize" not in cell.source
        assert not re.search(r"#[0-9a-fA-F]{6}", cell.source), cell.source[:80]


def test_cells_are_short(notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 40, cell.source[:80]
