"""Long tracks put together from the parts of their segments: seams are added, bodies follow one another.

Memory is one block, whatever the length of the track: parts are read as streams, stem after stem.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam
import numpy as np

from .completion import is_complete, read_record, record_path, track_key
from .decoding import decode_blocks
from .finishing import finish_track
from .guarding import Guard, Guarded, under_way
from .job import SeparateJob
from .metrics import ASSEMBLE
from .records import Completed, Part, PlannedTrack, Track
from .watchdog import Watcher, current_watcher, watched_by
from .writing import read_body, read_seams, track_folder


def stem_blocks(parts: list[Part], name: str, end: int, job: SeparateJob) -> Iterator[np.ndarray]:
    """The samples of one stem of a track, float32 (n, channels), from all its parts in order, up to `end`."""
    number = job.instruments.index(name)
    position = 0
    pending: np.ndarray | None = None
    for part in parts:
        seams = read_seams(part, job)[number]
        pieces = read_body(part, name, job)
        if pending is not None:
            yield (pending + seams[0])[: max(0, end - position)]
            position += len(pending)
        for piece in pieces:
            yield piece[: max(0, end - position)]
            position += len(piece)
        pending = seams[1]


def assemble_track(keyed: tuple[str, Iterable[Part]], job: SeparateJob) -> Iterator[Completed]:
    """Finish a long track; nothing comes out if a segment failed, whose failure is on record already.

    Args:
      keyed: the track's key and its parts, in any order; the same part may come twice.
    """
    found = {part.segment.index: part for part in keyed[1]}
    parts = [found[index] for index in sorted(found)]
    segment = parts[0].segment
    if len(parts) == segment.num_segments:
        try:
            completed = _finish(parts, job)
        except FileNotFoundError:
            # Runners do again what they are not sure to have kept; then the parts are gone because the track is made.
            path = record_path(segment.planned.track.track_id)
            record = read_record(job.storage, path)
            if record is None or not is_complete(job.storage, record, segment.planned.fingerprint):
                raise
            completed = Completed(segment.planned.track.track_id, path, is_new=True)
        yield completed
    job.storage.remove_folder(track_folder(segment.planned))


def _finish(parts: list[Part], job: SeparateJob) -> Completed:
    """Make a long track from all its parts, in order."""
    planned = parts[0].segment.planned
    end = min((part.end for part in parts if part.end is not None), default=planned.num_samples)
    seconds: Counter[str] = Counter()
    for part in parts:
        seconds.update(part.seconds)  # type: ignore[arg-type]
    with under_way(job, ASSEMBLE, planned.track):
        watcher = current_watcher()
        return finish_track(
            planned,
            {name: _blocks_of(parts, name, end, job) for name in job.instruments},
            lambda: _mixture_blocks(planned, end, job, watcher),
            end,
            seconds,
            job,
            threads=job.streams,
            stage=ASSEMBLE,
        )


def _blocks_of(parts: list[Part], name: str, end: int, job: SeparateJob) -> Callable[[], Iterator[np.ndarray]]:
    return lambda: stem_blocks(parts, name, end, job)


def _mixture_blocks(planned: PlannedTrack, end: int, job: SeparateJob, watcher: Watcher | None) -> Iterator[np.ndarray]:
    """The input again: decoding once more is cheaper than storing it beside the parts."""
    with watched_by(watcher):
        yield from decode_blocks(
            planned.track.uri,
            planned.info,
            job.model.config.sample_rate,
            start=planned.start,
            stop=planned.start + end,
            channels=job.model.config.channels,
            allow_truncated=job.allow_truncated,
            decoder=job.decoder,
        )


def _by_track(part: Part) -> tuple[str, Part]:
    return track_key(part.segment.planned.track.track_id), part


def _track_of(keyed: tuple[str, Iterable[Part]]) -> Track:
    return next(iter(keyed[1])).segment.planned.track


@dataclasses.dataclass
class AssembleTracks(beam.PTransform):
    """In: Part.  Out: `.good` Completed, `.failures` Failure (stage 'assemble')."""

    job: SeparateJob

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, parts: beam.PCollection) -> Guard:
        """Returns a Guard."""
        return (
            parts
            | 'ByTrack' >> beam.Map(_by_track).with_output_types(tuple[str, Part])
            | 'Gather' >> beam.GroupByKey()
            | 'Assemble'
            >> Guarded(assemble_track, self.job, stage='assemble', track_of=_track_of, output_type=Completed)
        )
