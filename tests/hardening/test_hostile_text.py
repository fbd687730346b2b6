"""Listings and configurations that somebody has broken, by accident or not."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stembeam.model.configuration import load_config
from stembeam.model.errors import UsageError
from stembeam.model.store import CONFIGS
from stembeam.transforms.addresses import to_uri
from stembeam.transforms.listing import read_listing
from stembeam.transforms.naming import LAYOUTS, check_pattern, stem_path, track_path
from stembeam.transforms.tables_in import read_rows

from .hostile import HOSTILE, damaged, only

TEXT = b'/music/a.wav\ns3://bucket/b [1].flac\r\n# not a comment\n../c.mp3\n'
CSV = b'uri,track_id,year\n"/music/a, b.wav",x/y,1999\ns3://b/c.flac,,\n'
JSONL = b'{"uri": "/music/a.wav", "track_id": "x", "n": 1.5}\n{"uri": "b.wav", "tags": {"a": [1, null]}}\n'
CONFIGS_THERE = [path.read_bytes() for path in sorted(Path(str(CONFIGS)).glob('*.json'))]


def parquet() -> bytes:
    file = io.BytesIO()
    table = pa.table({'uri': ['/music/a.wav', 'b.wav'], 'year': [1999, None], 'tags': [['x'], []]})
    pq.write_table(table, file, compression='zstd')
    return file.getvalue()


def read(content: bytes, extension: str) -> None:
    with only(UsageError):
        for row in read_rows('listing', extension, io.BytesIO(content)):
            assert isinstance(row.uri, str)
            json.dumps(row.metadata)


DEEP = b'[' * 3000  # more than the interpreter can follow


@pytest.mark.parametrize('extension', ['.txt', '.m3u'])
@HOSTILE
@given(content=st.one_of(st.binary(max_size=200), damaged(TEXT)))
def test_text(extension, content):
    read(content, extension)


@pytest.mark.parametrize('extension', ['.csv', '.tsv'])
@HOSTILE
@given(content=st.one_of(st.binary(max_size=200), damaged(CSV, CSV.replace(b',', b'\t'))))
@example(content=b'uri\n"' + b'a' * 200_000)
@example(content=b'uri,\0\n\0\n')
def test_csv(extension, content):
    read(content, extension)


@HOSTILE
@given(content=st.one_of(st.binary(max_size=200), damaged(JSONL)))
@example(content=b'{"uri": ' + DEEP)
@example(content=b'{"uri": "a", "n": ' + b'9' * 5000 + b'}')
@example(content=b'{"uri": "a", "n": 1e999}')
def test_json_lines(content):
    read(content, '.jsonl')


@HOSTILE
@given(content=damaged(parquet()))
def test_parquet(content):
    read(content, '.parquet')


@HOSTILE
@given(content=st.one_of(damaged(TEXT), damaged(CSV)), extension=st.sampled_from(['.txt', '.csv', '.jsonl']))
def test_a_whole_listing(tmp_path_factory, content, extension):
    path = tmp_path_factory.mktemp('listing') / f'tracks{extension}'
    path.write_bytes(content)
    with only(UsageError):
        for track in read_listing([str(path)]).tracks:
            assert_stays_inside(track.track_id)


def config_with(key: str, value: object) -> bytes:
    document = json.loads(CONFIGS_THERE[0])
    if key in document:
        return json.dumps({**document, key: value}).encode()
    document['model']['params'][key] = value
    return json.dumps(document).encode()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = (
    'instrument_list',
    'frame_length',
    'frame_step',
    'T',
    'F',
    'n_channels',
    'sample_rate',
    'mask_extension',
    'model',
)


@HOSTILE
@given(content=st.one_of(damaged(*CONFIGS_THERE), st.builds(config_with, st.sampled_from(KEYS), ANYTHING)))
@example(content=DEEP)
@example(content=b'\xff\xfe{}')
def test_configurations(tmp_path_factory, content):
    path = tmp_path_factory.mktemp('model') / 'config.json'
    path.write_bytes(content)
    with only(UsageError):
        load_config(path)


def assert_stays_inside(track_id: str) -> None:
    for layout in LAYOUTS.values():
        path = layout.folder + stem_path(layout.pattern, track_id, 'vocals', 'wav')
        for inside in (path, f'features/frames/{track_path(track_id)}.parquet'):
            assert os.path.normpath(inside) == inside
            assert not os.path.isabs(inside)
            assert inside.split('/')[0] not in ('..', '.stembeam', '')
            assert '\0' not in inside


WORDS = st.text(st.sampled_from('./\\:%~ \0\n a..\ud800é'), max_size=20)


@HOSTILE
@given(track_id=st.one_of(WORDS, st.text(max_size=300)).filter(bool))
@example(track_id='../../etc/passwd')
@example(track_id='/etc/passwd')
@example(track_id='..')
@example(track_id='.stembeam/complete/x')
@example(track_id='a/../../b')
def test_output_names_never_leave_the_output_folder(track_id):
    assert_stays_inside(track_id)


PIECES = st.sampled_from(['{track}', '{instrument}', '{codec}', '{filename}', '{foldername}', '/', '..', '.', 'x', '~'])


@HOSTILE
@given(pieces=st.lists(PIECES, max_size=8), track_id=WORDS.filter(bool))
def test_nor_do_patterns_of_the_user(pieces, track_id):
    pattern = ''.join(pieces)
    with only(UsageError):
        check_pattern(pattern)
        path = stem_path(pattern, track_id, 'vocals', 'wav')
        assert os.path.normpath(path) == path
        assert not path.startswith(('/', '../'))


@HOSTILE
@given(text=st.text(max_size=50))
def test_addresses(text):
    with only(UsageError):
        to_uri(text, base='s3://bucket/a')
        to_uri(text)
