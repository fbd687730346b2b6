"""Segments with their audio, which cross from step to step by reference inside one fused stage and never through a
shuffle.

Should a runner break the stage all the same, they can be pickled. Their coder tells their size: without it the runner
would pickle whole segments just to sample how big they are.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
import numpy as np

from .records import Segment

if TYPE_CHECKING:  # it brings TensorFlow
    from ..model.wiener_records import WienerFilter, WienerSums


class DecodedSegment(NamedTuple):
    """A segment with the samples that its chunks read."""

    segment: Segment
    samples: np.ndarray  # float32 (grid.samples_of(chunks), channels): from grid.start(first_chunk) on, zeros outside
    end: int | None  # the track's number of samples, if its end was reached
    seconds: dict[str, float]  # spent per step
    wiener: WienerFilter | None = None  # of the track, if it is made before the track is separated

    @property
    def chunks(self) -> int:
        """Chunks to separate: fewer than planned where the file ends early, more where it goes on."""
        return self.segment.num_chunks


class SeparatedSegment(NamedTuple):
    """A segment with its stems."""

    decoded: DecodedSegment
    stems: np.ndarray  # float32 (stems, samples, channels): contributions at the same places
    rows: np.ndarray | None = None  # of the stems and the mixture: ChunkSeparator.separate_with_rows


class MeasuredSegment(NamedTuple):
    """What a segment contributes to the Wiener filter of its track."""

    segment: Segment
    sums: WienerSums
    seconds: float  # spent on it


class AudioOrRecord:
    """The element type of collections that hold small records beside segments with audio; never made itself."""


class _AudioCoder(beam.coders.Coder):
    """Pickle, with a size that is told and not found by pickling: the runner samples sizes at every step."""

    def encode(self, value: Any) -> bytes:
        return pickle.dumps(value, protocol=5)

    def decode(self, encoded: bytes) -> Any:
        return pickle.loads(encoded)

    def estimate_size(self, value: Any) -> int:
        if isinstance(value, SeparatedSegment):
            rows = 0 if value.rows is None else value.rows.nbytes
            return value.stems.nbytes + value.decoded.samples.nbytes + rows
        if isinstance(value, DecodedSegment):
            return value.samples.nbytes
        if isinstance(value, MeasuredSegment):
            return value.sums.covariances.nbytes
        return sum(map(self.estimate_size, value)) if isinstance(value, list) else 1000

    def is_deterministic(self) -> bool:
        return False


for _type in (AudioOrRecord, DecodedSegment, SeparatedSegment, MeasuredSegment):
    beam.coders.registry.register_coder(_type, _AudioCoder)
