"""A loaded model: runs of chunks in, what they contribute to the stems out, or to the Wiener filter's sums.

Everything that needs the network's weights is here, cut into batches of chunks. Chunks do not see each other, so a
track is the sum of its chunks; the Wiener filter's sums over a whole track are the one thing that is gathered first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .chunk_rows import chunk_frames, unknown_rows
from .chunks import ChunkGrid
from .configuration import ModelConfig
from .crew import Crew, work_together
from .engines import HostPath, WienerFunctions, full_batch, load_engine
from .method import Method
from .spilling import Spill
from .wiener_records import WienerFilter, WienerSums


class Batch(NamedTuple):
    """Chunks that go through the network together."""

    waves: list[np.ndarray]  # float32 (span, channels) each, views of the runs
    places: list[tuple[int, int]]  # of each chunk: the number of its run, and its first sample there
    first: int  # the number of the first chunk among those of all runs


class ChunkSeparator:
    """A loaded model, ready to separate runs of chunks; may be called from several threads at once."""

    def __init__(
        self,
        config: ModelConfig,
        weights: dict[str, np.ndarray],
        batch_size: int | None = None,
        method: Method | None = None,
        streams: int | None = None,
        for_16_bits: bool = False,
        with_rows: bool = False,
    ) -> None:
        """Build the network and fill it.

        Args:
          batch_size: chunks that go through the network at a time; None: 1 on a CPU, where it is best, more on a GPU.
          method: how stems are made; None: as Spleeter does, all stems.
          streams: threads that will call, each on a core of its own; None: one, with all cores.
          for_16_bits: the stems will be written with 16 bits at the model's rate: see `engines.load_engine`.
          with_rows: there will be features, at the model's rate: see there.

        Raises:
          UsageError: a method that the model cannot be used with.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f'batch_size is {batch_size}: it must be at least 1')
        self.config = config
        self.method = method or Method()
        self.method.check(config)
        self.outputs = self.method.outputs(config)
        self.grid = ChunkGrid.of(config, self.method.overlap)
        self._engine = load_engine(config, weights, self.method, batch_size, streams, for_16_bits, with_rows)
        self.batch_size = self._engine.batch_size
        self.zeros: Callable[[tuple[int, ...]], np.ndarray] = partial(np.zeros, dtype=np.float32)
        self.crew = Crew()  # who may help with chunks, on CPUs

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
        return [stems for stems, _ in self.separate_with_rows(runs, filters)]

    def separate_with_rows(
        self, runs: list[np.ndarray], filters: Sequence[WienerFilter] | None = None
    ) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """`separate_runs`, and for each run too what a GPU has computed for features on the way.

        Returns:
          For each run its stems, and float32 (outputs + 1, 1 + samples // 1024, NUM_SPECTRAL): spectral rows (see
          features/frames.py) of the outputs and of the run itself, NaN where they are not known; None: none are.
        """
        if filters is not None:
            self._check_filters(runs, filters)
        outputs = [self.zeros((len(self.outputs), *run.shape)) for run in runs]
        if self.method.mwf_iterations == 0:
            return list(zip(outputs, self._separate_chunks(runs, outputs), strict=True))
        if filters is None:
            chunks = self._separate_whole(runs)
        else:
            chunks = self._map(runs, lambda batch: self._wiener.separate(*self._inputs(batch, filters)))
        for batch, stems in chunks:
            for row, target in enumerate(self._targets(batch, outputs)):
                target += stems[:, row]
        return [(stems, None) for stems in outputs]

    def _separate_chunks(self, runs: list[np.ndarray], outputs: list[np.ndarray]) -> list[np.ndarray | None]:
        """Add the chunks' contributions to the outputs; the runs' spectral rows."""
        rows: list[Any] = [None] * len(runs)

        def separate(batch: Batch, is_next: bool) -> tuple[list[np.ndarray], np.ndarray | None]:
            targets = self._targets(batch, outputs)
            if not is_next:  # samples that chunks share may still be worked on: in memory of its own
                targets = [self.zeros(target.shape) for target in targets]
            return targets, self._engine.path.separate(batch.waves, targets)

        def add(batch: Batch, is_next: bool, separated: tuple[list[np.ndarray], np.ndarray | None]) -> None:
            own, found = separated
            if not is_next:
                for target, stems in zip(self._targets(batch, outputs), own, strict=True):
                    stems[:, : self.grid.tail] += target[:, : self.grid.tail]
                    target[...] = stems
            if found is None:
                return
            for row, (number, start) in enumerate(batch.places):
                if rows[number] is None:
                    rows[number] = unknown_rows(len(found), len(runs[number]))
                rows[number][:, chunk_frames(self.grid, start)] = found[:, row]

        crew = self.crew if isinstance(self._engine.path, HostPath) else Crew()  # a GPU has enough to do
        work_together(crew, list(self._batches(runs)), separate, add)
        return rows

    def _targets(self, batch: Batch, outputs: list[np.ndarray]) -> list[np.ndarray]:
        return [outputs[number][:, start : start + self.grid.span] for number, start in batch.places]

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
            [run], lambda batch: self._wiener.analyse(*self._inputs(batch, filters))
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
                sums, peaks, *magnitudes = self._wiener.analyse(*self._inputs(batch, filters))
                for row in range(len(batch.places)):
                    for magnitude in magnitudes:
                        spill.append(magnitude[row])
                return sums, peaks

            def reanalyse(batch: Batch) -> tuple[np.ndarray, ...]:
                return self._wiener.reanalyse(*self._inputs(batch, filters), *estimates(batch))

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
                lambda batch: self._wiener.synthesise(*self._inputs(batch, filters), *estimates(batch)),
            )

    def _batches(self, runs: list[np.ndarray]) -> Iterator[Batch]:
        """Every chunk of the runs, in order, `batch_size` at a time."""
        grid = self.grid
        places = [
            (number, chunk * grid.hop)
            for number, run in enumerate(runs)
            for chunk in range((run.shape[0] - grid.tail) // grid.hop)
        ]
        for first in range(0, len(places), self.batch_size):
            some = places[first : first + self.batch_size]
            yield Batch([runs[number][start : start + grid.span] for number, start in some], some, first)

    def _map(self, runs: list[np.ndarray], function: Callable[[Batch], Any]) -> Iterator[tuple[Batch, Any]]:
        """Every batch of the runs' chunks, and what becomes of it."""
        for batch in self._batches(runs):
            yield batch, function(batch)

    @property
    def _wiener(self) -> WienerFunctions:
        if self._engine.wiener is None:
            raise ValueError('the method has no Wiener filter: load the model with mwf_iterations')
        return self._engine.wiener

    def _inputs(self, batch: Batch, filters: Sequence[WienerFilter]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples, R and scale of every chunk of a batch; empty rows get zeros, and the filter of the last one."""
        numbers = [number for number, _ in batch.places]
        numbers += numbers[-1:] * (self.batch_size - len(numbers))
        covariances = np.stack([filters[number].covariances for number in numbers], axis=2)
        scales = np.array([filters[number].scale for number in numbers])
        return full_batch(batch.waves, self.batch_size), covariances, scales

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
