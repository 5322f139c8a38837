"""Copy notebooks and append the code of their solutions: what nbval then runs.

Usage: ``python tests/with_solutions.py FOLDER NOTEBOOK…``
"""

import re
import sys
from pathlib import Path

import nbformat


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
        nbformat.write(with_solutions(nbformat.read(path, as_version=4)), folder / path.name)
