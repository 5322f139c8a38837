"""What a reader takes away: notebooks that run where they land, and the recorded runs as CSV."""

import bz2
import csv
import json
import shutil
from pathlib import Path

import reader
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

FETCH = "fetch-the-book"
FETCH_CELL = """\
# Only in downloaded copies: fetch the book's own code and data, unless they are here.
import importlib.util
import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

if importlib.util.find_spec("helpers") is None:
    book = Path("sequence-learning-book").resolve()
    if not book.exists():
        source = os.environ.get("SEQUENCE_BOOK", "{address}")
        subprocess.run(["git", "clone", "--depth", "1", source, str(book)], check=True)
    project = tomllib.loads((book / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = project["dependencies"]
    loaded = {{}}
    if "google.colab" in sys.modules:  # the book's versions; elsewhere, what is there stays
        lines = (book / "requirements.txt").read_text("utf-8").splitlines()
        pins = {{line.partition("==")[0]: line for line in lines if "==" in line}}
        wanted = [pins.get(name, name) for name in wanted]
        loaded = {{name: version(name) for name in pins if name in sys.modules}}
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], check=True)
    sys.path.insert(0, str(book))
    if any(version(name) != before for name, before in loaded.items()):
        print("Choose Runtime > Restart session, then run all cells: versions have changed.")
"""


def with_fetch_cell(notebook, address):
    """Return a notebook (the JSON of a file) that begins by fetching the book."""
    first = {
        "cell_type": "code",
        "execution_count": None,
        "id": FETCH,
        "metadata": {},
        "outputs": [],
        "source": FETCH_CELL.format(address=address).splitlines(keepends=True),
    }
    return notebook | {"cells": [first, *notebook["cells"]]}


def write_notebooks(app):
    """Put a plain copy of each chapter on the site; it fetches the book if that has an address."""
    address = app.config.html_theme_options.get("repository_url")
    book = reader.Book(app.srcdir)
    for chapter in book.chapters:
        notebook = book.copy(chapter, "plain", reader.site_of(address))
        if address:
            notebook = with_fetch_cell(notebook, address)
        file = Path(app.outdir) / "_sources" / f"{chapter}.ipynb"
        file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def results(app):
    """Return the recorded runs: files ending in .csv or .csv.bz2, without hidden leftovers."""
    return sorted((Path(app.srcdir) / "data/results").glob("[!.]*.csv*"))


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


def hide_what_leads_nowhere(app, config):
    """Without the repository's address, offer nothing that needs it."""
    options = config.html_theme_options
    if not options.get("repository_url"):
        options |= {key: False for key in options if key.startswith("use_") and "button" in key}
        options["launch_buttons"] = {}


def aim_launches(app, pagename, templatename, context, doctree):
    """Let Colab open the published copy, and Binder the one that it makes for JupyterLab."""
    options = app.config.html_theme_options
    stored = f"/blob/{options.get('repository_branch')}/"
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("text") == "Colab":
                button["url"] = button["url"].replace(stored, "/blob/gh-pages/_sources/")
            elif button.get("text") == "Binder":
                button["url"] = button["url"].replace("/notebooks/", "/work/")


def finish(app, exception):
    """Write the downloads of a site that was built."""
    if exception is None and app.builder.format == "html":
        write_notebooks(app)
        write_results(app)


def setup(app):
    """Register with Sphinx."""
    app.add_directive("recorded-runs", RecordedRuns)
    app.connect("config-inited", hide_what_leads_nowhere)
    app.connect("html-page-context", aim_launches, priority=900)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
