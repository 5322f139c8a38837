"""Sweeps: whatever is killed, no finished run is lost and none is stored twice."""

import os
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
from dask.distributed import Client

from helpers import records

FILES = {"curves": "curves.csv.bz2", "runs": "runs.csv"}


def one_run(number, seconds=0.0):
    """Return the tables of a run: two epochs and a row, and who made it."""
    time.sleep(seconds)
    name = f"run-{number:02d}"
    curve = pd.DataFrame({"run": name, "epoch": [1, 2], "loss": [1.0, 1 / (number + 1)]})
    row = pd.DataFrame([{"run": name, "square": number**2, "process": os.getpid()}])
    return {"curves": curve, "runs": row}


def assert_complete(tables, n):
    assert tables["runs"]["run"].tolist() == [f"run-{k:02d}" for k in range(n)]
    assert tables["runs"]["square"].tolist() == [k**2 for k in range(n)]
    assert tables["curves"]["run"].tolist() == [f"run-{k:02d}" for k in range(n) for _ in range(2)]
    assert tables["curves"]["epoch"].tolist() == [1, 2] * n


def test_stored_runs_are_read_before_and_after_folding(tmp_path):
    for k in (2, 0, 1):
        records.store(one_run(k), tmp_path, FILES)
    assert_complete(records.load(tmp_path, FILES), 3)
    records.fold(tmp_path, FILES)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == sorted(FILES.values())
    assert_complete(records.load(tmp_path, FILES), 3)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.csv*")}
    records.store(one_run(1), tmp_path, FILES)  # made again: it takes the old run's place
    records.fold(tmp_path, FILES)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.csv*")} == before


@pytest.mark.parametrize("written", range(1, len(FILES) + 1))
def test_folding_that_is_killed_between_two_tables_is_done_again(tmp_path, monkeypatch, written):
    records.store(one_run(0), tmp_path, FILES)
    records.fold(tmp_path, FILES)
    for k in (0, 1):
        records.store(one_run(k), tmp_path, FILES)
    replace = records._replace
    done = []

    def killed(path, write):
        if len(done) == written:
            raise KeyboardInterrupt
        done.append(path)
        replace(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(records, "_replace", killed)
        if written < len(FILES):
            with pytest.raises(KeyboardInterrupt):
                records.fold(tmp_path, FILES)
        else:  # the tables are written, the pending files not yet removed
            patch.setattr("pathlib.Path.unlink", lambda path: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                records.fold(tmp_path, FILES)
    assert_complete(records.load(tmp_path, FILES), 2)
    records.fold(tmp_path, FILES)
    assert_complete(records.load(tmp_path, FILES), 2)


SWEEP = """
import sys
sys.path.insert(0, {tests!r})
from helpers import records
from test_records import FILES, one_run
known = set(records.load({folder!r}, FILES)["runs"]["run"])
work = [(k, 0.15) for k in range(12) if f"run-{{k:02d}}" not in known]
records.sweep(one_run, work, {folder!r}, FILES, processes=2)
"""


def test_a_killed_sweep_goes_on_and_repeats_nothing(tmp_path):
    script = SWEEP.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    sweep = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    pending = tmp_path / "pending" / "runs"
    while not (found := len(list(pending.glob("run-*.json")))) >= 3:
        assert sweep.poll() is None, "finished before it could be killed"
        time.sleep(0.02)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait()
    first = records.load(tmp_path, FILES)["runs"].set_index("run")["process"]
    assert found <= len(first) < 12
    subprocess.run([sys.executable, "-c", script], check=True)
    tables = records.load(tmp_path, FILES)
    assert_complete(tables, 12)
    again = tables["runs"].set_index("run")["process"]
    assert (again[first.index] == first).all()  # those of the first sweep were not made again
    assert not pending.exists()


@pytest.fixture
def cluster():
    """A Dask scheduler and two workers on loopback, each a process of its own."""
    python = [sys.executable, "-m"]
    address = "tcp://127.0.0.1:18786"
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    tests = os.path.dirname(__file__)
    options["env"] = os.environ | {"PYTHONPATH": tests, "OPENBLAS_NUM_THREADS": "1"}
    scheduler = subprocess.Popen(
        [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "18786",
         "--no-dashboard"], **options
    )  # fmt: skip
    worker = [*python, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard",
              "--no-nanny"]  # fmt: skip
    workers = [subprocess.Popen(worker, **options) for _ in range(2)]
    with Client(address, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
    yield address, workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


def test_a_dask_worker_that_dies_loses_no_run(tmp_path, cluster):
    address, workers = cluster
    pending = tmp_path / "pending" / "runs"

    def kill_one():
        while len(list(pending.glob("run-*.json"))) < 3:
            time.sleep(0.02)
        workers[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    work = [(k, 0.3) for k in range(14)]
    records.sweep(one_run, work, tmp_path, FILES, backend="dask", scheduler=address)
    killer.join()
    assert workers[0].wait() != 0 and workers[1].poll() is None
    tables = records.load(tmp_path, FILES)
    assert_complete(tables, 14)
    # Both workers made some, and not this process.
    assert set(tables["runs"]["process"]) == {worker.pid for worker in workers}


def test_unknown_backends_and_a_missing_scheduler_are_refused(tmp_path):
    with pytest.raises(ValueError, match="found backend 'slurm'; expected one of loky, dask, ray"):
        records.sweep(one_run, [(1,)], tmp_path, FILES, backend="slurm")
    with pytest.raises(ValueError, match="backend dask: found no scheduler"):
        records.sweep(one_run, [(1,)], tmp_path, FILES, backend="dask")
