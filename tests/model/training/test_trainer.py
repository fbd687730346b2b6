"""Training runs on a tiny network: they learn, stop and go on, keep the best model, and say what is wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stembeam.model.checkpoint import read_weights
from stembeam.model.configuration import load_config
from stembeam.model.errors import RunError, UsageError
from stembeam.model.separator import Separator
from stembeam.model.training.lending import place_of
from stembeam.model.training.network import build_network, settle_norms
from stembeam.model.training.plan import plan_run
from stembeam.model.training.reporting import Moment
from stembeam.model.training.settings import Recipe, settings_from_config
from stembeam.model.training.steps import make_steps
from stembeam.model.training.trainer import Outcome, train

from .songs import CONFIG, write_config, write_songs

FINISHED: dict[str, Any] = {'train_max_steps': 12, 'save_summary_steps': 2, 'learning_rate': 1e-2}


class Heard:
    """What a run told."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.lines: list[str] = []
        self.moments: list[Moment] = []
        self._stop_at = stop_at

    def tell(self, line: str) -> None:
        self.lines.append(line)

    def show(self, moment: Moment) -> None:
        self.moments.append(moment)
        if moment.step == self._stop_at:
            raise KeyboardInterrupt


@pytest.fixture(scope='module')
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('songs')
    write_songs(folder)
    return folder


@pytest.fixture(autouse=True)
def _eagerly() -> Iterator[None]:
    """Compiling a network takes longer here than these few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def run(
    songs: Path,
    folder: Path,
    heard: Heard | None = None,
    ours: dict[str, Any] | None = None,
    init_from: tuple[str, ...] = (),
    freeze: tuple[str, ...] = (),
    **keys: Any,
) -> Outcome:
    folder.parent.mkdir(exist_ok=True)
    keys = {'train_csv': 'songs.csv', 'validation_csv': 'songs.csv', 'save_checkpoints_steps': 4, **keys}
    config = write_config(
        songs / f'{folder.name}.json', keys.pop('config', CONFIG), {'dropout': 0, **(ours or {})}, **keys
    )
    plan = plan_run(str(config), data=str(songs), output=str(folder), init_from=init_from, freeze=freeze)
    return train(plan, heard or Heard())


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module')
def trained(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A finished run."""
    tf.config.run_functions_eagerly(True)
    folder = tmp_path_factory.mktemp('runs') / 'trained'
    return folder, run(songs, folder, **FINISHED)


def test_the_loss_falls_and_the_best_model_is_kept(trained: tuple[Path, Outcome]) -> None:
    folder, outcome = trained
    assert outcome.counters.best_loss < 0.8 * outcome.counters.first_loss
    validations = {record['step']: record['validation'] for record in log_of(folder) if 'validation' in record}
    assert list(validations) == [0, 4, 8, 12]
    assert min(validations, key=validations.__getitem__) == outcome.counters.best_step
    separator = Separator.load(folder)
    assert separator.instruments == ('low', 'high')
    assert Separator.load(folder / 'config.json').sample_rate == 8000


def test_log_and_events_hold_losses_rate_and_speed(trained: tuple[Path, Outcome]) -> None:
    pytest.importorskip('tensorboard')
    folder, _ = trained
    steps = [record for record in log_of(folder) if 'loss' in record]
    assert [record['step'] for record in steps] == [2, 4, 6, 8, 10, 12]
    for record in steps:
        assert record['loss'] == pytest.approx(record['loss/low'] + record['loss/high'], rel=1e-5)
        assert record['learning_rate'] == pytest.approx(1e-2)
        assert record['chunks_per_second'] > 0
    (events,) = (folder / 'events').iterdir()
    tags: dict[str, list[int]] = {}
    for event in tf.compat.v1.train.summary_iterator(str(events)):
        for value in event.summary.value:
            tags.setdefault(value.tag, []).append(event.step)
    assert tags['loss'] == [2, 4, 6, 8, 10, 12]
    assert tags['validation'] == [0, 4, 8, 12]
    assert {'learning_rate', 'chunks_per_second', 'loss/low', 'validation/high'} <= tags.keys()


