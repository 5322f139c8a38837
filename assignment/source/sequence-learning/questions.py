"""The questions: every point that is given without a person comes from here.

A question asks the student's functions something with numbers drawn afresh and compares the
answer on this side; what is expected never enters the student's process. References are `helpers`,
scikit-learn and SciPy. Its title and its message are shown to the student: they say what was asked
and how far off the answer was, not the answer.
"""

import json
import os
from itertools import permutations, product

import numpy as np
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from sklearn.preprocessing import StandardScaler, minmax_scale

from assignment.grader.questions import Wrong, close, comparing, items, question, refused, whole
from assignment.grader.sandbox import StudentError
from helpers.cells import LSTM, RNN, backward, forward
from helpers.data import DATA, load_cv_segments, load_handwriting
from helpers.models import Architecture, count_parameters
from helpers.padding import mask_of

HANDED_IN = ("runs.json",)
# What `given.py` and the notebooks import; with the versions of the repository.
PACKAGES = ("jupyterlab", "keras", "matplotlib", "numpy", "scikit-learn", "tensorflow")
CELLS = ("SimpleRNN", "LSTM")
EPOCHS = {"handwriting": 60, "cv_segments": 20}  # as in notebook 2


# --- The data that are handed out -------------------------------------------------------------


def datasets():
    """Load both data sets: those of ``SEQUENCE_DATA``, or the sample.

    Never ``data/course`` unasked: what is packed into a zip is handed on.
    """
    path = os.environ.get("SEQUENCE_DATA") or DATA / "sample"
    return [load(path) for load in (load_handwriting, load_cv_segments)]


def arrays(dataset):
    """Return both splits of a data set as arrays, which need no reader of files.

    Parameters
    ----------
    dataset : helpers.data.SequenceDataset

    Returns
    -------
    dict
        ``classes``, and for each split ``…_steps`` of all sequences, ``…_lengths``, ``…_labels``.
    """
    out = {"classes": np.array(dataset.classes)}
    for split in ("train", "test"):
        sequences = getattr(dataset, split)
        out[f"{split}_steps"] = np.concatenate(sequences.x)
        out[f"{split}_lengths"] = sequences.lengths
        out[f"{split}_labels"] = sequences.y
    return out


def add_files(folder):
    """Put the data into a release."""
    (folder / "data").mkdir(exist_ok=True)
    for dataset in datasets():
        dataset.summary()
        np.savez_compressed(folder / "data" / f"{dataset.name}.npz", **arrays(dataset))


def load_data(folder):
    """Read the data of a release: name → arrays."""
    data = {}
    for path in sorted((folder / "data").glob("*.npz")):
        with np.load(path) as file:
            data[path.stem] = {name: file[name] for name in file.files}
    return data


# --- 1.1 Strokes ------------------------------------------------------------------------------


def stroke_text(points, separator=" ", form="{:.6f}"):
    """Write a stroke as a file has it."""
    words = [str(len(points)), *(form.format(v) for v in points.ravel())]
    return separator.join(words)


@question("check_read_stroke", 2)
def stroke_is_read(student, rng):
    """Reads strokes."""
    for n in (1, *rng.integers(2, 90, 3)):
        points = rng.normal(size=(n, 2)).round(6)
        found = student.call("read_stroke", stroke_text(points), "a.txt")
        close(found, points, f"a stroke of {n} points")


@question("check_read_stroke", 1)
def stroke_with_line_breaks(student, rng):
    """Reads line breaks and exponents."""
    points = rng.normal(size=(int(rng.integers(3, 9)), 2)).round(6)
    for separator in ("\n", " \r\n", "\t"):
        text = "\n " + stroke_text(points, separator, "{:.8e}") + "\n\n"
        close(student.call("read_stroke", text, "a.txt"), points, "line breaks and exponents")


@question("check_read_stroke", 2)
def stroke_of_wrong_count(student, rng):
    """Refuses wrong counts."""
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


@question("check_read_stroke", 1)
def stroke_that_is_no_number(student, rng):
    """Refuses what is no number."""
    words = stroke_text(rng.normal(size=(int(rng.integers(4, 30)), 2))).split()
    for bad in ("x1", "0,5", "nan", "inf", "-inf"):
        at = int(rng.integers(1, len(words)))
        text = " ".join([*words[:at], bad, *words[at + 1 :]])
        refused(student, "read_stroke", text, "a.txt", what=f"the coordinate {bad!r}")
    for text in ("", " \n", f"{words[0]}.5 " + " ".join(words[1:]), "abc 1 2"):
        refused(student, "read_stroke", text, "a.txt", what=f"a file that begins {text[:6]!r}")


@question("check_read_stroke", 1)
def stroke_error_names_file(student, rng):
    """Names the file it refuses."""
    name = f"stroke_{rng.integers(1000, 9999)}.txt"
    for text in ("2 0.5 0.5", "1 0.5 word", "", "2 0 0 0 nan"):
        refused(student, "read_stroke", text, name, says=[name], what="a broken file")


# --- 1.2 Segments -----------------------------------------------------------------------------


def segment_rows(frames):
    """Write the rows of a segment as a file has them."""
    return [" ".join(f"{v:.6e}" for v in frame) + " " for frame in frames]


@question("check_read_segment", 2)
def segment_is_read(student, rng):
    """Reads segments."""
    for end, tail in (("\n", ""), ("\r\n", "\r\n"), ("\n", "\n\n \n")):
        frames = rng.normal(size=(int(rng.integers(1, 30)), 39)).round(6)
        text = end.join(segment_rows(frames)) + tail
        close(student.call("read_segment", text, "a.mfcc"), frames, "a segment")


