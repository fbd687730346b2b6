"""The way of a batch of chunks through the graph: Fourier transform, networks, masks or Wiener filter, and back.

Pure functions of tensors, compiled by engines.py. Masks need one function; the Wiener filter, which must see the
whole track before it can filter, needs two: `wiener_analysis` and `wiener_synthesis`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import masks, spectral, wiener
from .backend import Tensor, keras
from .chunks import ChunkGrid, frame_weights
from .configuration import ModelConfig
from .method import Method

ops = keras.ops

FULL_SCALE = 2.0**15  # steps of 16-bit samples

Network = Callable[[Tensor], list[Tensor]]
Parts = tuple[Tensor, Tensor]  # real and imaginary part of spectra, float32 (batch, channels, T, all bins)


def _spectra(waves: Tensor, config: ModelConfig) -> Parts:
    return spectral.stft(ops.transpose(waves, (0, 2, 1)), config.frame_length, config.frame_step)


def _network_input(parts: Parts, config: ModelConfig) -> Tensor:
    """Magnitudes of the bins that the networks see, float32 (batch, T, F, channels)."""
    real, imaginary = (part[..., : config.bins] for part in parts)
    return ops.transpose(ops.sqrt(ops.square(real) + ops.square(imaginary)), (0, 2, 3, 1))


def _weights(config: ModelConfig, method: Method) -> np.ndarray | None:
    """The cross-fade, float32 (T,); None where chunks do not overlap."""
    overlap = method.overlap_frames(config)
    return frame_weights(config.frames, overlap) if overlap else None


def _estimates(network: Any, parts: Parts, config: ModelConfig) -> Sequence[Tensor]:
    """What the networks make of a chunk, one tensor per stem."""
    found = network(_network_input(parts, config))
    return found if isinstance(found, list | tuple) else [found]  # Keras takes a single output out of its list


def _weighted(parts: Parts, weights: np.ndarray | None) -> Parts:
    if weights is None:
        return parts
    real, imaginary = parts
    return real * weights[:, np.newaxis], imaginary * weights[:, np.newaxis]


def _waves_of(stems: Iterable[Parts], mixture: Parts, config: ModelConfig, method: Method) -> Tensor:
    """Spectra of the chosen stems to samples, float32 (outputs, batch, span, channels), the residual last."""
    frame = config.frame_length, config.frame_step
    waves = []
    rest = mixture
    for stem in stems:
        waves.append(spectral.inverse_stft(stem, *frame))
        rest = rest[0] - stem[0], rest[1] - stem[1]
    if method.residual:
        waves.append(spectral.inverse_stft(rest, *frame))
    return ops.transpose(ops.stack(waves), (0, 1, 3, 2))


def separate_chunks(network: object, waves: Tensor, config: ModelConfig, method: Method | None = None) -> Tensor:
    """The whole signal path of one chunk without a Wiener filter: STFT, networks, masks, inverse STFT.

    Args:
      network: from magnitudes (batch, T, F, channels) to a list of the same per stem of `method.networks`; under direct
        masks to the stems' shares of the magnitudes.
      waves: float32 (batch, span, channels).
      method: None: Spleeter's, all stems.

    Returns:
      float32 (outputs, batch, span, channels): each chunk's contributions to the method's outputs.

    Source: Spleeter (JOSS 2020); the order of steps is that of its separation graph.
    """
    method = method or Method()
    parts = _spectra(waves, config)
    estimates = _estimates(network, parts, config)
    if method.masks == 'ratio':
        estimates = masks.ratio_masks(estimates, config.separation_exponent)
    by_stem = dict(zip(method.networks(config), estimates, strict=True))
    real, imaginary = _weighted(parts, _weights(config, method))
    extension = method.mask_extension(config)

    def spectra() -> Iterator[Parts]:
        for name in method.chosen(config):
            mask = masks.extend_mask(ops.transpose(by_stem[name], (0, 3, 1, 2)), real.shape[-1], extension)
            yield real * mask, imaginary * mask

    return _waves_of(spectra(), (real, imaginary), config, method)


class For16Bits(NamedTuple):
    """The samples between the seams of chunks, `body`, as 16-bit files will hold them, and what else is not known."""

    numbers: Tensor  # int16 (outputs, batch, n, channels)
    fits: Tensor  # bool (batch,): whether no value of a chunk's body is beyond full scale or NaN


def split_seams(samples: Tensor, grid: ChunkGrid) -> tuple[Tensor, Tensor]:
    """What only one chunk adds to, samples tail to hop of (..., span, channels), and the others: before, then after."""
    stop = max(grid.hop, grid.tail)
    seams = ops.concatenate([samples[..., : grid.tail, :], samples[..., stop:, :]], axis=-2)
    return samples[..., grid.tail : stop, :], seams


def to_16_bits(body: Tensor) -> For16Bits:
    """Round the samples between the seams, float32 (outputs, batch, n, channels), so that half as much leaves the
    device.
    """
    steps = ops.clip(ops.round(body * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    return For16Bits(ops.cast(steps, 'int16'), ops.all(ops.abs(body) <= 1, axis=(0, 2, 3)))


def _seen(parts: Parts, config: ModelConfig) -> wiener.Spectrum:
    """The bins that the networks see, channel by channel."""
    real, imaginary = parts
    return tuple((real[:, c, :, : config.bins], imaginary[:, c, :, : config.bins]) for c in range(config.channels))


def _sums(
    magnitudes: Sequence[Tensor], parts: Parts, covariances: Tensor, scale: Tensor, config: ModelConfig, method: Method
) -> tuple[Tensor, Tensor]:
    """Covariance sums (stems, batch, terms, F) and peaks (batch,)."""
    weights = _weights(config, method)
    frames = ops.cast(np.ones(config.frames) if weights is None else weights, 'float64')
    shares = wiener.magnitude_shares(list(magnitudes))
    stems = wiener.filtered(shares, _seen(parts, config), covariances, scale)
    peaks = ops.sqrt(ops.max(ops.square(parts[0]) + ops.square(parts[1]), axis=(1, 2, 3)))
    return wiener.covariance_sums(stems, frames), peaks


def wiener_analysis(
    network: Network, waves: Tensor, covariances: Tensor, scale: Tensor, config: ModelConfig, method: Method
) -> tuple[Tensor, ...]:
    """What a chunk contributes to the next iteration of the filter.

    Args:
      waves: float32 (batch, span, channels).
      covariances: float64 (iterations so far, stems, batch, terms, F), of the filter so far.
      scale: float64 (batch,), of the filter so far.

    Returns:
      covariance sums, float64 (stems, batch, terms, F); peaks, float32 (batch,); the magnitudes that the networks
      estimate, per stem float32 (batch, T, F, channels).
    """
    parts = _spectra(waves, config)
    magnitudes = _estimates(network, parts, config)
    return (*_sums(magnitudes, parts, covariances, scale, config, method), *magnitudes)


def wiener_reanalysis(
    waves: Tensor, covariances: Tensor, scale: Tensor, *magnitudes: Tensor, config: ModelConfig, method: Method
) -> tuple[Tensor, ...]:
    """The sums and peaks of `wiener_analysis` from magnitudes that were estimated before."""
    return _sums(magnitudes, _spectra(waves, config), covariances, scale, config, method)


def wiener_synthesis(
    waves: Tensor, covariances: Tensor, scale: Tensor, *magnitudes: Tensor, config: ModelConfig, method: Method
) -> Tensor:
    """The stems of a chunk from its samples, its estimated magnitudes and the complete filter of its track.

    Returns:
      float32 (outputs, batch, span, channels). Above the bins that the networks see there is nothing, unless the method
      asks for a high band: then the mixture times the mean of the stems' ratio masks.
    """
    parts = _spectra(waves, config)
    weights = _weights(config, method)
    mixture = _weighted(parts, weights)
    shares = wiener.magnitude_shares(list(magnitudes))
    chosen = tuple(config.instruments.index(name) for name in method.chosen(config))
    some = None if len(chosen) == len(config.instruments) else chosen
    seen = wiener.filtered(shares, _seen(parts, config), covariances, scale, weights, some)
    real, imaginary = wiener.all_bins(seen, parts[0].shape[-1])
    bands = _high_bands(shares, mixture, chosen, config, method)
    stems = (
        (real[row], imaginary[row]) if band is None else (real[row] + band[0], imaginary[row] + band[1])
        for row, band in enumerate(bands)
    )
    return _waves_of(stems, mixture, config, method)


def _high_bands(
    shares: Tensor, mixture: Parts, chosen: tuple[int, ...], config: ModelConfig, method: Method
) -> Iterator[Parts | None]:
    """What the chosen stems have above the bins that the networks see, (batch, channels, T, all bins) with zeros below;
    None for nothing.
    """
    extension = method.mask_extension(config)
    if extension == 'zeros':
        yield from [None] * len(chosen)
        return
    stem_masks = masks.ratio_masks(
        [ops.transpose(shares[:, stem], (1, 0, 2, 3)) for stem in range(len(config.instruments))],
        config.separation_exponent,
    )
    real, imaginary = mixture
    above = (np.arange(real.shape[-1]) >= config.bins).astype(np.float32)
    for stem in chosen:
        mask = masks.extend_mask(stem_masks[stem], real.shape[-1], extension) * above
        yield real * mask, imaginary * mask


def wiener_separation(
    network: Network, waves: Tensor, covariances: Tensor, scale: Tensor, config: ModelConfig, method: Method
) -> Tensor:
    """`wiener_synthesis` with magnitudes estimated here: for segments whose filter is known."""
    magnitudes = _estimates(network, _spectra(waves, config), config)
    return wiener_synthesis(waves, covariances, scale, *magnitudes, config=config, method=method)
