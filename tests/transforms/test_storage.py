from __future__ import annotations

import errno
import os
import pickle
import subprocess
import threading
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from stembeam.model.errors import RunError, UsageError
from stembeam.transforms.storage import PRIVATE, Storage, full_disk_stops_the_run


@pytest.fixture(params=['local', 'memory'])
def storage(request, tmp_path):
    """An empty output folder, on a disk and in an object store."""
    if request.param == 'local':
        return Storage.at(str(tmp_path / 'out [1]'))
    memory = fsspec.filesystem('memory')
    memory.store.clear()
    memory.pseudo_dirs[:] = ['']
    return Storage.at('memory://bucket/out/')


def make(storage, path, content):
    with storage.new_folder() as folder:
        local = os.path.join(folder, 'x')
        Path(local).write_bytes(content)
        storage.publish(local, path)
        assert not os.path.exists(local)


def test_a_published_file_replaces_the_former_one(storage):
    make(storage, 'stems/a/vocals.wav', b'one')
    make(storage, 'stems/a/vocals.wav', b'other')
    assert storage.read_bytes('stems/a/vocals.wav') == b'other'
    assert storage.size('stems/a/vocals.wav') == 5


def test_what_is_not_there(storage):
    assert storage.size('stems/none.wav') is None
    assert list(storage.list_files('stems')) == []
    assert storage.list_names('stems') == []
    storage.remove('stems/none.wav')
    storage.remove_folder('stems')
    with pytest.raises(FileNotFoundError):
        storage.read_bytes('stems/none.wav')


def test_a_file_in_place_of_a_folder_is_no_file_inside_it(storage):
    storage.write_bytes('stems', b'x')
    assert storage.size('stems/vocals.wav') is None


def test_listing_and_removing(storage):
    for path in ('a/b/1.json', 'a/2.json', 'ab/3.json', 'top.json'):
        storage.write_bytes(path, b'{}')
    assert sorted(storage.list_files('a')) == ['a/2.json', 'a/b/1.json']
    assert sorted(storage.list_names('a')) == ['a/2.json', 'a/b']
    assert {'a', 'ab', 'top.json'} <= set(storage.list_names('')) <= {'a', 'ab', 'top.json', PRIVATE}
    storage.remove('a/2.json')
    assert sorted(storage.list_files('a')) == ['a/b/1.json']
    storage.remove_folder('a')
    assert list(storage.list_files('a')) == []
    assert storage.read_bytes('ab/3.json') == b'{}'


def test_a_local_copy_has_the_content(storage):
    storage.write_bytes('part.npy', b'content')
    with storage.local_copy('part.npy') as path:
        assert Path(path).read_bytes() == b'content'
    assert storage.size('part.npy') == 7
    assert os.path.exists(path) == storage.is_local


def test_it_travels_to_workers(storage):
    storage.write_bytes('a', b'1')
    assert pickle.loads(pickle.dumps(storage)).read_bytes('a') == b'1'


def test_checking_leaves_nothing(storage):
    storage.check_writable()
    assert list(storage.list_files(PRIVATE)) == []


def test_files_in_the_making_are_hidden_and_removed(storage):
    with pytest.raises(ValueError, match='half'), storage.new_folder() as folder:  # noqa: PT012
        Path(folder, 'half.wav').write_bytes(b'half')
        assert list(storage.list_files('stems')) == []
        if storage.is_local:  # on the same disk, or renaming would copy
            assert folder.startswith(os.path.join(storage.root, PRIVATE, 'tmp', ''))
        raise ValueError('half')
    assert not os.path.exists(folder)


def test_what_killed_runs_left_is_forgotten_and_what_others_make_is_not(tmp_path):
    storage = Storage.at(str(tmp_path))
    storage.forget_unfinished()  # nothing there yet
    with subprocess.Popen(['sleep', '100']) as process, storage.new_folder() as ours:
        making, name = os.path.split(ours)
        host = name.split('-', 2)[2]
        folders = {
            kind: os.path.join(making, f'x-{process.pid}-{kind}') for kind in (host, 'elsewhere', 'elsewhere-old')
        }
        for folder in folders.values():
            os.mkdir(folder)
            Path(folder, 'half.wav').write_bytes(b'half')
        os.utime(folders['elsewhere-old'], (0, 0))
        storage.forget_unfinished()
        assert sorted(os.listdir(making)) == sorted([name, f'x-{process.pid}-{host}', f'x-{process.pid}-elsewhere'])
        process.kill()
        process.wait()
        storage.forget_unfinished()
        assert sorted(os.listdir(making)) == sorted([name, f'x-{process.pid}-elsewhere'])


def test_readers_never_see_half_a_file(tmp_path):
    storage = Storage.at(str(tmp_path))
    contents = [letter * 1_000_000 for letter in (b'a', b'b')]
    make(storage, 'stem.wav', contents[0])
    ended = threading.Event()

    def replace():
        for number in range(40):
            make(storage, 'stem.wav', contents[number % 2])
        ended.set()

    thread = threading.Thread(target=replace)
    thread.start()
    seen = set()
    while not ended.is_set():
        seen.add(storage.read_bytes('stem.wav'))
    thread.join()
    assert seen <= set(contents)


def test_roots():
    assert Storage.at('out/').root == os.path.join(os.getcwd(), 'out')
    assert Storage.at('s3://bucket/out/').url('stems/a.wav') == 's3://bucket/out/stems/a.wav'
    assert Storage.at('file:///tmp/out').root == '/tmp/out'
    assert Storage.at('s3://bucket').url('') == 's3://bucket'


class Denied(Exception):
    """As the exceptions of object stores' own packages, no OSError."""


class DenyingFileSystem(MemoryFileSystem):
    protocol = 'denying'

    def pipe_file(self, path, value, mode='overwrite', **options):
        raise Denied('no credentials\nsecond line')


def test_an_unwritable_folder_is_one_line_with_the_cure(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    fsspec.register_implementation('denying', DenyingFileSystem, clobber=True)
    for root, cause in (
        (str(tmp_path / 'file' / 'out'), 'Not a directory'),
        (str(tmp_path / 'file'), 'Not a directory'),
        ('nosuch://bucket/out', 'nosuch'),
        ('denying://bucket/out', 'no credentials'),
    ):
        with pytest.raises(UsageError) as error:
            Storage.at(root).check_writable()
        message = str(error.value)
        assert '\n' not in message
        assert all(word in message for word in (root, cause, '-o'))


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs a device that is always full')
def test_a_full_disk_stops_the_run(tmp_path):
    storage = Storage.at(str(tmp_path))
    storage.write_bytes('complete', b'kept')
    with (
        pytest.raises(RunError, match=r'No space left.*make room'),
        storage.new_folder() as folder,
        open('/dev/full', 'wb') as full,
    ):
        full.write(b'x' * 100_000)
    assert not os.path.exists(folder)
    assert storage.read_bytes('complete') == b'kept'


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_fills_up_at_the_last_step(tmp_path, monkeypatch, number):
    storage = Storage.at(str(tmp_path))
    make(storage, 'a', b'kept')

    def replace(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, 'replace', replace)
    with pytest.raises(RunError, match=os.strerror(number)):
        make(storage, 'a', b'lost')
    assert storage.read_bytes('a') == b'kept'


def test_other_trouble_with_files_is_the_track_s_own(tmp_path):
    with pytest.raises(FileNotFoundError), full_disk_stops_the_run('out'):
        os.stat(tmp_path / 'none')
