"""Make the sample: synthetic data in the course's formats, so that every notebook runs without it.

    python data/make_sample.py [--out data/sample] [--only handwriting|cv_segments]

Writes `handwriting.zip`, drawn by a small model of handwriting, and `cv_segments.zip`, spoken by
eSpeak NG; if they go to data/sample, data/manifest.json learns their digests. Each file draws its
randomness from a generator of its own, seeded with (SEED, data set, class, split, number), so any
file can be made again alone, byte for byte.
"""

import argparse
import itertools
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve, lfilter

from helpers.data import DATA, load_cv_segments, load_handwriting
from helpers.mfcc import frame_signal, mfcc, synthesise_phonemes

SEED = 20261123
CLASSES = {
    "handwriting": ("a", "ai", "bA", "chA", "dA"),
    "cv_segments": ("hI", "ne", "ni", "nii", "pa"),
}
SPLITS = ("train", "test")


class Entry(NamedTuple):
    """One file of the sample: where it stands in its zip, and how long its sequence is."""

    dataset: str
    label: str
    split: str
    number: int
    member: str
    length: int
    speaker: int = 0

    def generator(self):
        """Return the file's own random generator."""
        return _generator(1, self.dataset, self.label, self.split, self.number)


def _generator(purpose, dataset, label, split, number=0):
    """Return a random generator for one purpose (0: plan, 1: file) at one place."""
    classes = CLASSES[dataset]
    place = list(CLASSES).index(dataset), classes.index(label), SPLITS.index(split)
    return np.random.default_rng([SEED, purpose, *place, number])


def _lengths(rng, count, median, spread, low, high):
    """Draw log-normal lengths between `low` and `high`; the first two are the extremes."""
    drawn = np.round(median * np.exp(spread * rng.standard_normal(count))).astype(int)
    return [low, high, *np.clip(drawn, low, high)[2:]]


# --- Handwriting ------------------------------------------------------------------------------

# Per class: the first file's number and how many, in train and in test.
STROKE_FILES = {
    "a": ((1, 69), (70, 20)),
    "ai": ((0, 70), (70, 20)),
    "bA": ((0, 67), (67, 20)),
    "chA": ((0, 70), (70, 20)),
    "dA": ((0, 69), (69, 20)),
}
# Per class: (least, median, greatest) number of points in train and in test.
STROKE_LENGTHS = {
    "a": ((23, 70, 178), (50, 72, 114)),
    "ai": ((20, 82, 160), (57, 79, 120)),
    "bA": ((24, 71, 159), (53, 69, 94)),
    "chA": ((19, 73, 155), (52, 69, 90)),
    "dA": ((22, 70, 143), (48, 65, 80)),
}
# Per class: mean width and height of a character on the tablet.
STROKE_SIZE = {
    "a": (0.31, 0.22),
    "ai": (0.24, 0.24),
    "bA": (0.36, 0.20),
    "chA": (0.43, 0.17),
    "dA": (0.33, 0.18),
}

