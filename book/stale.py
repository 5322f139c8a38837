"""Whether a notebook's stored outputs are older than what they were made from.

Each executed notebook keeps, under ``made_from`` in its metadata, digests of its own source, of the
modules of this repository that it imported, and of the files that it read. Comparing them takes
neither TensorFlow nor a kernel.
"""

import ast
import functools
import hashlib
import io
import re
import tokenize
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
KEY = "made_from"
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# As MyST reads a role: as many backticks behind as before, so that a text may hold fewer.
EXPRESSION = re.compile(r"(?<!\\)\{eval\}(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)


def expressions(cell):
    """Return the expressions in the text of a cell, each once, in their order.

    Parameters
    ----------
    cell : nbformat.NotebookNode
        The text is a Markdown cell's source and a code cell's caption.

    Returns
    -------
    list of str
    """
    text = cell.source
    if cell.cell_type != "markdown":
        text = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
    found = [match[2].replace("\n", " ").strip() for match in EXPRESSION.finditer(text)]
    return list(dict.fromkeys(found))


def has_values(cell):
    """Whether the value of each expression is stored beside the text of a cell."""
    stored = cell.metadata.get("user_expressions", [])
    return [entry["expression"] for entry in stored] == expressions(cell)


# --- Digests ----------------------------------------------------------------------------------


def _digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def source_digest(notebook):
    """Return the digest of what a notebook computes: code and expressions, not prose."""
    parts = [
        part
        for cell in notebook.cells
        for part in ([cell.source] if cell.cell_type == "code" else []) + expressions(cell)
    ]
    return _digest("\0".join(parts).encode())


@functools.cache
def file_digest(path):
    """Return the digest of a file."""
    return _digest(path.read_bytes())


@functools.cache
def module_digest(path):
    """Return the digest of a module without docstrings and comments, which change no output."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            for row in range(node.body[0].lineno, node.body[0].end_lineno + 1):
                lines[row - 1] = ""
    code = [line.rstrip() for line in lines if line.strip()]
    return _digest("\n".join(code).encode())


# --- The record -------------------------------------------------------------------------------


def made_from(notebook, modules, files):
    """Return the record of an execution.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
    modules, files : iterable of Path
        What it imported and what it read. Only what lies in this repository counts.

    Returns
    -------
    dict
        ``source``: a digest; ``modules`` and ``files``: ``{path from the root: digest}``.
    """
    return {
        "source": source_digest(notebook),
        "modules": {name(path): module_digest(path) for path in sorted(modules)},
        "files": {name(path): file_digest(path) for path in sorted(files)},
    }


def name(path):
    """Return a path from the root of the repository, the same on every machine."""
    return path.relative_to(ROOT).as_posix()


def changed(path):
    """Return what has changed since a notebook was executed.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of str
        Its own name if its source has changed or a value is missing, and the names of modules
        and files that have changed or are gone; empty if the outputs are up to date.
    """
    notebook = nbformat.read(path, as_version=4)
    record = notebook.metadata.get(KEY)
    if record is None:
        return [f"{path.name} (which says nothing of what it was made from)"]
    same = record["source"] == source_digest(notebook) and all(map(has_values, notebook.cells))
    found = [] if same else [path.name]
    for kind, digest in (("modules", module_digest), ("files", file_digest)):
        for other, before in record[kind].items():
            file = ROOT / other
            if not file.is_file() or digest(file) != before:
                found.append(other)
    return list(dict.fromkeys(found))
