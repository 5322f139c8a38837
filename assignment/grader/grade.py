"""Grade everything under ``submitted/``: `make grade`.

Each submission runs in its own place; what goes wrong there ends up in its own row.
"""

import argparse
import csv
import fcntl
import hashlib
import json
import os
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict

import nbformat

from assignment.grader import checks, gradebook, groups
from assignment.grader.checks import PARTS
from assignment.grader.run import COURSE, Result, grade, load_release
from assignment.grader.sandbox import Limits
from assignment.grader.submission import Submission, entries, read

NAME = gradebook.NAME
RELEASE = COURSE / "release" / NAME
SUBMITTED = COURSE / "submitted"
AUTOGRADED = COURSE / "autograded"
GRADES = COURSE / "grades.csv"


def grade_one(student, paths, seed, limits, dealt):
    """Grade one submission; whatever happens, there is a result."""
    release, _ = load_release(RELEASE)
    submission = Submission(student)
    try:
        submission = read(student, paths, release)
        result = grade(submission, RELEASE, seed, limits, dealt)
    except Exception as error:  # a mistake of the grader's own must not cost the others
        traceback.print_exc()
        result = Result(student, messages=[*submission.messages, f"NOT GRADED: {error}"])
    return result, submission.digest


def version():
    """Return what decides a grade beside the submission: the release and the questions."""
    digest = hashlib.sha256()
    for file in [*sorted((COURSE / "grader").glob("*.py")), *sorted(RELEASE.rglob("*"))]:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _kept(student):
    path = AUTOGRADED / student / NAME / "result.json"
    return json.loads(path.read_text()) if path.exists() else None


def _keep(result, digest, seed, current):
    folder = AUTOGRADED / result.student / NAME
    folder.mkdir(parents=True, exist_ok=True)
    row = {k: v for k, v in asdict(result).items() if k != "notebooks"}
    row |= {"digest": digest, "seed": seed, "version": current}
    (folder / "result.json").write_text(json.dumps(row, indent=1))


