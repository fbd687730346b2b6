"""The ways of making stems through the whole pipeline: Wiener filter, overlap, masks, residual, and where stems go.

The many runs share their loaded models: loading them is most of the work of so small a run.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from apache_beam.utils.shared import Shared

from stembeam.model import separator
from stembeam.model.errors import RunError
from stembeam.model.separator import ChunkSeparator, Separator
from stembeam.model.store import ModelFiles
from stembeam.pipeline.exit_status import OK, WITH_FAILURES
from stembeam.transforms import measuring, model_handler

from ..conftest import TINY, noise, write_model
from ..transforms.audio_files import corrupt, write
from .runs import Run, files_below, separate

FLOATS = ('--format', 'wav-float', '--no-features')
TOLERANCE = 1e-6  # of full scale
CHUNKS = 14  # of the song

# Options -> the same in Python.
METHODS: dict[str, dict[str, Any]] = {
    '--mwf': {'mwf': True},
    '--mwf-iterations 2': {'mwf': 2},
    '--overlap 0.25': {'overlap': 0.25},
    '--mwf --overlap 0.4 --high-band average': {'mwf': True, 'overlap': 0.4, 'high_band': 'average'},
    '--masks direct --stems vocals --residual': {'masks': 'direct', 'stems': ['vocals'], 'residual': True},
    '--high-band octave --stems other,drums': {'high_band': 'octave', 'stems': ['drums', 'other']},
}


def stereo(seconds: float, seed: int = 0, sample_rate: int = 44100) -> np.ndarray:
    """Sources at different places between the channels, loud enough for the filter's scaling to matter."""
    sources = np.stack([noise(seconds, sample_rate, 1, 10 * seed + n, level=0.3)[:, 0] for n in range(3)], axis=1)
    return (sources @ np.array([[1.0, 0.2], [0.5, 0.6], [-0.1, 0.9]])).astype(np.float32)


@pytest.fixture(scope='module', autouse=True)
def _loaded_once() -> Iterator[None]:
    loaded: dict[Any, ChunkSeparator] = {}
    load = separator.load_chunk_separator

    def load_once(files: ModelFiles, *arguments: Any) -> ChunkSeparator:
        key = files.fingerprint, *arguments
        if key not in loaded:
            loaded[key] = load(files, *arguments)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(separator, 'load_chunk_separator', load_once)
        yield


@pytest.fixture(scope='module')
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('music')
    soundfile.write(folder / 'song.wav', stereo(20.001), 44100, subtype='FLOAT')
    soundfile.write(folder / 'short.wav', stereo(1.0, 1), 44100, subtype='FLOAT')
    return folder


@pytest.fixture(scope='module')
def expected(tiny_model: Path, music: Path) -> Callable[[str], dict[str, dict[str, np.ndarray]]]:
    """From options to the stems of every track in one piece."""

    @functools.cache
    def stems(options: str) -> dict[str, dict[str, np.ndarray]]:
        model = Separator.load(tiny_model, **METHODS[options])
        return {path.stem: model.separate(*soundfile.read(path, dtype='float32')) for path in music.glob('*.wav')}

    return stems


def assert_equal(run: Run, expected: dict[str, dict[str, np.ndarray]], tolerance: float = TOLERANCE) -> None:
    """Every stem of every track, and nothing left over."""
    assert (run.status, run.failures()) == (OK, [])
    rows = run.rows('manifest-*')
    assert {row['track_id'] for row in rows} == expected.keys()
    for row in rows:
        stems = run.read(row['uri'])
        assert list(stems) == list(expected[row['track_id']])
        for name, stem in expected[row['track_id']].items():
            assert np.abs(stem).max() > 0.01
            np.testing.assert_allclose(stems[name], stem, rtol=0, atol=tolerance)
    assert not list(run.out.glob('.stembeam/parts/*'))


@pytest.mark.parametrize(
    ('options', 'chunks'),
    [
        ('--mwf', '3'),
        ('--overlap 0.25', '1'),
        *(pytest.param(options, '2', marks=pytest.mark.slow) for options in METHODS),
        *(pytest.param('--mwf', chunks, marks=pytest.mark.slow) for chunks in ('1', '12', '100')),
        *(pytest.param('--overlap 0.25', chunks, marks=pytest.mark.slow) for chunks in ('3', '12')),
    ],
)
def test_segments_give_the_stems_of_the_whole_track(tmp_path, tiny_model, music, expected, options, chunks):
    run = separate([str(music)], tmp_path, tiny_model, *FLOATS, *options.split(), '--chunks-per-segment', chunks)
    assert_equal(run, expected(options))


@pytest.mark.slow
@pytest.mark.parametrize(('options', 'chunks'), [('--mwf', '2'), ('--mwf', '100'), ('--overlap 0.25', '1')])
def test_batches_do_so_too(tmp_path, tiny_model, music, expected, options, chunks):
    batches = ['--batch-size', '8', '--chunks-per-segment', chunks]
    assert_equal(separate([str(music)], tmp_path, tiny_model, *FLOATS, *options.split(), *batches), expected(options))


