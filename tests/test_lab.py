"""JupyterLab shows the book: opened and not run, run, changed, folded and unfolded."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import ROOT, environment, some
from playwright.sync_api import expect

from book import lab
from book._ext.reader import Book, source

BOOK = Book()
CHAPTERS = [chapter.partition("/")[2] for chapter in BOOK.chapters]
CHAPTER = "05_lstm"  # imports TensorFlow, needs no data, has a slider, and runs in seconds
MARK = "stored before"
RENDERED = """count => [...document.querySelectorAll(".jp-MarkdownCell .myst")]
  .filter(cell => cell.textContent.trim()).length >= count"""
TEXT = """[...document.querySelectorAll(".jp-MarkdownCell .myst")].map(cell => {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll("pre, .katex").forEach(part => part.remove());
  return copy.textContent;
}).join("\\n")"""
RAW = re.compile(r"\{[\w:-]+\}`|`{3}|~{3}|:{3}|^\([\w-]+\)=|:\w+: |\$\$|\{eval\}|⚠", re.M)
# Boxes whose contents run over what follows, as notes in the margin do.
OVERLAPS = """() => {
  const found = [];
  for (const cell of document.querySelectorAll(".jp-MarkdownCell .myst")) {
    const parts = [...cell.querySelectorAll("article > *, article aside, article blockquote")]
      .filter(e => e.getBoundingClientRect().height > 0 && !e.closest("details"));
    for (const a of parts) for (const b of parts) {
      if (a === b || a.contains(b) || b.contains(a)) continue;
      const p = a.getBoundingClientRect(), q = b.getBoundingClientRect();
      const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      if (high > 3 && wide > 3) found.push(a.textContent.slice(0, 60));
    }
  }
  return found;
}"""


@pytest.fixture(scope="module")
def address(clone):
    """JupyterLab in a clone, started as a reader does; one stored number is not the true one."""
    subprocess.run(
        [sys.executable, "-m", "book.lab", "--copies"],
        cwd=clone,
        env=environment(clone),
        check=True,
    )
    copy = clone / f"work/{CHAPTER}.ipynb"
    text = copy.read_text(encoding="utf-8")
    first = re.search(r'"text/plain": "(.*?)"', text[text.index('"user_expressions"') :])[1]
    at = text.index(first, text.index('"user_expressions"'))
    copy.write_text(text[:at] + f"'{MARK}'" + text[at + len(first) :], encoding="utf-8")
    lab.trust([copy])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            sys.executable,
            "do.py",
            "lab",
            "--no-browser",
            f"--port={port}",
            "--IdentityProvider.token=",
        ],
        cwd=clone,
        env=environment(clone) | {"JUPYTERLAB_WORKSPACES_DIR": str(clone / "workspaces")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(2400):
            assert server.poll() is None
            try:
                urllib.request.urlopen(f"{base}/lab").close()
                break
            except OSError:
                time.sleep(0.1)
        yield base
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def test_it_opens_the_first_chapter_in_the_repository(address):
    """The first address leads to a copy of chapter 1, beside everything else."""
    with urllib.request.urlopen(f"{address}/") as page:
        assert page.url.endswith("/lab/tree/work/01_why_sequences.ipynb")
    for name in ("helpers", "assignment", "work/01_why_sequences.ipynb", "data/sample"):
        urllib.request.urlopen(f"{address}/api/contents/{name}?content=0").close()


def open_chapter(tab, address, name):
    """Open a copy as the only one in the window; return what its sentences say."""
    tab.goto(f"{address}/doc/tree/work/{name}.ipynb?reset")
    cells = BOOK.copy(f"notebooks/{name}", "lab")["cells"]
    wanted = sum(cell["cell_type"] == "markdown" for cell in cells)
    tab.wait_for_function(RENDERED, arg=wanted, timeout=180_000)
    assert tab.locator(".jp-MarkdownCell").count() == wanted
    return tab.evaluate(TEXT)


@pytest.fixture(scope="module")
def tab(browser):
    return browser.new_context(viewport={"width": 1280, "height": 900}).new_page()


@pytest.mark.parametrize("chapter", some(CHAPTERS, CHAPTERS[::9]))
def test_a_chapter_that_was_not_run_reads_as_the_book(tab, address, chapter):
    text = open_chapter(tab, address, chapter)
    assert not RAW.findall(text)
    assert not tab.locator(
        ".jp-MarkdownCell .katex-error, .jp-MarkdownCell [class*=text-red]"
    ).all()
    for words in (
        "Learning goals",
        "What to remember",
        "Solution to Exercise",
        "Cited in this chapter",
    ):
        assert words in text
    # An expression whose value is not known shows as code.
    asked = [source(c) for c in BOOK.notebooks[f"notebooks/{chapter}"]["cells"]]
    asked = {m[1].replace("\n", " ") for t in asked for m in re.finditer(r"\{eval\}`([^`]+)`", t)}
    shown = tab.evaluate("[...document.querySelectorAll('.myst code')].map(e => e.textContent)")
    assert not asked & set(shown)
    assert tab.evaluate(OVERLAPS) == []
    assert tab.locator(".jp-OutputArea-output").count() > 5


def test_a_chapter_is_run_and_its_exercise_solved(tab, address, clone):
    assert MARK in open_chapter(tab, address, CHAPTER)
    # A solution unfolds and folds.
    solution = tab.locator(".jp-MarkdownCell details").first
    inside = solution.locator("p").first
    assert not inside.is_visible()
    solution.locator("summary").click()
    assert inside.is_visible()
    solution.locator("summary").click()
    assert not inside.is_visible()
    # The slider of a copy that we made works before anything was run.
    move_slider(tab)
    run_all(tab)
    assert MARK not in tab.evaluate(TEXT), "numbers follow what was run"
    errors = tab.locator("[data-mime-type='application/vnd.jupyter.stderr']")
    assert errors.all_inner_texts() == [], "TensorFlow's first lines stay out of the notebook"
    assert not tab.locator("[data-mime-type='application/vnd.jupyter.error']").count()
    move_slider(tab)
    # The empty cell under an exercise.
    cells = BOOK.copy(f"notebooks/{CHAPTER}", "lab")["cells"]
    place = next(k for k, c in enumerate(cells) if c["cell_type"] == "code" and not c["source"])
    cell = tab.locator(".jp-Notebook .jp-Cell").nth(place)
    cell.locator(".cm-content").click()
    tab.keyboard.type("rng.normal(size=3).shape + (6 * 7,)")
    tab.keyboard.press("Control+Enter")
    cell.locator("text=(3, 42)").wait_for()
    tab.keyboard.press("Control+s")
    saved = clone / f"work/{CHAPTER}.ipynb"
    for _ in range(600):
        if "6 * 7" in saved.read_text(encoding="utf-8"):
            break
        time.sleep(0.1)
    notebook = json.loads(saved.read_text(encoding="utf-8"))
    assert source(notebook["cells"][place]) == "rng.normal(size=3).shape + (6 * 7,)"
    assert MARK not in json.dumps(notebook)
    # What is published stays as it was.
    name = f"notebooks/{CHAPTER}.ipynb"
    assert (clone / name).read_bytes() == (ROOT / name).read_bytes()


def move_slider(tab):
    """Move the last slider by an arrow key, and see its picture change."""
    slider = tab.locator(".book-slider").last
    field, picture = slider.locator("input").first, slider.locator("[role=img]")
    before, said = picture.inner_html(), slider.locator("output").inner_text()
    field.scroll_into_view_if_needed()
    field.focus()
    tab.keyboard.press("ArrowLeft")
    assert picture.inner_html() != before
    assert slider.locator("output").inner_text() != said
    tab.keyboard.press("ArrowRight")


def run_all(tab):
    """Run all cells, and wait until the last one has run."""
    tab.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    tab.get_by_text("Run All Cells", exact=True).click()
    waiting = tab.locator(".jp-InputPrompt", has_text="[*]")
    waiting.first.wait_for()
    expect(waiting).to_have_count(0, timeout=300_000)
    # The expressions of the last text come after the last cell.
    tab.wait_for_function(f"!document.body.textContent.includes('{MARK}')", timeout=60_000)
