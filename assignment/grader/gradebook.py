"""The one place that speaks to nbgrader: release, gradebook, points by hand, feedback."""

import csv
import os
import re
import shutil
import sys
import warnings
from pathlib import Path

import mathjax
import nbformat
from nbconvert.exporters import HTMLExporter
from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader import utils
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import GetGrades, SaveAutoGrades
from traitlets.config import PyFileConfigLoader

COURSE = Path(__file__).resolve().parent.parent
NAME = "sequence-learning"
BY_HAND = COURSE / "by_hand.csv"
MATHJAX = Path(mathjax.__file__).parent / "static" / "mathjax" / "es5" / "tex-svg-full.js"

# nbgrader calls the program `alembic` by name; it lies beside the Python that runs this.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

# They are about how nbgrader fills its database; the result is right.
warnings.filterwarnings("ignore", module="nbgrader.api")


def _config():
    return PyFileConfigLoader("nbgrader_config.py", str(COURSE)).load_config()


def nbgrader():
    """Return nbgrader's own interface, with the settings of this course."""
    config = _config()
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def database():
    """Return the address of the gradebook."""
    return CourseDirectory(config=_config()).db_url


def _resources(student, notebook):
    where = {"student": student, "assignment": NAME, "notebook": notebook, "db_url": database()}
    return {"nbgrader": where, "unique_key": notebook}


def save(result):
    """Enter the points of one submission, and keep its notebooks in ``autograded/``.

    Parameters
    ----------
    result : assignment.grader.run.Result
    """
    with Gradebook(database()) as book:
        book.update_or_create_student(result.student)
        book.update_or_create_submission(NAME, result.student)
    folder = COURSE / "autograded" / result.student / NAME
    folder.mkdir(parents=True, exist_ok=True)
    for name, notebook in result.notebooks.items():
        SaveAutoGrades().preprocess(notebook, _resources(result.student, name))
        nbformat.write(notebook, folder / f"{name}.ipynb")


def essays():
    """Return the cells that a person grades, ``{grade_id: points}``, in order."""
    out = {}
    for path in sorted((COURSE / "release" / NAME).glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if utils.is_grade(cell) and utils.is_solution(cell):
                out[cell.metadata.nbgrader.grade_id] = cell.metadata.nbgrader.points
    return out


def _essay_notebook(book, essay):
    for notebook in book.find_assignment(NAME).notebooks:
        if any(cell.name == essay for cell in notebook.grade_cells):
            return notebook.name
    raise MissingEntry(essay)


def read_by_hand():
    """Read ``by_hand.csv``.

    Returns
    -------
    dict
        Student → row.

    Raises
    ------
    SystemExit
        If a number of points is none, or not between 0 and what there is to get.
    """
    if not BY_HAND.exists():
        return {}
    with open(BY_HAND, newline="", encoding="utf-8-sig") as file:
        sample = file.read(4096)
        file.seek(0)
        separator = ";" if sample.split("\n")[0].count(";") else ","
        rows = {row["student"]: row for row in csv.DictReader(file, delimiter=separator)}
    for student, row in rows.items():
        for essay, most in essays().items():
            value = (row.get(essay) or "").strip().replace(",", ".")
            try:
                points = float(value) if value else None
            except ValueError:
                points = -1
            if points is not None and not 0 <= points <= most:
                raise SystemExit(
                    f"{BY_HAND.name}, {student}, {essay}: found {value!r}; expected 0 to {most}"
                )
            row[essay] = points
    return rows


def enter_by_hand(students):
    """Put the points of ``by_hand.csv`` into the gradebook, and add rows for new students.

    Parameters
    ----------
    students : list of str
    """
    rows = read_by_hand()
    comments = [f"{essay}_comment" for essay in essays()]
    with Gradebook(database()) as book:
        for student, row in rows.items():
            for essay in essays():
                where = (essay, _essay_notebook(book, essay), NAME, student)
                try:
                    grade, comment = book.find_grade(*where), book.find_comment(*where)
                except MissingEntry:
                    continue
                if row[essay] is not None:
                    grade.manual_score, grade.needs_manual_grade = row[essay], False
                if row.get(f"{essay}_comment"):
                    comment.manual_comment = row[f"{essay}_comment"]
        book.db.commit()
    columns = ["student", *(c for pair in zip(essays(), comments, strict=True) for c in pair)]
    with open(BY_HAND, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        for student in sorted({*rows, *students}):
            row = rows.get(student, {})
            writer.writerow({**row, "student": student})


def scores(student):
    """Return the points of each graded cell, and which still wait for a person.

    Returns
    -------
    points : dict
    waiting : list of str
    """
    points, waiting = {}, []
    with Gradebook(database()) as book:
        for notebook in book.find_submission(NAME, student).notebooks:
            for grade in notebook.grades:
                points[grade.name] = grade.score
                if grade.needs_manual_grade and grade.manual_score is None:
                    waiting.append(grade.name)
    return points, waiting


def _offline(page):
    """Take formulas from the MathJax beside the page, not from another host."""
    page, taken_out = re.subn(
        r"<!-- Load mathjax -->.*?<!-- End of mathjax[^>]*-->", "", page, flags=re.S
    )
    if taken_out != 1:
        raise RuntimeError("the template of nbgrader has changed: no MathJax found to replace")
    settings = '{tex: {inlineMath: [["$", "$"]]}, options: {ignoreHtmlClass: "input_area|output"}}'
    scripts = f'<script>MathJax = {settings}</script><script src="mathjax.js" defer></script>'
    style = "<style>pre {white-space: pre-wrap} td, th {padding: 1px 8px}</style>"
    return page.replace("</head>", f"{style}{scripts}</head>", 1)


def feedback(student):
    """Write a page for each notebook of one student into ``feedback/``.

    Returns
    -------
    list of Path
    """
    import nbgrader.server_extensions.formgrader as formgrader

    templates = Path(formgrader.__file__).parent
    exporter = HTMLExporter(
        template_name="feedback",
        extra_template_basedirs=[str(templates / "templates")],
        extra_template_paths=[
            str(templates / "static" / "node_modules" / "bootstrap" / "dist" / "css")
        ],
        sanitize_html=True,
    )
    exporter._preprocessors = []
    out = []
    for path in sorted((COURSE / "autograded" / student / NAME).glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        resources = _resources(student, path.stem)
        notebook, resources = GetGrades().preprocess(notebook, resources)
        notebook, resources = CSSHTMLHeaderPreprocessor()(notebook, resources)
        page, _ = exporter.from_notebook_node(notebook, resources)
        target = COURSE / "feedback" / student / NAME / f"{path.stem}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(MATHJAX, target.parent / "mathjax.js")
        target.write_text(_offline(page))
        out.append(target)
    return out
