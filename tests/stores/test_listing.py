"""Folders, globs and listings of stores: read page by page, each page tried again by itself."""

from __future__ import annotations

from typing import Any

import pytest

from stembeam.model.errors import UsageError
from stembeam.transforms import remote_listing
from stembeam.transforms.listing import read_listing
from stembeam.transforms.remote_listing import list_below
from stembeam.transforms.storage import Storage

from .conftest import Store

NAMES = ['a.mp3', 'b/c.flac', 'b/d/e.wav', 'b/d/f.txt', 'b2/g.ogg']


@pytest.fixture
def full(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with some files, of which no more than two come at once."""
    for name in NAMES:
        store.put(f'in/{name}', b'x')
    store.put('in2/other.mp3', b'x')  # not in the folder, only its name begins alike
    monkeypatch.setattr(remote_listing, 'PAGE_NAMES', 2)
    store.proxy.seen.clear()
    return store


def pages(store: Store) -> int:
    return store.proxy.count(r'^GET [^ ]*(list-type=2|/o\?)')


def test_pages_are_asked_for_as_they_are_needed(full: Store):
    if full.protocol == 'gs':
        pytest.skip('the emulator gives everything at once')
    found = list_below(f'{full.root}/in')
    assert next(found) == 'a.mp3'
    assert pages(full) == 1
    assert sorted(['a.mp3', *found]) == NAMES
    assert pages(full) == 3


def test_pages_of_google(monkeypatch: pytest.MonkeyPatch):
    asked = []

    class FileSystem:
        protocol = ('gs', 'gcs')

        def call(self, method: str, path: str, bucket: str, **options: Any) -> dict[str, Any]:
            assert (method, path, bucket) == ('GET', 'b/{}/o', 'bucket')
            asked.append(options)
            number = int(options.get('pageToken', 0))
            more = {'nextPageToken': str(number + 1)} if number < 2 else {}
            return {'items': [{'name': f'in/{number}.mp3'}, {'name': 'in/mark/'}], **more}

    monkeypatch.setattr(remote_listing, 'open_filesystem', lambda url: (FileSystem(), 'bucket/in'))
    found = list_below('gs://bucket/in')
    assert next(found) == '0.mp3'
    assert asked == [{'json_out': True, 'prefix': 'in/', 'maxResults': 1000}]
    assert list(found) == ['1.mp3', '2.mp3']
    assert [options.get('pageToken') for options in asked] == [None, '1', '2']


def test_a_page_is_tried_again_by_itself(full: Store):
    if full.protocol == 'gs':
        pytest.skip('the emulator gives everything at once')
    found = list_below(f'{full.root}/in')
    next(found)
    full.proxy.break_next('503', 'continuation|pageToken', times=2)
    full.proxy.break_next('reset', 'continuation|pageToken')
    assert len([*found]) == 4
    assert 5 <= pages(full) <= 7


def test_folders_and_globs(full: Store):
    def ids(text: str) -> list[str]:
        return [track.track_id for track in read_listing([f'{full.root}/{text}']).tracks]

    assert ids('in') == ids('in/') == ids('in/**') == ['a', 'b/c', 'b/d/e', 'b2/g']
    assert ids('in/*.mp3') == ['a']
    assert ids('in/b*/*') == ['b/c', 'b2/g']
    assert ids('in/**/[e-g].*') == ['b/d/e', 'b2/g']
    full.proxy.seen.clear()
    assert ids('*/a.mp3') == ['in/a']
    assert full.proxy.count(r'(prefix=in%2Fb|prefix=in/b)') == 0  # what cannot match is not looked into
    with pytest.raises(UsageError, match='does not exist'):
        ids('nowhere')


def test_listings(full: Store):
    full.put('lists/l.csv', b'uri,year\n../in/a.mp3,1990\n' + f'{full.root}/in/b/c.flac,1991\n'.encode())
    found = read_listing([f'{full.root}/lists/l.csv']).tracks
    assert [(track.uri, track.metadata) for track in found] == [
        (f'{full.root}/in/a.mp3', {'year': 1990}),
        (f'{full.root}/in/b/c.flac', {'year': 1991}),
    ]
    full.put('lists/bad.txt', b'/etc/passwd\n')
    with pytest.raises(UsageError, match=r'bad.txt, line 1: /etc/passwd is a file of the machine'):
        read_listing([f'{full.root}/lists/bad.txt'])


def test_the_output_folder(full: Store):
    out = Storage.at(full.root)
    assert sorted(out.list_files('in')) == [f'in/{name}' for name in NAMES]
    assert sorted(out.list_names('in')) == ['in/a.mp3', 'in/b', 'in/b2']
    assert sorted(out.list_names('')) == ['in', 'in2']
    out.remove_folder('in/b')
    assert sorted(out.list_files('in')) == ['in/a.mp3', 'in/b2/g.ogg']
    assert out.list_names('nowhere') == []
    assert list(out.list_files('nowhere')) == []
