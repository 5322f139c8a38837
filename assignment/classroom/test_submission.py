"""Grade one repository: a test for each part, and the points.

``SUBMISSION=path/to/repository pytest assignment/classroom/test_submission.py``, after
``make assignment``; ``ASSIGNMENT`` names another one than sequence-learning.
"""

import json
import os
from pathlib import Path

import pytest

from assignment.grader import questions
from assignment.grader.handin import read
from assignment.grader.run import grade
from assignment.grader.sandbox import probe

ASSIGNMENT = questions.load(os.environ.get("ASSIGNMENT", "sequence-learning"))
CHECKS = ASSIGNMENT.graded(by_hand=False)


@pytest.fixture(scope="session")
def result(request):
    """Run the submission once, ask everything, report at the end."""
    probe()
    submission = Path(os.environ.get("SUBMISSION", ".")).resolve()
    handed_in = read(submission.name, [submission], ASSIGNMENT)
    graded = grade(handed_in, ASSIGNMENT, int.from_bytes(os.urandom(4)))
    yield graded
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        report(graded)


def points(graded, check):
    """Return the points of one check."""
    found = [answer for answer in graded.answers.values() if answer["check"] == check]
    return sum(answer["points"] for answer in found if answer["right"])


@pytest.mark.parametrize("check", CHECKS, ids=ASSIGNMENT.parts.get)
def test_part(result, check):
    """All points of this part; a part that is not full fails and says why."""
    wrong = [
        f"{each.title}: {result.answers[each.name]['message']}"
        for each in ASSIGNMENT.questions
        if each.check == check and not result.answers[each.name]["right"]
    ]
    reached = points(result, check)
    assert reached == CHECKS[check], f"{reached} of {CHECKS[check]} points\n" + "\n".join(wrong)


def report(graded):
    """Write the points where GitHub shows them: the summary of the run, and its annotations."""
    rows = ["| part | points | of |", "|---|---|---|"]
    rows += [
        f"| {ASSIGNMENT.parts[c]} | {points(graded, c)} | {most} |" for c, most in CHECKS.items()
    ]
    total, most = sum(points(graded, check) for check in CHECKS), sum(CHECKS.values())
    rows += [f"| **all** | **{total}** | **{most}** |", ""]
    rows += [f"- {message}" for message in graded.messages]
    text = "\n".join([*rows, "", "What a person grades is not in here.", ""])
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a", encoding="utf-8") as file:
            file.write(text)
    print(f"\n{text}")
    if os.environ.get("GITHUB_ACTIONS"):
        totals = json.dumps({"totalPoints": total, "maxPoints": most})
        where = "::notice file=.github,line=1,title=Autograding"
        print(f"{where} complete::Points {total}/{most}\n{where} report::{totals}")
