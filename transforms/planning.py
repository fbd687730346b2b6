"""From tracks to segments: what is complete already is skipped, headers are read, and long tracks are cut.

`plan_track` and `split_track` are plain functions; `PlanTracks` and `SplitTracks` are the transforms over them.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import fsspec
from apache_beam.metrics import Metrics

from ..model.errors import TrackError
from ..model.resampling import resampled_length
from .addresses import split_url
from .completion import is_complete, read_record, record_path, write_record
from .guarding import Guarded
from .job import SeparateJob
from .probing import probe
from .records import Completed, PlannedTrack, Segment, Track
from .sources import storage_error
from .storage import PRIVATE

PLAN_FILE = f'{PRIVATE}/plan.json'
# What object stores say about the version of an object; the first that is there is taken.
_VERSION_KEYS = (
    'ETag',
    'etag',
    'md5Hash',
    'content_md5',
    'crc32c',
    'LastModified',
    'last_modified',
    'updated',
    'mtime',
    'created',
)


def source_identity(uri: str) -> dict[str, Any]:
    """What tells an input from a changed one without reading it: size and time of change, or the store's version tag.

    Raises:
      TrackError: the file is not there or may not be read.
      RunError: no package for such addresses.
    """
    try:
        if split_url(uri) is None:
            status = os.stat(uri)
            return {'bytes': status.st_size, 'changed': status.st_mtime_ns}
        fs, path = fsspec.core.url_to_fs(uri)
        info = fs.info(path)
    except Exception as error:  # stores raise exceptions of their own
        raise storage_error(uri, error) from error
    version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), None)
    return {'bytes': info.get('size'), 'changed': version}


def plan_track(track: Track, job: SeparateJob) -> Iterator[Completed | PlannedTrack]:
    """One Completed if the track is done already, else one PlannedTrack.

    Raises:
      TrackError: a file that is missing, is not audio, or has nothing at the asked offset.
    """
    source = source_identity(track.uri)
    fingerprint = job.fingerprint(track.track_id, track.uri, source)
    path = record_path(track.track_id)
    record = read_record(job.storage, path)
    if record is not None and not job.overwrite and is_complete(job.storage, record, fingerprint):
        if record['metadata'] != track.metadata:
            write_record(job.storage, {**record, 'metadata': track.metadata})
        yield Completed(track.track_id, path, is_new=False)
        return
    info = probe(track.uri, allow_truncated=job.allow_truncated, decoder=job.decoder)
    rate = job.model.config.sample_rate
    total = resampled_length(info.num_samples, info.sample_rate, rate)
    start = round(job.offset * rate)
    if start >= total:
        raise TrackError(f'{track.uri}: lasts {total / rate:.2f} s, so nothing is left after --offset {job.offset:g}')
    length = total - start if job.duration is None else max(1, round(min(job.duration * rate, total - start)))
    yield PlannedTrack(track, info, start, length, fingerprint, source)


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
            return self._replace(skipped=self.skipped + 1)
        seconds = item.num_samples / job.model.config.sample_rate
        return self._replace(
            tracks=self.tracks + 1,
            seconds=self.seconds + seconds,
            measured=self.measured + (seconds * job.method.mwf_iterations if is_long(item, job) else 0.0),
        )


class _SumTotals(beam.CombineFn):
    def __init__(self, job: SeparateJob) -> None:
        self.job = job

    def create_accumulator(self) -> Totals:
        return Totals()

    def add_input(self, total: Totals, item: Completed | PlannedTrack) -> Totals:  # type: ignore[override]
        return total.plus(item, self.job)

    def merge_accumulators(self, totals: Iterable[Totals]) -> Totals:  # type: ignore[override]
        return Totals(*(sum(column) for column in zip(*totals, strict=True)))

    def extract_output(self, total: Totals) -> Totals:  # type: ignore[override]
        return total


class Planned(NamedTuple):
    """The outputs of PlanTracks."""

    tracks: beam.PCollection  # PlannedTrack
    completed: beam.PCollection  # Completed: tracks that need nothing
    failures: beam.PCollection  # Failure, stage 'plan'


def _publish_totals(totals: Totals, job: SeparateJob) -> Totals:
    """Totals in OUT/.stembeam/plan.json, for whoever shows progress."""
    job.storage.write_bytes(PLAN_FILE, json.dumps(totals._asdict()).encode())
    return totals


def _after(planned: PlannedTrack, totals: Totals) -> PlannedTrack:
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
            | 'Plan' >> Guarded(plan_track, job, stage='plan', track_of=lambda track: track)
        )
        totals = (
            planned.good
            | 'Sum' >> beam.CombineGlobally(_SumTotals(job))
            | 'PublishTotals' >> beam.Map(_publish_totals, job)
        )
        return Planned(
            tracks=planned.good
            | 'ToDo' >> beam.Filter(lambda item: isinstance(item, PlannedTrack)).with_output_types(PlannedTrack)
            | 'AfterTotals' >> beam.Map(_after, beam.pvalue.AsSingleton(totals)).with_output_types(PlannedTrack),
            completed=planned.good | 'Completed' >> beam.Filter(lambda item: isinstance(item, Completed)),
            failures=planned.failures,
        )


def _split(planned: PlannedTrack, job: SeparateJob) -> list[Segment]:
    segments = split_track(planned, job)
    Metrics.counter('stembeam', 'plan-segments').inc(len(segments))
    return segments


def _longest_first(segments: Iterable[Segment]) -> list[Segment]:
    return sorted(segments, key=lambda s: (-s.num_chunks, s.planned.track.track_id, s.index))


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
        segments = tracks | 'Split' >> beam.FlatMap(_split, self.job)
        if self.in_order:
            segments = (
                segments
                | 'Gather' >> beam.Map(lambda segment: (0, segment))
                | 'Together' >> beam.GroupByKey()
                | 'LongestFirst' >> beam.FlatMap(lambda keyed: _longest_first(keyed[1]))
            )
        return segments | 'SpreadSegments' >> beam.Reshuffle()
