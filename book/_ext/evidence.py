"""Where a computed number comes from: the statements behind an expression, and recorded tables.

Notebooks are read here, not run. A statement depends on the last one above it that assigns a name
it uses, and on those in between that change what the name stands for.
"""

import ast
import functools
import re
import symtable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CHANGING = {"add", "append", "extend", "insert", "pop", "setdefault", "update"}
TABLE = re.compile(r"[\w.-]+\.csv(?:\.bz2)?|(?:report|pen|listen)\.json")


class Statement(NamedTuple):
    """A statement of a notebook that stands inside no other.

    Attributes
    ----------
    cell : int
    node : ast.stmt
    source : str
    binds, changes, reads : set of str
        Names that it assigns, names of objects that it changes, and names that it uses.
    """

    cell: int
    node: ast.stmt
    source: str
    binds: set
    changes: set
    reads: set


class Evidence(NamedTuple):
    """What an expression rests on.

    Attributes
    ----------
    parts : dict
        ``{cell: source}``: the cells that give the names of the expression their values, in the
        order of the page, and of each the statements that matter.
    tables : list of str
        Files with recorded numbers behind it, from the root of the repository.
    """

    parts: dict
    tables: list


def base(node):
    """Return the name at the bottom of ``name.of["something"]``, or None."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def read_names(table):
    """Return the names that a block and the blocks in it use and do not define themselves."""
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global())
    }
    return names.union(*map(read_names, table.get_children()))


def statement(cell, node, code):
    """Return a node of a cell's syntax tree as a :class:`Statement`."""
    source = ast.get_source_segment(code, node)
    table = symtable.symtable(source, "cell", "exec")
    binds = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    changes, reads = set(), read_names(table)
    for inner in ast.walk(node):
        if isinstance(inner, ast.AugAssign):
            name = base(inner.target)
            binds.discard(name)
            changes.add(name)
            reads.add(name)
        elif isinstance(inner, ast.Attribute | ast.Subscript):
            if isinstance(inner.ctx, ast.Store):
                changes.add(base(inner))
        elif isinstance(inner, ast.Call) and getattr(inner.func, "attr", None) in CHANGING:
            changes.add(base(inner.func))
    return Statement(cell, node, source, binds, changes, reads)


class Program:
    """The code of a notebook as statements.

    Parameters
    ----------
    notebook : dict
        The JSON of its file.
    """

    def __init__(self, notebook):
        self.statements = []
        for number, cell in enumerate(notebook["cells"]):
            if cell["cell_type"] == "code":
                code = "".join(cell["source"])
                nodes = ast.parse(code).body
                self.statements += [statement(number, node, code) for node in nodes]
        # What an execution read.
        self.files = notebook["metadata"].get("made_from", {}).get("files", {})

    def giving(self, name, before):
        """Return the places of the statements that give a name its value there, last one first."""
        places = []
        for place in range(before - 1, -1, -1):
            found = self.statements[place]
            if name in found.binds | found.changes:
                places.append(place)
            if name in found.binds:
                break
        return places

    def behind(self, names, before):
        """Return the places of all statements that some names depend on there."""
        found, waiting = set(), [(name, before) for name in names]
        while waiting:
            for place in self.giving(*waiting.pop()):
                if place not in found:
                    found.add(place)
                    waiting += [(name, place) for name in self.statements[place].reads]
        return found

    def evidence(self, expression, number):
        """Return the :class:`Evidence` of an expression.

        Parameters
        ----------
        expression : str
        number : int
            The cell in whose text, or in whose caption, it stands.
        """
        # What stands in a caption is evaluated after its own cell.
        end = sum(found.cell <= number for found in self.statements)
        names = read_names(symtable.symtable(f"({expression})", "text", "exec"))
        direct = [place for name in sorted(names) for place in self.giving(name, end)]
        # Modules and functions matter only if there is nothing else.
        no_value = ast.Import | ast.ImportFrom | ast.FunctionDef
        values = [p for p in direct if not isinstance(self.statements[p].node, no_value)]
        cells = sorted({self.statements[place].cell for place in values or direct})
        needed = [self.statements[place] for place in sorted(self.behind(names, end))]
        parts = {
            cell: "\n".join(found.source for found in needed if found.cell == cell)
            for cell in cells
        }
        used = set().union(*(used_names(found.node) for found in needed))
        tables = set().union(*map(tables_of, used)) | set(TABLE.findall(" ".join(parts.values())))
        return Evidence(parts, [file for file in self.files if Path(file).name in tables])


# --- Recorded tables --------------------------------------------------------------------------


def used_names(node):
    """Return the names that stand in a piece of code, those after a dot too."""
    inner = list(ast.walk(node))
    names = {n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return names | {n.attr for n in inner if isinstance(n, ast.Attribute)}


@functools.cache
def definitions():
    """Return what the modules that chapters import define: ``{name: [syntax trees]}``."""
    found = {}
    for path in sorted(
        p for package in ("helpers", "experiments") for p in (ROOT / package).glob("*.py")
    ):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [getattr(node, "name", None), *map(base, getattr(node, "targets", []))]
            for name in filter(None, names):
                found.setdefault(name, []).append(node)
    return found


@functools.cache
def tables_of(name):
    """Return the names of the tables that a definition reads, itself or through others."""
    seen, waiting, tables = set(), [name], set()
    while waiting:
        name = waiting.pop()
        for node in definitions().get(name, []) if name not in seen else []:
            words = {
                getattr(inner, "value", None)
                for inner in ast.walk(node)
                if isinstance(inner, ast.Constant)
            }
            tables |= {word for word in words if isinstance(word, str) and TABLE.fullmatch(word)}
            waiting += used_names(node) & definitions().keys()
        seen.add(name)
    return tables
