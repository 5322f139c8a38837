"""From a sequence of frames to a shorter sequence of symbols: CTC, decoding, attention.

Symbols are numbered from 1, in the order of the classes. The number 0 is no symbol: it is the blank
of CTC, and the mark at both ends of what a decoder writes.
"""

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
from keras import ops
from scipy.special import log_softmax, logsumexp

from helpers.layers import LSTM
from helpers.padding import PADDING_VALUE

PADDING = PADDING_VALUE["cv_segments"]
UNJUDGED = -1  # a target that no loss is taken of


# --- Utterances -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Utterances:
    """Segments of one speaker, one after another, so that every boundary is known.

    Attributes
    ----------
    x : list of arrays, each of shape (T_i, features), float32
    y : list of arrays, each of shape (U_i,), int64
        Symbols, counted from 1.
    ends : list of arrays, each of shape (U_i,), int64
        How many frames have passed at the end of each segment; the last is T_i.
    groups : array of shape (n,), str
        Speakers.
    """

    x: list
    y: list
    ends: list
    groups: np.ndarray

    def __len__(self):
        """Return the number of utterances."""
        return len(self.x)


def draw_utterances(rng, sequences, count, segments, speed=1.0, fade=0):
    """Join segments of one speaker, drawn at random, into utterances.

    A file is drawn, and then others of the same speaker, none twice in one utterance: speakers and
    classes are as common as in the files.

    Parameters
    ----------
    rng : numpy.random.Generator
    sequences : helpers.data.Sequences
        Of CV segments.
    count : int
    segments : tuple of int
        Fewest and most in an utterance, all numbers equally likely.
    speed : float
        Each segment is played up to so many times faster or slower, by linear interpolation.
    fade : int
        Over how many frames a segment fades into the next, or half of the shorter if that is less;
        the boundary lies in the middle. With 0 they are only put end to end.

    Returns
    -------
    Utterances

    Raises
    ------
    ValueError
        If a speaker has fewer segments than an utterance may ask for.
    """
    of_speaker = {g: np.flatnonzero(sequences.groups == g) for g in set(sequences.groups)}
    fewest = min(of_speaker, key=lambda g: len(of_speaker[g]))
    if len(of_speaker[fewest]) < segments[1]:
        found = f"{len(of_speaker[fewest])} segments of speaker {fewest}"
        raise ValueError(f"found {found}; expected {segments[1]}, the most in an utterance")
    x, y, ends, groups = [], [], [], []
    for _ in range(count):
        group = sequences.groups[rng.integers(len(sequences))]
        number = rng.integers(segments[0], segments[1] + 1)
        chosen = rng.choice(of_speaker[group], number, replace=False)
        factors = speed ** rng.uniform(-1, 1, number)
        parts = [_stretch(sequences.x[i], f) for i, f in zip(chosen, factors, strict=True)]
        joined, boundaries = _join(parts, fade)
        x.append(joined)
        y.append(sequences.y[chosen] + 1)
        ends.append(boundaries)
        groups.append(group)
    return Utterances(x, y, ends, np.array(groups))


def _stretch(x, factor):
    """Return a segment of ``factor`` times as many frames, interpolated linearly."""
    if factor == 1:
        return x
    at = np.linspace(0, len(x) - 1, max(2, round(len(x) * factor)))
    left = np.minimum(at.astype(int), len(x) - 2)
    share = (at - left)[:, None].astype(np.float32)
    return (1 - share) * x[left] + share * x[left + 1]


