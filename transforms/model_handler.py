"""Beam's way to our model: one copy in a process, whichever steps of however many threads use it.

RunInference by itself shares a model among the threads of one step only; here steps share it too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from apache_beam.ml.inference.base import ModelHandler
from apache_beam.utils.shared import Shared

from .audio_records import DecodedSegment
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
        tag = repr((job.model.fingerprint, job.model.weights, method, job.engine, job.batch_size))
        return _LOADED.acquire(self._load, tag)

    def _load(self) -> Any:
        # Here and not above: only processes that separate load an engine.
        from ..model.separator import load_chunk_separator

        began = time.perf_counter()
        job = self.job
        model = load_chunk_separator(
            job.model, job.batch_size, job.method, job.engine, job.streams, self._for_16_bits, self._with_rows
        )
        _loads.append(time.perf_counter() - began)
        return model

    def get_num_bytes(self, batch: Sequence[DecodedSegment]) -> int:
        """Bytes of the batch's samples; Beam's own way would pickle them to count."""
        return sum(decoded.samples.nbytes for decoded in batch)

    def get_resource_hints(self) -> dict[str, Any]:
        """What the workers of this step must have; none of the other steps asks for it."""
        return dict(self.job.hints)

    def get_metrics_namespace(self) -> str:
        """Where Beam's inference metrics go."""
        return 'stembeam-inference'

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Segments are gathered until they hold as many chunks as the network takes at once."""
        weight = self.job.batch_size or 1
        if weight == 1:
            return {'min_batch_size': 1, 'max_batch_size': 1}
        return {'min_batch_size': weight, 'max_batch_size': weight, 'element_size_fn': chunk_weight}


def count_loads() -> None:
    """Count the models that were loaded in this process; from within `run_inference`."""
    while _loads:
        count(LOAD_MILLISECONDS, round(1000 * _loads.pop()))
        count(MODELS_LOADED)


def chunk_weight(decoded: DecodedSegment) -> int:
    """How much of a batch a segment fills: its chunks."""
    return max(1, decoded.chunks)
