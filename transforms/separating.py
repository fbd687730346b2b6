"""The fused middle of the pipeline: a segment's samples are read, and RunInference makes stems of them.

Audio crosses from step to step by reference, never through a shuffle. The model is loaded once per process
(model_handler.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..model.crew import CREW
from ..model.errors import TrackError
from ..model.recycling import RECYCLER
from .audio_records import DecodedSegment, SeparatedSegment
from .decoding import decode_blocks
from .guarding import under_way
from .job import SeparateJob
from .metrics import CHUNKS, DECODE, SEPARATE, count, count_stage
from .model_handler import SegmentHandler, count_loads, release
from .records import Part, Segment
from .wiener_files import read_filter
from .writing import find_part

# How far beyond its header's promise a file may go on: more than a segment's worth could not be held in memory.
MOST_UNPROMISED_SECONDS = 600


def decode_segment(segment: Segment, job: SeparateJob) -> Iterator[Part | DecodedSegment]:
    """What is needed to separate a segment, or its Part if a run that was killed has left it.

    Raises:
      TrackError: whatever makes the file unreadable.
    """
    part = find_part(segment, job)
    if part is not None:
        yield part
        return
    # Later steps get the segment from within: the thread is at work until its stems are written.
    with CREW.at_work(), under_way(job, DECODE, segment.planned.track, segment.index):
        yield _with_filter(read_segment(segment, job), job)


def _with_filter(decoded: DecodedSegment, job: SeparateJob) -> DecodedSegment:
    segment = decoded.segment
    if segment.num_segments == 1 or not job.method.mwf_iterations:
        return decoded
    wiener, seconds = read_filter(segment.planned, job.method.mwf_iterations, job)
    spent = {'wiener': seconds} if segment.index == 0 else {}  # on the track, so only one segment tells
    return decoded._replace(wiener=wiener, seconds={**decoded.seconds, **spent})


def read_segment(segment: Segment, job: SeparateJob) -> DecodedSegment:
    """The samples of a segment.

    Raises:
      TrackError: whatever makes the file unreadable.
    """
    began = time.perf_counter()
    grid, planned, config = job.grid, segment.planned, job.model.config
    is_last = segment.index == segment.num_segments - 1
    position = grid.start(segment.first_chunk)
    samples = RECYCLER.zeros((grid.samples_of(segment.num_chunks), config.channels))
    # The end of the last segment is the file's own, whatever the header says, unless the user set it.
    limit = planned.num_samples
    if is_last and job.duration is None:
        limit += MOST_UNPROMISED_SECONDS * config.sample_rate
    first = max(position, 0)
    stop = limit if is_last else min(position + len(samples), limit)
    filled = first - position
    blocks = decode_blocks(
        planned.track.uri,
        planned.info,
        config.sample_rate,
        start=planned.start + first,
        stop=planned.start + stop,
        channels=config.channels,
        allow_truncated=job.allow_truncated,
        decoder=job.decoder,
    )
    for block in blocks:
        if filled + len(block) > len(samples):
            samples = np.concatenate([samples[:filled], np.zeros((len(block) + grid.hop, config.channels), np.float32)])
        samples[filled : filled + len(block)] = block
        filled += len(block)
    reached = position + filled
    if is_last and job.duration is None and reached >= limit:
        raise TrackError(
            f'{planned.track.uri}: goes on for more than {MOST_UNPROMISED_SECONDS} s beyond the '
            f'{planned.num_samples / config.sample_rate:.0f} s that its header promises: remux or convert the file'
        )
    if first == 0 and filled <= -position:
        raise TrackError(f'{planned.track.uri}: no samples could be decoded: the file is damaged')
    end = max(reached, 0) if is_last or reached < stop else None
    chunks = segment.num_chunks if end is None else max(0, grid.num_chunks(end) - segment.first_chunk)
    chunks = chunks if is_last else min(chunks, segment.num_chunks)
    length = grid.samples_of(chunks) if chunks else 0
    if length > len(samples):
        samples = np.concatenate([samples, np.zeros((length - len(samples), config.channels), np.float32)])
    took = time.perf_counter() - began
    count_stage(DECODE, took, segments=1, audio=(reached - first) / config.sample_rate, bytes_out=samples.nbytes)
    return DecodedSegment(segment._replace(num_chunks=chunks), samples[:length], end, {'decode': took})


class StemModelHandler(SegmentHandler[SeparatedSegment]):
    """Segments to their stems."""

    def run_inference(
        self, batch: Sequence[DecodedSegment], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[SeparatedSegment]:
        """Separate the segments of a batch; their chunks go through the network together."""
        count_loads()
        began = time.perf_counter()
        segments = release(batch)
        found = _separate(segments, model)
        took = time.perf_counter() - began
        chunks = sum(decoded.chunks for decoded in segments)
        count_stage(
            SEPARATE,
            took,
            segments=len(segments),
            audio=sum(map(self._seconds, segments)),
            bytes_in=sum(decoded.samples.nbytes for decoded in segments),
            bytes_out=sum(stems.nbytes for stems, _ in found),
        )
        count(CHUNKS, chunks)
        for decoded, (stems, rows) in zip(segments, found, strict=True):
            share = took * decoded.chunks / max(chunks, 1)
            yield SeparatedSegment(decoded._replace(seconds={**decoded.seconds, 'separate': share}), stems, rows)

    def _seconds(self, decoded: DecodedSegment) -> float:
        """Of audio in a segment: up to where the next one begins, or to the end of the track."""
        grid, segment = self.job.grid, decoded.segment
        last = segment.num_chunks * grid.hop
        if decoded.end is not None:
            last = min(last, decoded.end - grid.start(segment.first_chunk))
        return max(0, last - (grid.lead if segment.index == 0 else 0)) / self.job.model.config.sample_rate


def _separate(batch: Sequence[DecodedSegment], model: Any) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """The stems of every segment, and spectral rows if there are any; whole tracks, which have no Wiener filter yet, in
    a call of their own.
    """
    found: list[Any] = [None] * len(batch)
    for has_filter in (False, True):
        rows = [row for row, decoded in enumerate(batch) if (decoded.wiener is not None) == has_filter]
        filters = [batch[row].wiener for row in rows] if has_filter else None
        if rows:
            runs = [batch[row].samples for row in rows]
            for row, separated in zip(rows, model.separate_with_rows(runs, filters), strict=True):
                found[row] = separated
    return found
