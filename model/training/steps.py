"""One step of training or evaluation, compiled, on TensorFlow or JAX, on one device or spread over several.

`Steps` hides which library runs: it makes the network under the right distribution, and its functions take a batch
of the input pipeline and give losses as numbers. Distribution is Keras' own: on TensorFlow a MirroredStrategy (batch
norms see the part of the batch on their device), on JAX keras.distribution.DataParallel (they see the whole batch).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import Tensor, keras
from ..configuration import ModelConfig
from ..errors import UsageError
from ..masks import ratio_masks
from .augment import magnitudes
from .inputs import Batch
from .losses import stem_losses
from .schedule import make_optimizer
from .settings import Recipe, Settings

DISTRIBUTIONS = ('none', 'data-parallel')

ops = keras.ops


class Steps(ABC):
    """Compiled steps of a network; `start` must be called before `train`, and whenever layers are frozen or freed."""

    network: keras.Model
    optimizer: keras.optimizers.Optimizer

    def __init__(
        self, config: ModelConfig, settings: Settings, stems: tuple[str, ...], make: Callable[[], Any]
    ) -> None:
        """Build the network.

        Args:
          config: of the model.
          settings: of the run.
          stems: of the batches, in order.
          make: builds the network; called under the distribution.
        """
        self.config = config
        self.settings = settings
        self.unchanged = Recipe(targets=settings.training.targets)  # for evaluation
        self.wanted = [stems.index(stem) for stem in config.instruments]
        self.network = self._build(make)

    def _build(self, make: Callable[[], Any]) -> Any:
        return make()

    def prepare(self, batch: Batch, recipe: Recipe) -> tuple[Tensor, list[Tensor]]:
        """Magnitudes of the mixture and the stems."""
        return magnitudes(batch, self.config, self.wanted, recipe)

    def losses(self, mixture: Tensor, estimates: Any, targets: list[Tensor]) -> Tensor:
        """(chunks, stems)."""
        if not isinstance(estimates, list | tuple):  # Keras 3.5 makes no list of a single output
            estimates = [estimates]
        if self.settings.training.masks == 'ratio':
            estimates = [mixture * mask for mask in ratio_masks(estimates, self.config.separation_exponent)]
        return stem_losses(estimates, targets, self.settings.loss_type, self.settings.training.log_weight)

    @property
    @abstractmethod
    def devices(self) -> int:
        """Over how many devices a batch is spread."""

    @abstractmethod
    def start(self, first: int) -> None:
        """Make a new optimiser, whose first step is step `first` of the run, for what is trainable now."""

    @abstractmethod
    def feed(self, dataset: Any) -> Iterator[Any]:
        """Batches of a dataset in the form that `train` and `evaluate` take."""

    @abstractmethod
    def train(self, batch: Any) -> Any:
        """One step: the losses before it, (stems,), perhaps not yet computed."""

    @abstractmethod
    def evaluate(self, batch: Any) -> np.ndarray:
        """Losses in inference mode, (chunks, stems)."""

    def settle_inputs(self, dataset: Any, count: int) -> Iterator[Tensor]:
        """Magnitudes of the mixtures of the first `count` batches of a dataset."""
        for batch in dataset.take(count).as_numpy_iterator():
            yield self.prepare(batch, self.settings.training)[0]


class TensorFlowSteps(Steps):
    """On TensorFlow: tf.function, under a strategy."""

    def __init__(
        self, config: ModelConfig, settings: Settings, stems: tuple[str, ...], make: Any, spread: bool
    ) -> None:
        """`spread`: over all GPUs, or over all logical CPUs where there is no GPU."""
        import tensorflow as tf

        self.tf = tf
        devices = tf.config.list_logical_devices('GPU') or tf.config.list_logical_devices('CPU')
        self.strategy = (
            tf.distribute.MirroredStrategy([d.name for d in devices]) if spread else tf.distribute.get_strategy()
        )
        super().__init__(config, settings, stems, make)

    def _build(self, make: Callable[[], Any]) -> Any:
        with self.strategy.scope():
            return make()

    @property
    def devices(self) -> int:
        """Replicas."""
        return self.strategy.num_replicas_in_sync

    def feed(self, dataset: Any) -> Iterator[Any]:
        """The strategy's own iterator."""
        options = self.tf.data.Options()
        options.experimental_distribute.auto_shard_policy = self.tf.data.experimental.AutoShardPolicy.OFF
        return iter(self.strategy.experimental_distribute_dataset(dataset.with_options(options)))

    def start(self, first: int) -> None:
        """A new optimiser and newly traced functions."""
        tf = self.tf
        with self.strategy.scope():
            self.optimizer = make_optimizer(self.settings, first)
            self.optimizer.build(self.network.trainable_variables)

        def train(batch: Batch) -> Tensor:
            mixture, targets = self.prepare(batch, self.settings.training)
            variables = self.network.trainable_variables
            with tf.GradientTape() as tape:
                losses = ops.mean(self.losses(mixture, self.network(mixture, training=True), targets), axis=0)
                total = self.optimizer.scale_loss(ops.sum(losses) / self.devices)
            self.optimizer.apply(tape.gradient(total, variables), variables)
            return losses

        def evaluate(batch: Batch) -> Tensor:
            mixture, targets = self.prepare(batch, self.unchanged)
            return self.losses(mixture, self.network(mixture, training=False), targets)

        # Whatever part of a batch a replica gets, the losses are means over it: the mean over replicas is the batch's.
        self._train = tf.function(
            lambda batch: self.strategy.reduce('MEAN', self.strategy.run(train, (batch,)), axis=None), autograph=False
        )
        self._evaluate = tf.function(
            lambda batch: self.strategy.gather(self.strategy.run(evaluate, (batch,)), axis=0), autograph=False
        )

    def train(self, batch: Any) -> Any:
        """One step."""
        return self._train(batch)

    def evaluate(self, batch: Any) -> np.ndarray:
        """Losses in inference mode."""
        return self._evaluate(batch).numpy()


