"""Networks that write down what new speakers say: training, and what they write."""

import dataclasses
import string
import sys
import time
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.special import log_softmax
from tqdm import tqdm

from helpers.padding import fit_scaling, pad, untuned
from helpers.training import split_validation
from helpers.transcription import (
    PADDING,
    UNJUDGED,
    build_transcriber,
    draw_utterances,
    error_rate,
    greedy_decode,
    prefix_beam_search,
)

# Of symbols in tables, one each; with an N there would be words that pandas reads as missing.
SIGNS = string.digits + string.ascii_uppercase[:13]
EVERY = 2  # only every second frame is read: neighbours differ little, and time is halved
SEGMENTS = (2, 5)  # in an utterance of training
JUDGE_EVERY = 25  # updates
BEAM = 16
LONGEST_WRITTEN = 40  # symbols, where a decoder finds no end
# Utterances for the test: some as long as those of training, and some of one length, with about as
# many segments in all of each length.
TEST_SETS = {SEGMENTS: 500} | {(n, n): 600 // n for n in (1, 6, 8, 10, 12, 16, 20)}


@dataclass(frozen=True)
class TranscriberSettings:
    """What decides a run, beside the data and the versions.

    Attributes
    ----------
    kind : str
        One of :data:`helpers.transcription.KINDS`.
    seed : int
        Decides weights, utterances and noise of training; neither the speakers of the splits nor
        the utterances that are judged.
    protocol : str
        The name under which runs of the same other settings are compared.
    scaling : str
        As in :func:`helpers.padding.fit_scaling`.
    units, layers, dropout, noise
        As in :func:`helpers.transcription.build_transcriber`.
    speed, fade
        As in :func:`helpers.transcription.draw_utterances`.
    updates, batch_size : int
    learning_rate : float
        Of Adam at the start; it falls to 0 along half a cosine. Gradients are cut to norm 1.
    dataset : str
        Where the segments come from.
    """

    kind: str
    seed: int
    protocol: str = "per_speaker"
    scaling: str = "per_speaker"
    units: int = 64
    layers: int = 2
    dropout: float = 0.5
    noise: float = 0.7
    speed: float = 1.25
    fade: int = 0
    updates: int = 800
    batch_size: int = 16
    learning_rate: float = 3e-3
    dataset: str = "cv_segments"

    @property
    def name(self):
        """The name of the run in tables."""
        return f"{self.protocol}-{self.kind}-{self.seed}"


# --- Speakers, and what networks are given ----------------------------------------------------


def split_by_speaker(dataset, scaling="per_speaker"):
    """Deal all files of CV segments among three groups of speakers, always the same way.

    The data set's own splits have every speaker on both sides, so they are put together first.

    Parameters
    ----------
    dataset : helpers.data.SequenceDataset
    scaling : str
        As in :func:`helpers.padding.fit_scaling`, fitted on the speakers that are trained on.

    Returns
    -------
    dict of helpers.data.Sequences
        ``train``, ``validation`` and ``test``, scaled, every second frame.
    """
    everyone = dataset.train.extend(dataset.test)
    rest, test = split_validation(everyone, 0.2, seed=0, by_speaker=True)
    train, validation = split_validation(rest, 0.2, seed=0, by_speaker=True)
    scale = fit_scaling(scaling, train.x, train.groups)
    splits = {"train": train, "validation": validation, "test": test}
    return {
        name: split.with_x([x[::EVERY] for x in scale(split.x, split.groups)])
        for name, split in splits.items()
    }


def inputs_and_targets(utterances, kind, steps=SEGMENTS[1] + 1):
    """Return what a network reads and what it is to answer, as Keras takes them.

    Parameters
    ----------
    utterances : helpers.transcription.Utterances
    kind : str
    steps : int
        Of a decoder with attention.

    Returns
    -------
    inputs
        Frames (batch, time, features), padded; with attention a pair of these and of the symbols
        before (batch, steps), 0 first.
    y : array of int
        By kind: the symbol of each frame, −1 at padding; the symbols, padded with 0; the symbols,
        0 for the end, and −1 after it.
    """
    x = pad(utterances.x, PADDING)
    if kind == "ctc":
        return x, _rectangle(utterances.y, 0)
    if kind == "frames":
        spans = zip(utterances.y, utterances.ends, strict=True)
        return x, _rectangle([np.repeat(y, np.diff(e, prepend=0)) for y, e in spans], UNJUDGED)
    y = _rectangle([np.append(y, 0) for y in utterances.y], UNJUDGED, steps)
    return (x, np.pad(np.maximum(y, 0), ((0, 0), (1, 0)))[:, :-1]), y


def _rectangle(rows, value, length=None):
    return keras.utils.pad_sequences(rows, length, padding="post", value=value)


def _batches(sequences, settings):
    """Utterances drawn anew for every batch, without end."""
    rng = np.random.default_rng(settings.seed)

    def draw():
        while True:
            how = SEGMENTS, settings.speed, settings.fade
            drawn = draw_utterances(rng, sequences, settings.batch_size, *how)
            yield inputs_and_targets(drawn, settings.kind)

    x = tf.TensorSpec((None, None, sequences.x[0].shape[1]), tf.float32)
    y = tf.TensorSpec((None, None), tf.int32)
    if settings.kind == "attention":
        x = (x, tf.TensorSpec((None, SEGMENTS[1] + 1), tf.int32))
    return untuned(tf.data.Dataset.from_generator(draw, output_signature=(x, y)).prefetch(2))


# --- Writing down -----------------------------------------------------------------------------


def transcribe(model, utterances, kind, beam=0, batch_size=100):
    """Let a network write down utterances.

    Parameters
    ----------
    model : keras.Model
    utterances : helpers.transcription.Utterances
        Symbols are used for ``attended`` alone, boundaries for that and for ``voted``.
    kind : str
    beam : int
        Width of a prefix beam search after CTC; 0 for none.
    batch_size : int

    Returns
    -------
    pandas.DataFrame
        ``greedy`` (symbols), ``peaks`` (for each the frame where it is most probable, or most
        looked at), ``beam`` (symbols, after CTC), ``voted`` (symbols, of a network that names
        frames, where the boundaries are given), ``attended`` (with attention, the weight of the
        true segment, mean over symbols; nan where their number is wrong).
    """
    columns = {"greedy": (), "peaks": (), "beam": (), "voted": (), "attended": np.nan}
    rows = [dict(columns) for _ in utterances.x]
    order = np.argsort([len(one) for one in utterances.x], kind="stable")
    for chosen in np.split(order, range(batch_size, len(order), batch_size)):
        batch = pad([utterances.x[i] for i in chosen], PADDING)
        if kind == "attention":
            encoded = model.encoder(batch)
            written, weights = model.get_layer("decoder").write(*encoded, LONGEST_WRITTEN)
            for i, symbols, looked in zip(chosen, written, weights, strict=True):
                rows[i]["greedy"] = tuple(int(k) for k in symbols if k)
                looked = looked[: len(rows[i]["greedy"])]
                rows[i]["peaks"] = tuple(looked.argmax(axis=1).tolist())
                rows[i]["attended"] = _mass(looked, utterances.ends[i])
        else:
            for i, a in zip(chosen, model(batch).numpy(), strict=True):
                ends = utterances.ends[i]
                log_p = log_softmax(a[: ends[-1]].astype(np.float64), axis=1)
                rows[i]["greedy"], rows[i]["peaks"] = greedy_decode(log_p)
                if kind == "ctc" and beam:
                    rows[i]["beam"] = prefix_beam_search(log_p, beam)[0]
                elif kind == "frames":
                    parts = np.split(log_p[:, 1:], ends[:-1])
                    voted = (int(part.mean(axis=0).argmax()) + 1 for part in parts)
                    rows[i]["voted"] = tuple(voted)
    return pd.DataFrame(rows)


def _mass(weights, ends):
    """Return the mean weight of segment u when symbol u was written."""
    if len(weights) != len(ends):
        return np.nan
    parts = (np.split(w, ends)[u].sum() for u, w in enumerate(weights))
    return float(np.mean([*parts]))


# --- One run ----------------------------------------------------------------------------------


class _Judge(keras.callbacks.Callback):
    """What a network writes of validation utterances after every epoch."""

    def __init__(self, utterances, kind):
        super().__init__()
        self.utterances, self.kind = utterances, kind

    def on_epoch_end(self, epoch, logs=None):
        y, written = self.utterances.y, transcribe(self.model, self.utterances, self.kind)
        logs["val_error"] = error_rate(y, written["greedy"])
        logs["val_written"] = written["greedy"].map(len).sum() / sum(map(len, y))


class _Bar(keras.callbacks.Callback):
    """A progress bar on standard output."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings

    def on_train_begin(self, logs=None):
        words = "{desc} {bar:20} update {n} of {total}, {elapsed}{postfix}"
        total, name = self.settings.updates, self.settings.kind
        self.bar = tqdm(total=total, file=sys.stdout, desc=name, leave=False, bar_format=words)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update(1)

    def on_train_end(self, logs=None):
        self.bar.close()


def train(splits, settings, classes, progress=True, callbacks=()):
    """Train a network on utterances that are drawn anew for every batch.

    The last weights count. Judged every 25 updates on 100 utterances of the validation speakers.

    Parameters
    ----------
    splits : dict of helpers.data.Sequences
        As :func:`split_by_speaker` returns them.
    settings : TranscriberSettings
    classes : int
    progress : bool
    callbacks : sequence of keras.callbacks.Callback
        More of them.

    Returns
    -------
    model : keras.Model
    curve : pandas.DataFrame
        ``run, update, loss, val_error, val_written``: mean training loss since the judgement
        before, syllable error rate, and symbols written for each symbol spoken.
    """
    keras.utils.set_random_seed(settings.seed)
    model = build_transcriber(
        settings.kind, splits["train"].x[0].shape[1], classes, settings.units, settings.layers,
        settings.dropout, settings.noise, SEGMENTS[1] + 1,
    )  # fmt: skip
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.updates)
    judged = {"from_logits": True, "ignore_class": UNJUDGED}
    model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=1.0),
        keras.losses.CTC()
        if settings.kind == "ctc"
        else keras.losses.SparseCategoricalCrossentropy(**judged),
    )
    held_out = draw_utterances(
        np.random.default_rng(0), splits["validation"], 100, SEGMENTS, fade=settings.fade
    )
    history = model.fit(
        _batches(splits["train"], settings),
        epochs=settings.updates // JUDGE_EVERY,
        steps_per_epoch=JUDGE_EVERY,
        shuffle=False,  # the batches are drawn at random
        callbacks=[
            _Judge(held_out, settings.kind),
            *callbacks,
            *([_Bar(settings)] if progress else []),
        ],
        verbose=0,
    )
    curve = pd.DataFrame(history.history)
    curve.insert(0, "update", JUDGE_EVERY * np.arange(1, len(curve) + 1))
    curve.insert(0, "run", settings.name)
    return model, curve


def test_utterances(splits, segments, count, fade=0):
    """Return utterances of the test speakers, the same for every run."""
    rng = np.random.default_rng([18, *segments])
    return draw_utterances(rng, splits["test"], count, segments, fade=fade)


def run(dataset, settings):
    """Train one network and let it write down the utterances of the test speakers, once.

    Parameters
    ----------
    dataset : helpers.data.SequenceDataset
        CV segments.
    settings : TranscriberSettings

    Returns
    -------
    dict of pandas.DataFrame
        ``curves`` as :func:`train` returns it; ``transcripts``, a row an utterance: ``run``,
        ``segments`` (``2-5``, or one length), ``speaker``, ``symbols``, ``ends`` and what
        :func:`transcribe` returns, symbols as :data:`SIGNS`; ``runs``, one row.

    Raises
    ------
    ValueError
        If there are more classes than signs, or a test speaker has too few segments.
    """
    if len(dataset.classes) >= len(SIGNS):
        found, most = len(dataset.classes), len(SIGNS) - 1
        raise ValueError(f"{dataset.name}: found {found} classes; expected at most {most}")
    started = time.process_time()
    splits = split_by_speaker(dataset, settings.scaling)
    test_sets = {  # before training: a speaker may have too few segments for the longest
        segments: test_utterances(splits, segments, count, settings.fade)
        for segments, count in TEST_SETS.items()
    }
    model, curve = train(splits, settings, len(dataset.classes), progress=False)
    tables = []
    for segments, drawn in test_sets.items():
        table = transcribe(model, drawn, settings.kind, BEAM)
        table.insert(0, "ends", drawn.ends)
        table.insert(0, "symbols", drawn.y)
        table.insert(0, "speaker", drawn.groups)
        table.insert(0, "segments", "-".join(str(n) for n in dict.fromkeys(segments)))
        tables.append(table)
    transcripts = pd.concat(tables, ignore_index=True)
    transcripts.insert(0, "run", settings.name)
    for column in ("symbols", "greedy", "beam", "voted"):
        transcripts[column] = [
            "".join(SIGNS[k] for k in symbols) for symbols in transcripts[column]
        ]
    for column in ("ends", "peaks"):
        transcripts[column] = [" ".join(map(str, frames)) for frames in transcripts[column]]
    transcripts["attended"] = transcripts["attended"].round(3)
    row = {
        "run": settings.name,
        **dataclasses.asdict(settings),
        "data": dataset.digest,
        "origin": dataset.origin,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "parameters": model.count_params(),
        "val_error": curve["val_error"].iloc[-1],
        "seconds": round(time.process_time() - started, 1),
    }
    keras.backend.clear_session()
    return {"curves": curve, "transcripts": transcripts, "runs": pd.DataFrame([row])}