def _join(parts, fade):
    joined, ends = parts[0], []
    for before, part in itertools.pairwise(parts):
        over = min(fade, len(before) // 2, len(part) // 2)
        share = (np.arange(1, over + 1, dtype=np.float32) / (over + 1))[:, None]
        apart = len(joined) - over
        mixed = (1 - share) * joined[apart:] + share * part[:over]
        joined = np.concatenate([joined[:apart], mixed, part[over:]])
        ends.append(apart + over // 2)
    return joined, np.array([*ends, len(joined)])


# --- CTC --------------------------------------------------------------------------------------


def collapse(path):
    """Return the symbols that a path stands for: repeats merged, then blanks removed.

    Graves and others (2006), section 3.1.

    Parameters
    ----------
    path : sequence of int, length T
        A symbol, or 0 for blank, for each frame.

    Returns
    -------
    tuple of int
    """
    return tuple(k for t, k in enumerate(path) if k and (t == 0 or k != path[t - 1]))


def with_blanks(y):
    """Put a blank before, between and after the symbols, shape (2U + 1,)."""
    states = np.zeros(2 * len(y) + 1, np.int64)
    states[1::2] = y
    return states


def ctc_forward(log_p, y):
    """Add up the paths from the first frame to each state at each frame.

    Parameters
    ----------
    log_p : array, shape (T, K + 1)
        Logarithms of the probabilities of blank and symbols at each frame.
    y : array of int, shape (U,)

    Returns
    -------
    array, shape (T, 2U + 1)
        Logarithm of the probability of all beginnings that end in the state, its frame included:
        Graves and others (2006), equations 5 to 8.
    """
    states = with_blanks(y)
    may_skip = np.zeros(len(states), bool)
    may_skip[2:] = (states[2:] != 0) & (states[2:] != states[:-2])
    log_alpha = np.full((len(log_p), len(states)), -np.inf)
    log_alpha[0, :2] = log_p[0, states[:2]]
    for t in range(1, len(log_p)):
        stay = log_alpha[t - 1]
        advance = np.concatenate([[-np.inf], stay[:-1]])
        skip = np.where(may_skip, np.concatenate([[-np.inf] * 2, stay[:-2]])[: len(stay)], -np.inf)
        arrived = np.logaddexp(np.logaddexp(stay, advance), skip)
        log_alpha[t] = arrived + log_p[t, states]
    return log_alpha


def ctc_backward(log_p, y):
    """Add up the paths from each state at each frame to the last frame.

    Parameters
    ----------
    log_p, y
        As in :func:`ctc_forward`.

    Returns
    -------
    array, shape (T, 2U + 1)
        Logarithm of the probability of all ends that follow the state, its own frame left out, so
        that the sum over states of ``exp(forward + backward)`` is the same at every frame.
    """
    # Read from its end, an utterance is one of the symbols in reverse.
    reached = ctc_forward(log_p[::-1], np.asarray(y)[::-1])[::-1, ::-1]
    with np.errstate(invalid="ignore"):  # −inf less −inf, where a probability is 0
        rest = reached - log_p[:, with_blanks(y)]
    return np.where(np.isneginf(reached), -np.inf, rest)


def ctc_loss(a, y):
    """Return the CTC loss of one utterance and its gradient by the pre-activations.

    Parameters
    ----------
    a : array, shape (T, K + 1)
        What goes into the softmax at each frame; column 0 is the blank.
    y : array of int, shape (U,)
        Symbols, counted from 1.

    Returns
    -------
    loss : float
        Minus the logarithm of the probability of all paths that collapse to ``y``.
    d_a : array, shape (T, K + 1)
        Probability less the share of the paths that have the symbol at that frame.

    Raises
    ------
    ValueError
        If no path is short enough: each symbol takes a frame, and equal neighbours one more.
    """
    y = np.asarray(y, np.int64)
    needed = len(y) + int((y[1:] == y[:-1]).sum())
    if len(a) < max(needed, 1):
        raise ValueError(f"found {len(a)} frames; expected {max(needed, 1)} or more for {y}")
    log_p = log_softmax(a, axis=1)
    log_paths = ctc_forward(log_p, y) + ctc_backward(log_p, y)
    log_likelihood = logsumexp(log_paths[0])
    share = np.exp(log_paths - log_likelihood)
    d_a = np.exp(log_p)
    np.subtract.at(d_a, (slice(None), with_blanks(y)), share)
    return -float(log_likelihood), d_a


# --- From probabilities to symbols ------------------------------------------------------------


def greedy_decode(log_p):
    """Take the likeliest symbol of each frame, and collapse.

    Parameters
    ----------
    log_p : array, shape (T, K + 1)
        Or anything with the same largest entries.

    Returns
    -------
    symbols : tuple of int
    peaks : tuple of int
        For each of them the frame, of those merged, at which it is most probable.
    """
    path = np.argmax(log_p, axis=1)
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    runs = [run for run in np.split(np.arange(len(path)), starts[1:]) if path[run[0]]]
    peaks = (int(run[log_p[run, path[run[0]]].argmax()]) for run in runs)
    return collapse(path.tolist()), tuple(peaks)


def prefix_beam_search(log_p, width=16):
    """Look for the likeliest symbols, adding up the paths that collapse to the same.

    Graves and others (2006), section 3.2, with a beam instead of a best-first search: at each
    frame only the likeliest ``width`` beginnings go on.

    Parameters
    ----------
    log_p : array, shape (T, K + 1)
        Logarithms of probabilities.
    width : int

    Returns
    -------
    symbols : tuple of int
    float
        Logarithm of the probability of all paths to them that the beam has kept.
    """
    nothing = -np.inf
    beam = {(): (0.0, nothing)}  # of each beginning: its paths that end in blank, in a symbol
    for frame in log_p.tolist():
        new = {}

        def add(prefix, in_blank, in_symbol, new=new):
            before = new.get(prefix, (nothing, nothing))
            new[prefix] = _log_add(before[0], in_blank), _log_add(before[1], in_symbol)

        for prefix, (in_blank, in_symbol) in beam.items():
            either = _log_add(in_blank, in_symbol)
            add(prefix, either + frame[0], nothing)
            for k in range(1, len(frame)):
                if prefix and k == prefix[-1]:
                    add(prefix, nothing, in_symbol + frame[k])  # merged
                    add((*prefix, k), nothing, in_blank + frame[k])  # a blank lies between
                else:
                    add((*prefix, k), nothing, either + frame[k])
        beam = dict(sorted(new.items(), key=lambda item: -_log_add(*item[1]))[:width])
    best = next(iter(beam))
    return best, _log_add(*beam[best])


def _log_add(a, b):
    """Return log(exp(a) + exp(b)) of two floats, faster than NumPy's function of arrays."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


class Edits(NamedTuple):
    """What turns one sequence of symbols into another."""

    substitutions: int
    insertions: int
    deletions: int


def edit_distance(reference, guess):
    """Count the edits that turn a reference into a guess, as few as possible.

    Levenshtein (1966); the table of Wagner and Fischer (1974).

    Parameters
    ----------
    reference, guess : sequence

    Returns
    -------
    table : array of int, shape (len(reference) + 1, len(guess) + 1)
        Distances of all beginnings; the last entry is the distance.
    edits : Edits
        An insertion is a symbol of the guess that the reference lacks. Where several ways are
        shortest, the one that a walk from the end finds by taking the diagonal first.
    """
    table = [list(range(len(guess) + 1))]
    for i, symbol in enumerate(reference, 1):
        row, above = [i], table[-1]
        for j, other in enumerate(guess, 1):
            row.append(min(above[j - 1] + (symbol != other), above[j] + 1, row[j - 1] + 1))
        table.append(row)
    counts, i, j = [0, 0, 0], len(reference), len(guess)
    while i or j:
        differ = int(i > 0 and j > 0 and reference[i - 1] != guess[j - 1])
        if i and j and table[i][j] == table[i - 1][j - 1] + differ:
            counts[0] += differ
            i, j = i - 1, j - 1
        elif j and table[i][j] == table[i][j - 1] + 1:
            counts[1] += 1
            j -= 1
        else:
            counts[2] += 1
            i -= 1
    return np.array(table), Edits(*counts)


def error_rate(references, guesses):
    """Return the edits of all guesses together, for each symbol of the references.

    Parameters
    ----------
    references, guesses : lists of sequences

    Returns
    -------
    float
        0 is perfect; more than 1 is possible.
    """
    pairs = zip(references, guesses, strict=True)
    return sum(edit_distance(*pair)[0][-1, -1] for pair in pairs) / sum(map(len, references))


# --- Networks ---------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("helpers")
class CertainBlank(keras.layers.Layer):
    """Make padding a blank with probability one, so that CTC needs no lengths.

    There a path can only stay on a blank, or go on to the last one, at no cost: loss and gradient
    are those of the real frames.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.supports_masking = True

    def compute_mask(self, inputs, mask=None):
        """Return nothing: the loss counts utterances, not frames."""
        return None

    def call(self, a, real):
        """From (batch, time, K + 1) and (batch, time), bool, to the first shape."""
        blank = np.full(a.shape[-1], -1e9, "float32")
        blank[0] = 0
        return ops.where(real[..., None], a, blank)


@keras.saving.register_keras_serializable("helpers")
class AttentionDecoder(keras.layers.Layer):
    """An LSTM that writes symbols, looking each time at a weighted mean of encoded frames.

    Additive attention, Bahdanau and others (2015), appendix A.1.2, with an LSTM for their GRU.

    Parameters
    ----------
    symbols : int
        How many numbers it can write: the symbols, and 0 for the end.
    units : int
    dropout : float
        Of what goes into the output layer.
    """

    def __init__(self, symbols, units, dropout=0.0, **options):
        super().__init__(**options)
        self.supports_masking = True
        self.symbols, self.units = symbols, units
        self.embedding = keras.layers.Embedding(symbols, units)
        self.cell = keras.layers.LSTMCell(units)
        self.query = keras.layers.Dense(units, use_bias=False)
        self.key = keras.layers.Dense(units)
        self.score = keras.layers.Dense(1, use_bias=False)
        self.drop = keras.layers.Dropout(dropout)
        self.readout = keras.layers.Dense(symbols)

    def build(self, encoded):
        """Build all parts for encoded frames of shape (batch, time, features)."""
        seen = encoded[-1] + self.units
        self.embedding.build()
        self.cell.build((None, seen))
        self.query.build((None, self.units))
        self.key.build(encoded)
        self.score.build((None, None, self.units))
        self.readout.build((None, seen))

    def compute_mask(self, inputs, mask=None):
        """Return nothing: time is gone."""
        return None

    def start(self, encoded):
        """Return what stays the same at every step, and the first state."""
        zero = ops.zeros((ops.shape(encoded)[0], self.units))
        return self.key(encoded), (zero, zero)

    def step(self, previous, state, encoded, keys, real, training=False):
        """Write one symbol.

        Parameters
        ----------
        previous : tensor of int, shape (batch,)
            The symbol before; 0 at the start.
        state : tuple of tensors, shape (batch, units)
        encoded, keys, real
            Frames (batch, time, features), what the queries are compared with, which are real.

        Returns
        -------
        a : tensor, shape (batch, symbols)
            Pre-activations of the symbol.
        weights : tensor, shape (batch, time)
            Of the frames; their sum is 1.
        state
        """
        scores = self.score(ops.tanh(self.query(state[0])[:, None] + keys))[..., 0]
        weights = ops.softmax(ops.where(real, scores, -1e9))
        context = ops.sum(weights[..., None] * encoded, axis=1)
        _, state = self.cell(ops.concatenate([self.embedding(previous), context], 1), state)
        seen = ops.concatenate([state[0], context], 1)
        return self.readout(self.drop(seen, training=training)), weights, state

    def call(self, encoded, real, previous, training=False):
        """Write with the true symbols before it given (teacher forcing).

        From (batch, time, features), (batch, time) and (batch, U) to (batch, U, symbols).
        """
        keys, state = self.start(encoded)
        outputs = []
        for u in range(previous.shape[1]):
            a, _, state = self.step(previous[:, u], state, encoded, keys, real, training)
            outputs.append(a)
        return ops.stack(outputs, axis=1)

    def write(self, encoded, real, longest):
        """Write with its own symbols, the likeliest each time, until all have ended.

        Returns
        -------
        symbols : array of int, shape (batch, steps)
            0 from the end on.
        weights : array, shape (batch, steps, time)
        """
        keys, state = self.start(encoded)
        symbols, all_weights = [np.zeros(len(encoded), np.int64)], []
        ended = np.zeros(len(encoded), bool)
        while not ended.all() and len(all_weights) < longest:
            a, weights, state = self.step(symbols[-1], state, encoded, keys, real)
            written = np.where(ended, 0, ops.convert_to_numpy(a).argmax(axis=1))
            ended |= written == 0
            symbols.append(written)
            all_weights.append(ops.convert_to_numpy(weights))
        return np.stack(symbols[1:], axis=1), np.stack(all_weights, axis=1)


@keras.saving.register_keras_serializable("helpers")
class RealFrames(keras.layers.Layer):
    """Which frames are real, as a tensor: (batch, time, features) to (batch, time), bool."""

    def call(self, x):
        """Apply the rule of :class:`keras.layers.Masking`."""
        return ops.any(ops.not_equal(x, PADDING), axis=-1)


# What a network is taught: the symbol of each frame, where all boundaries are known; or the
# symbols alone, by CTC or by a decoder with attention.
KINDS = ("frames", "ctc", "attention")


def build_transcriber(kind, features, classes, units=64, layers=2, dropout=0.5, noise=0.7, steps=6):
    """Build a bidirectional encoder of frames, and what one of three ways puts on top of it.

    Parameters
    ----------
    kind : str
        ``frames``, ``ctc`` or ``attention``.
    features, classes : int
    units, layers : int
        Of each direction of the encoder.
    dropout, noise : float
        Between its layers; standard deviation of what is added to the frames. In training only.
    steps : int
        How many symbols a decoder with attention writes in training, the end included.

    Returns
    -------
    keras.Model
        From frames (batch, time, features) to pre-activations (batch, time, classes + 1); with
        attention from frames and the symbols before (batch, steps) to (batch, steps, classes + 1).

    Raises
    ------
    ValueError
        If ``kind`` is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"found kind {kind!r}; expected one of {', '.join(KINDS)}")
    x = keras.Input((None, features), name="x")
    real = RealFrames()(x)
    encoded = keras.layers.GaussianNoise(noise)(keras.layers.Masking(PADDING)(x))
    for _ in range(layers):
        encoded = keras.layers.Bidirectional(LSTM(units, return_sequences=True))(encoded)
        encoded = keras.layers.Dropout(dropout)(encoded)
    if kind == "attention":
        previous = keras.Input((steps,), dtype="int32", name="previous")
        decoder = AttentionDecoder(classes + 1, units, dropout, name="decoder")
        model = keras.Model([x, previous], decoder(encoded, real, previous))
        model.encoder = keras.Model(x, [encoded, real])
        return model
    a = keras.layers.Dense(classes + 1)(encoded)
    return keras.Model(x, CertainBlank()(a, real) if kind == "ctc" else a)