# Letterforms: smooth pieces that meet in corners, as control points (x to the right, y up).
# bA and chA differ in how they begin, a hook or a line, and share the rest.
_CUP = [(0.22, 0.30), (0.20, 0.08), (0.33, 0.00), (0.45, 0.10), (0.47, 0.34)]
_CUP_AND_TAIL = [
    [(0.47, 0.34), (0.50, 0.10), (0.62, 0.01), (0.76, 0.14), (0.80, 0.40), (0.74, 0.64),
     (0.66, 0.76)],
    [(0.66, 0.76), (0.84, 0.80), (1.02, 0.83), (1.15, 0.81), (1.23, 0.66), (1.16, 0.50),
     (1.07, 0.60), (1.12, 0.78), (1.18, 0.86)],
]  # fmt: skip
LETTERFORMS = {
    "a": [
        [(0.16, 0.70), (0.27, 0.63), (0.40, 0.72), (0.40, 0.92), (0.24, 1.00), (0.06, 0.88),
         (0.00, 0.58), (0.10, 0.22), (0.40, 0.00), (0.76, 0.04), (0.99, 0.30), (1.00, 0.62),
         (0.86, 0.72), (0.70, 0.60), (0.68, 0.42), (0.70, 0.30)],
        [(0.70, 0.30), (0.50, 0.27), (0.30, 0.24)],
    ],
    "ai": [
        [(0.02, 0.60), (0.05, 0.84), (0.20, 0.98), (0.37, 0.92), (0.42, 0.66)],
        [(0.42, 0.66), (0.52, 0.90), (0.70, 1.00), (0.90, 0.88), (1.00, 0.60), (0.93, 0.32),
         (0.76, 0.12), (0.52, 0.01), (0.28, 0.04), (0.18, 0.20), (0.32, 0.36), (0.54, 0.30),
         (0.64, 0.14), (0.72, 0.04)],
    ],
    "bA": [
        [(0.13, 0.62), (0.05, 0.70), (0.05, 0.84), (0.13, 0.90), (0.21, 0.82), (0.21, 0.66),
         (0.18, 0.50), *_CUP],
        *_CUP_AND_TAIL,
    ],
    "chA": [
        [(-0.03, 0.66), (0.09, 0.67), (0.22, 0.68)],
        [(0.22, 0.68), (0.19, 0.50), *_CUP],
        *_CUP_AND_TAIL,
    ],
    "dA": [
        [(0.30, 0.80), (0.14, 0.66), (0.02, 0.42), (0.06, 0.12), (0.22, 0.00), (0.36, 0.08),
         (0.40, 0.28)],
        [(0.40, 0.28), (0.46, 0.06), (0.62, 0.02), (0.74, 0.20), (0.68, 0.48), (0.48, 0.72),
         (0.22, 0.82), (0.04, 0.84)],
        [(0.04, 0.84), (0.06, 0.90), (0.30, 0.90), (0.62, 0.94), (0.92, 1.00), (1.06, 0.94),
         (1.09, 0.72), (1.00, 0.58), (0.92, 0.72), (0.98, 0.92)],
    ],
}  # fmt: skip
GRID = 1 / 150  # the smallest step that the tablet tells apart


def plan_handwriting():
    """List the files of the handwriting set.

    Returns
    -------
    list of Entry
    """
    entries = []
    for label in CLASSES["handwriting"]:
        for s, (split, folder) in enumerate((("train", "train"), ("test", "dev"))):
            first, count = STROKE_FILES[label][s]
            low, median, high = STROKE_LENGTHS[label][s]
            rng = _generator(0, "handwriting", label, split)
            lengths = _lengths(rng, count, median, (0.34, 0.17)[s], low, high)
            for number, length in zip(range(first, first + count), lengths, strict=True):
                member = f"handwriting/{label}/{folder}/{number}.txt"
                entries.append(Entry("handwriting", label, split, number, member, length))
    return entries


def _curve(pieces, samples=160):
    """Draw each piece as a spline by chord length; return densely sampled points, shape (n, 2)."""
    drawn = []
    for points in map(np.asarray, pieces):
        chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        spline = make_interp_spline(chord, points, k=min(3, len(points) - 1))
        drawn.append(spline(np.linspace(0, chord[-1], samples))[bool(drawn) :])
    return np.concatenate(drawn)


def _even(curve, count):
    """Resample a curve at `count` points evenly spaced by arc length, shape (count, 2)."""
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.linspace(0, arc[-1], count)
    return np.column_stack([np.interp(at, arc, curve[:, k]) for k in (0, 1)])


