"""Long tracks put together from the parts of their segments: seams are added, bodies follow one another.

Memory is one block, whatever the length of the track: parts are read as streams, stem after stem.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam
import numpy as np

from .decoding import decode_blocks
from .finishing import finish_track
from .guarding import Guard, Guarded
from .job import SeparateJob
from .records import Completed, Part, PlannedTrack, Track
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
      keyed: the track's id and its parts, in any order; the same part may come twice.
    """
    found = {part.segment.index: part for part in keyed[1]}
    parts = [found[index] for index in sorted(found)]
    segment = parts[0].segment
    if len(parts) == segment.num_segments:
        planned = segment.planned
        end = min((part.end for part in parts if part.end is not None), default=planned.num_samples)
        seconds: Counter[str] = Counter()
        for part in parts:
            seconds.update(part.seconds)  # type: ignore[arg-type]
        yield finish_track(
            planned,
            {name: _blocks_of(parts, name, end, job) for name in job.instruments},
            lambda: _mixture_blocks(planned, end, job),
            end,
            seconds,
            job,
            threads=job.streams,
        )
    job.storage.remove_folder(track_folder(segment.planned))


def _blocks_of(parts: list[Part], name: str, end: int, job: SeparateJob) -> Callable[[], Iterator[np.ndarray]]:
    return lambda: stem_blocks(parts, name, end, job)


def _mixture_blocks(planned: PlannedTrack, end: int, job: SeparateJob) -> Iterator[np.ndarray]:
    """The input again: decoding once more is cheaper than storing it beside the parts."""
    return decode_blocks(
        planned.track.uri,
        planned.info,
        job.model.config.sample_rate,
        start=planned.start,
        stop=planned.start + end,
        channels=job.model.config.channels,
        allow_truncated=job.allow_truncated,
        decoder=job.decoder,
    )


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
            | 'ByTrack' >> beam.Map(lambda part: (part.segment.planned.track.track_id, part))
            | 'Gather' >> beam.GroupByKey()
            | 'Assemble' >> Guarded(assemble_track, self.job, stage='assemble', track_of=_track_of)
        )
