"""The Wiener filter of long tracks: passes over their segments before the one that separates.

The filter of a track is made from sums over all its frames (see model/wiener.py). A track that is one segment needs
nothing from here. Of longer ones every segment is decoded and measured: its sums wait in a small file, and when those
of all segments are there, the filter is written, with which the segments are then separated on their usual way. Every
further iteration of the filter is one more such pass.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import RunInference

from .audio_records import AudioOrRecord, DecodedSegment, MeasuredSegment
from .completion import track_key
from .guarding import Guard, Guarded, under_way
from .job import SeparateJob
from .metrics import WIENER, count_stage
from .model_handler import BatchSegments, SegmentHandler, count_loads, release
from .planning import SplitTracks
from .records import PlannedTrack, Segment, Track
from .separating import read_segment
from .wiener_files import has_filter, has_sums, read_filter, read_sums, write_filter, write_sums
from .writing import not_finite, track_folder

READY = 'ready'


def decode_unmeasured(segment: Segment, job: SeparateJob, iteration: int) -> Iterator[Segment | DecodedSegment]:
    """The samples of a segment, with the filter so far; the segment itself if an earlier run has left its sums.

    Raises:
      TrackError: whatever makes the file unreadable.
    """
    if has_sums(segment, iteration, job):
        yield segment
        return
    with under_way(job, 'measure', segment.planned.track, segment.index):
        decoded = read_segment(segment, job)
        if iteration > 1:
            decoded = decoded._replace(wiener=read_filter(segment.planned, iteration - 1, job)[0])
        yield decoded


class MeasuringHandler(SegmentHandler[MeasuredSegment]):
    """Segments to what they contribute to the filter of their track."""

    def run_inference(
        self, batch: Sequence[DecodedSegment], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[MeasuredSegment]:
        """Measure the segments of a batch, one after the other."""
        count_loads()
        for decoded in release(batch):
            began = time.perf_counter()
            sums = model.wiener_sums(decoded.samples, decoded.wiener)
            took = time.perf_counter() - began
            count_stage(WIENER, took, segments=1)
            yield MeasuredSegment(decoded.segment, sums, decoded.seconds['decode'] + took)


def store_sums(measured: MeasuredSegment, job: SeparateJob, iteration: int) -> Iterator[Segment]:
    """Store the sums of a segment; gives the segment back.

    Raises:
      TrackError: the sums are not finite: what is far beyond full scale overflows in the network.
      RunError: the disk is full.
    """
    segment, sums = measured.segment, measured.sums
    if not (np.isfinite(sums.covariances).all() and np.isfinite(sums.peak)):
        raise not_finite(segment.planned.track, 'the Wiener filter comes out with')
    write_sums(segment, iteration, sums, measured.seconds, job)
    yield segment


def make_filter(keyed: tuple[str, Iterable[Segment]], job: SeparateJob, iteration: int) -> Iterator[PlannedTrack]:
    """Write the filter of a track; nothing comes out if a segment failed, whose failure is on record already.

    Args:
      keyed: the track's key and its segments whose sums are stored, in any order; the same one may come twice.

    Raises:
      RunError: the disk is full.
    """
    from ..model.wiener_records import WienerFilter

    segments = {segment.index: segment for segment in keyed[1]}
    first, *others = (segments[index] for index in sorted(segments))  # in order: the same sums, to the last bit
    planned = first.planned
    if len(segments) < first.num_segments:
        job.storage.remove_folder(track_folder(planned))
        return
    former, seconds = read_filter(planned, iteration - 1, job) if iteration > 1 else (None, 0.0)
    sums, spent = read_sums(first, iteration, job)
    seconds += spent
    for segment in others:
        more, spent = read_sums(segment, iteration, job)
        sums, seconds = sums.plus(more), seconds + spent
    write_filter(planned, iteration, WienerFilter.from_sums(sums, former), seconds, job)
    yield planned


def _by_track(segment: Segment) -> tuple[str, Segment]:
    return track_key(segment.planned.track.track_id), segment


def _track_of(keyed: tuple[str, Iterable[Segment]]) -> Track:
    return next(iter(keyed[1])).planned.track


class _TellReady(beam.DoFn):
    """Tracks whose filter an earlier run has left, aside."""

    def __init__(self, job: SeparateJob, iteration: int) -> None:
        self.job = job
        self.iteration = iteration

    def process(self, planned: PlannedTrack) -> Iterator[Any]:
        is_ready = has_filter(planned, self.iteration, self.job)
        yield beam.pvalue.TaggedOutput(READY, planned) if is_ready else planned


@dataclasses.dataclass
class MeasureTracks(beam.PTransform):
    """One pass: makes iteration `iteration` (from 1 up) of the filter of tracks that have several segments.

    In: PlannedTrack.  Out: `.good` PlannedTrack, when the filter is stored; `.failures` Failure (stages 'decode' and
    'wiener').
    """

    job: SeparateJob
    iteration: int
    in_order: bool = True  # see SplitTracks

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, tracks: beam.PCollection) -> Guard:
        """Returns a Guard."""
        job, iteration = self.job, self.iteration
        told = tracks | 'Ready' >> beam.ParDo(_TellReady(job, iteration)).with_outputs(READY, main='new')
        told.new.element_type = told[READY].element_type = PlannedTrack
        decoded = (
            told.new
            | 'SplitTracks' >> SplitTracks(job, self.in_order)
            | 'Decode'
            >> Guarded(
                decode_unmeasured,
                job,
                iteration,
                stage='decode',
                track_of=lambda s: s.planned.track,
                output_type=AudioOrRecord,
            )
        )
        stored = (
            decoded.good
            | 'Audio' >> beam.Filter(lambda item: isinstance(item, DecodedSegment)).with_output_types(DecodedSegment)
            | 'Batch' >> BatchSegments(job)
            | 'Measure' >> RunInference(MeasuringHandler(job)).with_output_types(MeasuredSegment)
            | 'StoreSums'
            >> Guarded(
                store_sums,
                job,
                iteration,
                stage='wiener',
                track_of=lambda item: item.segment.planned.track,
                output_type=Segment,
            )
        )
        former = decoded.good | 'Former' >> beam.Filter(lambda item: isinstance(item, Segment)).with_output_types(
            Segment
        )
        made = (
            (stored.good, former)
            | 'AllSums' >> beam.Flatten()
            | 'ByTrack' >> beam.Map(_by_track).with_output_types(tuple[str, Segment])
            | 'Gather' >> beam.GroupByKey()
            | 'MakeFilter'
            >> Guarded(make_filter, job, iteration, stage='wiener', track_of=_track_of, output_type=PlannedTrack)
        )
        return Guard(
            (told[READY], made.good) | 'Filters' >> beam.Flatten(),
            (decoded.failures, stored.failures, made.failures) | 'Failures' >> beam.Flatten(),
        )
