"""The training loop: steps, evaluations, summaries and saved states, each when it is due.

A run lives in the folder of its model. Started again with the same words it goes on from its last state, and because
batches depend on the seed and the step alone, its losses go on as if nothing had happened. The model in the folder is
that of the best evaluation (of the last state, where there is nothing to validate on).
"""

from __future__ import annotations

import math
import os
import re
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ..backend import keras
from ..checkpoint import extract_weights
from ..errors import RunError, UsageError
from . import tables
from .inputs import SETTLE_STREAM, changes_stems, training_batches, validation_batches, validation_places
from .lending import borrow, lent_stems
from .model_folder import write_model, write_origin
from .network import build_network, set_trainable, settle_norms
from .plan import Plan, Tables
from .reporting import Listener, Moment, origin_of
from .schedule import learning_rate
from .shards import TRAIN, VALIDATION
from .sources import ShardSource, Source, TableSource
from .state import STATE_FILE, Counters, assign_all, check_same_run, load_state, save_state
from .steps import Steps, make_steps
from .summaries import Summaries
from .table_cache import cached_source

STATE_FOLDER = 'state'  # below the model's folder
LOOK_SECONDS = 1.0  # between two reports within a round of steps


class Outcome(NamedTuple):
    """How a run ended."""

    counters: Counters
    was_finished: bool  # before it was started


def train(plan: Plan, listener: Listener) -> Outcome:
    """Carry a run to its end.

    Raises:
      UsageError: the folder holds another run, weights that cannot be read, a batch that cannot be spread.
      RunError: losses that are not finite, files that cannot be read.
    """
    os.makedirs(os.path.join(plan.folder, STATE_FOLDER), exist_ok=True)
    if keras.backend.backend() != 'tensorflow':
        tf.config.set_visible_devices([], 'GPU')  # TensorFlow only reads the data then: the GPU is for the network
    elif plan.settings.training.deterministic:
        keras.utils.set_random_seed(plan.settings.random_seed + 1)  # which it insists on
        tf.config.experimental.enable_op_determinism()
    try:
        return _Training(plan, listener).run()
    except tf.errors.OpError as error:
        said = re.search(r'RunError: (.*)', error.message)  # tf.data hands on what our readers say as text
        if said is None:
            raise
        raise RunError(said[1]) from error


