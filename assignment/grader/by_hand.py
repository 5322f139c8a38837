"""Points that a person gives: sheets in ``by_hand/ASSIGNMENT/``, one or one for each grader."""

import hashlib

from assignment.grader import course
from assignment.grader.questions import COURSE

FOLDER = COURSE / "by_hand"


def digest(text):
    """Return a short name of a text, to tell whether it has changed since it was marked."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8] if text else "empty"


def sheets(assignment):
    """Return ``{path: rows}`` of all sheets, our own first."""
    own = FOLDER / assignment / "sheet.csv"
    paths = [own, *sorted(p for p in own.parent.glob("*.csv") if p != own)]
    return {path: course.read_table(path) for path in paths}


def update(assignment, essays, texts):
    """Read all sheets, merge them, and add to our own whoever is missing.

    Parameters
    ----------
    assignment : str
    essays : dict
        Essay → most points.
    texts : dict
        Student → essay → text as it was handed in; empty if it was left as handed out.

    Returns
    -------
    marks : dict
        Student → essay → ``(points or None, comment, what to look at or "")``.
    notes : list of str
        Conflicts between sheets, texts changed since they were marked.

    Raises
    ------
    SystemExit
        If a sheet names a student who is not there, or a number that is none or out of range.
    """
    found = sheets(assignment)
    given = {}
    for path, rows in found.items():
        for number, row in enumerate(rows, 2):
            student = row.get("student", "")
            where = f"{path.relative_to(COURSE)}, row {number}"
            if student not in texts:
                near = course.suggestion(student, texts)
                raise SystemExit(f"{where}: found {student!r}, who has handed in nothing{near}")
            for essay, most in essays.items():
                points = _points(row.get(essay, ""), most, f"{where}, {student}, {essay}")
                comment, seen = row.get(f"{essay}_comment", ""), row.get(f"{essay}_text", "")
                now = digest(texts[student].get(essay, ""))
                if not seen:
                    seen = row[f"{essay}_text"] = now
                if points is not None or comment:
                    each = (path.name, points, comment, seen != now)
                    given.setdefault((student, essay), []).append(each)
    marks, notes = {}, []
    for student, written in texts.items():
        marks[student] = {}
        for essay in essays:
            mark, note = _merge(given.get((student, essay), []), written.get(essay, ""))
            marks[student][essay] = (*mark, note)
            notes += [f"{student}, {essay}: {note}"] if note else []
    if essays:
        own = FOLDER / assignment / "sheet.csv"
        there = {row["student"] for row in found[own]}
        for student in sorted({*texts} - there):
            seen = {f"{essay}_text": digest(texts[student].get(essay, "")) for essay in essays}
            found[own].append({"student": student, **seen})
        columns = [f"{essay}{end}" for essay in essays for end in ("", "_comment", "_text")]
        for path, rows in found.items():
            course.write_table(path, rows, ["student", *columns])
    return marks, notes


def _points(text, most, where):
    try:
        points = float(text.replace(",", ".")) if text else None
    except ValueError:
        points = -1
    if points is not None and not 0 <= points <= most:
        raise SystemExit(f"{where}: found {text!r}; expected 0 to {most}")
    return points


def _merge(given, text):
    """Return points and comment of one text, and what to look at."""
    values = {points for _, points, _, _ in given if points is not None}
    comment = " / ".join(dict.fromkeys(c for _, _, c, _ in given if c))
    if len(values) > 1:
        said = ", ".join(f"{p:g} in {name}" for name, p, _, _ in given if p is not None)
        return (None, comment), f"graders differ: {said}"
    if not values:
        return (None if text else 0.0, comment), ""
    changed = any(old for _, p, _, old in given if p is not None)
    note = "the text has changed since it was marked; empty its _text column to keep the points"
    return (values.pop(), comment), note if changed else ""
