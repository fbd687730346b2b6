"""Changing the sample rate, in blocks whose content does not depend on where the reading began.

Stands on soxr alone. The one idea: a track is resampled in canonical blocks of `BLOCK_SECONDS`, each made from its
own input and a margin on both sides. Rates are integers, so every whole second is a sample at both rates and the
blocks meet exactly. A block is a function of the track and the two rates, so any window of a track equals that window
of the whole.
"""

from __future__ import annotations

import numpy as np
import soxr

BLOCK_SECONDS = 10  # long against the margins, short enough that a few blocks may be kept in memory
MARGIN_SECONDS = 1  # many times the length of the filter, for any audio rate
QUALITY = 'HQ'  # soxr's 20 bit setting: aliases and ripple below the noise of 16 bit audio


def resampled_length(num_samples: int, from_rate: int, to_rate: int) -> int:
    """Length of a track at another rate, rounded up, so that one sample stays at least one sample.

    >>> resampled_length(48001, 48000, 44100)
    44101
    """
    return -(-num_samples * to_rate // from_rate)


def match_channels(samples: np.ndarray, channels: int) -> np.ndarray:
    """Audio with the number of channels that a model takes, by Spleeter's rules.

    Args:
      samples: (n, any number of channels), float32.
      channels: 1 or 2.

    Returns:
      (n, channels): mono is repeated, beyond `channels` the first ones stay. One channel from several, for which
      Spleeter has no rule, is the mean of them all.
    """
    if samples.shape[1] == 1:
        return np.repeat(samples, channels, axis=1)
    if channels == 1:
        return samples.mean(axis=1, keepdims=True, dtype=np.float32)
    return samples[:, :channels]


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """A whole track at another rate, block by block: the same samples, bit for bit, as its blocks one at a time.

    Args:
      samples: (n, channels) float32, the whole track, n > 0.
      from_rate: Hz, of `samples`.
      to_rate: Hz, of the result.

    Returns:
      (resampled_length(n), channels) float32.
    """
    if from_rate == to_rate:
        return samples
    total = len(samples)
    result = np.empty((resampled_length(total, from_rate, to_rate), samples.shape[1]), np.float32)
    for index in range(-(-total // (BLOCK_SECONDS * from_rate))):
        first, last = block_input(index, from_rate, to_rate)
        length = block_length(index, from_rate, to_rate, total)
        position = index * BLOCK_SECONDS * to_rate
        result[position : position + length] = resample_block(samples[first:last], index, from_rate, to_rate, length)
    return result


def block_input(index: int, from_rate: int, to_rate: int) -> tuple[int, int]:
    """The input samples [first, last) that block `index` is made from; the track may end before `last`."""
    margin = 0 if from_rate == to_rate else MARGIN_SECONDS
    first = max(0, index * BLOCK_SECONDS - margin)
    return first * from_rate, ((index + 1) * BLOCK_SECONDS + margin) * from_rate


def block_length(index: int, from_rate: int, to_rate: int, num_samples: int | None) -> int:
    """Output samples of block `index`.

    Args:
      index: 0-based number of the block.
      from_rate: Hz, of the track.
      to_rate: Hz, of the block.
      num_samples: length of the track at `from_rate`; None where its end has not been seen, which means a full block.

    Returns:
      Samples at `to_rate`; zero beyond the end of the track.
    """
    full = BLOCK_SECONDS * to_rate
    if num_samples is None:
        return full
    return min(full, max(0, resampled_length(num_samples, from_rate, to_rate) - index * full))


def resample_block(samples: np.ndarray, index: int, from_rate: int, to_rate: int, length: int) -> np.ndarray:
    """Block `index` of a track at `to_rate`.

    Args:
      samples: (n, channels) float32, the input that `block_input` names, as much of it as the track has.
      index: 0-based number of the block.
      from_rate: Hz, of `samples`.
      to_rate: Hz, of the result.
      length: what `block_length` says.

    Returns:
      (length, channels) float32.  Equal rates pass through unchanged, bit for bit.
    """
    if from_rate == to_rate:
        return samples[:length]
    # soxr rounds its output length to the nearest sample; two input periods of silence make sure of the last one.
    tail = np.zeros((2 * -(-from_rate // to_rate), samples.shape[1]), np.float32)
    resampled = soxr.resample(np.concatenate([samples, tail]), from_rate, to_rate, quality=QUALITY)
    before = 0 if index == 0 else MARGIN_SECONDS * to_rate
    return resampled[before : before + length]
