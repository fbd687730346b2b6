"""The training loop of the bundled model: Adam on the L1 distance of masked magnitudes, over random mixtures of a bank.

    python -m stembeam.model.training.train --bank BANK --out FOLDER --minutes 40 [--threads 2]

FOLDER gets `config.json` and `weights.npz` (a model that `--model FOLDER` takes), `state.npz` to resume from and
`log.jsonl`. Run again with the same FOLDER to go on after a kill: a batch depends on the seed and the number of its
step alone, and the state holds everything else, so the losses go on as if nothing had happened.

Training has two phases. In the last part (`settled`) the statistics of the batch norms, estimated anew over many
batches, stand still, so that the network learns with the very numbers that separation uses; with small batches of
loud and quiet chunks, the statistics of a batch are far from them.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Tensor, keras
from ..checkpoint import CONVS_PER_STEM, WEIGHTS_FILE, extract_weights, layer_name
from ..configuration import ModelConfig, config_from_json
from ..errors import UsageError
from ..unet import build_unet
from .mixing import Bank, Batch, MixingRules, draw_batch
from .render_bank import STEMS

logger = logging.getLogger(__name__)

STATE_FILE = 'state.npz'
INPUT_SCALE = 0.05  # magnitudes run into the hundreds: fresh first kernels are made smaller by this
INFERENCE_FRAMES = 512  # T of the model that is written; training may use shorter chunks
NORM_GAIN = 4.0  # of fresh batch norms: at one, all but the loudest bins stay where ELU is a straight line
NORM_BATCHES = 40  # batches over which the statistics of the batch norms are estimated anew
AHEAD = 6  # batches drawn ahead of the network


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What determines a training run beside the bank."""

    steps: int
    batch_size: int = 4
    frames: int = 256  # of the chunks trained on; the network takes any multiple of 64
    learning_rate: float = 6e-3
    warm_steps: int = 100
    settled: float = 0.65  # share of the steps with standing batch norms
    dropout: float = 0.0
    log_weight: float = 4.0  # of the squared difference of log(1 + magnitude) beside the L1 distance
    seed: int = 1

    @property
    def settles_at(self) -> int:
        """The first step with standing batch norms."""
        return max(1, round(self.steps * (1 - self.settled)))

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm start (again when the norms settle), cosine decay to 1%."""
        since = step if step < self.settles_at else step - self.settles_at
        warm = min(1.0, (since + 1) / self.warm_steps)
        return self.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1.0))))


def mini_config(
    filters: tuple[int, ...], frames: int = INFERENCE_FRAMES, stems: tuple[str, ...] = STEMS
) -> ModelConfig:
    """The configuration of the bundled model: ELU as in Spleeter's 4stems, average mask above the bins."""
    return ModelConfig(
        instruments=stems,
        frames=frames,
        mask_extension='average',
        conv_activation='ELU',
        deconv_activation='ELU',
        conv_filters=filters,
    )


