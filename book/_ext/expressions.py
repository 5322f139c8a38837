"""Numbers in sentences: ``{eval}`` shows what `make run` stored beside the text of its cell.

Nothing is executed. The values are where JupyterLab's MyST extension keeps them, in the cell's
metadata under ``user_expressions``.
"""

import json
from pathlib import Path

import reader
from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

logger = logging.getLogger(__name__)
CELL = 10_000  # myst-nb numbers the lines of the n-th cell from 10,000 n, in directives too


def stored_values(env):
    """Return ``{expression: value as text}`` for each cell of the page that is being read."""
    if "expressions" not in env.temp_data:
        path = Path(env.doc2path(env.docname))
        cells = []
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        env.temp_data["expressions"] = [reader.stored(cell) for cell in cells]
    return env.temp_data["expressions"]


def typeset(value):
    """Return the nodes of a value: no quotes, true minus signs, powers of ten as such."""
    kinds = nodes.Text, lambda power: nodes.superscript("", power)
    return [kinds[k % 2](part) for k, part in enumerate(reader.spelled(value)) if part]


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
