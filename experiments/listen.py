"""Five syllables of the sample to listen to, and a network that reads them frame by frame.

    python -m experiments.listen

writes ``data/results/listen.json``: the sound, the features and the probabilities after each frame
of one test file of each class. Voices are a synthesiser's, and so is all that the network learned.
"""

import base64
import dataclasses
import importlib.util
import io
import json
import sys

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from helpers.data import DATA, load_cv_segments
from helpers.padding import PADDING_VALUE, fit_scaling
from helpers.runs import RESULTS
from helpers.training import fit, predict, settings_for, split_validation

# Scaled over all speakers alike, which needs no other file of whoever speaks.
SETTINGS = dataclasses.replace(settings_for("cv_segments", "LSTM", 4, seed=0), scaling="standard")
SHORTEST = 20  # frames; what is shorter is over before one has looked


def make_sample():
    """Import data/make_sample.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("make_sample", DATA / "make_sample.py")
    module = sys.modules["make_sample"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_wav(sound, rate):
    """Write a sound as text: a WAV file of half its rate, 16 bits, as loud as can be; base 64."""
    half = resample_poly(sound, 1, 2)
    file = io.BytesIO()
    wavfile.write(file, rate // 2, np.round(32000 * half / np.abs(half).max()).astype(np.int16))
    return base64.b64encode(file.getvalue()).decode()


def syllables(dataset):
    """Let a network learn from the sample, and read one test file of each class frame by frame.

    Parameters
    ----------
    dataset : SequenceDataset
        The sample's CV segments.

    Returns
    -------
    dict
        For JSON: the network's ``settings``, its ``test_accuracy``, and ``syllables``, each with
        its ``label``, ``file``, the ``vowel`` that was said, ``wav``, ``features`` (standardised,
        at most 3) and ``probabilities`` (frame by frame, in the order of the classes). The first
        file of each class that is long enough is taken, whatever the network says of it.
    """
    run = fit(dataset, SETTINGS, progress=False)
    train, _ = split_validation(dataset.train, SETTINGS.validation, SETTINGS.seed)
    scale = fit_scaling(SETTINGS.scaling, train.x)
    maker, found = make_sample(), []
    entries = {e.member.partition("/")[2]: e for e in maker.plan_cv_segments()}
    for label, name in enumerate(dataset.classes):
        chosen = np.flatnonzero((dataset.test.y == label) & (dataset.test.lengths >= SHORTEST))[0]
        file = dataset.test.files[chosen]
        entry = entries[file]
        _, sound, rate = maker.speak_segment(
            entry.label, entry.length, entry.speaker, entry.generator()
        )
        (x,) = scale([dataset.test.x[chosen]])
        beginnings = [x[: t + 1] for t in range(len(x))]
        p = predict(run.model, beginnings, PADDING_VALUE["cv_segments"])
        vowels = maker.VOWELS[
            name
        ]  # which of them is said is what the file's generator draws first
        found.append(
            {
                "label": name,
                "file": file,
                "vowel": str(entry.generator().choice(list(vowels), p=list(vowels.values()))),
                "wav": as_wav(sound, rate),
                "features": np.clip(x, -3, 3).astype(float).round(1).tolist(),
                "probabilities": p.round(3).astype(float).round(3).tolist(),
            }
        )
    return {
        "settings": vars(SETTINGS),
        "test_accuracy": run.row["test_accuracy"],
        "classes": dataset.classes,
        "syllables": found,
    }


if __name__ == "__main__":
    text = json.dumps(syllables(load_cv_segments(DATA / "sample")), separators=(",", ":"))
    (RESULTS / "listen.json").write_text(text + "\n", encoding="utf-8")