def draw_stroke(label, length, rng):
    """Write one character.

    The control points are shaken and warped, the splines through them are rounded at the corners,
    and the pen runs along them faster where they are straight: speed goes with curvature to the
    power -1/3, the two-thirds power law (Lacquaniti et al., 1983).

    Parameters
    ----------
    label : str
    length : int
        Number of points.
    rng : numpy.random.Generator

    Returns
    -------
    array of shape (length, 2), float64
        x to the right and y up, in units of the tablet's height.
    """
    careless = 1.8 if rng.random() < 0.08 else 1.0
    shake = careless * rng.uniform(0.012, 0.035)
    # A smooth warp moves neighbouring points together: two random waves over the plane.
    waves = rng.normal(0, 2.2, (2, 2)), rng.uniform(0, 2 * np.pi, 2), rng.normal(0, 0.04, (2, 2))

    def warp(points):
        points = np.asarray(points, dtype=np.float64)
        return points + np.sin(points @ waves[0] + waves[1]) @ waves[2]

    pieces = [warp(points) for points in LETTERFORMS[label]]
    pieces = [points + rng.normal(0, shake, points.shape) for points in pieces]
    for before, after in itertools.pairwise(pieces):
        after[0] = before[-1]  # pieces meet

    curve = _even(_curve(pieces), 1000)
    # The hand drifts on its way, so where a character ends says little about how it began.
    drift = np.cumsum(gaussian_filter1d(rng.standard_normal((1000, 2)), 120, axis=0), axis=0)
    curve += 0.0032 * (drift - drift.mean(axis=0))
    # Pen down and pen up: part of the first and last stretch may be missing.
    curve = curve[int(1000 * rng.uniform(0, 0.02)) : 1000 - int(1000 * rng.uniform(0, 0.07))]
    curve = _even(gaussian_filter1d(curve, rng.uniform(2, 9), axis=0, mode="nearest"), 1000)

    # Curvature from the turning angle per unit of length, then speed, then time.
    step = np.gradient(curve, axis=0)
    angle = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    curvature = gaussian_filter1d(np.abs(np.gradient(angle)), 6) * 1000 / 3
    speed = (curvature + 0.5) ** (-1 / 3 * rng.uniform(0.5, 1.3))
    speed *= np.exp(gaussian_filter1d(rng.standard_normal(1000), 50) * rng.uniform(0.5, 2.5))
    speed *= 1 - 0.45 * np.exp(-np.linspace(0, 12, 1000)) - 0.3 * np.exp(-np.linspace(12, 0, 1000))
    time = np.concatenate([[0], np.cumsum(1 / speed[1:])])

    curve[:, 0] += rng.normal(0, 0.10) * curve[:, 1]  # slant
    turn = rng.normal(0, 0.04)
    curve = curve @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    size = np.array(STROKE_SIZE[label]) * np.exp(rng.normal(0, 0.08) + rng.normal(0, 0.13, 2))
    curve = (curve - curve.min(axis=0)) / np.ptp(curve, axis=0) * size
    curve += rng.normal((0.36, 0.12), 0.065)

    # The tablet reports a point only when it differs from the last: look often enough.
    looks = length
    while True:
        clock = np.interp(np.linspace(0, time[-1], looks), time, np.arange(1000))
        points = np.column_stack([np.interp(clock, np.arange(1000), curve[:, k]) for k in (0, 1)])
        tremor = gaussian_filter1d(rng.standard_normal((looks, 2)), 1.0, axis=0, mode="nearest")
        points = np.round((points + 0.002 * tremor) / GRID) * GRID
        points = points[np.append(True, np.diff(points, axis=0).any(axis=1))]
        points = points[np.linspace(0, len(points) - 1, length).round().astype(int)]
        if np.diff(points, axis=0).any(axis=1).all():
            return points
        looks += 1 + looks // 8


def handwriting_file(entry):
    """Make one handwriting file.

    Parameters
    ----------
    entry : Entry
        From `plan_handwriting`.

    Returns
    -------
    bytes
        One line: the number of points, then x and y of each, all separated by spaces.
    """
    points = draw_stroke(entry.label, entry.length, entry.generator())
    # + 0 turns -0 into 0.
    return (
        " ".join([str(len(points)), *(f"{v:.6f}" for v in points.ravel() + 0.0)]).encode() + b"\n"
    )


# --- CV segments ------------------------------------------------------------------------------

