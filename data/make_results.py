"""Make the recorded runs in ``data/results``: ``make results DATA=…``.

Stopped at any moment and started again, it goes on where it was.
"""

import argparse
import itertools
from pathlib import Path

import pandas as pd

from helpers.data import load_cv_segments, load_handwriting
from helpers.evaluation import score_baselines
from helpers.models import ARCHITECTURES
from helpers.training import RESULTS, config, sweep

SEEDS = range(3)
CELLS = ("SimpleRNN", "LSTM")


def grid():
    """Return every configuration that is recorded, one seed of all before the next seed."""
    return [
        config(dataset, cell, architecture, seed)
        for seed, dataset, cell in itertools.product(SEEDS, ARCHITECTURES, CELLS)
        for architecture in ARCHITECTURES[dataset]
    ]


def main():
    """Parse the command line and sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a folder or zip with both data sets")
    parser.add_argument("--out", default=RESULTS, help="where the tables are kept")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    datasets = {
        "handwriting": load_handwriting(arguments.data),
        "cv_segments": load_cv_segments(arguments.data),
    }
    for dataset in datasets.values():
        dataset.summary()
    try:
        made = sweep(datasets, grid(), arguments.out, arguments.processes)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    baselines = pd.concat(map(score_baselines, datasets.values()))
    baselines.to_csv(Path(arguments.out) / "baselines.csv", index=False, float_format="%.6g")
    print(f"{made} runs made; all {len(grid())} are recorded")


if __name__ == "__main__":
    main()
