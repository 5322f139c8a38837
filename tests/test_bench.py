"""What the bench counts is what it multiplies."""

import numpy as np
import pytest

from experiments import bench
from helpers.data import REPORT_CLASSES
from helpers.models import ARCHITECTURES


@pytest.mark.parametrize("cell", ["SimpleRNN", "LSTM"])
@pytest.mark.parametrize("dataset", ARCHITECTURES)
def test_the_products_alone_are_those_that_are_counted(dataset, cell, monkeypatch):
    counted = []

    class Counting(np.ndarray):
        def __matmul__(self, other):
            counted.append(2 * self.shape[0] * self.shape[1] * other.shape[1])

    ones = np.ones
    monkeypatch.setattr(np, "ones", lambda *given: ones(*given).view(Counting))
    rng, features = np.random.default_rng(0), {"handwriting": 2, "cv_segments": 39}[dataset]
    x = [rng.normal(size=(length, features)) for length in rng.integers(1, 9, 150)]
    for number in ARCHITECTURES[dataset]:
        task = bench.Task(dataset, cell, number, x, None, len(REPORT_CLASSES[dataset]))
        counted.clear()
        bench.products_alone(task)()
        assert sum(counted) == task.products(), task.name
