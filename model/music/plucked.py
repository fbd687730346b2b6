"""Plucked strings without samples: guitars and basses by the algorithm of Karplus and Strong.

A burst of noise goes round a delay line as long as a period and loses treble and energy on every round. Source: K.
Karplus and A. Strong, "Digital Synthesis of Plucked-String and Drum Timbres", Computer Music Journal 7(2), 1983; the
comb for the place of the plectrum and the fractional delay are those of D. Jaffe and J. Smith in the same issue.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import signal

from . import effects
from .score import Note

RELEASE_SECONDS = 0.06  # in which a damped string falls silent


@dataclasses.dataclass(frozen=True)
class Strings:
    """How an instrument's strings sound; drawn by `draw_strings`."""

    damping: float  # 0..1, loss of treble per round
    ring: float  # seconds in which a low string falls by 60 dB
    place: float  # where it is plucked, as a part of the string
    hardness: float  # Hz, above which the plectrum excites little
    body: tuple[tuple[float, float, float], ...]  # resonances: Hz, dB, Q


def draw_strings(rng: np.random.Generator, electric: bool, bass: bool = False) -> Strings:
    """Random strings on a wooden body or on an electric instrument, which hardly has one; a bass' are dull."""
    peaks = [(90, 130), (180, 260), (350, 700)]
    resonant = (0.0, 3.0) if electric else (2.0, 9.0)
    return Strings(
        damping=float(rng.uniform(0.15, 0.8) if bass else rng.uniform(0.02, 0.5)),
        ring=float(rng.uniform(1.5, 9.0)),
        place=float(rng.uniform(0.06, 0.45)),
        hardness=float(np.exp(rng.uniform(np.log(200), np.log(2500)))) if bass else float(rng.uniform(1200, 9000)),
        body=tuple((rng.uniform(*peak), rng.uniform(*resonant), rng.uniform(2, 6)) for peak in peaks),
    )


def pluck(frequency: float, samples: int, strings: Strings, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """One tone, (samples,) float64, loudest at the beginning."""
    period = sample_rate / frequency
    whole = int(period - 1)
    part = period - 1 - whole
    loss = 10 ** (-3 * period / sample_rate / (strings.ring * (110 / frequency) ** 0.5))
    damp = strings.damping * min(1.0, 200 / frequency)  # rounds are shorter on higher strings
    taps = loss * np.convolve([1 - part, part], [damp / 2, 1 - damp, damp / 2])  # 1 sample of delay, and the fraction
    burst = rng.uniform(-1, 1, whole + 4)
    burst = signal.lfilter(*signal.butter(1, min(strings.hardness, 0.45 * sample_rate), fs=sample_rate), burst)
    burst -= np.roll(burst, max(1, int(strings.place * period)))
    tone = np.zeros(samples + 2 * whole + 4)
    tone[: whole + 4] = burst
    for at in range(whole + 4, samples + whole + 4, whole):
        tone[at : at + whole] = sum(tap * tone[at - whole - k : at - k] for k, tap in enumerate(taps))
    return tone[whole + 4 : whole + 4 + samples]


def play_strings(
    notes: Sequence[Note], strings: Strings, seconds: float, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Notes on plucked strings: (samples, 2) float32 with a peak of at most one; slides are left out."""
    mono = np.zeros(round(seconds * sample_rate))
    release = round(RELEASE_SECONDS * sample_rate)
    for note in notes:
        start = round(note.start * sample_rate)
        held = min(round(note.duration * sample_rate), len(mono) - start)
        samples = min(held + release, len(mono) - start)
        if samples <= 0:
            continue
        frequency = 440 * 2 ** ((note.pitch - 69 + rng.normal(0, 0.03)) / 12)
        softer = dataclasses.replace(strings, hardness=strings.hardness * (note.velocity / 100) ** 1.5)
        tone = pluck(frequency, samples, softer, sample_rate, rng)
        tone[held:] *= np.linspace(1, 0, samples - held)
        mono[start : start + samples] += tone * (note.velocity / 127) ** 1.3
    audio = np.repeat(mono[:, np.newaxis], 2, axis=1).astype(np.float32)
    audio = effects.cut(audio, sample_rate, low=25)  # the loop keeps what is constant in the burst
    for frequency, gain_db, q in strings.body:
        audio = effects.peaking_filter(audio, sample_rate, frequency, gain_db, q)
    return audio / max(float(np.max(np.abs(audio), initial=0.0)), 1.0)
