"""What data, recorded runs and small computations say about the report's claims.

Each function that the ledger names answers one question from a :class:`Material` and returns
what it :class:`Found`: whether that speaks for the claim, and the numbers that the ledger's
sentence quotes (``data/ledger.yaml`` holds the sentences). Those whose names end in ``in_report``
look at the report's own numbers, the others at this book's data, runs and networks.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats

from experiments.findings import (
    LEVEL,
    Found,
    bounds_of,
    crossed,
    fact,
    holm,
    same_files,
    separate_files,
    sooner,
    tested,
    tested_everywhere,
    tested_somewhere,
    words_of,
    words_of_interval,
)
from helpers.cells import GRU, LSTM, RNN, Network, central_differences, relative_error
from helpers.data import REPORT_CLASSES, DataFormatError, load_report, speaker_of
from helpers.models import ARCHITECTURES, CELLS, build, count_parameters
from helpers.padding import check_padding_value, fit_scaling, scale_keep_aspect
from helpers.runs import (
    MEMORY_FILES,
    RUN_FILES,
    chosen_architectures,
    crossed_error,
    load_tables,
    recall_by_class,
    recorded_baselines,
    recorded_transcripts,
    reported_among_seeds,
)
from helpers.transcription import error_rate

SEED = 15
LONG = 50  # lag of the adding problem from which on a dependency counts as long
FILES = {"handwriting": (345, 100), "cv_segments": (1771, 443)}  # train and test, of the report
RUN_KEYS = ["run", "dataset", "protocol", "layer", "architecture", "seed"]


@dataclass
class Material:
    """All that evidence is computed from.

    Attributes
    ----------
    report : dict
        As :func:`helpers.data.load_report` returns it.
    runs, curves, predictions, memory : pandas.DataFrame
        As :func:`helpers.runs.load_tables` returns them; curves and predictions also carry what
        identifies their run.
    transcripts : pandas.DataFrame
        As :func:`helpers.runs.recorded_transcripts` returns them.
    baselines : dict
        ``{dataset: {model: test accuracy}}``.
    data : dict
        ``{dataset: SequenceDataset}``.
    """

    report: dict = field(default_factory=dict)
    runs: pd.DataFrame | None = None
    curves: pd.DataFrame | None = None
    predictions: pd.DataFrame | None = None
    memory: pd.DataFrame | None = None
    transcripts: pd.DataFrame | None = None
    baselines: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)

    @classmethod
    def recorded(cls, *datasets):
        """Return the report's numbers and the recorded runs, with data sets that are loaded."""
        tables = load_tables(RUN_FILES)
        keys = tables["runs"][RUN_KEYS]
        return cls(
            load_report(),
            tables["runs"],
            *(keys.merge(tables[name], on="run") for name in ("curves", "predictions")),
            load_tables(MEMORY_FILES)["runs"].query("not pilot"),
            recorded_transcripts()[2],
            {name: recorded_baselines(name) for name in FILES},
            {dataset.name: dataset for dataset in datasets},
        )

    def runs_of(self, data, protocol, layers=CELLS):
        """Return the runs of one data set and protocol."""
        return self.runs.query("dataset == @data and protocol == @protocol and layer in @layers")

    def tested(self, data, protocol="validated", layers=CELLS):
        """Return the predictions of these runs on the test split."""
        here = self._tests.get((data, protocol), self.predictions.iloc[:0])
        return here[here["layer"].isin(layers)]

    @cached_property
    def _tests(self):
        test = self.predictions[self.predictions["split"] == "test"]
        return dict(iter(test.groupby(["dataset", "protocol"])))


def _by_seed_and_file(predictions, values):
    """Average over all else: shape (seeds, files), sorted by both."""
    return predictions.assign(value=values).pivot_table("value", index="seed", columns="file")


def _hits(predictions, answer=None):
    """Right answers, or those that name one class, as 0 and 1."""
    wanted = predictions["label"] if answer is None else answer
    return (predictions["predicted"] == wanted).astype(float)


def _two_layers(m, data, value, layers=("LSTM", "SimpleRNN"), protocol="validated", classes=None):
    """Seeds × files of a value of predictions, for each of two layers."""
    predictions = m.tested(data, protocol, layers)
    if classes is not None:
        predictions = predictions[predictions["label"].isin(classes)]
    tables = []
    for layer in layers:
        here = predictions[predictions["layer"] == layer]
        tables.append(_by_seed_and_file(here, value(here)))
    return tables


# --- The report's own numbers -----------------------------------------------------------------


def counts_behind(printed, n):
    """Return every k whose 32-bit k/n prints as given with four digits, rounded or cut off."""
    k = np.arange(n + 1)
    ratio = (k.astype(np.float32) / np.float32(n)).astype(float)
    digits = round(printed * 10_000)
    return k[(np.floor(ratio * 10_000) == digits) | (np.rint(ratio * 10_000) == digits)]


def counts_in_report(m, data, cell, split="test"):
    """Right answers of each architecture of the report, shape (5,)."""
    n = FILES[data][split == "test"]
    return np.rint(np.array(m.report[data][cell][f"{split}_accuracy"]) * n).astype(int)


