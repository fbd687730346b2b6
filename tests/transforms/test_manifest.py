from __future__ import annotations

import json
from typing import Any

import apache_beam as beam
import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stembeam.pipeline import launch
from stembeam.pipeline.cli import main
from stembeam.transforms.completion import BEING_REPLACED, DONE, record_path, write_record
from stembeam.transforms.feature_tables import TRACKS_SCHEMA
from stembeam.transforms.manifest import (
    Tables,
    WriteTables,
    first_failures,
    joined_types,
    listing_types,
    manifest_row,
    manifest_schema,
    shard_of,
    table_files,
)
from stembeam.transforms.records import Completed, Failure

from ..conftest import noise
from .jobs import local_pipeline, make_job, write_track

VALUES = [0.5] * (len(TRACKS_SCHEMA) - 2)


def record_of(track_id, metadata=None, features=True, **changed):
    """A completion record with everything that the tables read."""
    stem = {'path': 'stems/vocals.wav', 'samples': 44100, 'sha256': 'ab' * 32, 'clipped': 3}
    return {
        'status': DONE,
        'track_id': track_id,
        'uri': f'/music/{track_id}.mp3',
        'metadata': metadata or {},
        'fingerprint': 'f' * 64,
        'source': {'bytes': 1234, 'changed': 5},
        'input': {'sample_rate': 48000, 'channels': 1, 'codec': 'MPEG_LAYER_III'},
        'results': {'format': 'wav', 'sample_rate': 44100, 'model': 'm' * 64},
        'model': 'tiny',
        'num_samples': 44100,
        'duration': 1.0,
        'files': {'stems/vocals.wav': 176_444, 'features/frames/a.parquet': 56},
        'stems': {'vocals': stem, 'drums': {**stem, 'path': 'stems/drums.wav', 'clipped': 0}},
        'frames': 'features/frames/a.parquet' if features else None,
        'features': {'vocals': VALUES, 'mixture': [None, *VALUES[1:]]} if features else None,
        'seconds': {'decode': 0.25, 'separate': 1.5},
        **changed,
    }


def write_all(job, records, failures=(), shards=1, types=None, new=()):
    """Tables of a corpus with these records, through a pipeline."""
    completed = [Completed(r['track_id'], write_record(job.storage, r), r['track_id'] in new) for r in records]
    tables = Tables(job, shards, types or {})
    with local_pipeline() as pipeline:
        done = pipeline | 'Done' >> beam.Create(completed)
        failed = pipeline | 'Failed' >> beam.Create(list(failures))
        _ = (done, failed) | WriteTables(tables)
    return tables


def test_a_row_of_the_manifest(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model)
    write_all(job, [record_of('live/a', {'artist': 'Ann', 'year': 1999})], types={'artist': 'string', 'year': 'int64'})
    (row,) = pq.read_table(tmp_path / 'manifest-00000-of-00001.parquet').to_pylist()
    assert {key: row[key] for key in ('track_id', 'uri', 'status', 'duration', 'num_samples', 'bytes')} == {
        'track_id': 'live/a',
        'uri': '/music/live/a.mp3',
        'status': 'done',
        'duration': 1.0,
        'num_samples': 44100,
        'bytes': 176_500,
    }
    assert dict(row['stems']) == {'vocals': 'stems/vocals.wav', 'drums': 'stems/drums.wav'}
    assert dict(row['stem_clipped']) == {'vocals': 3, 'drums': 0}
    assert dict(row['stem_samples']) == {'vocals': 44100, 'drums': 44100}
    assert dict(row['stem_sha256'])['drums'] == 'ab' * 32
    assert dict(row['seconds']) == {'decode': 0.25, 'separate': 1.5}
    assert (row['format'], row['sample_rate'], row['model'], row['model_sha256']) == ('wav', 44100, 'tiny', 'm' * 64)
    assert (row['input_sample_rate'], row['input_channels'], row['input_codec']) == (48000, 1, 'MPEG_LAYER_III')
    assert (row['input_bytes'], row['fingerprint']) == (1234, 'f' * 64)
    assert (row['artist'], row['year']) == ('Ann', 1999)


