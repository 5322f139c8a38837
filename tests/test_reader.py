"""Readers' notebooks: numbered as the site, nothing raw, solutions folded, nobody's work lost."""

import json
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from conftest import ROOT, SITE, letters

from book import lab
from book._ext.reader import (
    Book,
    Directive,
    ReaderError,
    blocks,
    directives,
    reading_minutes,
    roles,
    source,
    stored,
)

BOOK = Book()
KINDS = ("lab", "plain")
COPIES = {(c, kind): BOOK.copy(c, kind) for c in BOOK.chapters for kind in KINDS}
SHOWN_IN_LAB = {"math", "exercise", "solution", "admonition", "note", "tip", "important", "warning"}


@pytest.fixture(params=BOOK.chapters, ids=lambda chapter: chapter.partition("/")[2])
def chapter(request):
    return request.param


def texts(notebook):
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]


def test_a_plain_copy_holds_no_role_and_no_directive(chapter):
    for text in texts(COPIES[chapter, "plain"]):
        assert not roles(text) and not directives(text), text
        assert not re.search(r"\{[\w:-]+\}`|^ *[`~:]{3,}\{|^\([\w-]+\)=$|^ *:\w+:", text, re.M), (
            text
        )


def test_a_copy_for_jupyterlab_holds_what_that_shows(chapter):
    for cell in COPIES[chapter, "lab"]["cells"]:
        if cell["cell_type"] == "markdown":
            text = source(cell)
            assert {found.name for found in directives(text)} <= SHOWN_IN_LAB, text
            assert {role for role, _ in roles(text)} <= {"eval"}, text
            assert {expression for _, expression in roles(text)} == set(stored(cell)), text


