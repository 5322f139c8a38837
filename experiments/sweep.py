"""Make the runs that are missing, several at a time, here or on a cluster."""

import dataclasses
import os
from pathlib import Path

import keras
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from tqdm import tqdm

from experiments import store, tasks
from experiments.batches import BATCHES
from experiments.plan import FOLDS
from helpers import training
from helpers.runs import MEMORY_FILES, RUN_FILES, load_tables

BACKENDS = ("loky", "dask")
# What processes read when they start; one thread a process is fastest in all.
ONE_THREAD = (
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


def make(function, work, files, folder, processes=2, backend="loky", scheduler=None):
    """Make runs and keep each as soon as it is finished.

    Stopped at any moment, it loses only the runs under way.

    Parameters
    ----------
    function : callable
        Returns the tables of one run, as :func:`experiments.store.save` takes them.
    work : list of tuple
        The arguments of each call.
    files : dict
        As in :func:`helpers.runs.load_tables`.
    folder : str or Path
    processes : int
        On this machine, one thread each; a cluster uses all its workers.
    backend : str
        Of joblib: ``loky`` for processes of this machine, ``dask`` for a Dask cluster that is
        already there.
    scheduler : str, optional
        Address of the Dask scheduler, ``tcp://host:8786``.

    Raises
    ------
    ValueError
        If the backend is unknown, or Dask is given no scheduler.
    """
    if backend not in BACKENDS:
        raise ValueError(f"found backend {backend!r}; expected one of {', '.join(BACKENDS)}")
    if backend == "dask" and not scheduler:
        raise ValueError("backend dask: found no scheduler; expected its address, tcp://host:8786")
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    options = {"n_jobs": processes} if backend == "loky" else {"scheduler_host": scheduler}
    with parallel_config(backend=backend, **options):
        made = Parallel(return_as="generator_unordered")(delayed(function)(*each) for each in work)
        for tables in tqdm(made, total=len(work), desc="runs", unit="run"):
            store.save(tables, files, folder)
    store.export(files, folder)


def is_recorded(settings, digest, runs):
    """Whether a run of these settings on these data is in the table."""
    same = runs[runs["run"] == settings.name]
    asked = dataclasses.asdict(settings) | {"data": digest}
    return len(same) > 0 and all(
        same.iloc[0].get(key) == (float(f"{value:.6g}") if isinstance(value, float) else value)
        for key, value in asked.items()  # as the store rounds them
    )


def sweep(datasets, planned, folder, files=RUN_FILES, function=None, **options):
    """Make the runs on data sets that are not recorded yet.

    Parameters
    ----------
    datasets : dict of SequenceDataset
        By name.
    planned : list of settings
        :class:`helpers.training.RunSettings`, or those of another kind of run.
    folder : str or Path
    files : dict
        As in :func:`helpers.runs.load_tables`.
    function : callable, optional
        From a data set and settings to the tables of a run; trains a classifier if not given.
    **options
        How many at a time and where, as in :func:`make`.

    Returns
    -------
    int
        How many runs were missing, and made.

    Raises
    ------
    ValueError
        If the folder holds runs on other data, which these would replace.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    store.export(files, folder)  # what an interrupted sweep left
    runs = load_tables(files, folder)["runs"]
    for name, dataset in datasets.items():
        refuse_other_data(folder, runs[runs["dataset"] == name] if len(runs) else runs, dataset)
    missing = [s for s in planned if not is_recorded(s, datasets[s.dataset].digest, runs)]
    work = [(datasets[s.dataset], s) for s in missing]
    make(function or _fit, work, files, folder, **options)
    return len(missing)


def sweep_memory(planned, folder, files=MEMORY_FILES, **options):
    """Make the runs on memory tasks that are not recorded yet.

    Parameters
    ----------
    planned : list of experiments.tasks.TaskSettings
    folder : str or Path
    files : dict
        The tables that they are recorded in, as in :func:`helpers.runs.load_tables`.
    **options
        As in :func:`sweep`.

    Returns
    -------
    int
        How many runs were missing, and made.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    store.export(files, folder)
    # The name says all but the rate, which may have been chosen anew.
    known = load_tables(files, folder)["runs"].set_index("run").get("learning_rate", {})
    missing = [(s,) for s in planned if known.get(s.name) != s.learning_rate]
    make(_train_on_task, missing, files, folder, **options)
    return len(missing)


def refuse_other_data(folder, runs, dataset):
    """Raise ValueError if runs in a folder, or scores, are of other data than these."""
    others = set(runs["data"] if len(runs) else ()) - {dataset.digest}
    if others:
        raise ValueError(
            f"{folder}: found runs on {dataset.name} data {', '.join(sorted(others))}; expected "
            f"{dataset.digest}, the data given: keep runs on other data in another folder"
        )


def fold_of(dataset, split, seed):
    """Return the data set that a run learns from and is tested on.

    Parameters
    ----------
    dataset : SequenceDataset
    split : str
        ``delivered``, as it is; or one of five folds of its train split, drawn ``by_file`` or
        ``by_speaker`` (no speaker in two folds): its test split is not touched then.
    seed : int
        Chooses the fold, ``seed % FOLDS``; the folds are always the same.

    Returns
    -------
    SequenceDataset

    Raises
    ------
    ValueError
        If ``split`` is unknown.
    """
    if split == "delivered":
        return dataset
    train = dataset.train
    if split == "by_file":
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(train.y, train.y)
    elif split == "by_speaker":
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
        folds = folds.split(train.y, train.y, train.groups)
    else:
        raise ValueError(f"found split {split!r}; expected one of delivered, by_file, by_speaker")
    fit, test = list(folds)[seed % FOLDS]
    return dataclasses.replace(dataset, train=train.subset(fit), test=train.subset(test))


def _fit(dataset, settings):
    """Fit in a worker and leave the model there: only tables travel back."""
    dataset = fold_of(dataset, settings.split, settings.seed)
    run = training.fit(dataset, settings, False, BATCHES[settings.batches])
    keras.backend.clear_session()
    return {
        "curves": run.curve,
        "predictions": run.predictions,
        "runs": pd.DataFrame([run.row]),
    }


def _train_on_task(settings):
    row, curve, _ = tasks.train(settings, progress=False)
    return {"runs": pd.DataFrame([row]), "curves": curve}
