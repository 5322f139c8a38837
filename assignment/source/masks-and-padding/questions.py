"""The questions of the assignment on masks and padding. References are NumPy and SciPy."""

import numpy as np

from assignment.grader.questions import Wrong, close, question, refused

PACKAGES = ("jupyterlab", "numpy")


def gaps(rng, batch=5, time=9):
    """Draw a mask with padding anywhere, at least one real step in each row."""
    mask = rng.random((batch, time)) < 0.5
    mask[:, int(rng.integers(1, time - 1))] = True
    mask[0, -1], mask[1, 0], mask[2, -2:] = True, False, False
    return mask


@question("check_mask_from", 2)
def mask_from_lengths(student, rng):
    """The mask."""
    for time in (1, 6, 11):
        lengths = [0, time, *(int(n) for n in rng.integers(0, time + 1, 4))]
        expected = [[t < n for t in range(time)] for n in lengths]
        close(student.call("mask_from", lengths, time), expected, f"lengths {lengths}")


@question("check_mask_from", 1)
def too_long_is_refused(student, rng):
    """A length larger than the time."""
    time = int(rng.integers(3, 9))
    student.call("mask_from", [time], time)
    refused(student, "mask_from", [1, time + 1, 2], time, what=f"{time + 1} in {time} steps")


@question("check_masked_mean", 2)
def mean_of_real_steps(student, rng):
    """The mean of real steps anywhere."""
    for _ in range(3):
        mask = gaps(rng)
        x = rng.normal(2, 1, size=(*mask.shape, 3))
        expected = np.stack([row[kept].mean(axis=0) for row, kept in zip(x, mask, strict=True)])
        close(student.call("masked_mean", x, mask), expected, "the mean")


@question("check_masked_mean", 1)
def mean_beside_nan(student, rng):
    """Padding of nan."""
    mask = gaps(rng)
    x = rng.normal(size=(*mask.shape, 2))
    expected = np.stack([row[kept].mean(axis=0) for row, kept in zip(x, mask, strict=True)])
    x[~mask] = np.nan
    close(student.call("masked_mean", x, mask), expected, "the mean beside nan")


EMPTY = """
import warnings
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    found = masked_mean(x, mask)
result = [found, len(seen)]
"""


@question("check_masked_mean", 1)
def mean_of_nothing(student, rng):
    """A sequence without real steps: zeros, and no warning."""
    x, mask = rng.normal(size=(3, 4, 2)), np.ones((3, 4), dtype=bool)
    mask[1] = False
    found, warned = student.run(EMPTY, x=x, mask=mask)
    expected = x.mean(axis=1)
    expected[1] = 0
    close(found, expected, "the mean of nothing")
    if warned:
        raise Wrong("there was a warning")


def compare_last(student, rng, mask, what):
    """Compare the states at the last real steps."""
    states = rng.normal(size=(*mask.shape, 3))
    last = [int(np.flatnonzero(row)[-1]) for row in mask]
    close(student.call("last_state", states, mask), states[np.arange(len(mask)), last], what)


@question("check_last_state", 2)
def last_state_before_padding(student, rng):
    """Padding at the end."""
    lengths = np.array([1, 7, *rng.integers(1, 8, 4)])
    compare_last(student, rng, np.arange(7) < lengths[:, None], "padding at the end")


@question("check_last_state", 2)
def last_state_anywhere(student, rng):
    """Padding anywhere."""
    lengths = np.array([1, 7, *rng.integers(1, 8, 4)])
    compare_last(student, rng, np.arange(7) >= 7 - lengths[:, None], "padding at the beginning")
    compare_last(student, rng, gaps(rng), "padding anywhere")


def steps(rng, uneven):
    """Draw probabilities, labels and a mask, with padding that must not matter."""
    lengths = np.array([1, 8, 3, 5] if uneven else [6, 6, 6, 6])
    mask = np.arange(8) < lengths[:, None]
    p = rng.dirichlet(np.ones(3), size=mask.shape)
    y = np.where(mask, rng.integers(0, 3, mask.shape), -1)
    return p, y, mask, -np.log(np.take_along_axis(p, y[..., None], -1)[..., 0])[mask].mean()


@question("check_masked_loss", 2)
def loss_over_all_steps(student, rng):
    """The mean over all real steps of the batch together."""
    p, y, mask, expected = steps(rng, uneven=True)
    close(student.call("masked_loss", p, y, mask), expected, "the loss")


@question("check_masked_loss", 2)
def loss_beside_padding(student, rng):
    """Padding that must not matter."""
    p, y, mask, expected = steps(rng, uneven=False)
    p[~mask] = 0
    close(student.call("masked_loss", p, y, mask), expected, "the loss beside padding of zeros")


def share(lengths, size):
    """Return the share of padding."""
    batches = [lengths[i : i + size] for i in range(0, len(lengths), size)]
    return 1 - sum(lengths) / sum(len(batch) * max(batch) for batch in batches)


@question("check_wasted", 2)
def wasted_in_whole_batches(student, rng):
    """Whole batches."""
    for size in (2, 5):
        lengths = [int(n) for n in rng.integers(1, 60, 4 * size)]
        lengths[0], lengths[-1] = 70, 61
        close(student.call("wasted", lengths, size), share(lengths, size), f"batches of {size}")


@question("check_wasted", 1)
def wasted_in_a_smaller_batch(student, rng):
    """A last batch that is smaller."""
    lengths = [int(n) for n in rng.integers(1, 60, 11)]
    lengths[2], lengths[9] = 70, 65
    close(student.call("wasted", lengths, 4), share(lengths, 4), "the share")