@pytest.mark.parametrize("kind", KINDS)
def test_code_and_outputs_are_the_books(chapter, kind):
    ours = [c for c in BOOK.notebooks[chapter]["cells"] if c["cell_type"] == "code"]
    copies = [c for c in COPIES[chapter, kind]["cells"] if c["cell_type"] == "code" and c["source"]]
    for key in ("source", "outputs", "execution_count"):
        assert [cell[key] for cell in copies] == [cell[key] for cell in ours]
    ids = [cell["id"] for cell in COPIES[chapter, kind]["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_cell_stands_under_each_exercise_in_code(chapter, kind):
    cells = COPIES[chapter, kind]["cells"]
    empty = [
        k for k, cell in enumerate(cells) if cell["cell_type"] == "code" and not cell["source"]
    ]
    asked = sum(text.count("*Change the code") for text in texts(BOOK.notebooks[chapter]))
    assert len(empty) == asked > 0
    for k in empty:
        last = re.split(r"<details>|\{exercise\}|\*\*Exercise", source(cells[k - 1]))[-1]
        assert "*Change the code" in last and "olution" not in last


def test_solutions_are_folded_in_a_plain_copy(chapter):
    text = "\n\n".join(texts(COPIES[chapter, "plain"]))
    asked = "\n\n".join(texts(BOOK.notebooks[chapter])).count("{solution}")
    assert (
        len(re.findall(r"<details>\n<summary>Solution to Exercise [\d.]+</summary>\n\n", text))
        == asked
    )
    # What stands behind would otherwise be read as HTML.
    folded = text.count("<details>")  # the answers to the questions as well
    assert len(re.findall(r"</details>\n(?:\n|\Z)", text + "\n")) == folded >= asked


NOT_PROSE = "mjx-container, .headerlink, script, style, pre, table, .book-slider, .math"


def site(chapter):
    page = SITE / f"{chapter}.html"
    return BeautifulSoup(page.read_text(encoding="utf-8"), "lxml").select_one("article")


def test_numbers_and_names_are_the_sites(chapter):
    page = site(chapter)
    ours = {label: target for label, target in BOOK.targets.items() if target.page == chapter}
    assert {"figure", "exercise"} <= {target.kind for target in ours.values()}
    for label, target in ours.items():
        if target.kind == "equation":
            words = page.select_one(f"[id='equation-{label.lower()}'] .eqno").get_text()
            assert words.startswith(target.name)
        elif target.kind == "section":
            heading = page.select_one(f"[id='{label}']").find_next(re.compile("^h[1-6]$"))
            assert letters(heading.get_text()) == letters(target.title)
        else:
            place = page.select_one(f"[id='{label}']")
            assert place.select_one(".caption-number").get_text().strip() == target.name


def test_references_and_numbers_read_as_on_the_site(chapter):
    """Sentence by sentence: what the site says, a plain copy says."""
    page = site(chapter)
    for part in page.select(NOT_PROSE):
        part.decompose()
    said = letters(page.get_text())
    missing, number = [], 0
    for text in texts(COPIES[chapter, "plain"]):
        prose = "".join(block for block in blocks(text) if isinstance(block, str))
        prose = re.sub(r"\$\$.*?\$\$|<[^>]*>|\]\([^)]*\)", "", prose, flags=re.S)
        # On the site the numbers of questions and answers are those of a list.
        prose = re.sub(r"^\*\*\d+\.\*\* ", "", prose, flags=re.M)
        for sentence in re.split(r"(?<=[.?!:])\s|\n+", prose):
            if "$" in sentence or "`" in sentence or "|" in sentence:
                continue
            number += 1
            if letters(sentence) not in said:
                missing.append(sentence)
    assert number > 50
    assert not missing


def test_every_reference_leads_somewhere(chapter):
    for kind in KINDS:
        text = "\n\n".join(texts(COPIES[chapter, kind]))
        places = re.findall(r'^\(([\w-]+)\)=$|<a id="([\w-]+)">|^:label: ([\w-]+)$', text, re.M)
        places = {name for found in places for name in found if name}
        headings = re.findall(r"^#+ (.*)", text, re.M)
        places |= {re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings}
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, mark = link.partition("#")
            if not file:
                assert mark in places, (kind, link)
            elif not file.startswith("http"):
                assert (ROOT / "notebooks" / file).exists(), (kind, link)


WORK = "@book{who, author={A. One and B. Two}, title={T}, year={1990}, publisher={P}}"
SMALL = {
    "_toc.yml": "root: book/intro\nchapters:\n- file: notebooks/01_a\n- file: notebooks/02_b\n",
    "book/intro.md": "# Cover\n",
    "book/references.bib": WORK,
    "02": ["# Second\n\n```{math}\n:label: eq-two\na\n```"],
    "01": [
        "# First\n\n**Time:** 2 minutes on two cores.\n\n(sec-a)=\n## A part",
        "{eval}`x` {eq}`eq-two` {ref}`sec-a` {ref}`Words <eq-two>` {doc}`02_b` "
        "{doc}`../book/intro` `{eval}` {cite:p}`who` {cite:t}`who` [here](#eq-two)\n\n"
        "$$\nb\n$$\n\n```{margin}\nBy *hand*.\n```",
        "```{exercise} Try\n:label: ex-a\n\n*Change the code.* Now {eval}`y`.\n```\n\n"
        "```{solution} ex-a\n:class: dropdown\n\nSo {eval}`x`.\n\n~~~python\n1\n~~~\n```",
    ],
}


def small(folder, **more):
    """Write a book of two chapters."""
    for name, content in (SMALL | more).items():
        if name in ("01", "02"):
            values = {"x": "'-2e-05'", "y": "3"}
            stored = [
                {"expression": k, "result": {"status": "ok", "data": {"text/plain": v}}}
                for k, v in values.items()
            ]
            metadata = {"user_expressions": stored}
            cells = [
                {"cell_type": "markdown", "id": f"c{k}", "metadata": metadata, "source": text}
                for k, text in enumerate(content)
            ]
            name = f"notebooks/{name}_{'ab'[int(name) - 1]}.ipynb"
            content = json.dumps({"cells": cells, "metadata": {}})
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return Book(folder)


def test_each_construct_in_a_plain_copy(tmp_path):
    first, second, third, empty, solution, cited = small(tmp_path).copy("notebooks/01_a", "plain")[
        "cells"
    ]
    assert "**Time:** reading 5 min · running 2 min on two cores." in source(first)
    assert '<a id="sec-a"></a>\n\n## A part' in source(first)
    assert source(second) == (
        "−2 × 10<sup>−5</sup> [(2.1)](02_b.ipynb#eq-two) [A part](#sec-a) "
        "[Words](02_b.ipynb#eq-two) [Second](02_b.ipynb) Cover `{eval}` "
        "\\[[One and Two, 1990](#work-who)\\] [One and Two \\[1990\\]](#work-who) "
        "[here](02_b.ipynb#eq-two)\n\n$$\nb\n$$\n\n> By *hand*."
    )
    assert source(third) == '<a id="ex-a"></a>\n**Exercise 1.1** (Try)\n\n*Change the code.* Now 3.'
    assert empty["cell_type"] == "code" and empty["source"] == []
    assert source(solution) == (
        "<details>\n<summary>Solution to Exercise 1.1</summary>\n\nSo −2 × 10<sup>−5</sup>.\n\n"
        "```python\n1\n```\n\n</details>"
    )
    assert '<a id="work-who"></a>' in source(cited) and "*T*" in source(cited)


def test_each_construct_in_a_copy_for_jupyterlab(tmp_path):
    first, second, third, _, solution, cited = small(tmp_path).copy("notebooks/01_a", "lab")[
        "cells"
    ]
    assert "(sec-a)=\n## A part" in source(first)
    assert source(second).startswith("{eval}`x` [(2.1)](02_b.ipynb#eq-two) [A part](#sec-a) ")
    assert "[Cover](../book/intro.md)" in source(second)
    assert "```{math}\n:enumerated: false\n\nb\n\n```" in source(second)
    assert source(third).startswith("```{exercise} Try\n:label: ex-a\n:enumerator: 1.1\n\n*Change")
    assert [list(stored(cell)) for cell in (second, third, solution)] == [["x"], ["y"], ["x"]]
    assert source(solution).startswith("```{solution} ex-a\n:class: dropdown\n\nSo {eval}`x`.")
    assert "(work-who)=" in source(cited)


def test_where_the_site_is_known_plain_copies_lead_there(tmp_path):
    text = source(small(tmp_path).copy("notebooks/01_a", "plain", "https://a.b")["cells"][1])
    for link in (
        "(https://a.b/notebooks/02_b.html#eq-two)",
        "(https://a.b/book/intro.html)",
        "(#sec-a)",
    ):
        assert link in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```{gallery}\n```", "directive {gallery}"),
        ("{kbd}`a`", "role {kbd}`a`"),
        ("{eq}`eq-none`", "no label eq-none"),
        ("{cite:p}`nobody`", "no work nobody"),
        ("{doc}`nothing`", "no page notebooks/nothing"),
        ("{eval}`unknown`", "no value of {eval}`unknown`"),
        ("```{note}\nnever ended", "no end of it"),
    ],
)
def test_what_no_copy_can_show_is_an_error_that_names_the_place(tmp_path, text, complaint):
    with pytest.raises(ReaderError, match=re.escape(complaint)) as error:
        small(tmp_path, **{"01": ["# First", text]}).copy("notebooks/01_a", "lab")
    if "ended" not in text:
        assert str(error.value).startswith("notebooks/01_a.ipynb, cell 1: ")


