"""Waveform in, stems out: the network between the Fourier transform and its inverse, chunk by chunk.

`ChunkSeparator` is the compiled function for runs of chunks, which the pipeline uses; `Separator` is the same for whole
waveforms, for notebooks. Chunks do not see each other, so both give the same samples.
"""

from __future__ import annotations

import os

import numpy as np

from . import masks, spectral
from .backend import Tensor, compile_function, keras
from .checkpoint import assign_weights, read_weights
from .chunks import ChunkGrid
from .configuration import ModelConfig
from .resampling import match_channels, resample
from .store import DEFAULT_MODEL, ModelFiles, resolve_model
from .unet import build_unet

ops = keras.ops


def separate_chunks(network: object, waves: Tensor, config: ModelConfig) -> Tensor:
    """The whole signal path of one chunk: STFT, network, masks, inverse STFT.

    Args:
      network: from magnitudes (batch, T, F, channels) to a list of the same per stem.
      waves: float32 (batch, span, channels).

    Returns:
      float32 (stems, batch, span, channels): each chunk's contributions to the stems.

    Source: Spleeter (JOSS 2020); the order of steps is that of its separation graph.
    """
    frame = config.frame_length, config.frame_step
    real, imaginary = spectral.stft(ops.transpose(waves, (0, 2, 1)), *frame)  # (batch, channels, T, all bins)
    seen_real, seen_imaginary = real[..., : config.bins], imaginary[..., : config.bins]
    magnitude = ops.sqrt(ops.square(seen_real) + ops.square(seen_imaginary))
    estimates = network(ops.transpose(magnitude, (0, 2, 3, 1)))  # type: ignore[operator]
    stems = []
    for mask in masks.ratio_masks(estimates, config.separation_exponent):
        mask = masks.extend_mask(ops.transpose(mask, (0, 3, 1, 2)), real.shape[-1], config.mask_extension)
        stems.append(spectral.inverse_stft((real * mask, imaginary * mask), *frame))
    return ops.transpose(ops.stack(stems), (0, 1, 3, 2))


class ChunkSeparator:
    """A loaded model, ready to separate runs of chunks; may be called from several threads at once."""

    def __init__(self, config: ModelConfig, weights: dict[str, np.ndarray], batch_size: int = 1) -> None:
        """Build the network and fill it; `batch_size` chunks go through it at a time (1 is best on a CPU)."""
        if batch_size < 1:
            raise ValueError(f'batch_size is {batch_size}: it must be at least 1')
        self.config = config
        self.grid = ChunkGrid.of(config)
        self.batch_size = batch_size
        network = build_unet(config)
        assign_weights(network, weights)
        self._compiled = compile_function(network, lambda net, waves: separate_chunks(net, waves, config))

    def separate_runs(self, runs: list[np.ndarray]) -> list[np.ndarray]:
        """Separate runs of consecutive chunks, of one or several tracks, batched together.

        Args:
          runs: float32 (samples, channels) each, samples = grid.samples_of(chunks in the run).

        Returns:
          For each run float32 (stems, samples, channels): the sum of its chunks' contributions. A sum of runs of one
          track, each put at its place, is the track.
        """
        grid, config = self.grid, self.config
        outputs = [np.zeros((len(config.instruments), *run.shape), np.float32) for run in runs]
        places = [
            (number, chunk * grid.hop)
            for number, run in enumerate(runs)
            for chunk in range((run.shape[0] - grid.tail) // grid.hop)
        ]
        for first in range(0, len(places), self.batch_size):
            batch = places[first : first + self.batch_size]
            # Always a full batch: another shape could be computed in another order, and segments must not change stems.
            waves = np.zeros((self.batch_size, grid.span, config.channels), np.float32)
            for row, (number, start) in enumerate(batch):
                waves[row] = runs[number][start : start + grid.span]
            stems = self._compiled(waves)
            for row, (number, start) in enumerate(batch):
                outputs[number][:, start : start + grid.span] += stems[:, row]
        return outputs


def load_chunk_separator(files: ModelFiles, batch_size: int = 1) -> ChunkSeparator:
    """A ChunkSeparator of a resolved model. Raises UsageError if its weights do not fit."""
    return ChunkSeparator(files.config, read_weights(files.config, files.weights), batch_size)


class Separator:
    """A separation model for whole waveforms.

    >>> import numpy as np
    >>> separator = Separator.load('mini')
    >>> stems = separator.separate(np.zeros((44100, 2), np.float32), 44100)
    >>> sorted(stems), stems['vocals'].shape
    (['bass', 'drums', 'other', 'vocals'], (44100, 2))
    """

    def __init__(self, chunks: ChunkSeparator) -> None:
        """Wrap a loaded model; `Separator.load` is the usual way in."""
        self.chunks = chunks

    @classmethod
    def load(cls, model: str | os.PathLike[str] = DEFAULT_MODEL, *, batch_size: int = 1) -> Separator:
        """Load a model by name, folder or Spleeter JSON file (see `store.resolve_model`).

        Raises:
          UsageError: an unknown model, or weights that are missing or do not fit.
        """
        return cls(load_chunk_separator(resolve_model(model), batch_size))

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        return self.chunks.config

    @property
    def instruments(self) -> tuple[str, ...]:
        """Names of the stems, in the model's order."""
        return self.config.instruments

    @property
    def sample_rate(self) -> int:
        """Hz of the stems."""
        return self.config.sample_rate

    def separate(self, waveform: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
        """Separate a mixture.

        Args:
          waveform: (samples, channels) or (samples,), floating point, full scale 1. Mono is repeated to the model's
          channels;
            beyond them the first ones stay.
          sample_rate: of the waveform, in Hz; resampled to the model's if it differs.

        Returns:
          stem -> float32 (samples at the model's rate, channels of the model).

        Raises:
          ValueError: no samples, a wrong shape, integers, NaN or infinity.
        """
        mixture = np.asarray(waveform)
        if mixture.ndim == 1:
            mixture = mixture[:, np.newaxis]
        if mixture.ndim != 2 or mixture.size == 0:
            raise ValueError(f'waveform has shape {np.shape(waveform)}: it must be (samples, channels), with samples')
        if not np.issubdtype(mixture.dtype, np.floating):
            raise ValueError(f'waveform is {mixture.dtype}: convert it to floating point with full scale 1')
        if not np.isfinite(mixture).all():
            raise ValueError('waveform holds NaN or infinity: clean it first')
        mixture = match_channels(mixture.astype(np.float32, copy=False), self.config.channels)
        mixture = resample(mixture, sample_rate, self.sample_rate)
        grid = self.chunks.grid
        run = np.zeros((grid.samples_of(grid.num_chunks(len(mixture))), self.config.channels), np.float32)
        run[grid.lead : grid.lead + len(mixture)] = mixture
        (stems,) = self.chunks.separate_runs([run])
        return {
            name: stem[grid.lead : grid.lead + len(mixture)] for name, stem in zip(self.instruments, stems, strict=True)
        }
