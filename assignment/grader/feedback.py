"""Enter the points given by hand and write a page for every student: `make feedback`."""

import json

from assignment.grader import checks, gradebook
from assignment.grader.grade import AUTOGRADED, COURSE, print_table, write_grades

FORBIDDEN = ("BEGIN SOLUTION", "HIDDEN TESTS", "MARK SCHEME", "helpers.cells", "student.call(")


def main():
    """Write ``feedback/``, ``grades.csv`` and the table."""
    rows = [json.loads(path.read_text()) for path in sorted(AUTOGRADED.glob("*/*/result.json"))]
    if not rows:
        raise SystemExit("found no graded submission; expected some: run `make grade`")
    students = [row["student"] for row in rows]
    gradebook.enter_by_hand(students)
    for student in students:
        for page in gradebook.feedback(student):
            text = page.read_text()
            for sign in FORBIDDEN:
                if sign in text:
                    page.unlink()
                    raise SystemExit(f"{page}: found {sign!r}; the page was not kept")
    table = write_grades(rows)
    print_table(table)
    waiting = [row["student"] for row in table if row["waits_for"]]
    if waiting:
        print(f"\n{len(waiting)} still wait for points by hand, in {gradebook.BY_HAND.name}.")
    folder = (COURSE / "feedback").relative_to(COURSE.parent)
    print(f"\nReturn to each student the pages in {folder}/STUDENT/ ({len(students)} students).")
    assert sum(checks.points().values()) + sum(gradebook.essays().values()) == 100


if __name__ == "__main__":
    main()
