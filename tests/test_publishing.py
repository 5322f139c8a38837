"""What publishes the book: workflow, citation, Binder, Codespaces, and the hedge for the future."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "book.yml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BIN = Path(sys.executable).parent


def run(*command):
    """Run a program of the environment; return its words if it complains."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_workflows_follow_their_schema():
    schema = ["--builtin-schema", "vendor.github-workflows"]
    assert not run(BIN / "check-jsonschema", *schema, *WORKFLOW.parent.glob("*.yml"))


def test_workflows_are_safe():
    assert not run(BIN / "zizmor", "--offline", "--no-progress", "--quiet", WORKFLOW.parent)


def test_actions_are_pinned_and_every_supported_python_end_is_tested():
    text = WORKFLOW.read_text(encoding="utf-8")
    for action in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    tested = yaml.safe_load(text)["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert tested == ["3.11", "3.13"]
    assert all(python in SpecifierSet(PROJECT["requires-python"]) for python in tested)


def test_what_works_without_make_is_tested_where_make_is_not():
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    systems = jobs["elsewhere"]["strategy"]["matrix"]["system"]
    assert [system.partition("-")[0] for system in systems] == ["windows", "macos"]
    commands = [step["run"] for step in jobs["elsewhere"]["steps"] if "run" in step]
    assert all(command.startswith(("python do.py ", "git ")) for command in commands)
    named = re.findall(r"\w+/\w+\.(?:py|ipynb)", " ".join(commands))
    assert named and all((ROOT / name).exists() for name in named)
    assert {*jobs["publish"]["needs"]} == {"test", "elsewhere"}


def test_citation_and_changelog_name_this_version():
    schema = ["--builtin-schema", "vendor.citation-file-format"]
    assert not run(BIN / "check-jsonschema", *schema, "CITATION.cff")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    releases = re.findall(
        r"^## (\S+)", (ROOT / "book" / "changelog.md").read_text(encoding="utf-8"), re.M
    )
    assert next(name for name in releases if name != "Unreleased") == PROJECT["version"]


def test_binder_and_codespaces_use_what_the_book_uses():
    (line,) = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").split("\n")[:1]
    assert line == "-r ../requirements.txt"
    for name, words in (("postBuild", "-m book.lab --copies"), ("start", "book/jupyter")):
        script = ROOT / "binder" / name
        assert words in script.read_text(encoding="utf-8") and os.access(script, os.X_OK)
    runtime = (
        (ROOT / "binder" / "runtime.txt")
        .read_text(encoding="utf-8")
        .strip()
        .removeprefix("python-")
    )
    container = json.loads(
        (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    )
    for python in (runtime, container["image"].rpartition(":")[2]):
        assert python in SpecifierSet(PROJECT["requires-python"])
    assert run("make", "--dry-run", container["postCreateCommand"].removeprefix("make ")) == ""


def test_what_a_download_installs_is_what_the_notebooks_import():
    ours = {"experiments", "helpers"}
    modules = [file for package in ours for file in (ROOT / package).glob("*.py")]
    code = "\n".join(file.read_text(encoding="utf-8") for file in modules)
    for file in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        code += "".join("".join(c["source"]) + "\n" for c in cells if c["cell_type"] == "code")
    names = set(re.findall(r"^\s*(?:from|import) ([a-zA-Z_]\w*)", code, re.M))
    imported = names - set(sys.stdlib_module_names) - ours
    # Torch only where it is installed; aeon has a requirements file and a target of its own.
    called = {"sklearn": "scikit-learn", "yaml": "pyyaml", "torch": None, "aeon": None}
    wanted = {called.get(name, name.lower().replace("_", "-")) for name in imported} - {None}
    declared = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert wanted <= declared
    pinned = {
        Requirement(line).name
        for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    assert declared - pinned <= {"ipython"}  # comes with jupyterlab


def test_jupyter_book_2_reads_the_same_content(tmp_path):
    myst = shutil.which("myst")
    if myst is None:
        pytest.skip("MyST is not installed: `npm install --global mystmd` (it needs Node)")
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8"
    ).stdout
    for name in files.split():
        if name.startswith(("book/", "notebooks/", "myst.yml", "_toc.yml")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    done = subprocess.run(
        [myst, "build", "--site", "--strict"], cwd=tmp_path, capture_output=True, encoding="utf-8"
    )
    words = done.stdout + done.stderr
    read = set(re.findall(r"((?:book|notebooks)/\w+\.(?:md|ipynb))", words))
    assert {f"notebooks/{n.name}" for n in (ROOT / "notebooks").glob("*.ipynb")} <= read
    # CONTRIBUTING.md lists these: what would have to change.
    ours = "contents-by-part|recorded-runs|verdict-functions"
    expected = f"child of a glossary|Link for|unknown directive: ({ours})"
    errors = [line for line in words.splitlines() if "⛔" in line]
    errors = [line for line in errors if not re.search(expected, line)]
    assert not errors