def test_every_column_is_explained(tmp_path, tiny_model):
    schema = manifest_schema({'year': 'int64'})
    assert all(field.metadata[b'definition'] for field in schema)
    assert schema.field('year').metadata[b'definition'] == b'Column year of the listing.'
    assert schema.metadata[b'stembeam_manifest_version'] == b'1'


def test_pandas_and_duckdb_read_the_tables(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model)
    records = [record_of(f't{number}', duration=float(number)) for number in range(5)]
    write_all(job, records, shards=2)
    frame = pd.concat(map(pd.read_parquet, sorted(tmp_path.glob('manifest-*.parquet'))))
    assert sorted(frame.track_id) == [f't{number}' for number in range(5)]
    manifest, tracks = str(tmp_path / 'manifest-*.parquet'), str(tmp_path / 'features' / 'tracks-*.parquet')
    query = (
        'SELECT stem, count(*), sum(duration), count(loudness_lufs), avg(rms_mean) FROM read_parquet(?) '
        'JOIN read_parquet(?) USING (track_id) GROUP BY stem ORDER BY stem'
    )
    assert duckdb.execute(query, [manifest, tracks]).fetchall() == [
        ('mixture', 5, 10, 0, 0.5),
        ('vocals', 5, 10, 5, 0.5),
    ]
    assert (
        duckdb.execute("SELECT stems['drums'] FROM read_parquet(?)", [manifest]).fetchall()
        == [('stems/drums.wav',)] * 5
    )


def test_three_shards_of_which_one_is_empty(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model)
    ids = [f't{n}' for n in range(40) if shard_of(record_path(f't{n}'), 3) != 1]
    bad = [f'b{n}' for n in range(20) if shard_of(record_path(f'b{n}'), 3) != 1]
    failures = [Failure(f'/{name}.wav', name, 'plan', 'TrackError', 'broken') for name in bad]
    tables = write_all(job, [record_of(i) for i in ids], failures, shards=3, new=ids[:7])
    rows = [
        pq.read_table(tmp_path / f'manifest-0000{shard}-of-00003.parquet')['track_id'].to_pylist() for shard in range(3)
    ]
    assert rows[1] == []
    assert min(len(rows[0]), len(rows[2])) > 5  # spread evenly
    assert sorted(rows[0] + rows[2]) == sorted(ids)
    assert all(shard == sorted(shard) for shard in rows)
    lines = [(tmp_path / f'failures-0000{shard}-of-00003.jsonl').read_text().splitlines() for shard in range(3)]
    assert lines[1] == []
    assert sorted(json.loads(line)['track_id'] for line in lines[0] + lines[2]) == sorted(bad)
    counts = [json.loads(job.storage.read_bytes(tables.counts_file(shard))) for shard in range(3)]
    assert sum(count['done'] for count in counts) == 7
    assert sum(count['audio'] for count in counts) == 7.0
    assert tables.expected_files() == set(table_files(job.storage))
    assert len(tables.expected_files()) == 9


def test_tables_of_other_runs_are_known(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model)
    write_all(job, [record_of('a')], shards=2)
    tables = Tables(make_job(tmp_path, tiny_model, features=False), 1, {})
    for name in ('manifest-of-mine.txt', 'features/frames/tracks-1.parquet', 'other.parquet'):
        job.storage.write_bytes(name, b'')
    stale = set(table_files(job.storage)) - tables.expected_files()
    assert stale == {
        f'{table}-0000{shard}-of-00002.{suffix}'
        for table, suffix in (('manifest', 'parquet'), ('features/tracks', 'parquet'), ('failures', 'jsonl'))
        for shard in range(2)
    }


