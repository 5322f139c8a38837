"""From numbers to findings: tests, and what one or several of them say about a claim.

The tests ask of recorded runs, whose seeds and files are shared, and of printed counts, whose files
are not known.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from helpers.runs import RUN_FILES, crossed_error, load_tables, p_of

LEVEL = 0.05


class Found(NamedTuple):
    """What one piece of evidence says about a claim.

    Attributes
    ----------
    finding : str
        ``for``, ``against`` or ``open``.
    numbers : dict
        What a sentence about it may quote.
    tests : tuple of (float, float)
        Effect and p of each test that decided, so that a recount can decide again. A positive
        effect speaks for the claim.
    every : bool
        Whether the claim needs every test, instead of any.
    """

    finding: str
    numbers: dict
    tests: tuple = ()
    every: bool = False


def decide(tests, level=LEVEL, every=False):
    """Return the finding of one or more tests.

    Parameters
    ----------
    tests : sequence of (effect, p)
    level : float
        A test counts if its p is below.
    every : bool
        Whether all tests have to count for the claim, and one that counts against it is enough;
        otherwise those that count have to agree.

    Returns
    -------
    str
    """
    signs = [effect > 0 for effect, p in tests if p < level]
    if not signs or (len(set(signs)) == 2 and not every):
        return "open"
    if not all(signs):
        return "against"
    return "open" if every and len(signs) < len(tests) else "for"


def fact(true, **numbers):
    """Return what a computation says that comes out true or false."""
    return Found("for" if true else "against", numbers)


def tested(*tests, every=False, **numbers):
    """Return what tests say; with one test, its effect and p are among the numbers."""
    if len(tests) == 1:
        numbers = {"effect": tests[0][0], "p": words_of(tests[0][1]), **numbers}
    return Found(decide(tests, every=every), numbers, tests, every)


def tested_everywhere(tests, **numbers):
    """Return what tests say about a claim that needs every one of them.

    That all effects are positive is as sure as the least sure of them. That some effect is negative
    is one finding among several, so these p are corrected by Holm's method.

    Parameters
    ----------
    tests : sequence of (effect, p)
    """
    corrected = zip(tests, holm([p for _, p in tests]), strict=True)
    return tested(*((e, p if e > 0 else q) for (e, p), q in corrected), every=True, **numbers)


def tested_somewhere(tests, **numbers):
    """Return what tests say about a claim that one of them can prove, and none can disprove.

    The surest positive effect decides, its p corrected by Holm's method for all that were tried.

    Parameters
    ----------
    tests : sequence of (effect, p)
    """
    corrected = holm([p if effect > 0 else 1.0 for effect, p in tests])
    surest = min(range(len(tests)), key=corrected.__getitem__)
    return tested((float(tests[surest][0]), corrected[surest]), **numbers)


def holm(p):
    """Correct several p for their number by Holm's method; returns a list."""
    return multipletests(p, method="holm")[1].tolist()


def words_of(p):
    """Write a p."""
    return "p below 0.001" if p < 0.001 else f"p = {p:.3f}"


# --- Tests ------------------------------------------------------------------------------------


def crossed(plus, minus=None):
    """Test whether a mean over seeds and files is zero, for further seeds and further files.

    The test of :func:`helpers.runs.crossed_test`, of one table or of the difference between two
    whose files are not the same.

    Parameters
    ----------
    plus, minus
        As in :func:`helpers.runs.crossed_error`.

    Returns
    -------
    effect, p : float
    """
    found = crossed_error(plus, minus)
    return found[0], p_of(*found)


def words_of_interval(effect, error, freedom, level=LEVEL):
    """Write the interval of a mean from its standard error."""
    half = stats.t.isf(level / 2, freedom) * error
    return f"{effect - half:+.3f} to {effect + half:+.3f}"


def mcnemar(only_first, only_second):
    """Return McNemar's exact p for what only one of two gets right."""
    n = only_first + only_second
    return float(stats.binomtest(int(only_first), int(n)).pvalue) if n else 1.0


class Sooner(NamedTuple):
    """What :func:`sooner` says.

    Attributes
    ----------
    share : float
        Of all pairs of runs, one of each kind: those in which the first was sooner, and half of
        those that cannot be told.
    p : float
        Exact and two-sided.
    least : float
        The smallest share above one half with a p of at most :data:`LEVEL`; not a number if so few
        runs can show nothing.
    """

    share: float
    p: float
    least: float


