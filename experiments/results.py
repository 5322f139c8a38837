"""Make what is recorded in ``data/results``: ``make results``, ``memory``, ``symbols`` and so on.

Stopped at any moment and started again, it goes on where it was.
"""

import argparse
from pathlib import Path

import pandas as pd

from experiments.baselines import score_baselines
from experiments.costs import sweep_costs
from experiments.plan import PLAN, planned_memory_runs, planned_runs, planned_symbol_runs
from experiments.sweep import BACKENDS, sweep, sweep_memory, sweep_symbols
from helpers.data import load_cv_segments, load_handwriting
from helpers.runs import RESULTS, RUN_FILES, load_tables


def make_runs(data, out, protocols, limit, **options):
    """Make runs on both data sets, then what they cost."""
    datasets = {d.name: d for d in _load(data)}
    planned = planned_runs(protocols)[:limit]
    made = sweep(datasets, planned, out, **options)
    costs = sweep_costs(load_tables(RUN_FILES, out)["runs"])
    costs.to_csv(Path(out) / "costs.csv", index=False, float_format="%.2f")
    return made, len(planned)


def make_baselines(data, out, limit):
    """Score the models without recurrence on both data sets."""
    scores = pd.concat(score_baselines(dataset, limit) for dataset in _load(data))
    Path(out).mkdir(parents=True, exist_ok=True)
    scores.to_csv(Path(out) / "baselines.csv", index=False, float_format="%.6g")
    return scores


def _load(data):
    datasets = load_handwriting(data), load_cv_segments(data)
    for dataset in datasets:
        dataset.summary()
    return datasets


def make_memory_runs(out, limit, **options):
    """Make runs on the memory tasks, which need no data."""
    planned = planned_memory_runs()[:limit]
    return sweep_memory(planned, out, **options), len(planned)


def make_symbol_runs(data, out, limit, **options):
    """Make runs on utterances of several CV segments."""
    dataset = load_cv_segments(data)
    dataset.summary()
    planned = planned_symbol_runs()[:limit]
    return sweep_symbols(dataset, planned, out, **options), len(planned)


def main(arguments=None):
    """Parse the command line and sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = ("data", "memory", "symbols", "baselines")
    parser.add_argument("kind", choices=kinds, help="what to make")
    parser.add_argument("--data", help="a folder or zip with both data sets")
    parser.add_argument("--out", default=RESULTS, help="where the tables are kept")
    names = list(dict.fromkeys(row.protocol for row in PLAN))
    parser.add_argument("--protocols", nargs="+", choices=names, default=names)
    parser.add_argument("--limit", type=int, help="only the first so many of the plan")
    parser.add_argument("--processes", type=int, default=2, help="on this machine")
    parser.add_argument("--backend", choices=BACKENDS, default="loky")
    parser.add_argument("--scheduler", help="address of a Dask scheduler")
    given = parser.parse_args(arguments)
    where = {name: getattr(given, name) for name in ("processes", "backend", "scheduler")}
    try:
        if given.kind == "baselines":
            print(make_baselines(given.data, given.out, given.limit).to_string(index=False))
            return
        if given.kind == "data":
            made, planned = make_runs(given.data, given.out, given.protocols, given.limit, **where)
        elif given.kind == "symbols":
            made, planned = make_symbol_runs(given.data, given.out, given.limit, **where)
        else:
            made, planned = make_memory_runs(given.out, given.limit, **where)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(f"{made} runs made; all {planned} are recorded")


if __name__ == "__main__":
    main()
