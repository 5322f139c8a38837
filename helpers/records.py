"""Recorded runs as tables in a folder: CSV, compressed where the name ends in .gz."""

import os
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm


def load(folder, files):
    """Read the tables of a folder.

    Parameters
    ----------
    folder : str or Path
    files : dict
        ``{name: file name}``; the last is the table with one row a run.

    Returns
    -------
    dict of pandas.DataFrame
        Under the names of ``files``, all with a column ``run``; empty where nothing is recorded.
        A run counts once its row is in the last table.
    """
    tables = {}
    for name, file in files.items():
        path = Path(folder) / file
        tables[name] = pd.read_csv(path) if path.exists() else pd.DataFrame({"run": []})
    runs = tables[name]["run"]
    return {name: table[table["run"].isin(runs)] for name, table in tables.items()}


def store(tables, folder, files):
    """Add one run to the tables, its row last, each file replaced in one step.

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        What is added, under the names of ``files``. Rows of a run of the same name are replaced.
    folder : str or Path
    files : dict
        As in :func:`load`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recorded = load(folder, files)
    for name, file in files.items():
        new = tables[name]
        kept = recorded[name][~recorded[name]["run"].isin(new["run"])]
        table = pd.concat([kept, new], ignore_index=True) if len(kept) else new
        compression = {"method": "gzip", "mtime": 0} if file.endswith(".gz") else None
        temporary = folder / f".{file}"
        table.to_csv(temporary, index=False, float_format="%.6g", compression=compression)
        os.replace(temporary, folder / file)


def sweep(make, work, folder, files, processes):
    """Make runs, several processes of one thread each, and store each as soon as it is finished.

    Stopped, it loses only the runs under way.

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
    """
    # What workers read when they start; one thread a process is fastest in all.
    threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"))
    parallel = Parallel(n_jobs=processes, return_as="generator_unordered")
    made = parallel(delayed(make)(*arguments) for arguments in work)
    for tables in tqdm(made, total=len(work), desc="runs", unit="run"):
        store(tables, folder, files)
