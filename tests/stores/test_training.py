"""`prepare`, `train` and `evaluate` from and to a store: the same as on a disk, and with the options of stores."""

from __future__ import annotations

import io
import json
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from stembeam.model.errors import RunError, UsageError
from stembeam.model.remote import READ_BYTES
from stembeam.model.training import remote_shards
from stembeam.model.training.shards import read_index
from stembeam.pipeline.cli import main
from stembeam.pipeline.exit_status import BAD_USAGE, OK
from stembeam.transforms.datasets import list_dataset

from ..model.training.songs import BANDS, CONFIG, RATE, make_stems, write_config
from .conftest import Store

SONGS = {f'song {number}': make_stems(2.5 + 0.2 * number, number) for number in range(3)}
PREPARE = ('--chunk-duration', '1', '--sample-rate', str(RATE), '--shard-size', '1', '--workers', '2', '--no-progress')


def wav(samples: np.ndarray) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, subtype='FLOAT', format='WAV')
    return content.getvalue()


def files(worse: float = 0.0) -> dict[str, bytes]:
    """A data set of SONGS by path; `worse` is the level of a tone that is added to the stems alone."""
    tone = worse * np.sin(np.arange(8 * RATE) * 0.05)[:, np.newaxis].astype(np.float32)
    found = {}
    for song, stems in SONGS.items():
        found[f'{song}/mixture.wav'] = wav(sum(stems.values()))  # type: ignore[arg-type]
        found.update({f'{song}/{name}.wav': wav(audio + tone[: len(audio)]) for name, audio in stems.items()})
    return found


def put_everywhere(store: Store, folder: Path, name: str, contents: dict[str, bytes]) -> None:
    for path, content in contents.items():
        store.put(f'{name}/{path}', content)
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_bytes(content)


def forget_options(store: Store) -> None:
    """What the fixture has put in force would do as well."""
    fsspec.config.conf.clear()
    fsspec.get_filesystem_class(store.protocol).clear_instance_cache()