def magnitude_loss(log_weight: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The distance of two magnitudes: L1 as Spleeter has it, and the mean square on a logarithmic scale.

    L1 alone has a trap: its best guess for a bin is the median, which is silence for a stem that sounds in fewer than
    half of its bins, and at silence the sigmoid has no slope left to leave by. (The vocals fell into it.) The second
    term wants the mean.
    """

    def loss(target: Tensor, estimate: Tensor) -> Tensor:
        ops = keras.ops
        logs = ops.square(ops.log1p(estimate) - ops.log1p(target))
        return ops.mean(ops.abs(estimate - target)) + log_weight * ops.mean(logs)

    return loss


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz file that appears whole or not at all."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    with open(temporary, 'wb') as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)


def write_model(config: ModelConfig, weights: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write configuration and weights; kernels and biases as float16, norms (whose range is wide) as float32."""
    stored = {
        name: value.astype(np.float32 if name.startswith('batch_normalization') else np.float16)
        for name, value in weights.items()
    }
    temporary = folder / f'.config.json.{os.getpid()}'
    temporary.write_text(json.dumps(config.to_json(), indent=2) + '\n', encoding='utf-8')
    temporary.replace(folder / 'config.json')
    write_arrays(folder / WEIGHTS_FILE, stored)


class Trainer:
    """A network with its optimiser at some step of a recipe; `advance` is one step, `save` and `restore` resume."""

    def __init__(self, config: ModelConfig, recipe: Recipe) -> None:
        """Fresh weights at step 0."""
        self.recipe = recipe
        self.config = dataclasses.replace(config, frames=recipe.frames)
        self.step = 0
        keras.utils.set_random_seed(recipe.seed)
        self.network = build_unet(self.config)
        first_layers = {layer_name('conv2d', CONVS_PER_STEM * stem) for stem in range(len(config.instruments))}
        for layer in self.network.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = recipe.dropout
            elif layer.name in first_layers:
                layer.kernel.assign(layer.kernel * INPUT_SCALE)
            elif isinstance(layer, keras.layers.BatchNormalization):
                layer.gamma.assign(layer.gamma * NORM_GAIN)
        self._compile()

    def _compile(self) -> None:
        standing = self.step >= self.recipe.settles_at
        for layer in self.network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = not standing
        optimizer = keras.optimizers.Adam(self.recipe.rate(self.step), clipnorm=1.0)
        losses = [magnitude_loss(self.recipe.log_weight)] * len(self.config.instruments)
        self.network.compile(optimizer, loss=losses, jit_compile=False)
        optimizer.build(self.network.trainable_variables)

    def advance(self, batch: Batch) -> float:
        """One step on a batch: the loss before it, summed over stems."""
        self.network.optimizer.learning_rate.assign(self.recipe.rate(self.step))
        self.network.reset_metrics()
        loss = self.network.train_on_batch(batch.mixture, batch.stems, return_dict=True)['loss']
        self.step += 1
        return float(loss)

    def loss(self, batches: list[Batch]) -> float:
        """Loss in inference mode, mean over batches."""
        self.network.reset_metrics()
        result: Any = None
        for batch in batches:
            result = self.network.test_on_batch(batch.mixture, batch.stems, return_dict=True)
        return float(result['loss'])

    def settle(self, batches: Iterator[Batch]) -> None:
        """Estimate the statistics of the batch norms anew as plain means over batches, then let them stand."""
        norms = [layer for layer in self.network.layers if isinstance(layer, keras.layers.BatchNormalization)]
        momenta = [norm.momentum for norm in norms]
        for number, batch in enumerate(batches):
            for norm in norms:
                norm.momentum = number / (number + 1)
            self.network(batch.mixture, training=True)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self._compile()

    def save(self, path: Path) -> None:
        """Write everything that the next steps depend on."""
        arrays = {'step': np.asarray(self.step), 'recipe': np.asarray(json.dumps(dataclasses.asdict(self.recipe)))}
        arrays['config'] = np.asarray(json.dumps(self.config.to_json()))
        for kind, variables in (('model', self.network.variables), ('optimizer', self.network.optimizer.variables)):
            arrays.update({f'{kind}/{i}': np.asarray(variable) for i, variable in enumerate(variables)})
        write_arrays(path, arrays)

    @classmethod
    def restore(cls, path: Path) -> Trainer:
        """The trainer that `save` wrote. Raises UsageError where the file is not one."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = dict(archive)
            recipe = Recipe(**json.loads(str(arrays['recipe'])))
            trainer = cls(config_from_json(json.loads(str(arrays['config']))), recipe)
            trainer.step = int(arrays['step'])
            trainer._compile()
            for kind, variables in (
                ('model', trainer.network.variables),
                ('optimizer', trainer.network.optimizer.variables),
            ):
                for i, variable in enumerate(variables):
                    variable.assign(arrays[f'{kind}/{i}'])
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise UsageError(f'{path}: not a training state ({error}); delete it to start anew') from error
        return trainer


def draw_ahead(bank: Bank, trainer: Trainer, first: int, count: int, kind: int, threads: int = 2) -> Iterator[Batch]:
    """Batches first .. first + count - 1 in order, drawn by threads while the caller works; `kind` separates uses."""
    recipe = trainer.recipe
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        waiting: deque[concurrent.futures.Future[Batch]] = deque()
        for number in range(first, first + count + AHEAD):
            if number < first + count:
                seed = [recipe.seed, kind, number]
                waiting.append(pool.submit(draw_batch, bank, trainer.config, recipe.batch_size, MixingRules(), seed))
            if number >= first + AHEAD:
                yield waiting.popleft().result()


def measure_steps(config: ModelConfig, bank: Bank, recipe: Recipe, minutes: float) -> int:
    """Steps that fit into a time, by running a few on a network that is thrown away."""
    trainer = Trainer(config, recipe)
    times = []
    for batch in draw_ahead(bank, trainer, 0, 14, kind=9):
        trainer.advance(batch)
        times.append(time.monotonic())
    seconds = (times[-1] - times[3]) / (len(times) - 4)
    return max(20, int(minutes * 60 * 0.95 / seconds))


def _append(path: Path, record: dict[str, Any]) -> None:
    with open(path, 'a', encoding='utf-8') as file:
        file.write(json.dumps(record) + '\n')
    logger.info('%s', ', '.join(f'{k} {v:.4g}' if isinstance(v, float) else f'{k} {v}' for k, v in record.items()))


def train(trainer: Trainer, bank_folder: Path, out: Path, every_minutes: float = 2.0) -> None:
    """Run a trainer to the end of its recipe, writing model, state and log on the way."""
    banks = {split: Bank(bank_folder, split, STEMS, trainer.config.sample_rate) for split in ('train', 'held-out')}
    held = list(draw_ahead(banks['held-out'], trainer, 0, 6, kind=2))
    recipe, saved, recent = trainer.recipe, time.monotonic(), []
    public = dataclasses.replace(trainer.config, frames=INFERENCE_FRAMES)
    started, first = time.monotonic(), trainer.step
    while trainer.step < recipe.steps:
        end = recipe.settles_at if trainer.step < recipe.settles_at else recipe.steps
        for batch in draw_ahead(banks['train'], trainer, trainer.step, end - trainer.step, kind=1):
            recent.append(trainer.advance(batch))
            due = time.monotonic() - saved > every_minutes * 60
            if due and trainer.step != recipe.settles_at:  # there, only settled norms are worth keeping
                pace = (time.monotonic() - started) / (trainer.step - first)
                progress = {'step': trainer.step, 'of': recipe.steps, 'seconds_per_step': pace}
                _append(out / 'log.jsonl', {**progress, 'loss': float(np.mean(recent)), 'held_out': trainer.loss(held)})
                trainer.save(out / STATE_FILE)
                write_model(public, extract_weights(trainer.network, public), out)
                saved, recent = time.monotonic(), []
        if trainer.step == recipe.settles_at:
            trainer.settle(draw_ahead(banks['train'], trainer, 0, NORM_BATCHES, kind=4))
            trainer.save(out / STATE_FILE)
            write_model(public, extract_weights(trainer.network, public), out)
    trainer.save(out / STATE_FILE)
    write_model(public, extract_weights(trainer.network, public), out)
    _append(out / 'log.jsonl', {'step': trainer.step, 'of': recipe.steps, 'held_out': trainer.loss(held)})


def set_threads(threads: int) -> None:
    """Let TensorFlow use so many cores inside an operation; other backends size themselves."""
    if keras.backend.backend() == 'tensorflow':
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m stembeam.model.training.train', description=__doc__.split('\n')[0])
    parser.add_argument('--bank', type=Path, required=True, help='folder that render_bank wrote')
    parser.add_argument('--out', type=Path, required=True, help='folder of the model and of what is needed to resume')
    parser.add_argument(
        '--minutes', type=float, default=40.0, help='steps are measured to fit, unless --steps is given'
    )
    parser.add_argument('--steps', type=int, help='length of the schedule in steps')
    parser.add_argument('--filters', type=int, nargs=6, default=[8, 16, 32, 48, 64, 128])
    parser.add_argument('--stems', nargs='+', choices=STEMS, default=STEMS, help='train the networks of these alone')
    parser.add_argument('--batch-size', type=int, default=Recipe.batch_size)
    parser.add_argument('--frames', type=int, default=Recipe.frames)
    parser.add_argument('--learning-rate', type=float, default=Recipe.learning_rate)
    parser.add_argument('--log-weight', type=float, default=Recipe.log_weight)
    parser.add_argument('--settled', type=float, default=Recipe.settled, help='share of the steps with standing norms')
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--seed', type=int, default=Recipe.seed)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Command line of the training; exit status 0, or 2 with one line where something is wrong."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    set_threads(options.threads)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        state = options.out / STATE_FILE
        if state.exists():
            trainer = Trainer.restore(state)
            logger.info('going on at step %d of %d', trainer.step, trainer.recipe.steps)
        else:
            config = mini_config(tuple(options.filters), stems=tuple(options.stems))
            recipe = Recipe(
                steps=options.steps or 1000,
                batch_size=options.batch_size,
                frames=options.frames,
                learning_rate=options.learning_rate,
                settled=options.settled,
                log_weight=options.log_weight,
                seed=options.seed,
            )
            if options.steps is None:
                bank = Bank(options.bank, 'train', STEMS, config.sample_rate)
                recipe = dataclasses.replace(recipe, steps=measure_steps(config, bank, recipe, options.minutes))
            trainer = Trainer(config, recipe)
            logger.info('%d parameters, %s', trainer.network.count_params(), recipe)
        train(trainer, options.bank, options.out)
    except (UsageError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