@question("check_read_segment", 2)
def segment_of_wrong_width(student, rng):
    """Refuses rows of another width."""
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


@question("check_read_segment", 1)
def segment_that_is_no_number(student, rng):
    """Refuses what is no number."""
    rows = segment_rows(rng.normal(size=(6, 39)))
    for bad in ("?", "nan", "inf"):
        words = rows[2].split()
        words[int(rng.integers(39))] = bad
        text = "\n".join([*rows[:2], " ".join(words), *rows[3:]])
        refused(student, "read_segment", text, "a.mfcc", what=f"the number {bad!r}")
    for text in ("", "\n \n"):
        refused(student, "read_segment", text, "a.mfcc", what="a file with nothing to read")


@question("check_read_segment", 1)
def segment_error_names_row(student, rng):
    """Names file and row."""
    name = f"seg_{rng.integers(1000, 9999)}.mfcc"
    rows = segment_rows(rng.normal(size=(12, 39)))
    at = int(rng.integers(2, 9))
    for row in ("1 2 3", rows[at].replace(rows[at].split()[5], "what")):
        text = "\n".join([*rows[:at], row, *rows[at + 1 :]])
        says = [name, f"row {at + 1}"]
        refused(student, "read_segment", text, name, says=says, what="a broken row")


# --- 1.3 Scaling ------------------------------------------------------------------------------


@question("check_scale", 2)
def stroke_is_scaled(student, rng):
    """Scales strokes, and leaves its argument as it was."""
    for _ in range(3):
        x = rng.normal(rng.normal(), 3, size=(int(rng.integers(3, 60)), 2))
        found, after = student.run("y = scale_stroke(x)\nresult = [y, x]", x=x)
        close(found, minmax_scale(x), "a stroke")
        close(after, x, "the argument afterwards", 0)


@question("check_scale", 1)
def straight_stroke_is_scaled(student, rng):
    """Scales an axis that does not change to 0."""
    x = rng.normal(size=(int(rng.integers(3, 20)), 2))
    x[:, rng.integers(2)] = rng.normal()
    close(student.call("scale_stroke", x), minmax_scale(x), "a straight stroke")
    point = rng.normal(size=(1, 2))
    close(student.call("scale_stroke", point), [[0, 0]], "a stroke of one point")


@question("check_scale", 2)
def scaler_is_fitted(student, rng):
    """Fits mean and standard deviation on all frames."""
    train = [rng.normal(k, 1 + k, size=(3 + 9 * k, 4)) for k in range(4)]
    steps = np.concatenate(train)
    mean, std = items(student.call("fit_standard", train), ("mean", "std"), "fit_standard")
    close(mean, steps.mean(axis=0), "mean")
    close(std, steps.std(axis=0), "standard deviation")


@question("check_scale", 1)
def frames_are_standardised(student, rng):
    """Standardises, features that never change to 0."""
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
    # Away from both values that batches are padded with.
    return [rng.uniform(-0.5, 1.5, size=(length, features)) for length in lengths]


@question("check_pad", 2)
def batch_is_padded(student, rng):
    """Pads at the end."""
    for value in (2, -1.0):
        x = ragged(rng, int(rng.integers(1, 5)))
        close(student.call("pad", x, value), pad(x, value), "padded batch")
        found = student.call("pad", x, value, 15)
        close(found, pad(x, value, 15), "padded to 15 steps")


@question("check_pad", 1)
def too_long_is_refused(student, rng):
    """Refuses what is longer than the length."""
    x = ragged(rng)
    longest = max(map(len, x))
    student.call("pad", x, 2, longest)
    refused(student, "pad", x, 2, longest - 1, what="a sequence one step too long")


@question("check_pad", 2)
def step_like_padding_is_refused(student, rng):
    """Refuses a step that looks like padding, and no other."""
    x = ragged(rng)
    x[1][2, :2] = 2.0  # not in every feature
    student.call("pad", x, 2)
    x[1][2] = 2.001  # in none
    student.call("pad", x, 2)
    x[1][2] = 2.0
    refused(student, "pad", x, 2, what="a step of padding in the middle")
    x = ragged(rng)
    x[3][-1] = -1.0
    refused(student, "pad", x, -1, what="a step of padding at the end")


@question("check_pad", 2)
def mask_of_padding(student, rng):
    """Masks what is padding in all features, and nothing that comes close."""
    for value in (2.0, -1.0):
        for feature in range(3):
            x = ragged(rng)
            x[1][3, feature] = value  # padding in one feature
            x[1][4] = value
            x[1][4, feature] = 0.0  # and in all but one
            x[1][5] = value + 0.001
            batch = pad(x, value)
            close(student.call("mask_of", batch, value), mask_of(batch, value), "mask")


# --- 1.5 A recurrent network ------------------------------------------------------------------


def network(rng, cell, batch=4, time=7):
    """Draw a cell and a batch for it; no two of its sizes are equal and no W_h is symmetric."""
    m, n = (int(v) for v in rng.choice([3, 4, 6, 8], 2, replace=False))
    drawn = cell.random(rng, m, n)
    drawn.W_h[:] = rng.normal(size=drawn.W_h.shape) / np.sqrt(n)
    drawn.W_h[0, 1] = drawn.W_h[1, 0] + 0.7
    drawn.b[:] = rng.normal(size=drawn.b.shape)
    return drawn, rng.normal(size=(batch, time, m))


