import csv
import datetime
import decimal
import io
import json
import os
import sys
import zipfile
from typing import Any

import fsspec
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


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, under a path that looks like a pattern."""
    folder = tmp_path / 'here [1]'
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty."""
    filesystem = fsspec.filesystem('memory')
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = ['']
    return filesystem


def touch(folder, *names):
    for name in names:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb'):
            pass


def ids(*inputs, **options):
    return [track.track_id for track in read_listing(inputs, **options).tracks]


def uris(*inputs):
    return [track.uri for track in read_listing(inputs).tracks]


def refusal(*inputs):
    """The message with which a run is stopped."""
    with pytest.raises(UsageError) as error:
        read_listing(inputs)
    message = str(error.value)
    assert '\n' not in message
    return message


class TestFolders:
    def test_audio_below_it_in_order_and_the_rest_counted(self, here):
        touch('music', 'b.MP3', 'a/x.flac', 'a-z/x.wav', 'a/.hidden/y.ogg', 'a/cover.jpg', 'c.JPG', 'README', '._b.MP3')
        listing = read_listing(['music'])
        assert [track.track_id for track in listing.tracks] == ['a-z/x', 'a/.hidden/y', 'a/x', 'b']
        assert listing.tracks[-1] == ('b', str(here / 'music/b.MP3'), {})
        assert listing.ignored == {'.jpg': 2, '(none)': 1, '._*': 1}

    @pytest.mark.parametrize('spelling', ['music', 'music/', './music', '../here [1]/music', 'file:'])
    def test_every_spelling_is_the_same(self, here, spelling):
        touch('music', *HARD_NAMES)
        spelling = (here / 'music').as_uri() if spelling == 'file:' else spelling
        assert uris(spelling) == [f'{here}/music/{name}' for name in sorted(HARD_NAMES)]
        assert ids(spelling) == [name.removesuffix('.mp3') for name in sorted(HARD_NAMES)]

    def test_undecodable_names_survive(self, here):
        touch(b'music', b'caf\xe9.mp3')
        assert uris('music') == [f'{here}/music/caf\udce9.mp3']
        assert os.path.exists(uris('music')[0])

    def test_links_are_followed_and_loops_end(self, here):
        touch('.', 'disk/x.mp3', 'music/real/y.mp3')
        os.symlink('../music', 'music/loop')
        os.symlink('real', 'music/a link to a folder that is there anyway')
        os.symlink('../disk', 'music/disk')
        os.symlink('../disk/x.mp3', 'music/file.mp3')
        os.symlink('nowhere', 'music/gone.mp3')
        os.symlink('itself.mp3', 'music/itself.mp3')
        assert ids('music') == ['disk/x', 'file', 'gone', 'itself', 'real/y']

    def test_the_output_folder_is_not_entered(self, here):
        touch('.', 'x.mp3', 'out/stems/x/vocals.wav', 'outer/y.mp3')
        assert ids('.', exclude=['out']) == ['outer/y', 'x']
        assert ids('**/*.mp3', '*/*/*/*.wav', 'x.mp3', exclude=[]) == ['outer/y', 'x', 'out/stems/x/vocals']

    def test_nothing_in_it(self, here):
        touch('music', 'a.jpg', 'b.jpg', 'c.pdf')
        assert refusal('music') == (
            'no audio in the folder music (found 2 .jpg, 1 .pdf); check the path, or name the files themselves'
        )
        os.mkdir('empty')
        assert 'no audio in the folder empty (found nothing)' in refusal('empty')

    def test_a_missing_folder(self, here):
        assert refusal('music') == 'music does not exist; check the path'
        assert refusal('new\nline/') == 'the folder new\\nline/ does not exist; check the path'


class TestFiles:
    def test_named_files_are_taken_whatever_they_are(self, here):
        touch('.', *HARD_NAMES, 'notes.xyz', 'No. 5')
        inputs = [*HARD_NAMES, 'notes.xyz', 'No. 5', 'missing.mp3']
        assert uris(*inputs) == [f'{here}/{name}' for name in inputs]
        assert ids(*inputs)[-5:] == ['[x]*', '-v', 'notes', 'No. 5', 'missing']

    def test_a_name_that_exists_is_no_pattern(self, here):
        touch('.', 'Song [Live].mp3', 'Song L.mp3')
        assert ids('Song [Live].mp3') == ['Song [Live]']
        os.remove('Song [Live].mp3')
        assert ids('Song [Live].mp3') == ['Song L']

    def test_nothing_named(self):
        assert 'no input' in refusal()
        assert 'empty' in refusal('')

    def test_file_urls(self, here):
        touch('.', 'a b.mp3', '100%25.mp3')
        assert uris(f'file://{here}/a%20b.mp3') == [f'{here}/a b.mp3']
        assert uris(f'file://{here}/100%25.mp3') == [f'{here}/100%25.mp3']
        assert 'names the host nas' in refusal('file://nas/x.mp3')


