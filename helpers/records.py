"""Recorded runs as tables in a folder: CSV, compressed where the name ends in .bz2.

A finished run is stored at once, as one small file of its own among those that are pending; the
pending files are folded into the tables before a sweep and after it. So nothing that is being
written is ever the only copy, and storing costs the same with a thousand runs as with none.
"""

import io
import json
import os
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

BACKENDS = ("loky", "dask", "ray")


def _pending(folder, files):
    """Return the folder of the runs that are not yet in the tables."""
    *_, last = files.values()
    return Path(folder) / "pending" / last.split(".")[0]


def _read(file, **options):
    return pd.read_csv(file, **options)


def load(folder, files):
    """Read the tables of a folder, pending runs included.

    Parameters
    ----------
    folder : str or Path
    files : dict
        ``{name: file name}``; the last is the table with one row a run.

    Returns
    -------
    dict of pandas.DataFrame
        Under the names of ``files``, all with a column ``run``, sorted by it; empty where
        nothing is recorded. A run counts once its row is in the last table, or pending. Of a run
        that is in both, the pending one counts.
    """
    tables = {}
    for name, file in files.items():
        path = Path(folder) / file
        tables[name] = _read(path) if path.exists() else pd.DataFrame({"run": []})
    runs = tables[name]["run"]
    for path in sorted(_pending(folder, files).glob("*.json")):
        texts = json.loads(path.read_text(encoding="utf-8"))
        new = {name: _read(io.StringIO(text)) for name, text in texts.items()}
        for name, table in tables.items():
            kept = table[~table["run"].isin(new[name]["run"])]
            tables[name] = pd.concat([kept, new[name]]) if len(kept) else new[name]
        runs = pd.concat([runs, new[name]["run"]])
    return {
        name: table[table["run"].isin(runs)].sort_values("run", kind="stable", ignore_index=True)
        for name, table in tables.items()
    }


def store(tables, folder, files):
    """Store one run, in one step; it stands for any run of the same name before it.

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        Its rows, under the names of ``files``.
    folder : str or Path
    files : dict
        As in :func:`load`.
    """
    pending = _pending(folder, files)
    pending.mkdir(parents=True, exist_ok=True)
    texts = {name: tables[name].to_csv(index=False, float_format="%.6g") for name in files}
    *_, last = files
    (run,) = tables[last]["run"]
    _replace(pending / f"{run}.json", lambda path: path.write_text(json.dumps(texts), "utf-8"))


def fold(folder, files):
    """Move the pending runs into the tables, the table with one row a run last.

    Parameters
    ----------
    folder, files
        As in :func:`load`.
    """
    pending = sorted(_pending(folder, files).glob("*.json"))
    if not pending:
        return
    for name, table in load(folder, files).items():
        options = {"index": False, "float_format": "%.6g"}
        _replace(Path(folder) / files[name], lambda path, t=table, o=options: t.to_csv(path, **o))
    for path in pending:
        path.unlink()
    pending[0].parent.rmdir()


def _replace(path, write):
    """Write a file beside its place, then put it there in one step."""
    temporary = path.with_name(f".{path.name}")
    write(temporary)
    os.replace(temporary, path)


def sweep(make, work, folder, files, processes=2, backend="loky", scheduler=None):
    """Make runs, several at a time, one thread each, and store each as soon as it is finished.

    Stopped at any moment, it loses only the runs under way.

    Parameters
    ----------
    make : callable
        Returns the tables of one run, as :func:`store` takes them.
    work : list of tuple
        The arguments of each call.
    folder : str or Path
    files : dict
        As in :func:`load`.
    processes : int
        On this machine; a cluster uses all its workers.
    backend : str
        Of joblib: ``loky`` for processes of this machine, ``dask`` for a Dask cluster that is
        already there, ``ray`` for a Ray cluster.
    scheduler : str, optional
        Address of the Dask scheduler (``tcp://host:8786``) or of the Ray cluster.

    Raises
    ------
    ValueError
        If the backend is unknown, or Dask is given no scheduler.
    """
    if backend not in BACKENDS:
        raise ValueError(f"found backend {backend!r}; expected one of {', '.join(BACKENDS)}")
    if backend == "dask" and not scheduler:
        raise ValueError("backend dask: found no scheduler; expected its address, tcp://host:8786")
    # What processes read when they start; one thread a process is fastest in all.
    threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"))
    options = {}
    if backend == "loky":
        options = {"n_jobs": processes}
    elif backend == "dask":
        options = {"scheduler_host": scheduler}
    else:
        import ray
        from ray.util.joblib import register_ray

        ray.init(address=scheduler, ignore_reinit_error=True)
        register_ray()
    fold(folder, files)
    with parallel_config(backend=backend, **options):
        made = Parallel(return_as="generator_unordered")(delayed(make)(*each) for each in work)
        for tables in tqdm(made, total=len(work), desc="runs", unit="run"):
            store(tables, folder, files)
    fold(folder, files)