# Per class: number of files, (least, median, greatest) number of frames, in train and in test.
SEGMENTS = {
    "hI": ((209, 7, 21, 47), (52, 8, 20, 35)),
    "ne": ((970, 10, 23.5, 64), (243, 8, 23, 62)),
    "ni": ((186, 8, 17, 41), (47, 7, 17.5, 37)),
    "nii": ((194, 6, 22, 56), (48, 12, 21.5, 45)),
    "pa": ((212, 8, 21, 43), (53, 8, 22.5, 50)),
}
FILE_LABEL = {"nii": "nI"}  # the course's names of these files differ from their folder's
ONSET = {"hI": "H", "ne": "n", "ni": "n", "nii": "n", "pa": "p"}
# How the vowel of each class is said, and how often. Fluent speakers shorten and reduce vowels,
# and lengthen a final short one: what is said is not always what is written.
VOWELS = {
    "hI": {"i:": 0.95, "I": 0.05},
    "ne": {"e:": 0.93, "I": 0.04, "i:": 0.03},
    "ni": {"I": 0.78, "i:": 0.11, "e:": 0.11},
    "nii": {"i:": 0.82, "I": 0.11, "e:": 0.07},
    "pa": {"@": 1.0},
}
BEFORE = ("", "", "ka:", "sa:", "tu", "me:", "lo:", "dIka:", "va:s", "ra:", "kIs", "su:")
AFTER = ("", "", "ka:", "ta:", "se:", "kI", "ra:", "mu", "la:", "v@", "tSa:", "bi:")
# eSpeak NG's voice variant, pitch, and how many of 1,000 segments a speaker says.
SPEAKERS = (
    ("m1", 42, 36), ("m2", 35, 57), ("f1", 60, 41), ("m3", 50, 29), ("m4", 38, 50),
    ("f2", 66, 48), ("m5", 45, 34), ("f3", 55, 47), ("m6", 30, 61), ("Andy", 48, 51),
    ("f4", 62, 55), ("m7", 40, 37), ("Lee", 52, 56), ("belinda", 58, 60), ("m8", 36, 59),
    ("f5", 70, 99), ("Mario", 44, 37), ("linda", 64, 71), ("Alex", 33, 72),
)  # fmt: skip


def plan_cv_segments():
    """List the files of the CV segments.

    Returns
    -------
    list of Entry
    """
    share = np.array([segments for _, _, segments in SPEAKERS], dtype=np.float64)
    entries = []
    for label in CLASSES["cv_segments"]:
        taken = set()
        for s, (split, folder) in enumerate((("train", "Train"), ("test", "Test"))):
            count, low, median, high = SEGMENTS[label][s]
            rng = _generator(0, "cv_segments", label, split)
            lengths = _lengths(rng, count, median, 0.34, low, high)
            speakers = rng.choice(len(SPEAKERS), size=count, p=share / share.sum()) + 1
            for number, (length, speaker) in enumerate(zip(lengths, speakers, strict=True)):
                while True:  # utterance and place in it, as in the course's file names
                    place = int(rng.integers(1, 351)), int(rng.integers(2, 21))
                    name = "{:02d}_{}_{}_{}.mfcc".format(
                        speaker, FILE_LABEL.get(label, label), *place
                    )
                    if name not in taken:
                        break
                taken.add(name)
                member = f"cv_segments/{label}/{folder}/{name}"
                entries.append(
                    Entry("cv_segments", label, split, number, member, length, int(speaker))
                )
    return entries


def _utterance(label, length, speaker, rng):
    """Say one syllable among others; return signal, rate and where the syllable begins and ends."""
    vowel = rng.choice(list(VOWELS[label]), p=list(VOWELS[label].values()))
    if ONSET[label] == "n" and rng.random() < 0.7:
        vowel = vowel.rstrip(":") + "~"  # the nose stays open after n
    before, after = rng.choice(BEFORE), rng.choice(AFTER)
    stress = "'" if rng.random() < 0.5 else ""
    variant, pitch, _ = SPEAKERS[speaker - 1]
    signal, rate, phonemes = synthesise_phonemes(
        f"[[{before}{ONSET[label]}{stress}{vowel}{after}]]",
        voice=f"hi+{variant}",
        rate=int(np.clip(175 * 20 / length * np.exp(rng.normal(0, 0.1)), 80, 400)),
        pitch=int(np.clip(pitch + rng.normal(0, 8), 0, 100)),
        pitch_range=int(rng.integers(20, 80)),
    )
    names = [name.strip("',") for name, _ in phonemes]
    onset = names.index(ONSET[label])  # no syllable before it has this consonant
    return signal, rate, phonemes[onset][1], phonemes[onset + 2][1]


