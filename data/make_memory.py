"""Record the runs of the adding problem and the copy task: ``make memory``.

Stopped at any moment and started again, it goes on where it was. Needs no data.
"""

import argparse

from helpers.memory import RESULTS, grid, sweep


def main():
    """Parse the command line and sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=RESULTS, help="where the tables are kept")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    made = sweep(grid(), arguments.out, arguments.processes)
    print(f"{made} runs made; all {len(grid())} are recorded")


if __name__ == "__main__":
    main()
