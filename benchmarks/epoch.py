"""Time one epoch on length buckets beside one of stock Keras: ``make bench``.

Both train the same layers on the same scaled sequences in one process. Stock Keras gets all
sequences padded to the report's length; epochs of the two alternate, so that whatever else the
machine does meets both alike. Ratios are of medians.
"""

import argparse
import statistics
import time

import keras
import numpy as np

from helpers.data import load_cv_segments, load_handwriting
from helpers.models import ARCHITECTURES, build
from helpers.padding import PADDED_LENGTH, PADDING_VALUE, bucketed_batches, fit_scaling, pad
from helpers.training import PROTOCOLS

MODELS = [
    ("handwriting", "LSTM", 1),
    ("handwriting", "SimpleRNN", 1),
    ("cv_segments", "LSTM", 2),
    ("cv_segments", "LSTM", 4),
    ("cv_segments", "SimpleRNN", 4),
]


def seconds(work):
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(dataset, cell, number, epochs):
    """Seconds for each epoch, padded and bucketed.

    Parameters
    ----------
    dataset : SequenceDataset
    cell : str
    number : int
        Of the architecture.
    epochs : int

    Returns
    -------
    tuple of list of float
        Padded with stock Keras, and on length buckets.
    """
    settings, value = PROTOCOLS["validated"][dataset.name], PADDING_VALUE[dataset.name]
    x = fit_scaling(settings["scaling"], dataset.train.x)(dataset.train.x)
    padded = pad(x, value, PADDED_LENGTH[dataset.name])
    buckets = bucketed_batches(x, dataset.train.y, settings["batch_size"], value, seed=0)
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        architecture = ARCHITECTURES[dataset.name][number]
        models.append(build(cell, architecture, x[0].shape[1], len(dataset.classes), value))

    def stock():
        models[0].fit(padded, dataset.train.y, batch_size=settings["batch_size"], verbose=0)

    def bucketed():
        models[1].fit(buckets, shuffle=False, verbose=0)

    stock(), bucketed()  # the first epoch also compiles
    times = [(seconds(stock), seconds(bucketed)) for _ in range(epochs)]
    return tuple(map(list, zip(*times, strict=True)))


def main():
    """Measure all models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a folder or zip with both data sets")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    datasets = {
        "handwriting": load_handwriting(arguments.data),
        "cv_segments": load_cv_segments(arguments.data),
    }
    print(f"data: {', '.join(f'{d.name} ({d.origin})' for d in datasets.values())}")
    print(f"{'model':38}{'padded':>10}{'buckets':>10}{'ratio':>8}   seconds an epoch")
    ratios = []
    for name, cell, number in MODELS:
        padded, buckets = measure(datasets[name], cell, number, arguments.epochs)
        ratios.append(statistics.median(padded) / statistics.median(buckets))
        units = "-".join(map(str, ARCHITECTURES[name][number].units))
        print(
            f"{f'{name} {cell} {units}':38}{statistics.median(padded):10.2f}"
            f"{statistics.median(buckets):10.2f}{ratios[-1]:8.2f}",
            flush=True,
        )
    print(f"{'geometric mean':58}{np.exp(np.mean(np.log(ratios))):8.2f}")


if __name__ == "__main__":
    main()