@question("check_rnn", 3)
def rnn_step(student, rng):
    """Makes one step."""
    for batch in (1, 5):
        cell, x = network(rng, RNN, batch)
        h = rng.normal(size=(batch, cell.units))
        (expected,), _ = cell.step(x[:, 0], (h,))
        found = student.call("rnn_step", x[:, 0], h, cell.W_x, cell.W_h, cell.b)
        close(found, expected, f"a step of a batch of {batch}")


@question("check_rnn", 2)
def rnn_forward(student, rng):
    """Makes all steps."""
    cell, x = network(rng, RNN, time=int(rng.integers(9, 30)))
    mask = np.ones(x.shape[:2], dtype=bool)
    found = student.call("rnn_forward", x, mask, cell.W_x, cell.W_h, cell.b)
    close(found, forward(cell, x).h, "all hidden states")


@question("check_rnn", 2)
def rnn_forward_masked(student, rng):
    """Keeps the state where the mask is false."""
    cell, x = network(rng, RNN, batch=5, time=9)
    mask = np.arange(9) < rng.integers(2, 8, size=(5, 1))
    mask[0] = [True, False, True, True, False, False, True, False, True]
    mask[1] = [False, False, True, True, True, True, True, True, True]
    found = student.call("rnn_forward", x, mask, cell.W_x, cell.W_h, cell.b)
    close(found, forward(cell, x, mask).h, "hidden states with a mask")


# --- 1.6 Backpropagation ----------------------------------------------------------------------


def far_reaching(rng, time):
    """Draw a network in which the gradient arrives at the first of many steps."""
    cell, x = network(rng, RNN, 3, time)
    n = cell.units
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    while np.abs(q - q.T).max() < 0.3:  # nearly symmetric ones would hide a missing transpose
        q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    cell.W_h[:], cell.b[:] = q, 0
    return cell, 0.05 * x


def compare_gradient(student, rng, name):
    """Compare one gradient on short sequences and on one much longer than any cut."""
    for cell, x in (network(rng, RNN, 1, 3), network(rng, RNN, 4, 14), far_reaching(rng, 90)):
        trace = forward(cell, x)
        d_h = np.zeros_like(trace.h)
        d_h[:, -1] = rng.normal(size=d_h[:, -1].shape)
        found = student.call("rnn_backward", x, trace.h, d_h[:, -1], cell.W_h)
        (found,) = items({**found} if isinstance(found, dict) else {}, [name], "rnn_backward")
        expected = backward(cell, trace, d_h).weights[name]
        # What single precision rounds over so many steps is no mistake.
        close(found, expected, f"gradient by {name}, {x.shape[1]} steps", 2e-5)


@question("check_backward", 2)
def gradient_by_W_x(student, rng):
    """Gradient by W_x."""
    compare_gradient(student, rng, "W_x")


@question("check_backward", 2)
def gradient_by_W_h(student, rng):
    """Gradient by W_h."""
    compare_gradient(student, rng, "W_h")


@question("check_backward", 1)
def gradient_by_b(student, rng):
    """Gradient by b."""
    compare_gradient(student, rng, "b")


NUMERIC = """
def loss():
    global calls
    calls += 1
    return float((c * np.sin(w * array)).sum() + array.sum() ** 2 + (d * array**3).sum())
import numpy as np
calls = 0
result = [numeric_gradient(loss, array, step), array, calls]
"""


@question("check_backward", 2)
def central_differences(student, rng):
    """Central differences."""
    for shape, step in (((5,), 1e-3), ((3, 4), 0.1)):
        a, c, d, w = rng.uniform(0.5, 1.5, size=(4, *shape))
        loss = lambda a: (c * np.sin(w * a)).sum() + a.sum() ** 2 + (d * a**3).sum()  # noqa: B023, E731
        expected = np.zeros(shape)
        for index in np.ndindex(shape):
            move = np.zeros(shape)
            move[index] = step
            expected[index] = (loss(a + move) - loss(a - move)) / (2 * step)
        found, _, calls = student.run(NUMERIC, array=a, c=c, d=d, w=w, step=step)
        close(found, expected, f"gradient with a step of {step:g}", 1e-8)
        if calls > 2 * a.size + 1:
            raise Wrong(f"loss() was called {calls} times for {a.size} entries")


@question("check_backward", 1)
def array_is_left_alone(student, rng):
    """Leaves the array as it was."""
    a = rng.normal(size=(12, 9))
    ones = np.ones_like(a)
    _, after, calls = student.run(NUMERIC, array=a, c=ones, d=ones, w=ones, step=1e-3)
    if calls < a.size:
        raise Wrong(f"loss() was called {calls} times for {a.size} entries")
    if not np.array_equal(after, a):
        raise Wrong("the array is not the same afterwards, bit for bit")


@question("check_backward", 2)
def relative_error(student, rng):
    """Relative error."""
    for scale in (1e-6, 1, 1e6):
        a = scale * rng.normal(size=(3, 4))
        b = a + 0.3 * scale * rng.normal(size=a.shape)
        b[1, 1] = 3 * np.sign(a[1, 1]) * np.abs(a).max()  # the largest magnitude is in one of them
        expected = np.abs(a - b).max() / np.abs(b).max()
        for pair in ((a, b), (b, a), (-a, -b)):
            close(student.call("relative_error", *pair), expected, "relative error")
    close(student.call("relative_error", np.zeros(3), np.zeros(3)), 0, "of two arrays of zeros")


# --- 1.7 LSTM ---------------------------------------------------------------------------------


