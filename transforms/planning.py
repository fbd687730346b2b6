"""From tracks to segments: what is complete already is skipped, headers are read, and long tracks are cut.

`plan_track` and `split_track` are plain functions; `PlanTracks` and `SplitTracks` are the transforms over them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from ..model.errors import TrackError
from ..model.remote import VERSION_KEYS, RemoteFile
from ..model.resampling import resampled_length
from .addresses import split_url, to_uri
from .completion import DONE, is_complete, read_record, record_path, write_record
from .guarding import Guarded, under_way
from .job import SeparateJob
from .metrics import PLAN, SEGMENTS, SKIPPED, count, count_stage
from .probing import probe
from .record_coders import Record, RecordCoder
from .records import Completed, PlannedTrack, Segment, Track
from .sources import look_at, storage_error
from .storage import PRIVATE

PLAN_FILE = f'{PRIVATE}/plan.json'
REMOTE_THREADS = 16


def source_identity(uri: str, remote: RemoteFile | None = None) -> dict[str, Any]:
    """What tells an input from a changed one without reading it: size and time of change, or the store's version tag.

    `remote` is what sources.look_at said of it; None: nobody has looked yet.

    Raises:
      TrackError: the file is not there or may not be read.
      RunError: no package for such addresses.
    """
    remote = remote or look_at(uri, is_wanted=False)
    if remote is not None:
        # What object stores say about the version of an object; the first that is there is taken.
        version = next((str(remote.info[key]) for key in VERSION_KEYS if remote.info.get(key)), None)
        return {'bytes': remote.size, 'changed': version}
    try:
        status = os.stat(to_uri(uri))
    except Exception as error:  # a path that no file can have
        raise storage_error(uri, error) from error
    return {'bytes': status.st_size, 'changed': status.st_mtime_ns}


def plan_track(track: Track, job: SeparateJob) -> Iterator[Completed | PlannedTrack]:
    """One Completed if the track is done already, else one PlannedTrack.

    Raises:
      TrackError: a file that is missing, is not audio, or has nothing at the asked offset.
    """
    began = time.perf_counter()
    path = record_path(track.track_id)
    record = None if job.is_fresh else read_record(job.storage, path)
    remote = look_at(track.uri, is_wanted=record is None)  # else it is likely that there is nothing to do
    source = source_identity(track.uri, remote)
    fingerprint = job.fingerprint(track.track_id, track.uri, source)
    is_ours = _is_ours(record, job)
    if record is not None and (is_ours or not job.overwrite) and is_complete(job.storage, record, fingerprint):
        if record['metadata'] != track.metadata:
            write_record(job.storage, {**record, 'metadata': track.metadata})
        if not is_ours:
            count(SKIPPED)
        yield Completed(track.track_id, path, is_new=is_ours)
        return
    with under_way(job, PLAN, track):
        info = probe(track.uri, allow_truncated=job.allow_truncated, decoder=job.decoder, remote=remote)
    rate = job.model.config.sample_rate
    total = resampled_length(info.num_samples, info.sample_rate, rate)
    start = round(job.offset * rate)
    if start >= total:
        raise TrackError(f'{track.uri}: lasts {total / rate:.2f} s, so nothing is left after --offset {job.offset:g}')
    length = total - start if job.duration is None else max(1, round(min(job.duration * rate, total - start)))
    took = time.perf_counter() - began
    count_stage(PLAN, took, tracks=1, audio=length / rate, bytes_in=source.get('bytes') or 0)
    yield PlannedTrack(track, info, start, length, fingerprint, source, is_known=record is not None)


def _threads_for(job: SeparateJob, tracks: list[Track]) -> int:
    """How many tracks are planned at once: where disks answer one is enough, elsewhere planning is waiting."""
    waits = not job.storage.is_local or any(split_url(track.uri) is not None for track in tracks)
    return REMOTE_THREADS if waits else 1


def _is_ours(record: dict[str, Any] | None, job: SeparateJob) -> bool:
    """Whether a track was done by this very command, before it was started again."""
    if record is None or record['status'] != DONE or job.since is None:
        return False
    return record['finished'] >= job.since


def split_track(planned: PlannedTrack, job: SeparateJob) -> list[Segment]:
    """The segments of a track, in order; together they hold each of its chunks once."""
    lengths = job.segment_lengths(job.grid.num_chunks(planned.num_samples))
    return [Segment(planned, index, sum(lengths[:index]), length, len(lengths)) for index, length in enumerate(lengths)]


def is_long(planned: PlannedTrack, job: SeparateJob) -> bool:
    """Whether a track has several segments."""
    return len(job.segment_lengths(job.grid.num_chunks(planned.num_samples))) > 1


class Totals(NamedTuple):
    """What a plan adds up to."""

    tracks: int = 0
    skipped: int = 0
    seconds: float = 0.0  # of audio, to be separated
    measured: float = 0.0  # of audio, to be measured for Wiener filters first (see measuring.py)

    def plus(self, item: Completed | PlannedTrack, job: SeparateJob) -> Totals:
        """With one more planned item."""
        if isinstance(item, Completed):
            return self if item.is_new else self._replace(skipped=self.skipped + 1)
        seconds = item.num_samples / job.model.config.sample_rate
        return self._replace(
            tracks=self.tracks + 1,
            seconds=self.seconds + seconds,
            measured=self.measured + (seconds * job.method.mwf_iterations if is_long(item, job) else 0.0),
        )


_TOTALS = tuple[int, int, float, float]  # the fields of Totals, plain as they cross the shuffle


class _SumTotals(beam.CombineFn):
    def __init__(self, job: SeparateJob) -> None:
        self.job = job

    def create_accumulator(self) -> tuple[Any, ...]:
        return tuple(Totals())

    def add_input(self, total: tuple[Any, ...], item: Completed | PlannedTrack) -> tuple[Any, ...]:  # type: ignore[override]
        return tuple(Totals(*total).plus(item, self.job))

    def merge_accumulators(self, totals: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:  # type: ignore[override]
        return tuple(sum(column) for column in zip(*totals, strict=True))

    def extract_output(self, total: tuple[Any, ...]) -> tuple[Any, ...]:  # type: ignore[override]
        return total

    def get_accumulator_coder(self) -> beam.coders.Coder:
        return beam.coders.registry.get_coder(beam.typehints.native_type_compatibility.convert_to_beam_type(_TOTALS))


class Planned(NamedTuple):
    """The outputs of PlanTracks."""

    tracks: beam.PCollection  # PlannedTrack
    completed: beam.PCollection  # Completed: tracks that need nothing
    failures: beam.PCollection  # Failure, stage 'plan'


def _publish_totals(total: tuple[Any, ...], job: SeparateJob) -> int:
    """Totals in OUT/.stembeam/plan.json, for whoever shows progress; gives the number of tracks."""
    totals = Totals(*total)
    job.storage.write_bytes(PLAN_FILE, json.dumps(totals._asdict()).encode())
    return totals.tracks


def _after(planned: PlannedTrack, totals: int) -> PlannedTrack:
    """Tracks wait for the totals (a side input), so that progress knows the whole before the long work begins."""
    return planned


@dataclasses.dataclass
class PlanTracks(beam.PTransform):
    """In: Track.  Out: a Planned: headers are read, and what is complete already is put aside."""

    job: SeparateJob

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, tracks: beam.PCollection) -> Planned:
        """Returns a Planned."""
        job = self.job
        planned = (
            tracks
            | 'SpreadTracks' >> beam.Reshuffle()
            | 'Plan'
            >> Guarded(
                plan_track,
                job,
                stage='plan',
                track_of=lambda track: track,
                output_type=Record,
                threads_for=functools.partial(_threads_for, job),
            )
        )
        totals = (
            planned.good
            | 'Sum' >> beam.CombineGlobally(_SumTotals(job)).with_output_types(_TOTALS)
            | 'PublishTotals' >> beam.Map(_publish_totals, job).with_output_types(int)
        )
        return Planned(
            tracks=planned.good
            | 'ToDo' >> beam.Filter(lambda item: isinstance(item, PlannedTrack)).with_output_types(PlannedTrack)
            | 'AfterTotals' >> beam.Map(_after, beam.pvalue.AsSingleton(totals)).with_output_types(PlannedTrack),
            completed=planned.good
            | 'Completed' >> beam.Filter(lambda item: isinstance(item, Completed)).with_output_types(Completed),
            failures=planned.failures,
        )


def _split(planned: PlannedTrack, job: SeparateJob) -> list[Segment]:
    segments = split_track(planned, job)
    count(SEGMENTS, len(segments))
    return segments


_CODER = RecordCoder()


def _gathered(segment: Segment) -> tuple[int, bytes]:
    return 0, _CODER.encode(segment)


def _longest_first(gathered: tuple[int, Iterable[bytes]]) -> Iterator[Segment]:
    """Segments in order; encoded as long as they wait for that, because that takes a fifth of the memory."""

    def key(encoded: bytes) -> tuple[int, str, int]:
        segment = _CODER.decode(encoded)
        return -segment.num_chunks, segment.planned.track.track_id, segment.index

    return map(_CODER.decode, sorted(gathered[1], key=key))


@dataclasses.dataclass
class SplitTracks(beam.PTransform):
    """In: PlannedTrack.  Out: Segment, spread over the workers.

    `in_order` hands the segments out longest first, for runners that deal them to their workers one by one and for good
    (the local ones); it gathers the segments in one place.
    """

    job: SeparateJob
    in_order: bool = True

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, tracks: beam.PCollection) -> beam.PCollection:
        """Returns the segments."""
        segments = tracks | 'Split' >> beam.FlatMap(_split, self.job).with_output_types(Segment)
        if self.in_order:
            segments = (
                segments
                | 'Gather' >> beam.Map(_gathered).with_output_types(tuple[int, bytes])
                | 'Together' >> beam.GroupByKey()
                | 'LongestFirst' >> beam.FlatMap(_longest_first).with_output_types(Segment)
            )
        return segments | 'SpreadSegments' >> beam.Reshuffle()
