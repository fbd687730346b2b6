"""Beam's way to our model: one copy in a process, whichever steps of however many threads use it.

RunInference by itself shares a model among the threads of one step only; here steps share it too. And it keeps audio
longer than needed, the track before the one that is worked on and the one behind it: see `BatchSegments`, `release`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler
from apache_beam.utils.shared import Shared

from ..model.crew import CREW
from ..model.recycling import RECYCLER
from .audio_records import AudioOrRecord, DecodedSegment
from .job import SeparateJob
from .metrics import LOAD_MILLISECONDS, MODELS_LOADED, count

Out = TypeVar('Out')

_LOADED = Shared()  # the model of this process
_loads: list[float] = []  # seconds that loading took, not counted yet: runners lose what is counted while they set up


class SegmentHandler(ModelHandler[DecodedSegment, Out, Any]):
    """What all steps have in common that give segments to the model; `run_inference` is theirs."""

    def __init__(self, job: SeparateJob) -> None:
        """The job names the model, the method, the batch size and the threads that will call."""
        super().__init__()
        self.job = job

    @property
    def _for_16_bits(self) -> bool:
        return self.job.stem_format.bits == 16 and self.job.output_rate == self.job.model.config.sample_rate

    @property
    def _with_rows(self) -> bool:
        # Rows are those of the samples as written; 24 bits, which only the host rounds to, are left to it.
        job = self.job
        return job.features and job.stem_format.bits in (None, 16) and job.output_rate == job.model.config.sample_rate

    def load_model(self) -> Any:
        """A ChunkSeparator, shared by all steps and threads of the process."""
        job = self.job
        method = job.method, self._for_16_bits, self._with_rows
        tag = repr((job.model.fingerprint, job.model.weights, method, job.batch_size))
        return _LOADED.acquire(self._load, tag)

    def _load(self) -> Any:
        # Here and not above: only processes that separate load an engine.
        from ..model.separator import load_chunk_separator

        began = time.perf_counter()
        job = self.job
        model = load_chunk_separator(
            job.model, job.batch_size, job.method, job.streams, self._for_16_bits, self._with_rows
        )
        model.zeros = RECYCLER.zeros
        CREW.size = job.streams or 0
        model.crew = CREW
        _loads.append(time.perf_counter() - began)
        return model

    def get_num_bytes(self, batch: Sequence[DecodedSegment]) -> int:
        """Bytes of the batch's samples, which are gone by then; Beam's own way would pickle them to count."""
        grid, channels = self.job.grid, self.job.model.config.channels
        return sum(4 * channels * grid.samples_of(decoded.chunks) for decoded in batch if decoded.chunks)

    def should_skip_batching(self) -> bool:
        """BatchSegments makes the batches."""
        return True

    def get_resource_hints(self) -> dict[str, Any]:
        """What the workers of this step must have; none of the other steps asks for it."""
        return dict(self.job.hints)

    def get_metrics_namespace(self) -> str:
        """Where Beam's inference metrics go."""
        return 'stembeam-inference'


def load_ahead(handler: SegmentHandler[Any]) -> None:
    """Begin to load the model in this process, before the steps ask for it, which then wait for it only as far as they
    must: they are set up and decode at the same time.
    """

    def load() -> None:
        with contextlib.suppress(Exception):  # the steps load it again, and raise it
            handler.load_model()

    threading.Thread(target=load, name='load', daemon=True).start()


class BatchSegments(beam.PTransform):
    """Gathers segments until they hold as many chunks as the network takes at once. In: DecodedSegment. Out: lists."""

    def __init__(self, job: SeparateJob) -> None:
        """The job has the batch size."""
        super().__init__()
        self.job = job

    def expand(self, segments: beam.PCollection) -> beam.PCollection:
        """Returns the batches."""
        weight = self.job.batch_size or 1
        if weight == 1:  # Beam's batches are handed on when the next segment is decoded, not before
            return segments | 'Single' >> beam.Map(lambda decoded: [decoded]).with_output_types(AudioOrRecord)
        return segments | 'Gather' >> beam.BatchElements(
            min_batch_size=weight, max_batch_size=weight, element_size_fn=chunk_weight
        )


def release(batch: Sequence[DecodedSegment]) -> list[DecodedSegment]:
    """The segments of a batch, of which the batch itself keeps all but the samples: Beam keeps it until the next one
    comes.
    """
    segments = list(batch)
    if isinstance(batch, list):
        batch[:] = [decoded._replace(samples=decoded.samples[:0].copy()) for decoded in segments]
    return segments


def count_loads() -> None:
    """Count the models that were loaded in this process; from within `run_inference`."""
    while _loads:
        count(LOAD_MILLISECONDS, round(1000 * _loads.pop()))
        count(MODELS_LOADED)


def chunk_weight(decoded: DecodedSegment) -> int:
    """How much of a batch a segment fills: its chunks."""
    return max(1, decoded.chunks)