def test_shards_are_made_and_read_as_on_a_disk(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put_everywhere(store, tmp_path, 'set', files())
    assert main(['prepare', str(tmp_path / 'set'), '-o', str(tmp_path / 'shards'), *PREPARE]) == OK
    assert 'tried again' not in capsys.readouterr().out
    options = store.write_options(tmp_path / 'options.json')
    forget_options(store)
    store.proxy.break_next('503', r'^(PUT|POST).*(upload|tfrecord)', times=3)
    shards = f'{store.root}/shards'
    assert main(['prepare', f'{store.root}/set', '-o', shards, *PREPARE, '--storage-options', options]) == OK
    assert 'retries    3 requests to object stores were tried again' in capsys.readouterr().out
    local = {path.name: path.read_bytes() for path in (tmp_path / 'shards').glob('*.tfrecord')}
    assert len(local) == 2
    assert {name: store.get(f'shards/{name}') for name in local} == local

    from stembeam.model.training.sources import ShardSource  # TensorFlow

    def records(folder: str) -> list[list[bytes]]:
        source = ShardSource(read_index(folder), 'train', False, 1 << 20)
        stream = [handle for _, handle in source.stream(2, seed=1).take(10).as_numpy_iterator()]
        return [list(source.in_order().as_numpy_iterator()), stream]

    store.proxy.break_next('cut', 'GET.*tfrecord', times=1)
    assert records(shards) == records(str(tmp_path / 'shards'))
    assert list(tmp_path.glob('stembeam-*')) == []


def test_training_reads_its_index_with_the_options(s3: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    index = {
        'format_version': 1,
        'stems': ['voice'],
        'with_mixture': False,
        'sample_rate': RATE,
        'channels': 2,
        'chunk_samples': 2 * RATE,
        'shards': {'train': [{'file': 'a.tfrecord', 'records': 1}]},
    }
    s3.put('shards/index.json', json.dumps(index).encode())
    options = s3.write_options(tmp_path / 'options.json')
    words = ['train', '--config', str(write_config(tmp_path / 'c.json', CONFIG)), '-o', str(tmp_path / 'model')]
    words += ['--shards', f'{s3.root}/shards', '--storage-options', options, '--storage-attempts', '2']
    forget_options(s3)
    s3.proxy.break_next('503', 'index.json')
    assert main(words) == BAD_USAGE
    assert f'shards {s3.root}/shards lack the stem low, high' in capsys.readouterr().err
    s3.proxy.break_next('503', 'index.json', times=-1)
    assert main(words) == BAD_USAGE
    assert '(tried 2 times' in capsys.readouterr().err


@pytest.mark.parametrize(('kind', 'said'), [('503', r'tried 5 times'), ('403', 'no permission to read it')])
def test_shards_that_cannot_be_read(s3: Store, kind: str, said: str):
    url = s3.put('shards/index.json', b'{}')
    s3.proxy.break_next(kind, 'shards/index.json', times=-1)
    again = rf'shard {url} cannot be read \(.*{said}.*run the same command again'
    with pytest.raises(RunError, match=again), remote_shards.local_copy(url):
        pass
    with pytest.raises(UsageError, match=r'index\.json cannot be read \(.*check path and access'):
        read_index(f'{s3.root}/shards')
    with pytest.raises(UsageError, match=r'no index\.json there'):
        read_index(f'{s3.root}/nowhere')


def test_a_shard_that_breaks_off_is_read_on_where_it_broke(s3: Store):
    content = np.random.default_rng(0).bytes(2 * READ_BYTES)
    url = s3.put('shards/a.tfrecord', content)
    s3.proxy.seen.clear()
    s3.proxy.break_next('503', 'a.tfrecord', times=2, after=1)
    with remote_shards.local_copy(url) as path:
        assert Path(path).read_bytes() == content
    assert not Path(path).exists()
    # Its first block tells its size; only its second one is asked for again.
    assert s3.proxy.seen == [f'GET /{s3.root[5:]}/shards/a.tfrecord'] * 4


def test_stems_are_scored_as_on_a_disk(s3: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put_everywhere(s3, tmp_path, 'set', files())
    put_everywhere(s3, tmp_path, 'estimates', files(worse=0.05))
    words = ['--sample-rate', str(RATE), '--workers', '2', '--no-progress']
    here = [str(tmp_path / 'set'), '-o', str(tmp_path / 'out'), '--estimates', str(tmp_path / 'estimates')]
    assert main(['evaluate', *here, *words]) == OK
    expected = json.loads((tmp_path / 'out/scores.json').read_bytes())
    options = s3.write_options(tmp_path / 'options.json')
    forget_options(s3)
    s3.proxy.break_next('503', 'low.wav', times=2)
    there = [f'{s3.root}/set', '-o', f'{s3.root}/out', '--estimates', f'{s3.root}/estimates']
    capsys.readouterr()
    assert main(['evaluate', *there, *words, '--storage-options', options]) == OK
    printed = capsys.readouterr()
    assert 'retries    2 requests to object stores were tried again' in printed.out
    assert 'very secret' not in printed.out + printed.err
    found = json.loads(s3.get('out/scores.json'))
    assert set(BANDS) <= set(json.dumps(found).replace('"', ' ').split())
    assert found == expected
    run = json.loads(s3.get('out/run.json'))
    assert (run['done'], run['failed'], run['store_retries']) == (3, 0, 2)
    assert not any(b'very secret' in s3.get(path) for path in s3.find())


def test_a_manifest_from_a_store_names_no_files_of_this_machine(
    s3: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    put_everywhere(s3, tmp_path, 'set', files())
    rows = [f'{song}/mixture.wav,{song}/low.wav,{song}/high.wav' for song in SONGS]
    manifest = s3.put('set/songs.csv', '\n'.join(['mix_path,low_path,high_path', *rows]).encode())
    options = s3.write_options(tmp_path / 'options.json')
    words = ['-o', str(tmp_path / 'shards'), *PREPARE, '--storage-options', options]
    assert main(['prepare', manifest, *words]) == OK
    rows[0] = rows[0].replace('song 0/low.wav', '/etc/passwd')
    bad = s3.put('set/bad.csv', '\n'.join(['mix_path,low_path,high_path', *rows]).encode())
    for command in (['prepare'], ['evaluate', '--model', 'mini']):
        assert main([*command, bad, '-o', str(tmp_path / 'out'), '--storage-options', options]) == BAD_USAGE
        said = capsys.readouterr().err
        assert 'bad.csv, row 1: /etc/passwd is a file of the machine' in said
        assert said.count('\n') == 1
    # Relative to a folder of this machine that the user has named.
    assert main(['prepare', manifest, *words, '--overwrite', '--data', str(tmp_path / 'set')]) == OK


@pytest.mark.parametrize('path', ['/etc/passwd', 'file:///etc/passwd', 'http://169.254.169.254/x', '../../etc/passwd'])
def test_what_a_manifest_from_a_store_may_not_name(s3: Store, path: str):
    manifest = s3.put('songs.csv', f'mix_path,low_path\na.wav,{path}\n'.encode())
    data = '/music/data' if path.startswith('..') else None
    with pytest.raises(UsageError, match=r'songs\.csv, row 1: .*trust the listing with --allow-local-inputs'):
        list_dataset(manifest, data=data)
    (track,) = list_dataset(manifest, data=data, allow_local=True)
    assert track.stems['low'].uri == (path if '169' in path else '/etc/passwd')
