"""The hidden questions: every point that is given without a person comes from here.

A question asks the student's functions something with numbers drawn afresh and compares the
answer on this side; what is expected never enters the student's kernel. References are `helpers`,
scikit-learn and SciPy. Its name and its message are shown to the student: they say what was asked
and how far off the answer was, not the answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from sklearn.preprocessing import StandardScaler, minmax_scale

from assignment.grader.sandbox import StudentError
from helpers.cells import LSTM, RNN, backward, forward
from helpers.models import Architecture, count_parameters
from helpers.padding import mask_of

CELLS = ("SimpleRNN", "LSTM")
# Check cell → part of the assignment, in order.
PARTS = {
    "check_read_stroke": "1.1", "check_read_segment": "1.2", "check_scale": "1.3",
    "check_pad": "1.4", "check_rnn": "1.5", "check_backward": "1.6", "check_lstm": "1.7",
    "check_count": "1.8", "check_stopped": "2.1", "check_model": "2.2", "check_train": "2.3",
    "check_choose": "2.4", "check_confusion": "2.5", "check_runs": "2.6",
}  # fmt: skip


class Wrong(Exception):
    """The answer is not right; the message is for the student."""


@dataclass(frozen=True)
class Question:
    """One thing that is asked, for whole points or none.

    Attributes
    ----------
    cell : str
        ``grade_id`` of the check cell it belongs to.
    points : int
    title : str
    ask : callable
        ``ask(student, rng)``; raises :class:`Wrong` or a :class:`StudentError`.
    seconds : float
        Of processor time, for one call of the student's code.
    """

    cell: str
    points: int
    title: str
    ask: Callable
    seconds: float = 5


QUESTIONS = []


def question(cell, points, title, seconds=5):
    """Register a question."""

    def register(ask):
        QUESTIONS.append(Question(cell, points, title, ask, seconds))
        return ask

    return register


def close(found, expected, what, tolerance=1e-6):
    """Require the same shape and values within a tolerance."""
    expected = np.asarray(expected)
    try:
        found = np.asarray(found)
        if found.shape != expected.shape:
            raise Wrong(f"{what}: the shape is {found.shape}, expected {expected.shape}")
        if expected.dtype == bool or found.dtype.kind not in "biuf":
            right = np.array_equal(found.astype(expected.dtype), expected)
            if not right:
                raise Wrong(f"{what}: some values differ")
            return
        if not np.isfinite(found).all():
            raise Wrong(f"{what}: some values are not finite")
    except (TypeError, ValueError):
        raise Wrong(f"{what}: no array of numbers") from None
    error = np.abs(found - expected).max(initial=0)
    scale = max(1.0, np.abs(expected).max(initial=0))
    if error > tolerance * scale:
        raise Wrong(f"{what}: off by up to {error:.2g}")


def items(found, names, what):
    """Take named items out of a dict, or as many items out of a sequence."""
    if isinstance(found, dict):
        missing = [name for name in names if name not in found]
        if missing:
            raise Wrong(f"{what}: no {missing[0]!r} in the dict")
        return [found[name] for name in names]
    if not isinstance(found, tuple | list) or len(found) != len(names):
        raise Wrong(f"{what}: expected {' and '.join(names)}")
    return list(found)


def refused(student, call, *args, says=(), what):
    """Require a ValueError whose message contains some words."""
    try:
        student.call(call, *args)
    except StudentError as error:
        if error.kind != "ValueError":
            raise Wrong(f"{what}: {error.kind} instead of ValueError") from None
        for word in says:
            if word not in error.message:
                raise Wrong(f"{what}: the message does not contain {word!r}") from None
        return
    raise Wrong(f"{what}: was not refused")


# --- 1.1 Strokes ------------------------------------------------------------------------------


def stroke_text(points, separator=" ", form="{:.6f}"):
    """Write a stroke as a file has it."""
    words = [str(len(points)), *(form.format(v) for v in points.ravel())]
    return separator.join(words)


@question("check_read_stroke", 2, "reads strokes")
def _(student, rng):
    for n in (1, *rng.integers(2, 90, 3)):
        points = rng.normal(size=(n, 2)).round(6)
        found = student.call("read_stroke", stroke_text(points), "a.txt")
        close(found, points, f"a stroke of {n} points")


@question("check_read_stroke", 1, "reads line breaks and exponents")
def _(student, rng):
    points = rng.normal(size=(int(rng.integers(3, 9)), 2)).round(6)
    for separator in ("\n", " \r\n", "\t"):
        text = "\n " + stroke_text(points, separator, "{:.8e}") + "\n\n"
        close(student.call("read_stroke", text, "a.txt"), points, "line breaks and exponents")


@question("check_read_stroke", 2, "refuses wrong counts")
def _(student, rng):
    n = int(rng.integers(4, 30))
    words = stroke_text(rng.normal(size=(n, 2))).split()
    for what, text in {
        "a point too few": words[:-2],
        "a coordinate too few": words[:-1],
        "a coordinate too many": [*words, "0.5"],
        "a point too many": [*words, "0.5", "0.5"],
        "a count of zero": ["0", *words[1:]],
        "a count of zero and nothing after it": ["0"],
        "a negative count": [f"-{n}", *words[1:]],
    }.items():
        refused(student, "read_stroke", " ".join(text), "a.txt", what=what)


@question("check_read_stroke", 1, "refuses what is no number")
def _(student, rng):
    words = stroke_text(rng.normal(size=(int(rng.integers(4, 30)), 2))).split()
    for bad in ("x1", "0,5", "nan", "inf", "-inf"):
        at = int(rng.integers(1, len(words)))
        text = " ".join([*words[:at], bad, *words[at + 1 :]])
        refused(student, "read_stroke", text, "a.txt", what=f"the coordinate {bad!r}")
    for text in ("", " \n", f"{words[0]}.5 " + " ".join(words[1:]), "abc 1 2"):
        refused(student, "read_stroke", text, "a.txt", what=f"a file that begins {text[:6]!r}")


@question("check_read_stroke", 1, "names the file it refuses")
def _(student, rng):
    name = f"stroke_{rng.integers(1000, 9999)}.txt"
    for text in ("2 0.5 0.5", "1 0.5 word", "", "2 0 0 0 nan"):
        refused(student, "read_stroke", text, name, says=[name], what="a broken file")


# --- 1.2 Segments -----------------------------------------------------------------------------


def segment_rows(frames):
    """Write the rows of a segment as a file has them."""
    return [" ".join(f"{v:.6e}" for v in frame) + " " for frame in frames]


@question("check_read_segment", 2, "reads segments")
def _(student, rng):
    for end, tail in (("\n", ""), ("\r\n", "\r\n"), ("\n", "\n\n \n")):
        frames = rng.normal(size=(int(rng.integers(1, 30)), 39)).round(6)
        text = end.join(segment_rows(frames)) + tail
        close(student.call("read_segment", text, "a.mfcc"), frames, "a segment")


@question("check_read_segment", 2, "refuses rows of another width")
def _(student, rng):
    rows = segment_rows(rng.normal(size=(int(rng.integers(5, 20)), 39)))
    at = int(rng.integers(1, len(rows) - 1))
    for what, row in {
        "a row of 38 numbers": rows[at].rsplit(maxsplit=1)[0],
        "a row of 40 numbers": rows[at] + "0.5",
        "an empty row in the middle": "",
        "two rows in one line": rows[at] + rows[at],
    }.items():
        text = "\n".join([*rows[:at], row, *rows[at + 1 :]])
        refused(student, "read_segment", text, "a.mfcc", what=what)
    narrow = "\n".join(row.rsplit(maxsplit=1)[0] for row in rows)
    refused(student, "read_segment", narrow, "a.mfcc", what="38 numbers in every row")


@question("check_read_segment", 1, "refuses what is no number")
def _(student, rng):
    rows = segment_rows(rng.normal(size=(6, 39)))
    for bad in ("?", "nan", "inf"):
        words = rows[2].split()
        words[int(rng.integers(39))] = bad
        text = "\n".join([*rows[:2], " ".join(words), *rows[3:]])
        refused(student, "read_segment", text, "a.mfcc", what=f"the number {bad!r}")
    for text in ("", "\n \n"):
        refused(student, "read_segment", text, "a.mfcc", what="a file with nothing to read")


@question("check_read_segment", 1, "names file and row")
def _(student, rng):
    name = f"seg_{rng.integers(1000, 9999)}.mfcc"
    rows = segment_rows(rng.normal(size=(12, 39)))
    at = int(rng.integers(2, 9))
    for row in ("1 2 3", rows[at].replace(rows[at].split()[5], "what")):
        text = "\n".join([*rows[:at], row, *rows[at + 1 :]])
        says = [name, f"row {at + 1}"]
        refused(student, "read_segment", text, name, says=says, what="a broken row")


# --- 1.3 Scaling ------------------------------------------------------------------------------


@question("check_scale", 2, "scales strokes, and leaves its argument as it was")
def _(student, rng):
    for _ in range(3):
        x = rng.normal(rng.normal(), 3, size=(int(rng.integers(3, 60)), 2))
        found, after = student.run("y = scale_stroke(x)\nresult = [y, x]", x=x)
        close(found, minmax_scale(x), "a stroke")
        close(after, x, "the argument afterwards", 0)


@question("check_scale", 1, "scales an axis that does not change to 0")
def _(student, rng):
    x = rng.normal(size=(int(rng.integers(3, 20)), 2))
    x[:, rng.integers(2)] = rng.normal()
    close(student.call("scale_stroke", x), minmax_scale(x), "a straight stroke")
    point = rng.normal(size=(1, 2))
    close(student.call("scale_stroke", point), [[0, 0]], "a stroke of one point")


@question("check_scale", 2, "fits mean and standard deviation on all frames")
def _(student, rng):
    train = [rng.normal(k, 1 + k, size=(3 + 9 * k, 4)) for k in range(4)]
    steps = np.concatenate(train)
    mean, std = items(student.call("fit_standard", train), ("mean", "std"), "fit_standard")
    close(mean, steps.mean(axis=0), "mean")
    close(std, steps.std(axis=0), "standard deviation")


@question("check_scale", 1, "standardises, features that never change to 0")
def _(student, rng):
    train = rng.normal(2, 3, size=(30, 3))
    train[:, 1] = 7
    x = train[:5]
    scaler = StandardScaler().fit(train)
    found = student.call("standardise", x, train.mean(axis=0), train.std(axis=0))
    close(found, scaler.transform(x), "standardised frames")


# --- 1.4 Padding ------------------------------------------------------------------------------


def pad(sequences, value, length=None):
    """Pad at the end, as :func:`helpers.padding.pad`, which imports Keras, which takes long."""
    length = length or max(map(len, sequences))
    batch = np.full((len(sequences), length, sequences[0].shape[1]), value, dtype=float)
    for row, sequence in zip(batch, sequences, strict=True):
        row[: len(sequence)] = sequence
    return batch


def ragged(rng, features=3):
    """Draw sequences of unequal length, the longest not first."""
    lengths = [int(rng.integers(2, 6)), int(rng.integers(7, 12)), 1, int(rng.integers(2, 6))]
    return [rng.normal(size=(length, features)) for length in lengths]


@question("check_pad", 2, "pads at the end")
def _(student, rng):
    for value in (2, -1.0):
        x = ragged(rng, int(rng.integers(1, 5)))
        close(student.call("pad", x, value), pad(x, value), "padded batch")
        found = student.call("pad", x, value, 15)
        close(found, pad(x, value, 15), "padded to 15 steps")


@question("check_pad", 1, "refuses what is longer than the length")
def _(student, rng):
    x = ragged(rng)
    longest = max(map(len, x))
    close(student.call("pad", x, 2, longest), pad(x, 2, longest), "padded to the longest")
    refused(student, "pad", x, 2, longest - 1, what="a sequence one step too long")


@question("check_pad", 2, "refuses a step that looks like padding, and no other")
def _(student, rng):
    x = ragged(rng)
    x[1][2, :2] = 2.0  # not in every feature
    close(student.call("pad", x, 2), pad(x, 2), "a step with 2 in some features")
    x[1][2] = 2.0
    refused(student, "pad", x, 2, what="a step of padding in the middle")
    x = ragged(rng)
    x[3][-1] = -1.0
    refused(student, "pad", x, -1, what="a step of padding at the end")


@question("check_pad", 2, "masks what is padding in all features")
def _(student, rng):
    for value in (2.0, -1.0):
        x = ragged(rng)
        x[1][3, 0] = value
        batch = pad(x, value)
        close(student.call("mask_of", batch, value), mask_of(batch, value), "mask")


# --- 1.5 A recurrent network ------------------------------------------------------------------


def network(rng, cell, batch=4, time=7):
    """Draw a cell and a batch for it."""
    m, n = (int(v) for v in rng.integers(2, 6, 2))
    cell = cell.random(rng, m, n + (n == m))
    cell.b[:] = rng.normal(size=cell.b.shape)
    return cell, rng.normal(size=(batch, time, m))


@question("check_rnn", 3, "makes one step")
def _(student, rng):
    for batch in (1, 5):
        cell, x = network(rng, RNN, batch)
        h = rng.normal(size=(batch, cell.units))
        (expected,), _ = cell.step(x[:, 0], (h,))
        found = student.call("rnn_step", x[:, 0], h, cell.W_x, cell.W_h, cell.b)
        close(found, expected, f"a step of a batch of {batch}")


@question("check_rnn", 2, "makes all steps")
def _(student, rng):
    cell, x = network(rng, RNN, time=int(rng.integers(5, 30)))
    mask = np.ones(x.shape[:2], dtype=bool)
    found = student.call("rnn_forward", x, mask, cell.W_x, cell.W_h, cell.b)
    close(found, forward(cell, x).h, "all hidden states")


@question("check_rnn", 2, "keeps the state where the mask is false")
def _(student, rng):
    cell, x = network(rng, RNN, batch=5, time=9)
    mask = np.arange(9) < rng.integers(2, 8, size=(5, 1))
    mask[0] = [True, False, True, True, False, False, True, False, True]
    found = student.call("rnn_forward", x, mask, cell.W_x, cell.W_h, cell.b)
    close(found, forward(cell, x, mask).h, "hidden states with a mask")


# --- 1.6 Backpropagation ----------------------------------------------------------------------


def _gradient(student, rng, name):
    for batch, time in ((1, 3), (4, int(rng.integers(6, 15)))):
        cell, x = network(rng, RNN, batch, time)
        trace = forward(cell, x)
        d_h = np.zeros_like(trace.h)
        d_h[:, -1] = rng.normal(size=(batch, cell.units))
        found = student.call("rnn_backward", x, trace.h, d_h[:, -1], cell.W_h)
        if not isinstance(found, dict) or name not in found:
            raise Wrong(f"no {name!r} in a dict")
        expected = backward(cell, trace, d_h).weights[name]
        close(found[name], expected, f"gradient by {name}, {time} steps")


@question("check_backward", 2, "gradient by W_x")
def _(student, rng):
    _gradient(student, rng, "W_x")


@question("check_backward", 2, "gradient by W_h")
def _(student, rng):
    _gradient(student, rng, "W_h")


@question("check_backward", 1, "gradient by b")
def _(student, rng):
    _gradient(student, rng, "b")


NUMERIC = """
def loss():
    seen.append(array.copy())
    return float((c * array**3).sum())
