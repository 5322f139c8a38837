"""List pairs of submissions whose code is alike: `make similar`.

Names, layout and comments do not count, and neither does what was handed out. The fingerprints are
those of winnowing (Schleimer, Wilkerson and Aiken, 2003), as copydetect makes them. What comes out
is where to look; whether it is a copy, a person says.
"""

import argparse
import io
from itertools import combinations

import numpy as np
from copydetect import CodeFingerprint, compare_files

from assignment.grader import course, questions
from assignment.grader.grade import AUTOGRADED, kept
from assignment.grader.questions import COURSE

K, WINDOW = 20, 8  # characters of normalised code: the shortest match, and the spread of prints


def fingerprint(name, code, given=()):
    """Return the fingerprints of one submission's code."""
    return CodeFingerprint(f"{name}.py", K, WINDOW, given, fp=io.StringIO(code), language="python")


def pairs(codes, given):
    """Return ``(share, one, other)``, the most alike first.

    Parameters
    ----------
    codes : dict
        Student → code.
    given : str
        What was handed out.
    """
    known = np.array([*fingerprint("given", given).hashes]) if given.strip() else ()
    prints = {name: fingerprint(name, code, known) for name, code in codes.items() if code.strip()}
    found = []
    for one, other in combinations(prints, 2):
        _, shares, _ = compare_files(prints[one], prints[other])
        found.append((max(shares), one, other))
    return sorted(found, reverse=True)


def main():
    """Write ``grades/NAME-similar.csv`` and print the most alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=questions.names())
    parser.add_argument("--above", type=float, default=0.6, help="share of one's code; 0 to 1")
    options = parser.parse_args()
    assignment = questions.load(options.name)
    folders = sorted(
        path.parent.parent.name for path in AUTOGRADED.glob(f"*/{options.name}/*.json")
    )
    codes = {student: (kept(options.name, student) or {}).get("code", "") for student in folders}
    members = {frozenset((a, b)) for group, _ in course.groups() for a in group for b in group}
    given = "\n".join(cell.source for cell in assignment.cells if cell.kind == "code")
    found = [
        {"share": round(share, 2), "one": one, "other": other}
        for share, one, other in pairs(codes, given)
        if share >= options.above and frozenset((one, other)) not in members
    ]
    path = COURSE / "grades" / f"{options.name}-similar.csv"
    course.write_table(path, found, ["share", "one", "other"])
    for row in found[:20]:
        print(f"{row['share']:6.0%}  {row['one']}, {row['other']}")
    print(f"{len(found)} pairs of {len(codes)} submissions: {path.relative_to(COURSE.parent)}")


if __name__ == "__main__":
    main()
