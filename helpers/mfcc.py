"""Synthetic speech, and the MFCC pipeline one step at a time.

Speech comes from eSpeak NG, a formant synthesiser, through the shared library in the wheel
`espeakng_loader`. The features follow Davis and Mermelstein (1980) with the settings of the HTK
Book (Young et al., 2006, chapter 5): 25 ms windows every 10 ms, 26 mel filters, 12 liftered
cepstra, a normalised log energy, and their first and second differences.
"""

import _ctypes
import ctypes

import numpy as np
from scipy.fft import dct
from scipy.signal import lfilter, savgol_filter

_unload = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary

# Constants and the event record of eSpeak NG's speak_lib.h.
_OUTPUT_SYNCHRONOUS, _PHONEME_EVENTS, _DO_NOT_EXIT = 2, 0x0001, 0x8000
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4
_UTF8, _PHONEME_INPUT, _EVENT_LIST_END, _EVENT_PHONEME = 0x001, 0x100, 0, 7


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def synthesise(text, voice="hi", rate=175, pitch=50, pitch_range=50):
    """Speak a text.

    The same arguments always give the same samples, whatever was spoken before.

    Parameters
    ----------
    text : str
        Ordinary text, or eSpeak's phoneme names inside ``[[ ]]``.
    voice : str
        A language, with or without a variant: ``"hi"``, ``"hi+f2"``.
    rate : int
        Words per minute, 80 to 450.
    pitch, pitch_range : int
        0 to 100; 50 is the voice's own.

    Returns
    -------
    signal : array of shape (n,), float64
        Between -1 and 1.
    sample_rate : int
        Hertz.

    Raises
    ------
    ValueError
        If eSpeak NG does not know the voice, a setting is out of range or nothing is spoken.
    """
    return synthesise_phonemes(text, voice, rate, pitch, pitch_range)[:2]


def synthesise_phonemes(text, voice="hi", rate=175, pitch=50, pitch_range=50):
    """Speak a text as `synthesise` does, and say where each phoneme begins.

    Returns
    -------
    signal : array of shape (n,), float64
    sample_rate : int
    phonemes : list of (str, int)
        eSpeak's name of each phoneme and the sample it begins at; pauses are ``_`` and ``_:``.
    """
    if not 80 <= rate <= 450:
        raise ValueError(f"found rate {rate}; expected 80 to 450 words per minute")
    if not (0 <= pitch <= 100 and 0 <= pitch_range <= 100):
        raise ValueError(f"found pitch {pitch} and range {pitch_range}; expected 0 to 100")
    import espeakng_loader  # here, so that the MFCC steps need no synthesiser

    chunks, phonemes = [], []

    @_CALLBACK
    def collect(samples, count, events):
        if count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).astype(np.float64))
        i = 0
        while events[i].type != _EVENT_LIST_END:
            if events[i].type == _EVENT_PHONEME:
                phonemes.append((events[i].name.decode(), events[i].sample))
            i += 1
        return 0

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        sample_rate = library.espeak_Initialize(
            _OUTPUT_SYNCHRONOUS,
            0,
            espeakng_loader.get_data_path().encode(),
            _PHONEME_EVENTS | _DO_NOT_EXIT,
        )
        if sample_rate <= 0:
            raise OSError("eSpeak NG did not find its data")
        library.espeak_SetSynthCallback(collect)
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"found voice {voice!r}; expected one that eSpeak NG has")
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_PITCH_RANGE, pitch_range)):
            library.espeak_SetParameter(parameter, int(value), 0)
        content = text.encode()
        size = ctypes.c_size_t(len(content) + 1)
        library.espeak_Synth(content, size, 0, 1, 0, _UTF8 | _PHONEME_INPUT, None, None)
        library.espeak_Synchronize()
    finally:
        library.espeak_Terminate()
        # The library keeps the phase of its voice in static variables; only loading it afresh
        # makes one utterance independent of the last.
        _unload(library._handle)
    signal = np.concatenate([np.zeros(0), *chunks]) / 32768
    if not signal.any():
        raise ValueError(f"found nothing to speak in {text!r}; expected words")
    return signal, sample_rate, phonemes


def pre_emphasise(signal, coefficient=0.97):
    """Raise the high frequencies: ``y[n] = x[n] - coefficient x[n - 1]``.

    Parameters
    ----------
    signal : array of shape (n,)

    Returns
    -------
    array of shape (n,), float64
    """
    return lfilter([1, -coefficient], [1], np.asarray(signal, dtype=np.float64))


def frame_signal(signal, rate, length=0.025, step=0.010):
    """Cut a signal into overlapping frames.

    Parameters
    ----------
    signal : array of shape (n,)
    rate : int
        Samples per second.
    length, step : float
        Length of a frame and distance between two, in seconds.

    Returns
    -------
    array of shape (T, samples in a frame), float64
        What is left over at the end is dropped.

    Raises
    ------
    ValueError
        If the signal is shorter than one frame.
    """
    length, step = round(length * rate), round(step * rate)
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 1 or len(signal) < length:
        raise ValueError(
            f"found a signal of shape {signal.shape}; expected one of {length} samples or more"
        )
    return np.lib.stride_tricks.sliding_window_view(signal, length)[::step]


