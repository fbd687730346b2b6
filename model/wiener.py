"""The multichannel Wiener filter: stems re-estimated from how they lie between the channels, for tracks of any length.

Every stem is modelled, per bin, by one spatial covariance matrix R_j(f) for the whole track and a power p_j(t, f) per
frame; the filter is the best linear guess of the stem under that model. R_j is a sum over all frames, so it takes a
pass of its own: `WienerSums` holds what chunks, segments and tracks contribute, `WienerFilter` what comes of the sums
(wiener_records.py); frames are never kept.

Source: Duong, Vincent and Gribonval, "Under-determined reverberant audio source separation using a full-rank spatial
covariance model", IEEE TASLP 18(7), 2010, in the form of the program norbert (Liutkus and Stoeter; `norbert.wiener`),
which Spleeter calls with one iteration. Sums and the inverse are in double precision: where sources lie in nearly one
direction, the determinant of the mixture's covariance is a difference of nearly equal numbers.
"""

from __future__ import annotations

import numpy as np

from .backend import Tensor, fused, keras
from .wiener_records import EPSILON

ops = keras.ops

# Per channel the real and the imaginary part: of the mixture (batch, T, F) each, of stems (stems, batch, T, F).
Spectrum = tuple[tuple[Tensor, Tensor], ...]


@fused
def magnitude_shares(magnitudes: list[Tensor]) -> Tensor:
    """Each stem's share of the magnitudes, v_j / (eps + sum_k v_k).

    Args:
      magnitudes: per stem float32 (batch, T, F, channels), from the networks.

    Returns:
      float32 (channels, stems, batch, T, F).
    """
    stacked = ops.stack(magnitudes)
    return ops.transpose(stacked / (EPSILON + ops.sum(stacked, axis=0)), (4, 0, 1, 2, 3))


def first_estimates(shares: Tensor, mixture: Spectrum) -> Spectrum:
    """The stems by magnitude ratios: the model of the first iteration."""
    return tuple((shares[c] * real, shares[c] * imaginary) for c, (real, imaginary) in enumerate(mixture))


@fused
def covariance_sums(stems: Spectrum, weights: np.ndarray) -> Tensor:
    """Sums over the frames of every chunk, frame t counting weights[t] times.

    Args:
      stems: float32 (stems, batch, T, F).
      weights: float64 (T,).

    Returns:
      float64 (stems, batch, terms, F), terms as in `WienerSums`.
    """
    stems = _double(stems)
    products = [ops.square(real) + ops.square(imaginary) for real, imaginary in stems]
    if len(stems) == 2:
        (left, left_imaginary), (right, right_imaginary) = stems
        products.append(left * right + left_imaginary * right_imaginary)
        products.append(left_imaginary * right - left * right_imaginary)
    frames = ops.reshape(weights, (-1, 1))
    return ops.stack([ops.sum(product * frames, axis=-2) for product in products], axis=2)


@fused
def powers(stems: Spectrum, scale: Tensor) -> Tensor:
    """p_j, the mean over the channels of |y_j / scale|^2: float32 (stems, batch, T, F); scale is float64 (batch,)."""
    total = sum(ops.square(real) + ops.square(imaginary) for real, imaginary in stems)
    factor = ops.cast(1 / (ops.square(scale) * len(stems)), 'float32')
    return total * ops.reshape(factor, (-1, 1, 1))


def _double(parts: Spectrum) -> Spectrum:
    return tuple((ops.cast(real, 'float64'), ops.cast(imaginary, 'float64')) for real, imaginary in parts)


def _terms(covariances: Tensor) -> list[Tensor]:
    """(stems, batch, terms, F) to one (stems, batch, 1, F) per term."""
    return [covariances[:, :, term, np.newaxis] for term in range(covariances.shape[2])]