class TestGlobs:
    @pytest.mark.parametrize(
        ('pattern', 'expected'),
        [
            ('music/*', ['.h', 'x']),
            ('music/**', ['.h', 'a/b/z', 'a/y', 'x']),
            ('music/**/*', ['.h', 'a/b/z', 'a/y', 'x']),
            ('music/**/y*', ['a/y']),
            ('music/*/[xyz].*', ['a/y']),
            ('m*/a/**/z.mp3', ['music/a/b/z']),
            ('music/a*/', ['a/b/z', 'a/y']),
            ('music/?.mp3', ['x']),
        ],
    )
    def test_what_matches(self, here, pattern, expected):
        touch('music', 'x.mp3', '.h.mp3', 'a/y.mp3', 'a/b/z.mp3', 'a/cover.jpg', 'notes.xyz')
        assert ids(pattern) == expected
        assert ids(f'{here}/{pattern}') == expected

    def test_others_are_counted_unless_spelled_out(self, here):
        touch('music', 'x.mp3', 'y.xyz', 'album/z.mp3')
        assert read_listing(['music/*']).ignored == {'.xyz': 1, '(folder)': 1}
        assert ids('music/*.xyz') == ['y']

    def test_listings_that_match_are_read(self, here):
        touch('lists/b', 'x.mp3')
        (here / 'lists/b/1.txt').write_text('x.mp3')
        (here / 'lists/2.txt').write_text('y.mp3')
        assert uris('lists/**/*.txt') == [f'{here}/lists/2.txt'.replace('2.txt', 'y.mp3'), f'{here}/lists/b/x.mp3']

    def test_nothing_matches(self, here):
        touch('music', 'album/z.mp3')
        assert 'the pattern music/*.mp3 (found nothing)' in refusal('music/*.mp3')
        assert '(found 1 (folder)); use "**" to go into folders' in refusal('music/*')
        assert 'nothing matches *.csv' in refusal('*.csv')

    def test_loops_end(self, here):
        touch('music', 'a/x.mp3')
        os.symlink('..', 'music/a/up')
        os.symlink('.', 'music/a/self')
        assert ids('music/**/*.mp3') == ['a/x']


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


class TestIds:
    def test_parents_are_put_in_front_until_distinct(self, here):
        assert ids('a/x.wav', 'b/x.wav', 'b/y.wav') == ['a/x', 'b/x', 'y']
        assert ids('1/a/x.wav', '2/a/x.mp3', 'b/x.wav') == ['1/a/x', '2/a/x', 'b/x']

    def test_two_folders_with_the_same_names(self, here):
        touch('.', 'cd1/01.wav', 'cd2/01.wav', 'cd2/02.wav')
        assert ids('cd1', 'cd2') == ['cd1/01', 'cd2/01', '02']

    def test_a_given_id_stays(self, here):
        (here / 't.csv').write_text('uri,track_id\na.wav,x\n')
        assert ids('b/x.wav', 't.csv') == ['b/x', 'x']

    def test_listed_twice_counts_once(self, here):
        touch('music', 'a/x.mp3')
        (here / 't.csv').write_text('uri,track_id,genre\nmusic/a/x.mp3,,Rock\n')
        assert read_listing(['music', 'music/a', 'music/a/x.mp3', 't.csv']).tracks == [
            ('a/x', f'{here}/music/a/x.mp3', {'genre': 'Rock'})
        ]
        (here / 't.csv').write_text('uri,track_id\nmusic/a/x.mp3,one\nmusic/a/x.mp3,two\nmusic/a/x.mp3,one\n')
        assert ids('music', 't.csv', 'music') == ['one', 'two']

    def test_listed_twice_with_different_columns(self, here):
        (here / 't.csv').write_text('uri,genre\nx.mp3,Rock\nx.mp3,Jazz\n')
        assert refusal('t.csv').endswith(
            f'row 2 (line 3): {here}/x.mp3 is listed twice with different columns; keep one row'
        )

    def test_what_cannot_be_told_apart(self, here):
        touch('music', 'x.mp3', 'x.wav')
        assert refusal('music') == (
            f'{here}/music/x.mp3 and {here}/music/x.wav have the name x in common; '
            'tell them apart in the track_id column of a table, or list only one'
        )
        (here / 't.csv').write_text('uri,track_id\nx.mp3,one\ny.mp3,one\n')
        assert f'{here}/x.mp3 and {here}/y.mp3 have the track_id one in common' in refusal('t.csv')