seen = []
result = [numeric_gradient(loss, array, 1e-3), array, len(seen)]
"""


@question("check_backward", 2, "central differences")
def _(student, rng):
    for shape in ((5,), (3, 4)):
        a, c = rng.normal(size=shape), rng.normal(size=shape)
        found, _, calls = student.run(NUMERIC, array=a, c=c)
        # Of c a³ the central difference is exactly c (3 a² + step²); a one-sided one is not.
        close(found, c * (3 * a**2 + 1e-6), "gradient of a cubic", 1e-9)
        if calls > 2 * a.size + 1:
            raise Wrong(f"loss() was called {calls} times for {a.size} entries")


@question("check_backward", 1, "leaves the array as it was")
def _(student, rng):
    a = rng.normal(size=(12, 9))
    _, after, calls = student.run(NUMERIC, array=a, c=np.ones_like(a))
    if calls == 0:
        raise Wrong("loss() was never called")
    if not np.array_equal(after, a):
        raise Wrong("the array is not the same afterwards, bit for bit")


@question("check_backward", 2, "relative error")
def _(student, rng):
    for scale in (1e-6, 1, 1e6):
        a = scale * rng.normal(size=(3, 4))
        b = a + 0.3 * scale * rng.normal(size=a.shape)
        expected = np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max())
        for pair in ((a, b), (b, a), (-a, -b)):
            close(student.call("relative_error", *pair), expected, "relative error")
    close(student.call("relative_error", np.zeros(3), np.zeros(3)), 0, "of two arrays of zeros")


# --- 1.7 LSTM ---------------------------------------------------------------------------------


def _lstm(student, rng, part):
    for batch in (1, 4):
        cell, x = network(rng, LSTM, batch)
        h, c = rng.normal(size=(2, batch, cell.units))
        expected, _ = cell.step(x[:, 0], (h, c))
        found = student.call("lstm_step", x[:, 0], h, c, cell.W_x, cell.W_h, cell.b)
        close(items(found, ("h", "c"), "lstm_step")[part], expected[part], "hc"[part])


@question("check_lstm", 2, "the hidden state")
def _(student, rng):
    _lstm(student, rng, 0)


@question("check_lstm", 2, "the cell state")
def _(student, rng):
    _lstm(student, rng, 1)


LARGE = """
import warnings
result = []
for h, c, b in draws:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        h, c = lstm_step(x, h, c, W_x, W_h, b)
    result.append([h, c, len(seen)])
