"""What tests of listings share: files that need not be audio, tables in every format, and what becomes of inputs."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stembeam.model.errors import UsageError
from stembeam.transforms.listing import read_listing

HARD_NAMES = [
    'two\nlines.mp3',
    'a::b #1 100%25.mp3',
    'quo"te\'s.mp3',
    '😀.mp3',
    '.dot.mp3',
    'trail..mp3',
    '[x]*.mp3',
    '-v.mp3',
]


def touch(folder, *names):
    """Empty files below a folder."""
    for name in names:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb'):
            pass


def ids(*inputs, **options):
    """Of the tracks that a user's words name."""
    return [track.track_id for track in read_listing(inputs, **options).tracks]


def uris(*inputs):
    """Of the same."""
    return [track.uri for track in read_listing(inputs).tracks]


def refusal(*inputs):
    """The message with which a run is stopped."""
    with pytest.raises(UsageError) as error:
        read_listing(inputs)
    message = str(error.value)
    assert '\n' not in message
    return message


def write_csv(rows, delimiter=','):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue().encode()


def write_parquet(columns):
    data = io.BytesIO()
    pq.write_table(pa.table(columns), data, row_group_size=2)
    return data.getvalue()


TABLE: list[dict[str, Any]] = [
    {'uri': 'x, y.mp3', 'track_id': 'one', 'genre': 'Rock'},
    {'uri': '/abs/"q"\n.mp3', 'track_id': None, 'genre': None},
    {'uri': 'ftp://b/z.mp3', 'track_id': None, 'genre': 'Jazz'},
]
TABLE_FILES = {
    '.csv': write_csv([TABLE[0], *(row.values() for row in TABLE)]),
    '.tsv': b'\xef\xbb\xbf' + write_csv([TABLE[0], *(row.values() for row in TABLE)], '\t'),
    '.jsonl': '\n'.join(map(json.dumps, TABLE)).encode(),
    '.ndjson': ('\r\n\r\n'.join(map(json.dumps, TABLE)) + '\r\n').encode(),
    '.parquet': write_parquet({name: [row[name] for row in TABLE] for name in TABLE[0]}),
}
