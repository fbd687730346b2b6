"""The training loop on a tiny network: it learns, resumes to the same losses, and exports a model that loads."""

import dataclasses

import numpy as np
import pytest

from stembeam.model.checkpoint import assign_weights, extract_weights, read_weights
from stembeam.model.configuration import ModelConfig, load_config
from stembeam.model.errors import UsageError
from stembeam.model.separator import Separator
from stembeam.model.training.join import join_models
from stembeam.model.training.join import main as join
from stembeam.model.training.mixing import Batch
from stembeam.model.training.train import Recipe, Trainer, magnitude_loss, mini_config, write_model
from stembeam.model.unet import build_unet

CONFIG = ModelConfig(('low', 'high'), bins=256, conv_activation='ELU', conv_filters=(2, 4, 4, 4, 4, 4))
RECIPE = Recipe(steps=40, batch_size=2, frames=64, learning_rate=5e-3, warm_steps=2)


def make_batch(seed):
    rng = np.random.default_rng(seed)
    stems = [rng.gamma(0.3, 5.0, (2, 64, 256, 2)).astype(np.float32) for _ in range(2)]
    stems[0][:, :, 128:] = 0  # every stem in a band of its own, so that there is something to learn
    stems[1][:, :, :128] = 0
    return Batch(np.sum(stems, axis=0), stems)


def new_trainer(**changes):
    return Trainer(CONFIG, dataclasses.replace(RECIPE, **changes))


@pytest.fixture
def eagerly():
    tf = pytest.importorskip('tensorflow')
    tf.config.run_functions_eagerly(True)  # compiling the training functions would take longer than running them
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures('eagerly')
def test_the_loss_falls_and_a_resumed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    trainer, batch = new_trainer(dropout=0.1), make_batch(0)
    losses = [trainer.advance(batch) for _ in range(5)]
    trainer.save(tmp_path / 'state.npz')
    ahead = [trainer.advance(batch) for _ in range(2)]
    assert ahead[-1] < 0.97 * losses[0]
    resumed = Trainer.restore(tmp_path / 'state.npz')
    assert resumed.step == 5
    np.testing.assert_allclose([resumed.advance(batch) for _ in range(2)], ahead, rtol=1e-4)


@pytest.mark.usefixtures('eagerly')
def test_settled_norms_stand_still_and_hold_the_means_of_the_batches(tmp_path):
    trainer = new_trainer(settled=0.9)
    trainer.advance(make_batch(0))
    batches = [make_batch(seed) for seed in range(3)]
    trainer.settle(iter(batches))
    first = trainer.network.get_layer('conv2d'), trainer.network.get_layer('batch_normalization')
    expected = np.mean([np.asarray(first[0](batch.mixture)).mean(axis=(0, 1, 2)) for batch in batches], axis=0)
    np.testing.assert_allclose(np.asarray(first[1].moving_mean), expected, rtol=1e-3, atol=1e-4)
    trainer.advance(make_batch(5))
    np.testing.assert_allclose(np.asarray(first[1].moving_mean), expected, rtol=1e-3, atol=1e-4)
    trainer.save(tmp_path / 'state.npz')
    ahead = trainer.advance(make_batch(6))
    assert Trainer.restore(tmp_path / 'state.npz').advance(make_batch(6)) == pytest.approx(ahead, rel=1e-4)


def test_an_exported_model_loads_and_estimates_the_same(tmp_path):
    config = mini_config((2, 4, 8, 16, 32, 64))
    write_model(config, extract_weights(build_unet(config), config), tmp_path)
    separator = Separator.load(tmp_path)
    assert separator.instruments == ('vocals', 'drums', 'bass', 'other')
    assert separator.config.frames == 512
    assert separator.config.mask_extension == 'average'
    noise = np.random.default_rng(0).standard_normal((20000, 2)).astype(np.float32)
    stems = separator.separate(noise, 44100)
    np.testing.assert_allclose(sum(stems.values()), noise, atol=1e-3)


def test_the_learning_rate_warms_up_at_the_start_of_both_phases_and_decays():
    recipe = Recipe(steps=1000, warm_steps=100, settled=0.3, learning_rate=1e-3)
    assert recipe.settles_at == 700
    assert recipe.rate(0) == pytest.approx(1e-5)
    assert recipe.rate(99) == pytest.approx(1e-3, rel=0.05)
    assert recipe.rate(700) < 0.02 * recipe.rate(699)
    assert recipe.rate(999) == pytest.approx(1e-5, rel=0.05)


def test_a_broken_state_is_refused_with_a_cure(tmp_path):
    (tmp_path / 'state.npz').write_bytes(b'nothing')
    with pytest.raises(UsageError, match=r'state\.npz: not a training state.*delete it'):
        Trainer.restore(tmp_path / 'state.npz')


def test_the_loss_is_l1_and_a_weighted_square_of_logarithms():
    target, estimate = np.array([0.0, 3.0], np.float32), np.array([1.0, 3.0], np.float32)
    assert float(magnitude_loss(0.0)(target, estimate)) == pytest.approx(0.5)
    assert float(magnitude_loss(4.0)(target, estimate)) == pytest.approx(0.5 + 2 * np.log(2) ** 2)


def test_models_of_single_stems_join_to_one_that_estimates_the_same(tmp_path):
    filters = (2, 2, 4, 4, 4, 4)
    configs = [mini_config(filters, stems=stems) for stems in (('bass', 'vocals'), ('drums',))]
    networks = [build_unet(config) for config in configs]
    for seed, (config, network) in enumerate(zip(configs, networks, strict=True)):
        rng = np.random.default_rng(seed)
        for layer in network.layers:
            for variable in layer.trainable_variables:
                variable.assign(rng.uniform(-0.2, 0.2, variable.shape))
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_model(config, extract_weights(network, config), folder)
        assign_weights(network, read_weights(config, str(folder / 'weights.npz')))
    assert join(['--out', str(tmp_path / 'joined'), str(tmp_path / '0'), str(tmp_path / '1')]) == 0
    config = load_config(tmp_path / 'joined' / 'config.json')
    assert config.instruments == ('vocals', 'drums', 'bass')
    joined = build_unet(config)
    assign_weights(joined, read_weights(config, str(tmp_path / 'joined' / 'weights.npz')))
    magnitude = np.random.default_rng(9).gamma(0.5, 2.0, (1, 512, 1024, 2)).astype(np.float32)
    (bass, vocals), drums = (network(magnitude) for network in networks)
    for ours, expected in zip(joined(magnitude), (vocals, drums, bass), strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(expected), rtol=1e-4, atol=1e-5)


def test_models_of_different_forms_do_not_join():
    one, other = mini_config((2, 2, 4, 4, 4, 4), stems=('bass',)), mini_config((2, 2, 4, 4, 4, 8), stems=('drums',))
    with pytest.raises(UsageError, match='differ in more than their stems'):
        join_models([(one, {}), (other, {})])