def speak_segment(label, length, speaker, rng):
    """Speak one syllable in context, record it badly, and cut its features out.

    Parameters
    ----------
    label : str
    length : int
        Number of frames to cut out.
    speaker : int
        1 to 19.
    rng : numpy.random.Generator

    Returns
    -------
    features : array of shape (length, 39), float64
    sound : array of shape (n,)
        What these frames were computed from.
    rate : int
        Samples of it per second.
    """
    signal, rate, begin, end = _utterance(label, length, speaker, rng)
    margin = int(0.35 * rate)
    signal = np.pad(signal / np.abs(signal).max(), margin)
    # A room, a microphone, and noise that falls with frequency.
    echo = rng.standard_normal(int(0.12 * rate)) * np.exp(-np.linspace(0, 9, int(0.12 * rate)))
    echo[0] = rng.uniform(4, 12)
    signal = fftconvolve(signal, echo / echo[0])[: len(signal)]
    microphone = np.random.default_rng([SEED, 2, speaker]).uniform(0.3, 0.85)  # the speaker's
    signal = lfilter([1], [1, -microphone - rng.uniform(-0.1, 0.1)], signal)
    noise = lfilter([1], [1, -rng.uniform(0.8, 0.98)], rng.standard_normal(len(signal)))
    decibels = rng.normal(10, 6)  # signal to noise
    voiced = signal[margin + begin : margin + end].std()
    signal = signal + noise / noise.std() * voiced * 10 ** (-decibels / 20)
    signal *= rng.uniform(0.1, 0.9) / np.abs(signal).max()

    # Frames of 25 ms every 10 ms: number t is centred at 12.5 + 10 t ms.
    begin, end = ((margin + at) / rate / 0.010 - 1.25 for at in (begin, end))
    centre = begin + (end - begin) * rng.uniform(0.45, 0.55) + rng.normal(0, 1.0)
    frames = len(frame_signal(signal, rate))
    first = int(np.clip(round(centre - length / 2), 0, frames - length))
    # Frame number t begins at 10 t ms and lasts 25 ms.
    sound = signal[int(0.010 * first * rate) : int((0.010 * (first + length) + 0.015) * rate)]
    return mfcc(signal, rate, slice(first, first + length)), sound, rate


# Decimals kept of each feature: of cepstra and energy, of their deltas, of the deltas of those.
DECIMALS = [1] * 12 + [2] + ([1] * 12 + [3]) * 2


def cv_file(entry):
    """Make one file of a CV segment.

    Parameters
    ----------
    entry : Entry
        From `plan_cv_segments`.

    Returns
    -------
    bytes
        One line per frame: 39 numbers, each followed by a space.
    """
    features, *_ = speak_segment(entry.label, entry.length, entry.speaker, entry.generator())
    # Coarse steps, far below what a speaker varies, keep the zip small; + 0 turns -0 into 0.
    features = np.column_stack(
        [np.round(v, digits) for v, digits in zip(features.T, DECIMALS, strict=True)]
    )
    lines = ["".join(f"{v:.6e} " for v in row) for row in features + 0.0]
    return "\n".join([*lines, ""]).encode()


# --- Zips -------------------------------------------------------------------------------------

MAKERS = {
    "handwriting": (plan_handwriting, handwriting_file),
    "cv_segments": (plan_cv_segments, cv_file),
}


def write_zip(dataset, out):
    """Write one data set as a zip with sorted members and a fixed time; return its path."""
    plan, make = MAKERS[dataset]
    path = Path(out) / f"{dataset}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as target:
        for entry in sorted(plan(), key=lambda entry: entry.member):
            info = zipfile.ZipInfo(entry.member, date_time=(2026, 1, 1, 0, 0, 0))
            info.create_system = 3  # else it would depend on the machine
            info.external_attr = 0o644 << 16
            target.writestr(info, make(entry), zipfile.ZIP_DEFLATED, compresslevel=9)
    return path


def record_digests(out):
    """Write the digests of the zips in `out` into the manifest, as what is known as the sample."""
    path = DATA / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for dataset, load in (("handwriting", load_handwriting), ("cv_segments", load_cv_segments)):
        manifest["sample"][dataset] = load(Path(out) / f"{dataset}.zip").digests
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def main():
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DATA / "sample")
    parser.add_argument("--only", choices=MAKERS)
    arguments = parser.parse_args()
    for dataset in [arguments.only] if arguments.only else MAKERS:
        path = write_zip(dataset, arguments.out)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    if arguments.out.resolve() == DATA / "sample":
        record_digests(arguments.out)


if __name__ == "__main__":
    main()