def _best(m, data, cell):
    """Test count of the architecture that the report calls its best, and its confusion matrix."""
    k = counts_in_report(m, data, cell)[m.report[data][cell]["best"] - 1]
    return int(k), np.array(m.report[data][cell]["confusion"])


def _position(data, classes):
    """Return where classes stand in the report's matrices."""
    return [REPORT_CLASSES[data].index(c) for c in classes]


def possible_accuracy_in_report(m, printed, n):
    """Whether an accuracy is k of n."""
    return fact(len(counts_behind(printed, n)) > 0, n=n)


def five_differ_in_report(m, data, cell):
    """Chi-square test that the five architectures of a table are equal."""
    k, n = counts_in_report(m, data, cell), FILES[data][1]
    test = stats.chi2_contingency([k, n - k])
    return tested((1.0, float(test.pvalue)), chi2=test.statistic)


def own_table_in_report(m, data, cell):
    """Whether the winner has the highest test and the highest training accuracy of its table."""
    r = m.report[data][cell]
    numbers, places = {}, []
    for split in ("test", "train"):
        a = np.array(r[f"{split}_accuracy"])
        own = a[r["best"] - 1]
        places.append(int((a > own).sum()) + 1)
        tie = ", tied" if (a == own).sum() > 1 else ""
        numbers |= {split: own, f"{split}_place": f"{places[-1]} of {len(a)}{tie}"}
    return fact(places == [1, 1], **numbers)


def same_network_in_report(m, data, cell):
    """Whether a confusion matrix adds up to the accuracy in its table.

    If it does not, one of the two is of another network; which one stays open.
    """
    k, matrix = _best(m, data, cell)
    numbers = {"figure": np.trace(matrix), "n": matrix.sum(), "table": k}
    return Found("for" if numbers["figure"] == k else "open", numbers)


def lstm_over_rnn_in_report(m, data):
    """Whether the best LSTM beats the best RNN, whichever of its two counts the RNN has."""
    (k, matrix), (lstm, _), n = *(_best(m, data, c) for c in ("SimpleRNN", "LSTM")), FILES[data][1]
    rnn = sorted({k, int(np.trace(matrix))})
    bounds = [same_files(k, lstm, n) for k in rnn]
    return tested(
        (float(lstm - rnn[-1]), max(high for _, high in bounds)),
        rnn=" or ".join(map(str, rnn)),
        lstm=lstm,
        n=n,
        p=bounds_of(min(low for low, _ in bounds), max(high for _, high in bounds)),
    )


def gain_in_report(m, data, classes, answer=None, fewer=False):
    """Whether the LSTM gives some classes more right answers (or fewer of one answer) than the RNN.

    Parameters
    ----------
    m : Material
    data : str
    classes : list of str
        True classes.
    answer : str, optional
        The answer counted, if not the right one.
    fewer : bool
        Whether fewer speak for the claim.
    """
    rows = _position(data, classes)
    columns = rows if answer is None else _position(data, [answer]) * len(rows)
    (_, old), (_, new) = (_best(m, data, c) for c in ("SimpleRNN", "LSTM"))
    before, after, n = old[rows, columns].sum(), new[rows, columns].sum(), old[rows].sum()
    low, high = same_files(before, after, n)
    effect = float(before - after if fewer else after - before)
    cells = {
        c: f"{old[i, j]} → {new[i, j]}" for c, i, j in zip(classes, rows, columns, strict=True)
    }
    p = bounds_of(low, high)
    return tested((effect, high), before=before, after=after, n=n, p=p, **cells)


def second_layer_in_report(m, data, cell, more, less):
    """Whether one architecture beats another."""
    k = counts_in_report(m, data, cell)
    a, b, n = k[more - 1], k[less - 1], FILES[data][1]
    low, high = same_files(a, b, n)
    return tested((float(a - b), high), more=a, less=b, n=n, p=bounds_of(low, high))


def errors_in_report(m, data, classes, both=True, fewer=False):
    """Whether the errors of both networks fall on some classes more (or less) than on others.

    Parameters
    ----------
    m : Material
    data : str
    classes : list of str
    both : bool
        Whether the true class and the answer are both among these classes, or one of them.
    fewer : bool
        Whether a smaller share of the errors speaks for the claim.
    """
    tests, found, wrong = [], 0, 0
    for cell in ("SimpleRNN", "LSTM"):
        matrix = _best(m, data, cell)[1]
        among = _kinds_of_error(len(matrix), _position(data, classes), both)
        chance = among.sum() / (len(matrix) * (len(matrix) - 1))
        k, n = int(matrix[among].sum()), int(matrix.sum() - np.trace(matrix))
        effect = (chance - k / n) if fewer else (k / n - chance)
        tests.append((float(effect), stats.binomtest(k, n, chance).pvalue))
        found, wrong = found + k, wrong + n
    return tested_everywhere(
        tests, found=found, wrong=wrong, kinds=among.sum(), of=len(matrix) * (len(matrix) - 1)
    )


