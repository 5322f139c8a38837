"""Make what students get: release notebooks, the files they need, one zip. `make assignment`."""

import argparse
import logging
import re
import zipfile

import nbformat

from assignment.grader import gradebook, questions
from assignment.grader.questions import COURSE

FORBIDDEN = ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS", "MARK SCHEME")
LEFT_BEHIND = {"__pycache__", ".ipynb_checkpoints"}


def student_requirements(names):
    """Return the lines of the repository's requirements that students need."""
    text = "".join(
        path.read_text(encoding="utf-8") for path in sorted(COURSE.parent.glob("requirements*.txt"))
    )
    pins = dict(re.findall(r"^([A-Za-z0-9_-]+)(==\S+)$", text, re.M))
    return "".join(f"{name}{pins[name]}\n" for name in names)


def add_files(assignment):
    """Add to the notebooks what a student needs beside them."""
    folder, module = assignment.release, assignment.module
    getattr(module, "add_files", lambda folder: None)(folder)
    names = getattr(module, "PACKAGES", ("jupyterlab", "numpy"))
    (folder / "requirements.txt").write_text(student_requirements(names), encoding="utf-8")


def make(name):
    """Make ``release/NAME`` with nbgrader, add what students need, and zip it.

    Returns
    -------
    Path
        The zip.
    """
    gradebook.generate(name)
    assignment = questions.load(name)
    add_files(assignment)
    check_for_leaks(assignment.release)
    target = COURSE / "release" / f"{name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files_of(assignment.release):
            archive.write(file, f"{name}/{file.relative_to(assignment.release)}")
    return target


def files_of(folder):
    """Return the files below a folder, without what running leaves behind."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not LEFT_BEHIND & {*file.parts}
    ]


def secrets_of(name):
    """Return what must not be in a release: the signs, and lines that only solutions have."""
    secret, public = set(), []
    region = re.compile(r"BEGIN SOLUTION(.*?)### END SOLUTION", re.S)
    for path in sorted((COURSE / "source" / name).iterdir()):
        if path.suffix == ".ipynb":
            for cell in nbformat.read(path, as_version=4).cells:
                for inside in region.findall(cell.source):
                    secret |= {line.strip() for line in inside.splitlines()}
                public.append(region.sub("", cell.source))
        elif path.name in ("given.py", "README.md"):
            public.append(path.read_text(encoding="utf-8"))
    public = "\n".join(public)
    return {line for line in secret if len(line) > 24 and line not in public} | {*FORBIDDEN}


def check_for_leaks(folder):
    """Refuse a release in which a sign, or a line of a solution, is left."""
    secrets = secrets_of(folder.name)
    for file in files_of(folder):
        content = file.read_bytes()
        if file.suffix == ".ipynb":
            cells = nbformat.reads(content.decode(), as_version=4).cells
            content = "\n".join(cell.source for cell in cells).encode()
        for sign in secrets:
            if sign.encode() in content:
                raise SystemExit(f"{file}: found {sign!r}; expected a release without it")


def main():
    """Make the release of one assignment, or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", choices=questions.names())
    options = parser.parse_args()
    logging.getLogger("nbgrader").setLevel(logging.ERROR)
    for name in [options.name] if options.name else questions.names():
        target = make(name)
        size = target.stat().st_size / 1e6
        print(f"\nHand out {target.relative_to(COURSE.parent)} ({size:.1f} MB).")


if __name__ == "__main__":
    main()
