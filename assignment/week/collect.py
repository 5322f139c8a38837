"""Put an export of a learning platform into ``submitted/``: `make collect FROM=…`.

Knows Moodle's, Canvas' (which is flat), GitHub Classroom's, and plain folders or archives, one for
each student; a folder, a zip or a tar. Names are mapped by ``students.csv``.
"""

import argparse
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from assignment.grader import course, questions
from assignment.grader.handin import MAX_BYTES, Unreadable, members, printable, readable, stem
from assignment.grader.questions import COURSE

FORMS = {
    # Moodle: "Ada Lovelace_12345_assignsubmission_file_/1_from….ipynb", or flat.
    "moodle": re.compile(r"(?P<who>[^/]+)_(?P<id>\d+)_assignsubmission_file_?/?(?P<file>.+)"),
    # Canvas: "lovelaceada_LATE_12345_67890_1_from…-2.ipynb".
    "canvas": re.compile(r"(?P<who>[^/_]+)_(?:LATE_)?(?P<id>\d+)_\d+_(?P<file>[^/]+)"),
    "folders": re.compile(r"(?P<who>[^/]+)/(?P<file>.+)"),
}


def known_names():
    """Return ``{name in lower case: {students}}`` of all names in ``students.csv``."""
    out = {}
    for student, row in course.students().items():
        for name in filter(None, (student, *row.values())):
            out.setdefault(name.lower(), set()).add(student)
    return out


def who(name, number, known, assignment):
    """Return the student of a name and an id, if any, or None; and why it is nobody.

    Two students may share a name, and a name may be another one's id: only who fits all that is
    known is meant. GitHub Classroom calls a repository ``assignment-account``.
    """
    plain = name.removeprefix(f"{assignment}-")
    if not known:
        return re.sub(r"^[=+@-]", "_", printable(plain)), ""
    found = [known[n.lower()] for n in (name, plain, number or "") if n.lower() in known]
    if not found:
        near = course.suggestion(plain, known)
        return None, f"{printable(plain)!r} is not in {course.STUDENTS.name}{near}"
    if len(fits := set.intersection(*found)) == 1:
        return fits.pop(), ""
    several = " or ".join(sorted(set.union(*found)))
    given = " with the id ".join(filter(None, (repr(printable(plain)), number)))
    return None, f"{given} may be {several}, by {course.STUDENTS.name}; expected one student"


def collect(source, assignment, target):
    """Sort an export into one folder for each student, in ``submitted/``.

    It is read to its end first: if it is damaged, what was handed in before stays.

    Parameters
    ----------
    source : Path
    assignment : str
    target : Path
        What the students in the export handed in before is replaced.

    Returns
    -------
    students : dict
        Student → number of files.
    unused : list of (str, str)
        Files that were not used, and why.

    Raises
    ------
    Unreadable
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent) as folder:  # beside it, so that moving is renaming
        with readable():
            found, unused = sort(source, assignment, Path(folder))
        for student in found:
            shutil.rmtree(target / student / assignment, ignore_errors=True)
            (target / student).mkdir(parents=True, exist_ok=True)
            (Path(folder) / student).rename(target / student / assignment)
    return found, unused


def sort(source, assignment, target):
    """Write an export into an empty folder; return what :func:`collect` returns."""
    known, found, unused, newest, owner = known_names(), {}, [], {}, {}
    for name, changed, read in members(source):
        text = printable(name)
        form = next((m for form in FORMS.values() if (m := form.fullmatch(str(name)))), None)
        if form is None and len(name.parts) == 1:  # anna.zip, anna.ipynb
            form = re.fullmatch(r"(?P<file>(?P<who>.+))", str(name))
        inside = PurePosixPath(form["file"]) if form else name
        hidden = any(part.startswith((".", "__")) or part == ".." for part in name.parts)
        if form is None or hidden or read is None or inside.is_absolute():
            unused.append((text, "hidden" if hidden else "a link" if not read else "whose it is"))
            continue
        number = form.groupdict().get("id")
        student, why = who(stem(form["who"]), number, known, assignment)
        if number and student and owner.setdefault(student, number) != number:
            why = f"{student} has the id {owner[student]}; found {number}: two of one name?"
        if why:
            unused.append((text, why))
            continue
        if inside.name == course.STAMP:
            unused.append((text, "the name is reserved"))
            continue
        content = read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            unused.append((text, f"larger than {MAX_BYTES // 10**6} MB"))
            continue
        parts = (os.fsdecode(printable(part).encode()) for part in inside.parts)
        path = (target / student).joinpath(*parts)
        if path.exists():
            unused.append((text, "the same name twice"))
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (changed, changed))
        found[student] = found.get(student, 0) + 1
        newest[student] = max(changed, newest.get(student, 0))
    for student, changed in newest.items():
        when = datetime.fromtimestamp(changed, UTC).isoformat()
        (target / student / course.STAMP).write_text(when, encoding="utf-8")
    return found, unused


def main():
    """Collect what the command line says, and list everybody and everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=questions.names())
    parser.add_argument("source")
    options = parser.parse_args()
    if not options.source:  # as a path it would be the folder where we are
        raise SystemExit("found no FROM; expected the export: make collect FROM=export.zip")
    source = Path(options.source)
    if not source.exists():
        raise SystemExit(f"{source}: not there; expected a zip, a tar or a folder")
    target = COURSE / "submitted"
    try:
        found, unused = collect(source, options.name, target)
    except Unreadable as error:
        raise SystemExit(f"{source} cannot be read, nothing was collected: {error}") from None
    for student, count in sorted(found.items()):
        print(f"{student}: {count} files")
    for name, why in unused:
        print(f"not used: {name}: {why}")
    missing = sorted({*course.students()} - {*found})
    print(f"{len(found)} students in {target.relative_to(COURSE.parent)}", end="")
    print(f"; nothing from {', '.join(missing)}" if missing else "")


if __name__ == "__main__":
    main()
