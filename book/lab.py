"""Open copies of the chapters in JupyterLab: ``python -m book.lab [words for JupyterLab]``.

Readers run and change copies in ``work``, which Git ignores, so that the published notebooks stay
as they are. A copy that a reader has not touched follows the book; one that has been changed is
never written over. ``--plain`` writes plain copies into ``work/plain`` instead and opens nothing,
and ``--copies`` opens nothing.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import nbformat
from nbformat.sign import NotebookNotary

from book._ext.reader import Book

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "work"
STATE = ".copies.json"  # {file: [digest of what the book would write, digest of what was written]}
SETTINGS = ROOT / "book/jupyter"


def digest(data):
    """Return the digest of some bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def write_copies(book, folder, kind):
    """Write a copy of each chapter, or beside it where the reader has changed the last one.

    Parameters
    ----------
    book : Book
    folder : Path
    kind : {"lab", "plain"}

    Returns
    -------
    written : list of Path
    beside : list of Path
        Those among them that stand beside a reader's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / STATE
    state = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    written, beside = [], []
    for chapter in book.chapters:
        copy = json.dumps(book.copy(chapter, kind), indent=1, ensure_ascii=False) + "\n"
        data = copy.encode("utf-8")
        file = folder / f"{Path(chapter).name}.ipynb"
        published, ours = state.get(file.name, (None, None))
        if file.exists():
            if digest(data) in (published, digest(file.read_bytes())):
                state[file.name] = [digest(data), ours or digest(data)]
                continue
            if digest(file.read_bytes()) != ours:
                state[file.name] = [digest(data), ours]
                file = free_name(file)
                beside.append(file)
        if file not in beside:
            state[file.name] = [digest(data), digest(data)]
        file.write_bytes(data)
        written.append(file)
    record.write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    return written, beside


def free_name(file):
    """Return the first name with a number behind it that no file has."""
    names = (file.with_stem(f"{file.stem}_{number}") for number in range(2, 1000))
    return next(name for name in names if not name.exists())


def trust(files):
    """Let JupyterLab run the sliders in copies that were just made."""
    notary = NotebookNotary()
    for file in files:
        notary.sign(nbformat.read(file, as_version=4))


def open_lab(first, words):
    """Start JupyterLab in the repository, at a notebook, and stay with it."""
    for variable in ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH"):
        before = os.environ.get(variable)
        os.environ[variable] = os.pathsep.join([str(SETTINGS), *([before] if before else [])])
    options = [
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{first.relative_to(ROOT).as_posix()}",
    ]
    if getattr(os, "getuid", lambda: None)() == 0:  # JupyterLab refuses root unless told
        options.append("--allow-root")
    from jupyterlab.labapp import main as jupyterlab

    return jupyterlab([*options, *words])


def main(words):
    """Write what is missing and do what the words say."""
    book = Book()
    plain = "--plain" in words
    folder = WORK / "plain" if plain else WORK
    written, beside = write_copies(book, folder, "plain" if plain else "lab")
    for file in beside:
        print(
            f"The book has a newer version of a chapter that you have changed: "
            f"{file.relative_to(ROOT)}, beside yours"
        )
    if plain:
        print(f"{len(book.chapters)} notebooks are in {folder.relative_to(ROOT)}")
        return 0
    trust(written)
    if words == ["--copies"]:
        return 0
    return open_lab(WORK / f"{Path(book.chapters[0]).name}.ipynb", words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
