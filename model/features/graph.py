"""The spectral rows of frames on the device that has their samples already: `frames.spectral_rows` on keras.ops.

For the graph of the whole signal path (model/signal_path.py): a frame's row is a sixth of its samples, and computing it
is half of what features cost the host.  The one idea to know: what the host does in float64 for exactness is float64
here too, and so are all products of matrices, which then no tensor core rounds.  A rolloff that hangs on the rounding
of librosa's running sum is left to the host, as NaN.
"""

from __future__ import annotations

import numpy as np

from ..backend import Tensor, keras
from . import spectra
from .columns import FRAME_LENGTH, HOP_LENGTH, NUM_CONTRAST
from .filters import BLOCK_BINS, NUM_BINS, chroma_bank, contrast_bands, hann_window, mel_blocks

ops = keras.ops


def spectral_rows(mono: Tensor, sample_rate: int) -> Tensor:
    """What the spectrum of each frame by itself tells.

    Args:
      mono: float32 (..., 1024 * (frames + 1)), static shape.
      sample_rate: Hz.

    Returns:
      float32 (..., frames, NUM_SPECTRAL): as `frames.spectral_rows`, but for NaN in place of a doubtful rolloff.
    """
    hops = ops.reshape(mono, (*mono.shape[:-1], -1, HOP_LENGTH))
    framed = ops.concatenate([hops[..., :-1, :], hops[..., 1:, :]], axis=-1)
    real, imaginary = ops.rfft(ops.cast(framed, 'float64') * hann_window())
    # As on the host: float64 transforms, and magnitudes that are rounded to float32 before anything looks at them.
    magnitude = ops.cast(ops.sqrt(ops.square(real) + ops.square(imaginary)), 'float32')
    power = magnitude * magnitude
    columns = [
        _moments_and_rolloff(ops.cast(magnitude, 'float64'), sample_rate),
        _flatness(power),
        _contrast_extremes(magnitude, sample_rate),
        _chroma_and_mel(ops.cast(power, 'float64'), sample_rate),
    ]
    return ops.concatenate(columns, axis=-1)


def _moments_and_rolloff(magnitude: Tensor, sample_rate: int) -> Tensor:
    """Centroid, bandwidth and rolloff of float64 magnitudes, float32 (..., 3), Hz."""
    width = sample_rate / FRAME_LENGTH
    bins = np.arange(NUM_BINS, dtype=np.float64)
    total = ops.sum(magnitude, axis=-1, keepdims=True)
    scale = ops.where(total < spectra.TINY, 1.0, total)
    centroid = ops.sum(magnitude * bins, axis=-1, keepdims=True) / scale
    variance = ops.sum(magnitude * ops.square(bins - centroid), axis=-1, keepdims=True) / scale
    rolloff = width * _rolloff_bins(magnitude)
    return ops.cast(ops.concatenate([width * centroid, width * ops.sqrt(variance), rolloff], axis=-1), 'float32')


def _rolloff_bins(magnitude: Tensor) -> Tensor:
    """The first bin at which 85% of the magnitudes are reached, float64 (..., 1); NaN where librosa's float32 might
    find another one.  Sums of blocks of bins first, then of the bins of the block in question.
    """
    blocks = ops.reshape(magnitude, (*magnitude.shape[:-1], -1, BLOCK_BINS))
    count = blocks.shape[-2]
    ends = ops.matmul(ops.sum(blocks, axis=-1), np.triu(np.ones((count, count))))
    total = ends[..., -1:]
    threshold = spectra.ROLL_PERCENT * total
    below = ops.cast(ends < threshold, 'float64')  # of the blocks, those before the one in question
    block = ops.sum(below, axis=-1, keepdims=True)
    base = ops.max(ends * below, axis=-1, keepdims=True)
    chosen = ops.cast(np.arange(count, dtype=np.float64) == block, 'float64')
    inside = ops.sum(blocks * chosen[..., None], axis=-2)
    running = base + ops.matmul(inside, np.triu(np.ones((BLOCK_BINS, BLOCK_BINS))))
    bins = block * BLOCK_BINS + ops.sum(ops.cast(running < threshold, 'float64'), axis=-1, keepdims=True)
    nearest = ops.minimum(ops.min(ops.abs(running - threshold), axis=-1, keepdims=True), ops.abs(base - threshold))
    doubtful = ops.logical_and(nearest <= spectra.ROLLOFF_DOUBT * total, total > 0)
    return ops.where(doubtful, np.nan, bins)


def _flatness(power: Tensor) -> Tensor:
    """(..., 1) float32."""
    floored = ops.maximum(power, np.float32(spectra.AMIN))
    geometric = ops.exp(ops.mean(ops.cast(ops.log(floored), 'float64'), axis=-1, keepdims=True))
    return ops.cast(geometric, 'float32') / ops.mean(floored, axis=-1, keepdims=True)


def _contrast_extremes(magnitude: Tensor, sample_rate: int) -> Tensor:
    """Peaks, then valleys of all bands, (..., 14) float32; NaN in bands above the Nyquist frequency."""
    peaks, valleys = [], []
    for bins, count in contrast_bands(sample_rate):
        ordered = ops.sort(magnitude[..., bins], axis=-1)
        peaks.append(ops.mean(ordered[..., -count:], axis=-1, keepdims=True))
        valleys.append(ops.mean(ordered[..., :count], axis=-1, keepdims=True))
    absent = [ops.full((*magnitude.shape[:-1], NUM_CONTRAST - len(peaks)), np.nan, 'float32')]
    return ops.concatenate([*peaks, *absent, *valleys, *absent], axis=-1)


def _chroma_and_mel(power: Tensor, sample_rate: int) -> Tensor:
    """Pitch classes and mel bands in dB of float64 power spectra, (..., 12 + 128) float32."""
    raw = ops.matmul(power, chroma_bank(sample_rate).astype(np.float64))
    strongest = ops.max(raw, axis=-1, keepdims=True)
    chroma = raw / ops.where(strongest < spectra.TINY, 1.0, strongest)
    bands = [ops.matmul(power[..., block.bins], block.weights.astype(np.float64)) for block in mel_blocks(sample_rate)]
    mel = ops.maximum(ops.cast(ops.concatenate(bands, axis=-1), 'float32'), np.float32(spectra.AMIN))
    decibels = ops.log(mel) * np.float32(10.0 / np.log(10.0))
    return ops.concatenate([ops.cast(chroma, 'float32'), decibels], axis=-1)
