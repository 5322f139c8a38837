"""Text is UTF-8, whatever the machine believes."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_data import handwriting, store

from helpers.data import load_handwriting

ROOT = Path(__file__).resolve().parent.parent
FILES = [
    file
    for folder in ("assignment", "book", "data", "experiments", "helpers", "teaching", "tests")
    for file in sorted((ROOT / folder).rglob("*.py"))
]


def guesses_encoding(call):
    """Whether a call reads or writes text in the encoding of the machine.

    The linter knows of open() alone, and of paths that it sees being made.
    """
    said = [getattr(argument, "value", None) for argument in call.args]
    options = {k.arg: getattr(k.value, "value", None) for k in call.keywords}
    text = {
        "read_text": not said,
        "write_text": len(said) < 2,
        "open": not said or said[0] in ("r", "w", "a", "x") or {"rt", "wt", "at"} & {*said},
    }.get(getattr(call.func, "attr", ""), options.get("text") is True)  # of subprocess
    return text and not {"encoding", "fileobj"} & options.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_encoding_is_guessed(file):
    calls = [n for n in ast.walk(ast.parse(file.read_bytes())) if isinstance(n, ast.Call)]
    assert not [ast.unparse(call) for call in calls if guesses_encoding(call)]


@pytest.mark.parametrize(
    "source",
    ["a.read_text()", "a.write_text(b)", "a.open()", "bz2.open(a, 'rt')", "run(text=True)"],
)
def test_a_guess_is_found(source):
    assert guesses_encoding(ast.parse(source).body[0].value)


SCRIPT = """
import json, locale, sys
from pathlib import Path

assert locale.getpreferredencoding(False).lower().replace("-", "") != "utf8"
import helpers.data
from helpers.data import load_handwriting
from helpers.runs import load_tables

sys.path.insert(0, "book/_ext")
import downloads

place = Path(sys.argv[1])
helpers.data.DATA = place / "home"
found = load_handwriting(place / "data.zip")
said = {
    "classes": found.classes, "origin": found.origin, "digest": found.digest,
    "report": helpers.data.load_report(),
    "table": load_tables({"runs": "runs.csv"}, place)["runs"]["run"].tolist(),
    "downloads": downloads.read(place / "runs.csv").read(),
}
print(json.dumps(said))
"""


def test_a_machine_of_another_encoding_reads_the_same(tmp_path):
    data = load_handwriting(store(tmp_path / "data.zip", handwriting(("a", "é", "क"))))
    manifest = {"course": {"handwriting": data.digests}}
    said = {"who": "Müller — “ok”"}
    files = {"home/manifest.json": manifest, "home/report.json": said}
    store(
        tmp_path,
        {name: json.dumps(text, ensure_ascii=False).encode() for name, text in files.items()},
    )
    (tmp_path / "runs.csv").write_text("run\né – क\n", encoding="utf-8")
    # Where no Latin-1 is installed, the C locale is ASCII unless Python is let to mend it.
    other = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path],
        cwd=ROOT, env=os.environ | other, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "classes": ["a", "é", "क"], "origin": "course", "digest": data.digest, "report": said,
        "table": ["é – क"], "downloads": "run\né – क\n",
    }  # fmt: skip
