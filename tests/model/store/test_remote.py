"""Models at URLs: copied once, copied anew when they change, and only what is needed of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from stembeam.model.errors import RunError, UsageError
from stembeam.model.store import remote
from stembeam.model.store.display import silent
from stembeam.model.store.files import files_of_folder
from stembeam.model.store.places import Store
from stembeam.model.store.remote import copy_remote

from ...conftest import TINY, write_model
from .release_host import CHECKPOINT, CONFIG, QUICK, Answer, Host, running_host


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(tmp_path / 'store')


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """An object store with a Spleeter JSON file, its checkpoint among older ones, and a model folder."""
    fs = fsspec.filesystem('memory')
    fs.store.clear()
    document = {**json.loads(CONFIG.read_text()), 'model_dir': '../checkpoints/mine'}
    fs.pipe_file('/bucket/configs/mine.json', json.dumps(document).encode())
    for path in CHECKPOINT.iterdir():
        fs.pipe_file(f'/bucket/checkpoints/mine/{path.name.replace("model", "model-2")}', path.read_bytes())
        fs.pipe_file(f'/bucket/2stems/{path.name}', path.read_bytes())
    fs.pipe_file('/bucket/checkpoints/mine/checkpoint', b'model_checkpoint_path: "/gone/model-2"\n')
    fs.pipe_file('/bucket/checkpoints/mine/model-1.index', b'older')
    fs.pipe_file('/bucket/checkpoints/mine/events.out', b'large')
    yield fs
    fs.store.clear()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """The same over HTTP, which lists no folders."""
    with running_host() as host:
        host.files['/mine/config.json'] = CONFIG.read_bytes()
        for path in CHECKPOINT.iterdir():
            host.files[f'/mine/{path.name}'] = path.read_bytes()
        yield host


def copy(url: str, store: Store) -> str:
    return copy_remote(url, store, silent(), QUICK)


def fingerprint(tmp_path: Path) -> str:
    """Of the model, from a folder on this machine."""
    folder = tmp_path / 'here'
    folder.mkdir()
    (folder / 'config.json').write_bytes(CONFIG.read_bytes())
    for path in CHECKPOINT.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return files_of_folder('here', str(folder)).fingerprint


def test_a_json_file_is_copied_with_its_newest_checkpoint(memory, store, tmp_path):
    folder = copy('memory://bucket/configs/mine.json', store)
    assert set(os.listdir(folder)) == {
        '.stembeam.json',
        'config.json',
        'checkpoint',
        'model-2.index',
        'model-2.data-00000-of-00001',
    }
    assert files_of_folder('mine', folder).fingerprint == fingerprint(tmp_path)


def test_a_published_folder_needs_no_configuration_if_it_fits(memory, store):
    with pytest.raises(UsageError, match=r'weights memory://bucket/2stems do not fit .*wrong shape: conv2d'):
        copy('memory://bucket/2stems', store)
    assert store.remote_keys() == []


def test_it_is_copied_once_and_anew_when_it_changed(memory, store, monkeypatch):
    first = copy('memory://bucket/configs/mine.json', store)
    with monkeypatch.context() as patch:
        patch.setattr(remote, 'transfer', None)
        assert copy('memory://bucket/configs/mine.json', store) == first
    content = (CHECKPOINT / 'model.data-00000-of-00001').read_bytes()
    memory.pipe_file('/bucket/checkpoints/mine/model-2.data-00000-of-00001', content[::-1])
    second = copy('memory://bucket/configs/mine.json', store)
    assert second != first
    assert Path(second, 'model-2.data-00000-of-00001').read_bytes() == content[::-1]
    assert sorted(store.folder(key) for key in store.remote_keys()) == sorted([first, second])


def test_a_change_while_copying_is_noticed(memory, store, monkeypatch):
    transfer = remote.transfer

    def meddling(url, *rest):
        transfer(url, *rest)
        memory.pipe_file('/bucket/configs/mine.json', json.dumps(TINY.to_json()).encode())

    monkeypatch.setattr(remote, 'transfer', meddling)
    with pytest.raises(RunError, match='was changed while it was copied'):
        copy('memory://bucket/configs/mine.json', store)
    assert store.remote_keys() == []


def test_a_folder_over_http(host, store, tmp_path):
    host.answers = [Answer(503)]
    folder = copy(f'{host.url}/mine/?token=1', store)
    assert files_of_folder('mine', folder).fingerprint == fingerprint(tmp_path)
    assert all(asked.path.endswith('?token=1') for asked in host.asked)
    assert 'token' not in Path(folder, '.stembeam.json').read_text()


def test_a_cut_connection_is_gone_on_with(host, store):
    data = '/mine/model.data-00000-of-00001'
    host.answers_for[data] = [Answer(), Answer(cut=1000)]  # the first is asked for its version
    folder = copy(f'{host.url}/mine', store)
    assert [asked.range for asked in host.asked if asked.path == data] == [None, None, 'bytes=1000-', None]
    for path in CHECKPOINT.iterdir():
        if path.name != 'checkpoint':
            assert Path(folder, path.name).read_bytes() == path.read_bytes()


def test_a_folder_with_weights(store, tmp_path):
    fs = fsspec.filesystem('memory')
    fs.put(str(write_model(tmp_path / 'model', TINY)), '/bucket/model', recursive=True)
    folder = copy('memory://bucket/model', store)
    assert set(os.listdir(folder)) == {'.stembeam.json', 'config.json', 'weights.npz'}
    assert files_of_folder('model', folder).config == TINY


@pytest.mark.parametrize(
    ('path', 'content', 'message'),
    [
        ('configs/mine.json', None, r'mine\.json cannot be read: there is no such file'),
        ('configs/mine.json', b'{', r'model configuration memory://bucket/configs/mine\.json: Expecting'),
        ('configs/mine.json', b'{"instrument_list": ["a", "b"]}', 'the key model_dir is missing'),
        ('configs/mine.json', b'{"instrument_list": ["a", "b"], "model_dir": "/data"}', 'is a path of some machine'),
        ('configs/mine.json', b'{"instrument_list": ["a", "b"], "model_dir": "x"}', 'neither weights.npz nor a checkp'),
        ('checkpoints/mine/checkpoint', b'nothing', 'does not name a checkpoint that is there'),
        ('checkpoints/mine/model-2.index', b'nothing', r'model-2\.index is no index of a checkpoint: copy the model'),
        ('checkpoints/mine/model-2.data-00000-of-00001', None, 'data-00000-of-00001 is missing: copy the model'),
        ('checkpoints/mine/model-2.data-00000-of-00001', b'half', 'holds only a part of'),
    ],
)
def test_what_is_wrong_there_is_named(memory, store, path, content, message):
    if content is None:
        memory.rm_file(f'/bucket/{path}')
    else:
        memory.pipe_file(f'/bucket/{path}', content)
    with pytest.raises((UsageError, RunError), match=message) as caught:
        copy('memory://bucket/configs/mine.json', store)
    assert '\n' not in str(caught.value)
    assert store.remote_keys() == []


@pytest.mark.parametrize('url', ['memory://bucket/none', 'memory://bucket/configs', 'memory://bucket/checkpoints/mine'])
def test_a_folder_without_a_configuration(memory, store, url):
    if url.endswith('configs'):
        memory.pipe_file('/bucket/configs/second.json', b'{}')
    with pytest.raises((UsageError, RunError), match=f'model {url}'):
        copy(url, store)


def test_a_host_that_cannot_be_reached_is_named(store):
    with pytest.raises(
        RunError, match=r'cannot be read: http://127\.0\.0\.1:9/x/config\.json: no connection .*2 times'
    ):
        copy('http://127.0.0.1:9/x', store)
