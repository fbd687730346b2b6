"""Effects in time, drawn at random: rooms, plates, echoes, doublings, and the wobbling ones of guitars and organs.

Pure functions over float32 audio of shape (samples, 2); numpy and scipy only.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from .effects import cut


def room_response(sample_rate: int, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """What a room answers to a click: (samples, 2), energy one per side, without the click itself.

    Some early reflections, then noise that is different left and right and decays faster the higher its band is;
    `seconds` is the time in which the middle band falls by 60 dB. Method: velvet-like statistical reverberation, as in
    J. A. Moorer, "About This Reverberation Business", Computer Music Journal 3(2), 1979.
    """
    length = int(min(seconds, 4.0) * sample_rate) + sample_rate // 10
    time = np.arange(length) / sample_rate
    edges = [rng.uniform(150, 400), rng.uniform(1500, 5000)]
    tail = np.zeros((length, 2))
    noise = rng.standard_normal((length, 2))
    bands = [
        (None, edges[0], rng.uniform(0.8, 1.3)),
        (edges[0], edges[1], 1.0),
        (edges[1], None, rng.uniform(0.25, 0.7)),
    ]
    for low, high, share in bands:
        decay = 10 ** (-3 * time / (seconds * share))
        tail += cut(noise, sample_rate, low, high) * decay[:, np.newaxis]
    build = rng.uniform(0.002, 0.03)
    tail *= np.minimum(1, time / build)[:, np.newaxis]
    response = tail / np.sqrt(np.sum(tail**2, axis=0))
    for _ in range(int(rng.integers(3, 12))):
        at = int(rng.uniform(0.003, 0.06) * sample_rate)
        response[at] += rng.choice([-1, 1]) * rng.uniform(0.05, 0.35, 2)
    response = cut(response, sample_rate, low=rng.uniform(60, 350), high=rng.uniform(4000, 14000))
    return (response / np.sqrt(np.sum(response**2, axis=0))).astype(np.float32)


def reverberate(
    audio: np.ndarray, sample_rate: int, rng: np.random.Generator, seconds: float, wet: float
) -> np.ndarray:
    """The audio with a room around it: `seconds` is its time to fall by 60 dB, `wet` its part."""
    response = room_response(sample_rate, rng, seconds)
    late = int(rng.choice([0.0, rng.uniform(0, 0.06)]) * sample_rate)
    room = signal.oaconvolve(audio, np.pad(response, ((late, 0), (0, 0))), axes=0)[: len(audio)]
    return (audio + wet * room).astype(np.float32)


def echo(
    audio: np.ndarray, sample_rate: int, seconds: float, feedback: float, wet: float, crossing: bool
) -> np.ndarray:
    """Repeats that get softer and darker; `crossing` ones change sides every time."""
    hop = max(int(seconds * sample_rate), 1)
    repeat, total = cut(audio, sample_rate, low=200, high=5000) * np.float32(wet), audio.copy()
    if crossing:
        repeat = np.stack([repeat.mean(axis=1), np.zeros(len(repeat), np.float32)], axis=1)
    for number in range(1, 9):
        if number * hop >= len(audio) or wet * feedback ** (number - 1) < 0.01:
            break
        total[number * hop :] += repeat[: len(audio) - number * hop]
        repeat = repeat[:, ::-1] if crossing else repeat
        repeat = cut(repeat, sample_rate, high=4000) * np.float32(feedback)
    return total.astype(np.float32)


def _moving_delay(audio: np.ndarray, delay: np.ndarray) -> np.ndarray:
    """One side, (samples,), read `delay` samples late, which may change from sample to sample."""
    place = np.maximum(np.arange(len(audio)) - delay, 0)
    before = place.astype(np.int64)
    part = (place - before).astype(np.float32)
    return audio[before] * (1 - part) + audio[np.minimum(before + 1, len(audio) - 1)] * part


def chorus(audio: np.ndarray, sample_rate: int, rng: np.random.Generator, wet: float) -> np.ndarray:
    """A second voice per side whose delay wanders, and its pitch with it: from flanger to chorus to doubling."""
    base, rate = rng.uniform(0.002, 0.03), rng.uniform(0.1, 2.5)
    depth = min(base * 0.8, rng.uniform(0.0005, 0.004) / max(rate, 0.5))
    time = np.arange(len(audio)) / sample_rate
    sides = []
    for side in range(2):
        phase = 2 * np.pi * rate * time + side * rng.uniform(0.5, 3)
        sides.append(_moving_delay(audio[:, side], (base + depth * np.sin(phase)) * sample_rate))
    return (audio + wet * np.stack(sides, axis=1)).astype(np.float32)


def tremolo(audio: np.ndarray, sample_rate: int, rate: float, depth: float, crossing: bool) -> np.ndarray:
    """Loudness that waves `rate` times a second, both sides together or (`crossing`) against each other."""
    phase = 2 * np.pi * rate * np.arange(len(audio)) / sample_rate
    wave = np.stack([np.sin(phase), np.sin(phase + (np.pi if crossing else 0.0))], axis=1)
    return (audio * (1 - depth / 2 * (1 + wave))).astype(np.float32)


def wah(audio: np.ndarray, sample_rate: int, rate: float, low: float, high: float) -> np.ndarray:
    """A formant that sweeps between two frequencies `rate` times a second: five bands, faded into each other."""
    place = 2 + 2 * np.sin(2 * np.pi * rate * np.arange(len(audio)) / sample_rate)
    total = np.zeros_like(audio)
    for i, centre in enumerate(np.geomspace(low, high, 5)):
        sos = signal.butter(1, [centre / 1.25, centre * 1.25], 'bandpass', fs=sample_rate, output='sos')
        weight = np.clip(1 - np.abs(place - i), 0, 1).astype(np.float32)
        total += signal.sosfilt(sos, audio, axis=0).astype(np.float32) * weight[:, np.newaxis]
    return total + 0.15 * audio
