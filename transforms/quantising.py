"""Float samples to the numbers that a file holds, and back.

Stands on numpy only.  The one idea to know: full scale is 2 ** (bits - 1) steps (32768 for 16 bits) in both
directions, as libsndfile reads it, so +1.0 itself is one step too much and becomes 32767, and a value that came out of
a file goes back into one unchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import StemFormat


def quantise(samples: NDArray[np.float32], stem_format: StemFormat) -> NDArray[Any]:
    """The samples as StemWriter takes them: rounded to the nearest step (halves to even), clipped at full scale.

    Float and lossy formats get the samples as they are, the same array: floats hold any level, and lossy encoders have
    their own way with peaks beyond full scale.

    Args:
      samples: (samples, channels), float32, finite, full scale 1.

    Returns:
      Same shape: int16 for 16 bits, for 24 bits int32 with the value in the upper 24 bits, else float32.

    >>> from stembeam.transforms.formats import FORMATS
    >>> quantise(np.float32([[0.5], [1.0], [-1.5]]), FORMATS['wav'])
    array([[ 16384],
           [ 32767],
           [-32768]], dtype=int16)
    """
    if stem_format.bits is None:
        return samples
    full_scale = np.float32(2 ** (stem_format.bits - 1))
    steps = samples * full_scale
    np.rint(steps, out=steps)
    if steps.size and not (-full_scale <= steps.min() and steps.max() < full_scale):
        np.clip(steps, -full_scale, full_scale - 1, out=steps)
    numbers = steps.astype(stem_format.dtype)
    if stem_format.bits == 24:
        numbers <<= 8
    return numbers


def dequantise(numbers: NDArray[Any], stem_format: StemFormat) -> NDArray[np.float32]:
    """The float32 samples that a reader of the written lossless file gets; exact, every step has a float of its own.

    For lossy formats these are the samples that went into the encoder.
    """
    if stem_format.bits is None:
        return numbers
    samples = numbers.astype(np.float32)
    samples *= np.float32(-1.0 / np.iinfo(numbers.dtype).min)  # a power of two
    return samples


def clipped(samples: NDArray[np.float32]) -> int:
    """How many values, over all channels, lie beyond full scale (1.0), whatever the format does with them."""
    if not samples.size or (samples.max() <= 1.0 and samples.min() >= -1.0):
        return 0
    return int(np.count_nonzero(np.abs(samples) > 1.0))