class TestUrls:
    def test_folders(self, memory):
        for name in ('b.mp3', 'a/x.flac', 'a/[1] #é?.wav', 'cover.jpg'):
            memory.pipe(f'/music/{name}', b'')
        listing = read_listing(['memory://music'])
        assert [track.track_id for track in listing.tracks] == ['a/[1] #é?', 'a/x', 'b']
        assert listing.tracks[0].uri == 'memory://music/a/[1] #é?.wav'
        assert listing.ignored == {'.jpg': 1}
        assert ids('memory://music/') == ids('memory://music')
        assert ids('memory://', exclude=['memory://music/a/']) == ['music/b']

    def test_globs(self, memory):
        for name in ('b.mp3', 'a/x.flac', 'a/y.txt', 'Song [Live].mp3'):
            memory.pipe(f'/music/{name}', b'')
        assert ids('memory://music/**/*.flac') == ['a/x']
        assert ids('memory://music/**') == ['Song [Live]', 'a/x', 'b']
        assert read_listing(['memory://music/*']).ignored == {'(folder)': 1}
        assert uris('memory://music/Song [Live].mp3') == ['memory://music/Song [Live].mp3']
        assert 'no audio in the pattern memory://music/*.ogg (found nothing' in refusal('memory://music/*.ogg')

    def test_listings(self, here, memory):
        memory.pipe('/lists/deep/l.txt', b'x.mp3\n../y.mp3\n../../../../z.mp3\n/abs.mp3\nftp://b/k.mp3\n')
        found = read_listing(['memory://lists/deep/l.txt'], allow_local=True)
        assert [track.uri for track in found.tracks] == [
            'memory://lists/deep/x.mp3',
            'memory://lists/y.mp3',
            'memory://lists/z.mp3',
            '/abs.mp3',
            'ftp://b/k.mp3',
        ]
        memory.pipe('/lists/t.parquet', TABLE_FILES['.parquet'])
        assert ids('memory://lists/t.parquet', allow_local=True)[0] == 'one'

    def test_archives(self, here):
        with zipfile.ZipFile('x.zip', 'w') as archive:
            archive.writestr('in/a.wav', b'')
            archive.writestr('in/b/c.wav', b'')
        assert uris('zip://in::x.zip') == ['zip://in/a.wav::x.zip', 'zip://in/b/c.wav::x.zip']
        assert ids('zip://::x.zip') == ['in/a', 'in/b/c']
        with fsspec.open(uris('zip://in/*::x.zip')[0]) as file:
            assert file.read() == b''

    def test_web_addresses_are_files(self, monkeypatch):
        monkeypatch.setattr(fsspec, 'get_filesystem_class', lambda scheme: None)  # is not installed everywhere
        (track,) = read_listing(['https://example.org/a/My%20Song.mp3?token=a/b.c']).tracks
        assert track == ('My Song', 'https://example.org/a/My%20Song.mp3?token=a/b.c', {})

    def test_same_names_in_two_buckets(self):
        assert ids('ftp://one/x.mp3', 'ftp://two/x.mp3') == ['one/x', 'two/x']

    def test_what_is_wrong(self, here, memory):
        assert 'memory://nowhere does not exist' in refusal('memory://nowhere')
        assert 'the folder memory://nowhere/ does not exist' in refusal('memory://nowhere/')
        assert 'memory://l.csv does not exist' in refusal('memory://l.csv')
        assert 'cannot read spam://x.mp3: Protocol not known: spam' in refusal('spam://x.mp3')
        (here / 'l.txt').write_text('x.mp3\nspam://x.mp3\n')
        assert 'l.txt, line 2: cannot read spam://x.mp3' in refusal('l.txt')
