"""Make what is recorded in ``data/results``.

``make results``, ``memory``, ``scans``, ``writing``, ``symbols``, ``baselines``.

Stopped at any moment and started again, it goes on where it was.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import pandas as pd

from experiments import pen, scan_costs, utterances, writing
from experiments.baselines import score_baselines
from experiments.costs import sweep_costs
from experiments.plan import (
    MEMORY_UNITS,
    PLAN,
    chosen_rates,
    planned_memory_pilots,
    planned_memory_runs,
    planned_runs,
    planned_scan_pilots,
    planned_scan_runs,
    planned_symbol_runs,
    planned_writing_runs,
)
from experiments.sweep import BACKENDS, refuse_other_data, sweep, sweep_memory
from helpers.data import load_cv_segments, load_handwriting
from helpers.runs import (
    MEMORY_FILES,
    RESULTS,
    RUN_FILES,
    SCAN_FILES,
    SYMBOL_FILES,
    WRITING_FILES,
    load_tables,
)


def make_runs(data, out, limit, protocols, **options):
    """Make runs on both data sets, then what they cost."""
    datasets = {d.name: d for d in _load(data)}
    planned = planned_runs(protocols)[:limit]
    made = sweep(datasets, planned, out, **options)
    costs = sweep_costs(load_tables(RUN_FILES, out)["runs"])
    costs.to_csv(Path(out) / "costs.csv", index=False, float_format="%.2f")
    return made, len(planned)


def make_baselines(data, out, limit):
    """Score the models without recurrence on both data sets."""
    datasets, path = _load(data), Path(out) / "baselines.csv"
    old = pd.read_csv(path) if path.exists() else pd.DataFrame({"dataset": [], "model": []})
    for dataset in datasets:
        refuse_other_data(out, old[old["dataset"] == dataset.name], dataset)
    scores = pd.concat(score_baselines(dataset, limit) for dataset in datasets)
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = ["dataset", "model"]
    kept = old[~old.set_index(keys).index.isin(scores.set_index(keys).index)]
    table = pd.concat([scores, kept]) if len(kept) else scores
    table.to_csv(path, index=False, float_format="%.6g")
    return scores


def _load(data):
    datasets = load_handwriting(data), load_cv_segments(data)
    for dataset in datasets:
        dataset.summary()
    return datasets


def make_memory_runs(out, limit, **options):
    """Make runs on the memory tasks, which need no data, width by width: pilots, then the trial."""
    planned, made = [], 0
    for units in MEMORY_UNITS:
        planned += planned_memory_pilots(units)
        made += sweep_memory(planned[:limit], out, **options)
        if limit is not None and limit <= len(planned):
            break
        planned += planned_memory_runs(units, chosen_rates(load_tables(MEMORY_FILES, out)))
        made += sweep_memory(planned[:limit], out, **options)
    return made, len(planned[:limit])


def make_scan_runs(out, limit, **options):
    """Make runs of linear recurrences on tasks, pilots first, and measure what a layer costs."""
    planned = planned_scan_pilots()
    made = sweep_memory(planned[:limit], out, SCAN_FILES, **options)
    if limit is None or limit > len(planned):
        planned += planned_scan_runs(chosen_rates(load_tables(SCAN_FILES, out)))
        made += sweep_memory(planned[:limit], out, SCAN_FILES, **options)
    if limit is None:
        scan_costs.sweep(out)
    return made, len(planned[:limit])


def make_symbol_runs(data, out, limit, **options):
    """Make runs on utterances of several CV segments."""
    dataset = load_cv_segments(data)
    dataset.summary()
    planned = planned_symbol_runs()[:limit]
    datasets = {dataset.name: dataset}
    made = sweep(datasets, planned, out, SYMBOL_FILES, utterances.run, **options)
    return made, len(planned)


def make_writing_runs(data, out, limit, **options):
    """Make runs of networks that write, and what they are held against."""
    dataset = load_handwriting(data)
    dataset.summary()
    judges = writing.Judges(dataset)
    references = writing.references(dataset, judges)  # first: they refuse data that are too few
    planned = planned_writing_runs()[:limit]
    function = partial(writing.run, judges=judges)
    made = sweep({dataset.name: dataset}, planned, out, WRITING_FILES, function, **options)
    references.to_csv(Path(out) / "writing_references.csv", index=False, float_format="%.6g")
    path = Path(out) / "writer.json"
    if not path.exists() or json.loads(path.read_text(encoding="utf-8"))["data"] != dataset.digest:
        page = writing.page_network(dataset, judges)
        page["shapes"] = [w.shape for w in page["weights"]]
        page["weights"] = pen.packed(page["weights"])
        text = json.dumps(page, separators=(",", ":"))
        path.write_text(text + "\n", encoding="utf-8")
    return made, len(planned)


def main(arguments=None):
    """Parse the command line and sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = ("data", "memory", "scans", "writing", "symbols", "baselines")
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
    makers = {
        "data": partial(make_runs, given.data, protocols=given.protocols),
        "memory": make_memory_runs,
        "scans": make_scan_runs,
        "writing": partial(make_writing_runs, given.data),
        "symbols": partial(make_symbol_runs, given.data),
    }
    try:
        if given.kind == "baselines":
            print(make_baselines(given.data, given.out, given.limit).to_string(index=False))
            return
        made, planned = makers[given.kind](given.out, given.limit, **where)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(f"{made} runs made; all {planned} are recorded")


if __name__ == "__main__":
    main()
