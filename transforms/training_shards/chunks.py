"""The first stage: one track is decoded once, checked, and its chunks are written as records into a temporary file.

Stands on datasets, checks.py and records.py. The one idea to know: the chunks do not go through a shuffle, only where
they are does (`Extracted`); and a track is held in memory no further than the chunk that is being filled.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from apache_beam.metrics import Metrics

from ...model.errors import RunError, TrackError
from ...model.resampling import resampled_length
from ..addresses import shown
from ..datasets import StemSource, derived_stems, read_blocks, source_info, summands
from ..records import AudioInfo, Failure
from ..storage import Storage
from .checks import MIXTURE, SILENCE_DB, Problem, TrackChecks, check_headers, energy, level_db, sum_of
from .job import KEEP, STOP, PrepareJob, ShardTrack, fingerprint_of
from .records import chunk_example, framed

DONE, SKIPPED, FAILED = 'done', 'skipped', 'failed'

Blocks = Mapping[str, np.ndarray]  # name -> float32 (samples, channels), all of one length


class Extracted(NamedTuple):
    """A track whose records wait for their shards."""

    name: str
    subset: str
    lengths: tuple[int, ...]  # bytes of each record, in the order of the chunks; none if the track is skipped


def chunk_starts(length: int, chunk: int, count: int | None) -> list[int]:
    """Where the chunks of a track begin, in samples.

    Args:
      length: of the track.
      chunk: of every chunk.
      count: how many, evenly spread over the track (one: in its middle); None: as many as cover it, back to back, the
        last one moved back so that it ends with the track.

    Returns:
      Ascending, each once; a track shorter than a chunk has one, at 0.

    >>> chunk_starts(50, 20, None), chunk_starts(50, 20, 3), chunk_starts(50, 20, 1)
    ([0, 20, 30], [0, 15, 30], [15])
    """
    last = max(0, length - chunk)
    if count is None:
        return [*range(0, last, chunk), last]
    if count == 1:
        return [last // 2]
    return sorted({last * k // (count - 1) for k in range(count)})


def extract_track(track: ShardTrack, job: PrepareJob) -> Iterator[Extracted]:
    """Write a track's records and say where each is; what another run has done with the same input stays.

    Raises:
      TrackError: a file that cannot be read.
      RunError: the track is bad and job.bad_tracks is 'stop'; or this machine is the trouble.
    """
    fingerprint = fingerprint_of(track, job)
    record = read_track(job.storage, job.track_file(track.name))
    if record is None or not _is_complete(record, fingerprint, track, job):
        record = {'fingerprint': fingerprint, **_extract(track, job)}
        job.storage.write_bytes(job.track_file(track.name), json.dumps(record).encode())
    Metrics.counter('stembeam', 'prepare-tracks').inc()
    Metrics.counter('stembeam', 'prepare-chunks').inc(len(record['lengths']))
    yield Extracted(track.name, track.subset, tuple(record['lengths']))


def record_failure(failure: Failure, job: PrepareJob) -> None:
    """Note a track that could not be read; it is tried again by the next run.

    Raises:
      RunError: job.bad_tracks is 'stop'.
    """
    if job.bad_tracks == STOP:
        raise RunError(f'a track cannot be read: {failure.reason}')
    record = {'status': FAILED, 'problems': [Problem('unreadable', failure.reason)], 'lengths': []}
    job.storage.write_bytes(job.track_file(failure.track_id), json.dumps(record).encode())


def read_track(storage: Storage, path: str) -> dict[str, Any] | None:
    """What a track came to, or None if that is not known."""
    try:
        return json.loads(storage.read_bytes(path))
    except FileNotFoundError:
        return None


def _is_complete(record: dict[str, Any], fingerprint: str, track: ShardTrack, job: PrepareJob) -> bool:
    if record['status'] == FAILED or record['fingerprint'] != fingerprint:
        return False
    return record['status'] == SKIPPED or job.storage.size(job.records_file(track.name)) == sum(record['lengths'])


def _extract(track: ShardTrack, job: PrepareJob) -> dict[str, Any]:
    """The track's record; its chunks are in their file unless it is bad and such are skipped."""
    reading = _Reading(track, job)
    with job.storage.new_folder() as folder:
        path = os.path.join(folder, 'records')
        with open(path, 'wb') as file:
            chunks = _ChunkWriter(file, track.name, reading.starts, job)
            for stems, mixture in reading.blocks():
                chunks.add({**stems, MIXTURE: mixture} if job.with_mixture else stems)
            chunks.finish()
        problems = reading.problems()
        if problems and job.bad_tracks == STOP:
            raise RunError(f'a bad track: {problems[0].reason}; or go on without such with --bad-tracks skip')
        if not problems or job.bad_tracks == KEEP:
            job.storage.publish(path, job.records_file(track.name))
            made: dict[str, Any] = {'status': DONE, 'lengths': chunks.lengths, 'levels': chunks.levels}
        else:
            made = {'status': SKIPPED, 'lengths': [], 'levels': {}}
    return {
        **made,
        'problems': problems,
        'notes': reading.notes(),
        'samples': reading.length,
        'residual_db': reading.checks.residual_db,
    }


