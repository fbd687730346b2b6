"""Stems that move between models, and what is frozen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stembeam.model.checkpoint import expected_variables, read_weights
from stembeam.model.configuration import ModelConfig
from stembeam.model.errors import UsageError
from stembeam.model.store import ModelFiles, resolve_model
from stembeam.model.training.freezing import check_freeze, is_frozen
from stembeam.model.training.lending import borrow, check_lender, lent_stems, place_of

from ...conftest import TINY, write_model


@pytest.fixture(scope='module')
def lenders(tmp_path_factory: pytest.TempPathFactory) -> list[ModelFiles]:
    """Models of (drums, vocals) and (bass, vocals)."""
    folder = tmp_path_factory.mktemp('lenders')
    configs = [dataclasses.replace(TINY, instruments=stems) for stems in (('drums', 'vocals'), ('bass', 'vocals'))]
    return [resolve_model(write_model(folder / str(seed), config, seed)) for seed, config in enumerate(configs)]


def weights_of(files: ModelFiles) -> dict[str, np.ndarray]:
    return read_weights(files.config, files.weights)


def test_each_stem_comes_from_the_first_model_that_has_it(lenders: list[ModelFiles]) -> None:
    config = dataclasses.replace(TINY, instruments=('vocals', 'bass', 'guitar', 'drums'))
    assert {stem: lender.name for stem, lender in lent_stems(config, lenders).items()} == {
        'vocals': lenders[0].name,
        'bass': lenders[1].name,
        'drums': lenders[0].name,
    }
    first, second, found = weights_of(lenders[0]), weights_of(lenders[1]), borrow(config, lenders)
    np.testing.assert_array_equal(found['conv2d/kernel'], first['conv2d_7/kernel'])  # vocals: second to first
    np.testing.assert_array_equal(found['conv2d_13/bias'], second['conv2d_6/bias'])  # the head of the bass
    np.testing.assert_array_equal(found['conv2d_transpose_18/kernel'], first['conv2d_transpose/kernel'])
    np.testing.assert_array_equal(
        found['batch_normalization_47/moving_mean'], first['batch_normalization_11/moving_mean']
    )
    guitar = {name for name in expected_variables(config) if place_of(name.split('/')[0]).stem == 2}  # type: ignore[union-attr]
    assert found.keys() == expected_variables(config).keys() - guitar


@pytest.mark.parametrize(
    ('changes', 'key'),
    [
        ({'conv_filters': (2, 2, 4, 4, 4, 8)}, r'model\.params\.conv_n_filters'),
        ({'conv_activation': 'ReLU'}, r'model\.params\.conv_activation'),
        ({'frame_step': 512}, 'frame_step'),
        ({'channels': 1}, 'n_channels'),
    ],
)
def test_a_model_of_another_form_cannot_lend(lenders: list[ModelFiles], changes: dict, key: str) -> None:
    with pytest.raises(UsageError, match=key):
        check_lender(dataclasses.replace(TINY, **changes), lenders[0])


CONFIG = ModelConfig(instruments=('vocals', 'drums'))


def frozen(freeze: tuple[str, ...], borrowed: tuple[str, ...] = ('vocals', 'drums')) -> set[str]:
    layers = {name.split('/')[0] for name in expected_variables(CONFIG)}
    return {layer for layer in layers if is_frozen(place_of(layer), freeze, CONFIG, borrowed)}  # type: ignore[arg-type]


def test_what_freezing_freezes() -> None:
    everything = frozen(('encoder', 'decoder'))
    assert len(everything) == 2 * (7 + 6 + 12)
    assert {'conv2d', 'conv2d_5', 'batch_normalization_5', 'conv2d_7'} <= frozen(('encoder',))
    assert {'conv2d_6', 'conv2d_transpose', 'batch_normalization_6'} <= frozen(('decoder',))
    assert frozen(('encoder',)) | frozen(('decoder',)) == everything
    assert not frozen(('encoder',)) & frozen(('decoder',))
    assert len(frozen(('norms',))) == 24
    assert 'conv2d_6' in frozen(('vocals',))
    assert 'conv2d_7' not in frozen(('vocals',))
    assert frozen(('norms',), borrowed=('drums',)) == {f'batch_normalization_{n}' for n in range(12, 24)}


@pytest.mark.parametrize(
    ('freeze', 'borrowed', 'message'),
    [
        (['head'], ['vocals'], 'no such part: use encoder, decoder, norms or a stem'),
        (['encoder'], [], 'would keep random weights'),
        (['drums'], ['vocals'], 'would keep random weights'),
        (['encoder', 'decoder'], ['vocals', 'drums'], 'nothing is left to train'),
        (['vocals', 'drums'], ['vocals', 'drums'], 'nothing is left to train'),
    ],
)
def test_freezing_nothing_or_everything_is_refused(freeze: list[str], borrowed: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_freeze(freeze, CONFIG, borrowed)
    check_freeze(['encoder', 'decoder'], CONFIG, ['vocals'])  # the drums are left


def test_places_by_name() -> None:
    assert place_of('batch_normalization_13') == ('batch_normalization', 1, 1)
    assert place_of('conv2d') == ('conv2d', 0, 0)
    assert place_of('conv2d_transpose_6') == ('conv2d_transpose', 1, 0)
    assert place_of('dropout_2') is None
    assert place_of('magnitude') is None


def test_models_of_single_stems_join_to_one(tmp_path: Path) -> None:
    """What `--init-from A --init-from B` begins with is each model, stem by stem."""
    from stembeam.model.checkpoint import assign_weights
    from stembeam.model.unet import build_unet

    single = [dataclasses.replace(TINY, instruments=(stem,)) for stem in ('drums', 'vocals')]
    files = [resolve_model(write_model(tmp_path / str(seed), config, seed)) for seed, config in enumerate(single)]
    both = dataclasses.replace(TINY, instruments=('vocals', 'drums'))
    joined = build_unet(both)
    assign_weights(joined, borrow(both, files))
    magnitude = np.random.default_rng(9).gamma(0.5, 2.0, (1, 64, 1024, 2)).astype(np.float32)
    for ours, model in zip(joined(magnitude), reversed(files), strict=True):
        network = build_unet(model.config)
        assign_weights(network, weights_of(model))
        np.testing.assert_allclose(
            np.asarray(ours), np.asarray(network(magnitude)).reshape(ours.shape), rtol=1e-4, atol=1e-5
        )