def test_only_complete_tracks_are_listed_and_each_once(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model)
    half = {'status': BEING_REPLACED, 'track_id': 'half', 'files': {}}
    gone = Completed('gone', record_path('gone'), False)
    paths = {r['track_id']: write_record(job.storage, r) for r in (record_of('a'), half)}
    completed = [
        Completed('a', paths['a'], True),
        Completed('a', paths['a'], True),
        Completed('half', paths['half'], True),
        gone,
    ]
    tables = Tables(job, 1, {})
    with local_pipeline() as pipeline:
        inputs = (pipeline | 'Done' >> beam.Create(completed), pipeline | 'Failed' >> beam.Create([]))
        _ = inputs | WriteTables(tables)
    assert pq.read_table(tmp_path / 'manifest-00000-of-00001.parquet')['track_id'].to_pylist() == ['a']
    assert json.loads(job.storage.read_bytes(tables.counts_file(0))) == {'done': 1, 'audio': 1.0}


def test_many_records_are_written_in_groups(tmp_path, tiny_model, monkeypatch):
    monkeypatch.setattr('stembeam.transforms.manifest.RECORDS_PER_GROUP', 2)
    write_all(make_job(tmp_path, tiny_model), [record_of(f't{n}') for n in range(5)])
    file = pq.ParquetFile(tmp_path / 'manifest-00000-of-00001.parquet')
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 2, 1]


def test_without_features_there_is_no_table_of_them(tmp_path, tiny_model):
    write_all(make_job(tmp_path, tiny_model, features=False), [record_of('a', features=False)])
    assert pq.read_table(tmp_path / 'manifest-00000-of-00001.parquet')['frames'].to_pylist() == [None]
    assert not (tmp_path / 'features').exists()


def test_columns_of_the_listing_never_hide_ours(tmp_path, tiny_model):
    metadata = {'duration': 9.5, 'listing_duration': 8.5, 'listing_mood': 'blue', 'status': 'draft'}
    types = listing_types([metadata])
    schema = manifest_schema(types)
    assert len(set(schema.names)) == len(schema.names)
    write_all(make_job(tmp_path, tiny_model), [record_of('a', metadata)], types=types)
    (row,) = pq.read_table(tmp_path / 'manifest-00000-of-00001.parquet').to_pylist()
    assert (row['duration'], row['status']) == (1.0, 'done')
    assert (row['listing_duration'], row['listing_listing_duration']) == (9.5, 8.5)
    assert (row['listing_mood'], row['listing_status']) == ('blue', 'draft')


def test_types_of_listing_columns():
    rows: list[dict[str, Any]] = [
        {
            'flag': True,
            'year': 1999,
            'tempo': 90,
            'note': 1,
            'huge': 2**63,
            'tags': ['a'],
            'none': None,
            'least': -(2**63),
        },
        {'flag': None, 'year': None, 'tempo': 90.5, 'note': True, 'huge': 1, 'tags': 'b', 'late': 2},
    ]
    assert listing_types(rows) == {
        'flag': 'bool',
        'year': 'int64',
        'tempo': 'double',
        'note': 'string',
        'huge': 'string',
        'tags': 'string',
        'none': 'string',
        'least': 'int64',
        'late': 'int64',
    }


def test_types_of_two_listings_hold_the_values_of_both():
    former = {'year': 'int64', 'tempo': 'int64', 'code': 'bool', 'old': 'double'}
    assert joined_types(former, {'year': 'int64', 'tempo': 'double', 'code': 'int64', 'new': 'bool'}) == {
        'year': 'int64',
        'tempo': 'double',
        'code': 'string',
        'old': 'double',
        'new': 'bool',
    }


def test_values_of_listing_columns(tmp_path, tiny_model):
    first = {'flag': True, 'year': 1999, 'tempo': 2**53 + 1, 'huge': 2**63, 'tags': ['x', {'y': 1}], 'odd \ud800': 'u'}
    second = {'year': -1, 'tempo': 90.5, 'tags': 'plain \udcff'}
    types = listing_types([first, second])
    write_all(
        make_job(tmp_path, tiny_model), [record_of('a', first), record_of('b', second), record_of('c')], types=types
    )
    table = pq.read_table(tmp_path / 'manifest-00000-of-00001.parquet')
    assert table['flag'].to_pylist() == [True, None, None]
    assert table['year'].to_pylist() == [1999, -1, None]
    assert table['tempo'].to_pylist() == [float(2**53), 90.5, None]
    assert table['huge'].to_pylist() == [str(2**63), None, None]
    assert table['tags'].to_pylist() == ['["x", {"y": 1}]', 'plain \\udcff', None]
    assert table['odd \\ud800'].to_pylist() == ['u', None, None]


