"""What recorded runs cost, and would cost on more cores."""

import heapq

import pandas as pd


def makespan(seconds, processes):
    """Return when the last of some runs ends, if each free process takes the next in line.

    Parameters
    ----------
    seconds : sequence of float
        What each run takes, in the order of the sweep.
    processes : int

    Returns
    -------
    float
        Seconds from the start of the first run. A sweep cannot take less than its longest run.
    """
    free = [0.0] * processes
    for duration in seconds:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def sweep_costs(runs, processes=(2, 16, 200)):
    """Compute what recorded runs cost, and would cost on more cores.

    Parameters
    ----------
    runs : pandas.DataFrame
        With the columns ``protocol`` and ``seconds``, measured in processes of one thread each.
    processes : sequence of int

    Returns
    -------
    pandas.DataFrame
        A row per protocol and one for all: runs, core hours, and hours from start to end.
    """
    parts = [*runs.groupby("protocol", sort=False), ("all", runs)]
    return pd.DataFrame(
        [
            {"protocol": name, "runs": len(part), "core hours": part["seconds"].sum() / 3600}
            | {f"hours on {n} cores": makespan(part["seconds"], n) / 3600 for n in processes}
            for name, part in parts
        ]
    )
