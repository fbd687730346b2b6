"""Published models from a host that misbehaves: never a broken model, always a clear line."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from stembeam.model.checkpoint import read_weights
from stembeam.model.errors import RunError
from stembeam.model.store.attempts import Patience
from stembeam.model.store.display import Display
from stembeam.model.store.fetching import MIRROR_VARIABLE, NoModel, fetch_archive
from stembeam.model.store.files import identify
from stembeam.model.store.places import Store
from stembeam.model.store.published import Archive

from .release_host import (
    CHECKPOINT,
    CONFIG,
    NAME,
    QUICK,
    Answer,
    Host,
    archive_of,
    checkpoint_members,
    make_tar,
    plain,
    running_host,
)

GOOD = make_tar(*checkpoint_members())
ARCHIVE = archive_of(GOOD)
PATH = f'/{ARCHIVE.file}'
HALF = len(GOOD) // 2 // 65536 * 65536  # whole blocks: a process that is killed may lose what it has of one


@pytest.fixture
def host() -> Iterator[Host]:
    with running_host() as host:
        host.files[PATH] = GOOD
        yield host


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(tmp_path / 'store')


def fetch(store: Store, mirror: str, archive: Archive = ARCHIVE, patience: Patience = QUICK) -> str:
    return fetch_archive(archive, store, mirror, Display(), patience)


def assert_whole(store: Store, name: str = NAME) -> None:
    """The model in the store has the files that the archive was made of, and nothing else is left over."""
    folder = Path(store.folder(name))
    assert {path.name for path in folder.iterdir()} == {*os.listdir(CHECKPOINT), '.stembeam.json'}
    for path in CHECKPOINT.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert os.listdir(store.folder('.making')) == []


def assert_no_model(store: Store, name: str = NAME) -> None:
    assert store.record(name) is None
    assert not os.path.lexists(store.folder(name))
    making = store.folder('.making')
    assert not os.path.exists(making) or os.listdir(making) == []


def test_a_model_is_fetched_once_and_has_the_weights_of_its_archive(host, store):
    folder = fetch(store, host.url)
    assert_whole(store)
    assert fetch(store, host.url) == folder
    assert [asked.path for asked in host.asked] == [PATH]
    for name, value in read_weights(ARCHIVE.config, str(CHECKPOINT)).items():
        np.testing.assert_array_equal(read_weights(ARCHIVE.config, folder)[name], value)
    there = identify('tiny', ARCHIVE.config, str(CHECKPOINT))
    assert identify('tiny', ARCHIVE.config, folder).fingerprint == there.fingerprint


def test_the_progress_has_one_line_at_the_start_and_one_at_the_end(host, store, capsys):
    fetch(store, host.url)
    first, last = capsys.readouterr().err.splitlines()
    assert first == f'fetching tiny.tar.gz from {host.url}/tiny.tar.gz'
    assert re.fullmatch(rf'fetched tiny.tar.gz: {len(GOOD) / 1e6:.1f} MB, [0-9.]+ MB/s', last)


def test_a_wrong_checksum_is_no_model_and_is_fetched_from_the_start_next_time(host, store):
    host.files[PATH] = make_tar(plain('another'))
    with pytest.raises(NoModel, match=f'its SHA-256 is [0-9a-f]{{64}} instead of {ARCHIVE.sha256}'):
        fetch(store, host.url)
    assert_no_model(store)
    host.files[PATH] = GOOD
    fetch(store, host.url)
    assert_whole(store)
    assert [asked.range for asked in host.asked] == [None, None]


def test_a_connection_that_is_cut_goes_on_where_it_stopped(host, store, capsys):
    host.answers = [Answer(cut=HALF), Answer(cut=1000)]
    fetch(store, host.url)
    assert_whole(store)
    assert [asked.range for asked in host.asked] == [None, f'bytes={HALF}-', f'bytes={HALF + 1000}-']
    assert host.sent == len(GOOD)
    assert f'trying again in 0 s (2 of {QUICK.attempts})' in capsys.readouterr().err


def test_a_later_run_goes_on_where_an_earlier_one_gave_up(host, store, capsys):
    host.answers = [Answer(cut=HALF)]
    with pytest.raises(NoModel, match='the connection'):
        fetch(store, host.url, patience=QUICK._replace(attempts=1))
    assert_no_model(store)
    fetch(store, host.url)
    assert_whole(store)
    assert [asked.range for asked in host.asked] == [None, f'bytes={HALF}-']
    assert host.sent == len(GOOD)
    assert f'going on after {HALF / 1e6:.1f} MB of an earlier download' in capsys.readouterr().err
    assert os.listdir(store.folder('.partial')) == []


@pytest.mark.parametrize('extra', [-1000, 0, 1000])
def test_what_was_left_of_another_file_costs_one_fetch_from_the_start(host, store, extra):
    Path(store.partial(f'{NAME}-{ARCHIVE.sha256[:16]}.part')).write_bytes(b'x' * (len(GOOD) + extra))
    fetch(store, host.url)
    assert_whole(store)
    assert host.sent == len(GOOD) + max(0, -extra)


def test_a_host_that_is_always_wrong_is_given_up_after_one_fetch_from_the_start(host, store):
    Path(store.partial(f'{NAME}-{ARCHIVE.sha256[:16]}.part')).write_bytes(b'x')
    host.files[PATH] = GOOD[::-1]
    with pytest.raises(NoModel, match='SHA-256'):
        fetch(store, host.url)
    assert [asked.range for asked in host.asked] == ['bytes=1-', None]


def test_a_download_that_was_complete_is_not_asked_for_again(host, store):
    Path(store.partial(f'{NAME}-{ARCHIVE.sha256[:16]}.part')).write_bytes(GOOD)
    fetch(store, host.url)
    assert_whole(store)
    assert host.asked == []


def test_a_host_without_ranges_begins_again(host, store):
    host.answers = [Answer(cut=HALF), Answer(ranges=False)]
    fetch(store, host.url)
    assert_whole(store)
    assert host.sent == HALF + len(GOOD)


def test_a_range_that_begins_elsewhere_is_not_taken(host, store):
    host.answers = [Answer(cut=HALF), Answer(status=206, headers=(('Content-Range', 'bytes 0-1/2'),))]
    fetch(store, host.url)
    assert_whole(store)
    assert [asked.range for asked in host.asked] == [None, f'bytes={HALF}-', None]


def test_a_host_that_falls_silent_is_asked_again(host, store):
    host.answers = [Answer(cut=HALF, hang=True)]
    fetch(store, host.url, patience=QUICK._replace(read=0.5))
    assert_whole(store)
    assert host.sent == len(GOOD)


def test_a_file_that_is_not_there_is_asked_for_once(host, store):
    host.answers = [Answer(404)]
    with pytest.raises(NoModel, match='could not be used: HTTP 404 Not Found; name a mirror'):
        fetch(store, host.url)
    assert len(host.asked) == 1
    assert_no_model(store)


@pytest.mark.parametrize('answer', [Answer(500), Answer(503), Answer(429, (('Retry-After', '0'),))])
def test_trouble_of_the_host_passes(host, store, capsys, answer):
    host.answers = [answer, answer]
    fetch(store, host.url)
    assert_whole(store)
    assert len(host.asked) == 3
    assert f'HTTP {answer.status}' in capsys.readouterr().err


def test_a_connection_that_is_closed_without_an_answer_is_tried_again(host, store):
    host.answers = [Answer(0)] * (QUICK.attempts - 1)
    fetch(store, host.url)
    assert_whole(store)
    assert len(host.asked) == QUICK.attempts


def test_trouble_that_does_not_pass_is_given_up(host, store):
    host.answers = [Answer(502)] * 10
    with pytest.raises(NoModel, match=rf'HTTP 502 Bad Gateway \(tried {QUICK.attempts} times\)'):
        fetch(store, host.url)
    assert len(host.asked) == QUICK.attempts


def test_the_pause_that_a_host_asks_for_is_kept(host, store, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(time, 'sleep', slept.append)
    host.answers = [Answer(429, (('Retry-After', '7'),)), Answer(503), Answer(503, (('Retry-After', '9999'),))]
    fetch(store, host.url, patience=QUICK._replace(pause=2.0))
    assert [seconds for seconds in slept if seconds >= 1] == [7.0, 4.0, 60.0]


def test_a_redirect_is_followed_and_a_declared_encoding_is_not_unpacked(host, store):
    host.answers = [
        Answer(302, (('Location', f'{host.url}/elsewhere'),)),
        Answer(headers=(('Content-Encoding', 'gzip'),), cut=HALF),
        Answer(302, (('Location', f'{host.url}/elsewhere'),)),
    ]
    host.files['/elsewhere'] = GOOD
    fetch(store, host.url)
    assert_whole(store)
    assert host.sent == len(GOOD)


def test_a_proxy_is_used(host, store, monkeypatch):
    monkeypatch.setenv('http_proxy', host.url)
    monkeypatch.delenv('no_proxy', raising=False)
    host.files['http://release.invalid/models/tiny.tar.gz'] = GOOD
    fetch(store, 'http://release.invalid/models')
    assert_whole(store)


def test_passwords_and_keys_are_not_shown(host, store, capsys):
    address = host.url.replace('http://', 'http://me:secret@')
    with pytest.raises(NoModel) as caught:
        fetch(store, f'{address}/none?key=hidden')
    assert host.asked[0].path == '/none/tiny.tar.gz?key=hidden'
    said = capsys.readouterr().err + str(caught.value)
    assert 'secret' not in said
    assert 'hidden' not in said


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def test_without_a_network_one_line_names_the_three_ways_on(store):
    mirror = f'http://127.0.0.1:{free_port()}'
    with pytest.raises(NoModel) as caught:
        fetch(store, mirror)
    line = str(caught.value)
    assert '\n' not in line
    assert f'{mirror}/tiny.tar.gz could not be used: no connection (' in line
    assert '(tried 2 times)' in line
    by_hand = os.path.join(store.root, 'tiny.tar.gz')
    assert line.endswith(
        f'name a mirror with {MIRROR_VARIABLE}, or put tiny.tar.gz there by hand as {by_hand}, or use --model mini'
    )


def test_an_archive_placed_by_hand_is_taken(host, store):
    os.makedirs(store.root)
    Path(store.root, 'tiny.tar.gz').write_bytes(GOOD)
    fetch(store, host.url)
    assert_whole(store)
    assert host.asked == []
    assert Path(store.root, 'tiny.tar.gz').read_bytes() == GOOD


def test_a_wrong_archive_placed_by_hand_is_named(host, store):
    os.makedirs(store.root)
    Path(store.root, 'tiny.tar.gz').write_bytes(GOOD[:-1])
    with pytest.raises(NoModel, match=re.escape(f'{store.root}/tiny.tar.gz could not be used: its SHA-256 is')):
        fetch(store, host.url)
    assert_no_model(store)


@pytest.mark.parametrize('form', ['{}', 'file://{}', 'file://localhost{}', '~/mirror'])
def test_a_folder_is_a_mirror(store, tmp_path, monkeypatch, form):
    monkeypatch.setenv('HOME', str(tmp_path))
    mirror = tmp_path / 'mirror'
    mirror.mkdir()
    (mirror / 'tiny.tar.gz').write_bytes(GOOD)
    fetch(store, form.format(mirror))
    assert_whole(store)


def test_an_object_store_is_a_mirror_and_is_resumed_from(store):
    memory = fsspec.filesystem('memory')
    memory.pipe_file('/mirror/tiny.tar.gz', GOOD)
    Path(store.partial(f'{NAME}-{ARCHIVE.sha256[:16]}.part')).write_bytes(GOOD[:HALF])
    fetch(store, 'memory://mirror/')
    assert_whole(store)
    with pytest.raises(NoModel, match='there is no such file'):
        fetch(store, 'memory://elsewhere', ARCHIVE._replace(name='other'))


def test_a_mirror_of_an_unknown_kind_says_so(store):
    with pytest.raises(NoModel, match='nosuch'):
        fetch(store, 'nosuch://mirror')


def test_the_environment_names_a_mirror(host, store, monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, host.url)
    fetch_archive(ARCHIVE, store, None, Display(), QUICK)
    assert_whole(store)


def test_a_damaged_model_in_the_store_is_fetched_again(host, store):
    folder = Path(fetch(store, host.url))
    with open(folder / 'model.data-00000-of-00001', 'r+b') as file:
        file.truncate(1000)
    fetch(store, host.url)
    assert_whole(store)
    assert len(host.asked) == 2


def test_a_folder_of_somebody_else_is_left_alone(host, store):
    shutil.copytree(CHECKPOINT, store.folder(NAME))
    with pytest.raises(RunError, match=r'stembeam did not put it there: move it away'):
        fetch(store, host.url)
    assert sorted(os.listdir(store.folder(NAME))) == sorted(os.listdir(CHECKPOINT))


def test_what_a_killed_process_was_making_is_removed(host, store):
    for name in ('tiny@abc', 'other@abc'):
        os.makedirs(store.folder(f'.making/{name}'))
    fetch(store, host.url)
    assert os.listdir(store.folder('.making')) == ['other@abc']


@pytest.mark.parametrize(
    ('members', 'message'),
    [
        ([plain('model.index')], 'holds no checkpoint'),
        ([m for m in checkpoint_members() if m[0].name != 'model.index'], 'does not name one that is there'),
        (
            checkpoint_members(CHECKPOINT.parent / 'tiny_4stems'),
            r'do not fit their configuration \(unknown .* and 145 more\)',
        ),
    ],
)
def test_an_archive_with_another_model_is_not_installed(store, tmp_path, members, message):
    content = make_tar(*members)
    (tmp_path / 'tiny.tar.gz').write_bytes(content)
    with pytest.raises(NoModel, match=message) as caught:
        fetch(store, str(tmp_path), archive_of(content))
    assert '\n' not in str(caught.value)
    assert_no_model(store)


def test_an_archive_with_half_of_the_data_is_not_installed(store, tmp_path):
    members = checkpoint_members()
    halves = [plain(i.name, c[: len(c) // 2] if '.data-' in i.name else c) for i, c in members]
    content = make_tar(*halves)
    (tmp_path / 'tiny.tar.gz').write_bytes(content)
    with pytest.raises(NoModel, match=r'tiny.tar.gz holds only a part of [a-z0-9_/]+: '):
        fetch(store, str(tmp_path), archive_of(content))
    assert_no_model(store)


def test_no_space_for_the_download(host, store):
    if not os.path.exists('/dev/full'):
        pytest.skip('this system has no /dev/full')
    os.symlink('/dev/full', store.partial(f'{NAME}-{ARCHIVE.sha256[:16]}.part'))
    message = f'model store {store.root}: No space left on device: make room there, or name another folder'
    with pytest.raises(RunError, match=re.escape(message)):
        fetch(store, host.url)
    assert_no_model(store)


FETCHER = """
import resource, sys
from stembeam.model.store.display import Display
from stembeam.model.store.fetching import fetch_archive
from stembeam.model.store.places import Store
from stembeam.model.store.published import Archive

