from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from stembeam.model.checkpoint import (
    assign_weights,
    expected_variables,
    extract_weights,
    fingerprint_weights,
    is_unused,
    read_weights,
    write_npz,
)
from stembeam.model.configuration import load_config
from stembeam.model.errors import UsageError
from stembeam.model.store import CONFIGS

from ..conftest import TINY, random_weights

DATA = Path(__file__).parents[1] / 'data' / 'parity'


def test_expected_variables_are_those_of_the_published_2stems_checkpoint() -> None:
    published = {}
    for line in (DATA / 'published_2stems_variables.txt').read_text().splitlines():
        name, shape, _ = line.replace(', ', ',').split()
        published[name] = tuple(int(size) for size in shape.strip('[]').split(',') if size)
    assert len(published) == 149  # 74 for each stem, and global_step
    assert sum(int(np.prod(shape)) for shape in published.values()) == 19_653_519
    assert published.pop('global_step') == ()
    expected = expected_variables(load_config(f'{CONFIGS}/2stems.json'))
    assert expected == published
    # What the second stem has is what the first has under higher numbers: no variable is counted for both.
    assert len(expected) == 2 * 74


@pytest.mark.parametrize(('name', 'entries'), [('2stems', 149), ('4stems', 297), ('5stems', 371)])
def test_number_of_entries(name: str, entries: int) -> None:
    assert len(expected_variables(load_config(f'{CONFIGS}/{name}.json'))) + 1 == entries  # and global_step


def test_a_network_keeps_the_weights_it_is_given() -> None:
    from stembeam.model.unet import build_unet

    weights = random_weights(TINY)
    network = build_unet(TINY)
    assign_weights(network, weights)
    extracted = extract_weights(network, TINY)
    assert extracted.keys() == weights.keys()
    for name, value in extracted.items():
        if not is_unused(name):
            np.testing.assert_array_equal(value, weights[name], err_msg=name)


def test_a_checkpoint_of_another_shape_is_refused_by_name() -> None:
    config = dataclasses.replace(load_config(DATA / 'tiny_2stems.json'), conv_filters=(2, 4, 8, 16, 32, 32))
    with pytest.raises(UsageError, match=r'wrong shape.*conv2d_5/kernel \[5, 5, 32, 64\] instead of \[5, 5, 32, 32\]'):
        read_weights(config, str(DATA / 'tiny_2stems'))


def test_a_checkpoint_with_too_few_networks_names_what_is_missing() -> None:
    config = load_config(DATA / 'tiny_4stems.json')
    with pytest.raises(UsageError, match=r'missing conv2d_14/kernel'):
        read_weights(config, str(DATA / 'tiny_2stems'))


def test_a_checkpoint_with_more_networks_than_stems_is_refused() -> None:
    config = load_config(DATA / 'tiny_2stems.json')
    with pytest.raises(UsageError, match='unknown'):
        read_weights(config, str(DATA / 'tiny_4stems'))


def _changed(change: str) -> dict[str, np.ndarray]:
    """TINY's weights with one variable missing, unknown or of another shape, or with what training leaves."""
    weights = random_weights(TINY)
    if change == 'missing':
        del weights['batch_normalization_17/gamma']  # the one of the second stem that nothing reads
    elif change == 'unknown':
        weights['dense/kernel'] = np.zeros((2, 2), np.float32)
    elif change == 'wrong shape':
        weights['conv2d_transpose_3/bias'] = np.zeros(7, np.float32)
    else:
        weights['global_step'] = np.zeros((), np.float32)
        weights['conv2d/kernel/Adam'] = np.zeros_like(weights['conv2d/kernel'])
    return weights


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        ('missing', r'\(missing batch_normalization_17/gamma\)'),
        ('unknown', r'\(unknown dense/kernel\)'),
        ('wrong shape', r'\(wrong shape: conv2d_transpose_3/bias \[7\] instead of \[2\]\)'),
    ],
)
def test_variables_that_do_not_fit_are_named(tmp_path: Path, change: str, named: str) -> None:
    path = str(tmp_path / 'weights.npz')
    write_npz(path, _changed(change))
    with pytest.raises(UsageError, match=named):
        read_weights(TINY, path)


def test_what_training_leaves_in_a_checkpoint_is_accepted(tmp_path: Path) -> None:
    path = str(tmp_path / 'weights.npz')
    write_npz(path, _changed('training'))
    assert read_weights(TINY, path).keys() == expected_variables(TINY).keys()


def test_a_checkpoint_without_its_data_says_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(DATA / 'tiny_2stems', tmp_path / 'model')
    (tmp_path / 'model' / 'model.index').unlink()
    with pytest.raises(UsageError, match=r'copy the \.index and \.data files'):
        read_weights(load_config(DATA / 'tiny_2stems.json'), str(tmp_path / 'model'))


def test_a_cut_off_checkpoint_is_refused(tmp_path: Path) -> None:
    shutil.copytree(DATA / 'tiny_2stems', tmp_path / 'model')
    data = tmp_path / 'model' / 'model.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(UsageError, match='cannot be read'):
        read_weights(load_config(DATA / 'tiny_2stems.json'), str(tmp_path / 'model'))


def test_npz_weights_round_trip_and_float16_halves_the_precision_only(tmp_path: Path) -> None:
    weights = random_weights(TINY)
    path = str(tmp_path / 'weights.npz')
    write_npz(path, weights)
    for name, value in read_weights(TINY, path).items():
        np.testing.assert_array_equal(value, weights[name])
    write_npz(path, {name: value.astype(np.float16) for name, value in weights.items()})
    for name, value in read_weights(TINY, path).items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, weights[name], rtol=1e-3, atol=1e-6)


def test_broken_npz_and_nan_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'weights.npz'
    path.write_bytes(b'PK not a zip')
    with pytest.raises(UsageError, match='cannot be read'):
        read_weights(TINY, str(path))
    weights = random_weights(TINY)
    weights['conv2d/bias'][0] = np.nan
    write_npz(str(path), weights)
    with pytest.raises(UsageError, match='NaN or infinity in conv2d/bias'):
        read_weights(TINY, str(path))


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / 'weights.npz'
    np.savez(path, **{'conv2d/kernel': np.array([{'a': 1}], dtype=object)})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match='cannot be read'):
        read_weights(TINY, str(path))


def test_the_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    one, other = str(tmp_path / 'a.npz'), str(tmp_path / 'b.npz')
    write_npz(one, random_weights(TINY))
    write_npz(other, random_weights(TINY, seed=1))
    assert fingerprint_weights(one) != fingerprint_weights(other)
    assert fingerprint_weights(str(DATA / 'tiny_2stems')) != fingerprint_weights(str(DATA / 'tiny_4stems'))
