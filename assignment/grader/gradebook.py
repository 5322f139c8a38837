"""The one place that speaks to nbgrader: releases, and the gradebook."""

import contextlib
import os
import sys
import warnings
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from traitlets.config import PyFileConfigLoader

from assignment.grader.questions import COURSE

# nbgrader calls the program `alembic` by name; it lies beside the Python that runs this.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

# They are about how nbgrader fills its database; the result is right.
warnings.filterwarnings("ignore", module="nbgrader.api")


def _course():
    config = PyFileConfigLoader("nbgrader_config.py", str(COURSE)).load_config()
    return CourseDirectory(config=config), config


def generate(name):
    """Make ``release/NAME`` from ``source/NAME`` and enter the assignment into the gradebook.

    Raises
    ------
    SystemExit
    """
    course, config = _course()
    result = NbGraderAPI(course, config=config).generate_assignment(name, force=True, create=True)
    if not result["success"]:
        raise SystemExit(f"nbgrader could not make the release:\n{result['log']}")


@contextlib.contextmanager
def opened(name):
    """Open the gradebook for one assignment.

    Raises
    ------
    SystemExit
        If it does not know the assignment.
    """
    course, _ = _course()
    with Gradebook(course.db_url) as book:
        try:
            book.find_assignment(name)
        except MissingEntry:
            raise SystemExit(
                f"the gradebook {course.db_url} does not know {name}: run `make assignment`"
            ) from None
        yield book


def enter(book, name, student, points, penalty=0.0, waiting=()):
    """Enter the points of one student, as numbers.

    Parameters
    ----------
    book : Gradebook
    name, student : str
    points : dict
        Graded cell → points; None for a text that waits for a person.
    penalty : float
        Points taken off for being late.
    waiting : collection of str
        Cells that wait for a person, even if they have points from before.
    """
    book.update_or_create_student(student)
    submission = book.update_or_create_submission(name, student)
    for number, notebook in enumerate(submission.notebooks):
        notebook.late_submission_penalty = penalty if number == 0 else 0.0
        for grade in notebook.grades:
            value = points.get(grade.name)
            by_hand = grade.cell.cell_type == "markdown"
            grade.auto_score, grade.manual_score = (None, value) if by_hand else (value, None)
            grade.needs_manual_grade = grade.name in waiting
    book.db.commit()


def read(book, name, student):
    """Return what the gradebook says: ``{cell: points}``, and the points taken off."""
    submission = book.find_submission(name, student)
    points = {grade.name: grade.score for nb in submission.notebooks for grade in nb.grades}
    return points, sum(nb.late_submission_penalty or 0 for nb in submission.notebooks)
