"""The compiled model: runs of chunks in, what they contribute to the stems out, or to the Wiener filter's sums.

Everything that needs the network's weights is here, cut into batches of chunks. Chunks do not see each other, so a
track is the sum of its chunks; the Wiener filter's sums over a whole track are the one thing that is gathered first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .backend import compile_function
from .chunks import ChunkGrid
from .configuration import ModelConfig
from .folded_unet import build_folded_unet
from .method import Method
from .signal_path import separate_chunks, wiener_analysis, wiener_reanalysis, wiener_separation, wiener_synthesis
from .spilling import Spill
from .wiener import WienerFilter, WienerSums


class Batch(NamedTuple):
    """Chunks that go through the network together."""

    waves: np.ndarray  # float32 (batch_size, span, channels): rows beyond `places` are zeros
    places: list[tuple[int, int]]  # of each chunk: the number of its run, and its first sample there
    first: int  # the number of the first chunk among those of all runs


class ChunkSeparator:
    """A loaded model, ready to separate runs of chunks; may be called from several threads at once."""

    def __init__(
        self, config: ModelConfig, weights: dict[str, np.ndarray], batch_size: int = 1, method: Method | None = None
    ) -> None:
        """Build the network and fill it; `batch_size` chunks go through it at a time (1 is best on a CPU).

        Args:
          method: how stems are made; None: as Spleeter does, all stems.

        Raises:
          UsageError: a method that the model cannot be used with.
        """
        if batch_size < 1:
            raise ValueError(f'batch_size is {batch_size}: it must be at least 1')
        self.config = config
        self.method = method or Method()
        self.method.check(config)
        self.outputs = self.method.outputs(config)
        self.grid = ChunkGrid.of(config, self.method.overlap)
        self.batch_size = batch_size
        networks = self.method.networks(config)
        network = build_folded_unet(config, weights, networks, shares=self.method.masks == 'direct')
        options: Any = {'config': config, 'method': self.method}
        self._separate = compile_function(network, partial(separate_chunks, **options))
        self._analyse = compile_function(network, partial(wiener_analysis, **options))
        self._filter = compile_function(network, partial(wiener_separation, **options))
        self._reanalyse = compile_function(network, _without_network(partial(wiener_reanalysis, **options)))
        self._synthesise = compile_function(network, _without_network(partial(wiener_synthesis, **options)))

    def separate_runs(self, runs: list[np.ndarray], filters: Sequence[WienerFilter] | None = None) -> list[np.ndarray]:
        """Separate runs of consecutive chunks, of one or several tracks, batched together.

        Args:
          runs: float32 (samples, channels) each, samples = grid.samples_of(chunks in the run).
          filters: under a method with a Wiener filter the filter of each run's track, for runs that are segments of
            longer tracks; None: every run is a whole track.

        Returns:
          For each run float32 (outputs, samples, channels), outputs as in `outputs`: the sum of its chunks'
          contributions. A sum of runs of one track, each put at its place, is the track.

        Raises:
          ValueError: filters that do not fit the runs or the method.
          RunError: no space for the Wiener filter's temporary file.
        """
        if filters is not None:
            self._check_filters(runs, filters)
        outputs = [np.zeros((len(self.outputs), *run.shape), np.float32) for run in runs]
        if self.method.mwf_iterations == 0:
            chunks = self._map(runs, lambda batch: self._separate(batch.waves))
        elif filters is not None:
            chunks = self._map(runs, lambda batch: self._filter(batch.waves, *self._rows(batch, filters)))
        else:
            chunks = self._separate_whole(runs)
        for batch, stems in chunks:
            for row, (number, start) in enumerate(batch.places):
                outputs[number][:, start : start + self.grid.span] += stems[:, row]
        return outputs

    def wiener_sums(self, run: np.ndarray, filter_so_far: WienerFilter | None = None) -> WienerSums:
        """What a segment contributes to the Wiener filter of its track; the sums of all its segments are the track's.

        Args:
          run: float32 (samples, channels), as for `separate_runs`.
          filter_so_far: of the track, for sums of the second iteration and later ones.

        Returns:
          Small sums, from which `WienerFilter.from_sums` makes the filter, or its next iteration.
        """
        filters = [filter_so_far or self._unfiltered()]
        total = self._no_sums()
        for batch, (sums, peaks, *_) in self._map(
            [run], lambda batch: self._analyse(batch.waves, *self._rows(batch, filters))
        ):
            for row in range(len(batch.places)):
                total = total.plus(WienerSums(sums[:, row], float(peaks[row])))
        return total

    def _separate_whole(self, runs: list[np.ndarray]) -> Iterator[tuple[Batch, np.ndarray]]:
        """Stems of whole tracks by the Wiener filter: the networks run once, what they estimate waits on disk."""
        config = self.config
        shape = len(config.instruments), config.frames, config.bins, config.channels
        filters: list[WienerFilter] = []
        with Spill(shape) as spill:

            def estimates(batch: Batch) -> list[np.ndarray]:
                rows = [spill.read(batch.first + row) for row in range(len(batch.places))]
                rows += [np.zeros(shape, np.float32)] * (self.batch_size - len(rows))
                return list(rows[0][:, np.newaxis] if len(rows) == 1 else np.stack(rows, axis=1))

            def analyse(batch: Batch) -> tuple[np.ndarray, ...]:
                sums, peaks, *magnitudes = self._analyse(batch.waves, *self._rows(batch, filters))
                for row in range(len(batch.places)):
                    for magnitude in magnitudes:
                        spill.append(magnitude[row])
                return sums, peaks

            def reanalyse(batch: Batch) -> tuple[np.ndarray, ...]:
                return self._reanalyse(batch.waves, *self._rows(batch, filters), *estimates(batch))

            filters = [self._unfiltered()] * len(runs)
            for iteration in range(self.method.mwf_iterations):
                totals = [self._no_sums()] * len(runs)
                for batch, (sums, peaks) in self._map(runs, reanalyse if iteration else analyse):
                    for row, (number, _) in enumerate(batch.places):
                        totals[number] = totals[number].plus(WienerSums(sums[:, row], float(peaks[row])))
                formers = filters if iteration else [None] * len(runs)
                filters = [WienerFilter.from_sums(*pair) for pair in zip(totals, formers, strict=True)]
            yield from self._map(
                runs,
                lambda batch: self._synthesise(batch.waves, *self._rows(batch, filters), *estimates(batch)),
            )

    def _map(self, runs: list[np.ndarray], function: Callable[[Batch], Any]) -> Iterator[tuple[Batch, Any]]:
        """Every batch of the runs' chunks, and what becomes of it."""
        grid = self.grid
        places = [
            (number, chunk * grid.hop)
            for number, run in enumerate(runs)
            for chunk in range((run.shape[0] - grid.tail) // grid.hop)
        ]
        for first in range(0, len(places), self.batch_size):
            # Always a full batch: another shape could be computed in another order, and segments must not change stems.
            waves = np.zeros((self.batch_size, grid.span, self.config.channels), np.float32)
            batch = Batch(waves, places[first : first + self.batch_size], first)
            for row, (number, start) in enumerate(batch.places):
                waves[row] = runs[number][start : start + grid.span]
            yield batch, function(batch)

    def _rows(self, batch: Batch, filters: Sequence[WienerFilter]) -> tuple[np.ndarray, np.ndarray]:
        """R and scale of every chunk of a batch; empty rows get those of the last one."""
        numbers = [number for number, _ in batch.places]
        numbers += numbers[-1:] * (self.batch_size - len(numbers))
        covariances = np.stack([filters[number].covariances for number in numbers], axis=2)
        return covariances, np.array([filters[number].scale for number in numbers])

    def _no_sums(self) -> WienerSums:
        return WienerSums.none(len(self.config.instruments), self.config.channels, self.config.bins)

    def _unfiltered(self) -> WienerFilter:
        """A filter without iterations."""
        return WienerFilter(np.zeros((0, *self._no_sums().covariances.shape)), 1.0)

    def _check_filters(self, runs: list[np.ndarray], filters: Sequence[WienerFilter]) -> None:
        found = [wiener.iterations for wiener in filters]
        wanted = self.method.mwf_iterations
        if len(found) != len(runs) or any(iterations != wanted for iterations in found):
            raise ValueError(
                f'filters of {found} iterations for {len(runs)} runs: one of {wanted} iterations is needed for each'
            )


def _without_network(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _network, *inputs: function(*inputs)