def write_grades(rows):
    """Write ``grades.csv`` and print the table.

    Parameters
    ----------
    rows : list of dict
        As kept in ``result.json``.

    Returns
    -------
    list of dict
    """
    essays = gradebook.essays()
    out = []
    for row in sorted(rows, key=lambda row: row["student"]):
        points, waiting = gradebook.scores(row["student"])
        automatic = sum(points.get(cell, 0) for cell in PARTS)
        by_hand = sum(points.get(essay, 0) for essay in essays)
        out.append(
            {
                "student": row["student"],
                **{part: points.get(cell, 0) for cell, part in PARTS.items()},
                **{essay: "" if essay in waiting else points.get(essay, 0) for essay in essays},
                "automatic": automatic,
                "by_hand": by_hand,
                "total": automatic + by_hand,
                "waits_for": " ".join(waiting),
                "seconds": row["seconds"],
                "processor_seconds": row["processor"],
                "protected": row["protected"],
                "messages": " | ".join(row["messages"]),
            }
        )
    columns = list(out[0]) if out else ["student"]
    with open(GRADES, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(out)
    return out


def print_table(rows):
    """Print who has how many points, in which parts, and what to know."""
    most = checks.points()
    width = max([8, *(len(_printable(row["student"])) for row in rows)])
    head = "".join(f"{part:>5}" for part in PARTS.values())
    print(f"\n{'student':{width}}{head}{'auto':>6}{'hand':>6}{'total':>7}{'s':>7}")
    print(f"{'of':{width}}" + "".join(f"{most[cell]:5}" for cell in PARTS), end="")
    by_hand = sum(gradebook.essays().values())
    print(f"{sum(most.values()):6}{by_hand:6}{sum(most.values()) + by_hand:7}")
    for row in rows:
        points = "".join(f"{row[part]:5.0f}" for part in PARTS.values())
        hand = "   …  " if row["waits_for"] else f"{row['by_hand']:6g}"
        print(f"{_printable(row['student']):{width}}{points}{row['automatic']:6.0f}{hand}", end="")
        print(f"{row['total']:7g}{row['seconds']:7.0f}")
        for message in filter(None, row["messages"].split(" | ")):
            print(f"{'':{width}}   {_printable(message)}")


def _printable(text):
    return "".join(c if c.isprintable() else "?" for c in text)


def print_costs(rows):
    """Print what each part cost, over the submissions that were run."""
    rows = [row for row in rows if row["cell_seconds"]]
    if not rows:
        return
    print(f"\nseconds, over {len(rows)} submissions{'mean':>8}{'most':>8}")
    for name in ("seconds", "processor"):
        spent = [row[name] for row in rows]
        label = "a submission, wall clock" if name == "seconds" else "a submission, processor"
        print(f"  {label:28}{sum(spent) / len(spent):8.1f}{max(spent):8.1f}")
    for name in ("cells", *PARTS):
        spent = [row["cell_seconds"].get(name, 0) for row in rows]
        label = "running the notebooks" if name == "cells" else f"{PARTS[name]} {name}"
        print(f"  {label:28}{sum(spent) / len(spent):8.1f}{max(spent):8.1f}")


def main():
    """Parse the options, grade, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", help="grade this one only")
    parser.add_argument("--again", action="store_true", help="also what has not changed")
    parser.add_argument("--jobs", type=int, default=max(1, min(2, os.cpu_count() or 1)))
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="for each submission")
    parser.add_argument("--memory", type=float, default=Limits.memory / 2**30, help="in GiB")
    parser.add_argument("--seed", type=int, help="of the questions; drawn afresh if not given")
    options = parser.parse_args()
    limits = Limits(options.seconds, options.seconds / 5, int(options.memory * 2**30))
    seed = int.from_bytes(os.urandom(4)) if options.seed is None else options.seed
    if not SUBMITTED.is_dir():
        raise SystemExit(
            f"{SUBMITTED.relative_to(COURSE.parent)}: not there; expected a folder or a zip for "
            "each student in it"
        )
    lock = open(COURSE / ".grading", "w")  # held until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit("another `make grade` is at work; wait for it") from None
    everyone = entries(SUBMITTED)
    if options.student:
        everyone = [entry for entry in everyone if entry[0] == options.student]
    if not everyone:
        raise SystemExit(f"found no submission {options.student or ''} in {SUBMITTED}")

    current = version()
    release, _ = load_release(RELEASE)
    rows, todo = [], []
    for student, paths in everyone:
        kept = _kept(student)
        if kept and not options.again and kept["version"] == current:
            if read(student, paths, release).digest == kept["digest"]:
                rows.append(kept)
                continue
        todo.append((student, paths))
    print(
        f"{len(everyone)} submissions, {len(todo)} to grade, {options.jobs} at a time, seed {seed}"
    )
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = {
            pool.submit(
                grade_one, student, paths, seed, limits, groups.classes_of(student)
            ): student
            for student, paths in todo
        }
        for done, job in enumerate(as_completed(jobs), 1):
            student = jobs[job]
            try:
                result, digest = job.result()
            except Exception as error:
                result, digest = Result(student, messages=[f"NOT GRADED: {error!r}"]), ""
            if not result.notebooks:  # the gradebook has to know of them all the same
                result.notebooks = {
                    path.stem: _empty(nbformat.read(path, as_version=4))
                    for path in sorted(RELEASE.glob("*.ipynb"))
                }
            gradebook.save(result)
            _keep(result, digest, seed, current)
            rows.append(_kept(student))
            print(
                f"[{done}/{len(todo)}] {_printable(student)}: {result.points()} of "
                f"{sum(checks.points().values())}, {result.seconds:.0f} s",
                flush=True,
            )
    gradebook.enter_by_hand([student for student, _ in everyone])
    table = write_grades(rows)
    print_table(table)
    print_costs(rows)
    if any(row["protected"] is False for row in rows):
        print("\nWARNING: on this system student code could read the grader's files (no Landlock).")
    print(f"\nWritten: {GRADES.relative_to(COURSE.parent)}.", end=" ")
    if any(row["waits_for"] for row in table):
        print(f"Points by hand go into {gradebook.BY_HAND.relative_to(COURSE.parent)}.", end=" ")
    print("Then: make feedback")
    if any("NOT GRADED" in row["messages"] for row in table):
        sys.exit(1)


def _empty(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade"):
            cell.outputs = [
                nbformat.v4.new_output(
                    "execute_result", data={"text/plain": "0.0"}, execution_count=1
                )
            ]
    return notebook


if __name__ == "__main__":
    main()