def _kinds_of_error(n, places, both):
    """Cells of an n × n matrix off its diagonal whose row and (or) column are among places."""
    there = np.isin(np.arange(n), places)
    among = there[:, None] & there if both else there[:, None] | there
    return among & ~np.eye(n, dtype=bool)


def best_class_in_report(m, data, best):
    """Whether one class has the highest recall in both matrices."""
    recalls = [recall_by_class(_best(m, data, c)[1]) for c in ("SimpleRNN", "LSTM")]
    (place,) = _position(data, [best])
    return fact(
        all(r.argmax() == place for r in recalls), rnn=recalls[0][place], lstm=recalls[1][place]
    )


def taken_for_in_report(m, data, cell, of, answer, others):
    """Whether one class is taken for another more often than other classes are."""
    matrix = _best(m, data, cell)[1]
    (row,), (column,), rest = (_position(data, c) for c in ([of], [answer], others))
    k, n = matrix[row, column], matrix[row].sum()
    k_rest, n_rest = matrix[rest, column].sum(), matrix[rest].sum()
    p = separate_files(k, k_rest, n, n_rest)
    return tested((float(k / n - k_rest / n_rest), p), k=k, n=n, others=k_rest, n_others=n_rest)


def _report_gaps(m, data):
    """Training minus test accuracy and the number of parameters: rows of the report's networks."""
    rows = []
    for cell in ("SimpleRNN", "LSTM"):
        r, width, classes = m.report[data][cell], *_widths(m, data)
        for k, architecture in enumerate(ARCHITECTURES[data].values()):
            rows.append(
                {
                    "cell": cell,
                    "parameters": sum(count_parameters(cell, architecture, width, classes)),
                    "train_accuracy": r["train_accuracy"][k],
                    "test_accuracy": r["test_accuracy"][k],
                }
            )
    table = pd.DataFrame(rows)
    return table.assign(gap=table["train_accuracy"] - table["test_accuracy"])


def _widths(m, data):
    """Features and classes of the report's networks."""
    return {"handwriting": 2, "cv_segments": 39}[data], len(m.report[data]["LSTM"]["confusion"])


def gap_with_size_in_report(m, data):
    """Whether the gap between training and test accuracy grows with the number of parameters."""
    table = _report_gaps(m, data)
    size, gap = (table.groupby("cell")[column].rank() for column in ("parameters", "gap"))
    rho = stats.spearmanr(size, gap)
    return tested((float(rho.statistic), float(rho.pvalue)))


def widest_gap_in_report(m, data):
    """Whether the training accuracy of some network is higher than chance in the test allows."""
    return _widest_gap(_report_gaps(m, data), data)


def _widest_gap(table, data):
    """Fisher's test of each network's right answers in training and test, by Holm's method."""
    train, test = FILES[data]
    p = [
        separate_files(
            round(row.train_accuracy * train), round(row.test_accuracy * test), train, test
        )
        for row in table.itertuples()
    ]
    gap = table["train_accuracy"] - table["test_accuracy"]
    return tested_somewhere(list(zip(gap, p, strict=True)), networks=len(table), widest=gap.max())


def above_train_in_report(m, data):
    """Whether some network has a higher test than training accuracy."""
    table = _report_gaps(m, data)
    return fact((table["gap"] < 0).any(), k=(table["gap"] < 0).sum(), n=len(table))


def stopped_falling_in_report(m, slope, threshold):
    """Whether training curves have stopped falling where they end.

    Parameters
    ----------
    m : Material
    slope : float
        The slowest fall at the end of a curve, read off the figures by eye.
    threshold : float
    """
    return fact(slope < threshold, slope=slope, times=slope / threshold)


def classes_in_report(m, data, classes=None, others=None):
    """Whether there are so many classes, or so many beside any one."""
    found = len(m.report[data]["LSTM"]["confusion"])
    return fact(found == classes if others is None else found - 1 == others, classes=found)


def dropout_in_report(m, data, architecture):
    """Whether the report lists dropout for an architecture."""
    return fact(any(ARCHITECTURES[data][architecture].dropout))


# --- The data ---------------------------------------------------------------------------------


def lengths_vary(m, data):
    """Whether sequences differ in length."""
    n = m.data[data].train.lengths
    return fact(n.min() < n.max(), shortest=n.min(), longest=n.max())


def longest(m, data, steps):
    """Whether the longest training sequence has so many steps."""
    n = m.data[data].train.lengths.max()
    return fact(n == steps, longest=n)


def any_length(m, filters=3, width=5):
    """Whether convolution followed by pooling needs inputs of one size."""
    x = [x for x in m.data["handwriting"].train.x if len(x) >= width]
    kernel = np.random.default_rng(SEED).normal(size=(width * x[0].shape[1], filters))
    shapes = set()
    for sequence in (min(x, key=len), max(x, key=len)):
        windows = np.lib.stride_tricks.sliding_window_view(sequence, width, axis=0)
        shapes.add((windows.reshape(len(windows), -1) @ kernel).max(axis=0).shape)
    lengths = [len(sequence) for sequence in x]
    return fact(len(shapes) > 1, shortest=min(lengths), longest=max(lengths))