def test_a_directive_is_written_as_it_was_read():
    text = "````{note} A title\n:class: tip\n\nText\n\n```python\n1\n```\n````"
    (found,) = blocks(text)
    assert isinstance(found, Directive) and found.source() == text


def test_reading_takes_longer_than_running_says():
    text = (SITE / "book/intro.html").read_text(encoding="utf-8")
    listed = re.findall(r"reading (\d+) min · running (\d+) min", text)
    assert len(listed) == len(BOOK.chapters)
    assert all(10 <= int(reading) <= 120 and 1 <= int(running) <= 5 for reading, running in listed)


def test_the_readme_says_how_long_reading_takes():
    minutes = [reading_minutes(notebook["cells"]) for notebook in BOOK.notebooks.values()]
    words = f"takes {min(minutes)} to {max(minutes)} minutes to read"
    assert words in (ROOT / "README.md").read_text(encoding="utf-8")


# --- Working copies ---------------------------------------------------------------------------


def names(files):
    return [file.name for file in files]


def test_copies_are_made_once_and_follow_the_book_until_a_reader_changes_them(tmp_path):
    work = tmp_path / "work"
    book = small(tmp_path)
    written, beside = lab.write_copies(book, work, "lab")
    assert names(written) == ["01_a.ipynb", "02_b.ipynb"] and not beside
    assert lab.write_copies(book, work, "lab") == ([], [])
    # A reader works in one of them; then the book changes both.
    mine = (work / "01_a.ipynb").read_text(encoding="utf-8").replace("A part", "My part")
    (work / "01_a.ipynb").write_text(mine, encoding="utf-8")
    assert lab.write_copies(book, work, "lab") == ([], [])
    changed = {"01": ["# First, again"], "02": [*SMALL["02"], "More."]}
    book = small(tmp_path, **changed)
    written, beside = lab.write_copies(book, work, "lab")
    assert names(written) == ["01_a_2.ipynb", "02_b.ipynb"] and names(beside) == ["01_a_2.ipynb"]
    assert (work / "01_a.ipynb").read_text(encoding="utf-8") == mine
    assert "again" in (work / "01_a_2.ipynb").read_text(encoding="utf-8")
    assert "More." in (work / "02_b.ipynb").read_text(encoding="utf-8")
    # Offered once: what a reader throws away stays away, and what is missing is made.
    (work / "01_a_2.ipynb").unlink()
    (work / "02_b.ipynb").unlink()
    assert names(lab.write_copies(book, work, "lab")[0]) == ["02_b.ipynb"]
    # Nothing is known of a file that another program put there: it is somebody's.
    (work / lab.STATE).unlink()
    assert names(lab.write_copies(book, work, "lab")[1]) == ["01_a_2.ipynb"]


def test_git_does_not_see_the_copies():
    assert "work/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert lab.WORK == ROOT / "work"


def test_helpers_and_data_are_found_from_the_copies():
    for path in Path(ROOT / "notebooks").glob("*.ipynb"):
        code = [
            source(c)
            for c in BOOK.notebooks[f"notebooks/{path.stem}"]["cells"]
            if c["cell_type"] == "code"
        ]
        assert not re.search(r"\.\./|\.\.\\|\b(Path|open)\(", "\n".join(code)), path
