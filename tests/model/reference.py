"""Spleeter's separation in plain NumPy, layer by layer, in double precision: written from the description of the
published program, not from our graph, as a second opinion on it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stembeam.model.configuration import ModelConfig

Array = np.ndarray


class Weights:
    """Weights by Spleeter's names, handed out as double precision."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.weights = weights

    def __call__(self, kind: str, number: int, part: str) -> Array:
        layer = kind if number == 0 else f'{kind}_{number}'
        return self.weights[f'{layer}/{part}'].astype(np.float64)


def activate(name: str, x: Array) -> Array:
    if name == 'ELU':
        return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return np.where(x > 0, x, 0.2 * x if name == 'LeakyReLU' else 0.0)


def halving_convolution(x: Array, kernel: Array, bias: Array) -> Array:
    """5x5, stride 2, "same": of the three zeros that even sizes need, one is before and two are after."""
    rows, columns = x.shape[0] // 2, x.shape[1] // 2
    x = np.pad(x, [(1, 2), (1, 2), (0, 0)])
    out = np.zeros((rows, columns, kernel.shape[3])) + bias
    for i in range(5):
        for j in range(5):
            out += x[i : i + 2 * rows : 2, j : j + 2 * columns : 2] @ kernel[i, j]
    return out


def doubling_convolution(x: Array, kernel: Array, bias: Array) -> Array:
    """5x5 transposed, stride 2, "same": the halving convolution's steps backwards; the kernel is (5, 5, out, in)."""
    rows, columns = 2 * x.shape[0], 2 * x.shape[1]
    out = np.zeros((rows + 3, columns + 3, kernel.shape[2]))
    for i in range(5):
        for j in range(5):
            out[i : i + rows : 2, j : j + columns : 2] += x @ kernel[i, j].T
    return out[1 : 1 + rows, 1 : 1 + columns] + bias


def dilated_convolution(x: Array, kernel: Array, bias: Array) -> Array:
    """4x4, every second pixel, "same": three zeros on either side."""
    rows, columns = x.shape[:2]
    x = np.pad(x, [(3, 3), (3, 3), (0, 0)])
    out = np.zeros((rows, columns, kernel.shape[3])) + bias
    for i in range(4):
        for j in range(4):
            out += x[2 * i : 2 * i + rows, 2 * j : 2 * j + columns] @ kernel[i, j]
    return out


def batch_norm(weights: Weights, number: int, x: Array) -> Array:
    gamma, beta, mean, variance = (
        weights('batch_normalization', number, part) for part in ('gamma', 'beta', 'moving_mean', 'moving_variance')
    )
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def logits(config: ModelConfig, weights: Weights, stem: int, magnitude: Array) -> Array:
    """(T, F, channels) to the same shape."""
    raw = []
    x = magnitude
    for layer in range(6):
        parts = (weights('conv2d', 7 * stem + layer, part) for part in ('kernel', 'bias'))
        raw.append(halving_convolution(x, *parts))
        if layer < 5:
            x = activate(config.conv_activation, batch_norm(weights, 12 * stem + layer, raw[-1]))
    x = raw.pop()
    for layer in range(6):
        parts = (weights('conv2d_transpose', 6 * stem + layer, part) for part in ('kernel', 'bias'))
        x = activate(config.deconv_activation, doubling_convolution(x, *parts))
        x = batch_norm(weights, 12 * stem + 6 + layer, x)
        if raw:
            x = np.concatenate([raw.pop(), x], axis=-1)
    return dilated_convolution(x, *(weights('conv2d', 7 * stem + 6, part) for part in ('kernel', 'bias')))


def shares(config: ModelConfig, weights: Mapping[str, Array], magnitude: Array) -> Array:
    """(T, F, channels) to each stem's share of it, (stems, T, F, channels)."""
    found = np.stack([logits(config, Weights(weights), k, magnitude) for k in range(len(config.instruments))])
    if config.model_type == 'unet.softmax_unet':
        found = np.exp(found - found.max(axis=0))
        return found / found.sum(axis=0)
    return 1 / (1 + np.exp(-found))


def spectrum_of(config: ModelConfig, wave: Array) -> Array:
    """(samples, channels) to complex (frames, bins, channels), whole frames only."""
    window = np.hanning(config.frame_length + 1)[:-1, np.newaxis]
    starts = range(0, len(wave) - config.frame_length + 1, config.frame_step)
    return np.stack([np.fft.rfft(window * wave[start : start + config.frame_length], axis=0) for start in starts])


def wave_of(config: ModelConfig, spectrum: Array) -> Array:
    """Overlap-add of the windowed frames, times 2/3."""
    window = np.hanning(config.frame_length + 1)[:-1, np.newaxis]
    wave = np.zeros(((len(spectrum) - 1) * config.frame_step + config.frame_length, spectrum.shape[-1]))
    for number, frame in enumerate(spectrum):
        start = number * config.frame_step
        wave[start : start + config.frame_length] += window * np.fft.irfft(frame, axis=0) * 2 / 3
    return wave


def separate_chunk(config: ModelConfig, weights: Mapping[str, Array], wave: Array) -> Array:
    """One chunk, (span, channels), to its contributions to the stems, (stems, span, channels)."""
    spectrum = spectrum_of(config, wave.astype(np.float64))
    magnitude = np.abs(spectrum[:, : config.bins])
    estimates = (magnitude * shares(config, weights, magnitude)) ** config.separation_exponent
    masks = (estimates + 1e-10 / len(estimates)) / (estimates.sum(axis=0) + 1e-10)
    stems = []
    for mask in masks:
        above = spectrum.shape[1] - config.bins
        average = mask.mean(axis=1, keepdims=True) * (config.mask_extension == 'average')
        stems.append(wave_of(config, spectrum * np.concatenate([mask, np.repeat(average, above, axis=1)], axis=1)))
    return np.stack(stems)