def neighbours_correlate(m):
    """Whether x of a point of a stroke goes with x of the next."""
    strokes = [scale_keep_aspect(x) for x in m.data["handwriting"].train.x]
    pairs = np.concatenate([np.c_[x[:-1, 0], x[1:, 0]] for x in strokes])
    r = np.corrcoef(pairs.T)[0, 1]
    return fact(r > 0.5, r=r)


def fills_unit_square(m):
    """Whether strokes reach from 0 to 1 in x and y when divided by the largest x and y of all."""
    scaled = fit_scaling("global_max", m.data["handwriting"].train.x)(m.data["handwriting"].train.x)
    full = sum(np.allclose([x.min(0), x.max(0)], [[0, 0], [1, 1]], atol=1e-3) for x in scaled)
    below = sum(bool((x < 0).any()) for x in scaled)
    return fact(below == 0, full=full, below=below, n=len(scaled))


def nothing_masked(m, data, value):
    """Whether no real step has the padding value in all its features."""
    splits = m.data[data].train, m.data[data].test
    try:
        for split in splits:
            check_padding_value(split.x, value, split.files)
    except DataFormatError:
        return fact(False, steps=0)
    return fact(True, steps=sum(int(split.lengths.sum()) for split in splits))


def readable(m, data):
    """Whether every file was read by the format described; a loader refuses any other."""
    d = m.data[data]
    return fact(True, n=len(d.train) + len(d.test))


def enough_for_baseline(m, data):
    """How well the best baseline does with the training files there are; what is few stays open."""
    numbers = {"n": len(m.data[data].train), "baseline": max(m.baselines[data].values())}
    return Found("open", numbers)


def frames(m, features):
    """Whether segments have so many features a frame and come from several speakers."""
    train = m.data["cv_segments"].train
    width, speakers = train.x[0].shape[1], len(set(train.groups))
    return fact(width == features and speakers > 1, features=width, speakers=speakers)


# --- Small networks ---------------------------------------------------------------------------


def _small_network():
    rng = np.random.default_rng(SEED)
    network = Network.random(rng, RNN, 2, [4], 3)
    return network, rng.normal(size=(2, 6, 2)), np.array([0, 2])


def state_carries(m):
    """Whether the first of six inputs reaches the last output of an RNN."""
    network, x, _ = _small_network()
    moved = x.copy()
    moved[:, 0] += 1
    reach = np.abs(network.outputs(moved) - network.outputs(x)).max()
    return fact(reach > 0, reach=reach)


def gradients_agree(m):
    """Whether backpropagation through time gives the gradients that differences give."""
    network, x, y = _small_network()
    exact = network.loss_and_gradients(x, y)[1]["0.W_h"]
    differences = central_differences(
        lambda: network.loss_and_gradients(x, y)[0], network.weights["0.W_h"]
    )
    error = relative_error(exact, differences)
    return fact(error < 1e-6, error=error)


def _keras_rnn():
    return build("SimpleRNN", ARCHITECTURES["handwriting"][1], 2, 5, mask_value=2.0)


def output_each_step(m):
    """Whether the report's network, as Keras builds it, puts out something at each step."""
    shape = _keras_rnn().output_shape
    return fact(len(shape) == 3, outputs=shape[-1])


def starts_random(m):
    """Whether Keras starts weights and biases of an RNN at random.

    Other libraries start otherwise, so that zero biases leave the matter open.
    """
    weights = [layer.get_weights() for layer in _keras_rnn().layers]
    recurrent = [w for w in weights if len(w) == 3]
    drawn = sum(int(np.count_nonzero(b)) for _, _, b in recurrent)
    singular = np.linalg.svd(recurrent[0][1])[1]
    return Found("for" if drawn else "open", {"drawn": drawn, "singular": singular.mean()})


def best_of_five(m, rate=0.75, files=100, trials=20_000):
    """How much too good the best of five equal models looks; which set is meant stays open."""
    rng = np.random.default_rng(SEED)
    chosen_on, fresh = rng.binomial(files, rate, size=(2, trials, 5)) / files
    picked = np.take_along_axis(fresh, chosen_on.argmax(axis=1)[:, None], axis=1)
    numbers = {"chosen": chosen_on.max(axis=1).mean() - rate, "fresh": picked.mean() - rate}
    return Found("open", numbers)


def gates_see(m, what):
    """Whether the gates of an LSTM move with the cell's ``contents``, or the hidden ``state``."""
    rng = np.random.default_rng(SEED)
    cell, x = LSTM.random(rng, 2, 4), rng.normal(size=(1, 2))
    h, c = rng.normal(size=(1, 4)), np.zeros((1, 4))
    others = {"contents": (h, c + 3.0), "state": (-h, c)}
    gates = [
        np.concatenate([cell.step(x, state)[1][gate] for gate in "ifo"])
        for state in ((h, c), others[what])
    ]
    moved = np.abs(gates[1] - gates[0]).max()
    return fact(moved > 0, moved=moved)


def _one_unit_lstm(recurrent, biases):
    return LSTM(np.zeros((1, 4)), np.array([recurrent], float), np.array(biases, float))