"""


@question("check_lstm", 1, "large arguments, without a warning")
def _(student, rng):
    n, x = int(rng.integers(2, 5)), np.ones((3, 1))
    W_x, W_h = np.zeros((1, 4 * n)), np.zeros((n, 4 * n))
    # Often enough that exchanged gates never pass by chance.
    draws = [(*rng.normal(size=(2, 3, n)), rng.choice([-1e3, 1e3], size=4 * n)) for _ in range(30)]
    found = student.run(LARGE, x=x, W_x=W_x, W_h=W_h, draws=draws)
    for (h, c, b), (new_h, new_c, warned) in zip(draws, found, strict=True):
        expected, _ = LSTM(W_x, W_h, b).step(x, (h, c))
        close(new_h, expected[0], "h")
        close(new_c, expected[1], "c")
        if warned:
            raise Wrong("there was a warning")


# --- 1.8 Parameters ---------------------------------------------------------------------------


@question("check_count", 2, "three numbers by hand")
def _(student, rng):
    found = student.run("result = [first_of_rnn, second_of_lstm, dense_layer]")
    report = Architecture(1, (64, 32, 32), ())
    first, _, _, dense = count_parameters("SimpleRNN", report, 2, 5)
    second = count_parameters("LSTM", report, 2, 5)[1]
    wrong = sum(f != e for f, e in zip(found, (first, second, dense), strict=True))
    if wrong:
        raise Wrong(f"{wrong} of 3 are wrong")


def _count(student, rng, cell):
    for _ in range(4):
        units = [int(n) for n in rng.integers(2, 200, rng.integers(1, 5))]
        features, classes = (int(n) for n in rng.integers(2, 40, 2))
        expected = sum(count_parameters(cell, Architecture(0, units, ()), features, classes))
        found = student.call("count_parameters", cell, units, features, classes)
        close(found, expected, f"{cell} {units}, {features} features, {classes} classes", 0)


@question("check_count", 1, "stacks of RNN layers")
def _(student, rng):
    _count(student, rng, "SimpleRNN")


@question("check_count", 1, "stacks of LSTM layers")
def _(student, rng):
    _count(student, rng, "LSTM")


# --- 2.1 The stopping rule --------------------------------------------------------------------


def _stops(student, losses, threshold, expected, what):
    found = student.call("stopped_after", [float(e) for e in losses], threshold)
    if found != expected or isinstance(found, bool):
        raise Wrong(f"{what}: {found!r} is not the epoch")


@question("check_stopped", 2, "errors that fall")
def _(student, rng):
    for threshold in (1e-4, 1e-3, 0.05):
        k = int(rng.integers(2, 30))
        steps = threshold * rng.uniform(2, 5, size=k + 9)
        steps[k - 2] = 0.5 * threshold  # between epochs k - 1 and k
        steps[k + 3] = 0.1 * threshold
        losses = np.concatenate([[9.0], 9 - np.cumsum(steps)])
        _stops(student, losses, threshold, k, f"threshold {threshold}")


@question("check_stopped", 1, "errors that rise")
def _(student, rng):
    k = int(rng.integers(4, 12))
    steps = 0.01 * rng.choice([-1, 1], size=k + 4)
    steps[: k - 2 : 2] = 0.3
    steps[k - 2] = 0.00003  # a rise below the threshold stops it; one above does not
    losses = 3 + np.concatenate([[0], np.cumsum(steps)])
    _stops(student, losses, 1e-4, k, "an error that rises and falls")


@question("check_stopped", 1, "None if there is no such epoch")
def _(student, rng):
    falling = 2 - 0.01 * np.arange(rng.integers(6, 40)) * rng.uniform(1, 2)
    for losses in (falling, falling[:5], [1.0], []):
        _stops(student, losses, 1e-4, None, f"{len(losses)} errors")


# --- 2.2 The model ----------------------------------------------------------------------------

MODEL = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
model = build_model(cell, units, 0.5, features, classes, value)
ask = lambda x, training=False: np.asarray(model(x, training=training))
result = {
    "layers": [[type(layer).__name__, getattr(layer, "units", None)] for layer in model.layers],
    "count": model.count_params(),
    "loss": model.loss if isinstance(model.loss, str) else type(model.loss).__name__,
    "optimizer": [type(model.optimizer).__name__, float(model.optimizer.learning_rate)],
    "plain": ask(x),
    "padded": ask(padded),
    "twice": ask(x),
    "training": [ask(x, True), ask(x, True)],
}
"""


