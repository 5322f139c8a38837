"""Time one epoch of each of the report's 20 models, five ways side by side: ``make bench``.

- *stock*: Keras' layers, every sequence padded to the report's length and masked.
- *batch*: the same layers, each batch padded to its own longest sequence.
- *one*: this book's layers, compiled recurrences on the real steps alone, in one process.
- *two*: the same in two processes of one thread each, as in a sweep; seconds per model trained.
- *torch*: PyTorch on packed sequences, where it is installed.

All draw shuffled batches of one size. Epochs of the ways alternate, and with them a product of
large matrices, so that whatever else the machine does meets all alike; ratios are of medians. Then:
how an epoch grows with the number of files, and with one file that is fifty times as long as the
rest.
"""

import argparse
import dataclasses
import importlib.util
import itertools
import os
import statistics
import time

import keras
import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from experiments.sweep import ONE_THREAD
from helpers import layers
from helpers.cells import CELLS
from helpers.data import load_cv_segments, load_handwriting
from helpers.models import ARCHITECTURES, build
from helpers.padding import PADDED_LENGTH, PADDING_VALUE, fit_scaling, pad, padded_batches
from helpers.training import PROTOCOLS

CORES = os.cpu_count()
WAYS = ("stock", "batch", "one", "two", "torch")
RATIOS = (("stock", "one"), ("stock", "two"), ("batch", "one"), ("torch", "one"))
SIDE = 2048  # of the matrices whose product says what the machine can do
OPERATIONS = 2 * SIDE**3


def seconds(work):
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@dataclasses.dataclass
class Task:
    """One model on one data set's scaled training sequences."""

    dataset: str
    cell: str
    number: int
    x: list
    y: np.ndarray
    classes: int

    @property
    def name(self):
        """Data set, cell and widths."""
        return f"{self.dataset} {self.cell} {'-'.join(map(str, self.architecture.units))}"

    @property
    def architecture(self):
        """The report's architecture."""
        return ARCHITECTURES[self.dataset][self.number]

    @property
    def batch_size(self):
        """That of the recorded runs."""
        return PROTOCOLS["validated"][self.dataset]["batch_size"]

    @property
    def value(self):
        """The padding value."""
        return PADDING_VALUE[self.dataset]

    def model(self, recurrent):
        """Build the Keras model."""
        keras.utils.set_random_seed(0)
        features = self.x[0].shape[1]
        return build(
            self.cell, self.architecture, features, self.classes, self.value, recurrent=recurrent
        )

    def products(self):
        """Floating-point operations in the matrix products of one epoch, on real steps alone."""
        total, m = 0, self.x[0].shape[1]
        for k, n in enumerate(self.architecture.units):
            columns = CELLS[self.cell].blocks * n
            # Forward and the weights' gradient: both matrices. Back: the state's, and the
            # input's except in the first layer. A multiplication and an addition each.
            total += 2 * columns * (2 * (m + n) + n + (m if k else 0))
            m = n
        return total * sum(map(len, self.x))


def stock_epoch(task):
    """Return a function that trains one epoch as stock Keras does."""
    model, length = task.model(keras.layers), PADDED_LENGTH[task.dataset]
    x = pad(task.x, task.value, length)
    return lambda: model.fit(x, task.y, batch_size=task.batch_size, verbose=0)


def batch_epoch(task, recurrent=keras.layers):
    """Return a function that trains one epoch on batches padded each to its own length."""
    model = task.model(recurrent)
    batches = padded_batches(task.x, task.batch_size, task.value, task.y, shuffle_seed=0)
    return lambda: model.fit(batches, shuffle=False, verbose=0)


def our_epoch(task):
    """Return a function that trains one epoch this book's way."""
    return batch_epoch(task, layers)


