"""Make what students get: release notebooks, the files they need, one zip."""

import logging
import os
import re
import shutil
import zipfile
from pathlib import Path

import nbformat
import numpy as np

from helpers.data import DATA, load_cv_segments, load_handwriting

COURSE = Path(__file__).resolve().parent.parent
NAME = "sequence-learning"
RELEASE = COURSE / "release" / NAME
# What `given.py` and the notebooks import; with the versions of the repository.
STUDENT_PACKAGES = ("jupyterlab", "keras", "matplotlib", "numpy", "scikit-learn", "tensorflow")
# What running the source notebooks leaves beside them.
EXTRA = {"data", "models", "runs.json", "__pycache__", ".ipynb_checkpoints"}
FORBIDDEN = ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS", "MARK SCHEME")
README = """\
# Sequence learning: the assignment

1. With Python 3.11 to 3.13, in this folder:

       python3 -m venv .venv
       .venv/bin/pip install -r requirements.txt
       .venv/bin/jupyter lab

   On Windows: `py -m venv .venv`, then `.venv\\Scripts\\pip` and `.venv\\Scripts\\jupyter`.

2. Work through `1_from_files_to_gradients.ipynb`, then `2_training_and_judging.ipynb`.
   Each says at its top what is asked, for how many points, and how long it takes.

3. Hand in both notebooks and `runs.json`. Keep their names.
"""


def arrays(dataset):
    """Return both splits of a data set as arrays, which need no reader of files.

    Parameters
    ----------
    dataset : helpers.data.SequenceDataset

    Returns
    -------
    dict
        ``classes``, and for each split ``…_steps`` of all sequences, ``…_lengths``, ``…_labels``.
    """
    out = {"classes": np.array(dataset.classes)}
    for split in ("train", "test"):
        sequences = getattr(dataset, split)
        out[f"{split}_steps"] = np.concatenate(sequences.x)
        out[f"{split}_lengths"] = sequences.lengths
        out[f"{split}_labels"] = sequences.y
    return out


def student_requirements(text):
    """Keep the lines of the repository's requirements that students need."""
    pins = dict(re.findall(r"^([A-Za-z0-9_-]+)(==\S+)$", text, re.M))
    return "".join(f"{name}{pins[name]}\n" for name in STUDENT_PACKAGES)


def datasets():
    """Load both data sets: those of ``SEQUENCE_DATA``, or the sample.

    Never ``data/course`` unasked: what is packed into a zip is handed on.
    """
    path = os.environ.get("SEQUENCE_DATA") or DATA / "sample"
    return [load(path) for load in (load_handwriting, load_cv_segments)]


def add_files(folder):
    """Add to the notebooks what a student needs beside them: data, requirements, a README."""
    for dataset in datasets():
        dataset.summary()
        (folder / "data").mkdir(exist_ok=True)
        np.savez_compressed(folder / "data" / f"{dataset.name}.npz", **arrays(dataset))
    pins = (COURSE.parent / "requirements.txt").read_text()
    (folder / "requirements.txt").write_text(student_requirements(pins))
    (folder / "README.md").write_text(README)


def prepare(folder):
    """Make what grading needs of a release, without nbgrader: the answers are emptied.

    Parameters
    ----------
    folder : Path
        Must not be there yet.
    """
    shutil.copytree(COURSE / "source" / NAME, folder, ignore=lambda _, names: {*names} & EXTRA)
    for path in folder.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                cell.source = "raise NotImplementedError()"
        nbformat.write(notebook, path)
    add_files(folder)
    check_for_leaks(folder)


def make():
    """Make ``release/`` with nbgrader, add what students need, and zip it.

    Returns
    -------
    Path
        The zip.
    """
    from assignment.grader.gradebook import nbgrader

    result = nbgrader().generate_assignment(NAME, force=True, create=True)
    if not result["success"]:
        raise SystemExit(f"nbgrader could not make the release:\n{result['log']}")
    add_files(RELEASE)
    check_for_leaks(RELEASE)
    target = COURSE / "release" / f"{NAME}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files_of(RELEASE):
            archive.write(file, f"{NAME}/{file.relative_to(RELEASE)}")
    return target


def files_of(folder):
    """Return the files below a folder, without what running leaves behind."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & {*file.parts}
    ]


def check_for_leaks(folder):
    """Refuse a release in which a sign of solutions, hidden tests or mark schemes is left."""
    for file in files_of(folder):
        content = file.read_bytes()
        for sign in FORBIDDEN:
            if sign.encode() in content:
                raise SystemExit(f"{file}: found {sign!r}; expected a release without it")


if __name__ == "__main__":
    logging.getLogger("nbgrader").setLevel(logging.ERROR)
    if not (COURSE / "source" / NAME).is_dir():
        raise SystemExit(f"{COURSE / 'source' / NAME}: not there; expected the source notebooks")
    target = make()
    print(f"\nHand out {target.relative_to(COURSE.parent)} ({target.stat().st_size / 1e6:.1f} MB).")
