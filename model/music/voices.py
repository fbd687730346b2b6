"""Speech taken apart: pitch, spectral envelope and aperiodicity frame by frame, cut into units that can be sung.

Needs Python's `pyworld` (extra [train]). A unit is one syllable: what leads to a vowel, the vowel's loudest frame, and
what follows until the next unit. Source of the vocoder: Morise, Yokomori, Ozawa, "WORLD", IEICE Trans. E99-D, 2016.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import soxr
from scipy import ndimage, signal

from ..errors import UsageError

FRAME_SECONDS = 0.005  # of the vocoder
VOICE_RATE = 24000  # Hz, of everything that is sung: all that lies above is added by `brighten`
PAUSE_FRAMES = 30  # a longer gap between voiced stretches is a pause and not a consonant
NUCLEUS_DISTANCE = 14  # frames at least between the middles of two syllables
HOLD_FRAMES = 5  # to either side of a syllable's loudest frame, within which its held vowel stays
SHORTEST_VOWEL = 6  # frames
LONGEST_LEAD = 44  # frames of consonants before the vowel
NUCLEUS_PROMINENCE = 2.5  # dB


class Unit(NamedTuple):
    """A syllable in frames of the speech: where it begins, the part of its vowel that can be held, where it ends."""

    first: int
    vowel: int  # first and (exclusive) end of some voiced frames around the loudest
    vowel_end: int
    end: int


@dataclasses.dataclass(frozen=True)
class Speech:
    """Analysed speech: what WORLD makes of it, frame by frame, and where its units are."""

    pitch: np.ndarray  # (frames,) Hz, 0 where unvoiced
    envelope: np.ndarray  # (frames, bins) power
    aperiodicity: np.ndarray  # (frames, bins) 0..1
    units: tuple[Unit, ...]
    bandwidth: float  # Hz, up to which the speaker was recorded


def load_world() -> Any:
    """The pyworld module; UsageError where it is missing."""
    try:
        import pyworld
    except ImportError as error:
        raise UsageError(f"pyworld: {error}; pip install 'stembeam[generate]' to render singing voices") from error
    return pyworld


def find_units(pitch: np.ndarray, loudness: np.ndarray) -> tuple[Unit, ...]:
    """The syllables of speech.

    Args:
      pitch: (frames,) Hz, 0 where unvoiced.
      loudness: (frames,) dB.

    Returns:
      Units in order, which touch each other except across pauses.
    """
    smooth = ndimage.gaussian_filter1d(np.where(pitch > 0, loudness, loudness - 30), 3)
    found, _ = signal.find_peaks(smooth, distance=NUCLEUS_DISTANCE, prominence=NUCLEUS_PROMINENCE)
    vowels = [(peak, *_voiced_around(pitch, peak)) for peak in found.tolist()]
    vowels = [vowel for vowel in vowels if vowel[2] - vowel[1] >= SHORTEST_VOWEL]
    voiced = np.flatnonzero(pitch > 0)
    units: list[Unit] = []
    for i, (peak, low, high) in enumerate(vowels):
        before = vowels[i - 1][2] if i else 0
        after = vowels[i + 1][1] if i + 1 < len(vowels) else len(pitch)
        first = before + int(np.argmin(smooth[before:peak])) if peak > before else low
        last = peak + 1 + int(np.argmin(smooth[peak + 1 : after])) if after > peak + 1 else high
        speaking = voiced[(voiced >= first) & (voiced < last)]
        first = max(first, int(speaking[0]) - PAUSE_FRAMES, low - LONGEST_LEAD)
        last = min(last, int(speaking[-1]) + PAUSE_FRAMES)
        units.append(Unit(min(first, low), low, high, max(last, high)))
    return tuple(units)


def _voiced_around(pitch: np.ndarray, frame: int) -> tuple[int, int]:
    """The run of voiced frames around a frame, at most HOLD_FRAMES to either side; empty where it is unvoiced."""
    low = high = frame
    while low > max(frame - HOLD_FRAMES, 0) and pitch[low - 1] > 0:
        low -= 1
    while high < min(frame + HOLD_FRAMES + 1, len(pitch)) and pitch[high] > 0:
        high += 1
    return low, high


def analyse(audio: np.ndarray, sample_rate: int) -> Speech:
    """Take speech apart: (samples,) float64 to its frames and units."""
    world = load_world()
    audio = np.ascontiguousarray(soxr.resample(audio, sample_rate, VOICE_RATE))
    coarse, times = world.dio(audio, VOICE_RATE, f0_floor=60.0, f0_ceil=500.0, frame_period=FRAME_SECONDS * 1000)
    pitch = world.stonemask(audio, coarse, times, VOICE_RATE)
    envelope = world.cheaptrick(audio, pitch, times, VOICE_RATE)
    aperiodicity = world.d4c(audio, pitch, times, VOICE_RATE)
    loudness = 10 * np.log10(envelope[:, 12:180].sum(axis=1) + 1e-12)  # 0.3 to 4.2 kHz, where vowels are loud
    return Speech(pitch, envelope, aperiodicity, find_units(pitch, loudness), min(sample_rate, VOICE_RATE) / 2)


def warp(spectra: np.ndarray, factor: float) -> np.ndarray:
    """Spectra (frames, bins) with frequencies scaled: above one the throat is shorter."""
    bins = np.arange(spectra.shape[1])
    place = np.clip(bins / factor, 0, bins[-1])
    low = np.minimum(place.astype(int), bins[-1] - 1)
    part = place - low
    return spectra[:, low] * (1 - part) + spectra[:, low + 1] * part


def brighten(audio: np.ndarray, sample_rate: int, bandwidth: float, rng: np.random.Generator) -> np.ndarray:
    """Fill the band above a voice's own (narrower than a record's) with noise that follows its upper octave.

    Args:
      audio: (samples,).
      bandwidth: Hz, up to which the voice has anything.
    """
    edge = bandwidth * 0.9
    if edge > 0.4 * sample_rate:
        return audio
    upper = signal.sosfilt(signal.butter(4, [edge / 2, edge], 'bandpass', fs=sample_rate, output='sos'), audio)
    follow = signal.sosfiltfilt(signal.butter(1, 60, fs=sample_rate, output='sos'), np.abs(upper))
    above = signal.butter(2, edge, 'highpass', fs=sample_rate, output='sos')
    noise = signal.sosfilt(above, rng.standard_normal(len(audio)))
    return audio + noise * np.maximum(follow, 0) * rng.uniform(0.3, 1.0)
