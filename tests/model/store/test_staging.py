"""Weights for the workers of a cluster."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import fsspec
import numpy as np
import pytest

from stembeam.model.errors import RunError
from stembeam.model.separator import load_chunk_separator
from stembeam.model.store import ModelFiles, resolve_model, stage_model, staging

from ...conftest import noise
from .release_host import DATA


@pytest.fixture(params=['disk', 'memory'])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    fsspec.filesystem('memory').store.clear()
    return str(tmp_path / 'out/models') if request.param == 'disk' else 'memory://out/models'


@pytest.fixture
def files() -> ModelFiles:
    return resolve_model(DATA / 'tiny_2stems.json')


def test_a_worker_has_the_same_model_from_the_staged_one(place, files):
    staged: ModelFiles = pickle.loads(pickle.dumps(stage_model(files, place)))
    assert staged.fingerprint == files.fingerprint
    assert staged.weights == f'{place}/{files.fingerprint}/weights.npz'
    found = staged.read_weights()
    for name, value in files.read_weights().items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == np.float32


def test_a_staged_model_separates(tiny_model):
    files = resolve_model(tiny_model)
    run = noise(2)[: 64 * 1024 + 3072]
    staged = stage_model(files, 'memory://out/models')
    (expected,), (found,) = (load_chunk_separator(model).separate_runs([run]) for model in (files, staged))
    np.testing.assert_array_equal(found, expected)


def test_it_is_written_once(place, files, monkeypatch):
    first = stage_model(files, place)
    monkeypatch.setattr(staging, '_put', None)
    assert stage_model(files, place) == first


@pytest.mark.parametrize('lost', ['weights.npz', 'staged.json'])
def test_what_is_not_whole_is_written_again(place, files, lost):
    staged = stage_model(files, place)
    fs, path = fsspec.core.url_to_fs(f'{place}/{files.fingerprint}/{lost}')
    fs.pipe_file(path, b'' if lost == 'weights.npz' else b'{}')
    if lost == 'staged.json':
        fs.rm_file(path)
    assert stage_model(files, place) == staged
    staged.check()


def test_a_staged_folder_is_a_model(tmp_path, files):
    staged = stage_model(files, str(tmp_path))
    found = resolve_model(os.path.dirname(staged.weights))
    assert found.config == files.config
    found.check()
    assert sorted(os.listdir(os.path.dirname(staged.weights))) == ['config.json', 'staged.json', 'weights.npz']


def test_changed_weights_are_not_used(place, files):
    staged = stage_model(files, place)
    fs, path = fsspec.core.url_to_fs(staged.weights)
    content = fs.cat_file(path)
    fs.pipe_file(path, content[:-1] + b'x')
    with pytest.raises(RunError, match=rf'weights {staged.weights} have the SHA-256 .* instead of {staged.checksum}'):
        staged.read_weights()
    fs.rm_file(path)
    with pytest.raises(RunError, match=r'cannot be read here .*give workers access'):
        staged.read_weights()


def test_a_place_that_cannot_be_written_is_named(tmp_path, files):
    (tmp_path / 'file').write_text('')
    with pytest.raises(RunError, match=f'cannot be put into {tmp_path}/file/'):
        stage_model(files, str(tmp_path / 'file'))
