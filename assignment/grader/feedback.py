"""Enter the points given by hand and write a page for every student: `make feedback`."""

import json

from assignment.grader import gradebook
from assignment.grader.grade import AUTOGRADED, COURSE, print_table, write_grades


def main():
    """Write ``feedback/``, ``grades.csv`` and the table."""
    rows = [json.loads(path.read_text()) for path in sorted(AUTOGRADED.glob("*/*/result.json"))]
    if not rows:
        raise SystemExit("found no graded submission; expected some: run `make grade`")
    students = [row["student"] for row in rows]
    gradebook.enter_by_hand(students)
    for student in students:
        gradebook.feedback(student)
    table = write_grades(rows)
    print_table(table)
    waiting = [row["student"] for row in table if row["waits_for"]]
    if waiting:
        print(f"\n{len(waiting)} still wait for points by hand, in {gradebook.BY_HAND.name}.")
    folder = (COURSE / "feedback").relative_to(COURSE.parent)
    print(f"\nReturn to each student the pages in {folder}/STUDENT/ ({len(students)} students).")


if __name__ == "__main__":
    main()
