"""Frame features of a magnitude spectrogram, one pure function each, equal to librosa's of the same name.

A spectrogram here is (frames, 1025) float32, a frame per row.  The one idea to know: librosa transforms in float64 and
rounds the result to float32, and so do we, because in a float32 transform the rounding noise of the loud bins would
bury the quiet ones that spectral contrast and flatness look at.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from .columns import FRAME_LENGTH, HOP_LENGTH, NUM_CONTRAST
from .filters import (
    BLOCK_BINS,
    NUM_BINS,
    bin_frequencies,
    block_basis,
    chroma_bank,
    contrast_bands,
    hann_window,
    matmul_rows,
    mel_blocks,
    tonnetz_basis,
)

Array = np.ndarray

AMIN = 1e-10  # librosa's floor under every logarithm
TOP_DB = 80.0  # librosa.power_to_db: nothing lies further below the maximum of the whole track
ROLL_PERCENT = 0.85
TINY = float(np.finfo(np.float32).tiny)  # librosa.util.normalize leaves vectors shorter than this as they are
_SORT_PARTS = 4
_FRAMES_AT_ONCE = 256  # 4 MB of float64: near a processor's cache, and long enough that threads seldom meet between
ROLLOFF_DOUBT = 1e-5  # of the sum: ten standard deviations of the rounding of a float32 running sum of 1025 terms


def frames_of(samples: Array) -> Array:
    """Overlapping frames of samples (1024 * (frames + 1),), as a view (frames, 2048)."""
    return np.lib.stride_tricks.sliding_window_view(samples, FRAME_LENGTH)[::HOP_LENGTH]


def magnitudes(frames: Array) -> Array:
    """Magnitude spectrogram of frames, Hann-windowed here.

    Args:
      frames: (frames, 2048), float32.

    Returns:
      (frames, 1025), float32.
    """
    result = np.empty((len(frames), NUM_BINS), np.float32)
    windowed = np.empty((min(len(frames), _FRAMES_AT_ONCE), FRAME_LENGTH))
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        part = frames[start : start + _FRAMES_AT_ONCE]
        np.multiply(part, hann_window(), out=windowed[: len(part)])
        spectrum = scipy.fft.rfft(windowed[: len(part)], axis=1, overwrite_x=True)
        np.abs(spectrum.astype(np.complex64), out=result[start : start + len(part)])
    return result


def block_moments(magnitude: Array) -> Array:
    """Sums of S, S k and S k**2 over blocks of 41 neighbouring bins, where k counts bins from the middle of the block.

    Blocks are so short that float32 serves; moments of all 1025 bins need float64.

    Returns:
      (3, frames, 25), float64.
    """
    moments = matmul_rows(magnitude.reshape(-1, BLOCK_BINS), block_basis())
    return np.ascontiguousarray(moments.T, dtype=np.float64).reshape(3, len(magnitude), -1)


def centroid_and_bandwidth(moments: Array, sample_rate: int) -> tuple[Array, Array]:
    """Mean frequency of every spectrum and standard deviation around it, each (frames,) float64, Hz; 0 in silence.

    Args:
      moments: of `block_moments`.
      sample_rate: Hz.
    """
    total, first, second = moments
    scale = total.sum(axis=1)
    scale[scale < TINY] = 1.0
    middles = BLOCK_BINS * np.arange(total.shape[1]) + BLOCK_BINS // 2
    centroid = (total @ middles + first.sum(axis=1)) / scale
    # librosa's sum of S (f - c)^2, with f - c = (middle - c) + k.
    distance = middles - centroid[:, None]
    variance = ((total * distance + 2.0 * first) * distance + second).sum(axis=1) / scale
    width = sample_rate / FRAME_LENGTH
    return width * centroid, width * np.sqrt(np.maximum(variance, 0.0))


def rolloff(magnitude: Array, sums: Array, sample_rate: int) -> Array:
    """Frequency of the first bin at which 85% of the magnitudes are reached, (frames,) float64, Hz; 0 in silence.

    librosa compares a sequential float32 running sum.  That is slow, so it is done only for the frames in which its
    rounding could move the bin; for the others any summation finds the same one.

    Args:
      magnitude: (frames, 1025), float32.
      sums: of blocks of its bins, the first of `block_moments`.
      sample_rate: Hz.
    """
    frames = np.arange(len(magnitude))
    ends = np.cumsum(sums, axis=1)
    threshold = ROLL_PERCENT * ends[:, -1:]
    block = np.argmax(ends >= threshold, axis=1)
    base = np.where(block > 0, ends[frames, block - 1], 0.0)
    running = np.empty((len(magnitude), 1 + BLOCK_BINS))
    running[:, 0] = base
    np.cumsum(magnitude.reshape(len(magnitude), -1, BLOCK_BINS)[frames, block], axis=1, out=running[:, 1:])
    running[:, 1:] += base[:, None]
    bins = block * BLOCK_BINS + np.argmax(running[:, 1:] >= threshold, axis=1)
    doubtful = np.flatnonzero(np.abs(running - threshold).min(axis=1) <= ROLLOFF_DOUBT * ends[:, -1])
    if doubtful.size:
        exact = np.cumsum(magnitude[doubtful], axis=1)
        bins[doubtful] = np.argmax(exact >= ROLL_PERCENT * exact[:, -1:], axis=1)
    return bin_frequencies(sample_rate)[bins]


def flatness(power: Array) -> Array:
    """Geometric over arithmetic mean of every power spectrum, floored at 1e-10, (frames,) float32; 1 in silence.

    The power spectra are overwritten.
    """
    floored = np.maximum(power, np.float32(AMIN), out=power)
    arithmetic = floored.mean(axis=1)
    return np.exp(np.log(floored, out=floored).mean(axis=1)) / arithmetic


def contrast_extremes(magnitude: Array, sample_rate: int) -> tuple[Array, Array]:
    """Mean magnitude of the strongest and of the weakest 2% of the bins of every octave band.

    Returns:
      peaks, valleys: (frames, 7), float32; NaN in bands above the Nyquist frequency.
    """
    peaks, valleys = np.full((2, len(magnitude), NUM_CONTRAST), np.nan, np.float32)
    for column, (bins, count) in enumerate(contrast_bands(sample_rate)):
        band = magnitude[:, bins]
        if count == 1:
            peaks[:, column], valleys[:, column] = band.max(axis=1), band.min(axis=1)
        else:
            strongest, weakest = _extremes(band, count)
            peaks[:, column], valleys[:, column] = strongest.mean(axis=1), weakest.mean(axis=1)
    return peaks, valleys


def _extremes(band: Array, count: int) -> tuple[Array, Array]:
    """The `count` largest and smallest values of every row, each (rows, count)."""
    if band.shape[1] >= 4 * _SORT_PARTS * count:  # sort parts, then what may survive of them: half the work of one sort
        whole = band.shape[1] // _SORT_PARTS * _SORT_PARTS
        parts = np.sort(band[:, :whole].reshape(len(band), _SORT_PARTS, -1), axis=2)
        rest = band[:, whole:]
        low = np.concatenate([parts[:, :, :count].reshape(len(band), -1), rest], axis=1)
        high = np.concatenate([parts[:, :, -count:].reshape(len(band), -1), rest], axis=1)
        return np.sort(high, axis=1)[:, -count:], np.sort(low, axis=1)[:, :count]
    ordered = np.sort(band, axis=1)
    return ordered[:, -count:], ordered[:, :count]


def mel_decibels(power: Array, sample_rate: int) -> Array:
    """Mel spectrogram in dB, (frames, 128) float32, floored at -100 dB, not yet at 80 dB under the track's maximum."""
    mel = np.empty((len(power), mel_blocks(sample_rate)[-1].bands.stop), np.float32)
    for block in mel_blocks(sample_rate):
        matmul_rows(power[:, block.bins], block.weights, out=mel[:, block.bands])
    return decibels(mel)


def chroma(power: Array, sample_rate: int) -> Array:
    """Energy of the twelve pitch classes from C, the strongest of every frame 1, (frames, 12) float32; 0 in silence."""
    raw = matmul_rows(power, chroma_bank(sample_rate))
    strongest = raw.max(axis=1, keepdims=True)
    return raw / np.where(strongest < TINY, np.float32(1.0), strongest)


def tonnetz(chroma: Array) -> Array:
    """Tonal centroids of chroma vectors, (frames, 6) float64; 0 in silence."""
    total = chroma.sum(axis=1, keepdims=True, dtype=np.float64)
    return matmul_rows(chroma / np.where(total < TINY, 1.0, total), tonnetz_basis())


def decibels(values: Array) -> Array:
    """10 log10 of values floored at 1e-10, in the same dtype."""
    floored = np.maximum(values, values.dtype.type(AMIN))
    np.log(floored, out=floored)
    floored *= values.dtype.type(10.0 / np.log(10.0))
    return floored