def cell_keeps(m, value=0.7, steps=100):
    """Whether a cell with its input gate shut and its forget gate open keeps a number."""
    cell = _one_unit_lstm([0, 0, 0, 0], [-20, 20, 0, 20])
    state = (np.zeros((1, 1)), np.array([[value]]))
    for _ in range(steps):
        state, _ = cell.step(np.zeros((1, 1)), state)
    kept = state[1].item()
    return fact(abs(kept - value) < 1e-3, steps=steps, value=value, kept=kept)


def gradient_grows(m, steps=100):
    """How far a gradient grows in one unit with its gates open; how often it does stays open."""
    cell = _one_unit_lstm([0, 0, 0.5, 0], [20, 20, 0, 20])
    still, d_state = (np.zeros((1, 1)),) * 2, (np.zeros((1, 1)), np.ones((1, 1)))
    for _ in range(steps):
        _, cache = cell.step(np.zeros((1, 1)), still)
        _, d_state, _ = cell.step_backward(d_state, cache)
    return Found("open", {"growth": np.abs(np.hstack(d_state)).max(), "steps": steps})


def small_or_large(m, weights=(0.5, 2.0), steps=100):
    """Whether the gradient through a unit at rest becomes small and large, as its weight is."""
    numbers, rest = {"steps": steps}, np.zeros((1, 1))
    for name, weight in zip(("small", "large"), weights, strict=True):
        cell, d_state = RNN(rest, np.array([[weight]]), np.zeros(1)), (np.ones((1, 1)),)
        for _ in range(steps):
            _, cache = cell.step(rest, (rest,))
            _, d_state, _ = cell.step_backward(d_state, cache)
        numbers[name] = d_state[0].item()
    return fact(numbers["small"] < 1e-6 and numbers["large"] > 1e6, **numbers)


def gru_gate_weighs(m, gate):
    """Whether the ``reset`` gate weighs the old state, or the ``update`` gate the input."""

    def dependence(update, reset):
        """How far h moves with the old state and with the input, gates held."""
        cell = GRU(
            np.array([[0, 0, 0.8]]),
            np.array([[0, 0, 0.8]]),
            np.array([update, reset, 0.0]),
            reset_after=False,
        )
        h, x = np.array([[0.3]]), np.array([[0.5]])
        return [
            central_differences(lambda: cell.step(x, (h,))[0][0].item(), array).item()
            for array in (h, x)
        ]

    shut, opened = -20.0, 20.0
    low, high = (
        [dependence(0.0, position)[0] for position in (shut, opened)]
        if gate == "reset"
        else [dependence(position, opened)[1] for position in (shut, opened)]
    )
    return fact(not np.isclose(low, high), shut=low, opened=high)


def fewer_parameters(m):
    """Whether a GRU has fewer parameters than an LSTM in each of the report's architectures."""
    ratios = [
        sum(count_parameters("GRU", a, width, 5)) / sum(count_parameters("LSTM", a, width, 5))
        for data, width in (("handwriting", 2), ("cv_segments", 39))
        for a in ARCHITECTURES[data].values()
    ]
    smaller = sum(ratio < 1 for ratio in ratios)
    return fact(smaller == len(ratios), k=smaller, n=len(ratios), low=min(ratios), high=max(ratios))


