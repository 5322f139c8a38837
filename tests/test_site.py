"""The built site: links, pictures, headings, contents, glossary, downloads; no other host."""

import ast
import bz2
import collections
import csv
import importlib.metadata
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import nbformat
import numpy  # noqa: F401
import pytest
import yaml
from bs4 import BeautifulSoup
from conftest import PAGES, ROOT, SITE, letters, name_of

from helpers import plotting

sys.path.insert(0, str(ROOT / "book/_ext"))
from downloads import results, with_fetch_cell

PINNED = dict(
    line.split("==")
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line
)
CHAPTERS = [page for page in PAGES if re.match(r"\d\d_", page.name)]
ADDRESS = "https://github.com/someone/some-book"


@pytest.fixture(scope="module")
def soups():
    return {
        page: BeautifulSoup(page.read_text(encoding="utf-8"), "lxml")
        for page in SITE.rglob("*.html")
    }


def test_every_chapter_and_page_was_built():
    sources = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "book").glob("*.md")]
    assert {name_of(page) for page in PAGES} == {
        str(source.relative_to(ROOT).with_suffix("")) for source in sources
    }


def test_internal_links_lead_somewhere(soups):
    places = {
        page: {e["id"] for e in soup.select("[id]")} | {e["name"] for e in soup.select("a[name]")}
        for page, soup in soups.items()
    }
    broken = []
    for page, soup in soups.items():
        for link in soup.select("a[href]"):
            url = urlsplit(link["href"])
            if url.scheme or url.netloc or link["href"] == "#":
                continue
            target = (page.parent / unquote(url.path)).resolve() if url.path else page
            if not target.exists():
                broken.append(f"{name_of(page)}: {link['href']}")
            elif url.fragment and target in soups and unquote(url.fragment) not in places[target]:
                broken.append(f"{name_of(page)}: {link['href']}")
    assert not broken


def test_nothing_is_loaded_from_another_host(soups):
    foreign = []
    for page, soup in soups.items():
        for tag, attribute in (("script", "src"), ("img", "src"), ("link", "href")):
            for element in soup.find_all(tag, **{attribute: re.compile(r"^(https?:)?//")}):
                if element.get("rel") not in (["canonical"], ["author"], ["license"]):
                    foreign.append(f"{name_of(page)}: {element[attribute]}")
    assert not foreign


SHOWING = {
    name
    for name, function in inspect.getmembers(plotting, inspect.isfunction)
    if re.search(r"Returns\n *-+\n *(pandas\S*Styler|IPython\S*HTML)\n", function.__doc__ or "")
}


def shown_in_vain(source):
    """Return the calls of a cell that make a table or a slider, which nobody gets to see."""
    tree = ast.parse(source)
    makers = SHOWING | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Return) and called(inner.value) in SHOWING
    }
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    last = tree.body[-1] if tree.body else None
    return [ast.unparse(s) for s in statements if s is not last and called(s.value) in makers]


def called(node):
    """Return the name of the function that a node calls."""
    function = getattr(node, "func", None)
    return getattr(function, "attr", getattr(function, "id", None))


def test_what_a_source_promises_is_on_the_page(soups):
    promised = 0
    for page in CHAPTERS:
        file = ROOT / "notebooks" / f"{page.stem}.ipynb"
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        outputs = collections.Counter()
        for cell in (cell for cell in cells if cell["cell_type"] == "code"):
            source = "".join(cell["source"])
            assert not shown_in_vain(source), (page.stem, source[:80])
            for output in cell["outputs"]:
                outputs.update(output.get("data", {}).keys() & {"image/png", "text/html"})
            figure = cell["metadata"].get("mystnb", {}).get("figure")
            if figure:
                (place,) = soups[page].select(f"figure#{figure['name']}")
                assert place.select("img, table, svg"), (page.stem, figure["name"])
                beginning = letters(re.split(r"[{$*`]", figure["caption"])[0])
                caption = letters(place.select_one("figcaption").get_text())
                assert beginning in caption and len(caption) > 20, (page.stem, figure["name"])
                promised += 1
            for node in ast.walk(ast.parse(source)):
                if called(node) == "table":
                    given = [*node.args[1:2], *(k.value for k in node.keywords)]
                    for caption in given:
                        if isinstance(getattr(caption, "value", None), str):
                            found = [c.get_text() for c in soups[page].select("table caption")]
                            assert caption.value in found, (page.stem, caption.value)
                            promised += 1
        assert len(soups[page].select(".cell_output img")) >= outputs["image/png"], page.stem
        assert len(soups[page].select(".cell_output .text_html")) == outputs["text/html"], page.stem
    assert promised > 80


