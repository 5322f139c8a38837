"""Grade one repository without nbgrader: a test for each part, and the points.

``SUBMISSION=path/to/repository pytest assignment/classroom/test_submission.py``
"""

import json
import os
from pathlib import Path

import pytest

from assignment.grader import checks
from assignment.grader.release import prepare
from assignment.grader.run import grade, load_release
from assignment.grader.submission import read


@pytest.fixture(scope="session")
def result(tmp_path_factory, request):
    """Run the submission once, ask everything, report at the end."""
    submission = Path(os.environ.get("SUBMISSION", ".")).resolve()
    release = tmp_path_factory.mktemp("assignment") / "release"
    prepare(release)
    handed_in = read(submission.name, [submission], load_release(release)[0])
    seed = int.from_bytes(os.urandom(4))
    graded = grade(handed_in, release, seed)
    yield graded
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        report(graded)


@pytest.mark.parametrize("cell", checks.PARTS, ids=checks.PARTS.get)
def test_part(result, cell):
    """All points of this part; a part that is not full fails and says why."""
    answers = result.answers.get(cell, [])
    lines = [
        f"{points if right else 0}/{points} {title} {message}"
        for title, points, right, message in answers
    ]
    reached, most = result.points(cell), checks.points(cell)
    assert reached == most, f"{reached} of {most} points\n" + "\n".join(lines)


def report(graded):
    """Write the points where GitHub shows them: the summary of the run, and its annotations."""
    rows = ["| part | points | of |", "|---|---|---|"]
    for cell, part in checks.PARTS.items():
        rows.append(f"| {part} {cell} | {graded.points(cell)} | {checks.points(cell)} |")
    most = sum(checks.points().values())
    rows.append(f"| **all** | **{graded.points()}** | **{most}** |")
    rows += ["", *(f"- {message}" for message in graded.messages)]
    text = "\n".join([*rows, "", "Part 2.7 is graded by a person.", ""])
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a") as file:
            file.write(text)
    print(f"\n{text}")
    if os.environ.get("GITHUB_ACTIONS"):
        totals = json.dumps({"totalPoints": graded.points(), "maxPoints": most})
        where = "::notice file=.github,line=1,title=Autograding"
        print(f"{where} complete::Points {graded.points()}/{most}")
        print(f"{where} report::{totals}")
