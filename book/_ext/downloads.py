"""What a reader takes away: notebooks that run where they land, and the recorded runs as CSV."""

import bz2
import csv
import json
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

FETCH = "fetch-the-book"
# `pip` leaves what is there as it is, so that nothing is replaced in a running Colab.
FETCH_CELL = """\
# Only in downloaded copies: fetch the book's own code and data, unless they are here.
import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

if importlib.util.find_spec("helpers") is None:
    book = Path("sequence-learning-book").resolve()
    if not book.exists():
        source = os.environ.get("SEQUENCE_BOOK", "{address}")
        subprocess.run(["git", "clone", "--depth", "1", source, book], check=True)
    project = tomllib.loads((book / "pyproject.toml").read_text("utf-8"))["project"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run(pip + project["dependencies"], check=True)
    sys.path.insert(0, str(book))
"""


def with_fetch_cell(notebook, address):
    """Return a notebook (the JSON of a file) that begins by fetching the book."""
    cells = [cell for cell in notebook["cells"] if cell.get("id") != FETCH]
    first = {
        "cell_type": "code",
        "execution_count": None,
        "id": FETCH,
        "metadata": {},
        "outputs": [],
        "source": FETCH_CELL.format(address=address).splitlines(keepends=True),
    }
    return notebook | {"cells": [first, *cells]}


def write_notebooks(app):
    """Let every notebook that the site offers fetch the book."""
    address = app.config.html_theme_options["repository_url"]
    for file in (Path(app.outdir) / "_sources").rglob("*.ipynb"):
        notebook = with_fetch_cell(json.loads(file.read_text(encoding="utf-8")), address)
        file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def results(app):
    """Return the recorded runs: files ending in .csv or .csv.bz2."""
    return sorted((Path(app.srcdir) / "data/results").glob("*.csv*"))


def read(file):
    """Open a CSV, compressed or not."""
    return (bz2.open if file.suffix == ".bz2" else open)(file, "rt", encoding="utf-8")


def write_results(app):
    """Put the recorded runs on the site, compressed where they are stored so."""
    folder = Path(app.outdir) / "downloads"
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier build
    folder.mkdir()
    for file in results(app):
        shutil.copy(file, folder)


class RecordedRuns(SphinxDirective):
    """``{recorded-runs}``: the files, with their rows and columns."""

    def run(self):
        """Return the list."""
        app, up = self.env.app, "../" * self.env.docname.count("/")
        items = nodes.bullet_list()
        for file in results(app):
            self.env.note_dependency(str(file))
            with read(file) as source:
                columns, *lines = csv.reader(source)
            link = nodes.reference("", file.name, refuri=f"{up}downloads/{file.name}")
            words = f", {len(lines):,} rows: {', '.join(columns)}"
            items += nodes.list_item("", nodes.paragraph("", "", link, nodes.Text(words)))
        return [items]


def aim_colab(app, pagename, templatename, context, doctree):
    """Let Colab open the published copy, which fetches the book, instead of the stored one."""
    options = app.config.html_theme_options
    stored = f"/blob/{options['repository_branch']}/"
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("text") == "Colab":
                button["url"] = button["url"].replace(stored, "/blob/gh-pages/_sources/")


def finish(app, exception):
    """Write the downloads of a site that was built."""
    if exception is None and app.builder.format == "html":
        write_notebooks(app)
        write_results(app)


def setup(app):
    """Register with Sphinx."""
    app.add_directive("recorded-runs", RecordedRuns)
    app.connect("html-page-context", aim_colab, priority=900)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
