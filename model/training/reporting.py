"""What a training run tells: while it runs, and of itself in the model's folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from ..backend import keras
from .plan import Plan
from .shards import span_of
from .state import Counters


class Moment(NamedTuple):
    """Where a run is."""

    step: int
    steps: int
    losses: Mapping[str, float]  # 'loss', and 'loss/<stem>': means since the last summary
    validation: float  # the last one; NaN before the first
    best: float
    chunks_per_second: float  # NaN while there is nothing to tell it by
    chunks_left: int

    @property
    def seconds_left(self) -> float:
        """At this speed, evaluations not counted."""
        return self.chunks_left / self.chunks_per_second


class Listener(Protocol):
    """Hears of a run."""

    def tell(self, line: str) -> None:
        """Something worth a line happened."""

    def show(self, moment: Moment) -> None:
        """The run has come so far."""


def origin_of(plan: Plan, counters: Counters, devices: int) -> dict[str, Any]:
    """What a model was trained on, for how long and with what result: the content of `training.json`."""
    settings = plan.settings
    chunks = counters.step * settings.batch_size
    seconds = span_of(plan.config, settings.frames(plan.config)) / plan.config.sample_rate
    return {
        'data': plan.describe_data(),
        'steps': counters.step,
        'chunks_seen': chunks,
        'hours_seen': round(chunks * seconds / 3600, 4),
        'training_seconds': round(counters.seconds, 1),
        'loss_type': settings.loss_type,
        'validation': {
            'first': _finite(counters.first_loss),
            'last': _finite(counters.last_loss),
            'best': _finite(counters.best_loss),
            'best_step': counters.best_step,
        },
        'stopped_early': counters.stopped,
        'init_from': {lender.name: lender.fingerprint for lender in plan.lenders},
        'freeze': list(plan.freeze),
        'backend': keras.backend.backend(),
        'devices': devices,
        'settings': settings.to_json(),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
