"""Soft masks: from the magnitudes that the networks estimate to what the mixture's spectrum is multiplied with.

Source: Spleeter (Hennequin et al., JOSS 2020). Written on keras.ops; NumPy arrays are taken too.
"""

from __future__ import annotations

from collections.abc import Sequence

from .backend import Tensor, keras
from .method import MASK_EPSILON

ops = keras.ops


def ratio_masks(estimates: Sequence[Tensor], exponent: float = 2.0) -> list[Tensor]:
    """Soft masks from the magnitudes of all stems.

    Args:
      estimates: one float32 tensor per stem, all of one shape, magnitudes >= 0.
      exponent: 1 gives magnitude ratios, 2 power ratios.

    Returns:
      One tensor of that shape per stem: (e_j^p + eps / stems) / (sum_j e_j^p + eps). In every bin the stems add up to
      one; silence is split evenly and not divided by zero.

    >>> import numpy as np
    >>> [float(round(mask[0], 3)) for mask in map(np.asarray, ratio_masks([np.array([3.0]), np.array([1.0])]))]
    [0.9, 0.1]
    """
    powers = [ops.square(e) if exponent == 2 else ops.power(e, exponent) for e in estimates]
    total = sum(powers[1:], powers[0]) + MASK_EPSILON
    share = MASK_EPSILON / len(powers)
    return [(power + share) / total for power in powers]


def extend_mask(mask: Tensor, bins: int, extension: str) -> Tensor:
    """A mask of the bins that the network sees, carried on to all bins of the spectrum.

    Args:
      mask: float32 (..., F), frequency last.
      bins: all bins of the spectrum, at least F.
      extension: 'zeros'; 'average' for the mean over the F bins of the same frame and channel (both as in Spleeter); or
        'octave' for the mean over the highest octave of them, which resembles what lies above it more than the bass.

    Returns:
      float32 (..., bins). Multiplied with the mixture's spectrum it leaves its phases as they are, and where the masks
      of the stems add up to one in the seen bins, they do so above, but for 'zeros'.
    """
    seen = mask.shape[-1]
    missing = bins - seen
    if extension == 'zeros':
        return ops.pad(mask, [*[(0, 0)] * (len(mask.shape) - 1), (0, missing)])
    source = mask[..., seen // 2 :] if extension == 'octave' else mask
    return ops.concatenate([mask, ops.repeat(ops.mean(source, axis=-1, keepdims=True), missing, axis=-1)], axis=-1)
