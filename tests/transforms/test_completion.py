from __future__ import annotations

import pytest

from stembeam.transforms.completion import (
    BEING_REPLACED,
    DONE,
    is_complete,
    list_records,
    read_record,
    record_path,
    track_key,
    write_record,
)
from stembeam.transforms.storage import Storage

NAMES = ['a', 'a/b', ' ', 'é', 'e\u0301', '😀\n"', '\udcff', '\udcc3\udca9', '\ud800', 'x' * 3000]


@pytest.fixture
def storage(tmp_path):
    return Storage.at(str(tmp_path))


def test_every_track_has_a_record_of_its_own(storage):
    paths = [write_record(storage, {'track_id': name, 'number': i}) for i, name in enumerate(NAMES)]
    assert paths == [record_path(name) for name in NAMES]
    assert len(set(paths)) == len(NAMES)
    assert [read_record(storage, path) for path in paths] == [{'track_id': n, 'number': i} for i, n in enumerate(NAMES)]
    assert sorted(list_records(storage)) == sorted(paths)


def test_keys_stay_as_they_are():
    # Records of corpora that exist are found by them.
    assert track_key('live/Song') == '65472e07cb052c6fa9953fdd30f1ff3e'
    assert record_path('live/Song') == '.stembeam/complete/65/65472e07cb052c6fa9953fdd30f1ff3e.json'


def test_a_new_record_replaces_the_former(storage):
    path = write_record(storage, {'track_id': 'a', 'status': BEING_REPLACED})
    write_record(storage, {'track_id': 'a', 'status': DONE})
    assert read_record(storage, path) == {'track_id': 'a', 'status': DONE}


@pytest.mark.parametrize('content', [b'', b'{"track_id": ', b'[]', b'null', b'\xff\xfe'])
def test_what_is_no_record_counts_as_none(storage, content):
    storage.write_bytes(record_path('a'), content)
    assert read_record(storage, record_path('a')) is None
    assert read_record(storage, record_path('none')) is None


def test_a_damaged_record_counts_as_none(storage):
    path = write_record(storage, {'track_id': 'a', 'files': {'stems/a.wav': 512}})
    content = storage.read_bytes(path)
    for damaged in (content[:-1], content.replace(b'512', b'513'), content[: len(content) // 2], b'\0' * len(content)):
        storage.write_bytes(path, damaged)
        assert read_record(storage, path) is None
    storage.write_bytes(path, content)
    assert read_record(storage, path) == {'track_id': 'a', 'files': {'stems/a.wav': 512}}


def test_numbers_that_are_none_are_refused(storage):
    with pytest.raises(ValueError):
        write_record(storage, {'track_id': 'a', 'loudness': float('nan')})
    assert read_record(storage, record_path('a')) is None


def test_complete_means_same_input_and_every_file_at_its_size(storage):
    storage.write_bytes('stems/a.wav', b'12345')
    record = {'status': DONE, 'fingerprint': 'f', 'files': {'stems/a.wav': 5}}
    assert is_complete(storage, record, 'f')
    assert not is_complete(storage, record, 'g')
    assert not is_complete(storage, {**record, 'status': BEING_REPLACED}, 'f')
    assert not is_complete(storage, {**record, 'files': {'stems/a.wav': 6}}, 'f')
    assert not is_complete(storage, {**record, 'files': {'stems/a.wav': 5, 'stems/b.wav': 1}}, 'f')


def test_there_are_no_records_in_a_new_folder(storage):
    assert list(list_records(storage)) == []