def compare_state(student, rng, part):
    """Compare h or c after one step."""
    for batch in (1, 4):
        cell, x = network(rng, LSTM, batch)
        h, c = rng.normal(size=(2, batch, cell.units))
        expected, _ = cell.step(x[:, 0], (h, c))
        found = student.call("lstm_step", x[:, 0], h, c, cell.W_x, cell.W_h, cell.b)
        close(items(found, ("h", "c"), "lstm_step")[part], expected[part], "hc"[part])


@question("check_lstm", 2)
def lstm_hidden_state(student, rng):
    """The hidden state."""
    compare_state(student, rng, 0)


@question("check_lstm", 2)
def lstm_cell_state(student, rng):
    """The cell state."""
    compare_state(student, rng, 1)


LARGE = """
import warnings
result = []
for h, c, b in draws:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = lstm_step(x, h, c, W_x, W_h, b)
    result.append([found, len(seen)])
"""


@question("check_lstm", 1)
def lstm_large_arguments(student, rng):
    """Large arguments, without a warning."""
    n, x = int(rng.integers(2, 5)), np.ones((3, 1))
    W_x, W_h = np.zeros((1, 4 * n)), np.zeros((n, 4 * n))
    # Every combination of the four blocks, so that exchanged gates never pass by chance.
    signs = np.array(list(product((-1, 1), repeat=4)))
    draws = [(*rng.normal(size=(2, 3, n)), 1e3 * np.repeat(row, n)) for row in signs]
    found = student.run(LARGE, x=x, W_x=W_x, W_h=W_h, draws=draws)
    for (h, c, b), (new, warned) in zip(draws, found, strict=True):
        expected, _ = LSTM(W_x, W_h, b).step(x, (h, c))
        for name, one, other in zip("hc", items(new, "hc", "lstm_step"), expected, strict=True):
            close(one, other, name)
        if warned:
            raise Wrong("there was a warning")


# --- 1.8 Parameters ---------------------------------------------------------------------------


@question("check_count", 2)
def counts_by_hand(student, rng):
    """Three numbers by hand."""
    found = student.run("result = [first_of_rnn, second_of_lstm, dense_layer]")
    report = Architecture(1, (64, 32, 32), ())
    first, _, _, dense = count_parameters("SimpleRNN", report, 2, 5)
    second = count_parameters("LSTM", report, 2, 5)[1]
    found = [whole(number, "one of the three") for number in found]
    wrong = sum(f != e for f, e in zip(found, (first, second, dense), strict=True))
    if wrong:
        raise Wrong(f"{wrong} of 3 are wrong")


def compare_counts(student, rng, cell):
    """Compare the parameters of stacks of one to four layers."""
    for layers in (1, 2, 3, 4):
        units = [int(n) for n in rng.integers(2, 200, layers)]
        features, classes = (int(n) for n in rng.integers(2, 40, 2))
        expected = sum(count_parameters(cell, Architecture(0, units, ()), features, classes))
        what = f"{cell} {units}, {features} features, {classes} classes"
        found = whole(student.call("count_parameters", cell, units, features, classes), what)
        if found != expected:
            raise Wrong(f"{what}: off by {abs(found - expected)}")


@question("check_count", 1)
def counts_of_rnn(student, rng):
    """Stacks of RNN layers."""
    compare_counts(student, rng, "SimpleRNN")


@question("check_count", 1)
def counts_of_lstm(student, rng):
    """Stacks of LSTM layers."""
    compare_counts(student, rng, "LSTM")


# --- 2.1 The stopping rule --------------------------------------------------------------------


def compare_stop(student, losses, threshold, expected, what):
    """Compare the epoch, a whole number of whatever type, or None."""
    found = student.call("stopped_after", [float(e) for e in losses], threshold)
    if expected is None:
        if found is not None:
            raise Wrong(f"{what}: something else than None")
    elif found is None or whole(found, what) != expected:
        raise Wrong(f"{what}: not the epoch")


@question("check_stopped", 2)
def stops_where_errors_fall(student, rng):
    """Errors that fall."""
    for threshold in (1e-4, 1e-3, 0.05):
        k = int(rng.integers(3, 30))
        steps = threshold * rng.uniform(2, 5, size=k + 9)
        steps[k - 2] = 0.5 * threshold  # between epochs k - 1 and k
        steps[k + 3] = 0.1 * threshold
        losses = np.concatenate([[9.0], 9 - np.cumsum(steps)])
        compare_stop(student, losses, threshold, k, f"threshold {threshold}")


@question("check_stopped", 1)
def stops_where_errors_rise(student, rng):
    """Errors that rise."""
    k = int(rng.integers(4, 12))
    steps = 0.01 * rng.choice([-1, 1], size=k + 4)
    steps[: k - 2 : 2] = 0.3
    steps[k - 2] = 0.00003  # a rise below the threshold stops it; one above does not
    steps[k + 1] = 0.00002
    losses = 3 + np.concatenate([[0], np.cumsum(steps)])
    compare_stop(student, losses, 1e-4, k, "an error that rises and falls")


@question("check_stopped", 1)
def does_not_stop(student, rng):
    """None if there is no such epoch."""
    falling = 2 - 0.01 * np.arange(rng.integers(6, 40)) * rng.uniform(1, 2)
    for losses in (falling, falling[:5], [1.0], []):
        compare_stop(student, losses, 1e-4, None, f"{len(losses)} errors")


# --- 2.2 The model ----------------------------------------------------------------------------

