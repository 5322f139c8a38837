"""Every `make` target runs, in a clone; what takes hours does a little of its work."""

import json
import re
import subprocess
from pathlib import Path

import pikepdf
import pytest
from conftest import environment

from book import browser, make_pdf

ROOT = Path(__file__).resolve().parent.parent
TARGETS = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
# What runs elsewhere: `test` is what runs this; the classroom's have tests of their own.
ELSEWHERE = {"test", "assignment", "groups", "collect", "grade", "feedback", "export", "similar"}


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


@pytest.mark.slow
def test_book(clone):
    assert "Open _build/html/index.html" in make(clone, "book")
    assert (clone / "_build/html/notebooks/01_why_sequences.html").exists()
    assert "Nothing" not in make(clone, "book")  # and a second time, without building again


@pytest.mark.slow
def test_pdf(clone):
    if not browser.find():
        pytest.skip("no Chromium on this machine")
    printed = make(clone, "pdf", "PAGES=book/intro notebooks/07_gru book/how_to_run")
    file = clone / "_build/recurrent-sequence-learning-pages.pdf"
    assert f"{file}: " in printed
    assert not (clone / "_build/recurrent-sequence-learning.pdf").exists()
    with pikepdf.open(file) as pdf, pdf.open_outline() as outline:
        assert [item.title for item in outline.root] == [
            "Contents",
            "Recurrent Sequence Learning",
            "7. GRU",
            "How to run, teach and reuse",
            "Solutions",
        ]
        assert not outline.root[3].children  # of the appendix the pages alone
        assert "Exercises" in {item.title for item in outline.root[2].children}
        places = make_pdf.destinations(pdf)
        assert 1 < places["p0"][0] < places["p1"][0] < places["solutions"][0] < len(pdf.pages)
        assert pdf.docinfo["/Title"] == "Recurrent Sequence Learning"
        assert pdf.Root.Lang == "en" and "/StructTreeRoot" in pdf.Root


def test_a_page_that_is_not_in_the_book_is_not_printed(tmp_path):
    complaint = "found no page 05_lstm in _toc.yml; expected .*, such as notebooks/05_lstm"
    with pytest.raises(SystemExit, match=complaint):
        make_pdf.read_pages(None, tmp_path, ["book/intro", "05_lstm"])


def test_words_of_make_reach_the_program(clone):
    assert 'do.py test ALL="0"' in make(clone, "--dry-run", "test", "ALL=0")
    assert 'do.py run ALL="1"' in make(clone, "--dry-run", "run", "ALL=1")
    home = environment(clone)["HOME"]
    assert f'SEQUENCE_DATA="{home}/x"' in make(clone, "--dry-run", "assignment", "DATA=~/x")


def test_run_executes_one_chapter_and_nothing_else(clone):
    notebook = "notebooks/10_handwriting_data.ipynb"
    before = (clone / notebook).read_bytes()
    make(clone, "run", f"NOTEBOOKS={notebook}", "DATA=data/sample")
    after = json.loads((clone / notebook).read_text(encoding="utf-8"))
    assert (clone / notebook).read_bytes() != before
    assert "synthetic sample" in json.dumps(after)


@pytest.mark.slow
def test_results(clone, tmp_path):
    words = ("LIMIT=1", "PROCESSES=1", f"OUT={tmp_path}", "DATA=data/sample")
    assert "1 runs made; all 1 are recorded" in make(clone, "results", *words)
    assert "0 runs made; all 1 are recorded" in make(clone, "results", *words)
    tables = {"costs.csv", "curves.csv.bz2", "predictions.csv.bz2", "runs.csv"}
    assert {path.name for path in tmp_path.iterdir()} == tables


@pytest.mark.slow
def test_memory(clone, tmp_path):
    words = ("LIMIT=1", "PROCESSES=1", f"OUT={tmp_path}")
    assert "1 runs made; all 1 are recorded" in make(clone, "memory", *words)
    assert {p.name for p in tmp_path.iterdir()} == {"memory_curves.csv.bz2", "memory_runs.csv"}


