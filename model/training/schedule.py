"""The learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import Any

from ..backend import Tensor, keras
from .settings import Settings

ADADELTA_RATE = 1e-3  # Spleeter takes TensorFlow's default, whatever learning_rate says

ops = keras.ops


def learning_rate(settings: Settings, step: Tensor) -> Tensor:
    """The learning rate of a step (a number or a tensor, from 0).

    Linear warm-up, once more after the batch norms settle (the optimiser starts anew there), times a constant or half
    a cosine from 1 to `final_rate` over the whole run.
    """
    recipe = settings.training
    step = ops.cast(step, 'float32')
    rate = ADADELTA_RATE if settings.optimizer == 'Adadelta' else settings.learning_rate
    result = ops.ones_like(step) * rate
    if recipe.schedule == 'cosine':
        angle = math.pi * ops.minimum(step / settings.train_max_steps, 1.0)
        result = result * (recipe.final_rate + (1 - recipe.final_rate) * 0.5 * (1 + ops.cos(angle)))
    if recipe.warmup_steps > 0:
        since = ops.where(step < settings.settles_at, step, step - settings.settles_at)
        result = result * ops.minimum(1.0, (since + 1) / recipe.warmup_steps)
    return result


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """`learning_rate` for an optimiser that began at step `first`."""

    def __init__(self, settings: Settings, first: int) -> None:
        """`first`: the step of the run at which the optimiser's own count is 0."""
        super().__init__()
        self.settings = settings
        self.first = first

    def __call__(self, step: Tensor) -> Tensor:
        """The rate at the optimiser's count of steps."""
        return learning_rate(self.settings, ops.cast(step, 'float32') + self.first)

    def get_config(self) -> dict[str, Any]:
        """What Keras asks of every schedule; ours is never rebuilt from it."""
        return {'settings': self.settings.to_json(), 'first': self.first}


def make_optimizer(settings: Settings, first: int) -> keras.optimizers.Optimizer:
    """The optimiser of a configuration with Spleeter's constants, for steps from `first` on."""
    options: dict[str, Any] = {'clipnorm': settings.training.clipnorm}
    rate = Schedule(settings, first)
    if settings.optimizer == 'Adadelta':
        optimizer = keras.optimizers.Adadelta(rate, rho=0.95, epsilon=1e-8, **options)
    elif settings.optimizer == 'SGD':
        optimizer = keras.optimizers.SGD(rate, **options)
    else:
        optimizer = keras.optimizers.Adam(rate, epsilon=1e-8, **options)
    if settings.training.precision == 'mixed_float16':
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
