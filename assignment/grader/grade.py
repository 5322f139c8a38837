"""Grade everything under ``submitted/``: `make grade`; write the pages: `make feedback`.

Each submission is read, run, asked and rendered in a process of its own; what goes wrong there ends
up in its own row. The gradebook holds the points; table, CSV and pages are read from it, and
all are compared.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict

from joblib import Parallel, delayed, parallel_config

from assignment.grader import by_hand, course, gradebook, pages, questions
from assignment.grader.handin import entries, fingerprint, printable
from assignment.grader.questions import COURSE
from assignment.grader.run import Result
from assignment.grader.sandbox import Limits, NoSandbox, probe

SUBMITTED, AUTOGRADED, FEEDBACK = (COURSE / n for n in ("submitted", "autograded", "feedback"))
BACKENDS = ("threading", "dask")


# --- One submission ---------------------------------------------------------------------------


def run_one(name, student, paths, seed, limits, dealt):
    """Grade one submission in a process of its own; whatever happens, there is a result."""
    command = [sys.executable, "-m", "assignment.grader.run", name, student, *map(str, paths)]
    command += ["--seed", str(seed), "--seconds", str(limits.seconds), "--dealt", json.dumps(dealt)]
    command += ["--memory", str(limits.memory / 2**30)]
    try:
        done = subprocess.run(
            command,
            cwd=COURSE.parent,
            capture_output=True,
            timeout=4 * limits.seconds + 120,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode == 0:
            return json.loads(done.stdout)
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = said[-1] if said else f"its grader ended with {done.returncode}"
    except (subprocess.TimeoutExpired, ValueError, OSError) as error:
        why = type(error).__name__
    message = f"NOT GRADED: {printable(why)[:200]}"
    return asdict(Result(student, messages=[message], failed=True))


def grade_unit(name, seed, limits, members, paths, dealt, messages, state):
    """Grade one student or group; return who, what, and the result."""
    if paths:
        row = run_one(name, members[0], paths, seed, limits, dealt)
    else:
        row = asdict(Result(members[0], messages=["nothing was handed in"]))
    return members, paths, row | {"messages": [*messages, *row["messages"]], "state": state}


def result_file(name, student):
    """Return where the result of one student is kept."""
    return AUTOGRADED / student / name / "result.json"


def kept(name, student):
    """Return the kept result of one student, or None."""
    try:
        return json.loads(result_file(name, student).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def keep(name, student, row):
    """Keep the result of one student."""
    path = result_file(name, student)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row), encoding="utf-8")


def version(assignment):
    """Return what decides a grade beside the submission: the grader, questions, the release."""
    digest = hashlib.sha256()
    files = [*sorted((COURSE / "grader").glob("*.py")), assignment.source / "questions.py"]
    for file in [*files, *sorted(assignment.release.rglob("*"))]:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(file.read_bytes())
    return digest.hexdigest()


# --- Who has handed in what -------------------------------------------------------------------


def units(name):
    """Return what is graded: ``{members: (paths, dealt, messages)}``, and what is not used.

    A group hands in once; the newest of its members' counts.
    """
    found, unused = entries(SUBMITTED)
    known = course.students()
    out = {}
    for members, dealt in course.groups():
        ours = {member: found.pop(member) for member in members if member in found}
        newest = sorted(
            ours, key=lambda m: str(course.handed_in_at(ours[m][0], name) or ""), reverse=True
        )
        messages = []
        if ours:
            messages.append(f"handed in by {newest[0]} for {', '.join(members)}")
        if len(ours) > 1:
            messages.append(f"also handed in by {', '.join(newest[1:])}: not used")
        out[tuple(members)] = (ours[newest[0]] if ours else [], dealt, messages)
    for student, paths in found.items():
        strange = known and student not in known
        hint = f"is not in {course.STUDENTS.name}{course.suggestion(student, known)}"
        out[(student,)] = (paths, {}, [hint] if strange else [])
    for student in known:
        if not any(student in members for members in out):
            out[(student,)] = ([], {}, [])
    return out, unused


# --- Points -----------------------------------------------------------------------------------


def summarise(assignment, rows):
    """Enter all points into the gradebook and read the table back from it.

    Parameters
    ----------
    assignment : assignment.grader.questions.Assignment
    rows : dict
        Student → result.

    Returns
    -------
    table : list of dict
        One row for each student.
    marks : dict
        As from :func:`by_hand.update`.
    notes : list of str
    """
    essays, checks = assignment.graded(by_hand=True), assignment.graded(by_hand=False)
    parts = assignment.parts
    marks, notes = by_hand.update(
        assignment.name, essays, {s: r["essays"] for s, r in rows.items()}
    )
    table = []
    with gradebook.opened(assignment.name) as book:
        for student, row in sorted(rows.items()):
            points = points_of(row, checks)
            points |= {essay: mark[0] for essay, mark in marks[student].items()}
            waiting = [e for e, (p, _, note) in marks[student].items() if p is None or note]
            late, _ = row["late"]
            off = round(late * sum(p for p in points.values() if p), 2)
            gradebook.enter(book, assignment.name, student, points, off, waiting)
            points, off = gradebook.read(book, assignment.name, student)
            automatic = sum(points[check] for check in checks)
            hand = sum(points[essay] for essay in essays)
            table.append(
                {
                    "student": student,
                    **{parts[check]: points[check] for check in checks},
                    **{e: "" if marks[student][e][0] is None else points[e] for e in essays},
                    "automatic": automatic,
                    "by_hand": hand,
                    "late": -off,
                    "total": round(automatic + hand - off, 2),
                    "waits_for": " ".join(waiting),
                    "seconds": row["seconds"],
                    "processor_seconds": row["processor"],
                    "messages": " | ".join(row["messages"]),
                }
            )
    return table, marks, notes


def points_of(row, checks):
    """Return the points of each check cell, from the answers that were right."""
    out = dict.fromkeys(checks, 0)
    for answer in row["answers"].values():
        out[answer["check"]] += answer["points"] if answer["right"] else 0
    return out


def compare(assignment, rows, table, with_pages):
    """Require that answers, gradebook, CSV and pages say the same.

    Raises
    ------
    SystemExit
    """
    checks = assignment.graded(by_hand=False)
    written = {row["student"]: row for row in course.read_table(grades(assignment.name))}
    for row in table:
        student = row["student"]
        found = {
            "the answers": sum(points_of(rows[student], checks).values()),
            "the gradebook": row["automatic"],
            "the CSV": float(written[student]["automatic"]),
        }
        totals = {"the gradebook": row["total"], "the CSV": float(written[student]["total"])}
        if with_pages:
            for path in sorted((FEEDBACK / student / assignment.name).glob("*.html")):
                page = path.read_text(encoding="utf-8")
                totals[path.name] = float(re.search(r'<body data-total="(.+?)"', page).group(1))
        for what in (found, totals):
            if max(what.values()) - min(what.values()) > 0.01:
                said = ", ".join(f"{name} has {points:g}" for name, points in what.items())
                raise SystemExit(f"{student}: {said}; expected the same everywhere")


def grades(name):
    """Return where the CSV with all points is."""
    return COURSE / "grades" / f"{name}.csv"


# --- What is shown ----------------------------------------------------------------------------


def print_table(assignment, table):
    """Print who has how many points, in which parts, and what to know."""
    checks, essays = assignment.graded(by_hand=False), assignment.graded(by_hand=True)
    parts = assignment.parts
    width = max([8, *(len(row["student"]) for row in table)])
    head = "".join(f"{parts[check]:>5}" for check in checks)
    print(f"\n{'student':{width}}{head}{'auto':>6}{'hand':>6}{'late':>6}{'total':>7}{'s':>6}")
    most, hand = sum(checks.values()), sum(essays.values())
    print(f"{'of':{width}}" + "".join(f"{m:5g}" for m in checks.values()), end="")
    print(f"{most:6g}{hand:6g}{'':6}{most + hand:7g}")
    for row in table:
        points = "".join(f"{row[parts[check]]:5g}" for check in checks)
        by = "   …  " if row["waits_for"] else f"{row['by_hand']:6g}"
        print(f"{row['student']:{width}}{points}{row['automatic']:6g}{by}", end="")
        print(f"{row['late'] or '':6}{row['total']:7g}{row['seconds']:6.0f}")
        for message in filter(None, row["messages"].split(" | ")):
            print(f"{'':{width}}   {message}")


def write_pages(assignment, student, row, marks, line):
    """Write a page for each notebook of one student, into ``feedback/``."""
    folder = FEEDBACK / student / assignment.name
    folder.mkdir(parents=True, exist_ok=True)
    questions_of = {}
    for each in assignment.questions:
        questions_of.setdefault(each.check, []).append(each)
    checks, essays = assignment.graded(by_hand=False), assignment.graded(by_hand=True)
    reached, verdicts = points_of(row, checks), {}
    for check, most in checks.items():
        lines = []
        for each in questions_of[check]:
            answer = row["answers"].get(each.name, {"right": False, "message": "not asked"})
            got = each.points if answer["right"] else 0
            lines.append(f"{got} of {each.points}: {each.title}. {answer['message']}".strip())
        verdicts[check] = (f"Part {assignment.parts[check]}", reached[check], most, lines)
    for essay, most in essays.items():
        points, comment, note = marks[essay]
        verdicts[essay] = (essay, points, most, [w for w in (comment, note) if w])
    summary = [(title, points, most) for title, points, most, _ in verdicts.values()]
    if line["late"]:
        summary.append(("late", line["late"], 0))
    most = sum(checks.values()) + sum(essays.values())
    for name in assignment.notebooks:
        body, seen = "", set()
        for cell in row["notebooks"].get(name, []):
            body += cell["html"]
            if cell["name"] in verdicts:
                body += pages.verdict(*verdicts[cell["name"]])
                seen.add(cell["name"])
        rest = [n for n in verdicts if n not in seen and not row["notebooks"].get(name)]
        body += "".join(
            pages.verdict(*verdicts[n])
            for n in rest
            if n in {cell.name for cell in assignment.notebooks[name]}
        )
        title = f"{assignment.name}, {name}"
        page = pages.page(student, title, summary, line["total"], most, body, row["messages"])
        (folder / f"{name}.html").write_text(page, encoding="utf-8")


# --- Commands ---------------------------------------------------------------------------------


def grade_all(assignment, options):
    """Grade what is new or has changed; return all results."""
    try:
        probe()
    except NoSandbox as error:
        raise SystemExit(str(error)) from None
    if not SUBMITTED.is_dir():
        raise SystemExit(
            f"{SUBMITTED.relative_to(COURSE.parent)}: not there; expected a folder or an archive "
            "for each student in it"
        )
    limits = Limits(options.seconds, options.seconds / 5, int(options.memory * 2**30))
    seed = int.from_bytes(os.urandom(4)) if options.seed is None else options.seed
    everyone, unused = units(assignment.name)
    if options.student:
        everyone = {who: what for who, what in everyone.items() if options.student in who}
    if not everyone:
        raise SystemExit(f"found no submission {options.student or ''} in {SUBMITTED}")
    current, rows, todo = version(assignment), {}, []
    for members, (paths, dealt, messages) in everyone.items():
        state = f"{current} {fingerprint(paths)} {dealt} {messages}"
        old = [kept(assignment.name, member) for member in members]
        if not options.again and all(row and row["state"] == state for row in old):
            rows |= dict(zip(members, old, strict=True))
        else:
            todo.append((members, paths, dealt, messages, state))
    where = {"backend": options.backend, "n_jobs": options.jobs}
    if options.backend == "dask":
        where = {"backend": "dask", "scheduler_host": options.scheduler}
    print(f"{len(everyone)} submissions, {len(todo)} to grade, seed {seed}", flush=True)
    for name, why in unused:
        print(f"  {name}: not used, {why}")

    most = sum(assignment.graded(by_hand=False).values())
    with parallel_config(**where):
        graded = Parallel(return_as="generator_unordered")(
            delayed(grade_unit)(assignment.name, seed, limits, *each) for each in todo
        )
        for done, (members, paths, row) in enumerate(graded, 1):
            for member in members:
                when = course.handed_in_at(paths[0], assignment.name) if paths else None
                rows[member] = row | {"student": member, "when": when and when.isoformat()}
                keep(assignment.name, member, rows[member])
            points = sum(points_of(row, assignment.graded(by_hand=False)).values())
            print(f"[{done}/{len(todo)}] {', '.join(members)}: {points} of {most}", end=", ")
            print(f"{row['seconds']:.0f} s", flush=True)
    return rows


def main():
    """Parse the options, grade, write, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=questions.names())
    parser.add_argument("--feedback", action="store_true", help="write the pages; grade nothing")
    parser.add_argument("--student", help="grade this one only")
    parser.add_argument("--again", action="store_true", help="also what has not changed")
    parser.add_argument("--jobs", type=int, default=max(1, min(2, os.cpu_count() or 1)))
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="for each submission")
    parser.add_argument("--memory", type=float, default=Limits.memory / 2**30, help="in GiB")
    parser.add_argument("--seed", type=int, help="of the questions; drawn afresh if not given")
    parser.add_argument("--backend", choices=BACKENDS, default="threading")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, for more machines")
    options = parser.parse_args()
    assignment = questions.load(options.name)
    lock = open(COURSE / ".grading", "w", encoding="utf-8")  # held until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit("another `make grade` is at work; wait for it") from None
    rows = {} if options.feedback else grade_all(assignment, options)
    for path in sorted(AUTOGRADED.glob(f"*/{assignment.name}/result.json")):
        student = path.parent.parent.name
        if student not in rows and (row := kept(assignment.name, student)):
            rows[student] = row
    if not rows:
        raise SystemExit("found no graded submission; expected some: run `make grade`")
    for student, row in rows.items():
        when = row.get("when")
        when = course.datetime.fromisoformat(when) if when else None
        row["late"] = course.penalty(assignment.name, student, when)
        row["messages"] = [*row["messages"], *filter(None, [row["late"][1]])]
    table, marks, notes = summarise(assignment, rows)
    course.write_table(grades(assignment.name), table)
    unused = [
        {"student": s, "file": f, "reason": w} for s, r in rows.items() for f, w in r["unused"]
    ]
    listed = grades(assignment.name).with_name(f"{assignment.name}-unused.csv")
    course.write_table(listed, unused, ["student", "file", "reason"])
    if options.feedback:
        for line in table:
            student = line["student"]
            write_pages(assignment, student, rows[student], marks[student], line)
    compare(assignment, rows, table, options.feedback)
    print_table(assignment, table)
    for note in notes:
        print(f"look at: {note}")
    print(f"\nWritten: {grades(assignment.name).relative_to(COURSE.parent)}.", end=" ")
    if unused:
        print(f"{len(unused)} files were not used: {listed.relative_to(COURSE.parent)}.", end=" ")
    if any(row["waits_for"] for row in table):
        folder = (by_hand.FOLDER / assignment.name).relative_to(COURSE.parent)
        print(f"Points by hand go into {folder}/sheet.csv.", end=" ")
    print(
        f"Return to each student the pages in {FEEDBACK.relative_to(COURSE.parent)}/STUDENT/."
        if options.feedback
        else "Then: make feedback"
    )
    if any(row["failed"] for row in rows.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
