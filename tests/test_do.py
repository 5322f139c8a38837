"""`do.py`: what works without make works on any system, and says what it needs."""

import ast
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, environment

import do
from book import execute

SOURCE = (ROOT / "do.py").read_bytes()
# What runs on a reader's own machine, whatever it is.
READERS = [ROOT / "do.py", *(ROOT / "book").glob("*.py"), *(ROOT / "book/_ext").glob("*.py")]
POSIX = {"chmod", "chown", "execv", "execvp", "fork", "getuid", "kill", "killpg", "mkfifo"}
POSIX |= {"setsid", "symlink", "symlink_to", "uname"}


def test_every_python_can_read_it():
    ast.parse(SOURCE, feature_version=(3, 7))
    assert SOURCE.isascii()
    imported = {
        getattr(node, "module", None) or node.names[0].name
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("file", READERS, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_in_it_is_of_one_system_alone(file):
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert node.attr not in POSIX, ast.unparse(node)
        if isinstance(node, ast.keyword):
            assert node.arg != "shell", ast.unparse(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not node.value.startswith(("/bin/", "/usr/", "/tmp", ".venv/bin")), node.value


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What would have been run, each program by its name, in a book that is installed."""
    commands = []

    def note(*command, **more):
        assert command[0].parent == do.BIN, "a program of the book's own environment"
        commands.append(" ".join([command[0].name, *map(str, command[1:])]))

    monkeypatch.setattr(do, "run", note)
    monkeypatch.setattr(do, "is_newer", lambda target, sources: True)
    monkeypatch.setattr(os, "environ", dict(os.environ, SEQUENCE_DATA=""))
    monkeypatch.chdir(tmp_path)
    return commands


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        (["lab", "--port=9", "DATA=."], ["python -m book.lab --port=9"]),
        (["notebooks"], ["python -m book.lab --plain"]),
        (["run"], ["python -m book.execute"]),
        (["run", "ALL=1"], ["python -m book.execute --all"]),
        (["run", "ALL=0"], ["python -m book.execute"]),
        (["run", "NOTEBOOKS=a.ipynb b.ipynb"], ["python -m book.execute --all a.ipynb b.ipynb"]),
        (["book"], []),
        (["test", "tests/test_do.py"], ["python -m pytest --all tests/test_do.py"]),
        (["course-data"], [f"python data{os.sep}fetch_course.py"]),
    ],
)
def test_tasks_take_the_words_of_make(asked, words, commands, tmp_path):
    assert do.main(words) == 0
    assert asked == commands
    assert os.environ["SEQUENCE_DATA"] == (str(tmp_path) if "DATA=." in words else "")
    assert os.environ["PYTHONUTF8"] == "1"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("run notebooks/05_lstm.ipynb", "found notebooks/05_lstm.ipynb behind run; expected ALL="),
        ("run NOTEBOOK=a.ipynb", "found NOTEBOOK=a.ipynb behind run; .* or NOTEBOOKS=... or DATA"),
        ("run ALL=no", "found ALL=no behind run; expected ALL=1 or ALL=0"),
        ("lab ALL=1", "found ALL=1 behind lab; expected DATA="),
        ("book intro", "found intro behind book; expected nothing"),
        ("test NOTEBOOKS=a.ipynb", "found NOTEBOOKS=a.ipynb behind test; expected ALL="),
        ("install foo", "found foo behind install; expected installed or testing or"),
    ],
)
def test_words_that_a_task_does_not_take_are_refused(asked, words, complaint):
    with pytest.raises(SystemExit, match=complaint):
        do.main(words.split())
    assert not asked


def test_a_home_directory_is_found(asked, monkeypatch, tmp_path):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    assert do.main(["lab", f"DATA=~{os.sep}x"]) == 0
    assert os.environ["SEQUENCE_DATA"] == str(tmp_path / "x")


def test_a_notebook_that_is_not_there_is_named_before_anything_runs(monkeypatch, tmp_path):
    there, missing = tmp_path / "a.ipynb", tmp_path / "typo.ipynb"
    there.touch()
    monkeypatch.setattr(sys, "argv", ["book.execute", str(there), str(missing)])
    monkeypatch.setattr(execute, "changed", None)
    monkeypatch.setattr(execute, "execute", None)
    with pytest.raises(SystemExit, match=r"found no notebook .*typo\.ipynb; expected one such as"):
        execute.main()


def test_the_whole_test_checks_code_site_and_chapters(asked):
    parts = ("ruff check", "ruff format --check", "reorder tests")
    assert do.main(["test"]) == 0
    words = "\n".join(asked)
    assert all(part in words for part in parts) and not re.search("nbval|--all", words)
    asked.clear()
    assert do.main(["test", "ALL=1"]) == 0
    words = "\n".join(asked)
    assert all(part in words for part in ("ruff", "--all tests"))
    for copies in ("with_solutions", "on_other_data"):
        assert re.search(rf"with_solutions\.py \S*{copies} (?s:.*)--nbval-lax .*{copies}", words)


def test_chapters_are_run_with_their_solutions(asked):
    assert do.main(["chapters", "NOTEBOOKS=a.ipynb b.ipynb"]) == 0
    copied, tested = asked
    assert copied.endswith("with_solutions a.ipynb b.ipynb") and "--nbval-lax" in tested


def test_a_site_older_than_a_page_is_built(asked, monkeypatch):
    monkeypatch.setattr(do, "is_newer", lambda target, sources: target.name != "index.html")
    monkeypatch.setattr(type(do.SITE), "touch", lambda path: None)
    assert do.main(["book"]) == 0
    (built,) = asked
    assert built.startswith("jupyter-book build .") and "-W" in built


def test_a_site_is_older_than_whatever_it_reads(asked, monkeypatch):
    read = {}
    monkeypatch.setattr(do, "is_newer", lambda target, files: read.setdefault(target.name, files))
    assert do.main(["book"]) == 0
    sources = {*read["index.html"]}
    assert sources >= {*(ROOT / "helpers").glob("*.py"), *(ROOT / "experiments").glob("*.py")}
    for page in (ROOT / "book").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"(?:include\}|:file:) (\S+)", text):
            assert (page.parent / name).resolve() in sources, f"{page.name} includes {name}"


def test_some_pages_are_printed_into_a_file_of_their_own(asked):
    assert do.main(["pdf"]) == do.main(["pdf", "PAGES=book/intro notebooks/05_lstm"]) == 0
    whole, some = (words.split()[3:] for words in asked)
    assert [whole[1], *whole[2:]] == [str(do.PDF)]
    assert some[1] != whole[1] and some[2:] == ["book/intro", "notebooks/05_lstm"]


def test_a_task_that_fails_says_so(monkeypatch):
    monkeypatch.setattr(do, "course_data", None)
    monkeypatch.setattr(do, "install", lambda *names: do.run(sys.executable, "-c", "exit(3)"))
    assert do.main(["lab"]) == 3


def test_without_a_task_it_lists_them(capsys):
    assert do.main([]) == 0
    assert do.main(["nothing"]) == 2
    listed = capsys.readouterr().out
    for task in ("lab", "notebooks", "book", "run", "course-data", "test", "chapters", "clean"):
        assert f"python do.py {task} " in listed


def test_another_python_is_told_which_to_use(monkeypatch, tmp_path):
    monkeypatch.setattr(do, "BIN", tmp_path / "bin")
    monkeypatch.setattr(do, "PYTHONS", ((3, 5), (3, 6)))
    with pytest.raises(SystemExit, match=r"expected 3\.5 to 3\.6.*py -3\.6 do\.py.*uv run"):
        do.make_environment()
    assert not (tmp_path / "bin").exists()


def test_what_is_installed_is_not_installed_again(monkeypatch, tmp_path):
    done = []
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(do, "ROOT", tmp_path)
    monkeypatch.setattr(do, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(do, "make_environment", lambda: done.append("environment"))
    monkeypatch.setattr(do, "python", lambda *words: done.append(words[-1]))
    for names in do.INSTALLED.values():
        for name in names:
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (0, 0))
    do.install("testing")
    do.install("testing", "installed")
    assert done == ["environment", "requirements.txt", "requirements-test.txt"]
    os.utime(tmp_path / "requirements-test.txt")
    os.utime(tmp_path / ".venv/.testing", (0, 0))
    do.install("testing")
    assert done[3:] == ["requirements-test.txt"]
    # What the book itself needs comes first, even where the rest is up to date.
    os.utime(tmp_path / ".venv/.installed", (0, 0))
    os.utime(tmp_path / "requirements.txt")
    do.install("testing")
    assert done[4:] == ["environment", "requirements.txt"]


def test_make_does_not_ask_again_for_what_is_installed(monkeypatch, tmp_path):
    stamp = tmp_path / ".testing"
    stamp.touch()
    os.utime(stamp, (1, 1))  # younger than its own list, older than some other
    monkeypatch.setattr(do, "VENV", tmp_path)
    monkeypatch.setattr(do, "install", lambda *names: None)
    assert do.main(["install", "testing"]) == 0
    assert stamp.stat().st_mtime > 1


@pytest.mark.slow
def test_copies_are_the_same_bytes_whatever_the_machine_believes(clone):
    """Nothing guesses an encoding: not in UTF-8 mode, and not even without it."""
    found = []
    for utf8 in "01":
        for words in (["--plain"], ["--copies"]):
            subprocess.run(
                [sys.executable, "-m", "book.lab", *words],
                cwd=clone,
                env=environment(clone) | {"PYTHONUTF8": utf8},
                check=True,
                capture_output=True,
            )
        files = sorted((clone / "work").rglob("*.ipynb"))
        found.append([file.read_bytes() for file in files])
        for file in files:
            file.unlink()
    chapters = list((clone / "notebooks").glob("*.ipynb"))
    assert len(found[0]) == 2 * len(chapters) and found[0] == found[1]
    assert "−".encode() in found[0][0]
