"""Sweeps: whatever is killed, no finished run is lost and none is stored twice."""

import dataclasses
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
from dask.distributed import Client
from toys import quick, toy_dataset

from experiments import results, store, sweep
from experiments.baselines import BASELINES, score_baselines
from experiments.costs import makespan, sweep_costs
from experiments.plan import (
    CHANGED,
    FOLDS,
    MEMORY_UNITS,
    PLAN,
    planned_memory_pilots,
    planned_runs,
    planned_symbol_runs,
)
from experiments.tasks import STARTS, TASKS, TaskSettings
from helpers.data import DATA, load_cv_segments, load_handwriting
from helpers.models import ARCHITECTURES
from helpers.runs import MEMORY_FILES, RUN_FILES, load_tables
from helpers.training import split_validation

FILES = {"curves": "curves.csv.bz2", "runs": "runs.csv"}
TESTS = os.path.dirname(__file__)


def one_run(number, seconds=0.0):
    """Return the tables of a run: two epochs and a row, and who made it."""
    time.sleep(seconds)
    name = f"run-{number:02d}"
    curve = pd.DataFrame({"run": name, "epoch": [1, 2], "loss": [1.0, 1 / (number + 1)]})
    row = pd.DataFrame([{"run": name, "square": number**2, "process": os.getpid()}])
    return {"curves": curve, "runs": row}


def assert_complete(folder, n):
    """Check that runs 0 to n - 1 are in the tables, each once and whole."""
    tables = load_tables(FILES, folder)
    assert tables["runs"]["run"].tolist() == [f"run-{k:02d}" for k in range(n)]
    assert tables["runs"]["square"].tolist() == [k**2 for k in range(n)]
    assert tables["curves"]["run"].tolist() == [f"run-{k:02d}" for k in range(n) for _ in range(2)]
    assert tables["curves"]["epoch"].tolist() == [1, 2] * n
    return tables


def waiting(folder):
    """How many finished runs wait to be exported."""
    path = folder / "runs.waiting.sqlite"
    if not path.exists():
        return 0
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT count(*) FROM waiting").fetchone()[0]
    except sqlite3.OperationalError:  # the table is being made
        return 0
    finally:
        database.close()