def _models(student, rng):
    """Yield what two random models are and do; three questions look at the same two."""
    if "models" not in student.memo:
        student.memo["models"] = list(_ask_models(student, rng))
    return student.memo["models"]


def _ask_models(student, rng):
    for cell in CELLS:
        units = [int(n) for n in rng.integers(3, 12, rng.integers(2, 4))]
        features, classes = (int(n) for n in rng.integers(2, 6, 2))
        value = float(rng.choice([2.0, -1.0]))
        x = rng.normal(size=(3, 6, features)).astype(np.float32)
        padded = np.concatenate([x, np.full((3, 4, features), value, np.float32)], axis=1)
        asked = {"cell": cell, "units": units, "features": features, "classes": classes}
        yield asked, student.run(MODEL, **asked, value=value, x=x, padded=padded)


@question("check_model", 2, "the layers, the loss, the optimiser", seconds=30)
def _(student, rng):
    for asked, found in _models(student, rng):
        stack = Architecture(0, asked["units"], ())
        expected = sum(count_parameters(asked["cell"], stack, asked["features"], asked["classes"]))
        what = f"{asked['cell']} {asked['units']}"
        close(found["count"], expected, f"{what}: parameters", 0)
        layers = [n for kind, n in found["layers"] if kind == asked["cell"]]
        if layers != asked["units"]:
            raise Wrong(f"{what}: the recurrent layers are {layers}")
        close(found["plain"].sum(axis=1), np.ones(3), f"{what}: sums of probabilities", 1e-5)
        name = found["loss"].replace("_", "").lower()
        if name != "sparsecategoricalcrossentropy":
            raise Wrong(f"{what}: the loss is {found['loss']}")
        kind, rate = found["optimizer"]
        if kind != "Adam" or not np.isclose(rate, 1e-3):
            raise Wrong(f"{what}: the optimiser is {kind} at {rate:g}")


