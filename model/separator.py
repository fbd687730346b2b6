"""Waveform in, stems out: a model by its name, for notebooks and for the pipeline."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from .chunk_separator import ChunkSeparator
from .configuration import ModelConfig
from .errors import UsageError
from .method import Method
from .resampling import match_channels, resample
from .store import DEFAULT_MODEL, ModelFiles, resolve_model


def load_chunk_separator(
    files: ModelFiles,
    batch_size: int | None = None,
    method: Method | None = None,
    streams: int | None = None,
    for_16_bits: bool = False,
    with_rows: bool = False,
) -> ChunkSeparator:
    """A ChunkSeparator of a resolved model, with its arguments.

    Raises:
      UsageError: weights or a method that do not fit.
    """
    if method is not None:
        method.check(files.config)  # before the weights are read
    weights = files.read_weights()
    return ChunkSeparator(files.config, weights, batch_size, method, streams, for_16_bits, with_rows)


class Separator:
    """A separation model for whole waveforms.

    >>> import numpy as np
    >>> separator = Separator.load('mini')
    >>> stems = separator.separate(np.zeros((44100, 2), np.float32), 44100)
    >>> sorted(stems), stems['vocals'].shape
    (['bass', 'drums', 'other', 'vocals'], (44100, 2))

    With the multichannel Wiener filter, only the voice and what it leaves:

    >>> separator = Separator.load('mini', mwf=True, stems=['vocals'], residual=True)
    >>> list(separator.separate(np.zeros((44100, 2), np.float32), 44100))
    ['vocals', 'residual']
    """

    def __init__(self, chunks: ChunkSeparator) -> None:
        """Wrap a loaded model; `Separator.load` is the usual way in."""
        self.chunks = chunks

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        batch_size: int | None = None,
        mwf: bool | int = False,
        stems: Sequence[str] | None = None,
        masks: str = 'ratio',
        overlap: float = 0.0,
        high_band: str = 'model',
        residual: bool = False,
    ) -> Separator:
        """Load a model by name, folder or Spleeter JSON file (see `store.resolve_model`).

        Args:
          batch_size: chunks that go through the network at a time; None: 1 on a CPU, where it is best, more on a GPU.
          mwf: True for the multichannel Wiener filter with one iteration, as Spleeter's --mwf; or more iterations.
          stems, masks, overlap, high_band, residual: what comes out and how it is made, see `method.Method`.

        Raises:
          UsageError: an unknown model, weights that are missing or do not fit, or a method that does not fit the
            model.
        """
        if isinstance(stems, str):
            raise UsageError(f'stems is the text {stems!r}: give a list of names')
        method = Method(
            stems=None if stems is None else tuple(stems),
            masks=masks,
            mwf_iterations=int(mwf) if isinstance(mwf, bool) else mwf,
            overlap=overlap,
            high_band=high_band,
            residual=residual,
        )
        return cls(load_chunk_separator(resolve_model(model), batch_size, method))

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        return self.chunks.config

    @property
    def instruments(self) -> tuple[str, ...]:
        """Names of all stems of the model, in its order."""
        return self.config.instruments

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `separate` returns: the chosen stems in the model's order, then 'residual' if asked for."""
        return self.chunks.outputs

    @property
    def sample_rate(self) -> int:
        """Hz of the stems."""
        return self.config.sample_rate

    def separate(self, waveform: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
        """Separate a mixture; it is a whole track, for the Wiener filter too.

        Args:
          waveform: (samples, channels) or (samples,), floating point, full scale 1. Mono is repeated to the model's
            channels; beyond them the first ones stay.
          sample_rate: of the waveform, in Hz; resampled to the model's if it differs.

        Returns:
          name -> float32 (samples at the model's rate, channels of the model), names as in `outputs`.

        Raises:
          ValueError: no samples, a wrong shape, integers, NaN or infinity.
          RunError: no space for the Wiener filter's temporary file.
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
            name: stem[grid.lead : grid.lead + len(mixture)] for name, stem in zip(self.outputs, stems, strict=True)
        }