class _Reading:
    """The stems of one track as the job wants them, with the checks on the way."""

    def __init__(self, track: ShardTrack, job: PrepareJob) -> None:
        """Reads the headers. Raises TrackError."""
        self._job = job
        self._uri = track.uri
        stems = track.track.stems
        if not stems:
            raise TrackError(f'{shown(track.uri)}: there are no stems beside it: add them or remove the folder')
        self._parts = derived_stems(stems, job.stems, allow_missing=True)
        self._summands = summands(stems)
        needed = {*self._summands, *(name for names in self._parts.values() for name in names)}
        self._sources: dict[str, StemSource] = {name: source for name, source in stems.items() if name in needed}
        if track.track.mixture is not None:
            self._sources = {MIXTURE: track.track.mixture, **self._sources}
        self._infos: dict[str, AudioInfo] = {name: source_info(source) for name, source in self._sources.items()}
        lengths = (resampled_length(i.num_samples, i.sample_rate, job.sample_rate) for i in self._infos.values())
        self.length = max(lengths)
        self.starts = chunk_starts(self.length, job.chunk_samples, job.chunks_per_track)
        self.checks = TrackChecks(shown(track.uri), job.limits)

    def blocks(self) -> Iterator[tuple[Blocks, np.ndarray]]:
        """Wanted stems and the mixture (else the stems' sum), in blocks; shorter stems go on with silence."""
        rate, channels = self._job.sample_rate, self._job.channels
        iterators = {
            name: read_blocks(source, rate, channels, info=self._infos[name]) for name, source in self._sources.items()
        }
        nothing = np.zeros((0, channels), np.float32)
        while True:
            blocks = {name: next(iterator, nothing) for name, iterator in iterators.items()}
            length = max(len(block) for block in blocks.values())
            if length == 0:
                return
            blocks = {name: _lengthened(block, length) for name, block in blocks.items()}
            mixture = blocks.get(MIXTURE)
            total = self.checks.add({name: blocks[name] for name in self._summands}, mixture)
            silence = np.zeros((length, channels), np.float32)
            wanted = {s: sum_of([blocks[name] for name in n]) if n else silence for s, n in self._parts.items()}
            yield wanted, total if mixture is None else mixture

    def problems(self) -> list[Problem]:
        """What is wrong, after the last block."""
        missing = [
            Problem('missing', f'{shown(self._uri)}: there is no stem {stem} beside it: add the file')
            for stem, names in self._parts.items()
            if not names
        ]
        return [*missing, *check_headers(self._infos), *self.checks.problems()]

    def notes(self) -> list[str]:
        """What is unusual, but no fault."""
        notes = [f'{stem} is silent throughout' for stem in self.checks.silent_stems()]
        if self.length < self._job.chunk_samples:
            notes.append(f'shorter than a chunk: {self.length} of {self._job.chunk_samples} samples, silence added')
        return notes


def _lengthened(block: np.ndarray, length: int) -> np.ndarray:
    missing = length - len(block)
    return np.concatenate([block, np.zeros((missing, block.shape[1]), block.dtype)]) if missing else block


class _ChunkWriter:
    """Blocks in, records out; keeps what the next chunk needs and no more."""

    def __init__(self, file: BinaryIO, track: str, starts: list[int], job: PrepareJob) -> None:
        self._file = file
        self._track = track
        self._starts = deque(starts)
        self._job = job
        self._held: deque[tuple[int, Blocks]] = deque()  # first sample, block
        self._end = 0  # samples so far
        self.lengths: list[int] = []
        self.levels: dict[str, list[float | None]] = {}  # name -> dB of each chunk; None for silence

    def add(self, blocks: Blocks) -> None:
        """The next samples of all that goes into a record."""
        self._held.append((self._end, blocks))
        self._end += len(next(iter(blocks.values())))
        while self._starts and self._starts[0] + self._job.chunk_samples <= self._end:
            self._write(self._starts.popleft())
        while self._held and (not self._starts or self._held_until() <= self._starts[0]):
            self._held.popleft()

    def finish(self) -> None:
        """The chunks that go beyond the end of the track."""
        while self._starts:
            self._write(self._starts.popleft())

    def _held_until(self) -> int:
        start, blocks = self._held[0]
        return start + len(next(iter(blocks.values())))

    def _write(self, start: int) -> None:
        stems = {name: self._cut(name, start) for name in (*self._job.stems, *self._mixture_name())}
        for name, samples in stems.items():
            level = level_db(energy(samples) / samples.size)
            self.levels.setdefault(name, []).append(round(level, 3) if level >= SILENCE_DB else None)
        pieces = framed(chunk_example(self._track, start, stems))
        self._file.writelines(pieces)
        self.lengths.append(sum(map(len, pieces)))

    def _mixture_name(self) -> tuple[str, ...]:
        return (MIXTURE,) if self._job.with_mixture else ()

    def _cut(self, name: str, start: int) -> np.ndarray:
        chunk = np.zeros((self._job.chunk_samples, self._job.channels), np.float32)
        for at, blocks in self._held:
            block = blocks[name]
            first, last = max(start, at), min(start + len(chunk), at + len(block))
            if first < last:
                chunk[first - start : last - start] = block[first - at : last - at]
        return chunk