@pytest.mark.parametrize(
    "source",
    [
        "plotting.table(a)\nprint(1)",
        "for a in b:\n    plotting.slider(a, b, 'c')",
        "def show(a):\n    return plotting.table(a)\nshow(1)\nshow(2)",
    ],
)
def test_a_table_that_nobody_sees_is_found(source):
    assert len(shown_in_vain(source)) == 1


@pytest.mark.parametrize("source", ["plotting.table(a)", "a = table(b)\na", "display(table(a))\nb"])
def test_a_table_that_is_shown_is_none(source):
    assert not shown_in_vain(source)


def test_every_picture_is_described(soups):
    for page in PAGES:
        for image in soups[page].select("article img"):
            alt = image.get("alt", "")
            assert len(alt) > 20 and "_images" not in alt and ".png" not in alt, (page, alt)


def test_no_reference_was_left_unresolved(soups):
    for page in PAGES:
        text = soups[page].select_one("article").get_text()
        for sign in ("{ref}", "{numref}", "{eq}", "{cite", "{doc}", "{glue", "{eval", "%s"):
            assert sign not in text, (page, sign)
        assert not soups[page].select(".problematic, .system-message"), page


def assigned(file):
    """Return what a script of the site assigns."""
    text = (SITE / "_static" / file).read_text(encoding="utf-8")
    return json.loads(text.partition(" = ")[2].removesuffix(";\n"))


# What has a preview: equations, figures, works, words of the glossary, exercises.
SHOWN = ".math, figure, li, dt, .exercise, .citation"


def test_links_to_other_pages_have_previews(soups):
    kinds = set()
    for page in PAGES:
        previews, glyphs = assigned(f"previews/{name_of(page)}.js")
        known = {e["id"] for e in soups[page].select("svg defs [id]")}
        known |= {e["id"] for e in BeautifulSoup(glyphs, "lxml").select("[id]")}
        for link in soups[page].select("article a.internal[href*='#']"):
            path, _, place = unquote(link["href"]).partition("#")
            if not path or urlsplit(link["href"]).scheme:
                continue
            target = soups[(page.parent / path).resolve()].find(id=place)
            if not target.css.match(SHOWN):
                continue
            shown = BeautifulSoup(previews[link["href"]], "lxml")
            assert target.get_text().strip() in shown.get_text()
            for use in shown.select("use"):
                assert use["xlink:href"][1:] in known, (page, link)
            kinds.add(target.name)
    assert kinds >= {"div", "dt"}


def test_every_number_and_every_verdict_leads_to_its_evidence(soups):
    for page in CHAPTERS:
        previews, _ = assigned(f"previews/{name_of(page)}.js")
        stored = json.loads((ROOT / "notebooks" / f"{page.stem}.ipynb").read_text(encoding="utf-8"))
        text = "".join("".join(cell["source"]) for cell in stored["cells"])
        numbers = soups[page].select(".book-number")
        assert bool(numbers) == ("{eval}`" in text), page
        for number in numbers:
            assert number.name == "a" and number["id"] in previews, number
            assert not number.find_parent("a"), number
        sentences = [n for n in numbers if n["id"].startswith("number-")]
        for number in sentences:
            shown = BeautifulSoup(previews[number["id"]], "lxml")
            where, _, anchor = number["href"].partition("#")  # another chapter quotes a verdict
            place = soups[page.parent / where if where else page].find(id=anchor)
            if place.name == "tr":  # of the ledger
                assert "claims[" in shown.get_text()
                continue
            code = [" ".join(box.get_text().split()) for box in shown.select("pre")]
            assert len(code) >= 2, number
            cell = " ".join(place.select_one(".cell_input").get_text().split())
            assert code[-1].partition(" = ")[0].split(" ")[0] in cell
    ledger = soups[next(p for p in CHAPTERS if p.name.startswith("15"))].select("#ledger tbody tr")
    assert len(ledger) > 50
    assert all(
        row.select_one("b a.book-number").get_text() == row["data-verdict"] for row in ledger
    )


def test_recorded_tables_behind_a_number_are_named():
    previews, _ = assigned("previews/notebooks/11_handwriting_experiment.js")
    assert any("data/results/runs.csv" in preview for preview in previews.values())
    previews, _ = assigned("previews/notebooks/03_backpropagation_through_time.js")
    assert not any("data/results" in preview for preview in previews.values())


