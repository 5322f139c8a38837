"""Every `make` target runs, in a clone; what takes hours does a little of its work."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TARGETS = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
# What runs elsewhere: `test` is what runs this; the classroom's have tests of their own.
ELSEWHERE = {"test", "assignment", "groups", "collect", "grade", "feedback", "export", "similar"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """All tracked files as they are now, with the installed packages of this checkout."""
    folder = tmp_path_factory.mktemp("clone") / "book"
    for name in subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    ).stdout.split("\0"):
        if name and (ROOT / name).exists():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
            if name.startswith("requirements") or name == "pyproject.toml":
                os.utime(target, (0, 0))  # nothing is to be installed again
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def environment(clone):
    """Return that of a shell, whoever called this: `make test` tells its children about itself."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    return inherited | {"PYTHONPATH": str(clone), "SEQUENCE_DATA": ""}


def make(clone, *words, expected=0, **options):
    """Run a target; return what it printed."""
    done = subprocess.run(
        ["make", *words],
        cwd=clone,
        env=environment(clone),
        capture_output=True,
        encoding="utf-8",
        **options,
    )
    assert done.returncode == expected, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_every_target_is_run_by_a_test():
    text = Path(__file__).read_text(encoding="utf-8")
    run = set(re.findall(r'make\(clone, "([a-z-]+)"', text)) | {"lab"}
    assert run | ELSEWHERE >= set(TARGETS), set(TARGETS) - run - ELSEWHERE


def test_help(clone):
    listed = [line.split()[0] for line in make(clone, "help").splitlines()]
    assert listed == TARGETS


def test_book(clone):
    assert "Open _build/html/index.html" in make(clone, "book")
    assert (clone / "_build/html/notebooks/01_why_sequences.html").exists()
    assert "Nothing" not in make(clone, "book")  # and a second time, without building again


def test_run_executes_one_chapter_and_nothing_else(clone):
    notebook = "notebooks/10_handwriting_data.ipynb"
    before = (clone / notebook).read_bytes()
    make(clone, "run", f"NOTEBOOKS={notebook}", "DATA=data/sample")
    after = json.loads((clone / notebook).read_text(encoding="utf-8"))
    assert (clone / notebook).read_bytes() != before
    assert "synthetic sample" in json.dumps(after)


def test_results(clone, tmp_path):
    words = ("LIMIT=1", "PROCESSES=1", f"OUT={tmp_path}", "DATA=data/sample")
    assert "1 runs made; all 1 are recorded" in make(clone, "results", *words)
    assert "0 runs made; all 1 are recorded" in make(clone, "results", *words)
    tables = {"baselines.csv", "costs.csv", "curves.csv.bz2", "predictions.csv.bz2", "runs.csv"}
    assert {path.name for path in tmp_path.iterdir()} == tables


def test_memory(clone, tmp_path):
    words = ("LIMIT=1", "PROCESSES=1", f"OUT={tmp_path}")
    assert "1 runs made; all 1 are recorded" in make(clone, "memory", *words)
    assert {p.name for p in tmp_path.iterdir()} == {"memory_curves.csv.bz2", "memory_runs.csv"}


def test_symbols(clone, tmp_path):
    words = ("LIMIT=1", "PROCESSES=1", f"OUT={tmp_path}", "DATA=data/sample")
    assert "1 runs made; all 1 are recorded" in make(clone, "symbols", *words)
    tables = {"symbol_curves.csv.bz2", "symbol_runs.csv", "symbol_transcripts.csv.bz2"}
    assert {path.name for path in tmp_path.iterdir()} == tables


def test_sample_is_made_again_bit_for_bit(clone):
    before = {path.name: path.read_bytes() for path in (clone / "data/sample").iterdir()}
    make(clone, "sample")
    assert {path.name: path.read_bytes() for path in (clone / "data/sample").iterdir()} == before


def test_course_data_are_not_fetched_without_a_yes(clone):
    printed = make(clone, "course-data", input="no\n", expected=2)
    assert "Nothing was fetched" in printed and not (clone / "data/course").exists()


def test_bench(clone):
    printed = make(clone, "bench", "MODELS=1", "EPOCHS=1", "DATA=data/sample")
    for word in ("stock", "batch", "one", "two", "geometric mean", "16 times the files"):
        assert word in printed


def test_slides(clone):
    make(clone, "slides")
    assert list((clone / "_build/slides").rglob("*.html"))


def test_lab_answers(clone):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["make", "lab", f"LAB=--no-browser --allow-root --port={port} --IdentityProvider.token="],
        cwd=clone,
        env=environment(clone),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(1200):
            assert server.poll() is None
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/lab").read().decode()
                break
            except OSError:
                time.sleep(0.1)
        assert "JupyterLab" in page
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def test_clean_removes_what_was_built_and_nothing_else(clone):
    (clone / "_build").mkdir(exist_ok=True)
    make(clone, "clean")
    assert not (clone / "_build").exists() and (clone / ".venv/bin").exists()
