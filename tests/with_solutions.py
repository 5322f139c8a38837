"""Copy notebooks with what else nbval should run: expressions in the text, and solutions.

Usage: ``PYTHONPATH=. python tests/with_solutions.py FOLDER NOTEBOOK…``
"""

import re
import sys
from pathlib import Path

import nbformat

from book.stale import expressions


def with_expressions(notebook):
    """Insert a cell that evaluates the expressions of a text behind each cell that has some.

    Parameters
    ----------
    notebook : nbformat.NotebookNode

    Returns
    -------
    nbformat.NotebookNode
        The same notebook, changed.
    """
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if wanted := expressions(cell):
            code = "".join(f"assert isinstance(({text}), (str, int, float))\n" for text in wanted)
            cells.append(nbformat.v4.new_code_cell(code))
    notebook.cells = cells
    return notebook


def with_solutions(notebook):
    """Append a cell for each block of Python in the solutions of a notebook.

    Parameters
    ----------
    notebook : nbformat.NotebookNode

    Returns
    -------
    nbformat.NotebookNode
        The same notebook, changed.
    """
    text = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    for solution in re.findall(r"```\{solution\}.*?\n```", text, re.S):
        for block in re.findall(r"~~~python\n(.*?)~~~", solution, re.S):
            cell = nbformat.v4.new_code_cell(f"{block}\nNone")
            notebook.cells.append(cell)
    return notebook


if __name__ == "__main__":
    folder, *paths = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.ipynb"):
        old.unlink()
    for path in paths:
        notebook = with_solutions(with_expressions(nbformat.read(path, as_version=4)))
        nbformat.write(notebook, folder / path.name)