def test_the_origin_says_what_the_model_was_trained_on(trained: tuple[Path, Outcome]) -> None:
    folder, outcome = trained
    origin = json.loads((folder / 'training.json').read_text())
    assert origin['chunks_seen'] == 24
    assert origin['hours_seen'] == pytest.approx(24 * (63 * 64 + 256) / 8000 / 3600, abs=1e-4)
    assert origin['data']['train']['songs'] == 2
    assert len(origin['data']['train']['digest']) == 64
    assert origin['validation']['best'] == outcome.counters.best_loss
    assert origin['settings']['learning_rate'] == 1e-2
    assert origin['versions']['tensorflow'] == tf.__version__


def test_a_finished_run_says_so(songs: Path, trained: tuple[Path, Outcome]) -> None:
    folder, before = trained
    outcome = run(songs, folder, **FINISHED)
    assert outcome.was_finished
    assert outcome.counters == before.counters


@pytest.mark.parametrize(
    ('changes', 'key'),
    [
        ({'learning_rate': 1e-3}, r'another learning_rate \(0.01, now 0.001\)'),
        ({'ours': {'remix': 0.5}}, r'another training\.remix \(0.0, now 0.5\)'),
        ({'config': dataclasses.replace(CONFIG, bins=64)}, r'another F \(128, now 64\)'),
        ({'n_chunks_per_song': 3}, 'another n_chunks_per_song'),
    ],
)
def test_another_run_in_the_same_folder_is_refused_by_key(
    songs: Path, trained: tuple[Path, Outcome], changes: dict[str, Any], key: str
) -> None:
    with pytest.raises(UsageError, match=key):
        run(songs, trained[0], **{**FINISHED, **changes})


def test_more_steps_go_on_with_a_constant_rate(songs: Path, tmp_path: Path) -> None:
    run(songs, tmp_path / 'm', train_max_steps=1)
    outcome = run(songs, tmp_path / 'm', train_max_steps=2)
    assert not outcome.was_finished
    assert outcome.counters.step == 2
    with pytest.raises(UsageError, match=r'another (train_max_steps|training\.schedule)'):
        run(songs, tmp_path / 'm', train_max_steps=3, ours={'schedule': 'cosine'})


VARIED: dict[str, Any] = {
    'ours': {
        'dropout': 0.3,
        'settled': 0.5,
        'settle_batches': 2,
        'schedule': 'cosine',
        'warmup_steps': 2,
        'remix': 0.5,
        'remix_window': 4,
        'gain_db': [-6, 6],
        'log_weight': 1,
        'norm_gain': 2,
        'input_scale': 0.1,
    },
    'train_max_steps': 8,
    'save_checkpoints_steps': 2,
    'save_summary_steps': 1,
}


