"""What the options of `separate` do to the files of a run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from stembeam.model.separator import Separator
from stembeam.transforms.formats import FORMATS

from ..conftest import TINY, write_model
from ..transforms.audio_files import noise, write
from .runs import files_below, separate

STEMS = TINY.instruments


@pytest.fixture(scope='module')
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tracks of 2.5 s, one at 44.1 and one at 48 kHz, both of an odd number of samples."""
    music = tmp_path_factory.mktemp('music')
    write(music / 'one.wav', 'wav-float', noise(110_249, seed=1), 44100)
    write(music / 'two.wav', 'wav-float', noise(119_999, seed=2), 48000)
    return music


def test_stems_that_were_chosen_and_no_features(tmp_path, tiny_model, music):
    run = separate([str(music)], tmp_path / 'out', tiny_model, '--stems', 'other, vocals', '--no-features')
    assert run.status == 0
    manifest = run.rows('manifest-*.parquet')
    assert [[name for name, _ in row['stems']] for row in manifest] == [['vocals', 'other']] * 2
    assert [row['frames'] for row in manifest] == [None, None]
    visible = {path for path in files_below(run.out) if not path.startswith('.stembeam')}
    expected = {f'stems/{track}/{stem}.wav' for track in ('one', 'two') for stem in ('vocals', 'other')}
    tables = {'manifest-00000-of-00001.parquet', 'failures-00000-of-00001.jsonl', 'run.json'}
    assert visible == expected | tables
    assert 'features' not in run.printed


@pytest.mark.parametrize(('offset', 'duration', 'length'), [(0.5, 1.25, 55125), (1.7, 60, 35279), (0.25001, 1e-6, 1)])
def test_a_part_of_every_track(tmp_path, tiny_model, music, offset, duration, length):
    """The stems are those of a track that consists of this part alone."""
    options = ['--offset', str(offset), '--duration', str(duration), '--format', 'wav-float', '--no-features']
    run = separate([str(music)], tmp_path / 'out', tiny_model, *options)
    assert run.status == 0
    stems = run.read(str(music / 'one.wav'))
    assert {len(stem) for stem in stems.values()} == {length}
    start = round(offset * 44100)
    mixture = soundfile.read(music / 'one.wav', dtype='float32')[0][start : start + length]
    for name, expected in Separator.load(tiny_model).separate(mixture, 44100).items():
        np.testing.assert_allclose(stems[name], expected, atol=1e-6)
    resampled = 110_250  # 119 999 samples at 48 kHz, rounded up
    of_two = min(max(1, round(duration * 44100)), resampled - start)
    assert {len(stem) for stem in run.read(str(music / 'two.wav')).values()} == {of_two}


def test_an_offset_beyond_the_end_is_a_failure_of_the_track(tmp_path, tiny_model, music):
    long = write(tmp_path / 'long.wav', 'wav16', noise(150_000), 44100)
    run = separate([str(music), long], tmp_path / 'out', tiny_model, '--offset', '3', '--no-features')
    assert run.status == 3
    assert [row['uri'] for row in run.rows('manifest-*.parquet')] == [long]
    told = {(row['uri'], row['stage'], row['reason'].partition(': ')[2]) for row in run.failures()}
    reason = 'lasts 2.50 s, so nothing is left after --offset 3'
    assert told == {(str(music / f'{name}.wav'), 'plan', reason) for name in ('one', 'two')}
    run = separate([str(music)], tmp_path / 'none', tiny_model, '--offset', '100')
    assert run.status == 3
    assert 'done 0, skipped 0 (complete already), failed 2: ' in run.printed


@pytest.fixture(scope='module')
def float_stems(tmp_path_factory, tiny_model, music):
    run = separate([str(music)], tmp_path_factory.mktemp('float') / 'out', tiny_model, '--format', 'wav-float')
    return {name: stem[:, 0] for name, stem in run.read(str(music / 'one.wav')).items()}


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in FORMATS if name != 'wav-float'])
def test_every_format(tmp_path, tiny_model, music, float_stems, name):
    run = separate([str(music / 'one.wav')], tmp_path / 'out', tiny_model, '--format', name, '--no-features')
    assert run.status == 0
    rate = 48000 if name == 'opus' else 44100
    length = -(-len(float_stems['vocals']) * rate // 44100)
    (row,) = run.rows('manifest-*.parquet')
    assert (row['format'], row['sample_rate'], dict(row['stem_samples'])) == (name, rate, dict.fromkeys(STEMS, length))
    for stem, path in run.stems(row['uri']).items():
        assert path == run.out / 'stems' / 'one' / f'{stem}.{FORMATS[name].codec}'
        samples, found_rate, found_length = decode(path)
        if name == 'wma':
            assert length <= len(samples) < length + 2 * 2048  # whole frames
            found_length = length
        assert (found_rate, found_length) == (rate, length)
        bits = FORMATS[name].bits
        if bits is not None:
            np.testing.assert_allclose(samples, float_stems[stem], atol=0.51 / 2 ** (bits - 1))
        elif rate == 44100:
            assert np.corrcoef(samples[:length], float_stems[stem])[0, 1] > 0.95


def decode(path: Path) -> tuple[np.ndarray, int, int | None]:
    """Left channel, sample rate, and number of samples as players count them."""
    if path.suffix not in ('.m4a', '.wma'):
        samples, rate = soundfile.read(path, always_2d=True)
        return samples[:, 0], rate, len(samples)
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        duration, rate = stream.duration, stream.rate
        samples = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(stream)])
    return samples, rate, duration


