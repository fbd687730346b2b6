"""From a batch of 16-bit chunks to the magnitudes that the network is trained on, inside the training step.

The transform is linear, so the mixture's spectrum is the sum of its stems' and costs no transform of its own. Stretch
and shift are Spleeter's: linear interpolation of magnitudes, here as products with matrices of interpolation weights.
"""

from __future__ import annotations

import numpy as np

from .. import spectral
from ..backend import Tensor, keras
from ..configuration import ModelConfig
from .inputs import Batch
from .settings import Recipe
from .shards import FULL_SCALE

ops = keras.ops
SMALLEST = 1e-9  # magnitude that is divided by


def waveforms(batch: Batch) -> Tensor:
    """The stems of a batch after gains and swaps, float32 (chunks, stems, samples, channels)."""
    waves = ops.cast(batch['waves'], 'float32') * (batch['gain'][:, :, None, None] / FULL_SCALE)
    if waves.shape[-1] == 1:
        return waves
    swap = batch['swap'][:, :, None, None]
    return waves + swap * (ops.flip(waves, axis=-1) - waves)


def _spectra(waves: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """(..., samples, channels) to real and imaginary part, (..., channels, T, F)."""
    axes = list(range(len(waves.shape)))
    sides = ops.transpose(waves, (*axes[:-2], axes[-1], axes[-2]))
    real, imaginary = spectral.stft(sides, config.frame_length, config.frame_step)
    return real[..., : config.bins], imaginary[..., : config.bins]


def _magnitude(real: Tensor, imaginary: Tensor) -> Tensor:
    """(chunks, channels, T, F) parts to (chunks, T, F, channels)."""
    return ops.transpose(ops.sqrt(ops.square(real) + ops.square(imaginary)), (0, 2, 3, 1))


def _in_phase(stem: tuple[Tensor, Tensor], mixture: tuple[Tensor, Tensor]) -> Tensor:
    """The part of a stem that is in phase with the mixture, not below 0 and not above the mixture's magnitude.

    No real mask comes nearer to the stem than this part over the mixture's magnitude. Source: Erdogan et al.,
    "Phase-sensitive and recognition-boosted speech separation using deep recurrent neural networks", ICASSP 2015,
    the truncated phase-sensitive filter.
    """
    real, imaginary = mixture
    whole = ops.sqrt(ops.square(real) + ops.square(imaginary))
    along = (stem[0] * real + stem[1] * imaginary) / ops.maximum(whole, SMALLEST)
    return ops.transpose(ops.clip(along, 0.0, whole), (0, 2, 3, 1))


def magnitudes(batch: Batch, config: ModelConfig, wanted: list[int], recipe: Recipe) -> tuple[Tensor, list[Tensor]]:
    """What the network sees and what it shall say.

    Args:
      batch: see `inputs.Batch`.
      config: of the model.
      wanted: for every stem of the model its place among the stems of the batch.
      recipe: whose stretch and shift are applied, if it has any.

    Returns:
      The magnitudes of the mixture and of each of the model's stems, float32 (chunks, T, F, channels); with the
      targets "in_phase", of stems only what is in phase with the mixture.
    """
    waves = waveforms(batch)
    if 'mixture' in batch:
        given = ops.cast(batch['mixture'], 'float32') * (batch['mixture_gain'][:, None, None] / FULL_SCALE)
        whole = _spectra(given, config)
        waves = ops.stack([waves[:, place] for place in wanted], axis=1)
        wanted = list(range(len(wanted)))
        real, imaginary = _spectra(waves, config)
    else:
        real, imaginary = _spectra(waves, config)
        whole = ops.sum(real, axis=1), ops.sum(imaginary, axis=1)
    parts = [(real[:, place], imaginary[:, place]) for place in wanted]
    in_phase = recipe.targets == 'in_phase'
    stems = [_in_phase(part, whole) if in_phase else _magnitude(*part) for part in parts]
    mixture = _magnitude(*whole)
    changed = [mixture, *stems]
    if tuple(recipe.time_stretch) != (1.0, 1.0):
        weights = stretch_weights(batch['stretch'], mixture.shape[1])
        changed = [ops.einsum('btu,bufc->btfc', weights, magnitude) for magnitude in changed]
    if recipe.pitch_shift > 0:
        weights = shift_weights(batch['shift'], mixture.shape[2])
        changed = [ops.einsum('bfg,btgc->btfc', weights, magnitude) for magnitude in changed]
    return changed[0], changed[1:]


def _interpolation(places: Tensor, size: int, inside: Tensor) -> Tensor:
    """Weights (b, size, size) that read a line of `size` values at `places` (b, size); 0 where not `inside`."""
    columns = np.arange(size, dtype=np.float32)
    hats = ops.maximum(0.0, 1.0 - ops.abs(places[:, :, None] - columns))
    return hats * ops.cast(inside, 'float32')[:, :, None]


def stretch_weights(factors: Tensor, size: int) -> Tensor:
    """Interpolation weights (b, size, size) of stretches in time: resized about the middle, cut or filled with zeros.

    Source: Spleeter's time_stretch: bilinear with aligned corners, then cropped or padded on both sides.
    """
    lengths = ops.floor(size * factors)[:, None]
    rows = np.arange(size, dtype=np.float32)
    # Where row 0 lies in the resized line: behind its beginning if that is cut, before it if that is filled.
    cut, filled = ops.floor((lengths - size) / 2), ops.floor((size - lengths) / 2)
    resized = rows + ops.where(lengths > size, cut, -filled)
    return _interpolation(resized * (size - 1) / (lengths - 1), size, (resized >= 0) & (resized <= lengths - 1))


def shift_weights(factors: Tensor, size: int) -> Tensor:
    """Interpolation weights (b, size, size) of shifts in frequency: resized from bin 0 up, cut or filled with zeros.

    Source: Spleeter's pitch_shift, which resizes the bins that the network sees.
    """
    lengths = ops.floor(size * factors)[:, None]
    rows = np.arange(size, dtype=np.float32)
    return _interpolation(rows * (size - 1) / (lengths - 1), size, rows <= lengths - 1)