@question("check_model", 2, "padding changes nothing", seconds=30)
def _(student, rng):
    for asked, found in _models(student, rng):
        close(found["padded"], found["plain"], f"{asked['cell']} on padded sequences", 1e-5)


@question("check_model", 1, "dropout in training only", seconds=30)
def _(student, rng):
    for asked, found in _models(student, rng):
        close(found["twice"], found["plain"], f"{asked['cell']} asked twice", 0)
        first, second = found["training"]
        if np.allclose(first, second):
            raise Wrong(f"{asked['cell']}: no dropout in training")
        dropouts = sum(kind == "Dropout" for kind, _ in found["layers"])
        if dropouts != len(asked["units"]):
            raise Wrong(f"{asked['cell']}: {dropouts} dropout layers for {asked['units']}")


# --- 2.3 Training -----------------------------------------------------------------------------

TRAIN = """
import keras
import numpy as np
keras.utils.set_random_seed(seed)
layers = [keras.Input((None, x.shape[2])), keras.layers.Masking(2.0)]
layers += [getattr(keras.layers, cell)(units), keras.layers.Dense(classes, activation="softmax")]
model = keras.Sequential(layers)
model.compile(
    optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy",
    metrics=["accuracy"], run_eagerly=eager,
)
before = [w.copy() for w in model.get_weights()]
losses = train_model(model, x, y, epochs, threshold)
moved = max(float(np.abs(a - b).max()) for a, b in zip(before, model.get_weights()))
result = [list(map(float, losses)), model.predict(unseen, verbose=0).argmax(axis=1), moved]
"""