def test_another_sample_rate_and_names(tmp_path, tiny_model, music):
    pattern = '{foldername}/{filename}-{instrument}.{codec}'
    (tmp_path / 'albums').mkdir()
    (tmp_path / 'albums' / 'first').symlink_to(music)
    options = ['--sample-rate', '22050', '--filename-format', pattern, '--format', 'flac']
    run = separate([str(tmp_path / 'albums')], tmp_path / 'out', tiny_model, *options)
    assert run.status == 0
    lengths = {'one': 55_125, 'two': 55_125}  # half of 110 249 and of 110 250, rounded up
    for row in run.rows('manifest-*.parquet'):
        track = row['track_id'].removeprefix('first/')
        assert row['sample_rate'] == 22050
        assert dict(row['stems']) == {stem: f'stems/first/{track}-{stem}.flac' for stem in STEMS}
        for path in run.stems(row['uri']).values():
            info = soundfile.info(path)
            assert (info.samplerate, info.frames, info.subtype) == (22050, lengths[track], 'PCM_16')
        frames = pq.read_table(run.out / row['frames'], columns=['time'])['time'].to_pylist()
        assert len(frames) == 4 * (1 + lengths[track] // 1024)
        assert frames[1] == pytest.approx(1024 / 22050)


def test_columns_of_a_listing_are_in_the_manifest(tmp_path, tiny_model, music):
    (tmp_path / 'listing.csv').write_text(
        'uri,track_id,year,bpm,genre,code,duration\n'
        f'{music}/one.wav,my/first,1999,120.5,Rock,007,long\n'
        f'{music}/two.wav,,2024,90.0,,42,\n'
    )
    run = separate([str(tmp_path / 'listing.csv')], tmp_path / 'out', tiny_model, '--no-features')
    assert run.status == 0
    rows = {row['track_id']: row for row in run.rows('manifest-*.parquet')}
    columns = ('year', 'bpm', 'genre', 'code', 'listing_duration')
    assert {name: [row[column] for column in columns] for name, row in rows.items()} == {
        'my/first': [1999, 120.5, 'Rock', '007', 'long'],
        'two': [2024, 90.0, None, '42', None],
    }
    schema = pq.read_schema(next(run.out.glob('manifest-*.parquet')))
    assert [schema.field(column).type for column in columns] == [pa.int64(), pa.float64(), *[pa.string()] * 3]
    assert rows['my/first']['duration'] == pytest.approx(2.5, abs=1e-4)
    assert (run.out / 'stems' / 'my' / 'first' / 'vocals.wav').is_file()
    assert json.loads((run.out / 'run.json').read_text())['tracks'] == 2


def test_a_model_of_one_channel(tmp_path):
    model = write_model(tmp_path / 'mono', dataclasses.replace(TINY, channels=1))
    shapes = {'mono': (44100, 1), 'stereo': (44100, 2), 'surround': (44100, 6), 'fast': (192_000, 1), 'slow': (8000, 2)}
    inputs = {
        name: write(tmp_path / f'{name}.wav', 'wav-float', noise(round(1.7 * rate), channels), rate)
        for name, (rate, channels) in shapes.items()
    }
    run = separate([*inputs.values()], tmp_path / 'out', model, '--format', 'wav-float', '--chunks-per-segment', '1')
    assert (run.status, run.failures()) == (0, [])
    for name, path in inputs.items():
        rate, _ = shapes[name]
        stems = run.read(path)
        assert {stem.shape for stem in stems.values()} == {(-(-round(1.7 * rate) * 44100 // rate), 1)}
        if rate == 44100:
            mixture = soundfile.read(path, dtype='float32', always_2d=True)[0].mean(axis=1, keepdims=True)
            np.testing.assert_allclose(sum(stems.values()), mixture, atol=2e-5)
