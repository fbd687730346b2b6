"""What a user may call a model, and what it then is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import fsspec
import pytest

from stembeam.model.checkpoint import WEIGHTS_FILE
from stembeam.model.errors import RunError, UsageError
from stembeam.model.store import DEFAULT_MODEL, resolve_model
from stembeam.model.store.places import STORE_VARIABLE, Store
from stembeam.model.store.published import PUBLISHED, RELEASE, find_published

from ...conftest import TINY, write_model
from .release_host import CHECKPOINT, DATA

CHECKSUMS = {
    '2stems': 'f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692',
    '4stems': '3adb4a50ad4eb18c7c4d65fcf4cf2367a07d48408a5eb7d03cd20067429dfaa8',
    '5stems': '25a1e87eb5f75cc72a4d2d5467a0a50ac75f05611f877c278793742513cc7218',
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in which a checkpoint of another size stands for 4stems, so that nothing has to be fetched."""
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / 'store'))
    store = Store.at()
    folder = store.folder('.making/4stems@test')
    shutil.copytree(DATA / 'tiny_4stems', folder)
    store.install('4stems', folder, {'source': 'test'})
    return store


def test_mini_comes_with_the_package() -> None:
    files = resolve_model('mini')
    assert files.config.instruments == ('vocals', 'drums', 'bass', 'other')
    files.check()


def test_the_published_models_are_those_of_the_release() -> None:
    assert RELEASE == 'https://github.com/deezer/spleeter/releases/download/v1.4.0'
    assert list(PUBLISHED) == ['2stems', '2stems-16kHz', '4stems', '4stems-16kHz', '5stems', '5stems-16kHz']
    for name, published in PUBLISHED.items():
        base = name.removesuffix('-16kHz')
        assert published.archive.file == f'{base}.tar.gz'
        assert published.archive.sha256 == CHECKSUMS[base]
        assert published.config.bins == (1024 if name == base else 1536)
        assert len(published.config.instruments) == int(base[0])
    assert DEFAULT_MODEL in PUBLISHED


@pytest.mark.parametrize('name', ['4stems', 'spleeter:4stems'])
def test_a_name_is_the_folder_in_the_store(store: Store, name: str) -> None:
    files = resolve_model(name)
    assert files.name == '4stems'
    assert files.weights == store.folder('4stems')
    assert files.config == PUBLISHED['4stems'].config


def test_16khz_is_the_same_folder_with_another_configuration(store: Store) -> None:
    wide, narrow = resolve_model('4stems-16kHz'), resolve_model('4stems')
    assert wide.weights == narrow.weights
    assert wide.config.bins == 1536
    assert wide.fingerprint != narrow.fingerprint


def test_a_name_wins_over_a_folder_and_a_path_does_not(store: Store, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(DATA / 'tiny_4stems', tmp_path / '4stems')
    monkeypatch.chdir(tmp_path)
    assert resolve_model('4stems').weights == store.folder('4stems')
    assert resolve_model('./4stems').weights == str(tmp_path / '4stems')


def test_the_store_is_a_parameter_a_variable_or_the_cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / 'variable'))
    assert Store.at(tmp_path / 'parameter').root == str(tmp_path / 'parameter')
    assert Store.at().root == str(tmp_path / 'variable')
    monkeypatch.delenv(STORE_VARIABLE)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    assert Store.at().root == str(tmp_path / 'cache/stembeam/models')
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert Store.at().root == str(tmp_path / '.cache/stembeam/models')


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(RunError, match=rf'model store {tmp_path}/file/store: Not a directory: make it writable'):
        resolve_model('2stems', store=tmp_path / 'file/store')


def test_a_spleeter_json_file_names_its_checkpoint_folder() -> None:
    files = resolve_model(DATA / 'tiny_5stems.json')
    assert files.config.model_type == 'unet.softmax_unet'
    assert Path(files.weights) == DATA / 'tiny_5stems'


def test_a_file_url_is_a_path() -> None:
    assert resolve_model(f'file://{DATA}/tiny_5stems.json').weights == str(DATA / 'tiny_5stems')


def test_a_folder_of_a_published_model_needs_no_configuration(tmp_path: Path) -> None:
    shutil.copytree(CHECKPOINT, tmp_path / '2stems')
    assert resolve_model(tmp_path / '2stems').config.instruments == ('vocals', 'accompaniment')


def test_a_checkpoint_that_was_moved_is_found_beside_its_file(tmp_path: Path) -> None:
    shutil.copytree(CHECKPOINT, tmp_path / '2stems')
    before = resolve_model(tmp_path / '2stems').fingerprint
    (tmp_path / '2stems/checkpoint').write_text('model_checkpoint_path: "/gone/model"\n')
    assert resolve_model(tmp_path / '2stems').fingerprint == before
    (tmp_path / '2stems/checkpoint').write_text('model_checkpoint_path: "/gone/other"\n')
    with pytest.raises(UsageError, match='does not name one that is there'):
        resolve_model(tmp_path / '2stems')


def test_the_fingerprint_follows_what_changes_the_stems_and_nothing_else(tmp_path: Path) -> None:
    folder = write_model(tmp_path / 'model', TINY)
    before = resolve_model(folder).fingerprint
    config = folder / 'config.json'
    config.write_text(json.dumps({**TINY.to_json(), 'learning_rate': 1.0}))
    assert resolve_model(folder).fingerprint == before
    config.write_text(json.dumps({**TINY.to_json(), 'separation_exponent': 1}))
    assert resolve_model(folder).fingerprint != before
    config.write_text(json.dumps(TINY.to_json()))
    write_model(folder, TINY, seed=1)
    assert resolve_model(folder).fingerprint != before


@pytest.mark.parametrize('name', ['9stems', '/no/such/folder', '', 'spleeter:mini', '4STEMS', 'file:///no/such'])
def test_an_unknown_model_is_named_with_the_known_ones(name: str) -> None:
    assert find_published(name) is None
    with pytest.raises(UsageError, match=r'unknown model .*mini, 2stems, 2stems-16kHz, 4stems'):
        resolve_model(name)


def test_a_folder_without_weights_or_with_an_unclear_configuration_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / 'model', TINY)
    (folder / 'weights.npz').unlink()
    with pytest.raises(UsageError, match=r'neither weights\.npz nor a checkpoint'):
        resolve_model(folder)
    (folder / 'config.json').rename(folder / 'a.json')
    shutil.copy(folder / 'a.json', folder / 'b.json')
    with pytest.raises(UsageError, match='not clear'):
        resolve_model(folder)


def test_a_json_file_without_a_model_folder_says_so(tmp_path: Path) -> None:
    path = tmp_path / 'model.json'
    path.write_text(json.dumps(TINY.to_json()))
    with pytest.raises(UsageError, match='model_dir is missing'):
        resolve_model(path)


def test_a_url_is_copied_into_the_store(store: Store, tmp_path: Path) -> None:
    folder = write_model(tmp_path / 'model', TINY)
    memory = fsspec.filesystem('memory')
    memory.put(str(folder), '/models/mine', recursive=True)
    files = resolve_model('memory://models/mine', progress=False)
    assert files.name == 'memory://models/mine'
    assert files.config == TINY
    assert files.fingerprint == resolve_model(folder).fingerprint
    assert Path(files.weights).parent.parent == Path(store.folder('remote'))
    assert os.path.basename(files.weights) == WEIGHTS_FILE