@pytest.mark.slow
@pytest.mark.parametrize('options', ['--mwf', '--overlap 0.25'])
def test_worker_processes_do_so_too(tmp_path, tiny_model, music, expected, options):
    processes = ['--direct_running_mode', 'multi_processing', '--workers', '3', '--chunks-per-segment', '3']
    assert_equal(separate([str(music)], tmp_path, tiny_model, *FLOATS, *options.split(), *processes), expected(options))


def test_segments_and_threads_change_no_bit_of_a_filtered_track(tmp_path, tiny_model, music):
    stems = []
    for chunks, workers in (('100', '1'), ('3', '3')):
        options = ['--mwf', '--chunks-per-segment', chunks, '--workers', workers, '--no-features']
        run = separate([str(music / 'song.wav')], tmp_path / chunks, tiny_model, *options)
        stems.append({path.relative_to(run.out): path.read_bytes() for path in run.out.glob('stems/*/*')})
    assert len(stems[0]) == len(TINY.instruments)
    assert stems[0] == stems[1]


@pytest.mark.slow
def test_a_part_of_a_file_is_filtered_by_itself(tmp_path, tiny_model, music):
    options = ['--mwf', '--offset', '2.5', '--duration', '7', '--chunks-per-segment', '2']
    run = separate([str(music / 'song.wav')], tmp_path, tiny_model, *FLOATS, *options)
    part = soundfile.read(music / 'song.wav', dtype='float32')[0][round(2.5 * 44100) :][: 7 * 44100]
    assert_equal(run, {'song': Separator.load(tiny_model, mwf=True).separate(part, 44100)})


@pytest.mark.parametrize('chosen', ['vocals,other', pytest.param('vocals,drums,other', marks=pytest.mark.slow)])
def test_residual_and_stems_are_the_mixture(tmp_path, tiny_model, music, chosen):
    options = ['--format', 'wav-float', '--stems', chosen, '--residual', '--chunks-per-segment', '3']
    run = separate([str(music)], tmp_path, tiny_model, *options)
    names = [*chosen.split(','), 'residual']
    for path in music.glob('*.wav'):
        stems = run.read(str(path))
        assert list(stems) == names
        np.testing.assert_allclose(sum(stems.values()), soundfile.read(path, dtype='float32')[0], atol=2e-6)
    # The residual is a stem as any other: in the manifest, with features of its own.
    rows = run.rows('features/tracks-*')
    assert {(row['track_id'], row['stem']) for row in rows} == {
        (track, stem) for track in ('song', 'short') for stem in (*names, 'mixture')
    }
    assert json.loads((run.out / 'run.json').read_text())['results']['stems'] == names


def test_one_model_is_loaded_for_all_passes(tmp_path, tiny_model, music, monkeypatch):
    loads = []
    load = separator.load_chunk_separator

    def count(*arguments: Any) -> ChunkSeparator:
        loads.append(arguments)
        return load(*arguments)

    monkeypatch.setattr(separator, 'load_chunk_separator', count)
    monkeypatch.setattr(model_handler, '_LOADED', Shared())  # as in a new process
    options = ['--mwf', '--chunks-per-segment', '2', '--workers', '3']
    run = separate([str(music)], tmp_path, tiny_model, *FLOATS, *options)
    assert run.status == OK
    assert len(loads) == 1


def test_a_change_of_method_makes_tracks_again(tmp_path, tiny_model, music):
    def again(*options: str) -> str:
        run = separate([str(music / 'short.wav')], tmp_path, tiny_model, '--no-features', *options)
        assert run.status == OK
        return run.printed.partition(', failed')[0]

    def stems() -> set[str]:
        return {path.stem for path in tmp_path.glob('stems/short/*')}

    done, skipped = 'done 1, skipped 0 (complete already)', 'done 0, skipped 1 (complete already)'
    assert again('--residual') == done
    assert stems() == {*TINY.instruments, 'residual'}
    assert again('--mwf') == done
    assert again('--mwf-iterations', '1', '--chunks-per-segment', '3') == skipped
    assert again() == done
    assert stems() == {*TINY.instruments}
    assert again('--masks', 'ratio', '--overlap', '0', '--high-band', 'model') == skipped


