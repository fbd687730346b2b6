"""What passes over a long track leave for its Wiener filter: sums of every segment, and the filter of every iteration.

Small NumPy archives beside the track's parts, so that a run that was killed goes on from them, and so that workers find
the filter wherever they are. Iterations count from 1 up.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from .job import SeparateJob
from .records import PlannedTrack, Segment
from .storage import full_disk_stops_the_run
from .writing import results_folder, segment_name

if TYPE_CHECKING:  # it brings TensorFlow
    from ..model.wiener_records import WienerFilter, WienerSums

SUMS = '.sums.npz'  # what the names of sums end in


def sums_file(segment: Segment, iteration: int) -> str:
    """Where the sums of a segment are, relative to OUT."""
    return f'{results_folder(segment.planned)}/wiener-{iteration}/{segment_name(segment)}{SUMS}'


def filter_file(planned: PlannedTrack, iteration: int) -> str:
    """Where the filter of a track is, relative to OUT."""
    return f'{results_folder(planned)}/wiener-{iteration}.npz'


def has_sums(segment: Segment, iteration: int, job: SeparateJob) -> bool:
    """Whether an earlier run has left the sums of a segment; a power cut may have left an empty file."""
    return not job.overwrite and bool(job.storage.size(sums_file(segment, iteration)))


def has_filter(planned: PlannedTrack, iteration: int, job: SeparateJob) -> bool:
    """Whether an earlier run has left the filter of a track."""
    return not job.overwrite and bool(job.storage.size(filter_file(planned, iteration)))


def write_sums(segment: Segment, iteration: int, sums: WienerSums, seconds: float, job: SeparateJob) -> None:
    """Store the sums of a segment, on which `seconds` were spent. Raises RunError if the disk is full."""
    _write(
        sums_file(segment, iteration),
        job,
        covariances=sums.covariances,
        peak=sums.peak,
        seconds=seconds,
        samples=segment.num_chunks * job.grid.hop,
    )


def read_sums(segment: Segment, iteration: int, job: SeparateJob) -> tuple[WienerSums, float]:
    """The sums of a segment, and the seconds spent on them."""
    from ..model.wiener_records import WienerSums

    stored = _read(sums_file(segment, iteration), job)
    return WienerSums(stored['covariances'], float(stored['peak'])), float(stored['seconds'])


def write_filter(planned: PlannedTrack, iteration: int, made: WienerFilter, seconds: float, job: SeparateJob) -> None:
    """Store the filter of a track, on which `seconds` were spent. Raises RunError if the disk is full."""
    _write(filter_file(planned, iteration), job, covariances=made.covariances, scale=made.scale, seconds=seconds)


def read_filter(planned: PlannedTrack, iteration: int, job: SeparateJob) -> tuple[WienerFilter, float]:
    """The filter of a track, and the seconds spent on this and all former iterations."""
    from ..model.wiener_records import WienerFilter

    stored = _read(filter_file(planned, iteration), job)
    return WienerFilter(stored['covariances'], float(stored['scale'])), float(stored['seconds'])


def _write(path: str, job: SeparateJob, **arrays: Any) -> None:
    content = io.BytesIO()
    np.savez(content, **arrays)
    with full_disk_stops_the_run(job.storage.root):
        job.storage.write_bytes(path, content.getvalue())


def _read(path: str, job: SeparateJob) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(job.storage.read_bytes(path)), allow_pickle=False) as stored:
        return dict(stored)