def strokes(data, rng, per_class):
    """Draw scaled, thinned strokes with shuffled labels: to train on, and others to ask about."""
    names = rng.permutation(len(data["classes"]))
    out = []
    for split, n in (("train", per_class), ("test", 15)):
        x = np.split(data[f"{split}_steps"], np.cumsum(data[f"{split}_lengths"])[:-1])
        labels = data[f"{split}_labels"]
        index = [rng.choice(np.flatnonzero(labels == k), n) for k in range(len(names))]
        index = rng.permutation(np.concatenate(index))
        scaled = [minmax_scale(x[i][::6]) for i in index]
        out += [pad(scaled, 2.0), names[labels[index]]]
    return out


@question("check_train", 3, "a model trained so recognises unseen strokes", seconds=60)
def _(student, rng):
    x, y, unseen, labels = strokes(student.data["handwriting"], rng, 48)
    losses, predicted, _ = student.run(
        TRAIN,
        **{"x": x, "y": y, "unseen": unseen, "classes": int(labels.max()) + 1, "rate": 0.02},
        **{"epochs": 12, "threshold": 1e-6, "seed": int(rng.integers(1000)), "units": 24},
        **{"cell": "LSTM", "eager": False},
    )
    if not losses or losses[-1] > 0.8 * losses[0]:
        raise Wrong(f"the average error did not fall in {len(losses)} epochs")
    share = float(np.mean(predicted == labels))
    if share < 0.5:
        raise Wrong(f"{share:.0%} of unseen strokes recognised, expected at least 50 %")


@question("check_train", 1, "stops by the rule", seconds=60)
def _(student, rng):
    x, y = rng.normal(size=(64, 5, 2)), rng.integers(0, 2, 64)
    losses, _, _ = student.run(
        TRAIN,
        **{"x": x, "y": y, "unseen": x[:2], "classes": 2, "rate": 0.0, "epochs": 9, "seed": 0},
        **{"threshold": 1e-4, "units": 4, "cell": "SimpleRNN", "eager": True},
    )
    if len(losses) != 2:
        raise Wrong(f"{len(losses)} epochs with an error that never changes")


@question("check_train", 1, "stops at max_epochs, one error for each epoch", seconds=60)
def _(student, rng):
    x, y = rng.normal(size=(64, 5, 2)), rng.integers(0, 2, 64)
    epochs = int(rng.integers(3, 6))
    losses, _, moved = student.run(
        TRAIN,
        **{"x": x, "y": y, "unseen": x[:2], "classes": 2, "rate": 0.05, "epochs": epochs},
        **{"threshold": 1e-12, "seed": 0, "units": 4, "cell": "SimpleRNN", "eager": True},
    )
    if len(losses) != epochs or not np.isfinite(losses).all() or moved == 0:
        raise Wrong(f"{len(losses)} errors for {epochs} epochs")


# --- 2.4 Split and choice ---------------------------------------------------------------------


def _split(student, y, share, seed):
    found = items(student.call("split", y, share, seed), ("train", "held out"), "split")
    try:
        return [np.asarray(part).astype(np.int64, casting="same_kind") for part in found]
    except TypeError:
        raise Wrong("split: no two arrays of positions") from None


def _labels(rng):
    return rng.permutation(np.repeat(np.arange(4), rng.integers(9, 70, 4)))


@question("check_choose", 1, "a split is complete and disjoint")
def _(student, rng):
    for share in (0.1, 0.3):
        y = _labels(rng)
        train, held = _split(student, y, share, int(rng.integers(99)))
        both = np.sort(np.concatenate([train, held]))
        close(both, np.arange(len(y)), "all positions")
        if not len(held):
            raise Wrong("nothing is held out")


@question("check_choose", 1, "the share of each class")
def _(student, rng):
    for share in (0.15, 0.4):
        y = _labels(rng)
        _, held = _split(student, y, share, int(rng.integers(99)))
        counts, there = np.bincount(y[held], minlength=4), np.bincount(y)
        if (np.abs(counts - share * there) >= 1).any():
            raise Wrong(f"held out {counts.tolist()} of {there.tolist()} for a share of {share}")


@question("check_choose", 1, "the same seed, the same split; another seed, another")
def _(student, rng):
    y, seed = np.repeat(np.arange(3), 60), int(rng.integers(99))
    first, again, other = (_split(student, y, 0.3, s)[1] for s in (seed, seed, seed + 1))
    if not np.array_equal(np.sort(first), np.sort(again)):
        raise Wrong("one seed gave two splits")
    if np.array_equal(np.sort(first), np.sort(other)):
        raise Wrong("two seeds gave the same split")


