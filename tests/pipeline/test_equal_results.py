"""The same tracks give the same results, however the work is cut and dealt out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from stembeam.model.separator import Separator
from stembeam.pipeline.exit_status import OK

from ..conftest import TINY, noise
from .runs import Run, separate

FORMATS = {
    'wav': (),
    'wav-float': ('--format', 'wav-float', '--no-features'),
    'flac at 32 kHz': ('--format', 'flac', '--sample-rate', '32000'),
    'mp3': ('--format', 'mp3', '--no-features'),
}
TRACKS = {'song': 14, 'flac at 48 kHz': 4, 'mono mp3 at 22.05 kHz': 3}  # name -> chunks of the tiny model
FLOAT_TOLERANCE = 1e-6  # of full scale
STEP = 2.0**-15  # of 16 bits


@pytest.fixture(scope='module')
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('music')
    soundfile.write(folder / 'song.wav', noise(20.001), 44100)
    soundfile.write(folder / 'flac at 48 kHz.flac', noise(5, 48000, seed=1), 48000)
    soundfile.write(folder / 'mono mp3 at 22.05 kHz.mp3', noise(3, 22050, 1, seed=2), 22050)
    return folder


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, music: Path) -> dict[str, Run]:
    """Format -> a run whose tracks are one segment each, in one thread."""
    out = tmp_path_factory.mktemp('whole')
    runs = {}
    for name, options in FORMATS.items():
        runs[name] = separate([str(music)], out / name, tiny_model, '--workers', '1', *options)
        assert runs[name].status == OK
    return runs


def stems(run: Run) -> dict[str, Path]:
    return {str(path.relative_to(run.out)): path for path in run.out.glob('stems/*/*')}


def manifest(run: Run) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != 'seconds'} for row in run.rows('manifest-*')]


def tables(run: Run) -> dict[str, pa.Table]:
    """Frame tables and tables of tracks."""
    return {str(path.relative_to(run.out)): pq.read_table(path) for path in run.out.glob('features/**/*.parquet')}


def assert_identical(run: Run, expected: Run) -> None:
    """Every stem file to the byte, every value of every table."""
    assert run.status == OK
    assert stems(run).keys() == stems(expected).keys()
    for name, path in stems(run).items():
        assert path.read_bytes() == stems(expected)[name].read_bytes(), name
    assert manifest(run) == manifest(expected)
    assert len(manifest(run)) == len(TRACKS)
    assert tables(run).keys() == tables(expected).keys()
    for name, table in tables(run).items():
        assert table.equals(tables(expected)[name], check_metadata=True), name


def assert_close(run: Run, expected: Run, tolerance: float) -> None:
    """Stems within a tolerance of full scale, features as close as that lets them be."""
    assert run.status == OK
    assert stems(run).keys() == stems(expected).keys()
    for name, path in stems(run).items():
        found, rate = soundfile.read(path, dtype='float32')
        wanted, _ = soundfile.read(stems(expected)[name], dtype='float32')
        assert rate == 44100
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)
    assert tables(run).keys() == tables(expected).keys()
    for name, table in tables(run).items():
        found, wanted = table.to_pandas(), tables(expected)[name].to_pandas()
        pd.testing.assert_frame_equal(found, wanted, check_exact=False, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ('name', 'chunks'),
    [('wav', 1), ('wav', 3), ('wav', 12), ('wav-float', 3), ('flac at 32 kHz', 1), ('flac at 32 kHz', 3), ('mp3', 3)],
)
def test_segments_change_nothing(tmp_path, tiny_model, music, whole, name, chunks):
    run = separate([str(music)], tmp_path, tiny_model, '--chunks-per-segment', str(chunks), *FORMATS[name])
    assert_identical(run, whole[name])


@pytest.mark.parametrize('chunks', ['1', '100'])
def test_four_workers_change_nothing(tmp_path, tiny_model, music, whole, chunks):
    run = separate([str(music)], tmp_path, tiny_model, '--workers', '4', '--chunks-per-segment', chunks)
    assert_identical(run, whole['wav'])


@pytest.mark.parametrize(
    ('name', 'tolerance', 'chunks'), [('wav-float', FLOAT_TOLERANCE, '3'), ('wav', STEP, '1'), ('wav', STEP, '100')]
)
def test_batches_change_next_to_nothing(tmp_path, tiny_model, music, whole, name, tolerance, chunks):
    options = ['--batch-size', '8', '--chunks-per-segment', chunks, *FORMATS[name]]
    assert_close(separate([str(music)], tmp_path, tiny_model, *options), whole[name], tolerance)


@pytest.mark.slow
def test_worker_processes_change_next_to_nothing(tmp_path, tiny_model, music, whole):
    options = ['--direct_running_mode', 'multi_processing', '--workers', '3', '--chunks-per-segment', '1']
    run = separate([str(music)], tmp_path, tiny_model, *options, *FORMATS['wav-float'])
    assert_close(run, whole['wav-float'], FLOAT_TOLERANCE)


@pytest.mark.parametrize('track', TRACKS)
def test_the_pipeline_equals_the_separator(tiny_model, music, whole, track):
    path = next(music.glob(f'{track}.*'))
    separated = Separator.load(tiny_model).separate(*soundfile.read(path, dtype='float32', always_2d=True))
    found = whole['wav-float'].read(str(path))
    assert found.keys() == separated.keys() == set(TINY.instruments)
    for name, stem in separated.items():
        assert len(stem) > TINY.frames * TINY.frame_step * (TRACKS[track] - 1)
        np.testing.assert_allclose(found[name], stem, rtol=0, atol=FLOAT_TOLERANCE)


@pytest.mark.slow
def test_threads_get_the_same_samples_every_time(tiny_model, music):
    """One call in 200 was different where an operation of it had run in another thread."""
    chunks = Separator.load(tiny_model).chunks
    runs = [noise(chunks.grid.samples_of(2) / 44100, seed=seed) for seed in range(4)]
    expected = [chunks.separate_runs([run])[0] for run in runs]

    def separate_again(number: int) -> bool:
        (stems,) = chunks.separate_runs([runs[number % 4]])
        return bool((stems == expected[number % 4]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(separate_again, range(600)))