@fused
def mixture_covariance(stem_powers: Tensor, covariances: Tensor) -> list[Tensor]:
    """C = sum_j p_j R_j + sqrt(eps) I, float64 (batch, T, F) per term; R is float64 (stems, batch, terms, F)."""
    doubled = ops.cast(stem_powers, 'float64')
    total = [sum(doubled[stem] * term[stem] for stem in range(doubled.shape[0])) for term in _terms(covariances)]
    if len(total) == 1:
        return [total[0] + (EPSILON**0.5 + EPSILON)]  # norbert's inverse of one channel has its epsilon once more
    return [total[0] + EPSILON**0.5, total[1] + EPSILON**0.5, *total[2:]]


@fused
def whitened(covariance: list[Tensor], mixture: Spectrum) -> Spectrum:
    """C^-1 x, float64 (batch, T, F), the inverse in closed form."""
    mixture = _double(mixture)
    if len(mixture) == 1:
        ((real, imaginary),) = mixture
        return ((real / covariance[0], imaginary / covariance[0]),)
    left, right, c, d = covariance
    (x, xi), (y, yi) = mixture
    inverse = 1 / (left * right - ops.square(c) - ops.square(d))
    return (
        ((right * x - c * y + d * yi) * inverse, (right * xi - c * yi - d * y) * inverse),
        ((left * y - c * x - d * xi) * inverse, (left * yi - c * xi + d * x) * inverse),
    )


@fused
def projected(stem_powers: Tensor, covariances: Tensor, white: Spectrum) -> Spectrum:
    """The stems y_j = p_j R_j C^-1 x, float32 (stems, batch, T, F)."""
    p = ops.cast(stem_powers, 'float64')

    def single(value: Tensor) -> Tensor:
        return ops.cast(p * value, 'float32')

    if len(white) == 1:
        ((u, ui),) = white
        (a,) = _terms(covariances)
        return ((single(a * u), single(a * ui)),)
    (u, ui), (v, vi) = white
    a, b, c, d = _terms(covariances)
    return (
        (single(a * u + c * v - d * vi), single(a * ui + c * vi + d * v)),
        (single(c * u + d * ui + b * v), single(c * ui - d * u + b * vi)),
    )


@fused
def all_bins(stems: Spectrum, bins: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of all channels, float32 (stems, batch, channels, T, bins), zeros above F."""
    missing = bins - stems[0][0].shape[-1]
    padding = [(0, 0)] * 4 + [(0, missing)]
    real, imaginary = (ops.stack(parts, axis=2) for parts in zip(*stems, strict=True))
    return ops.pad(real, padding), ops.pad(imaginary, padding)


def filtered(
    shares: Tensor,
    mixture: Spectrum,
    covariances: Tensor,
    scale: Tensor,
    weights: np.ndarray | None = None,
    chosen: tuple[int, ...] | None = None,
) -> Spectrum:
    """The stems after all iterations of a filter; by magnitude ratios if it has none.

    Args:
      shares: float32 (channels, stems, batch, T, F) from `magnitude_shares`.
      mixture: float32 (batch, T, F).
      covariances: R, float64 (iterations, stems, batch, terms, F).
      scale: float64 (batch,).
      weights: float32 (T,): how much each frame counts in what comes out; None: 1.
      chosen: numbers of the stems that come out; None: all.

    Returns:
      float32 (stems, batch, T, F).
    """
    iterations = covariances.shape[0]
    stems = first_estimates(shares, mixture)
    for iteration in range(iterations):
        stem_covariances = covariances[iteration]
        # The filter is linear in the mixture once the powers are known, so the scale matters to them alone.
        stem_powers = powers(stems, scale)
        modelled = mixture_covariance(stem_powers, stem_covariances)
        source = mixture
        if iteration == iterations - 1:
            if weights is not None:
                frames = weights[:, np.newaxis]
                source = tuple((real * frames, imaginary * frames) for real, imaginary in mixture)
            if chosen is not None:
                stem_powers = ops.take(stem_powers, chosen, axis=0)
                stem_covariances = ops.take(stem_covariances, chosen, axis=0)
        stems = projected(stem_powers, stem_covariances, whitened(modelled, source))
    return stems
