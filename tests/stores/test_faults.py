"""Trouble of a store: what passes is tried again, once and no more often than asked for; what lasts is told at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import aiohttp
import pytest

from stembeam.model.errors import RunError, TrackError
from stembeam.model.remote import StoreOptions, install_options, retries_of_this_thread
from stembeam.transforms.sources import local_copy, open_source
from stembeam.transforms.storage import Storage

from .conftest import HASTE, Store


def read(uri: str) -> bytes:
    with local_copy(uri) as path, open(path, 'rb') as file:
        return file.read()


@pytest.mark.parametrize('kind', ['429', '500', '502', '503', 'reset', 'cut'])
def test_what_passes_is_tried_again(store: Store, kind: str):
    content = bytes(range(256)) * 40
    uri = store.put('in/a.bin', content)
    out = Storage.at(f'{store.root}/out')
    store.proxy.seen.clear()
    before = retries_of_this_thread()
    store.proxy.break_next(kind, '^GET .*a.bin' if store.protocol == 's3' else 'alt=media', times=2)
    assert read(uri) == content
    store.proxy.break_next('reset' if kind == 'cut' else kind, '^(PUT|POST)', times=2)
    out.write_bytes('b.bin', content)
    assert store.get('out/b.bin') == content
    assert sum(fault.done for fault in store.proxy.faults) == 4
    # aiohttp asks once more, at once, where a connection that it had kept turns out to be gone.
    retried = retries_of_this_thread() - before
    assert 2 <= retried <= 4 if kind in ('reset', 'cut') else retried == 4


@pytest.mark.parametrize('kind', ['503', 'reset'])
def test_a_request_is_tried_as_often_as_asked_for_and_not_more(store: Store, kind: str):
    uri = store.put('a.bin', b'x' * 1000)
    store.proxy.seen.clear()
    store.proxy.break_next(kind, 'a.bin', times=-1)
    with pytest.raises(TrackError, match=r'a.bin: cannot be read: .*\(tried 5 times in \d+ s\): run the same command'):
        read(uri)
    # gcsfs asks for a file and a folder of the name at once; aiohttp asks twice where a kept connection is gone.
    questions = (2 if store.protocol == 'gs' else 1) * (2 if kind == 'reset' else 1)
    assert HASTE.attempts <= len(store.proxy.seen) <= questions * HASTE.attempts


@pytest.mark.parametrize(('kind', 'said'), [('403', 'no permission'), ('404', 'there is no such file')])
def test_what_lasts_is_not_tried_again(store: Store, kind: str, said: str):
    uri = store.put('a.bin', b'x' * 1000)
    before = retries_of_this_thread()
    store.proxy.break_next(kind, 'a.bin|prefix=', times=-1)
    with pytest.raises(TrackError, match=said):
        read(uri)
    assert retries_of_this_thread() == before


def test_reading_goes_on_where_it_broke(store: Store, monkeypatch: pytest.MonkeyPatch):
    content = bytes(range(256)) * 4096
    uri = store.put('a.bin', content)
    monkeypatch.setattr('stembeam.model.remote.files.READ_BYTES', 1 << 16)
    store.proxy.seen.clear()
    data = r'^GET .*a\.bin' + (r'\?alt=media' if store.protocol == 'gs' else '')  # gcsfs asks for sizes with GET, too
    with open_source(uri) as source:
        source.seek(100)
        assert source.read(10) == content[100:110]
        store.proxy.break_next('cut', data, times=2)
        assert source.read(200_000) == content[110:200_110]
    wanted = -(-200_110 // (1 << 16))
    # aiohttp may ask once more by itself when a connection that it kept is gone
    assert store.proxy.count(data) - (wanted + 2) in range(3), store.proxy.seen


def test_a_store_that_stays_away_stops_the_run(store: Store):
    out = Storage.at(f'{store.root}/out')
    out.write_bytes('kept', b'1')
    store.proxy.break_next('503', '', times=-1)
    for call in (lambda: out.write_bytes('x', b'2'), lambda: out.read_bytes('kept'), lambda: out.list_names('')):
        with pytest.raises(RunError, match=r'cannot be reached.*tried 5 times.*run the same command again'):
            call()
    store.proxy.faults.clear()
    assert out.read_bytes('kept') == b'1'
    assert out.size('x') is None


def test_a_server_that_falls_silent_is_asked_again(store: Store):
    store.proxy.stall_seconds = 10
    patience = (
        {'config_kwargs': {'read_timeout': 1}}
        if store.protocol == 's3'
        else {'requests_timeout': aiohttp.ClientTimeout(sock_read=1)}
    )
    uri = store.put('a.bin', b'content')
    options = {name: {**values, **patience} for name, values in store.options.items()}
    install_options(StoreOptions(options, HASTE))
    store.proxy.break_next('stall', '^GET')
    began = time.monotonic()
    assert read(uri) == b'content'
    assert time.monotonic() - began < store.proxy.stall_seconds  # or the reset had ended it
    assert store.proxy.faults[0].done == 1


def test_an_upload_that_breaks_leaves_nothing(store: Store, tmp_path: Path):
    out = Storage.at(f'{store.root}/out')
    big = os.urandom(6 << 20)  # more than one request in gcsfs
    (tmp_path / 'big').write_bytes(big)
    store.proxy.break_next('reset', '^(PUT|POST)', times=-1)
    with pytest.raises(RunError, match='cannot be reached'):
        out.publish(str(tmp_path / 'big'), 'big')
    store.proxy.faults.clear()
    assert out.size('big') is None
    store.proxy.break_next('503', '^(PUT|POST)', times=2)
    out.publish(str(tmp_path / 'big'), 'big')
    assert store.get('out/big') == big
