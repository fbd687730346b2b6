"""Trouble with one element becomes a Failure record, here and nowhere else; the run goes on.

`Guarded` wraps a plain function. What stops the whole run (RunError: a full disk) passes through. Trouble that ends the
process is known by the marks of `under_way`.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from ..model.errors import RunError, TrackError
from ..model.hiding import without_secrets
from .addresses import shown
from .attempts import attempt
from .job import SeparateJob
from .metrics import count_failure
from .records import Failure, Track
from .retrying import side_by_side
from .trial import try_out

logger = logging.getLogger(__name__)

FAILURES = 'failures'
BATCH = 64  # elements, where several are worked on at once


class Guard(NamedTuple):
    """The outputs of a guarded step."""

    good: beam.PCollection
    failures: beam.PCollection


def failure_of(track: Track, stage: str, error: Exception) -> Failure:
    """The row of the failure table for an error; its reason is always one line."""
    reason = ' '.join(without_secrets(str(error)).split()) or 'no message'
    if not isinstance(error, TrackError):
        reason = f'{type(error).__name__}: {reason}'
    return Failure(without_secrets(track.uri), track.track_id, stage, type(error).__name__, reason)


def under_way(job: SeparateJob, stage: str, track: Track, index: int = 0) -> contextlib.AbstractContextManager[None]:
    """Around everything that native code does for a track, or for its segment `index`; see `attempts.attempt`."""

    def try_it_out() -> str | None:
        timeout = 0.0 if job.attempts is None else job.attempts.timeout
        return try_out(track, decoder=job.decoder, allow_truncated=job.allow_truncated, timeout=timeout)

    return attempt(job.attempts, stage, track, try_it_out, index)


class _GuardedDoFn(beam.DoFn):
    def __init__(self, function: Callable[..., Iterable[Any]], stage: str, track_of: Callable[[Any], Track]) -> None:
        self.function = function
        self.stage = stage
        self.track_of = track_of

    # The element alone: of a DoFn whose `process` takes more, Beam keeps the arguments of the last call until the next
    # one, so that a track's audio would stay in memory while the next track is made.
    def process(self, element: Any) -> Iterator[Any]:
        try:
            yield from self.function(element)
        except RunError:
            raise
        except Exception as error:  # everything else is this track's own trouble: reported, never dropped
            failure = failure_of(self.track_of(element), self.stage, error)
            known = {'track': failure.track_id, 'stage': self.stage}
            logger.info('%s failed: %s', self.stage, failure.reason, extra=known)
            if not isinstance(error, TrackError):
                trace = without_secrets(traceback.format_exc())  # as text: handlers that are not ours hide nothing
                logger.warning('%s: unexpected error while %s\n%s', shown(failure.uri), self.stage, trace, extra=known)
            count_failure(self.stage)
            yield beam.pvalue.TaggedOutput(FAILURES, failure)


class _SideBySideDoFn(_GuardedDoFn):
    """The same for lists of elements, which are worked on at the same time."""

    def __init__(self, threads_for: Callable[[list[Any]], int], *guarded: Any) -> None:
        super().__init__(*guarded)
        self.threads_for = threads_for

    def process(self, batch: list[Any]) -> Iterator[Any]:
        one = super().process
        for outputs in side_by_side(lambda element: list(one(element)), batch, self.threads_for(batch)):
            yield from outputs


class Guarded(beam.PTransform):
    """Apply a function from an element to an iterable of elements; errors of one element become Failures of `stage`."""

    def __init__(
        self,
        function: Callable[..., Iterable[Any]],
        *args: Any,
        stage: str,
        track_of: Callable[[Any], Track],
        output_type: Any = Any,
        threads_for: Callable[[list[Any]], int] | None = None,
    ) -> None:
        """`args` (no side inputs) go to the function after the element; `track_of` gives an element's track.

        `output_type`, what the function gives, decides by which coder it crosses a shuffle: see record_coders.py.
        `threads_for` a batch of elements says how many of them are worked on at once; None: one after the other.
        """
        super().__init__()
        self.function = lambda element: function(element, *args)
        self.stage = stage
        self.track_of = track_of
        self.output_type = output_type
        self.threads_for = threads_for

    def expand(self, elements: beam.PCollection) -> Guard:
        """Returns a Guard."""
        guarded: beam.DoFn = _GuardedDoFn(self.function, self.stage, self.track_of)
        if self.threads_for is not None:
            elements = elements | beam.BatchElements(min_batch_size=BATCH, max_batch_size=BATCH)
            guarded = _SideBySideDoFn(self.threads_for, self.function, self.stage, self.track_of)
        outputs = elements | beam.ParDo(guarded).with_outputs(FAILURES, main='good')
        outputs.good.element_type = self.output_type
        outputs[FAILURES].element_type = Failure
        return Guard(outputs.good, outputs[FAILURES])
