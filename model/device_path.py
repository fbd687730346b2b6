"""The signal path of a GPU: everything from samples to stems, and the spectral rows of features, in one compiled graph.

What goes up are the chunks' samples as 32-bit floats, for decoders give floats; what comes down are 16-bit samples
where stems are written so, the seams between chunks, and 160 numbers per frame of features.  Batches in flight are the
business of the callers: every worker thread of a run calls with batches of its own, so that one's transfers can overlap
with another's computing.  How transfers are staged, is told in `backend.compile_staged`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import signal_path
from .backend import Tensor, compile_staged, keras
from .chunk_rows import has_rows
from .chunks import ChunkGrid
from .configuration import ModelConfig
from .features.graph import spectral_rows
from .method import Method

ops = keras.ops


class _Fetched(NamedTuple):
    """What comes back from the device for every batch; empty tuples in the place of what is not asked for."""

    stems: Any  # float32 (outputs, batch, span, channels); of 16-bit samples only the seams
    rounded: Any  # signal_path.For16Bits
    rows: Any  # float32 (outputs + 1, batch, frames, NUM_SPECTRAL)


class DevicePath:
    """Everything in one compiled graph of Keras operations, on the device that the array library uses."""

    def __init__(
        self,
        network: Any,
        config: ModelConfig,
        method: Method,
        batch_size: int,
        for_16_bits: bool = False,
        with_rows: bool = False,
    ) -> None:
        """`network` is a Keras model, as `build_folded_unet` makes it; the last two: see `engines.load_engine`."""
        self._grid = ChunkGrid.of(config, method.overlap)
        bound = functools.partial(
            _separate,
            config=config,
            method=method,
            grid=self._grid,
            for_16_bits=for_16_bits,
            with_rows=with_rows and has_rows(config, self._grid),
        )
        self._separate = compile_staged(network, bound)
        # Always a full batch: another shape would be compiled anew.
        self._padding = [np.zeros((self._grid.span, config.channels), np.float32)] * batch_size

    def separate(self, waves: Sequence[np.ndarray], stems: Sequence[np.ndarray]) -> np.ndarray | None:
        """See `engines.SignalPath`."""
        fetched, body = self._separate([*waves, *self._padding[len(waves) :]])
        if fetched.rounded:
            self._add_rounded(fetched, body, stems)
        else:
            for row, target in enumerate(stems):
                target += fetched.stems[:, row]
        return fetched.rows[:, : len(waves)] if len(fetched.rows) else None

    def _add_rounded(self, fetched: _Fetched, body: Tensor, stems: Sequence[np.ndarray]) -> None:
        numbers, fits = fetched.rounded
        tail = self._grid.tail
        # Beyond full scale floats are needed, in which it can be seen how far.
        samples = None if fits[: len(stems)].all() else np.asarray(body)
        for row, target in enumerate(stems):
            before, between, after = np.split(target, [tail, tail + numbers.shape[2]], axis=1)
            before += fetched.stems[:, row, :tail]
            after += fetched.stems[:, row, tail:]
            if samples is not None and not fits[row]:
                between[...] = samples[:, row]
            else:
                np.multiply(numbers[:, row], np.float32(1 / signal_path.FULL_SCALE), out=between)


def _separate(
    network: Any,
    waves: Tensor,
    config: ModelConfig,
    method: Method,
    grid: ChunkGrid,
    for_16_bits: bool,
    with_rows: bool,
) -> tuple[_Fetched, Any]:
    """The graph: what is fetched, and the stems' samples between the seams, which are seldom needed as floats."""
    stems = signal_path.separate_chunks(network, waves, config, method)
    body, seams = signal_path.split_seams(stems, grid)
    rounded = signal_path.to_16_bits(body) if for_16_bits else ()
    rows: Any = ()
    if with_rows:
        written = ops.cast(rounded.numbers, 'float32') * np.float32(1 / signal_path.FULL_SCALE) if rounded else body
        mixture, _ = signal_path.split_seams(waves, grid)
        mono = ops.mean(ops.concatenate([written, mixture[None]]), axis=-1)
        rows = spectral_rows(mono, config.sample_rate)
    return _Fetched(seams if rounded else stems, rounded, rows), body if rounded else ()
