"""What makes a dry take sound recorded: equaliser, saturation, compression, room, width and level, all drawn at random.

Pure functions over float32 audio of shape (samples, 2); numpy and scipy only.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

ACTIVE_BLOCK = 4096  # samples over which a take counts as sounding or not


def peaking_filter(audio: np.ndarray, sample_rate: int, frequency: float, gain_db: float, q: float) -> np.ndarray:
    """One bell of an equaliser. Source: R. Bristow-Johnson, "Audio EQ Cookbook"."""
    amplitude = 10 ** (gain_db / 40)
    omega = 2 * np.pi * frequency / sample_rate
    alpha = np.sin(omega) / (2 * q)
    b = np.array([1 + alpha * amplitude, -2 * np.cos(omega), 1 - alpha * amplitude])
    a = np.array([1 + alpha / amplitude, -2 * np.cos(omega), 1 - alpha / amplitude])
    return signal.lfilter(b / a[0], a / a[0], audio, axis=0).astype(np.float32)


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


def compress(audio: np.ndarray, sample_rate: int, ratio: float, threshold_db: float) -> np.ndarray:
    """Feed-forward compressor, 5 ms attack and 120 ms release, threshold relative to the take's active level."""
    hop = 128
    blocks = np.pad(audio, ((0, -len(audio) % hop), (0, 0))).reshape(-1, hop, 2)
    level = np.sqrt(np.mean(blocks**2, axis=(1, 2)) + 1e-12)
    attack, release = (1 - np.exp(-hop / sample_rate / t) for t in (0.005, 0.12))
    envelope, followed = 0.0, np.empty_like(level)
    for i, value in enumerate(level.tolist()):
        envelope += (attack if value > envelope else release) * (value - envelope)
        followed[i] = envelope
    threshold = active_level(audio) * 10 ** (threshold_db / 20)
    over = np.maximum(followed / max(threshold, 1e-9), 1.0)
    gain = np.interp(np.arange(len(audio)), np.arange(len(over)) * hop + hop / 2, over ** (1 / ratio - 1))
    return (audio * gain[:, np.newaxis]).astype(np.float32)


def reverberate(
    audio: np.ndarray, sample_rate: int, rng: np.random.Generator, seconds: float, wet: float
) -> np.ndarray:
    """A room of decaying, darkened noise, different left and right; `seconds` is the time to fall by 60 dB."""
    length = int(min(seconds, 4.0) * sample_rate) + 1
    decay = 10 ** (-3 * np.arange(length) / (seconds * sample_rate))
    response = rng.standard_normal((length, 2)) * decay[:, np.newaxis]
    cutoff = rng.uniform(2000, 9000)
    response = signal.lfilter(*signal.butter(1, cutoff, fs=sample_rate), response, axis=0)
    response = signal.lfilter(*signal.butter(1, rng.uniform(80, 300), 'highpass', fs=sample_rate), response, axis=0)
    response = np.pad(
        response / np.sqrt(np.sum(response**2, axis=0)), ((int(rng.uniform(0, 0.04) * sample_rate), 0), (0, 0))
    )
    room = signal.oaconvolve(audio, response.astype(np.float32), axes=0)[: len(audio)]
    return (audio + wet * room).astype(np.float32)


def pan(audio: np.ndarray, position: float, width: float) -> np.ndarray:
    """Equal-power position -1 (left) .. 1 (right) of a take whose sides were first scaled by `width` (0 is mono)."""
    middle, side = audio.mean(axis=1), (audio[:, 0] - audio[:, 1]) / 2 * width
    angle = (position + 1) * np.pi / 4
    stereo = np.stack([middle + side, middle - side], axis=1)
    return (stereo * np.array([np.cos(angle), np.sin(angle)]) * np.sqrt(2)).astype(np.float32)


def active_level(audio: np.ndarray) -> float:
    """RMS over the blocks that sound: those within 40 dB of the loudest block; 0.0 for silence."""
    blocks = np.pad(audio, ((0, -len(audio) % ACTIVE_BLOCK), (0, 0))).reshape(-1, ACTIVE_BLOCK * audio.shape[1])
    power = np.einsum('ij,ij->i', blocks, blocks) / blocks.shape[1]
    sounding = power > np.max(power, initial=0.0) * 1e-4
    return float(np.sqrt(power[sounding].mean())) if sounding.any() else 0.0


def normalise(audio: np.ndarray, level_db: float) -> np.ndarray:
    """Scale to an active level in dB of full scale, less where peaks would pass 0.97; silence stays silence."""
    level = active_level(audio)
    if level == 0.0:
        return audio
    gain = 10 ** (level_db / 20) / level
    peak = float(np.max(np.abs(audio)))
    return (audio * min(gain, 0.97 / peak)).astype(np.float32)


def finish(audio: np.ndarray, sample_rate: int, rng: np.random.Generator, *, room: float, centred: bool) -> np.ndarray:
    """The whole chain on a dry take, every step by chance.

    Args:
      audio: float32 (samples, 2).
      room: chance of a reverberation.
      centred: keep near the middle, as basses, kicks and lead voices are mixed.
    """
    audio = equalise(audio, sample_rate, rng, 4.0)
    if rng.random() < 0.35:
        audio = saturate(audio, float(rng.uniform(0.5, 4.0)))
    if rng.random() < 0.6:
        audio = compress(audio, sample_rate, float(rng.uniform(1.5, 6)), float(rng.uniform(-14, 2)))
    spread = 0.12 if centred else 0.5
    position = float(np.clip(rng.normal(0, spread), -0.9, 0.9))
    audio = pan(audio, position, float(rng.uniform(0, 1.0) if centred else rng.uniform(0.3, 1.4)))
    if rng.random() < room:
        audio = reverberate(
            audio, sample_rate, rng, float(np.exp(rng.uniform(np.log(0.2), np.log(3)))), rng.uniform(0.05, 0.6)
        )
    return normalise(audio, -20.0)