def test_stems_where_spleeter_puts_them(tmp_path, tiny_model, music):
    def run_again(*options: str) -> Run:
        return separate([str(music / 'short.wav')], tmp_path, tiny_model, '-c', 'flac', *options)

    run = run_again('--layout', 'spleeter')
    assert run.status == OK
    visible = {path for path in files_below(tmp_path) if not path.startswith('.stembeam')}
    stems = {f'short/{stem}.flac' for stem in TINY.instruments}
    tables = {f'{table}-00000-of-00001.parquet' for table in ('manifest', 'features/tracks')}
    ours = {'features/frames/short.parquet', 'failures-00000-of-00001.jsonl', 'run.json'}
    assert visible == stems | tables | ours
    assert {path for row in run.rows('manifest-*') for _, path in row['stems']} == stems
    assert f'stems      {tmp_path}\n' in run.printed
    assert 'done 0, skipped 1' in run_again('--layout', 'spleeter').printed
    # Another layout moves them, and leaves nothing behind.
    assert 'done 1, skipped 0' in run_again().printed
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.flac')} == {f'stems/{path}' for path in stems}


def test_names_below_out(tmp_path, tiny_model, music):
    pattern = '{foldername}/{filename}_{instrument}.{codec}'
    options = ['--layout', 'spleeter', '-f', pattern, '--stems', 'vocals', '--no-features']
    assert separate([str(music / 'short.wav')], tmp_path, tiny_model, *options).status == OK
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.wav')] == ['short_vocals.wav']


def test_a_segment_that_cannot_be_measured_is_one_failure(tmp_path, tiny_model, music):
    broken = tmp_path / 'music'
    broken.mkdir()
    damaged = corrupt(write(broken / 'damaged.flac', 'flac', noise(12), 44100))
    loud = write(broken / 'loud.wav', 'wav-float', noise(6) * np.float32(1e25), 44100)
    good = str(music / 'song.wav')
    options = ['--mwf', '--chunks-per-segment', '2', '--no-features']
    run = separate([str(broken), good], tmp_path / 'out', tiny_model, *options)
    assert run.status == WITH_FAILURES
    told = {row['uri']: (row['stage'], row['reason']) for row in run.failures()}
    assert len(run.failures()) == 2
    assert told[damaged][0] == 'decode'
    assert 'damaged at about' in told[damaged][1]
    assert told[loud][0] == 'wiener'
    assert 'loud.wav: the Wiener filter comes out with NaN or infinity: the input is far beyond' in told[loud][1]
    assert [row['uri'] for row in run.rows('manifest-*')] == [good]
    assert not list(run.out.glob('.stembeam/parts/*'))


@pytest.mark.parametrize('iterations', [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_was_measured_is_not_measured_again(tmp_path, tiny_model, music, expected, monkeypatch, iterations):
    """A run that ends between two segments of the last pass, and the one after it."""
    calls: list[tuple[int, int]] = []
    enough = CHUNKS * iterations - 8
    write_sums = measuring.write_sums

    def end_before_the_last(segment: Any, iteration: int, *arguments: Any) -> None:
        if len(calls) == enough:
            raise RunError('enough')
        calls.append((iteration, segment.index))
        write_sums(segment, iteration, *arguments)

    options = ['--mwf-iterations', str(iterations), '--chunks-per-segment', '1', '--workers', '1']
    with monkeypatch.context() as patch:
        patch.setattr(measuring, 'write_sums', end_before_the_last)
        assert separate([str(music)], tmp_path, tiny_model, *FLOATS, *options).status == 1
    assert len(calls) == enough

    def keep_count(segment: Any, iteration: int, *arguments: Any) -> None:
        calls.append((iteration, segment.index))
        write_sums(segment, iteration, *arguments)

    monkeypatch.setattr(measuring, 'write_sums', keep_count)
    run = separate([str(music)], tmp_path, tiny_model, *FLOATS, *options)
    assert calls == [(n, index) for n in range(1, iterations + 1) for index in range(CHUNKS)]
    assert_equal(run, expected(f'--mwf-iterations {iterations}' if iterations > 1 else '--mwf'))
    separate([str(music)], tmp_path, tiny_model, *FLOATS, *options, '--overwrite')
    assert len(calls) == 2 * CHUNKS * iterations


def test_the_time_of_all_passes_is_told(tmp_path, tiny_model, music):
    run = separate([str(music)], tmp_path, tiny_model, '--mwf', '--chunks-per-segment', '3', *FLOATS)
    seconds = {row['track_id']: dict(row['seconds']) for row in run.rows('manifest-*')}
    assert set(seconds['song']) == {'decode', 'wiener', 'separate', 'write'}
    assert set(seconds['short']) == {'decode', 'separate', 'write'}
    assert all(spent > 0 for spent in seconds['song'].values())


@pytest.mark.slow
def test_a_model_of_one_channel_is_filtered_too(tmp_path, music):
    model = write_model(tmp_path / 'mono', dataclasses.replace(TINY, channels=1))
    mono = tmp_path / 'a.wav'
    soundfile.write(mono, stereo(5)[:, 0], 44100, subtype='FLOAT')
    run = separate([str(mono)], tmp_path / 'out', model, *FLOATS, '--mwf', '--chunks-per-segment', '1')
    stems = Separator.load(model, mwf=True).separate(*soundfile.read(mono, dtype='float32'))
    assert_equal(run, {'a': stems})
