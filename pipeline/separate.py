"""The graph of `separate`: from a listing to stems, features, manifest and failure table."""

from __future__ import annotations

from typing import NamedTuple

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference

from ..transforms.assembling import AssembleTracks
from ..transforms.audio_records import AudioOrRecord, DecodedSegment, SeparatedSegment
from ..transforms.guarding import Guarded
from ..transforms.job import SeparateJob
from ..transforms.listing_files import ListingFiles, ReadListing, read_former, read_tracks
from ..transforms.manifest import Tables, WriteTables
from ..transforms.measuring import MeasureTracks
from ..transforms.model_handler import BatchSegments
from ..transforms.planning import PlanTracks, SplitTracks, is_long
from ..transforms.record_coders import Record
from ..transforms.records import Completed, Part, PlannedTrack, Track
from ..transforms.separating import StemModelHandler, decode_segment
from ..transforms.writing import write_segment


class Separated(NamedTuple):
    """The outputs of SeparateTracks."""

    completed: beam.PCollection  # Completed
    failures: beam.PCollection  # Failure


class SeparateTracks(beam.PTransform):
    """In: Track.  Out: a Separated; the files of every completed track are in OUT."""

    def __init__(self, job: SeparateJob, in_order: bool = True) -> None:
        """`in_order`: see SplitTracks."""
        super().__init__()
        self.job = job
        self.in_order = in_order

    def expand(self, tracks: beam.PCollection) -> Separated:
        """Returns a Separated."""
        job = self.job
        planned = tracks | 'PlanTracks' >> PlanTracks(job)
        ready = planned.tracks | 'Filter' >> _FilterTracks(job, self.in_order)
        decoded = (
            ready.good
            | 'SplitTracks' >> SplitTracks(job, self.in_order)
            | 'Decode'
            >> Guarded(
                decode_segment,
                job,
                stage='decode',
                track_of=lambda segment: segment.planned.track,
                output_type=AudioOrRecord,
            )
        )
        separated = (
            decoded.good
            | 'Audio' >> beam.Filter(lambda item: isinstance(item, DecodedSegment)).with_output_types(DecodedSegment)
            | 'Batch' >> BatchSegments(job)
            | 'Separate' >> RunInference(StemModelHandler(job)).with_output_types(SeparatedSegment)
        )
        written = separated | 'Write' >> Guarded(
            write_segment,
            job,
            stage='write',
            track_of=lambda item: item.decoded.segment.planned.track,
            output_type=Record,
        )
        parts = (
            written.good | 'NewParts' >> beam.Filter(lambda item: isinstance(item, Part)).with_output_types(Part),
            decoded.good | 'FormerParts' >> beam.Filter(lambda item: isinstance(item, Part)).with_output_types(Part),
        ) | 'AllParts' >> beam.Flatten()
        assembled = parts | 'AssembleTracks' >> AssembleTracks(job)
        whole = written.good | 'Whole' >> beam.Filter(lambda item: isinstance(item, Completed)).with_output_types(
            Completed
        )
        failures = planned.failures, *ready.failures, decoded.failures, written.failures, assembled.failures
        return Separated(
            completed=(planned.completed, whole, assembled.good) | 'Completed' >> beam.Flatten(),
            failures=failures | 'Failures' >> beam.Flatten(),
        )


class _Filtered(NamedTuple):
    """The outputs of _FilterTracks."""

    good: beam.PCollection  # PlannedTrack: nothing is missing to separate it
    failures: list[beam.PCollection]  # Failure


class _FilterTracks(beam.PTransform):
    """Makes the Wiener filters of long tracks, if filters are asked for. In: PlannedTrack."""

    def __init__(self, job: SeparateJob, in_order: bool) -> None:
        super().__init__()
        self.job = job
        self.in_order = in_order

    def expand(self, tracks: beam.PCollection) -> _Filtered:
        job = self.job
        if not job.method.mwf_iterations:
            return _Filtered(tracks, [])
        short = tracks | 'Short' >> beam.Filter(lambda planned: not is_long(planned, job)).with_output_types(
            PlannedTrack
        )
        long = tracks | 'Long' >> beam.Filter(is_long, job).with_output_types(PlannedTrack)
        failures = []
        for iteration in range(1, job.method.mwf_iterations + 1):
            measured = long | f'Measure{iteration}' >> MeasureTracks(job, iteration, self.in_order)
            long = measured.good
            failures.append(measured.failures)
        return _Filtered((short, long) | 'All' >> beam.Flatten(), failures)


def build_separate(
    pipeline: beam.Pipeline,
    files: ListingFiles,
    job: SeparateJob,
    tables: Tables,
    in_order: bool = True,
) -> None:
    """Add the whole graph to a pipeline.

    Args:
      files: what is to be separated, in the job's OUT.
    """
    listed = pipeline | 'Listing' >> ReadListing(job.storage, files.tracks, read_tracks, Track)
    separated = listed | 'SeparateTracks' >> SeparateTracks(job, in_order)
    earlier = pipeline | 'Former' >> ReadListing(job.storage, files.former, read_former, Completed)
    completed = (separated.completed, earlier) | 'AllCompleted' >> beam.Flatten()
    _ = (completed, separated.failures) | 'WriteTables' >> WriteTables(tables)
