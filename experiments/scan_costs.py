"""Time and memory of one layer on one long sequence: loops, scans and attention side by side.

Each measurement is made in a process of its own, on one thread, so that the processor time it takes
and the memory it fills are its own whatever else the machine does.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from experiments.sweep import ONE_THREAD

LENGTHS = (100, 300, 1000, 3000, 10_000)
LAYERS = (
    "SimpleRNN",
    "LSTM",
    "GRU",
    "minGRU, loop",
    "minGRU, tf.scan",
    "minGRU, doubling",
    "minGRU, associative_scan",
    "attention",
)
UNITS = 64
LEAST = 1.0  # seconds of work in a measurement
FILE = "scan_costs.csv"


def doubling(a, b):
    """Return what :func:`helpers.layers.linear_recurrence` does, by the rounds of a scan."""
    import tensorflow as tf

    distance = 1
    while distance < b.shape[1]:
        later = b[:, distance:] + a[:, distance:] * b[:, :-distance]
        b = tf.concat([b[:, :distance], later], axis=1)
        a = tf.concat([a[:, :distance], a[:, distance:] * a[:, :-distance]], axis=1)
        distance *= 2
    return b


def by_tf_scan(a, b):
    """Return what :func:`helpers.layers.linear_recurrence` does, by TensorFlow's own loop."""
    import tensorflow as tf

    steps = tf.transpose(a, [1, 0, 2]), tf.transpose(b, [1, 0, 2])
    states = tf.scan(lambda c, step: step[0] * c + step[1], steps, tf.zeros_like(b[:, 0]))
    return tf.transpose(states, [1, 0, 2])


def by_associative_scan(a, b):
    """Return what :func:`helpers.layers.linear_recurrence` does, by Keras' scan."""
    import keras

    def after(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    return keras.ops.associative_scan(after, (a, b), axis=1)[1]


def make_layer(name):
    """Return a layer of 64 units, from (batch, time, 64) to as many, looking back only.

    Parameters
    ----------
    name : str
        One of :data:`LAYERS`.

    Returns
    -------
    callable
    """
    import keras

    from helpers import layers

    if name == "attention":
        attention = keras.layers.MultiHeadAttention(1, UNITS)
        return lambda x: attention(x, x, use_causal_mask=True)
    if not name.startswith("minGRU"):
        return getattr(layers, name)(UNITS, return_sequences=True)
    ways = {
        "loop": layers.linear_recurrence,
        "tf.scan": by_tf_scan,
        "doubling": doubling,
        "associative_scan": by_associative_scan,
    }
    recurrence = ways[name.split(", ")[1]]
    layer = layers.MinGRU(UNITS, return_sequences=True)
    layer.build((None, None, UNITS))

    def run(x):
        return recurrence(*layer._coefficients(x, layer.weight)[:2])

    return run


def measure(name, steps):
    """Return the seconds of processor that passes take, and the megabytes that they fill.

    Parameters
    ----------
    name : str
    steps : int

    Returns
    -------
    dict
        ``seconds`` and ``megabytes`` of a pass forward, ``learn_seconds`` and ``learn_megabytes``
        of one forward and backward. Seconds are the least of several passes; megabytes are by how
        much the process grew beyond its size after a pass over 8 steps.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layer = make_layer(name)

    def read(x):
        return layer(x)

    def learn(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) ** 2)
        return tape.gradient(loss, x)

    passes = {"": tf.function(read), "learn_": tf.function(learn)}
    x = tf.random.normal((1, steps, UNITS))
    for one_pass in passes.values():
        one_pass(x[:, :8])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {}
    for kind, one_pass in passes.items():
        one_pass(x)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        found[f"{kind}megabytes"] = grown / 1024
        taken = []
        while len(taken) < 3 or (sum(taken) < LEAST and len(taken) < 30):
            started = time.process_time()
            one_pass(x)
            taken.append(time.process_time() - started)
        found[f"{kind}seconds"] = min(taken)
    return found


def sweep(folder, lengths=LENGTHS, layers=LAYERS):
    """Measure what the table in a folder does not hold yet, shortest sequences first.

    Parameters
    ----------
    folder : str or Path
    lengths : sequence of int
    layers : sequence of str

    Returns
    -------
    int
        How many measurements were missing, and made.
    """
    path = Path(folder) / FILE
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    rows = table.to_dict("records")
    known = {(row["layer"], row["steps"]) for row in rows}
    missing = [(name, steps) for steps in lengths for name in layers if (name, steps) not in known]
    one = os.environ | dict.fromkeys(ONE_THREAD, "1")
    for name, steps in missing:
        print(f"{name}, {steps} steps", flush=True)
        command = [sys.executable, "-m", "experiments.scan_costs", name, str(steps)]
        found = subprocess.run(command, env=one, check=True, capture_output=True, encoding="utf-8")
        made = json.loads(found.stdout.splitlines()[-1])
        rows.append({"layer": name, "steps": steps, **made})
        pd.DataFrame(rows).to_csv(path, index=False, float_format="%.4g")
    return len(missing)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layer", choices=LAYERS)
    parser.add_argument("steps", type=int)
    given = parser.parse_args()
    print(json.dumps(measure(given.layer, given.steps)))