def _runs(rows):
    names = ("units", "seed", "validation_accuracy", "test_accuracy", "parameters")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _chooses(student, rng, rows, expected, what):
    found = student.call("choose", _runs([rows[i] for i in rng.permutation(len(rows))]))
    try:
        right = list(found) == list(expected)
    except TypeError:
        right = False
    if not right:
        raise Wrong(f"{what}: another architecture was chosen")


@question("check_choose", 2, "the mean over seeds")
def _(student, rng):
    a, b, c = ([int(n)] for n in rng.choice(np.arange(4, 90), 3, replace=False))
    for best, second in ((a, b), (b, c)):
        rows = [(best, s, 0.80 + 0.01 * s, 0.5, 100) for s in range(3)]
        rows += [(second, s, v, 0.5, 100) for s, v in enumerate((0.97, 0.60, 0.72))]
        # More seeds must not count as more accuracy.
        rows += [(next(u for u in (a, b, c) if u not in (best, second)), s, 0.7, 0.5, 90)
                 for s in range(6)]  # fmt: skip
        _chooses(student, rng, rows, best, "three architectures")


@question("check_choose", 1, "ties go to fewer parameters")
def _(student, rng):
    for fewest in (0, 1, 2, 1, 0):  # whatever stands first or last in the list
        sizes = [[int(n)] for n in rng.choice(np.arange(4, 90), 3, replace=False)]
        rows = [(n, 0, 0.75, 0.5, 100 if i == fewest else 200) for i, n in enumerate(sizes)]
        found = student.call("choose", _runs(rows))
        if not isinstance(found, list | tuple) or list(found) != sizes[fewest]:
            raise Wrong("another of three that are equal was chosen")


@question("check_choose", 1, "the test accuracy has no say")
def _(student, rng):
    for _ in range(3):
        a, b = ([int(n), 8] for n in rng.choice(np.arange(4, 90), 2, replace=False))
        rows = [(a, 0, 0.9, 0.3, 500), (b, 0, 0.8, 0.95, 100)]
        _chooses(student, rng, rows, a, "a better test accuracy elsewhere")


# --- 2.5 Confusion ----------------------------------------------------------------------------


@question("check_confusion", 2, "counts, rows true")
def _(student, rng):
    for classes in (3, 6):
        y, predicted = rng.integers(0, classes, (2, 80))
        expected = confusion_matrix(y, predicted, labels=range(classes))
        close(student.call("confusion_matrix", y, predicted, classes), expected, "counts", 0)


@question("check_confusion", 1, "classes that do not occur")
def _(student, rng):
    y, predicted = rng.choice([0, 3], 40), rng.choice([0, 2], 40)
    expected = confusion_matrix(y, predicted, labels=range(5))
    close(student.call("confusion_matrix", y, predicted, 5), expected, "counts", 0)


@question("check_confusion", 2, "the mean over classes")
def _(student, rng):
    y, predicted = rng.choice(4, 300, p=[0.7, 0.1, 0.1, 0.1]), rng.integers(0, 4, 300)
    y[:4] = range(4)
    matrix = confusion_matrix(y, predicted, labels=range(4))
    expected = balanced_accuracy_score(y, predicted)
    close(student.call("balanced_accuracy", matrix), expected, "balanced accuracy")


@question("check_confusion", 1, "a class without files")
def _(student, rng):
    matrix = rng.integers(1, 20, size=(4, 4))
    empty = int(rng.integers(4))
    matrix[empty] = 0
    rows = np.delete(np.arange(4), empty)
    expected = (np.diag(matrix)[rows] / matrix[rows].sum(axis=1)).mean()
    close(student.call("balanced_accuracy", matrix), expected, "balanced accuracy")


# --- 2.6 The runs that were handed in ---------------------------------------------------------


def recorded(student):
    """Return the rows of ``runs.json`` that can be read, or say what is wrong."""
    rows = student.runs
    if rows is None:
        raise Wrong("no runs.json was handed in, or it is no list of runs")
    needed = ("dataset", "classes", "cell", "units", "losses", "held_out", "validation_predicted")
    rows = [row for row in rows if isinstance(row, dict) and all(k in row for k in needed)]
    if not rows:
        raise Wrong("runs.json holds no complete run")
    return rows


def _truth(student, row, split):
    """Return the labels that a row's predictions are about."""
    if row["dataset"] not in student.data:
        raise Wrong(f"unknown data set {row['dataset']!r}")
    data = student.data[row["dataset"]]
    there, classes = [str(c) for c in data["classes"]], row["classes"]
    if not isinstance(classes, list) or not set(classes) <= set(there):
        raise Wrong(f"classes {classes} are not those of the data")
    dealt = student.dealt.get(row["dataset"])
    if dealt and sorted(classes) != sorted(dealt):
        raise Wrong(f"classes {classes} are not those of the group, {dealt}")
    labels = [there[k] for k in data[f"{split}_labels"]]
    return np.array([classes.index(label) for label in labels if label in classes])


