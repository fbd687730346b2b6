"""`stembeam prepare`: what is in the shards, which tracks are, and that a folder with an index is whole."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import re
from pathlib import Path
from typing import NamedTuple

import fsspec
import numpy as np
import pytest
import soundfile

from stembeam.pipeline.cli import main

from ..transforms.dataset_files import MUSDB_ORDER, RATE, STEMS, make_stems, write_manifest, write_song, write_stem_mp4
from ..transforms.shard_files import Chunk, read_chunks, read_index, read_report, read_shard

CHUNK = ('--chunk-duration', '1')


class Run(NamedTuple):
    status: int
    printed: str
    said: str  # on standard error


def prepare(*arguments: object, workers: int = 2) -> Run:
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        words = ['prepare', *map(str, arguments), *CHUNK, '--workers', str(workers), '--no-progress']
        status = main(words)
    return Run(status, printed.getvalue(), said.getvalue())


@pytest.fixture(scope='session')
def songs() -> dict[str, dict[str, np.ndarray]]:
    """Six songs of 2.5 to 3.5 s."""
    return {f'song {n}': make_stems(2.5 + 0.2 * n, seed=n) for n in range(6)}


@pytest.fixture(scope='session')
def dataset(tmp_path_factory: pytest.TempPathFactory, songs: dict[str, dict[str, np.ndarray]]) -> Path:
    folder = tmp_path_factory.mktemp('dataset')
    for name, stems in songs.items():
        write_song(folder / name, stems)
    return folder


def assert_equals(chunk: Chunk, expected: dict[str, np.ndarray]) -> None:
    """Every stem of a chunk is that part of the track, to half a step of 16 bits of its own peak."""
    for name, samples in chunk.stems.items():
        part = expected[name][chunk.start : chunk.start + len(samples)]
        part = np.concatenate([part, np.zeros((len(samples) - len(part), part.shape[1]))])
        assert chunk.gains[name] == np.abs(part).max().astype(np.float32), name
        assert np.abs(samples - part).max() <= 0.51 * chunk.gains[name] / 32767, name


def test_shards_hold_all_of_every_track_in_random_order(dataset, songs, tmp_path):
    run = prepare(dataset, '-o', tmp_path, '--shard-size', '3', '--validation-share', '0')
    assert run.status == 0
    assert run.printed.startswith('prepared 6 tracks, skipped 0 bad: 0:00:18 of audio in ')
    index, chunks = read_index(tmp_path), read_chunks(tmp_path)
    assert index['stems'] == list(STEMS)
    assert (index['sample_rate'], index['channels'], index['chunk_samples']) == (RATE, 2, RATE)
    assert len(index['shards']['train']) == 5  # 14.8 MB
    for shard in index['shards']['train']:
        content = (tmp_path / shard['file']).read_bytes()
        assert (shard['bytes'], shard['sha256']) == (len(content), hashlib.sha256(content).hexdigest())
        assert shard['records'] == len(read_shard(tmp_path / shard['file']))
    for name, stems in songs.items():
        length = len(stems['mixture'])
        starts = sorted(chunk.start for chunk in chunks if chunk.track == name)
        assert starts == [*range(0, length - RATE, RATE), length - RATE]
    for chunk in chunks:
        assert set(chunk.stems) == set(STEMS)
        assert_equals(chunk, songs[chunk.track])
    assert sum(one.track == other.track for one, other in itertools.pairwise(chunks)) < len(chunks) / 2
    assert index['totals']['train'] == {
        'tracks': 6, 'chunks': len(chunks), 'hours': pytest.approx(len(chunks) / 3600, abs=1e-6),
        'track_hours': pytest.approx(18 / 3600, abs=1e-6),
    }  # fmt: skip
    rms = [10 * np.log10(np.square(chunk.stems['bass']).mean()) for chunk in chunks]
    assert index['levels']['bass'] == {'mean_rms_db': pytest.approx(np.mean(rms), abs=0.01), 'silent_chunks': 0}
    assert not (tmp_path / '.stembeam/prepare').exists()


def test_any_number_of_workers_makes_the_same_bytes(dataset, tmp_path):
    for workers in (1, 4):
        assert prepare(dataset, '-o', tmp_path / str(workers), '--shard-size', '3', workers=workers).status == 0
    assert contents(tmp_path / '1') == contents(tmp_path / '4')


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that a user sees."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_worker_processes_make_the_same_bytes(dataset, tmp_path):
    assert prepare(dataset, '-o', tmp_path / 'a', workers=1).status == 0
    run = prepare(dataset, '-o', tmp_path / 'b', '--direct_running_mode', 'multi_processing')
    assert run.status == 0
    assert contents(tmp_path / 'a') == contents(tmp_path / 'b')


def test_chunks_spread_over_the_track_with_the_mixture_at_another_rate(dataset, tmp_path):
    options = ('--chunks-per-track', '4', '--with-mixture', '--sample-rate', '22050', '--channels', '1')
    assert prepare(dataset, '-o', tmp_path, '--validation-share', '0', *options).status == 0
    chunks = read_chunks(tmp_path)
    assert len(chunks) == 24
    last = round(2.5 * 22050) - 22050
    assert sorted(c.start for c in chunks if c.track == 'song 0') == [0, last // 3, last * 2 // 3, last]
    for chunk in chunks:
        assert chunk.stems['mixture'].shape == (22050, 1)
        np.testing.assert_allclose(chunk.stems['mixture'], sum(chunk.stems[stem] for stem in STEMS), atol=1e-3)


def test_stems_that_are_sums_of_others(dataset, songs, tmp_path):
    assert prepare(dataset, '-o', tmp_path, '--stems', 'vocals,accompaniment').status == 0
    assert read_index(tmp_path)['stems'] == ['vocals', 'accompaniment']
    chunks = read_chunks(tmp_path)
    sums = {name: {**s, 'accompaniment': s['drums'] + s['bass'] + s['other']} for name, s in songs.items()}
    for chunk in chunks:
        assert_equals(chunk, sums[chunk.track])


def test_tracks_for_validation(dataset, songs, tmp_path):
    assert prepare(dataset, '-o', tmp_path / 'share', '--validation-share', '0.34', '--seed', '1').status == 0
    train, validation = (
        {chunk.track for chunk in read_chunks(tmp_path / 'share', subset)} for subset in ('train', 'validation')
    )
    assert (len(train), len(validation)) == (4, 2)
    assert train | validation == set(songs)
    assert prepare(dataset, '-o', tmp_path / 'again', '--validation-share', '0.34', '--seed', '2').status == 0
    assert {chunk.track for chunk in read_chunks(tmp_path / 'again', 'validation')} != validation
    other = write_song(tmp_path / 'other/train/song 0', make_stems(1, seed=9)).parents[1]
    run = prepare(dataset, '-o', tmp_path / 'set', '--validation', other)
    assert run.status == 0
    assert {chunk.track for chunk in read_chunks(tmp_path / 'set', 'validation')} == {'train/song 0'}
    assert len({chunk.track for chunk in read_chunks(tmp_path / 'set')}) == 6


def test_subsets_of_musdb18(tmp_path):
    for place, subset in enumerate(('train', 'train', 'test', 'valid')):
        stems = make_stems(1.2, seed=place)
        write_stem_mp4(tmp_path / f'set/{subset}/{place}.stem.mp4', [stems[name] for name in MUSDB_ORDER])
    run = prepare(tmp_path / 'set', '-o', tmp_path / 'out')
    assert run.status == 0
    assert 'left out   tracks of other subsets: 1 of test' in run.printed
    assert {chunk.track for chunk in read_chunks(tmp_path / 'out')} == {'0', '1'}
    assert {chunk.track for chunk in read_chunks(tmp_path / 'out', 'validation')} == {'3'}
    for chunk in read_chunks(tmp_path / 'out'):
        expected = make_stems(1.2, seed=int(chunk.track))
        for name in STEMS:
            part = expected[name][chunk.start : chunk.start + RATE]
            error = chunk.stems[name][: len(part)] - part
            assert 10 * np.log10(np.square(part).sum() / np.square(error).sum()) > 25
    run = prepare(tmp_path / 'set', '-o', tmp_path / 'test', '--subset', 'test', '--validation-subset', 'train')
    assert run.status == 0
    totals = read_index(tmp_path / 'test')['totals']
    assert (totals['train']['tracks'], totals['validation']['tracks']) == (1, 2)


def test_a_manifest(dataset, songs, tmp_path):
    rows = [
        {'mix_path': f'{name}/mixture.wav', 'vocals_path': f'{name}/vocals.wav', 'drums_path': f'{name}/drums.wav',
         'rest_path': f'{name}/other.wav', 'bass_path': f'{name}/bass.wav', 'duration': 2.5}
        for name in list(songs)[:2]
    ]  # fmt: skip
    write_manifest(tmp_path / 'songs.csv', [*rows, {**rows[0], 'mix_path': 'lost/mixture.wav'}])
    run = prepare(tmp_path / 'songs.csv', '-o', tmp_path / 'out', '--data', dataset, '--validation-share', '0')
    assert run.status == 3
    assert f'{dataset}/lost/mixture.wav: there is no such file' in run.printed
    assert read_index(tmp_path / 'out')['stems'] == ['vocals', 'drums', 'bass', 'rest']
    for chunk in read_chunks(tmp_path / 'out'):
        assert_equals(chunk, {**songs[chunk.track], 'rest': songs[chunk.track]['other']})


BAD = {
    'missing': 'there is no stem bass beside it: add the file',
    'rate': 'vocals has 48000 Hz, mixture has 44100 Hz',
    'length': r'drums lasts 1.200 s \(52919 samples\), mixture 1.200 s \(52920 samples\): cut them alike',
    'silent': 'the mixture is silent throughout',
    'clipped': r'vocals is clipped, \d+\.\d+% of its samples',
    'sum': r'what is left over is at -\d\.\d dB',
    'unreadable': 'holds NaN or infinity at 0.002 s',
}


def write_bad_song(folder: Path, kind: str) -> None:
    """A song with one thing wrong with it."""
    stems = make_stems(1.2, seed=len(kind))
    rate, subtype = RATE, 'PCM_16'
    if kind == 'missing':
        stems['mixture'] -= stems.pop('bass')
    elif kind == 'length':
        stems['drums'] = stems['drums'][:-1]
    elif kind == 'silent':
        stems = {name: np.zeros_like(samples) for name, samples in stems.items()}
    elif kind == 'clipped':
        clipped = np.clip(30 * stems['vocals'], -1, 0.99997).astype(np.float32)
        stems['mixture'] += clipped - stems['vocals']
        stems['vocals'], subtype = clipped, 'FLOAT'
    elif kind == 'sum':
        stems['mixture'] -= stems['vocals']
    elif kind == 'unreadable':
        stems['other'][100] = np.nan
        subtype = 'FLOAT'
    write_song(folder, stems, rate, subtype=subtype)
    if kind == 'rate':
        samples = make_stems(1.2, seed=len(kind), rate=48000)['vocals']
        soundfile.write(folder / 'vocals.wav', samples, 48000)


@pytest.fixture(scope='session')
def bad_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('bad')
    for kind in BAD:
        write_bad_song(folder / kind, kind)
    for name in ('good', 'good too'):
        write_song(folder / name, make_stems(1.2, seed=len(name)))
    quiet = make_stems(1.2, seed=77)
    quiet['mixture'] -= quiet['other']
    write_song(folder / 'no other', {**quiet, 'other': np.zeros_like(quiet['other'])})
    write_song(folder / 'short', make_stems(0.5, seed=78))
    return folder


@pytest.mark.parametrize('choice', ['skip', 'keep'])
def test_bad_tracks_are_reported_and_skipped_or_kept(bad_dataset, tmp_path, choice):
    run = prepare(bad_dataset, '-o', tmp_path, '--bad-tracks', choice, '--validation-share', '0')
    assert run.status == 3
    report = read_report(tmp_path)
    assert set(report) == {*BAD, 'no other', 'short'}
    for kind, reason in BAD.items():
        kinds = {problem['kind']: problem['reason'] for problem in report[kind]['problems']}
        assert kind in kinds
        assert str(bad_dataset / kind) in kinds[kind]
        assert re.search(reason, kinds[kind])
        assert report[kind]['action'] == ('kept' if choice == 'keep' and kind != 'unreadable' else 'skipped')
    assert report['no other']['problems'] == []
    assert report['no other']['notes'] == ['other is silent throughout']
    assert report['short']['notes'] == ['shorter than a chunk: 22050 of 44100 samples, silence added']
    chunks = read_chunks(tmp_path)
    good = {'good', 'good too', 'no other', 'short'}
    assert {chunk.track for chunk in chunks} == (good if choice == 'skip' else good | set(BAD) - {'unreadable'})
    assert {bad['track'] for bad in read_index(tmp_path)['bad_tracks']} == set(BAD)
    assert ('skipped 7 bad' if choice == 'skip' else 'skipped 1 bad, kept 6 bad') in run.printed
    short = next(chunk for chunk in chunks if chunk.track == 'short')
    assert_equals(short, make_stems(0.5, seed=78))
    assert not short.stems['bass'][22050:].any()
    quiet = [chunk for chunk in chunks if chunk.track == 'no other']
    assert all(chunk.gains['other'] == 0 and not chunk.stems['other'].any() for chunk in quiet)
    if choice == 'skip':
        assert read_index(tmp_path)['levels']['other']['silent_chunks'] == pytest.approx(2 / 7, abs=1e-6)


def test_a_bad_track_stops_the_run_if_asked(bad_dataset, tmp_path):
    run = prepare(bad_dataset, '-o', tmp_path, '--bad-tracks', 'stop', workers=1)
    assert run.status == 1
    assert run.said.startswith('stembeam: a bad track: ') or run.said.startswith('stembeam: a track cannot be read: ')
    assert run.said.count('\n') == 1
    assert not (tmp_path / 'index.json').exists()


def test_limits_can_be_moved(bad_dataset, tmp_path):
    options = ('--max-residual', '-1', '--max-clipped', '0.9', '--validation-share', '0')
    assert prepare(bad_dataset, '-o', tmp_path, *options).status == 3
    bad = {row['track']: row['kinds'] for row in read_index(tmp_path)['bad_tracks']}
    assert 'sum' not in bad
    assert 'clipped' not in bad


def test_nothing_but_bad_tracks(tmp_path):
    write_bad_song(tmp_path / 'set/one', 'silent')
    run = prepare(tmp_path / 'set', '-o', tmp_path / 'out')
    assert run.status == 1
    assert 'no track could be prepared: ' in run.said
    assert list(read_report(tmp_path / 'out')) == ['one']
    assert not (tmp_path / 'out/index.json').exists()


def test_a_complete_folder_is_left_alone_and_a_changed_one_made_again(songs, tmp_path):
    for name in ('song 0', 'song 1'):
        write_song(tmp_path / 'set' / name, songs[name])
    arguments = (tmp_path / 'set', '-o', tmp_path / 'out')
    assert prepare(*arguments).status == 0
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').iterdir() if path.is_file()}
    run = prepare(*arguments)
    assert (run.status, run.printed.startswith('complete already: 2 tracks, skipped 0 bad')) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in first} == first

    assert prepare(*arguments, '--shard-size', '1').status == 0  # other options
    assert len(read_index(tmp_path / 'out')['shards']['train']) == 3
    assert not (tmp_path / 'out/train-00000-of-00001.tfrecord').exists()

    soundfile.write(tmp_path / 'set/song 0/vocals.wav', songs['song 0']['vocals'] / 2, RATE)  # another input
    assert prepare(*arguments, '--max-residual', '0').status == 0
    chunks = [*read_chunks(tmp_path / 'out'), *read_chunks(tmp_path / 'out', 'validation')]
    chunk = next(chunk for chunk in chunks if (chunk.track, chunk.start) == ('song 0', 0))
    np.testing.assert_allclose(chunk.stems['vocals'], songs['song 0']['vocals'][:RATE] / 2, atol=1e-4)

    next((tmp_path / 'out').glob('train-*')).unlink()  # a shard is lost
    assert prepare(*arguments, '--max-residual', '0').printed.startswith('prepared 2 tracks')


@pytest.mark.parametrize('content', ['<html>', '[]', '{"format_version": 0}'])
def test_somebody_elses_index_is_not_overwritten(dataset, tmp_path, content):
    (tmp_path / 'index.json').write_text(content)
    run = prepare(dataset, '-o', tmp_path, '--overwrite')
    assert (run.status, 'index.json is no index of shards of this version' in run.said) == (2, True)
    assert (tmp_path / 'index.json').read_text() == content


def test_object_stores(dataset, songs, tmp_path):
    memory = fsspec.filesystem('memory')
    memory.store.clear()
    try:
        for name in ('song 0', 'song 1'):
            memory.put(str(dataset / name), f'/prepare/set/{name}', recursive=True)
        assert prepare('memory://prepare/set', '-o', 'memory://prepare/out').status == 0
        found = sorted(name for name in memory.find('/prepare/out'))
        assert [name.rpartition('/')[2] for name in found] == [
            'index.json',
            'prepare-report.jsonl',
            'train-00000-of-00001.tfrecord',
            'validation-00000-of-00001.tfrecord',
        ]
        memory.get('/prepare/out/', str(tmp_path / 'copy'), recursive=True)
        for chunk in [*read_chunks(tmp_path / 'copy'), *read_chunks(tmp_path / 'copy', 'validation')]:
            assert_equals(chunk, songs[chunk.track])
        assert prepare('memory://prepare/set', '-o', 'memory://prepare/out').printed.startswith('complete already')
    finally:
        memory.store.clear()


def test_two_data_sets_with_the_same_names(dataset, tmp_path):
    other = write_song(tmp_path / 'more/song 0', make_stems(1, seed=5)).parent
    assert prepare(dataset, other, '-o', tmp_path / 'out', '--validation-share', '0').status == 0
    tracks = {chunk.track for chunk in read_chunks(tmp_path / 'out')}
    assert {'more/song 0', f'{dataset.name}/song 0'} < tracks
    assert read_index(tmp_path / 'out')['datasets'] == [str(dataset), str(other)]


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['-o', '{out}'], 'no data set: name at least one'),
        (['{set}'], 'no output folder: name one with -o'),
        (['{set}', '-o', '{set}'], 'is both data set and output folder'),
        (['{out}/nowhere', '-o', '{out}'], 'does not exist'),
        (['{set}', '-o', '{out}', '--stems', 'vocals,flute'], "no track has a stem 'flute', only bass, drums"),
        (['{set}', '-o', '{out}', '--stems', 'vocals,drums'], 'leaves bass, other of .* out, .* or --with-mixture'),
        (['{set}', '-o', '{out}', '--stems', 'vocals,vocals'], 'give each stem once'),
        (['{set}', '-o', '{out}', '--subset', 'train'], "has no subset 'train', only tracks without one"),
        (['{set}', '-o', '{out}', '--validation', '{set}/song 0/..'], 'is named twice: name it once'),
        (['{set}', '-o', '{out}', '--validation', '{copy}'], 'song 0/.* would be trained on and validated on'),
        (['{set}', '-o', '{out}', '--validation', '{copy}', '--validation-share', '0.5'], 'exclude each other'),
        (['{set}', '{set}/', '-o', '{out}'], 'is named twice: name it once'),
        (
            ['{set}', '{copy}', '-o', '{out}', '--validation-share', '0'],
            'two tracks are named .*/song 0: rename',
        ),
        (['{set}', '-o', '{out}', '--chunk-duration', '0'], 'argument --chunk-duration: '),
        (['{set}', '-o', '{out}', '--bad-tracks', 'hide'], 'argument --bad-tracks: invalid choice'),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(dataset, tmp_path, arguments, reason):
    row = {f'{name}_path': dataset / f'song 0/{stem}.wav' for name, stem in (('mix', 'mixture'), ('vocals', 'vocals'))}
    copy = write_manifest(tmp_path / f'{dataset.name}.csv', [row])
    words = [word.format(set=dataset, out=tmp_path / 'out', copy=copy) for word in arguments]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert main(['prepare', *words]) == 2
    assert said.getvalue().count('\n') == 1
    assert re.search(reason, said.getvalue()), said.getvalue()
    assert not (tmp_path / 'out').exists()


def test_the_index_is_json_for_everybody(dataset, tmp_path):
    assert prepare(dataset, '-o', tmp_path).status == 0
    index = json.loads((tmp_path / 'index.json').read_text())
    assert {'format_version', 'stems', 'shards', 'totals', 'levels', 'seed', 'datasets', 'bad_tracks'} <= set(index)
    assert set(index['shards']) == {'train', 'validation'}
