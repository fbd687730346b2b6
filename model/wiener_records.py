"""What the multichannel Wiener filter of a track is made of (see wiener.py): small NumPy records that add up and can be
sent between processes. Nothing here loads TensorFlow.
"""

from __future__ import annotations

import dataclasses

import numpy as np

EPSILON = float(np.finfo(np.float32).eps)  # norbert's, for spectra in single precision
LOUDEST = 10.0  # spectra are scaled down to this greatest magnitude, if they are beyond it


@dataclasses.dataclass(frozen=True)
class WienerSums:
    """What some frames of a track contribute to its Wiener filter."""

    # float64 (stems, terms, F): sums over frames of y y^H. Two channels have four terms: left-left, right-right and the
    # real and imaginary part of left-right; one channel has one.
    covariances: np.ndarray
    peak: float  # the greatest magnitude of the mixture's spectrum, all bins

    @classmethod
    def none(cls, stems: int, channels: int, bins: int) -> WienerSums:
        """The sums over no frames."""
        return cls(np.zeros((stems, channels * channels, bins)), 0.0)

    def plus(self, other: WienerSums) -> WienerSums:
        """The sums over the frames of both."""
        return WienerSums(self.covariances + other.covariances, max(self.peak, other.peak))


@dataclasses.dataclass(frozen=True)
class WienerFilter:
    """The Wiener filter of a track, of one iteration or several."""

    covariances: np.ndarray  # float64 (iterations, stems, terms, F): R of every iteration, terms as in WienerSums
    scale: float  # what the spectra are divided by before the powers are taken

    @classmethod
    def from_sums(cls, sums: WienerSums, former: WienerFilter | None = None) -> WienerFilter:
        """The filter of a track from its sums; `former` is the filter with which the sums of a later iteration were
        made.
        """
        scale = max(1.0, sums.peak / LOUDEST) if former is None else former.scale
        scaled = sums.covariances / scale**2
        channels = 1 if scaled.shape[1] == 1 else 2
        power = scaled[:, :channels].mean(axis=1, keepdims=True)
        latest = (scaled / (EPSILON + power))[np.newaxis]
        return cls(latest if former is None else np.concatenate([former.covariances, latest]), scale)

    @property
    def iterations(self) -> int:
        """How many times the filter is applied, each time to a better model."""
        return len(self.covariances)