class JaxSteps(Steps):
    """On JAX: a pure function of the weights, jitted; the state is put back into the variables after every step."""

    def __init__(
        self, config: ModelConfig, settings: Settings, stems: tuple[str, ...], make: Any, spread: bool
    ) -> None:
        """`spread`: over all devices that JAX knows."""
        self.distribution = keras.distribution.DataParallel() if spread else None
        super().__init__(config, settings, stems, make)

    def _build(self, make: Callable[[], Any]) -> Any:
        if self.distribution is None:
            return make()
        with self.distribution.scope():
            return make()

    @property
    def devices(self) -> int:
        """Devices of the mesh."""
        return 1 if self.distribution is None else int(np.prod(self.distribution.device_mesh.shape))

    def feed(self, dataset: Any) -> Iterator[Any]:
        """Arrays, spread over the devices."""
        for batch in dataset.as_numpy_iterator():
            yield batch if self.distribution is None else {key: self._spread(value) for key, value in batch.items()}

    def _spread(self, value: np.ndarray) -> Any:
        import jax

        layout = self.distribution.get_data_layout(value.shape)  # type: ignore[union-attr]
        return jax.device_put(value, getattr(layout, 'backend_layout', layout))

    def start(self, first: int) -> None:
        """A new optimiser and newly jitted functions."""
        import jax

        if self.distribution is None:
            self._make_optimizer(first)
        else:
            with self.distribution.scope():
                self._make_optimizer(first)
        network, optimizer = self.network, self.optimizer

        def objective(trained: Any, other: Any, slots: Any, batch: Batch) -> tuple[Tensor, Any]:
            mixture, targets = self.prepare(batch, self.settings.training)
            estimates, other = network.stateless_call(trained, other, mixture, training=True)
            losses = ops.mean(self.losses(mixture, estimates, targets), axis=0)
            with keras.StatelessScope(state_mapping=list(zip(optimizer.variables, slots, strict=True))):
                total = optimizer.scale_loss(ops.sum(losses))
            return total, (losses, other)

        def train(trained: Any, other: Any, slots: Any, batch: Batch) -> Any:
            gradients, (losses, other) = jax.grad(objective, has_aux=True)(trained, other, slots, batch)
            trained, slots = optimizer.stateless_apply(slots, gradients, trained)
            return trained, other, slots, losses

        def evaluate(trained: Any, other: Any, batch: Batch) -> Tensor:
            mixture, targets = self.prepare(batch, self.unchanged)
            estimates, _ = network.stateless_call(trained, other, mixture, training=False)
            return self.losses(mixture, estimates, targets)

        self._train = jax.jit(train, donate_argnums=(0, 1, 2))
        self._evaluate = jax.jit(evaluate)

    def _make_optimizer(self, first: int) -> None:
        self.optimizer = make_optimizer(self.settings, first)
        self.optimizer.build(self.network.trainable_variables)

    def _state(self) -> list[list[Any]]:
        groups = self.network.trainable_variables, self.network.non_trainable_variables
        return [[variable.value for variable in group] for group in groups]

    def train(self, batch: Any) -> Any:
        """One step."""
        *state, losses = self._train(*self._state(), [v.value for v in self.optimizer.variables], batch)
        groups = self.network.trainable_variables, self.network.non_trainable_variables, self.optimizer.variables
        for variables, values in zip(groups, state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return losses

    def evaluate(self, batch: Any) -> np.ndarray:
        """Losses in inference mode."""
        return np.asarray(self._evaluate(*self._state(), batch))


def make_steps(
    config: ModelConfig, settings: Settings, stems: tuple[str, ...], make: Callable[[], Any], distribution: str
) -> Steps:
    """The steps of the library that runs under Keras.

    Raises:
      UsageError: a batch that cannot be spread evenly over the devices; a library that is neither TensorFlow nor JAX.
    """
    kinds: dict[str, Any] = {'tensorflow': TensorFlowSteps, 'jax': JaxSteps}
    name = keras.backend.backend()
    if name not in kinds:
        raise UsageError(f'Keras backend {name}: cannot train: set KERAS_BACKEND to tensorflow or jax')
    steps: Steps = kinds[name](config, settings, stems, make, distribution == 'data-parallel')
    if settings.batch_size % steps.devices:
        raise UsageError(f'batch_size is {settings.batch_size}: it must be a multiple of the {steps.devices} devices')
    return steps