def sooner(first, second, strata):
    """Test whether runs of one kind solve their task sooner than runs of another.

    Gehan's (1965) form of the Wilcoxon test: a run that solved its task was sooner than one that
    solved it later, or had not by then when it ended; two that did not solve it cannot be told.
    Runs are compared with those of their stratum alone. Under the hypothesis any five of ten runs
    of a stratum could be the first kind's; all such choices are counted, ties as they are.

    Parameters
    ----------
    first, second : pandas.DataFrame
        A row a run, with ``solved`` and ``updates``.
    strata : list of str
        Columns in which runs that are compared agree.

    Returns
    -------
    Sooner

    Raises
    ------
    ValueError
        If a stratum has runs of one kind only.
    """
    others, null, net, pairs = dict(iter(second.groupby(strata))), np.ones(1), 0, 0
    for stratum, runs in first.groupby(strata):
        if stratum not in others:
            raise ValueError(f"found no second kind of run for {strata} {stratum}; expected some")
        both = pd.concat([runs, others.pop(stratum)])
        solved, ended = both["solved"].to_numpy(bool), both["updates"].to_numpy()
        earlier = (ended[:, None] < ended) | ((ended[:, None] == ended) & ~solved)
        beats = solved[:, None] & earlier
        score, n = beats.sum(axis=1) - beats.sum(axis=0), len(runs)
        # Within a kind what one run gains another loses: the sum is what the first kind gains.
        # In how many ways k of the runs looked at so far have a sum, one row for each k.
        most = n * (len(both) - n)
        zero = max(abs(score).sum(), most)
        ways = np.zeros((n + 1, 2 * zero + 1))
        ways[0, zero] = 1
        for one in score:
            ways[1:] += np.roll(ways[:-1], one, axis=1)
        chances = ways[n, zero - most : zero + most + 1] / ways[n].sum()
        null, net, pairs = np.convolve(null, chances), net + score[:n].sum(), pairs + most
    if others:
        raise ValueError(f"found no first kind of run for {strata} {list(others)}; expected some")
    distance = abs(np.arange(len(null)) - pairs)
    tails = np.array([null[distance >= k].sum() for k in range(pairs + 1)])
    reached = np.flatnonzero((tails <= LEVEL) & (tails > 0))
    least = 0.5 + reached[0] / (2 * pairs) if len(reached) else np.nan
    share = 0.5 + net / (2 * pairs)
    return Sooner(float(share), float(min(tails[abs(net)], 1.0)), float(least))


def same_files(k, m, n):
    """Bound McNemar's p for k and m right answers on the same n files, which ones unknown.

    The two may miss the same files, as far as the counts allow, or miss different ones.

    Returns
    -------
    lowest, highest : float
    """
    few, many = sorted((int(k), int(m)))
    p = [mcnemar(c, c + many - few) for c in (0, min(few, n - many))]
    return min(p), max(p)


def bounds_of(low, high):
    """Write the bounds of a p."""
    return f"p from {'below 0.001' if low < 0.001 else f'{low:.3f}'} to {high:.3f}"


def separate_files(k, m, n, n_m=None):
    """Return Fisher's exact p for k of n and m of n_m (n, if not given) other files."""
    n_m = n if n_m is None else n_m
    return float(stats.fisher_exact([[k, n - k], [m, n_m - m]]).pvalue)


# --- Changes of one setting ---------------------------------------------------------------------


def single_changes(datasets, changes, base="validated", by=("layer", "architecture")):
    """Compare protocols that change one setting with the one they change, seed by seed.

    Parameters
    ----------
    datasets, changes : sequence of str
        ``changes`` are names of protocols. Together they are the family of Holm's correction.
    base : str
    by : sequence of str
        What has a row of its own. ``layer`` alone takes all architectures of a cell together, each
        seed of each as a draw.

    Returns
    -------
    pandas.DataFrame
        A row per data set, change and network of which at least two runs are recorded in both:
        mean test accuracies ``base`` and ``changed`` over the ``seeds`` they share, their
        ``difference`` with its 95 % interval ``low`` to ``high`` over seeds and files, ``p``
        (:func:`crossed`), ``holm``, and ``visible``: the smallest true difference that such a test,
        at Holm's strictest level, finds four times in five.
    """
    tables = load_tables(RUN_FILES)
    test = tables["predictions"].query("split == 'test'")
    test = test.assign(right=test["predicted"] == test["label"])
    right = test.pivot_table("right", "run", "file", aggfunc="first")
    keys, rows = ["dataset", *by], []
    pair_of = ["dataset", "layer", "architecture", "seed"]
    for dataset in datasets:
        here = tables["runs"][tables["runs"]["dataset"] == dataset].set_index(pair_of)
        plain = here[here["protocol"] == base]["run"]
        for change in changes:
            changed = here[here["protocol"] == change]["run"]
            pairs = pd.DataFrame({"base": plain, "changed": changed}).dropna()
            for network, pair in pairs.groupby(keys, sort=False):
                if len(pair) < 2:
                    continue
                after, before = (
                    right.loc[pair[which]].dropna(axis=1).to_numpy(float)
                    for which in ("changed", "base")
                )
                row = dict(zip(keys, network, strict=True)) | {"change": change}
                row |= {"seeds": len(pair), "base": before.mean(), "changed": after.mean()}
                found = crossed_error(after - before)
                row["difference"], row["error"], row["freedom"] = found
                rows.append(row | {"p": p_of(*found)})
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    error, freedom = table.pop("error"), table.pop("freedom")
    half = stats.t.ppf(0.975, freedom) * error
    table["low"], table["high"] = table["difference"] - half, table["difference"] + half
    table["holm"] = holm(table["p"])
    level = 0.025 / len(table)
    table["visible"] = error * (stats.t.isf(level, freedom) + stats.t.ppf(0.8, freedom))
    return table
