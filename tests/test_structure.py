"""The two packages: small, and pointing one way."""

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HELPERS = sorted((ROOT / "helpers").glob("*.py"))
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))


def code_lines(path):
    """Count the lines of a module that are neither blank nor comment nor docstring."""
    text = path.read_text(encoding="utf-8")
    docstrings = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in docstrings
        for number, line in enumerate(text.splitlines(), 1)
    )


def imported(path):
    """Return the names of all modules that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_helpers_stay_few_and_short():
    modules = [path for path in HELPERS if path.stem != "__init__"]
    assert len(modules) <= 13
    assert sum(map(code_lines, modules)) <= 3000


@pytest.mark.parametrize("path", HELPERS, ids=lambda path: path.stem)
def test_helpers_know_neither_experiments_nor_chapters(path):
    assert not {name for name in imported(path) if name.split(".")[0] == "experiments"}
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"[Cc]hapters? \d+(?!\))", text), "chapters move; helpers do not follow"


def test_no_two_modules_import_each_other():
    arrows = {
        f"{path.parent.name}.{path.stem}": imported(path) for path in (*HELPERS, *EXPERIMENTS)
    }
    order = []

    def visit(name, above=()):
        assert name not in above, " → ".join([*above, name])
        if name not in order:
            for below in sorted(arrows[name] & arrows.keys()):
                visit(below, (*above, name))
            order.append(name)

    for name in arrows:
        visit(name)
    assert len(order) == len(arrows)


def test_every_package_is_listed_once_for_the_reader_it_serves():
    files = {
        path.name: {
            re.split(r"[=<> ]", line)[0].lower()
            for line in path.read_text(encoding="utf-8").splitlines()
            if line and line[0] not in "#-"
        }
        for path in ROOT.glob("requirements*.txt")
    }
    asked = {"jupyterlab", "jupyter-book", "tensorflow", "matplotlib", "seaborn", "nbval"}
    assert asked <= files["requirements.txt"]
    for name, packages in files.items():
        if name != "requirements.txt":
            assert not packages & {"tensorflow", "keras", "numpy", "jupyter-book"}, name


# What they need has requirements of its own.
NOT_FOR_READERS = {"baselines.py", "browser.py", "make_cover.py", "make_pdf.py", "time_pages.py"}


def test_what_readers_run_needs_nothing_but_the_readers_requirements():
    """Here everything is installed, so a forgotten package would go unnoticed."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    wanted, brought = [line for line in text.splitlines() if line and line[0] not in "#-"], set()
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        if name in brought or (requirement.marker and not requirement.marker.evaluate()):
            continue
        brought.add(name)
        for line in importlib.metadata.requires(name) or ():
            marker = Requirement(line).marker
            if not marker or any(marker.evaluate({"extra": extra}) for extra in extras):
                wanted.append(line.partition(";")[0])
    providers = importlib.metadata.packages_distributions()
    modules = [*HELPERS, *EXPERIMENTS, *(ROOT / "book").rglob("*.py")]
    own = {"helpers", "experiments", "book", *(path.stem for path in modules)}
    for path in modules:
        if path.name in NOT_FOR_READERS:
            continue
        names = set()  # what is imported at once, not inside a function
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
        tops = {name.split(".")[0] for name in names}
        for top in tops - own - set(sys.stdlib_module_names):
            assert {canonicalize_name(p) for p in providers[top]} & brought, f"{path.name}: {top}"


def test_the_order_of_chapters_is_that_of_their_numbers():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    chapters = [file for file in files if file.startswith("notebooks/")]
    assert chapters == sorted(chapters)
