"""Numbers in sentences: ``{eval}`` shows what `make run` stored beside the text of its cell.

Nothing is executed. The values are where JupyterLab's MyST extension keeps them, in the cell's
metadata under ``user_expressions``.
"""

import ast
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

logger = logging.getLogger(__name__)
CELL = 10_000  # myst-nb numbers the lines of the n-th cell from 10,000 n, in directives too
MINUS = re.compile(r"(?<![\w.)])-(?=\.?\d)")
POWER = re.compile(r"(?<=\d)e([+-])0*(\d+)")


def stored_values(env):
    """Return ``{expression: value as text}`` for each cell of the page that is being read."""
    if "expressions" not in env.temp_data:
        path = Path(env.doc2path(env.docname))
        cells = []
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        env.temp_data["expressions"] = [
            {
                entry["expression"]: entry["result"]["data"]["text/plain"]
                for entry in cell["metadata"].get("user_expressions", [])
                if entry["result"]["status"] == "ok"
            }
            for cell in cells
        ]
    return env.temp_data["expressions"]


def typeset(text):
    """Return the nodes of a value: no quotes, true minus signs, powers of ten as such."""
    if text[:1] in "'\"":
        text = ast.literal_eval(text)
    pieces, at = [], 0
    text = MINUS.sub("−", text)
    for match in POWER.finditer(text):
        pieces.append(nodes.Text(f"{text[at : match.start()]} × 10"))
        power = ("−" if match[1] == "-" else "") + match[2]
        pieces.append(nodes.superscript("", power))
        at = match.end()
    return [*pieces, nodes.Text(text[at:])]


class Expression(SphinxRole):
    """``{eval}`expression```: its stored value."""

    def run(self):
        """Return the value, or the expression and a warning if there is none."""
        expression = self.text.strip()
        cells = stored_values(self.env)
        number = (self.lineno or 0) // CELL - 1
        found = cells[number].get(expression) if 0 <= number < len(cells) else None
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
        shown = nodes.inline(
            self.rawtext, "", *typeset(found), classes=["book-number"], expression=expression
        )
        return [shown], []


def setup(app):
    """Register with Sphinx, in place of the role that asks a running kernel."""
    app.setup_extension("myst_nb")
    app.add_role("eval", Expression(), override=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
