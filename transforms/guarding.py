"""Trouble with one element becomes a Failure record, here and nowhere else; the run goes on.

`Guarded` wraps a plain function. What stops the whole run (RunError: a full disk) passes through.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from ..model.errors import RunError, TrackError
from .records import Failure, Track

logger = logging.getLogger(__name__)

FAILURES = 'failures'


class Guard(NamedTuple):
    """The outputs of a guarded step."""

    good: beam.PCollection
    failures: beam.PCollection


def failure_of(track: Track, stage: str, error: Exception) -> Failure:
    """The row of the failure table for an error; its reason is always one line."""
    reason = ' '.join(str(error).split()) or 'no message'
    if not isinstance(error, TrackError):
        reason = f'{type(error).__name__}: {reason}'
    return Failure(track.uri, track.track_id, stage, type(error).__name__, reason)


class _GuardedDoFn(beam.DoFn):
    def __init__(self, function: Callable[..., Iterable[Any]], stage: str, track_of: Callable[[Any], Track]) -> None:
        self.function = function
        self.stage = stage
        self.track_of = track_of
        self.failed = Metrics.counter('stembeam', f'{stage}-failures')

    def process(self, element: Any, *args: Any) -> Iterator[Any]:
        try:
            yield from self.function(element, *args)
        except RunError:
            raise
        except Exception as error:  # everything else is this track's own trouble: reported, never dropped
            failure = failure_of(self.track_of(element), self.stage, error)
            if not isinstance(error, TrackError):
                logger.warning('%s: unexpected error while %s', failure.uri, self.stage, exc_info=error)
            self.failed.inc()
            yield beam.pvalue.TaggedOutput(FAILURES, failure)


class Guarded(beam.PTransform):
    """Apply a function from an element to an iterable of elements; errors of one element become Failures of `stage`."""

    def __init__(
        self,
        function: Callable[..., Iterable[Any]],
        *args: Any,
        stage: str,
        track_of: Callable[[Any], Track],
        output_type: Any = Any,
    ) -> None:
        """`args` (side inputs among them) go to the function after the element; `track_of` gives an element's track."""
        super().__init__()
        self.function = function
        self.args = args
        self.stage = stage
        self.track_of = track_of
        self.output_type = output_type

    def expand(self, elements: beam.PCollection) -> Guard:
        """Returns a Guard."""
        outputs = elements | beam.ParDo(
            _GuardedDoFn(self.function, self.stage, self.track_of), *self.args
        ).with_outputs(FAILURES, main='good')
        outputs.good.element_type = self.output_type
        return Guard(outputs.good, outputs[FAILURES])
