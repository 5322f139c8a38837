"""Make the recorded runs in ``data/results``: ``make results DATA=…``.

Stopped at any moment and started again, it goes on where it was.
"""

import argparse
from pathlib import Path

import pandas as pd

from helpers import records
from helpers.data import load_cv_segments, load_handwriting
from helpers.evaluation import score_baselines
from helpers.models import ARCHITECTURES, CELLS, REPORTED
from helpers.training import FOLDS, PROTOCOLS, RESULTS, config, sweep

SEEDS = {"validated": 10, "report": 5, "known_speakers": FOLDS, "new_speakers": FOLDS}


def grid(protocols=tuple(SEEDS)):
    """Return every configuration that is recorded, one seed of all before the next seed.

    Parameters
    ----------
    protocols : sequence of str
        Keys of :data:`helpers.training.PROTOCOLS`.

    Returns
    -------
    list of helpers.training.RunConfig
    """
    return [
        settings
        for seed in range(max(SEEDS.values()))
        for protocol in protocols
        if seed < SEEDS[protocol]
        for dataset in PROTOCOLS[protocol]
        for settings in models(dataset, seed, protocol)
    ]


def models(dataset, seed, protocol):
    """Return the configurations of all models of one data set, seed and protocol."""
    return [
        config(dataset, cell, architecture, seed, protocol)
        for cell in CELLS
        for architecture in REPORTED
    ]


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
    print(f"{made} runs made; all {len(configs)} are recorded")


if __name__ == "__main__":
    main()