def torch_epoch(task):
    """Return a function that trains one epoch of the same model in PyTorch."""
    import torch
    from torch import nn
    from torch.nn.utils.rnn import PackedSequence, pack_sequence

    torch.manual_seed(0)
    torch.set_num_threads(CORES)
    layer = {"SimpleRNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}[task.cell]
    widths = [task.x[0].shape[1], *task.architecture.units]
    layers = nn.ModuleList(layer(m, n) for m, n in itertools.pairwise(widths))
    drops = [nn.Dropout(rate) for rate in task.architecture.dropout]
    dense, loss = nn.Linear(widths[-1], task.classes), nn.CrossEntropyLoss()
    adam = torch.optim.Adam([*layers.parameters(), *dense.parameters()], lr=1e-3)
    x, y = [torch.from_numpy(np.array(s)) for s in task.x], torch.from_numpy(task.y)

    def epoch():
        for chosen in torch.randperm(len(x)).split(task.batch_size):
            packed = pack_sequence([x[i] for i in chosen], enforce_sorted=False)
            for recurrent, drop in zip(layers, drops, strict=True):
                packed, state = recurrent(packed)
                packed = PackedSequence(drop(packed.data), *packed[1:])
            last = state[0][-1] if task.cell == "LSTM" else state[-1]
            adam.zero_grad()
            loss(dense(drops[-1](last)), y[chosen]).backward()
            adam.step()

    return epoch


def products_alone(task):
    """Return a function that does an epoch's matrix products in their shapes, and nothing else."""
    lengths = np.random.default_rng(0).permutation([len(x) for x in task.x])
    batches = np.split(lengths, range(task.batch_size, len(lengths), task.batch_size))
    layers = []
    for m, n in itertools.pairwise([task.x[0].shape[1], *task.architecture.units]):
        columns, longest = CELLS[task.cell].blocks * n, max(sum(lengths) for lengths in batches)
        shapes = (longest, m), (longest, n), (longest, columns), (m, columns), (n, columns)
        layers.append([np.ones(shape, np.float32) for shape in shapes])

    def epoch():
        for lengths in batches:
            active = (np.arange(max(lengths)) < lengths[:, None]).sum(axis=0)
            edges = np.cumsum([0, *active])
            for number, (xs, hs, gates, W_x, W_h) in enumerate(layers):
                x, h, a = (array[: edges[-1]] for array in (xs, hs, gates))
                _ = x @ W_x, x.T @ a, h.T @ a, number and a @ W_x.T
                for start, end in itertools.pairwise(edges):
                    _ = h[start:end] @ W_h, a[start:end] @ W_h.T

    return epoch


def alternate(task, duration):
    """Take turns for some seconds in a process of its own; what was done, from when to when."""
    works = {"two": our_epoch(task), "alone": products_alone(task), "product": matrix_product(1)}
    for work in works.values():
        work()  # compiles
    done, begun = [], time.time()
    while time.time() < begun + duration:
        for name, work in works.items():
            start = time.time()
            work()
            done.append((name, start, time.time()))
    return done


def side_by_side(task, duration):
    """Median seconds of an epoch, of its products alone and of a large one, in two processes."""
    found = Parallel(n_jobs=2)(delayed(alternate)(task, duration) for _ in range(2))
    # Count what was done while both were at work.
    first, last = max(done[0][1] for done in found), min(done[-1][2] for done in found)
    times = {"two": [], "alone": [], "product": []}
    for name, start, end in itertools.chain.from_iterable(found):
        if first <= start and end <= last:
            times[name].append(end - start)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(task, epochs):
    """Return the median seconds of an epoch, by way, and of a matrix product on all cores."""
    ways = {"stock": stock_epoch, "batch": batch_epoch, "one": our_epoch}
    if importlib.util.find_spec("torch"):
        ways["torch"] = torch_epoch
    ways = {name: way(task) for name, way in ways.items()} | {"product": matrix_product(CORES)}
    times = {name: [] for name in ways}
    for round_ in range(epochs + 1):
        for name, work in ways.items():
            taken = seconds(work)
            if round_:  # the first one compiles
                times[name].append(taken)
    medians = {name: statistics.median(values) for name, values in times.items()}
    two = side_by_side(task, max(4, 4 * epochs * medians["one"]))
    # Two models in the time of one; and what two processes reach of two products at a time.
    shares = {name: task.products() / two[name] / (OPERATIONS / two["product"]) for name in two}
    return medians | {"two": two["two"] / 2, "shares": shares}


def matrix_product(cores):
    """Return a function that multiplies two large matrices of float32."""
    a = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)

    def product():
        with threadpool_limits(cores):
            a @ a

    return product