def _indices(values, what, below):
    try:
        array = np.array(values)
        right = array.ndim == 1 and array.dtype.kind in "iu" and len(array)
        if right and array.min() >= 0 and array.max() < below:
            return array
    except (TypeError, ValueError):
        pass
    raise Wrong(f"{what}: expected whole numbers from 0 to {below - 1}")


@question("check_runs", 2, "both data sets, both cells, three architectures each")
def _(student, rng):
    rows = recorded(student)
    for dataset in student.data:
        for cell in CELLS:
            found = {
                str(row["units"])
                for row in rows
                if (row["dataset"], row["cell"]) == (dataset, cell)
            }
            if len(found) < 3:
                raise Wrong(f"{dataset} {cell}: {len(found)} architectures")


@question("check_runs", 1, "an average error for each epoch, falling")
def _(student, rng):
    for row in recorded(student):
        what = f"{row['dataset']} {row['cell']} {row['units']}"
        try:
            losses = np.array(row["losses"], dtype=float)
        except (TypeError, ValueError):
            raise Wrong(f"{what}: the errors are no numbers") from None
        if losses.ndim != 1 or len(losses) < 2 or not np.isfinite(losses).all():
            raise Wrong(f"{what}: expected an error for each of two or more epochs")
        if losses[-1] >= losses[0]:
            raise Wrong(f"{what}: the error did not fall")


@question("check_runs", 2, "validation accuracies are what the predictions give")
def _(student, rng):
    for row in recorded(student):
        what = f"{row['dataset']} {row['cell']} {row['units']}"
        truth = _truth(student, row, "train")
        held = _indices(row["held_out"], f"{what}, held_out", len(truth))
        predicted = _indices(row["validation_predicted"], what, len(row["classes"]))
        if len(held) != len(predicted) or len(set(held.tolist())) < len(held):
            raise Wrong(f"{what}: {len(predicted)} predictions for {len(held)} files")
        if not 0.05 * len(truth) <= len(held) <= 0.5 * len(truth):
            raise Wrong(f"{what}: {len(held)} of {len(truth)} files held out")
        close(row.get("validation_accuracy"), np.mean(predicted == truth[held]), what)


def _tested(student):
    return [row for row in recorded(student) if "test_predicted" in row]


@question("check_runs", 1, "the chosen architecture was tested, and no other")
def _(student, rng):
    rows = recorded(student)
    for dataset in student.data:
        for cell in CELLS:
            here = [row for row in rows if (row["dataset"], row["cell"]) == (dataset, cell)]
            tested = {str(row["units"]) for row in here if "test_predicted" in row}
            means = {}
            for row in here:
                score = row.get("validation_accuracy")
                if not isinstance(score, int | float):
                    raise Wrong(f"{dataset} {cell}: a run without validation accuracy")
                size = sum(
                    count_parameters(cell, Architecture(0, row["units"], ()), 2, 5)
                )  # only their order counts
                means.setdefault(str(row["units"]), (size, []))[1].append(score)
            best = max(
                means, key=lambda u: (round(np.mean(means[u][1]), 9), -means[u][0]), default=0
            )
            if tested != {best}:
                raise Wrong(f"{dataset} {cell}: tested {', '.join(sorted(tested)) or 'nothing'}")


@question("check_runs", 1, "confusion matrices are what the predictions give")
def _(student, rng):
    rows = _tested(student)
    if len({(row["dataset"], row["cell"]) for row in rows}) < 2 * len(student.data):
        raise Wrong("not every data set and cell was tested")
    for row in rows:
        what = f"{row['dataset']} {row['cell']}"
        truth = _truth(student, row, "test")
        predicted = _indices(row["test_predicted"], what, len(row["classes"]))
        if len(predicted) != len(truth):
            raise Wrong(f"{what}: {len(predicted)} predictions for {len(truth)} test files")
        expected = confusion_matrix(truth, predicted, labels=range(len(row["classes"])))
        close(row.get("test_confusion"), expected, f"{what}: matrix", 0)


# --- Asking -----------------------------------------------------------------------------------


def points(cell=None):
    """Return the points of one check cell, or a dict of all."""
    if cell is None:
        return {name: points(name) for name in dict.fromkeys(q.cell for q in QUESTIONS)}
    return sum(q.points for q in QUESTIONS if q.cell == cell)


def ask(student, cell, seed):
    """Ask all questions of one check cell.

    Parameters
    ----------
    student : object
        Has ``call`` and ``run`` as a :class:`~assignment.grader.sandbox.Sandbox`, and ``data``,
        ``runs`` and ``dealt``.
    cell : str
    seed : int
        Every question draws from its own generator, so one answer does not change another.

    Yields
    ------
    tuple
        Question, whether it was answered rightly, and a message for the student.
    """
    for number, question in enumerate(QUESTIONS):
        if question.cell != cell:
            continue
        student.seconds = question.seconds
        try:
            question.ask(student, np.random.default_rng([seed, number]))
        except Wrong as error:
            yield question, False, str(error)
        except StudentError as error:
            yield question, False, str(error)
        else:
            yield question, True, ""
