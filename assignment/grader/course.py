"""What the instructor writes down: students, groups, due dates. All of it may be left out.

``students.csv`` has a row for each student: ``student``, the name that is used here, and in
``name``, ``email``, ``moodle``, ``canvas``, ``github`` what other systems call them.
``groups.csv`` has ``group``, ``members`` separated by semicolons, and what each group was dealt.
``course.toml`` has a table for each assignment: ``due``, ``per_day``, ``days``, ``extensions``.
"""

import csv
import difflib
import math
import re
import tomllib
from datetime import UTC, datetime

from assignment.grader.questions import COURSE

STUDENTS, GROUPS, DATES = (COURSE / name for name in ("students.csv", "groups.csv", "course.toml"))
STAMP = "timestamp.txt"  # nbgrader's name for when something was handed in
# A sign that is no number, also behind quotes: text with a quote of its own gets one more, so that
# reading takes off ours alone.
FORMULA = re.compile(r"'*(?!-?[\d.]+\Z)[=+@\t\r-]")


# --- Tables -----------------------------------------------------------------------------------


def read_table(path, ours=True):
    """Read a CSV with commas or semicolons; a list of rows, empty if there is no file.

    ``ours=False``, here and in :func:`write_table`: a platform's table, cells stay as they are.
    """
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8-sig") as file:
        head = file.readline()
        file.seek(0)
        rows = csv.DictReader(file, delimiter=";" if head.count(";") > head.count(",") else ",")
        cell = plain if ours else str
        return [
            {k.strip(): cell((v or "").strip()) for k, v in row.items() if k is not None}
            for row in rows
        ]


def write_table(path, rows, columns=None, ours=True):
    """Write a CSV that spreadsheet programs read as text and numbers, never as formulas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = columns or list(rows[0]) if rows else columns or ["student"]
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            cells = [row.get(column, "") for column in columns]
            writer.writerow(map(harmless, cells) if ours else cells)


def harmless(value):
    """Put a quote before text that a spreadsheet would take for a formula."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def plain(text):
    """Take off the quote that :func:`harmless` put before a text."""
    return text[1:] if text[:1] == "'" and FORMULA.match(text) else text


# --- Students and groups ----------------------------------------------------------------------


def students():
    """Return the rows of ``students.csv``, by student."""
    rows = {row.get("student", ""): row for row in read_table(STUDENTS)}
    if "" in rows:
        raise SystemExit(f"{STUDENTS.name}: found a row without a name in the column student")
    return rows


def suggestion(name, known):
    """Say which name may have been meant, or nothing."""
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def groups():
    """Return the rows of ``groups.csv`` that have members: a list of ``(members, dealt)``."""
    out = []
    for row in read_table(GROUPS):
        members = [name.strip() for name in row.get("members", "").split(";") if name.strip()]
        dealt = {k: v.split() for k, v in row.items() if k not in ("group", "members") and v}
        if members:
            out.append((members, dealt))
    known = students()
    for members, _ in out:
        for name in members:
            if known and name not in known:
                raise SystemExit(
                    f"{GROUPS.name}: found {name!r}, who is not in {STUDENTS.name}"
                    f"{suggestion(name, known)}"
                )
    names = [name for members, _ in out for name in members]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise SystemExit(f"{GROUPS.name}: found {', '.join(sorted(twice))} in more than one group")
    return out


# --- Dates ------------------------------------------------------------------------------------


def handed_in_at(path, assignment):
    """Return when a folder was handed in, by the ``timestamp.txt`` that collecting wrote.

    One that a student put into an archive is not looked at.
    """
    for file in (path / assignment / STAMP, path / STAMP) if path.is_dir() else ():
        if file.is_file() and not file.is_symlink():
            text = file.read_text(encoding="utf-8", errors="replace").strip()[:60]
            text = re.sub(r" (UTC|GMT)$", "+00:00", text)
            try:
                when = datetime.fromisoformat(text)
            except ValueError:
                return None
            return when if when.tzinfo else when.replace(tzinfo=UTC)
    return None


def penalty(assignment, student, when):
    """Return the share of the points that is taken off for being late, and a message.

    Raises
    ------
    SystemExit
        If ``course.toml`` cannot be read or names a student who is not there.
    """
    if not DATES.exists():
        return 0.0, ""
    try:
        rule = tomllib.loads(DATES.read_text(encoding="utf-8")).get(assignment, {})
        due = _aware(rule["due"]) if "due" in rule else None
        extensions = {k: _aware(v) for k, v in rule.get("extensions", {}).items()}
        per_day, days = float(rule.get("per_day", 0)) / 100, int(rule.get("days", 10**6))
    except (tomllib.TOMLDecodeError, TypeError, ValueError, AttributeError) as error:
        raise SystemExit(f"{DATES.name}, {assignment}: {error}") from None
    known = students()
    for name in extensions:
        if known and name not in known:
            raise SystemExit(f"{DATES.name}: found {name!r}{suggestion(name, known)}")
    due = extensions.get(student, due)
    if due is None:
        return 0.0, ""
    if when is None:
        return 0.0, "when it was handed in is not known; nothing was taken off"
    late = math.ceil((when - due).total_seconds() / 86400)
    if late <= 0:
        return 0.0, ""
    share = 1.0 if late > days else min(1.0, late * per_day)
    return share, f"{late} day{'s' * (late > 1)} late: {share:.0%} taken off"


def _aware(when):
    if not isinstance(when, datetime):
        raise ValueError(f"found {when!r}; expected a date and a time, 2026-12-04T23:59:00+01:00")
    return when if when.tzinfo else when.astimezone()