@pytest.mark.parametrize('name', ['bytes \udcff', 'half a pair \ud800', 'line\nbreak "quoted" 😀'])
def test_names_that_are_no_text(tmp_path, tiny_model, name):
    job = make_job(tmp_path, tiny_model)
    failure = Failure(f'/music/{name}.wav', f'other {name}', 'plan', 'TrackError', f'/music/{name}.wav: is empty')
    write_all(job, [record_of(name)], [failure])
    shown = name.encode('utf-8', 'backslashreplace').decode()
    assert pq.read_table(tmp_path / 'manifest-00000-of-00001.parquet')['track_id'].to_pylist() == [shown]
    tracks = pq.read_table(tmp_path / 'features' / 'tracks-00000-of-00001.parquet')
    assert tracks['track_id'].to_pylist() == [shown, shown]
    (line,) = (tmp_path / 'failures-00000-of-00001.jsonl').read_text().splitlines()
    assert json.loads(line) == {
        'uri': f'/music/{shown}.wav',
        'track_id': f'other {shown}',
        'stage': 'plan',
        'error': 'TrackError',
        'reason': f'/music/{shown}.wav: is empty',
    }


def test_a_track_has_one_failure_that_of_the_earliest_stage():
    def failure(track_id, stage, reason):
        return Failure(f'/{track_id}.wav', track_id, stage, 'TrackError', reason)

    found = first_failures(
        [
            failure('a', 'write', '1'),
            failure('b', 'assemble', '2'),
            failure('a', 'decode', '4'),
            failure('a', 'decode', '3'),
        ]
    )
    assert [(f.track_id, f.stage, f.reason) for f in found] == [('a', 'decode', '3'), ('b', 'assemble', '2')]


def test_rows_fit_the_schema():
    assert set(manifest_row(record_of('a'))) == set(manifest_schema({}).names)
    assert isinstance(manifest_schema({}).field('stems').type, pa.MapType)


def test_shards_do_not_depend_on_the_process():
    assert [shard_of(record_path(name), 1000) for name in ('a', 'b', 'live/c')] == [576, 970, 490]


def test_a_run_replaces_the_tables_of_the_run_before(tmp_path, tiny_model, monkeypatch):
    for name in ('a', 'b', 'c'):
        write_track(tmp_path / f'{name}.wav', noise(0.1))
    out = tmp_path / 'out'
    options = ['-o', str(out), '--model', str(tiny_model), '--workers', '1', '--no-progress']
    monkeypatch.setattr(launch, 'TRACKS_PER_SHARD', 1)
    assert main(['separate', *(str(tmp_path / f'{name}.wav') for name in 'abc'), *options]) == 0
    assert len(list(out.glob('manifest-*-of-00003.parquet'))) == 3
    monkeypatch.undo()
    assert main(['separate', str(tmp_path / 'c.wav'), *options, '--no-features']) == 0
    assert [path.name for path in out.glob('manifest-*')] == ['manifest-00000-of-00001.parquet']
    assert [path.name for path in out.glob('failures-*')] == ['failures-00000-of-00001.jsonl']
    assert list(out.glob('features/tracks-*')) == []
    rows = pq.read_table(out / 'manifest-00000-of-00001.parquet').to_pylist()
    # Tracks that are not listed again stay; the features of the one that was made again without are gone.
    assert {row['track_id']: row['frames'] is None for row in rows} == {'a': False, 'b': False, 'c': True}
    assert sorted(path.name for path in out.glob('features/frames/*')) == ['a.parquet', 'b.parquet']
