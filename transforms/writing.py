"""What becomes of a separated segment: a finished track, if the segment is all of it, or a part for assembly.

A part holds the finished samples of a segment (its body) as the output format will hold them, and in float the few
samples at its borders to which the neighbours add (its seams), so that joining parts gives the very samples of the
whole track.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..model.chunk_rows import rows_of_track
from ..model.crew import CREW
from ..model.errors import TrackError
from .addresses import shown
from .audio_records import SeparatedSegment
from .completion import track_key
from .encoding import clipped, dequantise, quantise
from .feature_tables import MIXTURE
from .finishing import finish_track
from .job import SeparateJob
from .metrics import WRITE, count_stage
from .records import Completed, Part, PlannedTrack, Segment, Track
from .storage import PRIVATE, full_disk_stops_the_run

PARTS = f'{PRIVATE}/parts'
SEAMS = 'seams.npy'  # float32 (stems, 2, tail, channels): contributions to the first samples, and beyond the last
MARKER = 'part.json'  # written last: the part is whole


def track_folder(planned: PlannedTrack) -> str:
    """Where everything is that waits for a track to be put together, relative to OUT."""
    return f'{PARTS}/{track_key(planned.track.track_id)}'


def results_folder(planned: PlannedTrack) -> str:
    """Where that is for these results of the track: what a killed run has left there can be used again."""
    return f'{track_folder(planned)}/{planned.fingerprint[:16]}'


def segment_name(segment: Segment) -> str:
    """A name that holds all of a segment that decides its samples."""
    return f'{segment.index}-{segment.first_chunk}-{segment.num_segments}'


def part_folder(segment: Segment) -> str:
    """Where a segment's part is, relative to OUT."""
    return f'{results_folder(segment.planned)}/{segment_name(segment)}'


def find_part(segment: Segment, job: SeparateJob) -> Part | None:
    """The part of a segment that an earlier run has written, if there is one."""
    if segment.num_segments == 1 or job.overwrite:
        return None
    folder = part_folder(segment)
    try:
        found = json.loads(job.storage.read_bytes(f'{folder}/{MARKER}'))
    except (FileNotFoundError, ValueError):  # not JSON: a power cut may leave a file empty
        return None
    return Part(segment._replace(num_chunks=found.pop('num_chunks')), folder, **found)


def write_segment(separated: SeparatedSegment, job: SeparateJob) -> Iterator[Completed | Part]:
    """Finish the track, or write the segment's part.

    Raises:
      TrackError: the stems are not finite.
      RunError: the disk is full.
    """
    decoded = separated.decoded
    segment = decoded.segment
    if segment.num_segments > 1:
        yield write_part(separated, job)
        return
    lead, end = job.grid.lead, decoded.end
    assert end is not None  # a track's only segment always reaches its end
    yield finish_track(
        segment.planned,
        {name: _once(stem[lead : lead + end]) for name, stem in _checked(separated, job)},
        _once(decoded.samples[lead : lead + end]),
        end,
        decoded.seconds,
        job,
        threads=CREW.room(),
        known=_known_rows(separated, end, job),
    )


def _known_rows(separated: SeparatedSegment, end: int, job: SeparateJob) -> dict[str, np.ndarray]:
    """Spectral rows of the stems and the mixture of a track that is one segment; none if they were not computed."""
    if separated.rows is None:
        return {}
    rows = rows_of_track(separated.rows, job.grid, end)
    return dict(zip((*job.instruments, MIXTURE), rows, strict=True))


def _once(samples: np.ndarray) -> Callable[[], Iterable[np.ndarray]]:
    return lambda: (samples,)


def _checked(separated: SeparatedSegment, job: SeparateJob) -> Iterator[tuple[str, np.ndarray]]:
    """(name, samples) of every stem.

    Raises:
      TrackError: a stem has NaN or infinity: what is far beyond full scale overflows in the network.
    """
    for name, stem in zip(job.instruments, separated.stems, strict=True):
        # NaN is both minimum and maximum; an array of flags would be a copy.
        if stem.size and not (np.isfinite(stem.min()) and np.isfinite(stem.max())):
            raise not_finite(separated.decoded.segment.planned.track, f'stem {name} comes out with')
        yield name, stem


def not_finite(track: Track, what: str) -> TrackError:
    """The error for a track of which `what` NaN or infinity."""
    return TrackError(
        f'{shown(track.uri)}: {what} NaN or infinity: the input is far beyond full scale (1.0): scale it down'
    )


def _keeps_floats(job: SeparateJob) -> bool:
    """Whether later steps need more than what the output format holds: lossy encoders and resampling do."""
    return not job.stem_format.lossless or job.output_rate != job.model.config.sample_rate


def write_part(separated: SeparatedSegment, job: SeparateJob) -> Part:
    """Store a segment of a long track. Raises RunError if the disk is full."""
    began = time.perf_counter()
    grid, decoded = job.grid, separated.decoded
    segment = decoded.segment
    # Positions in the segment's array: zeros in front of the track have no samples, seams belong to assembly.
    first = grid.lead if segment.index == 0 else grid.tail
    last = segment.num_chunks * grid.hop
    if decoded.end is not None:
        last = min(last, decoded.end - grid.start(segment.first_chunk))
    last = max(first, last)
    seams = np.zeros((len(job.instruments), 2, grid.tail, job.model.config.channels), np.float32)
    folder = part_folder(segment)
    with (
        job.storage.new_folder() as local,
        full_disk_stops_the_run(job.storage.root),
    ):
        for number, (name, stem) in enumerate(_checked(separated, job)):
            body = stem[first:last]
            # Floats where something will be clipped: only in them can the samples beyond full scale be counted.
            keeps_floats = _keeps_floats(job) or clipped(body)
            np.save(os.path.join(local, f'{name}.npy'), body if keeps_floats else quantise(body, job.stem_format))
            if segment.num_chunks:
                seams[number, 0] = stem[: grid.tail]
                seams[number, 1] = stem[segment.num_chunks * grid.hop :]
        np.save(os.path.join(local, SEAMS), seams)
        names = sorted(os.listdir(local))
        size = sum(os.path.getsize(os.path.join(local, name)) for name in names)
        for name in names:
            job.storage.publish(os.path.join(local, name), f'{folder}/{name}')
    seconds = {**decoded.seconds, 'write': time.perf_counter() - began}
    found: dict[str, Any] = {'body_samples': last - first, 'end': decoded.end, 'seconds': seconds}
    job.storage.write_bytes(f'{folder}/{MARKER}', json.dumps({**found, 'num_chunks': segment.num_chunks}).encode())
    count_stage(WRITE, seconds['write'], segments=1, bytes_in=separated.stems.nbytes, bytes_out=size)
    return Part(segment, folder, **found)


def read_body(part: Part, name: str, job: SeparateJob, block_samples: int = 1 << 20) -> Iterator[np.ndarray]:
    """The finished samples of one stem of a part, float32 (n, channels), block by block."""
    with job.storage.local_copy(f'{part.folder}/{name}.npy') as path:
        body = np.load(path, mmap_mode='r', allow_pickle=False)
        for first in range(0, len(body), block_samples):
            block = np.array(body[first : first + block_samples])
            yield block if block.dtype == np.float32 else dequantise(block, job.stem_format)


def read_seams(part: Part, job: SeparateJob) -> np.ndarray:
    """The seams of a part, float32 (stems, 2, tail, channels)."""
    with job.storage.local_copy(f'{part.folder}/{SEAMS}') as path:
        return np.load(path, allow_pickle=False)
