"""Deal a subset of the classes to each group, as the report's course did: `make groups N=25`."""

import argparse
import csv
from itertools import combinations

import numpy as np

from assignment.grader import questions
from assignment.grader.course import GROUPS
from assignment.grader.questions import COURSE


def deal(classes, groups, size, rng):
    """Deal subsets so that every class is used about equally often.

    Parameters
    ----------
    classes : sequence of str
    groups : int
    size : int
        Classes for each group.
    rng : numpy.random.Generator

    Returns
    -------
    list of tuple of str
        In the order of ``classes``. No subset comes again before all have come.
    """
    if not 1 < size <= len(classes):
        raise SystemExit(f"found {size} classes for a group; expected 2 to {len(classes)}")
    used = dict.fromkeys(classes, 0)
    out, left = [], []
    for _ in range(groups):
        if not left:
            left = list(combinations(classes, size))
            left = [left[i] for i in rng.permutation(len(left))]
        best = min(left, key=lambda subset: sum(used[c] ** 2 for c in subset))
        left.remove(best)
        out.append(best)
        for name in best:
            used[name] += 1
    return out


def deal_pairs(classes, groups, size, seed):
    """Deal subsets of every data set, no pair of subsets twice while there are others.

    Parameters
    ----------
    classes : dict
        Name → class names.
    groups, size, seed : int
        With a size of 0, five classes, or all but one if there are five or fewer.

    Returns
    -------
    list of dict
        Name → subset, one dict for each group.
    """
    rng = np.random.default_rng(seed)
    dealt = {
        name: deal(names, groups, size or min(5, len(names) - 1), rng)
        for name, names in classes.items()
    }
    first, second = classes
    rows, seen = [], set()
    waiting = list(dealt[second])
    for one in dealt[first]:
        fresh = (k for k, other in enumerate(waiting) if (one, other) not in seen)
        other = waiting.pop(next(fresh, 0))
        seen.add((one, other))
        rows.append({first: one, second: other})
    return rows


def main():
    """Write ``groups.csv``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int, help="of groups")
    parser.add_argument("--size", type=int, default=0, help="classes for each group")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.number < 1:
        raise SystemExit(f"found {options.number} groups; expected at least 1")
    if GROUPS.exists():
        raise SystemExit(f"{GROUPS}: already there; move it away to deal again")
    module = questions.load("sequence-learning", released=False).module
    names = {dataset.name: dataset.classes for dataset in module.datasets()}
    rows = deal_pairs(names, options.number, options.size, options.seed)
    with open(GROUPS, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["group", *names, "members"])
        for number, row in enumerate(rows, 1):
            writer.writerow([number, *(" ".join(row[name]) for name in names), ""])
            print(f"{number:4}  " + "   |   ".join(" ".join(row[name]) for name in names))
    print(f"\nWritten: {GROUPS.relative_to(COURSE.parent)}. Put the members of each group into its")
    print("last column, separated by semicolons, under the names they hand in with.")


if __name__ == "__main__":
    main()
