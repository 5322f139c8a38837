"""Write points for a learning platform: `make export TO=moodle`, `canvas` or `gradescope`."""

import argparse
import json
from pathlib import Path

from assignment.grader import course, questions
from assignment.grader.grade import grades, kept
from assignment.grader.questions import COURSE
from assignment.week.collect import known_names

# Where a platform's own sheet names a student, and where it wants the points.
NAMES = {
    "moodle": ("ID number", "Username", "Email address", "Identifier", "Full name"),
    "canvas": ("SIS Login ID", "SIS User ID", "ID", "Student"),
}
# What is written if there is no sheet: our column → theirs.
COLUMNS = {
    "moodle": {"moodle": "ID number", "email": "Email address", "name": "Full name"},
    "canvas": {"name": "Student", "canvas": "ID", "email": "SIS Login ID", "": "Section"},
}


def fill(platform, title, most, points, sheet=None):
    """Return the rows of a platform's sheet with points in them, and who was not in it.

    Parameters
    ----------
    platform, title : str
    most : float
    points : dict
        Student → points, or None while a text waits for a person.
    sheet : Path, optional
        As downloaded from the platform.
    """
    column = "Grade" if platform == "moodle" else title
    if sheet is None:
        known = course.students()
        rows = [
            {theirs: known.get(s, {}).get(ours, "") for ours, theirs in COLUMNS[platform].items()}
            | {column: "" if p is None else p}
            for s, p in points.items()
        ]
        for row, student in zip(rows, points, strict=True):
            name = "Full name" if platform == "moodle" else "Student"
            row[name] = row[name] or student
        if platform == "canvas":
            rows.insert(0, {"Student": "    Points Possible", column: most})
        return rows, []
    rows, names, left = course.read_table(sheet, ours=False), known_names(), {*points}
    columns = [name for name in NAMES[platform] if rows and name in rows[0]]
    if not columns:
        raise SystemExit(f"{sheet}: found none of the columns {', '.join(NAMES[platform])}")
    for row in rows:
        row.setdefault(column, "")
        values = [row[name] for name in columns]
        values += [value.removeprefix("Participant ") for value in values]
        known = (names.get(value.lower(), {value}) for value in values)
        student = next((s for s, *others in known if not others and s in points), None)
        left.discard(student)
        if student and points[student] is not None:
            row[column] = points[student]
    return rows, sorted(left)


def results(assignment, row, line):
    """Return Gradescope's ``results.json`` of one student."""
    tests = []
    for each in assignment.questions:
        answer = row["answers"].get(each.name, {"right": False, "message": "not asked"})
        tests.append(
            {
                "name": each.title,
                "number": assignment.parts[each.check],
                "score": each.points if answer["right"] else 0,
                "max_score": each.points,
                "output": answer["message"],
            }
        )
    for essay, most in assignment.graded(by_hand=True).items():
        score = float(line[essay] or 0)
        tests.append({"name": essay, "score": score, "max_score": most})
    return {
        "score": float(line["total"]),
        "execution_time": row["seconds"],
        "output": "\n".join(row["messages"]),
        "visibility": "after_published",
        "tests": tests,
    }


def main():
    """Write into ``exports/``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=questions.names())
    parser.add_argument("platform", choices=("moodle", "canvas", "gradescope"))
    parser.add_argument("--sheet", type=Path, help="the platform's own, to be filled in")
    options = parser.parse_args()
    assignment = questions.load(options.name)
    lines = {row["student"]: row for row in course.read_table(grades(options.name))}
    if not lines:
        raise SystemExit("found no points; expected some: run `make grade`")
    folder = COURSE / "exports"
    points = {s: None if line["waits_for"] else float(line["total"]) for s, line in lines.items()}
    waiting, left = [student for student, p in points.items() if p is None], []
    if options.platform == "gradescope":
        for student, line in lines.items():
            path = folder / "gradescope" / student / "results.json"
            path.unlink(missing_ok=True)  # what was exported before the student had to wait
            if student not in waiting:
                path.parent.mkdir(parents=True, exist_ok=True)
                content = results(assignment, kept(options.name, student), line)
                path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        path = folder / "gradescope" / "STUDENT" / "results.json"
    else:
        most = sum(cell.points for cell in assignment.cells)
        rows, left = fill(options.platform, options.name, most, points, options.sheet)
        path = folder / f"{options.name}-{options.platform}.csv"
        columns = [*dict.fromkeys(name for row in rows for name in row)]
        course.write_table(path, rows, columns, ours=options.sheet is None)
    print(f"Written: {path.relative_to(COURSE.parent)}")
    for what, names in (("wait for points by hand", waiting), ("not in the sheet", left)):
        if names:
            print(f"{what}: {', '.join(names)}")


if __name__ == "__main__":
    main()