def growth(task, epochs):
    """Print how an epoch grows with the files, and with one very long file."""
    base, base_time = None, None
    long = np.concatenate([max(task.x, key=len)] * 50)
    cases = [(f"{k} times the files", task.x * k, np.tile(task.y, k)) for k in (1, 4, 16)]
    cases.append(("4 times, one 50 times as long", [*cases[1][1][1:], long], cases[1][2]))
    for name, x, y in cases:
        work = our_epoch(dataclasses.replace(task, x=x, y=y))
        work()
        taken = statistics.median(seconds(work) for _ in range(epochs))
        steps, padded = sum(map(len, x)), len(x) * max(map(len, x))
        base, base_time = base or (steps, padded), base_time or taken
        print(
            f"{name:32}{steps:10}{taken:9.2f} s{taken / base_time:8.2f}"
            f"{steps / base[0]:12.2f}{padded / base[1]:20.2f}",
            flush=True,
        )


def main(arguments=None):
    """Measure all models and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a folder or zip with both data sets")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--models", type=int, help="only the first so many")
    given = parser.parse_args(arguments)
    # What the processes of joblib read when they start; this one has read it already.
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    datasets = [load_handwriting(given.data), load_cv_segments(given.data)]
    print(f"data: {', '.join(f'{d.name} ({d.origin})' for d in datasets)}; {CORES} cores")
    tasks = []
    for dataset in datasets:
        scaling = PROTOCOLS["validated"][dataset.name]["scaling"]
        x, groups = dataset.train.x, dataset.train.groups
        x = fit_scaling(scaling, x, groups)(x, groups)
        tasks += [
            Task(dataset.name, cell, number, x, dataset.train.y, len(dataset.classes))
            for cell in ("SimpleRNN", "LSTM")
            for number in ARCHITECTURES[dataset.name]
        ]
    print(f"{'seconds an epoch':34}", *(f"{way:>7}" for way in WAYS), end="")
    print("  ", *(f"{a + '/' + b:>10}" for a, b in RATIOS))
    measured = {}
    for task in tasks[: given.models]:
        t = {"torch": np.nan} | measure(task, given.epochs)
        measured[task.name] = task, t, [t[a] / t[b] for a, b in RATIOS]
        print(f"{task.name:34}", *(f"{t[way]:7.2f}" for way in WAYS), end="")
        print("  ", *(f"{ratio:10.2f}" for ratio in measured[task.name][2]), flush=True)
    means = np.exp(np.mean(np.log([ratios for *_, ratios in measured.values()]), axis=0))
    print(f"{'geometric mean':76}", *(f"{mean:10.2f}" for mean in means))

    task, t, _ = max(measured.values(), key=lambda m: m[0].products())
    rate = OPERATIONS / t["product"]
    print(f"\nmatrix products: {rate / 1e9:.0f} thousand million operations a second; of that")
    for way in WAYS:
        share = t["shares"]["two"] if way == "two" else task.products() / t[way] / rate
        print(f"{task.name}, {way}: {share:.0%}")
    print(f"{task.name}, two, its products alone: {t['shares']['alone']:.0%}")

    print(f"\n{'growth':32}{'steps':>10}{'an epoch':>11}{'ratio':>8}{'of steps':>12}", end="")
    print(f"{'of files x longest':>20}")
    for name in dict.fromkeys((next(iter(measured)), next(reversed(measured)))):
        print(name)
        growth(measured[name][0], given.epochs)


if __name__ == "__main__":
    main()