store, mirror, sha256, config, most = sys.argv[1:]
if int(most):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
try:
    print(fetch_archive(Archive('tiny', sha256, config), Store.at(store), mirror, Display()))
except Exception as error:
    sys.exit(f'{type(error).__name__}: {error}')
assert 'tensorflow' not in sys.modules
"""


def start_fetcher(store: Store, mirror: str, most_bytes: int = 0) -> subprocess.Popen[str]:
    """A process of its own that fetches the model; it can write files of at most `most_bytes`, if not 0."""
    command = [sys.executable, '-c', FETCHER, store.root, mirror, ARCHIVE.sha256, str(CONFIG), str(most_bytes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_no_space_for_the_model(store, tmp_path):
    (tmp_path / 'tiny.tar.gz').write_bytes(GOOD)
    process = start_fetcher(store, str(tmp_path), most_bytes=1_000_000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f'RunError: model store {store.root}: File too large: make room there' in said
    assert_no_model(store)


def test_ten_processes_at_once_fetch_once(host, store):
    host.answers = [Answer(cut=HALF, hang=True)]  # until all of them are there
    processes = [start_fetcher(store, host.url) for _ in range(10)]
    assert host.hung.wait(60)
    # All but one wait and say so; reading their lines here, none can have come too late.
    waiting = 0
    for process in processes:
        assert process.stderr is not None
        waiting += process.stderr.readline().startswith('waiting for another process')
    host.go_on.set()
    outcomes = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 10, outcomes
    assert waiting == 9
    assert {out for out, _ in outcomes} == {f'{store.folder(NAME)}\n'}
    assert [asked.range for asked in host.asked] == [None, f'bytes={HALF}-']
    assert_whole(store)


def test_a_process_that_is_killed_leaves_what_it_fetched_and_no_model(host, store):
    host.answers = [Answer(cut=HALF, hang=True)]
    process = start_fetcher(store, host.url)
    assert host.hung.wait(60)
    part = Path(store.partial(f'{NAME}-{ARCHIVE.sha256[:16]}.part'))
    until = time.monotonic() + 60
    while (not part.exists() or part.stat().st_size < HALF) and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    assert_no_model(store)
    process = start_fetcher(store, host.url)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert [asked.range for asked in host.asked] == [None, f'bytes={HALF}-']
    assert host.sent == len(GOOD)
    assert_whole(store)