@pytest.fixture(scope='module')
def undisturbed(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    tf.config.run_functions_eagerly(True)
    folder = tmp_path_factory.mktemp('runs') / 'undisturbed'
    return folder, run(songs, folder, **VARIED)


@pytest.mark.slow
@pytest.mark.parametrize('stop_at', [3, 7])  # before and after the norms settle
def test_a_stopped_run_ends_as_if_it_had_not_been_stopped(
    songs: Path, undisturbed: tuple[Path, Outcome], tmp_path: Path, stop_at: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(songs, tmp_path / 'stopped', Heard(stop_at), **VARIED)
    heard = Heard()
    outcome = run(songs, tmp_path / 'stopped', heard, **VARIED)
    assert heard.lines[0] == f'going on at step {stop_at // 2 * 2} of 8'
    assert outcome.counters.last_loss == pytest.approx(undisturbed[1].counters.last_loss, rel=1e-4)
    logs = [[record['step'] for record in log_of(folder)] for folder in (tmp_path / 'stopped', undisturbed[0])]
    assert logs[0] == logs[1]
    for name, value in read_weights(CONFIG, str(undisturbed[0] / 'weights.npz')).items():
        found = read_weights(CONFIG, str(tmp_path / 'stopped/weights.npz'))[name]
        np.testing.assert_allclose(found, value, rtol=1e-3, atol=1e-4, err_msg=name)


def test_settled_norms_stand_still(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(songs, tmp_path / 'm', Heard(stop_at=5), **{**VARIED, 'validation_csv': None})  # settled at step 4
    at_settling = read_weights(CONFIG, str(tmp_path / 'm' / 'weights.npz'))
    run(songs, tmp_path / 'm', **{**VARIED, 'validation_csv': None})
    at_end = read_weights(CONFIG, str(tmp_path / 'm' / 'weights.npz'))
    for name, value in at_end.items():
        if name.startswith('batch_normalization'):
            np.testing.assert_array_equal(value, at_settling[name], err_msg=name)
    assert np.abs(at_end['conv2d/kernel'] - at_settling['conv2d/kernel']).max() > 1e-5


def test_settling_takes_plain_means_over_batches() -> None:
    network = build_network(CONFIG, Recipe(dropout=0), {}, CONFIG.instruments, 0)
    rng = np.random.default_rng(0)
    mixtures = [rng.gamma(0.3, 5.0, (2, 64, 128, 2)).astype(np.float32) for _ in range(3)]
    settle_norms(network, mixtures)
    first, norm = network.get_layer('conv2d'), network.get_layer('batch_normalization')
    outputs = [np.asarray(first(mixture)) for mixture in mixtures]
    mean, variance = (np.mean([f(output, axis=(0, 1, 2)) for output in outputs], axis=0) for f in (np.mean, np.var))
    np.testing.assert_allclose(np.asarray(norm.moving_mean), mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(np.asarray(norm.moving_variance), variance, rtol=1e-3)


def test_it_stops_early_when_the_loss_no_longer_falls(
    songs: Path, trained: tuple[Path, Outcome], tmp_path: Path
) -> None:
    heard = Heard()
    keys: dict[str, Any] = {
        'ours': {'early_stopping': 2, 'validation_steps': 1},
        'init_from': (str(trained[0]),),
        'freeze': ('norms',),
        'optimizer': 'SGD',
        'learning_rate': 1e-12,
        'train_max_steps': 50,
    }
    outcome = run(songs, tmp_path / 'm', heard, **keys)
    assert outcome.counters.stopped
    assert (outcome.counters.step, outcome.counters.since_best, outcome.counters.best_step) == (2, 2, 0)
    assert heard.lines[-1] == 'stopping early: no better evaluation since step 0'
    assert run(songs, tmp_path / 'm', **keys).was_finished


def test_without_validation_the_model_is_the_last_one(songs: Path, tmp_path: Path) -> None:
    outcome = run(songs, tmp_path / 'm', train_max_steps=2, validation_csv=None)
    assert np.isinf(outcome.counters.best_loss)
    with np.load(tmp_path / 'm/state/state.npz') as state, np.load(tmp_path / 'm/weights.npz') as weights:
        kept = [state[name] for name in state.files if name.startswith('network/')]
        assert any(np.array_equal(weights['conv2d/kernel'], value) for value in kept)
    assert json.loads((tmp_path / 'm/training.json').read_text())['validation']['best'] is None


def test_a_loss_that_is_not_finite_stops_the_run(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r'the loss is not finite between steps .*: lower learning_rate'):
        run(songs, tmp_path / 'm', optimizer='SGD', learning_rate=1e30, train_max_steps=4)


def test_stems_are_borrowed_by_name_and_others_start_fresh(
    songs: Path, trained: tuple[Path, Outcome], tmp_path: Path
) -> None:
    text = (songs / 'songs.csv').read_text().replace('low_path', 'deep_path')
    (songs / 'deep.csv').write_text(text)
    heard = Heard()
    config = dataclasses.replace(CONFIG, instruments=('high', 'deep'))
    run(
        songs,
        tmp_path / 'm',
        heard,
        init_from=(str(trained[0]),),
        freeze=('encoder',),
        config=config,
        train_csv='deep.csv',
        validation_csv='deep.csv',
        train_max_steps=2,
    )
    assert heard.lines[:2] == [f'high: from {trained[0]}', 'deep: starts fresh']
    lent = read_weights(CONFIG, str(trained[0] / 'weights.npz'))
    with np.load(tmp_path / 'm/state/state.npz') as state:
        arrays = [state[name] for name in state.files if name.startswith('network/')]
    found = read_weights(config, str(tmp_path / 'm/weights.npz'))
    assert any(np.array_equal(lent['conv2d_7/kernel'], value) for value in arrays)  # still, after two steps
    np.testing.assert_array_equal(found['conv2d_5/bias'], lent['conv2d_12/bias'])


def test_ratio_masks_of_a_single_stem_are_refused(songs: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, instruments=('high',))
    with pytest.raises(UsageError, match='a single stem would get all of the mixture'):
        run(songs, tmp_path / 'm', config=config, ours={'masks': 'ratio'}, train_max_steps=2)


def test_a_single_stem_trains_on_the_mixture_of_all(songs: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, instruments=('high',))
    outcome = run(songs, tmp_path / 'm', config=config, train_max_steps=2, save_checkpoints_steps=2)
    assert outcome.counters.last_loss < outcome.counters.first_loss
    assert Separator.load(tmp_path / 'm').instruments == ('high',)


def test_fine_tuning_begins_at_the_loss_of_the_model_and_changes_only_what_is_free(
    songs: Path, trained: tuple[Path, Outcome], tmp_path: Path
) -> None:
    outcome = run(
        songs, tmp_path / 'm', init_from=(str(trained[0]),), freeze=('low', 'norms'), train_max_steps=4,
        save_checkpoints_steps=2, learning_rate=2e-3,
    )  # fmt: skip
    assert outcome.counters.first_loss == pytest.approx(trained[1].counters.best_loss, rel=1e-5)
    assert outcome.counters.best_loss < outcome.counters.first_loss
    before, after = (read_weights(CONFIG, str(folder / 'weights.npz')) for folder in (trained[0], tmp_path / 'm'))
    for name, value in after.items():
        place = place_of(name.split('/')[0])
        assert place is not None
        free = place.stem == 1 and place.kind != 'batch_normalization'
        assert np.array_equal(value, before[name]) != free, name


@pytest.mark.parametrize(('masks', 'expected'), [('direct', [2.0, 6.0]), ('ratio', [0.0, 0.0])])
def test_with_ratio_masks_the_loss_is_that_of_the_stems_that_are_written(
    songs: Path, masks: str, expected: list[float]
) -> None:
    """Estimates that are three times too loud in all stems make masks without an error."""
    config = write_config(songs / 'masks.json', dataclasses.replace(CONFIG, separation_exponent=1.0), {'masks': masks})
    settings = settings_from_config(load_config(str(config)))
    steps = make_steps(load_config(str(config)), settings, CONFIG.instruments, lambda: None, 'none')
    targets = [np.full((2, 4, 4, 2), level, np.float32) for level in (1, 3)]
    losses = np.asarray(steps.losses(sum(targets), [3 * target for target in targets], targets))
    np.testing.assert_allclose(losses, [expected, expected], atol=1e-5)


@pytest.mark.parametrize('precision', ['mixed_bfloat16', 'mixed_float16'])
def test_half_precision_gives_nearly_the_same_losses(
    songs: Path, trained: tuple[Path, Outcome], tmp_path: Path, precision: str
) -> None:
    outcome = run(
        songs, tmp_path / 'm', ours={'precision': precision, 'weights': 'float16'}, init_from=(str(trained[0]),),
        train_max_steps=2, save_checkpoints_steps=2,
    )  # fmt: skip
    assert outcome.counters.first_loss == pytest.approx(trained[1].counters.best_loss, rel=0.02)
    assert outcome.counters.last_loss < 1.5 * outcome.counters.first_loss
    with np.load(tmp_path / 'm/weights.npz') as weights:
        assert weights['conv2d/kernel'].dtype == np.float16
        assert weights['batch_normalization/gamma'].dtype == np.float32


def test_a_broken_state_is_refused_with_a_cure(songs: Path, tmp_path: Path) -> None:
    (tmp_path / 'm' / 'state').mkdir(parents=True)
    (tmp_path / 'm' / 'state' / 'state.npz').write_bytes(b'nothing')
    with pytest.raises(UsageError, match=r'state\.npz: not a training state.*delete it'):
        run(songs, tmp_path / 'm')


def test_a_training_cache_is_read_once_and_gives_the_same_losses(songs: Path, tmp_path: Path) -> None:
    cached: dict[str, Any] = {
        'training_cache': str(tmp_path / 'train'),
        'validation_cache': str(tmp_path / 'validation'),
    }
    heard = Heard()
    first = run(songs, tmp_path / 'a', heard, train_max_steps=2, **cached)
    assert heard.lines[0].startswith('reading 2 songs into')
    plain = run(songs, tmp_path / 'b', train_max_steps=2)
    assert first.counters.first_loss == pytest.approx(plain.counters.first_loss, rel=1e-3)
    heard = Heard()
    run(songs, tmp_path / 'c', heard, train_max_steps=2, **cached)
    assert not any(line.startswith('reading') for line in heard.lines)
