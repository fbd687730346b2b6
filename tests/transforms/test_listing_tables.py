"""Text lists and tables: the same tracks from every format, and one line that says what is wrong with one."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import sys

import pyarrow as pa
import pytest

from stembeam.transforms.listing import read_listing

from .listings import TABLE_FILES, refusal, touch, uris, write_parquet


class TestTextLists:
    def test_lines(self, here):
        (here / 'l.txt').write_bytes(
            '\ufeffa b.mp3\r\n\r\n  \n#1 hit.mp3\n/abs/x\u2028y.mp3\nftp://b/k.mp3\n../up.mp3'.encode()
        )
        assert uris('l.txt') == [
            f'{here}/a b.mp3',
            f'{here}/#1 hit.mp3',
            '/abs/x\u2028y.mp3',
            'ftp://b/k.mp3',
            f'{here.parent}/up.mp3',
        ]

    def test_comments_of_playlists(self, here):
        (here / 'l.m3u8').write_text('#EXTM3U\n#EXTINF:1,Title\nalbum/x.mp3\n #1.mp3\n')
        assert uris('l.m3u8') == [f'{here}/album/x.mp3', f'{here}/ #1.mp3']

    def test_relative_to_the_list(self, here):
        touch('.', 'lists/sub/l.lst')
        (here / 'lists/sub/l.lst').write_text('x.mp3\n')
        assert uris('lists/sub/l.lst') == [f'{here}/lists/sub/x.mp3']

    def test_standard_input(self, here, monkeypatch):
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(b'x.mp3\n-y.mp3\n')))
        assert uris('-') == [f'{here}/x.mp3', f'{here}/-y.mp3']

    def test_what_is_wrong(self, here):
        (here / 'empty.txt').write_text('\n\n')
        assert refusal('empty.txt') == f'{here}/empty.txt lists no tracks; add at least one'
        (here / 'latin.txt').write_bytes(b'x.mp3\ncaf\xe9.mp3\n')
        assert 'latin.txt, line 2: not UTF-8' in refusal('latin.txt')
        assert 'missing.m3u does not exist' in refusal('missing.m3u')
        (here / 'root.txt').write_text('x.mp3\n/\n')
        assert 'root.txt, line 2: / names no file' in refusal('root.txt')


class TestTables:
    @pytest.mark.parametrize('extension', TABLE_FILES)
    def test_all_formats_say_the_same(self, here, extension):
        (here / f't{extension}').write_bytes(TABLE_FILES[extension])
        assert read_listing([f't{extension}']).tracks == [
            ('one', f'{here}/x, y.mp3', {'genre': 'Rock'}),
            ('"q"\n', '/abs/"q"\n.mp3', {'genre': None}),
            ('z', 'ftp://b/z.mp3', {'genre': 'Jazz'}),
        ]

    def test_only_a_uri(self, here):
        (here / 't.csv').write_text('uri\nx.mp3\n\n')
        assert read_listing(['t.csv']).tracks == [('x', f'{here}/x.mp3', {})]

    def test_short_rows_and_the_index_of_pandas(self, here):
        (here / 't.csv').write_text(',uri,note\n0,x.mp3\n1,y.mp3,hm\n')
        assert [track.metadata for track in read_listing(['t.csv']).tracks] == [
            {'column_1': 0, 'note': None},
            {'column_1': 1, 'note': 'hm'},
        ]

    @pytest.mark.parametrize(
        ('cells', 'values'),
        [
            (['7', '-3', ''], [7, -3, None]),
            (['7', '0.25'], [7, 0.25]),
            (['7', '007'], ['7', '007']),
            (['1.5', '1.50'], ['1.5', '1.50']),
            (['7', 'x'], ['7', 'x']),
            (['inf', 'nan'], ['inf', 'nan']),
            (['9223372036854775808', '1'], ['9223372036854775808', '1']),
            (['', ''], [None, None]),
        ],
    )
    def test_csv_columns_are_numbers_where_nothing_is_lost(self, here, cells, values):
        (here / 't.csv').write_text('uri,v\n' + ''.join(f'{i}.mp3,{cell}\n' for i, cell in enumerate(cells)))
        found = [track.metadata['v'] for track in read_listing(['t.csv']).tracks]
        assert found == values
        assert list(map(type, found)) == list(map(type, values))

    def test_json_values_stay(self, here):
        (here / 't.jsonl').write_text('{"uri": "x.mp3", "track_id": 7, "tags": ["a", {"b": 1.5}], "gain": NaN}')
        assert read_listing(['t.jsonl']).tracks == [('7', f'{here}/x.mp3', {'tags': ['a', {'b': 1.5}], 'gain': None})]

    def test_parquet_values_become_json(self, here):
        moment = datetime.datetime(2020, 1, 2, 3, 4, 5)
        columns = {
            'uri': pa.array(['x.mp3']).dictionary_encode(),
            'track_id': [2],
            'year': pa.array([1999], pa.int16()),
            'gain': [float('nan')],
            'when': pa.array([moment], pa.timestamp('ns')),
            'day': [moment.date()],
            'price': [decimal.Decimal('1.50')],
            'length': [datetime.timedelta(seconds=2.5)],
            'tags': [[{'name': 'a', 'weight': 0.5}]],
            'live': [True],
        }
        (here / 't.parquet').write_bytes(write_parquet(columns))
        (track,) = read_listing(['t.parquet']).tracks
        assert track.track_id == '2'
        assert json.loads(json.dumps(track.metadata, allow_nan=False)) == {
            'year': 1999,
            'gain': None,
            'when': '2020-01-02T03:04:05',
            'day': '2020-01-02',
            'price': 1.5,
            'length': 2.5,
            'tags': [{'name': 'a', 'weight': 0.5}],
            'live': True,
        }

    @pytest.mark.parametrize(
        ('name', 'content', 'message'),
        [
            ('t.csv', b'', 'is empty; its first line must name the columns'),
            ('t.csv', b'uri,genre\n', 'lists no tracks'),
            ('t.csv', b'path,genre\nx.mp3,Rock\n', 'has no column uri (its columns: path, genre)'),
            ('t.csv', b'uri,uri\nx,y\n', 'the column uri is there twice'),
            ('t.csv', b'uri,genre\nx.mp3,a\n ,b\n', 'row 2 (line 3): the uri is empty'),
            ('t.csv', b'uri\nx, y.mp3\n', 'row 1 (line 2): 2 values for 1 columns'),
            ('t.csv', b'uri\nx.mp3\n"y.mp3\n', 'line 3: unexpected end of data; check the quotation marks'),
            ('t.csv', b'uri\n"x".mp3\n', 'line 2: '),
            ('t.csv', b'uri\nx.mp3\n\xff.mp3\n', 'line 3: not UTF-8'),
            ('t.tsv', b'uri\ttrack_id\nx.mp3\ty\nz.mp3\ty\n', 'x.mp3 and '),
            ('t.jsonl', b'{"uri": "x.mp3"}\n{"uri": \n', 'line 2: not valid JSON (Expecting value, column'),
            ('t.jsonl', b'{"uri": "x.mp3"}\n\n["x"]\n', 'line 3: not a JSON object'),
            ('t.jsonl', b'{"path": "x.mp3", "a\\n": 1}', 'line 1: no "uri" among the keys (path, a\\n)'),
            ('t.jsonl', b'{"uri": "x.mp3", "a": {"b": 1, "b": 2}}', 'the key b is there twice'),
            ('t.jsonl', b'{"uri": "x.mp3", "a": -Infinity}', '-Infinity is no JSON number'),
            ('t.jsonl', b'{"uri": "x.mp3", "a": 1e999}', '1e999 is beyond what a number can hold'),
            ('t.jsonl', b'{"uri": ["x.mp3"]}', "line 1: the uri is ['x.mp3'], not text"),
            ('t.jsonl', b'{"uri": "x.mp3", "track_id": 1.5}', 'the track_id is 1.5'),
            ('t.jsonl', b'[' * 100_000, 'line 1: not valid JSON'),
            ('t.parquet', b'PAR1 not really', 'cannot be read as Parquet'),
            ('t.parquet', write_parquet({'path': ['x']}), 'has no column uri (its columns: path)'),
            ('t.parquet', write_parquet({'uri': ['x', 'y', None]}), 'row 3: the uri is empty'),
            ('t.parquet', write_parquet({'uri': [1]}), 'row 1: the uri is 1, not text'),
            (
                't.parquet',
                write_parquet({'uri': ['x'], 'audio': [{'bytes': b'x'}]}),
                'the column audio.bytes holds bytes',
            ),
            ('t.parquet', write_parquet({'uri': ['x'], 'gain': [float('inf')]}), 'row 1: gain is inf'),
        ],
    )
    def test_what_is_wrong(self, here, name, content, message):
        (here / name).write_bytes(content)
        assert f'{here}/{name}' in refusal(name) or 'and' in message
        assert message in refusal(name)