MODEL = """
import keras
import numpy as np
keras.utils.set_random_seed(0)
model = build_model(cell, units, 0.5, features, classes, value)
ask = lambda x, training=False: np.asarray(model(x, training=training))
layers = list(model._flatten_layers(include_self=False))
try:
    error = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
except Exception:
    error = None
result = {
    "layers": [[type(layer).__name__, getattr(layer, "units", None)] for layer in layers],
    "count": model.count_params(),
    "error": error,
    "optimizer": [type(model.optimizer).__name__, float(model.optimizer.learning_rate)],
    "plain": ask(x),
    "padded": ask(padded),
    "twice": ask(x),
    "training": [ask(x, True), ask(x, True)],
}
"""


def models(student, rng):
    """Yield what two random models are and do; three questions look at the same two."""
    if "models" not in student.memo:
        student.memo["models"] = [
            ask_model(student, rng, "SimpleRNN", 2.0),
            ask_model(student, rng, "LSTM", -1.0),
        ]
    return student.memo["models"]


def ask_model(student, rng, cell, value):
    """Build a random model with the student's function and feed it."""
    units = [int(n) for n in rng.choice(np.arange(3, 12), rng.integers(2, 4), replace=False)]
    features, classes = (int(n) for n in rng.integers(2, 6, 2))
    x = rng.normal(size=(3, 6, features)).astype(np.float32)
    padded = np.concatenate([x, np.full((3, 4, features), value, np.float32)], axis=1)
    asked = {"cell": cell, "units": units, "features": features, "classes": classes}
    asked["y"] = rng.integers(0, classes, 3)
    return asked, student.run(MODEL, **asked, value=value, x=x, padded=padded)


@question("check_model", 2, seconds=30)
def model_is_as_asked(student, rng):
    """The layers, the loss, the optimiser."""
    for asked, found in models(student, rng):
        stack = Architecture(0, asked["units"], ())
        expected = sum(count_parameters(asked["cell"], stack, asked["features"], asked["classes"]))
        what = f"{asked['cell']} {asked['units']}"
        if whole(found["count"], what) != expected:
            raise Wrong(f"{what}: the number of parameters is another")
        layers = [n for kind, n in found["layers"] if kind == asked["cell"]]
        if layers != asked["units"]:
            raise Wrong(f"{what}: the recurrent layers are {layers}")
        plain = found["plain"]
        close(plain.sum(axis=1), np.ones(3), f"{what}: sums of probabilities", 1e-5)
        error = -np.log(plain[np.arange(3), asked["y"]]).mean()
        close(found["error"], error, f"{what}: the loss, against the cross-entropy", 1e-4)
        kind, rate = found["optimizer"]
        if kind != "Adam" or not np.isclose(rate, 1e-3):
            raise Wrong(f"{what}: the optimiser is {kind} at {rate:g}")


@question("check_model", 2, seconds=30)
def model_ignores_padding(student, rng):
    """Padding changes nothing."""
    for asked, found in models(student, rng):
        close(found["padded"], found["plain"], f"{asked['cell']} on padded sequences", 1e-5)


