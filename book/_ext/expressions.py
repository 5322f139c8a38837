"""Numbers in sentences: ``{eval}`` shows what `make run` stored beside the text of its cell.

Nothing is executed. The values are where JupyterLab's MyST extension keeps them, in the cell's
metadata under ``user_expressions``. Each leads to the cell that computed it, and its preview shows
by which statements and from which recorded tables.
"""

import json
import re
from html import escape
from pathlib import Path

import reader
from docutils import nodes
from evidence import Program
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

logger = logging.getLogger(__name__)
CELL = 10_000  # myst-nb numbers the lines of the n-th cell from 10,000 n, in directives too


HEADING = re.compile(r"^#+ +(.+)$", re.M)
CLAIM = re.compile(r"""\bclaims\[(["'])(.+?)\1\]""")
LEDGER = "15_auditing_the_report"


def notebook_of(env):
    """Return the notebook that is being read, its code as a program and its stored values.

    The values are ``{expression: value as text}`` for each cell.
    """
    if "expressions" not in env.temp_data:
        path = Path(env.doc2path(env.docname))
        notebook = {"cells": [], "metadata": {}}
        if path.suffix == ".ipynb":
            notebook = json.loads(path.read_text(encoding="utf-8"))
        values = [reader.stored(cell) for cell in notebook["cells"]]
        env.temp_data["expressions"] = notebook, Program(notebook), values
    return env.temp_data["expressions"]


def typeset(value):
    """Return the nodes of a value: no quotes, true minus signs, powers of ten as such."""
    kinds = nodes.Text, lambda power: nodes.superscript("", power)
    return [kinds[k % 2](part) for k, part in enumerate(reader.spelled(value)) if part]


def code(source):
    """Return Python as the HTML of a box with colours."""
    lines = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True))
    return f'<div class="highlight"><pre>{lines}</pre></div>'


def section_of(cells, number):
    """Return the heading of the section that a cell stands in."""
    for cell in reversed(cells[:number]):
        found = HEADING.findall("".join(cell["source"])) if cell["cell_type"] == "markdown" else []
        if found:
            return found[-1]
    return ""


def describe(notebook, expression, evidence):
    """Return the preview of a number: its expression, the code behind it, recorded tables."""
    parts = [code(expression)]
    for number, source in evidence.parts.items():
        section = escape(section_of(notebook["cells"], number))
        parts.append(f"<p>computed under <b>{section}</b>:</p>{code(source)}")
    if evidence.tables:
        tables = ", ".join(f"<code>{table}</code>" for table in evidence.tables)
        parts.append(f"<p>from what is recorded in {tables}</p>")
    return "".join(parts)


class Expression(SphinxRole):
    """``{eval}`expression```: its stored value, as a link to the cell that it comes from."""

    def run(self):
        """Return the value, or the expression and a warning if there is none."""
        expression = self.text.strip()
        notebook, program, values = notebook_of(self.env)
        number = (self.lineno or 0) // CELL - 1
        found = values[number].get(expression) if 0 <= number < len(values) else None
        if found is None:
            logger.warning(
                "%s, cell %d: no value is stored for {eval}`%s`; `make run` stores it",
                self.env.docname,
                number,
                expression,
                location=self.get_location(),
                type="expressions",
            )
            return [nodes.literal(self.rawtext, expression)], []
        evidence = program.evidence(expression, number)
        if claim := CLAIM.search(expression):
            # The ledger's row says more than the cell that reads the whole ledger.
            place, preview = f"claim-{claim[2]}", code(expression)
        elif evidence.parts:
            place = f"cell-{max(evidence.parts)}"
            preview = describe(notebook, expression, evidence)
        else:  # `2 + 2` rests on nothing else
            return [nodes.inline(self.rawtext, "", *typeset(found), classes=["book-number"])], []
        previews = self.env.metadata[self.env.docname].setdefault("previews", {})
        key = f"number-{len(previews) + 1}"
        previews[key] = preview
        elsewhere = claim and not self.env.docname.endswith(LEDGER)
        where = {"refid": place}
        if elsewhere:
            where = {"refuri": f"{LEDGER}.html#{place}", "internal": True}
        shown = nodes.reference(
            self.rawtext, "", *typeset(found), classes=["book-number"], ids=[key], **where
        )
        return [shown], []


def name_cells(app, doctree):
    """Give each cell an id, so that numbers can lead there."""
    for node in doctree.findall(nodes.container):
        if node.get("nb_element") == "cell_code":
            node["ids"].append(f"cell-{node['cell_index']}")


def setup(app):
    """Register with Sphinx, in place of the role that asks a running kernel."""
    app.setup_extension("myst_nb")
    app.add_role("eval", Expression(), override=True)
    app.connect("doctree-read", name_cells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