class _Training:
    """A run in memory."""

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self.plan, self.listener = plan, listener
        self.config, self.settings = plan.config, plan.settings
        self.path = os.path.join(plan.folder, STATE_FOLDER, STATE_FILE)
        self.counters = Counters()
        self.compiled = False
        self.state = load_state(self.path)
        if self.state is not None:
            check_same_run(plan.folder, self.state.description, plan.describe())
            self.counters = self.state.counters
        self.since_evaluation = time.monotonic() - self.settings.throttle_secs

    def run(self) -> Outcome:
        """All steps that are left."""
        counters = self.counters
        if counters.stopped or counters.step >= self.settings.train_max_steps:
            return Outcome(counters, was_finished=True)
        self._open_data()
        self._build()
        self.summaries = Summaries(self.plan.folder, counters.step)
        if not self.summaries.tensorboard:
            self.listener.tell('TensorBoard is not installed: log.jsonl only (pip install tensorboard)')
        try:
            if self.state is None:
                self._begin()
            else:
                self.listener.tell(f'going on at step {counters.step} of {self.settings.train_max_steps}')
            self._loop()
        finally:
            self.summaries.close()
        return Outcome(self.counters, was_finished=False)

    def _open_data(self) -> None:
        plan, recipe = self.plan, self.settings.training
        self.validation: Source | None = None
        if isinstance(plan.data, Tables):
            self.source: Source = self._table_source(plan.data.train, self.settings.training_cache)
            if plan.data.validation is not None:
                self.validation = self._table_source(plan.data.validation, self.settings.validation_cache)
            return
        memory = recipe.shuffle_memory << 20
        self.source = ShardSource(plan.data, TRAIN, plan.data.has_mixture and not changes_stems(recipe), memory)
        if plan.has_validation:
            self.validation = ShardSource(plan.data, VALIDATION, plan.data.has_mixture, memory)

    def _table_source(self, table: tables.Table, cache: str | None) -> Source:
        if cache is None:
            return TableSource(table)
        return cached_source(table, cache, self.settings.training.shuffle_memory << 20, self.listener.tell)

    def _build(self) -> None:
        plan, recipe = self.plan, self.settings.training
        lent = lent_stems(self.config, plan.lenders)
        self.borrowed = set(lent)
        weights: dict[str, np.ndarray] = {}
        if self.state is None and plan.lenders:
            weights = borrow(self.config, plan.lenders)
            for stem in self.config.instruments:
                self.listener.tell(f'{stem}: ' + (f'from {lent[stem].name}' if stem in lent else 'starts fresh'))
        fresh = set(self.config.instruments) - self.borrowed
        self.steps: Steps = make_steps(
            self.config,
            self.settings,
            self.source.stems,
            lambda: build_network(self.config, recipe, weights, fresh, self.settings.random_seed),
            plan.distribution,
        )
        self._free_or_freeze()
        if self.state is not None:
            assign_all(self.steps.network.variables, self.state.network, self.path)
            assign_all(self.steps.optimizer.variables, self.state.optimizer, self.path)

    def _free_or_freeze(self) -> None:
        """Make the optimiser for the phase that the run is in."""
        settled = self.counters.settled
        set_trainable(self.steps.network, self.config, self.plan.freeze, self.borrowed, settled)
        if not self.steps.network.trainable_variables:
            raise UsageError('--freeze: nothing is left to train: freeze less')
        self.steps.start(self.settings.settles_at if settled else 0)

    def _begin(self) -> None:
        """The evaluation that later ones are measured by."""
        self._evaluate()
        self._count(first_loss=self.counters.last_loss)
        self._save()

    def _loop(self) -> None:
        settings = self.settings
        feed = self.steps.feed(training_batches(self.source, self.config, settings, self.counters.step))
        while self.counters.step < settings.train_max_steps and not self.counters.stopped:
            self._advance(feed, self._next_event())
            step, last = self.counters.step, self.counters.step == settings.train_max_steps
            if step == settings.settles_at and not self.counters.settled:
                self._settle()
            if last or step % settings.validation_every == 0:
                self._evaluate(force=last)
            if (
                last
                or self.counters.stopped
                or step % settings.save_checkpoints_steps == 0
                or step == settings.settles_at
            ):
                self._save()

    def _next_event(self) -> int:
        settings, step = self.settings, self.counters.step
        periods = settings.save_summary_steps, settings.validation_every, settings.save_checkpoints_steps
        following = [step + period - step % period for period in periods]
        if step < settings.settles_at:
            following.append(settings.settles_at)
        return min(*following, settings.train_max_steps)

    def _advance(self, feed: Any, end: int) -> None:
        """Steps up to `end`, and the summary of them."""
        entered = began = looked = time.monotonic()
        first = timed_from = self.counters.step
        losses = []
        for step in range(first + 1, end + 1):
            losses.append(self.steps.train(next(feed)))
            if not self.compiled:  # with the first step
                self.compiled, began, timed_from = True, time.monotonic(), step
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                self._show(
                    step, np.mean([np.asarray(loss) for loss in losses], axis=0), (step - timed_from), looked - began
                )
        mean = np.mean([np.asarray(loss) for loss in losses], axis=0)
        if not np.isfinite(mean).all():
            raise RunError(
                f'the loss is not finite between steps {first} and {end}: lower learning_rate or set clipnorm, '
                f'and start anew in another folder (the last state is that of step {self._saved})'
            )
        now = time.monotonic()
        self._count(step=end, seconds=self.counters.seconds + now - entered)
        moment = self._show(end, mean, end - timed_from, now - began)
        rate = float(np.asarray(learning_rate(self.settings, np.float32(end - 1))))
        values = {**moment.losses, 'learning_rate': rate}
        if math.isfinite(moment.chunks_per_second):
            values['chunks_per_second'] = moment.chunks_per_second
        self.summaries.add(end, values)

    def _show(self, step: int, mean: np.ndarray, steps: int, seconds: float) -> Moment:
        settings = self.settings
        by_stem = {f'loss/{stem}': float(loss) for stem, loss in zip(self.config.instruments, mean, strict=True)}
        moment = Moment(
            step,
            settings.train_max_steps,
            {'loss': float(mean.sum()), **by_stem},
            self.counters.last_loss,
            self.counters.best_loss,
            steps * settings.batch_size / seconds if steps > 0 else math.nan,
            (settings.train_max_steps - step) * settings.batch_size,
        )
        self.listener.show(moment)
        return moment

    def _evaluate(self, force: bool = True) -> None:
        """Validate if it is due; keep the model if it is the best so far."""
        if self.validation is None:
            return
        if not force and time.monotonic() - self.since_evaluation < self.settings.throttle_secs:
            return
        batches = self.steps.feed(validation_batches(self.validation, self.config, self.settings))
        parts = len(validation_places(self.validation.chunk_samples, self.config, self.settings.frames(self.config)))
        losses = np.concatenate([self.steps.evaluate(batch) for batch in batches])[: self.validation.records * parts]
        by_stem = losses.mean(axis=0, dtype=np.float64)
        loss = float(by_stem.sum())
        self.since_evaluation = time.monotonic()
        step = self.counters.step
        values = {f'validation/{stem}': value for stem, value in zip(self.config.instruments, by_stem, strict=True)}
        self.summaries.add(step, {'validation': loss, **values})
        better = loss < self.counters.best_loss
        self.listener.tell(f'step {step}: validation loss {loss:.5g}' + (', the best so far' if better else ''))
        self._count(last_loss=loss, since_best=0 if better else self.counters.since_best + 1)
        if better:
            self._count(best_loss=loss, best_step=step)
            self._write_model()
        patience = self.settings.training.early_stopping
        if patience is not None and self.counters.since_best >= patience:
            self._count(stopped=True)
            self.listener.tell(f'stopping early: no better evaluation since step {self.counters.best_step}')

    def _settle(self) -> None:
        self.listener.tell(f'step {self.counters.step}: batch norms settle')
        batches = training_batches(self.source, self.config, self.settings, 0, SETTLE_STREAM)
        settle_norms(self.steps.network, self.steps.settle_inputs(batches, self.settings.training.settle_batches))
        self._count(settled=True)
        self._free_or_freeze()

    def _count(self, **changes: Any) -> None:
        self.counters = self.counters._replace(**changes)

    def _save(self) -> None:
        if self.validation is None:
            self._write_model()
        self._write_origin()
        network, optimizer = self.steps.network, self.steps.optimizer
        save_state(self.path, self.counters, self.plan.describe(), network.variables, optimizer.variables)

    @property
    def _saved(self) -> int:
        state = load_state(self.path)
        return 0 if state is None else state.counters.step

    def _write_model(self) -> None:
        weights = extract_weights(self.steps.network, self.config)
        write_model(self.plan.folder, self.config, weights, self.settings.training.weights)

    def _write_origin(self) -> None:
        write_origin(self.plan.folder, origin_of(self.plan, self.counters, self.steps.devices))