@question("check_model", 1, seconds=30)
def model_has_dropout(student, rng):
    """Dropout in training only."""
    for asked, found in models(student, rng):
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
layers = [keras.Input((None, x.shape[2])), keras.layers.Masking(2.0), keras.layers.LSTM(24)]
model = keras.Sequential([*layers, keras.layers.Dense(classes, activation="softmax")])
model.compile(
    optimizer=keras.optimizers.Adam(0.02), loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
losses = train_model(model, x, y, 12, 1e-6)
result = [list(map(float, losses)), model.predict(unseen, verbose=0).argmax(axis=1)]
"""
# The loss of each epoch is given beforehand, whatever the model learns.
SCHEDULE = """
import keras
import numpy as np
import tensorflow as tf
model = keras.Sequential([keras.Input((None, 2)), keras.layers.SimpleRNN(2), keras.layers.Dense(2)])
optimizer = keras.optimizers.Adam(0.001)
batches = -(-len(x) // 32)
def loss(truth, predicted):
    epoch = tf.cast(optimizer.iterations, tf.int32) // batches
    value = tf.gather(tf.constant(schedule, tf.float32), tf.minimum(epoch, len(schedule) - 1))
    return value + 0 * tf.reduce_sum(predicted, axis=-1)
model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"], run_eagerly=True)
losses = train_model(model, x, y, epochs, threshold)
result = [list(map(float, losses)), int(optimizer.iterations) / batches]
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


@question("check_train", 3, seconds=60)
def training_learns(student, rng):
    """A model trained so recognises unseen strokes."""
    x, y, unseen, labels = strokes(student.data["handwriting"], rng, 48)
    seed, classes = int(rng.integers(1000)), int(labels.max()) + 1
    losses, predicted = student.run(TRAIN, x=x, y=y, unseen=unseen, classes=classes, seed=seed)
    if not losses or losses[-1] > 0.8 * losses[0]:
        raise Wrong(f"the average error did not fall in {len(losses)} epochs")
    share = float(np.mean(predicted == labels))
    if share < 0.5:
        raise Wrong(f"{share:.0%} of unseen strokes recognised, expected at least 50 %")


def follow(student, rng, schedule, epochs, expected):
    """Train where the error of each epoch is known, and compare when training stopped."""
    x, y = rng.normal(size=(70, 3, 2)), rng.integers(0, 2, 70)  # the last batch is a small one
    asked = {"x": x, "y": y, "epochs": epochs, "threshold": 0.01}
    losses, trained = student.run(SCHEDULE, schedule=[float(e) for e in schedule], **asked)
    if trained != expected:
        raise Wrong(f"trained for {trained:g} epochs of batches of 32, expected {expected}")
    close(losses, schedule[:expected], "the errors that were returned", 1e-5)


@question("check_train", 1, seconds=60)
def training_stops_by_the_rule(student, rng):
    """Stops by the rule, also where errors have risen before."""
    start = rng.uniform(1, 2)
    schedule = start * np.array([1, 0.8, 0.9, 0.7, 0.702, 0.5, 0.4, 0.3])
    follow(student, rng, schedule, 8, 5)


@question("check_train", 1, seconds=60)
def training_stops_at_max_epochs(student, rng):
    """Stops at max_epochs, one error for each epoch."""
    epochs = int(rng.integers(3, 6))
    follow(student, rng, 3 - 0.2 * np.arange(9), epochs, epochs)


# --- 2.4 Split and choice ---------------------------------------------------------------------


def ask_split(student, y, share, seed):
    """Return the two arrays of positions."""
    found = items(student.call("split", y, share, seed), ("train", "held out"), "split")
    with comparing("split"):
        found = [np.asarray(part) for part in found]
        found = [part.astype(int) if not part.size else part for part in found]
        if all(part.ndim == 1 and np.all(part == part.astype(np.int64)) for part in found):
            if not any(part.dtype == bool for part in found):
                return [part.astype(np.int64) for part in found]
    raise Wrong("split: no two arrays of positions")


def some_labels(rng):
    """Draw labels of six classes of unequal size."""
    return rng.permutation(np.repeat(np.arange(6), rng.integers(60, 150, 6)))


@question("check_choose", 1)
def split_is_complete(student, rng):
    """A split is complete and disjoint."""
    for share in (0.1, 0.3):
        y = some_labels(rng)
        train, held = ask_split(student, y, share, int(rng.integers(99)))
        both = np.sort(np.concatenate([train, held]))
        close(both, np.arange(len(y)), "all positions")
        if not len(held):
            raise Wrong("nothing is held out")


@question("check_choose", 1)
def split_is_stratified(student, rng):
    """The share of each class."""
    for share in (0.15, 0.25, 0.4):
        y = some_labels(rng)
        _, held = ask_split(student, y, share, int(rng.integers(99)))
        counts, there = np.bincount(y[held], minlength=6), np.bincount(y)
        if (np.abs(counts - share * there) >= 1).any():
            raise Wrong(f"held out {counts.tolist()} of {there.tolist()} for a share of {share}")


@question("check_choose", 1)
def split_knows_its_seed(student, rng):
    """The same seed, the same split; another seed, another."""
    y, seed = np.repeat(np.arange(3), 60), int(rng.integers(99))
    first, again, other = (ask_split(student, y, 0.3, s)[1] for s in (seed, seed, seed + 1))
    if not np.array_equal(np.sort(first), np.sort(again)):
        raise Wrong("one seed gave two splits")
    if np.array_equal(np.sort(first), np.sort(other)):
        raise Wrong("two seeds gave the same split")


def compare_choices(student, cases):
    """Ask to choose in each case, a list of rows and the units expected."""
    names = ("units", "seed", "validation_accuracy", "test_accuracy", "parameters")
    asked = [[dict(zip(names, row, strict=True)) for row in rows] for rows, _, _ in cases]
    found = student.run("result = [choose(runs) for runs in asked]", asked=asked)
    for units, (_, expected, what) in zip(found, cases, strict=True):
        with comparing(what):
            if np.ndim(units) != 1 or [whole(n, what) for n in units] != expected:
                raise Wrong(f"{what}: another architecture was chosen")


def three_sizes(rng):
    """Draw three architectures."""
    return [[int(n)] for n in rng.choice(np.arange(4, 90), 3, replace=False)]


@question("check_choose", 2)
def chooses_by_mean(student, rng):
    """The mean over seeds."""
    cases = []
    for seeds in permutations(range(3)):
        for low in range(3):
            # The best mean is the worst in its worst seed, in one position and in one seed.
            best, second, third = three_sizes(rng)
            accuracies = np.array([0.9, 0.9, 0.9])
            accuracies[low] = 0.6
            rows = [(best, s, float(v), 0.5, 100) for s, v in zip(seeds, accuracies, strict=True)]
            rows += [(second, s, 0.75, 0.5, 100) for s in seeds]
            # More seeds must not count as more accuracy.
            rows += [(third, s, 0.55, 0.5, 90) for s in range(6)]
            cases.append((rows, best, "one seed much worse than the others"))
            rows = [(best, s, 0.80 + 0.01 * s, 0.5, 100) for s in seeds]
            odd = np.roll([0.97, 0.60, 0.72], low)
            rows += [(second, s, float(v), 0.5, 100) for s, v in zip(seeds, odd, strict=True)]
            cases.append((rows, best, "one seed much better than the others"))
            odd = np.roll([0.99, 0.71, 0.71], low)  # a median below that of the other
            rows = [(best, s, float(v), 0.5, 100) for s, v in zip(seeds, odd, strict=True)]
            rows += [(second, s, 0.75, 0.5, 100) for s in seeds]
            cases.append((rows, best, "a mean and a median that disagree"))
    compare_choices(student, [cases[i] for i in rng.permutation(len(cases))])


@question("check_choose", 1)
def ties_go_to_fewer_parameters(student, rng):
    """Ties go to fewer parameters."""
    cases = []
    for order in permutations(range(3)):
        for fewest in range(3):
            sizes = sorted(three_sizes(rng))
            sizes = [sizes[i] for i in order]
            rows = [
                (n, 0, 0.75, 0.5 if i == fewest else 0.6 + 0.1 * i, 100 if i == fewest else 200 + i)
                for i, n in enumerate(sizes)
            ]
            cases.append((rows, sizes[fewest], "three that are equal"))
    compare_choices(student, cases)


@question("check_choose", 1)
def choice_ignores_test_accuracy(student, rng):
    """The test accuracy has no say."""
    cases = []
    for turn in (1, -1):
        a, b = ([int(n), 8] for n in rng.choice(np.arange(4, 90), 2, replace=False))
        rows = [(a, 0, 0.9, 0.3, 500), (b, 0, 0.8, 0.95, 100)]
        cases.append((rows[::turn], a, "a better test accuracy elsewhere"))
    compare_choices(student, cases)


# --- 2.5 Confusion ----------------------------------------------------------------------------


@question("check_confusion", 2)
def confusions_are_counted(student, rng):
    """Counts, rows true."""
    for classes in (3, 6):
        y, predicted = rng.integers(0, classes, (2, 80))
        expected = confusion_matrix(y, predicted, labels=range(classes))
        close(student.call("confusion_matrix", y, predicted, classes), expected, "counts", 0)


@question("check_confusion", 1)
def absent_classes_are_counted(student, rng):
    """Classes that do not occur."""
    y, predicted = rng.choice([0, 3], 40), rng.choice([0, 2], 40)
    expected = confusion_matrix(y, predicted, labels=range(5))
    close(student.call("confusion_matrix", y, predicted, 5), expected, "counts", 0)


@question("check_confusion", 2)
def balanced_accuracy(student, rng):
    """The mean over classes."""
    y, predicted = rng.choice(4, 300, p=[0.7, 0.1, 0.1, 0.1]), rng.integers(0, 4, 300)
    y[:4] = range(4)
    matrix = confusion_matrix(y, predicted, labels=range(4))
    expected = balanced_accuracy_score(y, predicted)
    close(student.call("balanced_accuracy", matrix), expected, "balanced accuracy")


@question("check_confusion", 1)
def balanced_accuracy_of_absent_class(student, rng):
    """A class without files."""
    matrix = rng.integers(1, 20, size=(4, 4))
    empty = int(rng.integers(4))
    matrix[empty] = 0
    rows = np.delete(np.arange(4), empty)
    expected = (np.diag(matrix)[rows] / matrix[rows].sum(axis=1)).mean()
    close(student.call("balanced_accuracy", matrix), expected, "balanced accuracy")


# --- 2.6 The runs that were handed in ---------------------------------------------------------

AGAIN = """
import keras
keras.utils.set_random_seed(seed)
data = DATA[dataset]
fit, held = split(data.train_y, 0.15, seed)
model = build_model(cell, units, 0.2, data.train_x.shape[2], len(classes), MASK[dataset])
losses = train_model(model, data.train_x[fit], data.train_y[fit], 2)
result = [held, list(map(float, losses))]
"""
NEEDED = {
    **{"dataset": str, "classes": list, "cell": str, "units": list, "seed": int},
    **{"parameters": int, "losses": list, "held_out": list, "validation_predicted": list},
    "validation_accuracy": float,
}


def named(row):
    """Name a run in a message."""
    return f"{row['dataset']} {row['cell']} {row['units']} seed {row['seed']}"


def recorded(student, rng):
    """Return the complete rows of ``runs.json``; none of them counts if one cannot be true."""
    if "rows" not in student.memo:
        student.memo["rows"] = read_rows(student)
        student.memo["again"] = "a run that was started again did not come to its second epoch"
        student.memo["again"] = run_again(student, student.memo["rows"], rng)
    if student.memo.get("again"):
        raise Wrong(student.memo["again"])
    return student.memo["rows"]


def read_rows(student):
    """Read ``runs.json`` and refuse rows that contradict themselves or each other."""
    try:
        rows = json.loads(student.files["runs.json"])
    except (KeyError, ValueError, RecursionError):
        raise Wrong("no runs.json was handed in, or it is no list of runs") from None
    rows = [
        row
        for row in (rows if isinstance(rows, list) else [])[:500]
        if isinstance(row, dict)
        and all(isinstance(row.get(name), kind) for name, kind in NEEDED.items())
        and row["dataset"] in student.data
        and row["cell"] in CELLS
        and all(isinstance(n, int) and 0 < n < 10_000 for n in row["units"])
    ]
    if not rows:
        raise Wrong("runs.json holds no complete run")
    for row in rows:
        stack = Architecture(0, row["units"], ())
        features = student.data[row["dataset"]]["train_steps"].shape[1]
        expected = sum(count_parameters(row["cell"], stack, features, len(row["classes"])))
        if row["parameters"] != expected:
            raise Wrong(f"{named(row)}: found {row['parameters']} parameters, expected {expected}")
    if len({str(row["losses"]) for row in rows}) < len(rows):
        raise Wrong("two runs have the very same errors")
    for dataset in student.data:
        here = [str(row["validation_predicted"]) for row in rows if row["dataset"] == dataset]
        if len(here) > 2 and len(set(here)) == 1:
            raise Wrong(f"{dataset}: all runs predict the very same")
    return rows


def run_again(student, rows, rng):
    """Start one run again for two epochs, with the student's own functions.

    Returns
    -------
    str or None
        What is wrong.
    """
    small = [row for row in rows if row["parameters"] < 30_000]
    rows = small or [min(rows, key=lambda row: row["parameters"])]
    row = rows[int(rng.integers(len(rows)))]
    asked = {name: row[name] for name in ("dataset", "classes", "cell", "units", "seed")}
    try:
        held, losses = student.run(AGAIN, **asked)
    except StudentError as error:
        return f"{named(row)}, started again: {error}"
    recorded = row["losses"][:2]
    with comparing(named(row)):
        if sorted(np.ravel(held).tolist()) != sorted(row["held_out"]):
            return f"{named(row)}: your split holds out other files than runs.json says"
        if len(losses) != len(recorded) or not np.allclose(losses, recorded, rtol=0.01):
            return (
                f"{named(row)}: started again, its first errors are "
                f"{', '.join(f'{e:.4g}' for e in losses)}; runs.json says "
                f"{', '.join(f'{e:.4g}' for e in recorded)}"
            )
    return None


def truth(student, row, split):
    """Return the labels that a row's predictions are about."""
    data = student.data[row["dataset"]]
    there, classes = [str(c) for c in data["classes"]], row["classes"]
    if len({str(c) for c in classes}) < len(classes) or not {str(c) for c in classes} <= {*there}:
        raise Wrong(f"classes {str(classes)[:80]} are not those of the data")
    dealt = student.dealt.get(row["dataset"])
    if dealt and sorted(classes) != sorted(dealt):
        raise Wrong(f"classes {classes} are not those of the group, {dealt}")
    labels = [there[k] for k in data[f"{split}_labels"]]
    return np.array([classes.index(label) for label in labels if label in classes])


def indices(values, what, below):
    """Require a list of whole numbers from 0 on."""
    with comparing(what):
        array = np.array(values)
        right = array.ndim == 1 and array.dtype.kind in "iu" and len(array)
        if right and array.min() >= 0 and array.max() < below:
            return array
    raise Wrong(f"{what}: expected whole numbers from 0 to {below - 1}")


@question("check_runs", 2, seconds=60)
def runs_are_complete(student, rng):
    """Both data sets, both cells, three architectures each."""
    rows = recorded(student, rng)
    for dataset in student.data:
        for cell in CELLS:
            here = (row for row in rows if (row["dataset"], row["cell"]) == (dataset, cell))
            found = {str(row["units"]) for row in here}
            if len(found) < 3:
                raise Wrong(f"{dataset} {cell}: {len(found)} architectures")


@question("check_runs", 1, seconds=60)
def errors_are_recorded(student, rng):
    """An average error for each epoch, falling, as many as the rule allows."""
    for row in recorded(student, rng):
        with comparing(f"{named(row)}: the errors"):
            losses = np.array(row["losses"], dtype=float)
            if losses.ndim != 1 or len(losses) < 2 or not np.isfinite(losses).all():
                raise Wrong(f"{named(row)}: expected an error for each of two or more epochs")
            stops = np.flatnonzero(np.abs(np.diff(losses)) < 1e-4)
            expected = stops[0] + 2 if len(stops) else EPOCHS[row["dataset"]]
            if len(losses) != expected:
                raise Wrong(f"{named(row)}: {len(losses)} errors, expected {expected} by the rule")
            if losses[-1] >= losses[0]:
                raise Wrong(f"{named(row)}: the error did not fall")


@question("check_runs", 2, seconds=60)
def validation_is_true(student, rng):
    """Validation accuracies are what the predictions give, on your own split."""
    splits = {}
    for row in recorded(student, rng):
        labels = truth(student, row, "train")
        which = (row["dataset"], str(row["classes"]), row["seed"])
        if which not in splits:
            splits[which] = np.sort(ask_split(student, labels, 0.15, row["seed"])[1])
        held = indices(row["held_out"], f"{named(row)}, held_out", len(labels))
        if not np.array_equal(np.sort(held), splits[which]):
            raise Wrong(f"{named(row)}: your split holds out other files than runs.json says")
        predicted = indices(row["validation_predicted"], named(row), len(row["classes"]))
        if len(held) != len(predicted):
            raise Wrong(f"{named(row)}: {len(predicted)} predictions for {len(held)} files")
        close(row["validation_accuracy"], np.mean(predicted == labels[held]), named(row))


def tested(rows):
    """Return the rows with predictions for the test files."""
    return [row for row in rows if "test_predicted" in row]


@question("check_runs", 1, seconds=60)
def the_chosen_was_tested(student, rng):
    """The chosen architecture was tested, and no other."""
    rows = recorded(student, rng)
    for dataset in student.data:
        for cell in CELLS:
            here = [row for row in rows if (row["dataset"], row["cell"]) == (dataset, cell)]
            means = {}
            for row in here:
                _, scores = means.setdefault(str(row["units"]), (row["parameters"], []))
                scores.append(row["validation_accuracy"])
            best = max(
                means, key=lambda u: (round(np.mean(means[u][1]), 9), -means[u][0]), default=0
            )
            found = {str(row["units"]) for row in tested(here)}
            if found != {best}:
                raise Wrong(f"{dataset} {cell}: tested {', '.join(sorted(found)) or 'nothing'}")


@question("check_runs", 1, seconds=60)
def matrices_are_true(student, rng):
    """Confusion matrices are what the predictions give."""
    rows = tested(recorded(student, rng))
    if len({(row["dataset"], row["cell"]) for row in rows}) < 2 * len(student.data):
        raise Wrong("not every data set and cell was tested")
    for row in rows:
        labels = truth(student, row, "test")
        predicted = indices(row["test_predicted"], named(row), len(row["classes"]))
        if len(predicted) != len(labels):
            raise Wrong(f"{named(row)}: {len(predicted)} predictions for {len(labels)} test files")
        expected = confusion_matrix(labels, predicted, labels=range(len(row["classes"])))
        close(row.get("test_confusion"), expected, f"{named(row)}: matrix", 0)