def test_finished_runs_reach_the_tables_once(tmp_path):
    for k in (2, 0, 1):
        store.save(one_run(k), FILES, tmp_path)
    assert waiting(tmp_path) == 3
    store.export(FILES, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FILES.values())
    assert_complete(tmp_path, 3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    store.save(one_run(1), FILES, tmp_path)  # made again: it takes the old run's place
    store.export(FILES, tmp_path)
    store.export(FILES, tmp_path)  # nothing waits
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("written", [0, 1, 2])
def test_an_export_that_is_killed_is_done_again(tmp_path, monkeypatch, written):
    store.save(one_run(0), FILES, tmp_path)
    store.export(FILES, tmp_path)
    for k in (0, 1):
        store.save(one_run(k), FILES, tmp_path)
    done, replace = [], os.replace

    def killed(*paths):
        if len(done) == written:
            raise KeyboardInterrupt
        done.append(paths)
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr("pathlib.Path.unlink", lambda path: 1 / 0)
        with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
            store.export(FILES, tmp_path)
    store.export(FILES, tmp_path)
    assert_complete(tmp_path, 2)


def test_a_curve_without_its_run_is_not_read(tmp_path):
    pd.DataFrame({"run": ["a", "a", "b"], "loss": 1.0}).to_csv(tmp_path / "curves.csv.bz2")
    assert load_tables(FILES, tmp_path)["curves"].empty
    pd.DataFrame({"run": ["a"]}).to_csv(tmp_path / "runs.csv")
    assert list(load_tables(FILES, tmp_path)["curves"]["run"]) == ["a", "a"]


SWEEP = """
import sys
sys.path.insert(0, {tests!r})
from experiments import results, store, sweep
from helpers.runs import load_tables
from test_sweep import FILES, one_run
store.export(FILES, {folder!r})
known = set(load_tables(FILES, {folder!r})["runs"]["run"])
work = [(k, 0.15) for k in range(12) if f"run-{{k:02d}}" not in known]
sweep.make(one_run, work, FILES, {folder!r}, processes=2)
"""


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_repeats_nothing(tmp_path):
    script = SWEEP.format(tests=TESTS, folder=str(tmp_path))
    running = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    while (found := waiting(tmp_path)) < 3:
        assert running.poll() is None, "finished before it could be killed"
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    store.export(FILES, tmp_path)
    first = load_tables(FILES, tmp_path)["runs"].set_index("run")["process"]
    assert found <= len(first) < 12
    subprocess.run([sys.executable, "-c", script], check=True)
    again = assert_complete(tmp_path, 12)["runs"].set_index("run")["process"]
    assert (again[first.index] == first).all()  # those of the first sweep were not made again


@pytest.fixture
def cluster():
    """A Dask scheduler and two workers on loopback, each a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python, address = [sys.executable, "-m"], f"tcp://127.0.0.1:{port}"
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options["env"] = os.environ | {"PYTHONPATH": TESTS, "OPENBLAS_NUM_THREADS": "1"}
    scheduler = subprocess.Popen(
        [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port),
         "--no-dashboard"], **options
    )  # fmt: skip
    worker = [*python, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard",
              "--no-nanny"]  # fmt: skip
    workers = [subprocess.Popen(worker, **options) for _ in range(2)]
    with Client(address, timeout=120) as client:
        client.wait_for_workers(2, timeout=120)
    yield address, workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


def test_a_dask_worker_that_dies_loses_no_run(tmp_path, cluster):
    address, workers = cluster

    def kill_one():
        while waiting(tmp_path) < 3 and workers[0].poll() is None:
            time.sleep(0.02)
        workers[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    work = [(k, 0.3) for k in range(14)]
    sweep.make(one_run, work, FILES, tmp_path, backend="dask", scheduler=address)
    killer.join()
    assert workers[0].wait() != 0 and workers[1].poll() is None
    made_by = set(assert_complete(tmp_path, 14)["runs"]["process"])
    assert made_by <= {worker.pid for worker in workers}  # on the cluster, not in this process


def test_unknown_backends_and_a_missing_scheduler_are_refused(tmp_path):
    with pytest.raises(ValueError, match="found backend 'slurm'; expected one of loky, dask"):
        sweep.make(one_run, [(1,)], FILES, tmp_path, backend="slurm")
    with pytest.raises(ValueError, match="backend dask: found no scheduler"):
        sweep.make(one_run, [(1,)], FILES, tmp_path, backend="dask")


# --- Runs on data -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy():
    return toy_dataset()


def test_a_sweep_goes_on_where_it_was(toy, tmp_path):
    planned = [quick(seed, max_epochs=1) for seed in (0, 1)]
    toys = {"handwriting": toy}
    assert sweep.sweep(toys, planned[:1], tmp_path, processes=1) == 1
    assert sweep.sweep(toys, planned, tmp_path, processes=1) == 1
    assert sweep.sweep(toys, planned, tmp_path, processes=1) == 0
    tables = load_tables(RUN_FILES, tmp_path)
    assert sorted(tables["runs"]["run"]) == [settings.name for settings in planned]
    assert len(tables["predictions"]) == 2 * (9 + 30)
    # Other settings under the same name: made again, and it takes the old run's place.
    changed = [dataclasses.replace(planned[0], learning_rate=0.01)]
    assert sweep.sweep(toys, changed, tmp_path, processes=1) == 1
    runs = load_tables(RUN_FILES, tmp_path)["runs"]
    assert len(runs) == 2 and 0.01 in runs["learning_rate"].tolist()


def test_a_run_is_found_again_as_its_table_rounds_it(toy):
    settings = quick(0, learning_rate=1 / 300)
    row = dataclasses.asdict(settings) | {"run": settings.name, "data": toy.digest}
    rounded = row | {"learning_rate": float(f"{1 / 300:.6g}")}
    assert sweep.is_recorded(settings, toy.digest, pd.DataFrame([rounded]))
    other = pd.DataFrame([rounded | {"learning_rate": 0.00334}])
    assert not sweep.is_recorded(settings, toy.digest, other)
    # A setting that the table does not know yet: the run is made again.
    older = pd.DataFrame([rounded]).drop(columns="backwards")
    assert not sweep.is_recorded(settings, toy.digest, older)


def test_baselines_of_other_data_are_not_replaced(tmp_path, monkeypatch, toy):
    monkeypatch.setattr(results, "_load", lambda data: [toy])
    columns = ["dataset", "data", "model", "test_accuracy"]

    def score(dataset, limit):
        rows = [(dataset.name, dataset.digest, model, 0.5) for model in ("first", "second")]
        return pd.DataFrame(rows[:limit], columns=columns)

    monkeypatch.setattr(results, "score_baselines", score)
    results.make_baselines(None, tmp_path, None)
    results.make_baselines(None, tmp_path, 1)  # what is not scored again stays
    table = pd.read_csv(tmp_path / "baselines.csv")
    assert table["model"].tolist() == ["first", "second"] and list(table) == columns
    other = dataclasses.replace(toy, digests={"a": {"train": {}}})
    monkeypatch.setattr(results, "_load", lambda data: [other])
    with pytest.raises(ValueError, match=f"found runs on handwriting data {toy.digest}"):
        results.make_baselines(None, tmp_path, None)
    assert pd.read_csv(tmp_path / "baselines.csv").equals(table)


def test_runs_on_other_data_are_not_replaced(toy, tmp_path):
    planned = [quick(0, max_epochs=1)]
    sweep.sweep({"handwriting": toy}, planned, tmp_path, processes=1)
    other = dataclasses.replace(toy, digests={"a": {"train": {}}})
    with pytest.raises(ValueError, match=f"found runs on handwriting data {toy.digest}"):
        sweep.sweep({"handwriting": other}, planned, tmp_path, processes=1)
    assert load_tables(RUN_FILES, tmp_path)["runs"]["data"].tolist() == [toy.digest]


def test_memory_runs_that_are_missing_are_made(tmp_path, monkeypatch):
    planned, made = planned_memory_pilots(32)[:3], []

    def train(settings, progress):
        made.append((settings.name, settings.learning_rate))
        row = {"run": settings.name, "learning_rate": settings.learning_rate, "error": 0.5}
        return row, pd.DataFrame({"run": settings.name, "update": [50], "error": [0.5]}), None

    monkeypatch.setattr("experiments.tasks.train", train)
    assert sweep.sweep_memory(planned[:2], tmp_path, processes=1) == 2
    assert sweep.sweep_memory(planned, tmp_path, processes=1) == 1
    assert sweep.sweep_memory(planned, tmp_path, processes=1) == 0
    assert made == [(settings.name, settings.learning_rate) for settings in planned]
    # A run of the trial does not name its rate: with another it takes the old one's place.
    for rate in (0.01, 0.003):
        run = TaskSettings("adding", "GRU", 32, 25, 1, rate)
        assert sweep.sweep_memory([run], tmp_path, processes=1) == 1
    runs = load_tables(MEMORY_FILES, tmp_path)["runs"].set_index("run")
    assert len(runs) == 4 and runs.loc[run.name, "learning_rate"] == 0.003


def test_pilots_come_before_what_they_choose_rates_for(tmp_path, monkeypatch):
    made = []

    def sweep_memory(planned, out, **options):
        made.append(planned)
        return len(planned)

    monkeypatch.setattr(results, "sweep_memory", sweep_memory)
    rates = {(t, m, n): 0.003 for t in TASKS for m in STARTS for n in MEMORY_UNITS}
    monkeypatch.setattr(results, "chosen_rates", lambda tables: rates)
    assert results.make_memory_runs(tmp_path, 2) == (2, 2)
    made.clear()
    _, planned = results.make_memory_runs(tmp_path, None)
    assert [len(part) for part in made] == [126, 546, 672, 1092] and planned == 1092
    assert all(s.pilot for s in made[0]) and not any(s.pilot for s in made[1][126:])
    assert {s.units for s in made[1]} == {MEMORY_UNITS[0]}
    names = [settings.name for settings in made[-1]]
    assert len(set(names)) == len(names)


# --- The plan ---------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [planned_runs(), planned_symbol_runs()], ids=["data", "symbols"])
def test_every_planned_run_has_a_name_of_its_own(runs):
    names = [settings.name for settings in runs]
    assert len(set(names)) == len(names)


def test_the_plan_trains_every_network_of_the_report_the_same_number_of_times():
    for protocol in ("validated", "report"):
        runs = planned_runs([protocol])
        for dataset, numbers in ARCHITECTURES.items():
            here = [(s.layer, s.architecture) for s in runs if s.dataset == dataset]
            each = {here.count(network) for network in here}
            assert len(set(here)) == 3 * len(numbers) and len(each) == 1


def test_one_change_at_a_time():
    settings = {(row.protocol, row.dataset): row.settings for row in PLAN}
    changed = {
        "weighted": {"class_weights": True},
        "weighted_folds": {"class_weights": True, "split": "by_file"},
        "new_speakers": {"split": "by_speaker"},
    }
    for dataset, changes in CHANGED.items():
        validated = settings["validated", dataset].items()
        for protocol, change in (changed | changes).items():
            if (protocol, dataset) in settings:
                assert dict(settings[protocol, dataset].items() - validated) == change


def test_folds_by_speaker_keep_every_speaker_on_one_side():
    dataset = load_cv_segments(DATA / "sample")
    for split in ("by_file", "by_speaker"):
        tested = []
        for seed in range(FOLDS):
            fold = sweep.fold_of(dataset, split, seed)
            train, test = fold.train, fold.test
            shared = set(train.groups) & set(test.groups)
            assert bool(shared) == (split == "by_file")
            fit, held = split_validation(train, 0.1, seed, by_speaker=split == "by_speaker")
            assert bool(set(fit.groups) & set(held.groups)) == (split == "by_file")
            assert not set(train.files) & set(test.files)
            tested += test.files
        assert sorted(tested) == sorted(dataset.train.files)  # each once, and no test file
    with pytest.raises(ValueError, match="found split 'other'; expected one of delivered, by_file"):
        sweep.fold_of(dataset, "other", 0)


# --- What follows from runs -------------------------------------------------------------------


def test_what_a_sweep_costs():
    seconds = [4, 1, 1, 1, 1, 6]
    assert makespan(seconds, 1) == 14
    assert makespan(seconds, 2) == 10  # 4, then 6; beside it 1 four times
    assert makespan(seconds, 200) == 6
    runs = pd.DataFrame(
        {"protocol": ["b"] * 4 + ["a"] * 2, "seconds": [3600.0 * s for s in seconds]}
    )
    costs = sweep_costs(runs, (2,))
    assert costs["protocol"].tolist() == ["b", "a", "all"] and costs["runs"].tolist() == [4, 2, 6]
    assert costs["core hours"].tolist() == [7, 7, 14]
    assert costs["hours on 2 cores"].tolist() == [4, 6, 10]


@pytest.mark.slow
def test_baselines_are_chosen_on_train_and_scored_on_the_test_split():
    dataset = load_handwriting(DATA / "sample")
    small = dataclasses.replace(
        dataset,
        train=dataset.train.subset(range(0, len(dataset.train), 4)),
        test=dataset.test.subset(range(0, len(dataset.test), 2)),
    )
    scores = score_baselines(small).set_index("model")
    assert list(scores.index) == [baseline.name for baseline in BASELINES["handwriting"]]
    assert scores.loc["majority class", "test_accuracy"] == pytest.approx(0.2)
    assert (scores["test_accuracy"][3:] > 0.7).all()
    assert scores.loc["logistic regression", "parameters"] in ("C 0.1", "C 1", "C 10")
    turned = dataclasses.replace(small.test, y=(small.test.y + 1) % 5)
    wrong = score_baselines(dataclasses.replace(small, test=turned), 4).set_index("model")
    assert wrong["folds_accuracy"].equals(scores["folds_accuracy"][:4])
    assert wrong["test_accuracy"].iloc[-1] < 0.3
