"""Tones without samples: additive synthesis of basses, leads and pads, for the sounds that soundfonts lack.

A tone is a sum of harmonics whose weights fall with their number and with time, which is what a low-pass filter
that closes does to a saw or a square wave. numpy only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from .midi import SLIDE_SECONDS, VIBRATO_DELAY
from .score import Note


@dataclasses.dataclass(frozen=True)
class Timbre:
    """How a tone sounds; drawn by `draw_timbre`."""

    slope: float  # weight of harmonic k is k ** -slope
    odd_only: float  # 0 saw .. 1 square: how much the even harmonics are taken away
    brightness: float  # harmonics audible at the beginning
    closing: float  # how fast brightness falls, per second
    attack: float  # seconds
    release: float  # seconds
    decay: float  # per second
    detune: float  # cents between the left and the right oscillator
    vibrato: float  # cents
    sub: float  # weight of a sine one octave below


def draw_timbre(rng: np.random.Generator, bass: bool) -> Timbre:
    """A random timbre, plucked or held, darker for a bass."""
    plucked = rng.random() < 0.5
    return Timbre(
        slope=float(rng.uniform(0.6, 1.6)),
        odd_only=float(rng.choice([0.0, 0.5, 1.0])),
        brightness=float(np.exp(rng.uniform(np.log(1.5), np.log(20.0))) if bass else rng.uniform(1.5, 30.0)),
        closing=float(rng.uniform(0.5, 8.0)) if plucked else float(rng.uniform(0.0, 1.0)),
        attack=float(rng.uniform(0.002, 0.02)) if plucked or bass else float(rng.uniform(0.01, 0.4)),
        release=float(rng.uniform(0.02, 0.15)) if bass else float(rng.uniform(0.03, 0.6)),
        decay=float(rng.uniform(0.5, 5.0)) if plucked else float(rng.uniform(0.0, 0.6)),
        detune=float(rng.uniform(0, 8 if bass else 20)),
        vibrato=float(rng.choice([0.0, 0.0, rng.uniform(5, 50)])),
        sub=float(rng.uniform(0, 0.8)) if bass and rng.random() < 0.4 else 0.0,
    )


def _tone(note: Note, timbre: Timbre, sample_rate: int, samples: int) -> np.ndarray:
    time = np.arange(samples) / sample_rate
    frequency = 440.0 * 2 ** ((note.pitch - 69) / 12)
    late = np.clip((time - VIBRATO_DELAY) / 0.3, 0, 1)
    cents = timbre.vibrato * late * np.sin(2 * np.pi * 5.5 * time) + 100 * note.slide * np.exp(-time / SLIDE_SECONDS)
    seconds = np.cumsum(2 ** (cents / 1200)) / sample_rate  # that pass at the note's own pitch
    open_to = 1 + (timbre.brightness - 1) * np.exp(-timbre.closing * time) * (note.velocity / 100)
    open_to = open_to.astype(np.float32)
    sides = []
    for apart in (-timbre.detune / 2, timbre.detune / 2):
        tuned = frequency * 2 ** (apart / 1200)
        phase = (2 * np.pi * (tuned * seconds % 1)).astype(
            np.float32
        )  # small numbers: single precision is exact enough
        wave = (timbre.sub * np.sin(np.pi * tuned * seconds)).astype(np.float32)
        for k in range(1, int(min(timbre.brightness * 2, 15000 / tuned)) + 1):
            weight = k**-timbre.slope * (1 - timbre.odd_only * (k % 2 == 0))
            if weight > 0:
                wave += weight / (1 + (k / open_to) ** 4) * np.sin(k * phase)
        sides.append(wave)
    held = min(note.duration, time[-1]) if samples else 0.0
    envelope = np.minimum(1, time / timbre.attack) * np.exp(-timbre.decay * time)
    envelope *= np.clip(1 - (time - held) / timbre.release, 0, 1)
    return np.stack(sides, axis=1) * envelope[:, np.newaxis] * (note.velocity / 127)


def play_synth(notes: Sequence[Note], timbre: Timbre, seconds: float, sample_rate: int) -> np.ndarray:
    """Notes as additive tones: (samples, 2) float32 with a peak of at most one."""
    audio = np.zeros((round(seconds * sample_rate), 2), np.float32)
    for note in notes:
        start = round(note.start * sample_rate)
        samples = min(round((note.duration + timbre.release) * sample_rate), len(audio) - start)
        if samples > 0:
            audio[start : start + samples] += _tone(note, timbre, sample_rate, samples)
    return audio / max(float(np.max(np.abs(audio), initial=0.0)), 1.0)
