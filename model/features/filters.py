"""The fixed matrices of the spectral features: windows, mel, chroma and contrast bands, tonnetz and cosine bases.

All are small, read-only, and cached by sample rate, so that extractors in several threads share them.  The one idea to
know: `matmul_rows` cuts products so small that OpenBLAS stays in the calling thread; its thread pool makes matrices of
this size slower, and several extractors at once would queue for it.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .columns import FRAME_LENGTH, NUM_CHROMA, NUM_CONTRAST, NUM_MEL_BANDS, NUM_MFCC

Array = np.ndarray

NUM_BINS = FRAME_LENGTH // 2 + 1
BLOCK_BINS = 41  # 25 blocks are all 1025 bins
_CONTRAST_FIRST_EDGE = 200.0  # Hz, upper edge of the lowest band; every further band is an octave
_CONTRAST_QUANTILE = 0.02
_MEL_BANDS_PER_BLOCK = 16
_SMALL_PRODUCT = 2**18  # multiplications up to which OpenBLAS uses one thread, on every processor


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array


@functools.lru_cache(maxsize=1)
def hann_window() -> Array:
    """Periodic Hann window, (2048,) float64: librosa windows in float64 too, which is what keeps quiet bins exact."""
    return _frozen(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME_LENGTH) / FRAME_LENGTH))


@functools.lru_cache(maxsize=16)
def bin_frequencies(sample_rate: int) -> Array:
    """Centre frequency of every bin, (1025,) float64, Hz.  Rounded as librosa.fft_frequencies rounds."""
    return _frozen(np.fft.rfftfreq(FRAME_LENGTH, 1.0 / sample_rate))


@functools.lru_cache(maxsize=1)
def block_basis() -> Array:
    """Columns 1, k and k**2 for the bins of a block, counted from its middle, (41, 3) float32."""
    position = np.arange(BLOCK_BINS) - BLOCK_BINS // 2
    return _frozen((position[:, None] ** np.arange(3)).astype(np.float32))


class MelBlock(NamedTuple):
    """The weights of a few neighbouring mel bands, on the bins that they touch."""

    bands: slice
    bins: slice
    weights: Array  # (bins, bands), float32


@functools.lru_cache(maxsize=16)
def mel_blocks(sample_rate: int) -> tuple[MelBlock, ...]:
    """Slaney's mel filter bank, 128 triangles of equal area from 0 Hz to the Nyquist frequency, cut into dense blocks.

    Source: Slaney, Auditory Toolbox (1998): linear below 1 kHz with 3 bands per 200 Hz, then 27 bands to a factor of
      6.4.
    """
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(0.5 * sample_rate), NUM_MEL_BANDS + 2))
    frequencies = bin_frequencies(sample_rate)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - left) / (centre - left)
    falling = (right - frequencies) / (right - centre)
    bank = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (right - left))
    blocks = []
    for first in range(0, NUM_MEL_BANDS, _MEL_BANDS_PER_BLOCK):
        bands = slice(first, first + _MEL_BANDS_PER_BLOCK)
        touched = np.flatnonzero(bank[bands].any(axis=0))
        # At high sample rates narrow bands fall between the bins; librosa leaves them empty, at zero energy, as well.
        bins = slice(int(touched[0]), int(touched[-1]) + 1) if touched.size else slice(0, 1)
        blocks.append(MelBlock(bands, bins, _frozen(np.ascontiguousarray(bank[bands, bins].T, dtype=np.float32))))
    return tuple(blocks)


def _hz_to_mel(hz: float) -> float:
    return 15.0 + 27.0 * np.log(hz / 1000.0) / np.log(6.4) if hz >= 1000.0 else 3.0 * hz / 200.0


def _mel_to_hz(mel: Array) -> Array:
    return np.where(mel >= 15.0, 1000.0 * np.exp(np.log(6.4) / 27.0 * (mel - 15.0)), 200.0 * mel / 3.0)


@functools.lru_cache(maxsize=16)
def chroma_bank(sample_rate: int) -> Array:
    """Weights from a power spectrum to the twelve pitch classes from C, (1025, 12) float32, A4 = 440 Hz (tuning 0).

    Every bin has a Gaussian over the pitch classes, as wide as the bin but at least a semitone, of unit Euclidean norm,
    and weighted by a Gaussian two octaves wide around the fifth octave.  Source: Ellis, chroma analysis (2007), as in
    librosa.
    """
    frequencies = np.arange(1, FRAME_LENGTH) * (sample_rate / FRAME_LENGTH)
    semitones = NUM_CHROMA * np.log2(frequencies / (440.0 / 16))
    semitones = np.concatenate([[semitones[0] - 1.5 * NUM_CHROMA], semitones])  # 0 Hz: an octave and a half below bin 1
    widths = np.append(np.maximum(np.diff(semitones), 1.0), 1.0)
    half = NUM_CHROMA / 2
    distance = np.remainder(semitones - np.arange(NUM_CHROMA)[:, None] + half, NUM_CHROMA) - half
    bank = np.exp(-0.5 * (2 * distance / widths) ** 2)
    bank /= np.sqrt(np.sum(bank**2, axis=0))
    bank *= np.exp(-0.5 * ((semitones / NUM_CHROMA - 5.0) / 2.0) ** 2)
    from_c = np.roll(bank, -3, axis=0)  # the formula counts from A
    return _frozen(np.ascontiguousarray(from_c[:, :NUM_BINS].T, dtype=np.float32))


@functools.lru_cache(maxsize=1)
def tonnetz_basis() -> Array:
    """Tonal centroid coordinates of the pitch classes, (12, 6) float64.

    Columns: fifths, minor thirds and major thirds, each x then y.  Source: Harte, Sandler, Gasser, AMCMM 2006.
    """
    angles = np.pi * np.outer(np.arange(NUM_CHROMA), [7 / 6, 3 / 2, 2 / 3])
    radii = np.array([1.0, 1.0, 0.5])
    basis = np.empty((NUM_CHROMA, 6))
    basis[:, 0::2] = radii * np.sin(angles)
    basis[:, 1::2] = radii * np.cos(angles)
    return _frozen(basis)


@functools.lru_cache(maxsize=1)
def mfcc_basis() -> Array:
    """Orthonormal cosine transform (type 2) of 128 mel bands to 20 coefficients, (128, 20) float32."""
    position = np.arange(NUM_MEL_BANDS) + 0.5
    basis = np.sqrt(2.0 / NUM_MEL_BANDS) * np.cos(np.pi / NUM_MEL_BANDS * np.outer(position, np.arange(NUM_MFCC)))
    basis[:, 0] /= np.sqrt(2.0)
    return _frozen(basis.astype(np.float32))


class ContrastBand(NamedTuple):
    """One octave band of spectral contrast."""

    bins: slice
    quantile_bins: int  # how many of its bins make the peak, and the valley


@functools.lru_cache(maxsize=16)
def contrast_bands(sample_rate: int) -> tuple[ContrastBand, ...]:
    """The bands of spectral contrast, lowest first; seven from a sample rate above 12.8 kHz on, fewer below.

    Source: Jiang et al., ICME 2002, with librosa's conventions: a band begins one bin early and stops one bin short,
    and the quantile is taken of the bins before that cut.
    """
    frequencies = bin_frequencies(sample_rate)
    edges = np.concatenate([[0.0], _CONTRAST_FIRST_EDGE * 2.0 ** np.arange(NUM_CONTRAST)])
    count = int(np.sum(edges[:-1] < 0.5 * sample_rate))
    bands = []
    for band in range(count):
        first = int(np.searchsorted(frequencies, edges[band], side='left')) - (band > 0)
        last = band == count - 1
        stop = NUM_BINS if last else int(np.searchsorted(frequencies, edges[band + 1], side='right'))
        quantile_bins = max(1, int(np.rint(_CONTRAST_QUANTILE * (stop - first))))
        bands.append(ContrastBand(slice(first, stop if last else stop - 1), quantile_bins))
    return tuple(bands)


def matmul_rows(rows: Array, weights: Array, out: Array | None = None) -> Array:
    """`rows @ weights`, (n, k) times (k, m), as a stack of products that OpenBLAS computes in the calling thread."""
    if out is None:
        out = np.empty((rows.shape[0], weights.shape[1]), np.result_type(rows, weights))
    step = max(1, _SMALL_PRODUCT // weights.size)
    whole = len(rows) // step * step
    if whole:  # one call, for threads wait for the interpreter between two; splitting the first axis copies nothing
        np.matmul(
            rows[:whole].reshape(-1, step, rows.shape[1]), weights, out=out[:whole].reshape(-1, step, out.shape[1])
        )
    if whole < len(rows):
        np.matmul(rows[whole:], weights, out=out[whole:])
    return out
