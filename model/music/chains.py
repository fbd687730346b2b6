"""Chains of effects as records have them: for a singer, a drummer, a bass and everything else, every step by chance.

All take a dry take, float32 (samples, 2), and give one of the same shape, wet and at an active level of -20 dB.
"""

from __future__ import annotations

import numpy as np

from . import effects, rooms

LEVEL_DB = -20.0


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def vocal_chain(audio: np.ndarray, sample_rate: int, rng: np.random.Generator, beat: float) -> np.ndarray:
    """A voice in front of a band: cut, bright, compressed twice, echoed in time with the beat, in a room or a plate."""
    audio = effects.cut(audio, sample_rate, low=_log_uniform(rng, 50, 160))
    audio = effects.equalise(audio, sample_rate, rng, 3.0)
    audio = effects.high_shelf(audio, sample_rate, rng.uniform(2500, 6000), rng.uniform(-2, 8))
    if rng.random() < 0.75:
        audio = effects.compress(
            audio, sample_rate, rng.uniform(2, 8), rng.uniform(-14, 0), 0.002, rng.uniform(0.05, 0.2)
        )
    if rng.random() < 0.5:
        audio = effects.compress(audio, sample_rate, rng.uniform(1.5, 4), rng.uniform(-10, 0), 0.02, 0.3)
    if rng.random() < 0.3:
        audio = effects.saturate(audio, rng.uniform(0.5, 5.0))
    if rng.random() < 0.05:  # a telephone
        audio = effects.cut(audio, sample_rate, low=rng.uniform(300, 600), high=rng.uniform(2500, 4000))
    audio = effects.pan(audio, float(np.clip(rng.normal(0, 0.1), -0.6, 0.6)), rng.uniform(0.5, 1.0))
    if rng.random() < 0.25:
        audio = rooms.chorus(audio, sample_rate, rng, rng.uniform(0.2, 0.8))
    wet = audio
    if rng.random() < 0.4:
        time = beat * float(rng.choice([0.25, 0.5, 0.75, 1.0])) if rng.random() < 0.7 else rng.uniform(0.06, 0.14)
        wet = rooms.echo(wet, sample_rate, time, rng.uniform(0.1, 0.5), rng.uniform(0.05, 0.4), rng.random() < 0.4)
    if rng.random() < 0.85:
        wet = rooms.reverberate(wet, sample_rate, rng, _log_uniform(rng, 0.3, 3.5), _log_uniform(rng, 0.04, 0.7))
    return effects.normalise(wet, LEVEL_DB)


def drum_chain(audio: np.ndarray, snare: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Drums in a room, their snare (part of the audio, sent apart) on a plate, all squeezed; loud rooms included."""
    if rng.random() < 0.35 and snare.any():
        plate = rooms.reverberate(snare, sample_rate, rng, _log_uniform(rng, 0.3, 2.0), 1.0) - snare
        if rng.random() < 0.3:  # gated
            closing = np.abs(snare).max(axis=1) > 0.1 * np.abs(snare).max()
            hold = int(rng.uniform(0.12, 0.3) * sample_rate)
            since = np.arange(len(closing)) - np.maximum.accumulate(np.where(closing, np.arange(len(closing)), -hold))
            plate = plate * (since < hold)[:, np.newaxis]
        audio = audio + plate * np.float32(rng.uniform(0.1, 0.6))
    audio = effects.equalise(audio, sample_rate, rng, 3.5)
    if rng.random() < 0.55:
        audio = rooms.reverberate(audio, sample_rate, rng, _log_uniform(rng, 0.15, 1.5), _log_uniform(rng, 0.05, 0.8))
    if rng.random() < 0.6:
        attack = _log_uniform(rng, 0.001, 0.03)
        squeezed = effects.compress(audio, sample_rate, rng.uniform(2, 10), rng.uniform(-14, 2), attack, 0.12)
        share = np.float32(rng.uniform(0.3, 1.0))
        audio = share * squeezed + (1 - share) * audio
    if rng.random() < 0.3:
        audio = effects.saturate(audio, rng.uniform(0.5, 5.0))
    return effects.normalise(effects.pan(audio, rng.normal(0, 0.08), rng.uniform(0.0, 1.3)), LEVEL_DB)


def bass_chain(audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A bass: nearly mono, squeezed hard, sometimes through an amplifier beside the clean signal, hardly any room."""
    audio = effects.equalise(audio, sample_rate, rng, 4.0)
    if rng.random() < 0.3:
        share = np.float32(rng.uniform(0.1, 0.6))
        driven = effects.amplifier(audio, sample_rate, _log_uniform(rng, 1, 8), rng)
        audio = (1 - share) * audio + share * driven * (np.abs(audio).max() / max(np.abs(driven).max(), 1e-9))
    if rng.random() < 0.8:
        audio = effects.compress(
            audio, sample_rate, rng.uniform(2, 10), rng.uniform(-14, 0), _log_uniform(rng, 0.003, 0.04)
        )
    if rng.random() < 0.5:
        audio = effects.cut(audio, sample_rate, high=_log_uniform(rng, 300, 4000))
    audio = effects.pan(audio, float(np.clip(rng.normal(0, 0.05), -0.3, 0.3)), rng.uniform(0, 0.5))
    if rng.random() < 0.15:
        audio = rooms.chorus(audio, sample_rate, rng, rng.uniform(0.1, 0.5))
    if rng.random() < 0.15:
        audio = rooms.reverberate(audio, sample_rate, rng, _log_uniform(rng, 0.2, 1.5), rng.uniform(0.03, 0.25))
    return effects.normalise(audio, LEVEL_DB)


def other_chain(
    audio: np.ndarray, sample_rate: int, rng: np.random.Generator, beat: float, drive: float, lead: bool
) -> np.ndarray:
    """Guitars, keys, strings, winds: amplified (`drive` above 0), wobbling, echoed, wide or (`lead`) in the middle."""
    if drive:
        audio = effects.amplifier(audio, sample_rate, drive, rng)
    audio = effects.equalise(audio, sample_rate, rng, 4.0)
    if rng.random() < 0.1:
        audio = rooms.wah(audio, sample_rate, rng.uniform(0.2, 3), rng.uniform(250, 500), rng.uniform(1200, 3000))
    if rng.random() < 0.15:
        rate = float(rng.choice([2, 4, 8])) / beat / 4 if rng.random() < 0.5 else rng.uniform(2, 8)
        audio = rooms.tremolo(audio, sample_rate, rate, rng.uniform(0.2, 0.9), rng.random() < 0.5)
    if rng.random() < 0.25:
        audio = rooms.chorus(audio, sample_rate, rng, rng.uniform(0.2, 0.9))
    if rng.random() < 0.5:
        audio = effects.compress(audio, sample_rate, rng.uniform(1.5, 6), rng.uniform(-14, 2))
    spread = 0.1 if lead else 0.5
    audio = effects.pan(audio, float(np.clip(rng.normal(0, spread), -0.95, 0.95)), rng.uniform(0.2, 1.4))
    if rng.random() < (0.4 if lead else 0.2):
        time = beat * float(rng.choice([0.25, 0.5, 0.75, 1.0]))
        audio = rooms.echo(audio, sample_rate, time, rng.uniform(0.1, 0.55), rng.uniform(0.1, 0.5), rng.random() < 0.5)
    if rng.random() < 0.6:
        audio = rooms.reverberate(audio, sample_rate, rng, _log_uniform(rng, 0.2, 3.5), _log_uniform(rng, 0.05, 0.7))
    return effects.normalise(audio, LEVEL_DB)
