"""What makes a dry take sound recorded: equaliser, saturation, compression, place and level.

Pure functions over float32 audio of shape (samples, 2); numpy and scipy only. Rooms and echoes are in `rooms`, the
chains that put these together for a singer or a drummer in `chains`.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, signal

ACTIVE_BLOCK = 4096  # samples over which a take counts as sounding or not
COMPRESSOR_HOP = 128  # samples between two measurements of level


def _biquad(audio: np.ndarray, b: list[float], a: list[float]) -> np.ndarray:
    return signal.lfilter(np.divide(b, a[0]), np.divide(a, a[0]), audio, axis=0).astype(np.float32)


def peaking_filter(audio: np.ndarray, sample_rate: int, frequency: float, gain_db: float, q: float) -> np.ndarray:
    """One bell of an equaliser. Source: R. Bristow-Johnson, "Audio EQ Cookbook"."""
    amplitude = 10 ** (gain_db / 40)
    omega = 2 * np.pi * frequency / sample_rate
    alpha = np.sin(omega) / (2 * q)
    b = [1 + alpha * amplitude, -2 * np.cos(omega), 1 - alpha * amplitude]
    return _biquad(audio, b, [1 + alpha / amplitude, -2 * np.cos(omega), 1 - alpha / amplitude])


def high_shelf(audio: np.ndarray, sample_rate: int, frequency: float, gain_db: float) -> np.ndarray:
    """Treble up or down from a frequency on. Source: R. Bristow-Johnson, "Audio EQ Cookbook", slope 1."""
    amp = 10 ** (gain_db / 40)
    cosine = np.cos(2 * np.pi * frequency / sample_rate)
    beta = 2 * np.sqrt(amp) * np.sin(2 * np.pi * frequency / sample_rate) / np.sqrt(2)
    up, down = (amp + 1) + (amp - 1) * cosine, (amp + 1) - (amp - 1) * cosine
    b = [amp * (up + beta), -2 * amp * ((amp - 1) + (amp + 1) * cosine), amp * (up - beta)]
    return _biquad(audio, b, [down + beta, 2 * ((amp - 1) - (amp + 1) * cosine), down - beta])


def cut(audio: np.ndarray, sample_rate: int, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Second-order cuts of what lies below `low` and above `high` (Hz)."""
    for frequency, kind in ((low, 'highpass'), (high, 'lowpass')):
        if frequency is not None:
            sos = signal.butter(2, frequency, kind, fs=sample_rate, output='sos')
            audio = signal.sosfilt(sos, audio, axis=0).astype(np.float32)
    return audio


def equalise(audio: np.ndarray, sample_rate: int, rng: np.random.Generator, strength_db: float) -> np.ndarray:
    """Two or three bells at random frequencies."""
    for _ in range(int(rng.integers(2, 4))):
        frequency = float(np.exp(rng.uniform(np.log(80), np.log(12000))))
        audio = peaking_filter(audio, sample_rate, frequency, rng.normal(0, strength_db), rng.uniform(0.4, 1.5))
    return audio


def saturate(audio: np.ndarray, drive: float) -> np.ndarray:
    """Soft clipping by tanh: drive is the factor in front of it, relative to a peak of one."""
    peak = float(np.max(np.abs(audio), initial=1e-9))
    return (np.tanh(audio * (drive / peak)) * (peak / np.tanh(drive))).astype(np.float32)


def amplifier(audio: np.ndarray, sample_rate: int, drive: float, rng: np.random.Generator) -> np.ndarray:
    """A guitar amplifier: bass cut, clipping, a loudspeaker that ends at some kilohertz and rings a little."""
    driven = saturate(cut(audio, sample_rate, low=rng.uniform(80, 300)), drive)
    driven = cut(driven, sample_rate, low=70, high=rng.uniform(3500, 6500))
    return peaking_filter(driven, sample_rate, rng.uniform(1800, 3200), rng.uniform(0, 8), 1.0)


def compressor_gain(
    audio: np.ndarray, sample_rate: int, ratio: float, threshold_db: float, attack: float = 0.005, release: float = 0.12
) -> np.ndarray:
    """Gain of a feed-forward compressor for every sample, (samples,); threshold relative to the take's active level."""
    blocks = np.pad(audio, ((0, -len(audio) % COMPRESSOR_HOP), (0, 0))).reshape(-1, COMPRESSOR_HOP, 2)
    level = np.sqrt(np.mean(blocks**2, axis=(1, 2)) + 1e-12)
    up, down = (1 - np.exp(-COMPRESSOR_HOP / sample_rate / t) for t in (attack, release))
    envelope, followed = 0.0, np.empty_like(level)
    for i, value in enumerate(level.tolist()):
        envelope += (up if value > envelope else down) * (value - envelope)
        followed[i] = envelope
    threshold = active_level(audio) * 10 ** (threshold_db / 20)
    over = np.maximum(followed / max(threshold, 1e-9), 1.0)
    middles = np.arange(len(over)) * COMPRESSOR_HOP + COMPRESSOR_HOP / 2
    return np.interp(np.arange(len(audio)), middles, over ** (1 / ratio - 1)).astype(np.float32)


def compress(
    audio: np.ndarray, sample_rate: int, ratio: float, threshold_db: float, attack: float = 0.005, release: float = 0.12
) -> np.ndarray:
    """The audio under `compressor_gain`."""
    return audio * compressor_gain(audio, sample_rate, ratio, threshold_db, attack, release)[:, np.newaxis]


def pan(audio: np.ndarray, position: float, width: float) -> np.ndarray:
    """Equal-power position -1 (left) .. 1 (right) of a take whose sides were first scaled by `width` (0 is mono)."""
    middle, side = audio.mean(axis=1), (audio[:, 0] - audio[:, 1]) / 2 * width
    angle = (position + 1) * np.pi / 4
    left, right = (middle + side) * np.cos(angle), (middle - side) * np.sin(angle)
    return (np.stack([left, right], axis=1) * np.sqrt(2)).astype(np.float32)


def active_level(audio: np.ndarray) -> float:
    """RMS over the blocks that sound: those within 40 dB of the loudest block; 0.0 for silence."""
    blocks = np.pad(audio, ((0, -len(audio) % ACTIVE_BLOCK), (0, 0))).reshape(-1, ACTIVE_BLOCK * audio.shape[1])
    power = np.einsum('ij,ij->i', blocks, blocks) / blocks.shape[1]
    sounding = power > np.max(power, initial=0.0) * 1e-4
    return float(np.sqrt(power[sounding].mean())) if sounding.any() else 0.0


def normalise(audio: np.ndarray, level_db: float) -> np.ndarray:
    """Scale to an active level in dB of full scale, whatever the peaks become; silence stays silence."""
    level = active_level(audio)
    return (audio * (10 ** (level_db / 20) / level)).astype(np.float32) if level else audio


def limiter_gain(peaks: np.ndarray, sample_rate: int, ceiling: float) -> np.ndarray:
    """Gain for every sample, (samples,), under which no peak, (samples,), passes the ceiling; it moves within 5 ms."""
    reach = int(0.005 * sample_rate)
    needed = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    lowest = ndimage.minimum_filter1d(needed, 2 * reach + 1, mode='nearest')
    return ndimage.uniform_filter1d(lowest, 2 * reach + 1, mode='nearest').astype(np.float32)
