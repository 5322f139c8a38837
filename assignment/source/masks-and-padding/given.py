"""What the assignment gives you: a table of targets beside your values."""

import numpy as np


def compare(**rows):
    """Print each target beside your value, and fail if any differs.

    Parameters
    ----------
    **rows : pairs
        ``name=(target, yours)``: numbers or arrays. Numbers may differ by 1e-6.
    """
    wrong = []
    for name, (target, yours) in rows.items():
        target, yours = np.asarray(target), np.asarray(yours)
        right = target.shape == yours.shape and np.allclose(target, yours, atol=1e-6)
        wrong += [] if right else [name]
        print(f"{name.replace('_', ' ')}: {'ok' if right else 'differs'}")
        print(f"  target {target.tolist()}\n  yours  {yours.tolist()}")
    assert not wrong, f"not as expected: {', '.join(wrong)}"