@pytest.mark.slow
def test_scans(clone, tmp_path):
    words = ("LIMIT=1", "PROCESSES=1", f"OUT={tmp_path}")
    assert "1 runs made; all 1 are recorded" in make(clone, "scans", *words)
    assert {p.name for p in tmp_path.iterdir()} == {"scan_curves.csv.bz2", "scan_runs.csv"}


@pytest.mark.slow
def test_symbols(clone, tmp_path):
    words = ("LIMIT=1", "PROCESSES=1", f"OUT={tmp_path}", "DATA=data/sample")
    assert "1 runs made; all 1 are recorded" in make(clone, "symbols", *words)
    tables = {"symbol_curves.csv.bz2", "symbol_runs.csv", "symbol_transcripts.csv.bz2"}
    assert {path.name for path in tmp_path.iterdir()} == tables


@pytest.mark.slow
def test_writing(clone, tmp_path):
    words = ("LIMIT=1", "PROCESSES=1", f"OUT={tmp_path}", "DATA=data/sample")
    assert "1 runs made; all 1 are recorded" in make(clone, "writing", *words)
    tables = {"writing_curves.csv.bz2", "writing_scores.csv", "writing_runs.csv"}
    assert {p.name for p in tmp_path.iterdir()} == tables | {
        "writing_references.csv",
        "writer.json",
    }


def test_baselines(clone, tmp_path):
    printed = make(clone, "baselines", "LIMIT=2", f"OUT={tmp_path}", "DATA=data/sample")
    assert printed.count("majority class") == printed.count("length alone") == 2
    assert {path.name for path in tmp_path.iterdir()} == {"baselines.csv"}


@pytest.mark.slow
def test_chapters(clone):
    printed = make(clone, "chapters", "NOTEBOOKS=notebooks/10_handwriting_data.ipynb")
    assert re.search(r"\d+ passed", printed)


@pytest.mark.slow
def test_chapters_run_on_other_data(clone):
    printed = make(clone, "others", "NOTEBOOKS=notebooks/10_handwriting_data.ipynb")
    assert re.search(r"\d+ passed", printed)
    assert "ಚಾ" in {path.name for path in (clone / "_build/other_data/handwriting").iterdir()}


@pytest.mark.slow
def test_sample_is_made_again_bit_for_bit(clone):
    before = {path.name: path.read_bytes() for path in (clone / "data/sample").iterdir()}
    make(clone, "sample")
    assert {path.name: path.read_bytes() for path in (clone / "data/sample").iterdir()} == before


def test_course_data_are_not_fetched_without_a_yes(clone):
    printed = make(clone, "course-data", input="no\n", expected=2)
    assert "Nothing was fetched" in printed and not (clone / "data/course").exists()


@pytest.mark.slow
def test_bench(clone):
    printed = make(clone, "bench", "MODELS=1", "EPOCHS=1", "DATA=data/sample")
    for word in ("stock", "batch", "one", "two", "geometric mean", "16 times the files"):
        assert word in printed


def test_slides(clone):
    make(clone, "slides")
    assert list((clone / "_build/slides").rglob("*.html"))


def test_quizzes(clone):
    make(clone, "quizzes")
    assert {path.name for path in (clone / "_build/quizzes").iterdir()} == {"moodle.xml", "qti.zip"}


def test_notebooks(clone):
    chapters = {path.name for path in (clone / "notebooks").glob("*.ipynb")}
    assert f"{len(chapters)} notebooks are in" in make(clone, "notebooks")
    assert {path.name for path in (clone / "work/plain").glob("*.ipynb")} == chapters


def test_clean_removes_what_was_built_and_nothing_else(clone):
    (clone / "_build").mkdir(exist_ok=True)
    make(clone, "clean")
    assert not (clone / "_build").exists() and (clone / ".venv/bin").exists()