def test_the_search_knows_every_section_and_every_word_of_the_glossary(soups):
    found = {address for address, *_ in assigned("sections.js")}
    expected = {
        f"{name_of(page)}.html#{place['id']}"
        for page in PAGES
        for place in soups[page].select("article :is(section[id], dl.glossary dt[id])")
    }
    assert found == expected
    text = " ".join(text for *_, text in assigned("sections.js"))
    assert "np.tanh" in text and "\\begin" not in text  # code as it is, formulas as they are read


def test_figures_whose_brightness_means_something_have_a_picture_for_the_dark(soups):
    pairs = 0
    for page in PAGES:
        for picture in soups[page].select("figure img.only-dark"):
            light = picture.find_previous_sibling("img")
            assert "only-light" in light["class"] and light["alt"] == picture["alt"]
            assert picture["src"] == light["src"].replace(".png", "_dark.png")
            assert picture["width"] == light["width"] and picture["loading"] == "lazy"
            assert (page.parent / picture["src"]).exists()
            pairs += 1
    assert pairs >= 5


def test_the_site_is_small():
    files = [file for file in SITE.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 30e6
    assert all(page.stat().st_size < 1e6 for page in PAGES)
    assert (SITE / "_static/scripts/fontawesome.js").stat().st_size < 1e5


def test_every_page_can_be_reached_from_the_cover(soups):
    reached, waiting = set(), [SITE / "book" / "intro.html"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in soups[page].select("a[href]"):
            target = (page.parent / unquote(urlsplit(link["href"]).path)).resolve()
            if target in soups and not urlsplit(link["href"]).scheme:
                waiting.append(target)
    assert set(PAGES) <= reached


def test_headings_are_in_order_and_the_language_is_set(soups):
    for page in PAGES:
        assert soups[page].html["lang"] == "en"
        levels = [int(h.name[1]) for h in soups[page].select("article :is(h1,h2,h3,h4,h5,h6)")]
        assert levels[0] == 1 and levels.count(1) == 1, page
        assert all(b - a <= 1 for a, b in pairwise(levels)), page


def test_an_id_stands_once_on_a_page(soups):
    for page in PAGES:
        ids = [tag["id"] for tag in soups[page].select("[id]")]
        assert len(set(ids)) == len(ids), (page, {i for i in ids if ids.count(i) > 1})


def test_the_number_of_a_chapter_is_the_number_of_its_file(soups):
    for page in CHAPTERS:
        title = soups[page].select_one("article h1").get_text()
        assert title.startswith(f"{int(page.name[:2])}. "), title


def test_the_cover_lists_every_chapter_with_a_line_and_its_minutes(soups):
    items = soups[SITE / "book" / "intro.html"].select(".book-contents li")
    listed = {item.a["href"].rpartition("/")[2]: item for item in items}
    for page in CHAPTERS:
        item = listed[page.name]
        assert re.search(r"\d+ min$", item.select_one("p").get_text()), page
        assert len(item.select("p")[1].get_text()) > 20, page
    names = {page.name for page in PAGES} - {"intro.html"}
    assert set(listed) == names


def test_terms_are_linked_at_first_use_and_none_is_idle(soups):
    used = set()
    for page in CHAPTERS:
        links = [link["href"].rpartition("#")[2] for link in soups[page].select(".glossary-link")]
        assert len(links) >= 4 and len(set(links)) == len(links), page
        used |= set(links)
    glossary = soups[SITE / "book" / "glossary.html"]
    firsts = {dl_item.get("id") for dl_item in glossary.select("dl.glossary dt")}
    second = {dt["id"] for dt in glossary.select("dl.glossary dt + dt")}
    assert firsts - second == used


def test_a_chapter_ends_with_the_works_it_cites(soups):
    for page in CHAPTERS:
        links = {link["href"] for link in soups[page].select(".bibtex-citation a")}
        listed = {f"#{item['id']}" for item in soups[page].select(".book-references li")}
        assert links == listed and listed, page


def test_formulas_were_set_when_the_site_was_built(soups):
    formulas = 0
    for page in PAGES:
        assert not soups[page].select(".math-error"), page
        for formula in soups[page].select(".math"):
            assert formula.select_one("mjx-container > svg") and formula.select_one("math"), page
            formulas += 1
    assert formulas > 1000


@pytest.fixture(scope="module")
def addressed(tmp_path_factory):
    """Two tiny chapters, built with an address and without: their second pages and downloads."""
    built = []
    for address in (ADDRESS, ""):
        folder = tmp_path_factory.mktemp("addressed")
        for name in ("_ext", "_static", "references.bib", "glossary.md", "notation.md"):
            (folder / "book").mkdir(exist_ok=True)
            (folder / "book" / name).symlink_to(ROOT / "book" / name)
        config = (ROOT / "_config.yml").read_text(encoding="utf-8")
        config = re.sub(r"^  url: .*", f'  url: "{address}"', config, flags=re.M)
        toc = "format: jb-book\nroot: book/intro\nchapters:\n- file: book/glossary\n"
        toc += "".join(f"- file: notebooks/0{k}_tiny\n" for k in (1, 2))
        files = {"_config.yml": config, "_toc.yml": toc, "book/intro.md": "# Cover\n\nText.\n"}
        for k in (1, 2):
            text = f"# Tiny {k}\n\n**Time:** 1 minute on two cores.\n\n{{doc}}`0{3 - k}_tiny`\n"
            text += "\n## End"
            cells = [
                nbformat.v4.new_markdown_cell(text),
                nbformat.v4.new_code_cell("import helpers"),
            ]
            notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
            files[f"notebooks/0{k}_tiny.ipynb"] = nbformat.writes(notebook)
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "data/results").mkdir(parents=True)
        subprocess.run(
            [Path(sys.executable).parent / "jupyter-book", "build", folder, "--quiet"],
            check=True,
            capture_output=True,
        )
        site = folder / "_build/html"
        soup = BeautifulSoup((site / "notebooks/02_tiny.html").read_text(encoding="utf-8"), "lxml")
        download = (site / "_sources/notebooks/02_tiny.ipynb").read_text(encoding="utf-8")
        built.append((soup, json.loads(download)["cells"]))
    return built


KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def test_one_line_gives_a_fork_its_links(addressed):
    page, cells = addressed[0]
    links = {link["href"] for link in page.select(".article-header-buttons a[href]")}
    source = "notebooks/02_tiny.ipynb"
    path = urlsplit(ADDRESS).path.strip("/")
    assert f"{ADDRESS}/edit/main/{source}" in links
    assert any(link.startswith(f"{ADDRESS}/issues/new") for link in links)
    binder = f"https://mybinder.org/v2/gh/{path}/main?urlpath=lab/tree/work/02_tiny.ipynb"
    colab = f"https://colab.research.google.com/github/{path}/blob/gh-pages/_sources/{source}"
    assert {binder, colab, "../_sources/notebooks/02_tiny.ipynb"} <= links
    tags = {tag["property"]: tag["content"] for tag in page.select("meta[property]")}
    assert tags["og:image"] == "https://someone.github.io/some-book/_static/card.png"
    assert ADDRESS in "".join(cells[0]["source"])
    assert "(https://someone.github.io/some-book/notebooks/01_tiny.html)" in "".join(
        cells[1]["source"]
    )


def test_without_an_address_nothing_leads_nowhere(addressed):
    page, cells = addressed[1]
    buttons = page.select(".article-header-buttons [href], .article-header-buttons [onclick]")
    assert not [b for b in buttons if "http" in str(b) or "_sources" in str(b)]
    assert not page.select("meta[property='og:image']")
    assert "[Tiny 1](01_tiny.ipynb)" in "".join(cells[0]["source"])


def test_the_address_of_the_repository_stands_in_one_place():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = config["repository"]["url"] or "https://github.com/you/"  # the example there
    found = subprocess.run(
        ["git", "grep", "-l", address.removeprefix("https://")], cwd=ROOT, capture_output=True
    )
    if found.returncode > 1:
        pytest.skip("not a clone: git cannot list the files")
    assert set(found.stdout.decode().split()) <= {"_config.yml", "tests/test_site.py"}


def test_a_link_elsewhere_says_what_it_leads_to(soups):
    for page in PAGES:
        tags = {tag["property"]: tag["content"] for tag in soups[page].select("meta[property]")}
        assert len(tags["og:description"]) > 10 and len(tags["og:title"]) > 3
    assert (SITE / "_static" / "card.png").exists()


def test_what_a_stopped_sweep_leaves_behind_is_no_recorded_run(tmp_path):
    folder = tmp_path / "data/results"
    folder.mkdir(parents=True)
    for name in (".runs.csv.bz2", "runs.csv.bz2", "runs.csv", "pen.json"):
        (folder / name).touch()
    found = [file.name for file in results(SimpleNamespace(srcdir=tmp_path))]
    assert found == ["runs.csv", "runs.csv.bz2"]


def test_recorded_runs_can_be_downloaded(soups):
    links = soups[SITE / "book" / "how_to_run.html"].select('a[href^="../downloads/"]')
    files = list((ROOT / "data" / "results").glob("[!.]*.csv*"))
    assert len(links) == len(files)
    for file in files:
        copy = (SITE / "downloads" / file.name).read_bytes()
        assert copy == file.read_bytes()
        text = bz2.decompress(copy) if file.suffix == ".bz2" else copy
        assert len(list(csv.reader(text.decode().splitlines()))) > 1


def test_a_downloaded_notebook_runs_in_an_empty_folder(tmp_path):
    """Its first cells, in a Python that has the libraries and does not have `helpers`."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: there is no repository to fetch")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    # Read as a plain folder, so that the link to this repository's own `helpers` does not count.
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    (next((tmp_path / "venv" / "lib").iterdir()) / "site-packages" / "all.pth").write_text(
        packages, encoding="utf-8"
    )
    folder = tmp_path / "empty"
    folder.mkdir()
    script = ["import json, pathlib"]
    for page in CHAPTERS:
        download = SITE / "_sources" / "notebooks" / f"{page.stem}.ipynb"
        notebook = with_fetch_cell(json.loads(download.read_text(encoding="utf-8")), ADDRESS)
        code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
        assert ADDRESS in code[0]
        script += [f"exec({cell!r}, {{}})" for cell in code[:2]]
    script += ["import helpers.data", "print(helpers.__file__)"]
    script += ["print(helpers.data.load_handwriting().summary())"]
    environment = {"SEQUENCE_BOOK": ROOT.as_uri(), "PATH": os.environ["PATH"], "MPLBACKEND": "agg"}
    done = subprocess.run(
        [python, "-c", "\n".join(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert str(folder / "sequence-learning-book" / "helpers") in done.stdout


def test_colab_gets_the_versions_that_were_tested(tmp_path, monkeypatch):
    """The cell as Colab would run it: what it asks pip for, and what it says of old versions."""
    (tmp_path / "sequence-learning-book").mkdir()
    for name in ("pyproject.toml", "requirements.txt"):
        (tmp_path / "sequence-learning-book" / name).symlink_to(ROOT / name)
    asked, said = [], []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: asked.append(command))
    monkeypatch.setattr(sys, "path", [*sys.path])
    versions = iter(["1.0", "2.0"])
    monkeypatch.setattr(importlib.metadata, "version", lambda name: next(versions))
    cell = "".join(with_fetch_cell({"cells": []}, ADDRESS)["cells"][0]["source"])
    exec(cell, {"print": said.append})
    assert "numpy" in asked[-1] and "tensorflow" in asked[-1] and not said
    for name in [name for name in sys.modules if name in PINNED.keys() - {"numpy"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "google.colab", None)
    exec(cell, {"print": said.append})
    assert {f"{name}=={PINNED[name]}" for name in ("numpy", "tensorflow", "keras")} <= {*asked[-1]}
    assert "Restart session" in said[0]


def test_the_zip_beside_the_site_holds_all_of_it():
    with zipfile.ZipFile(ROOT / "_build" / "recurrent-sequence-learning.zip") as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    files = {
        f"recurrent-sequence-learning/{file.relative_to(SITE).as_posix()}"
        for file in SITE.rglob("*")
        if file.is_file() and file.name != ".buildinfo"
    }
    assert names == files


BROKEN = """# A page

{ref}`nowhere` {cite:p}`nobody1900` {term}`no term` $\\nomacro x$ [gone](gone.md) {doc}`nothing`

## Second

#### Fourth
"""


def test_mistakes_end_the_build(tmp_path):
    (tmp_path / "book").mkdir()
    for name in ("_ext", "_static", "references.bib", "glossary.md", "notation.md"):
        (tmp_path / "book" / name).symlink_to(ROOT / "book" / name)
    (tmp_path / "_config.yml").write_text(
        (ROOT / "_config.yml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n- file: book/glossary\n", encoding="utf-8"
    )
    (tmp_path / "book" / "intro.md").write_text(BROKEN, encoding="utf-8")
    jupyter_book = Path(sys.executable).parent / "jupyter-book"
    done = subprocess.run(
        [jupyter_book, "build", str(tmp_path), "-W", "-n", "--keep-going"],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode != 0
    for complaint in (
        "undefined label: 'nowhere'",
        "nobody1900",
        "term not in glossary: 'no term'",
        "Undefined control sequence \\nomacro",
        "gone.md",
        "unknown document: 'nothing'",
        "Non-consecutive header level",
    ):
        assert complaint in done.stderr, complaint