def magnitude_spectrum(frames, n_fft=None):
    """Magnitude of the Fourier transform of frames under a Hamming window.

    HTK takes magnitudes unless told to take powers, their squares, which would only double the
    logarithms that follow, but for the sums over filters between.

    Parameters
    ----------
    frames : array of shape (T, samples)
    n_fft : int, optional
        Length of the Fourier transform; without it, the next power of two.

    Returns
    -------
    array of shape (T, n_fft // 2 + 1), float64
    """
    samples = frames.shape[1]
    n_fft = n_fft or 1 << (samples - 1).bit_length()
    return np.abs(np.fft.rfft(frames * np.hamming(samples), n_fft))


def hertz_to_mel(hertz):
    """Frequency on the mel scale, ``2595 log10(1 + f / 700)`` (HTK Book, eq. 5.13)."""
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def mel_filters(rate, n_fft, n_filters=26, low=0.0, high=8000.0):
    """Triangular filters, equally wide and half overlapping on the mel scale.

    Parameters
    ----------
    rate : int
        Samples per second.
    n_fft : int
        Length of the Fourier transform.
    low, high : float
        Hertz; `high` is cut to half the sample rate.

    Returns
    -------
    array of shape (n_filters, n_fft // 2 + 1), float64
        Each peaks at 1. Davis and Mermelstein (1980), figure 1.
    """
    edges = np.linspace(hertz_to_mel(low), hertz_to_mel(min(high, rate / 2)), n_filters + 2)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    mel = hertz_to_mel(np.fft.rfftfreq(n_fft, 1 / rate))
    return np.clip(
        np.minimum((mel - left) / (centre - left), (right - mel) / (right - centre)), 0, None
    )


def log_mel(spectrum, filters):
    """Logarithm of what each mel filter lets through.

    Parameters
    ----------
    spectrum : array of shape (T, bins)
    filters : array of shape (n_filters, bins)

    Returns
    -------
    array of shape (T, n_filters), float64
        Not below ``log(1e-10)``, so that silence stays finite.
    """
    return np.log(np.maximum(spectrum @ filters.T, 1e-10))


def cepstra(log_energies, n_cepstra=12, lifter=22):
    """Mel-frequency cepstral coefficients 1 to `n_cepstra`.

    The cosine transform undoes most of the correlation between neighbouring filters (Davis and
    Mermelstein, 1980, eq. 1). Liftering makes low and high coefficients of similar size (HTK
    Book, eq. 5.12). Coefficient 0, the loudness, is left out: the energy stands for it.

    Parameters
    ----------
    log_energies : array of shape (T, n_filters)
    lifter : int
        0 for none.

    Returns
    -------
    array of shape (T, n_cepstra), float64
    """
    c = dct(log_energies, type=2, norm="ortho", axis=1)[:, 1 : n_cepstra + 1]
    n = np.arange(1, n_cepstra + 1)
    return c * (1 + lifter / 2 * np.sin(np.pi * n / lifter)) if lifter else c


def log_energy(frames, scale=0.1, floor_db=50.0):
    """Logarithm of each frame's energy, the loudest frame at 1 (HTK's ``ENORMALISE``).

    Parameters
    ----------
    frames : array of shape (T, samples)
    scale : float
        Factor on the natural logarithm.
    floor_db : float
        Frames further below the loudest are lifted to this many decibels below it.

    Returns
    -------
    array of shape (T,), float64
    """
    energy = np.log(np.maximum((frames**2).sum(axis=1), 1e-10))
    below = np.minimum(energy.max() - energy, floor_db / 10 * np.log(10))
    return 1 - scale * below


def deltas(features, width=2):
    r"""Slope of each feature over ``2 width + 1`` frames.

    .. math:: d_t = \frac{\sum_{k=1}^{K} k\,(c_{t+k} - c_{t-k})}{2 \sum_{k=1}^{K} k^2}

    This is the HTK Book's eq. 5.16, the least-squares line through the window, which is a
    Savitzky–Golay filter of order 1. The first and the last frame are repeated at the ends.

    Parameters
    ----------
    features : array of shape (T, D)

    Returns
    -------
    array of shape (T, D), float64
    """
    return savgol_filter(features, 2 * width + 1, polyorder=1, deriv=1, axis=0, mode="nearest")


def mfcc(signal, rate, cut=slice(None)):
    """Features of a speech signal, or of a segment that is cut out of it.

    Parameters
    ----------
    signal : array of shape (n,)
    rate : int
        Samples per second.
    cut : slice
        The frames that are wanted; all if not given. Cepstra are those of the whole signal. The
        energy is normalised by the loudest frame of the cut, and slopes see no frame beyond it.

    Returns
    -------
    array of shape (T, 39), float64
        12 cepstra and the energy, their deltas, and the deltas of those.

    Raises
    ------
    ValueError
        If the signal is shorter than one frame of 25 ms.
    """
    frames = frame_signal(pre_emphasise(signal), rate)[cut]
    spectrum = magnitude_spectrum(frames)
    filters = mel_filters(rate, n_fft=2 * (spectrum.shape[1] - 1))
    energy = log_energy(frame_signal(signal, rate)[cut])
    static = np.column_stack([cepstra(log_mel(spectrum, filters)), energy])
    first = deltas(static)
    return np.hstack([static, first, deltas(first)])
