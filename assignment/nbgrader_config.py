"""Settings of nbgrader for this course; read by `make assignment` and by nbgrader itself."""

from pathlib import Path

from nbconvert.preprocessors import Preprocessor

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "sequence-learning"
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.ignore = [
    ".ipynb_checkpoints", "__pycache__", "*.pyc",
    # The instructor's, and what running the source notebooks leaves beside them.
    "questions.py", "answers.py", "deal.py", "solution", "models", "runs.json", "data",
]  # fmt: skip


class UseMakeGrade(Preprocessor):
    """Stop `nbgrader autograde`: it would run student code beside the gradebook."""

    def preprocess(self, nb, resources):
        """Refuse."""
        raise RuntimeError("grade with `make grade`: it runs each submission in a place of its own")


c.Autograde.sanitize_preprocessors = [UseMakeGrade]