def two_gates(m):
    """Whether a GRU has two gates, counted in its weights."""
    rng = np.random.default_rng(SEED)
    gru, lstm = (cell.random(rng, 2, 4).W_x.shape[1] // 4 - 1 for cell in (GRU, LSTM))
    return fact(gru == 2, gru=gru, lstm=lstm)


# --- Recorded runs: memory, speed, baselines --------------------------------------------------

# An LSTM and a GRU as Keras starts them, and both with their authors' start for long memories.
GATED = {"Keras' start": ("LSTM, bias 1", "GRU"), "chrono": ("LSTM, chrono", "GRU, chrono")}


def _more_often(first, second):
    """Test whether runs of one model solve their task more often: (effect, p), exact."""
    once = [runs.assign(updates=0) for runs in (first, second)]  # solved or not, no matter when
    effect = first["solved"].mean() - second["solved"].mean()
    return float(effect), sooner(*once, ["task", "lag", "units"]).p


def gated_over_plain(m, cell):
    """Whether a gated cell learns to add over long lags where a plain RNN does not."""
    model = {gated.split(",")[0]: gated for gated in GATED["Keras' start"]}[cell]
    runs = m.memory.query("task == 'adding' and lag >= @LONG")
    gated, plain = runs[runs["model"] == model], runs[runs["model"] == "SimpleRNN"]
    numbers = {"gated": gated["solved"].sum(), "plain": plain["solved"].sum(), "n": len(gated)}
    return tested(_more_often(gated, plain), cell=cell, **numbers)


def hard_on_long(m):
    """Whether fewer than half of the plain RNNs learn to add over long lags."""
    here = m.memory.query("model == 'SimpleRNN' and task == 'adding' and lag >= @LONG")["solved"]
    return fact(here.mean() < 0.5, k=here.sum(), n=len(here))


def transcribes(m):
    """Whether recurrent networks write down new speakers' syllables better than a constant does.

    They were trained by CTC. The constant is told how many syllables there are and says the
    commonest for each; every network has to beat it.
    """
    here = m.transcripts.query("segments == '2-5' and protocol == 'per_speaker' and kind == 'ctc'")
    rates = [error_rate(rows["symbols"], rows["beam"]) for _, rows in here.groupby("seed")]
    said = pd.Series(list("".join(here["symbols"])))
    constant = 1 - said.value_counts(normalize=True).iloc[0]
    return fact(max(rates) < constant, worst=max(rates), best=min(rates), constant=constant)


def lstm_remembers_longer(m):
    """Whether LSTMs solve their task sooner than GRUs, over all tasks and both starts together."""
    lstm, gru = (
        pd.concat(
            m.memory[m.memory["model"] == models[k]].assign(start=start)
            for start, models in GATED.items()
        )
        for k in (0, 1)
    )
    others, words = dict(iter(gru.groupby(["start", "task"]))), []
    for (start, task), runs in lstm.groupby(["start", "task"]):
        share = sooner(runs, others[start, task], ["lag", "units"]).share
        words.append(f"{task} ({start}) {share:.2f}")
    both = sooner(lstm, gru, ["start", "task", "lag", "units"])
    solved = {"lstm": lstm["solved"].sum(), "gru": gru["solved"].sum(), "n": len(lstm)}
    test = both.share - 0.5, both.p
    return tested(test, share=both.share, words=", ".join(words), **solved)


def gru_faster(m):
    """Whether an epoch of the GRU takes less time than one of the LSTM, on both data sets.

    Over seeds and over the five architectures: *generally* speaks of others than these.
    """
    tests, numbers = [], {}
    for data in FILES:
        runs = m.runs_of(data, "validated", ["LSTM", "GRU"])
        pace = runs.assign(pace=np.log(runs["seconds"] / runs["epochs"])).pivot_table(
            "pace", index="seed", columns=["layer", "architecture"]
        )
        slower = (pace["LSTM"] - pace["GRU"]).dropna()
        tests.append(crossed(slower))
        of_network = np.exp(slower.mean())
        numbers |= {
            data: np.exp(tests[-1][0]),
            f"{data}_low": of_network.min(),
            f"{data}_high": of_network.max(),
        }
    return tested_everywhere(tests, **numbers)


def above_baseline(m):
    """Whether the network chosen on validation beats every baseline without recurrence."""
    tests, numbers = [], {}
    for data in FILES:
        runs = m.runs_of(data, "validated")
        chosen = chosen_architectures(runs)
        by_network = runs.groupby(["layer", "architecture"])["validation_accuracy"].mean()
        layer = max(chosen, key=lambda name, k=chosen, v=by_network: v[name, k[name]])
        predictions = m.tested(data, layers=[layer])
        predictions = predictions[predictions["architecture"] == chosen[layer]]
        right = _by_seed_and_file(predictions, _hits(predictions))
        baseline = max(m.baselines[data].values())
        tests.append(crossed(right - baseline))
        numbers |= {data: right.to_numpy().mean(), f"{data}_baseline": baseline}
    return tested_everywhere(tests, **numbers)


# --- Recorded runs: the report's experiments --------------------------------------------------


def reproduced(m, data, cell, margin):
    """Whether what the report describes gives its test accuracies, to a margin.

    The report has one run of each architecture, this book several. Their difference, averaged over
    the architectures, is *for* the claim if it is surely smaller than the margin, and *against* it
    if it is surely larger: an equivalence test (two one-sided t tests) and its opposite. That no
    difference is found is evidence for nothing. All runs share the test files; what is left to
    chance is training.

    Parameters
    ----------
    m : Material
    data, cell : str
    margin : float
        In accuracy.
    """
    runs = m.runs_of(data, "report", [cell])
    own, groups = np.array(m.report[data][cell]["test_accuracy"]), runs.groupby("architecture")
    scores = [group["test_accuracy"].to_numpy() for _, group in groups]
    seeds = np.array([len(s) for s in scores])
    difference = float(np.mean([a - s.mean() for a, s in zip(own, scores, strict=True)]))
    spread = np.sqrt(sum(s.var(ddof=1) * (len(s) - 1) for s in scores) / (seeds - 1).sum())
    error = spread * np.sqrt((1 + 1 / seeds).sum()) / len(scores)
    t = stats.t((seeds - 1).sum(), scale=max(error, 1e-12))
    smaller = max(t.sf(difference + margin), t.cdf(difference - margin))
    larger = min(1.0, 2 * min(t.cdf(difference + margin), t.sf(difference - margin)))
    places = reported_among_seeds(runs, m.report[data])["report is"]
    return tested(
        (1.0, float(smaller)),
        (-1.0, float(larger)),
        difference=difference,
        margin=margin,
        inside=(places == "inside").sum(),
        n=len(places),
        seeds=seeds.min(),
        p_less=words_of(smaller),
        p_more=words_of(larger),
    )


def lstm_over_rnn(m, data):
    """Whether the five LSTMs are better than the five RNNs."""
    lstm, rnn = _two_layers(m, data, _hits)
    return tested(crossed(lstm - rnn), seeds=len(lstm))


def gain(m, data, classes, answer=None, fewer=False):
    """Whether the LSTMs give some classes more right answers (or fewer of one) than the RNNs.

    See :func:`gain_in_report`.
    """
    lstm, rnn = _two_layers(m, data, lambda p: _hits(p, answer), classes=classes)
    effect, p = crossed(lstm - rnn)
    label = m.tested(data).drop_duplicates("file").set_index("file")["label"]
    by_class = (lstm - rnn).T.groupby(label).mean().mean(axis=1).to_dict()
    return tested((-effect if fewer else effect, p), change=effect, **by_class)


def errors(m, data, classes, both=True, fewer=False):
    """Whether the errors of RNNs and LSTMs fall on some classes more (or less) than on others.

    See :func:`errors_in_report`.
    """
    predictions = m.tested(data, layers=["SimpleRNN", "LSTM"])
    sides = [predictions[side].isin(classes) for side in ("label", "predicted")]
    wrong = predictions["predicted"] != predictions["label"]
    among = wrong & (sides[0] & sides[1] if both else sides[0] | sides[1])
    n = predictions["label"].nunique()
    chance = _kinds_of_error(n, range(len(classes)), both).mean() * n / (n - 1)
    effect, p = crossed(_by_seed_and_file(predictions, among - chance * wrong))
    share = among.sum() / wrong.sum()
    return tested((-effect if fewer else effect, p), share=share, chance=chance)


def best_class(m, data, best):
    """Whether one class is recognised more often than each of the others."""
    predictions = m.tested(data, layers=["SimpleRNN", "LSTM"])
    tables = {
        label: _by_seed_and_file(group, _hits(group))
        for label, group in predictions.groupby("label")
    }
    own = tables.pop(best)
    recalls = {label: table.to_numpy().mean() for label, table in tables.items()}
    return tested_everywhere(
        [crossed(own, table) for table in tables.values()],
        recall=own.to_numpy().mean(),
        next=max(recalls, key=recalls.get),
        next_recall=max(recalls.values()),
    )


def taken_for(m, data, cell, of, answer, others):
    """Whether one class is taken for another more often than other classes are."""
    predictions = m.tested(data, layers=[cell])
    own, rest = (
        _by_seed_and_file(p, _hits(p, answer))
        for p in (
            predictions[predictions["label"] == of],
            predictions[predictions["label"].isin(others)],
        )
    )
    means = own.to_numpy().mean(), rest.to_numpy().mean()
    return tested(crossed(own, rest), share=means[0], others=means[1])


def _of_architecture(m, data, cell, number):
    predictions = m.tested(data, layers=[cell])
    predictions = predictions[predictions["architecture"] == number]
    return _by_seed_and_file(predictions, _hits(predictions))


def winner(m, data, cell):
    """Whether the report's best architecture is better than each of the other four."""
    best = m.report[data][cell]["best"]
    own = _of_architecture(m, data, cell, best)
    others = [k for k in ARCHITECTURES[data] if k != best]
    tests = [crossed(own - _of_architecture(m, data, cell, k)) for k in others]
    found = tested_everywhere(tests, seeds=len(own))
    sure = [(effect, p) for effect, p in found.tests if p < LEVEL]
    higher = sum(effect < 0 for effect, _ in sure)
    means = m.runs_of(data, "validated", [cell]).groupby("architecture")["test_accuracy"].mean()
    numbers = {
        "others": len(others),
        "higher": higher,
        "lower": len(sure) - higher,
        "spread": means.max() - means.min(),
    }
    return found._replace(numbers=found.numbers | numbers)


def second_layer(m, data, cell, more, less):
    """Whether one architecture beats another."""
    tables = (_of_architecture(m, data, cell, k) for k in (more, less))
    return tested(crossed(np.subtract(*tables)))


def gap_with_size(m, data):
    """Whether the gap between training and test accuracy of an LSTM grows with its size.

    The slope of the gap over the five ranks of size, under each of two protocols.
    """
    tests, numbers = [], {}
    for protocol in ("report", "validated"):
        runs = m.runs_of(data, protocol, ["LSTM"])
        size = runs.groupby("architecture")["parameters"].first().rank()
        weight = (size - size.mean()) / ((size - size.mean()) ** 2).sum()
        train = runs["train_accuracy"] * runs["architecture"].map(weight)
        train = train.groupby(runs["seed"]).sum()
        predictions = m.tested(data, protocol, ["LSTM"])
        test = _hits(predictions) * predictions["architecture"].map(weight)
        # A mean over the architectures; the slope is their sum.
        test = _by_seed_and_file(predictions, test) * len(weight)
        effect, p = crossed(train.to_numpy()[:, None] - test)
        tests.append((effect, p))
        numbers[protocol] = effect
    corrected = holm([p for _, p in tests])
    tests = [(effect, p) for (effect, _), p in zip(tests, corrected, strict=True)]
    return tested(*tests, p=" and ".join(words_of(p) for p in corrected), **numbers)


def widest_gap(m, data):
    """Whether the training accuracy of some run is higher than chance in the test allows."""
    return _widest_gap(m.runs_of(data, "report", ["SimpleRNN", "LSTM"]), data)


def above_train(m, data):
    """Whether some run has a higher test than training accuracy, dropout off in both."""
    numbers = {}
    for protocol in ("report", "validated"):
        runs = m.runs_of(data, protocol, ["SimpleRNN", "LSTM"])
        numbers |= {
            protocol: (runs["test_accuracy"] > runs["train_accuracy"]).sum(),
            f"n_{protocol}": len(runs),
        }
    return fact(numbers["report"] + numbers["validated"] > 0, **numbers)


def dropout_has_a_part(m, data):
    """Whether test lies above training accuracy more often if that is taken with dropout on.

    Of the same runs, as described; over seeds and networks. Whether the test split is easier, too,
    is among the numbers: it would be another cause beside this one.
    """
    cells = ["SimpleRNN", "LSTM"]
    runs = m.runs_of(data, "report", cells).set_index("run")
    last = m.curves.sort_values("epoch").groupby("run")["accuracy"].last().reindex(runs.index)
    on, off = (runs["test_accuracy"] > train for train in (last, runs["train_accuracy"]))
    more = runs.assign(more=on.astype(float) - off).pivot_table(
        "more", index="seed", columns=["layer", "architecture"]
    )
    easier = _held_out_against_test(m, data)
    return tested(
        crossed(more),
        on=on.sum(),
        off=off.sum(),
        n=len(runs),
        easier=easier[0],
        easier_span=words_of_interval(*easier),
        train=_span(m.data[data].train),
        test=_span(m.data[data].test),
    )


def _held_out_against_test(m, data):
    """Test minus validation accuracy, both unseen in training: a mean, its error and its freedom.

    The validation files chose the epoch, so they fare a little too well.
    """
    cells = ["SimpleRNN", "LSTM"]
    predictions = m.tested(data, layers=cells)
    held_out = m.runs_of(data, "validated", cells).groupby("seed")["validation_accuracy"].mean()
    right = _by_seed_and_file(predictions, _hits(predictions))
    return crossed_error(right.sub(held_out, axis=0))


def _span(split):
    return f"{split.lengths.min()} to {split.lengths.max()}"


def epochs_alike(m, data):
    """How many of the report's numbers of epochs lie among those of runs by its rule."""
    lasted = m.runs_of(data, "report", ["SimpleRNN", "LSTM"])
    lasted = lasted.groupby(["layer", "architecture"])["epochs"].agg(["min", "max"])
    printed = [m.report[data][cell]["epochs"][k - 1] for cell, k in lasted.index]
    alike = ((lasted["min"] <= printed) & (lasted["max"] >= printed)).sum()
    return Found("open", {"alike": alike, "n": len(lasted)})


def distortion(m, split):
    """Whether training on distorted copies lowers ``train`` or raises ``test`` accuracy somewhere.

    Networks of the protocols ``beyond`` and ``augmented``, compared by seed.
    """
    keys, sign = ["dataset", "layer", "architecture"], -1 if split == "train" else 1
    plain, copies = (
        m.runs[m.runs["protocol"] == protocol].set_index([*keys, "seed"])
        for protocol in ("beyond", "augmented")
    )
    tests = {}
    for key, seeds in plain.index.intersection(copies.index).to_frame(index=False).groupby(keys):
        pair = [runs.loc[pd.MultiIndex.from_frame(seeds)].reset_index() for runs in (copies, plain)]
        if split == "train":
            tables = [runs[["train_accuracy"]] for runs in pair]
        else:
            here = [m.predictions[m.predictions["run"].isin(runs["run"])] for runs in pair]
            here = [predictions[predictions["split"] == "test"] for predictions in here]
            tables = [_by_seed_and_file(p, _hits(p)) for p in here]
        tests[key] = crossed(tables[0] - tables[1])
    found = tested_somewhere([(sign * effect, p) for effect, p in tests.values()])
    changes = [effect for effect, _ in tests.values()]
    numbers = {"networks": len(tests), "low": min(changes), "high": max(changes)}
    return found._replace(numbers=found.numbers | numbers)


def new_speakers(m):
    """Whether networks do as well on speakers that they have not met: effect and p over speakers.

    Folds of the training split, cut by speaker or by file; each speaker's files are tested once in
    either. Speakers are what is sampled, so the paired test is one over speakers.
    """
    rates = []
    for protocol in ("new_speakers", "known_speakers"):
        predictions = m.tested("cv_segments", protocol, ["SimpleRNN", "LSTM"])
        rates.append(_hits(predictions).groupby(predictions["file"].map(speaker_of)).mean())
    change = (rates[0] - rates[1]).to_numpy()[:, None]
    return tested(
        crossed(change),
        speakers=len(change),
        worse=int((change < 0).sum()),
        span=words_of_interval(*crossed_error(change)),
    )
