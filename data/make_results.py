"""Make the recorded runs in ``data/results``: ``make results DATA=…``.

Stopped at any moment and started again, it goes on where it was.
"""

import argparse
from pathlib import Path

import pandas as pd

from helpers import records
from helpers.data import load_cv_segments, load_handwriting
from helpers.evaluation import score_baselines, sweep_costs
from helpers.training import RESULTS, SEEDS, grid, load_results, sweep


def main():
    """Parse the command line and sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a folder or zip with both data sets")
    parser.add_argument("--out", default=RESULTS, help="where the tables are kept")
    parser.add_argument("--protocols", nargs="+", choices=SEEDS, default=list(SEEDS))
    parser.add_argument("--processes", type=int, default=2, help="on this machine")
    parser.add_argument("--backend", choices=records.BACKENDS, default="loky")
    parser.add_argument("--scheduler", help="address of a Dask scheduler or a Ray cluster")
    arguments = parser.parse_args()
    datasets = {
        "handwriting": load_handwriting(arguments.data),
        "cv_segments": load_cv_segments(arguments.data),
    }
    for dataset in datasets.values():
        dataset.summary()
    configs = grid(arguments.protocols)
    try:
        made = sweep(
            datasets,
            configs,
            arguments.out,
            processes=arguments.processes,
            backend=arguments.backend,
            scheduler=arguments.scheduler,
        )
    except ValueError as error:
        raise SystemExit(str(error)) from None
    baselines = pd.concat(map(score_baselines, datasets.values()))
    baselines.to_csv(Path(arguments.out) / "baselines.csv", index=False, float_format="%.6g")
    costs = sweep_costs(load_results(arguments.out)["runs"])
    costs.to_csv(Path(arguments.out) / "costs.csv", index=False, float_format="%.2f")
    print(f"{made} runs made; all {len(configs)} are recorded")


if __name__ == "__main__":
    main()
