"""What every stored notebook must be: executed in order, clean, described, small, complete."""

import ast
import collections
import re
from pathlib import Path

import nbformat
import pytest
import yaml
from matplotlib.colors import is_color_like

from book.stale import changed
from helpers import GREYS

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
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
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
        text = str(out.get("text", ""))
        assert "warning" not in text.lower() and " at 0x" not in text, text
        assert not any("widget" in kind for kind in out.get("data", {})), cell.source[:60]


def test_it_stores_no_path_of_a_machine(path):
    assert not MACHINE_PATH.findall(path.read_text(encoding="utf-8"))


def test_its_stored_outputs_come_from_the_reports_data(notebook):
    code = "\n".join(c.source for c in code_cells(notebook))
    if not re.search(r"load_(handwriting|cv_segments)\(", code):
        assert "**Data:** none" in prose(notebook)
        return
    shown = [out.get("text", out.get("data", {}).get("text/plain")) for _, out in outputs(notebook)]
    text = "\n".join(map(str, shown))
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


def test_every_slider_says_what_to_look_for(notebook):
    for _, out in outputs(notebook):
        html = str(out.get("data", {}).get("text/html", ""))
        if 'class="book-slider"' in html:
            said = re.search("<figcaption>(.*?)</figcaption>", html)
            assert said and len(said[1]) > 40, html[:200]


def test_every_slider_says_what_it_shows(notebook):
    for _, out in outputs(notebook):
        html = str(out.get("data", {}).get("text/html", ""))
        if 'type="range"' in html:
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
        assert not style_literals(cell.source), cell.source[:80]


NAMED = {*GREYS, *(f"C{k}" for k in range(6)), "none"}  # C0 to C5: the style's cycle
MAPS = {"Blues", "Greys"}  # shares of a whole, and gates; all else by the style's own map
COLOUR = re.compile(r"c|[fe]c|m[fe]c|\w*colors?")
SIZE = re.compile(r"(font|label|marker|cap|flier)?size|\w*(line|edge)widths?|lw|ms|mew|s")
FORMATTED = re.compile(r"plot|semilog[xy]|loglog|errorbar|step|[hv]lines")
LETTER_FORMAT = re.compile(r"[^\w]*[ovsphHxXDd]?[bgrcmykw][ovsphHxXDd]?[^\w]*")
LETTERED = re.compile(r"\w*(text|annotate|title|label|labels)")


def style_literals(source):
    """Return what in a cell says a colour or a size otherwise than by a name of the style."""
    nodes = list(ast.walk(ast.parse(source)))
    found = re.findall(r"figsize|#[0-9a-fA-F]{3,8}\b", source)
    meanings = collections.defaultdict(list)  # what a name may stand for
    options = []  # (name, value) of keywords and of entries of a dict
    for node in nodes:
        if isinstance(node, ast.Assign):
            meanings[ast.unparse(node.targets[0])].append(node.value)
        elif isinstance(node, ast.For | ast.comprehension):
            for name in ast.walk(node.target):
                meanings[getattr(name, "id", name)].append(node.iter)
        elif isinstance(node, ast.Dict):
            options += [
                (key.value, node.values[k])
                for k, key in enumerate(node.keys)
                if hasattr(key, "value")
            ]
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            options += [
                (keyword.arg, keyword.value)
                for keyword in node.keywords
                if keyword.arg != "size" or LETTERED.fullmatch(str(called))  # not an array's
            ]
            if FORMATTED.fullmatch(str(called)):
                formats = [getattr(argument, "value", None) for argument in node.args]
                found += [f for f in formats if LETTER_FORMAT.fullmatch(str(f))]
    for option, value in options:
        if COLOUR.fullmatch(str(option)):
            behind = [m for node in ast.walk(value) for m in meanings[getattr(node, "id", node)]]
            words = texts(value) + [word for word in texts(*behind) if len(word) > 1]
            found += [word for word in words if is_color_like(word) and word not in NAMED]
        elif SIZE.fullmatch(str(option)) and isinstance(value, ast.Constant):
            found += [f"{option}={value.value}"] if value.value and texts(value) == [] else []
        elif option == "cmap":
            found += [word for word in texts(value) if word not in MAPS]
    return list(dict.fromkeys(found))


def texts(*nodes):
    """Return the strings that stand in some nodes of a syntax tree."""
    constants = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Constant))
    return [constant.value for constant in constants if isinstance(constant.value, str)]


@pytest.mark.parametrize(
    "source",
    [
        'ax.plot(x, color="0.6")', 'ax.plot(x, "k--")', 'ax.plot(x, "ro")',
        'ax.plot(x, mfc="white")',
        'style = {"edgecolor": "black"}', 'ax.text(0, 0, "a", size=12)', "ax.plot(x, ms=4)",
        "ax.plot(x, linewidth=0.8)", 'for a, c in (("x", "0.6"),):\n    ax.plot(a, color=c)',
        'grey = "0.5"\nax.plot(x, color=grey)', "ax.legend(fontsize=8)", "panels(figsize=(3, 3))",
        'ax.imshow(x, cmap="jet")', 'ax.plot(x, color="#0072B2")',
    ],
)  # fmt: skip
def test_what_the_style_has_a_name_for_is_found(source):
    assert style_literals(source)


@pytest.mark.parametrize(
    "source",
    [
        'ax.plot(x, "C1o--", color=f"C{k}", mfc="none", lw=plotting.THIN)', "rng.normal(size=16)",
        'for a, c in (("k", "muted"),):\n    ax.plot(a, color=c)', 'update({"w": 1, "k": 2})',
        "ax.scatter(x, y, s=4 + 30 * gate**2, linewidths=0)", 'ax.set_yticks([0.5], ["0.5"])',
        'plotting.slider(a, b, "c", width=20)', 'ax.text(0, 0, "0.5", size="small")',
        "plotting.panels(1, 2, height=0.4)", "model.fit(x, batch_size=32)",
    ],
)  # fmt: skip
def test_what_the_style_has_no_name_for_is_free(source):
    assert not style_literals(source)


def test_cells_are_short(notebook):
    for cell in code_cells(notebook):
        folded = "hide-input" in cell.metadata.get("tags", [])
        assert len(cell.source.splitlines()) <= (40 if folded else 25), cell.source[:80]


def test_no_cell_glues_numbers_to_the_text(notebook):
    assert "glue" not in "".join(cell.source for cell in notebook.cells)
