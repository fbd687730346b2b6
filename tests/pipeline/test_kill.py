"""A run that is killed at any moment, started again, ends as if nothing had happened; so does an interrupted one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import soundfile

from stembeam.pipeline.exit_status import INTERRUPTED, OK, WITH_FAILURES
from stembeam.transforms.completion import read_record
from stembeam.transforms.storage import Storage

from ..conftest import TINY, noise
from .runs import Run

pytestmark = pytest.mark.slow

TRACKS, BROKEN = 200, 10
PATIENCE = 300  # seconds that any wait may take


def command(music: Path, out: Path, model: Path, *options: str) -> list[str]:
    arguments = ['separate', str(music), '-o', str(out), '--model', str(model), '--workers', '2', *options]
    return [sys.executable, '-m', 'stembeam.pipeline.cli', *arguments, '--no-progress']


def with_temporary(folder: Path) -> dict[str, str]:
    """An environment with a place for temporary files that nobody has used yet."""
    folder.mkdir(parents=True, exist_ok=True)
    return {**os.environ, 'TMPDIR': tempfile.mkdtemp(prefix='tmp-', dir=folder)}


def finish(*arguments: Any) -> Run:
    """Run to the end, of which no temporary file is left."""
    environment = with_temporary(arguments[1].parent)
    done = subprocess.run(
        command(*arguments), env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert os.listdir(environment['TMPDIR']) == []
    return Run(done.returncode, arguments[1], done.stdout)


def kill(group: int) -> None:
    os.killpg(group, signal.SIGKILL)


def interrupt(group: int) -> None:
    os.killpg(group, signal.SIGINT)


def heed_interrupts() -> None:
    """Scripts start what runs in their background with interrupts ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stop(
    when: Callable[[Path], bool], how: Callable[[int], None], music: Path, out: Path, model: Path, *options: str
) -> tuple[int, str]:
    """Start the command, call `how` with its process group as soon as `when(out)`; returns exit status and stderr.

    Unless it was killed as a whole, no temporary file is left.
    """
    environment = with_temporary(out.parent)
    process = subprocess.Popen(
        command(music, out, model, *options),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not when(out):
            assert process.poll() is None, 'the run was over before it could be stopped'
            assert time.monotonic() < deadline
            time.sleep(0.02)
        how(process.pid)
        said = process.communicate(timeout=PATIENCE)[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert how is kill or os.listdir(environment['TMPDIR']) == []
    return process.returncode, said


def records(out: Path) -> dict[Path, int]:
    """Completion records of tracks that are done, with their time of change."""
    found = {}
    for path in out.glob('.stembeam/complete/*/*.json'):
        record = read_record(Storage.at(str(out)), str(path.relative_to(out)))
        if record is not None and record['status'] == 'done':
            found[path] = path.stat().st_mtime_ns
    return found


def parts(out: Path) -> dict[Path, int]:
    """Parts of long tracks that are whole, with their time of change."""
    return {path: path.stat().st_mtime_ns for path in out.glob('.stembeam/parts/*/*/*/part.json')}


def assert_nothing_half_written(out: Path, samples: dict[str, int]) -> None:
    """Every stem is as long as its track, every table reads."""
    for path in out.glob('stems/*/*'):
        decoded, _ = soundfile.read(path)
        assert len(decoded) == samples[path.parent.name], path
    for path in out.glob('features/**/*.parquet'):
        assert pq.read_table(path).num_rows > 0


def assert_same(run: Run, undisturbed: Run) -> None:
    """Same status, failures and tables, the same bytes in every file; and nothing is left lying about."""

    def timeless(row: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in row.items() if name != 'seconds'}

    assert run.status == undisturbed.status
    assert run.failures() == undisturbed.failures()
    for table in ('manifest-*', 'features/tracks-*'):
        found, expected = run.rows(f'{table}.parquet'), undisturbed.rows(f'{table}.parquet')
        assert [timeless(row) for row in found] == [timeless(row) for row in expected]
    files = {folder: visible_files(folder) for folder in (run.out, undisturbed.out)}
    assert files[run.out].keys() == files[undisturbed.out].keys()
    for name, path in files[run.out].items():
        assert path.read_bytes() == files[undisturbed.out][name].read_bytes(), name
    assert os.listdir(run.out / '.stembeam/tmp') == []
    assert not list(run.out.glob('.stembeam/parts/*'))


def visible_files(out: Path) -> dict[str, Path]:
    """Stems and frame tables."""
    found = [*out.glob('stems/**/*'), *out.glob('features/frames/**/*')]
    return {str(path.relative_to(out)): path for path in found if path.is_file()}


@pytest.fixture(scope='module')
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """Short files, some of one chunk, some of three; every twentieth is broken. And name -> samples of the others."""
    folder = tmp_path_factory.mktemp('corpus')
    samples = {}
    for number in range(TRACKS):
        name = f'track {number:03d}'
        if number % (TRACKS // BROKEN) == 7:
            (folder / f'{name}.wav').write_bytes(b'RIFF, but no music' * number)
            continue
        audio = noise(0.5 + number % 11 / 4, seed=number)
        soundfile.write(folder / f'{name}.wav', audio, 44100)
        samples[name] = len(audio)
    return folder, samples


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory: pytest.TempPathFactory, corpus: tuple[Path, dict[str, int]], tiny_model: Path) -> Run:
    return finish(corpus[0], tmp_path_factory.mktemp('undisturbed') / 'out', tiny_model)


def test_a_folder_with_broken_files(corpus, undisturbed):
    folder, samples = corpus
    assert undisturbed.status == WITH_FAILURES
    assert f'done {TRACKS - BROKEN}, skipped 0 (complete already), failed {BROKEN}:' in undisturbed.printed
    assert {row['track_id']: row['num_samples'] for row in undisturbed.rows('manifest-*')} == samples
    broken = {str(path) for path in folder.iterdir() if path.stem not in samples}
    assert {row['uri'] for row in undisturbed.failures()} == broken
    assert len(undisturbed.failures()) == len(broken) == BROKEN
    assert_nothing_half_written(undisturbed.out, samples)


@pytest.mark.parametrize('options', [(), ('--chunks-per-segment', '1')], ids=['whole tracks', 'parts'])
def test_killed_half_way(tmp_path, tiny_model, corpus, undisturbed, options):
    folder, samples = corpus
    out = tmp_path / 'out'
    stop(lambda out: len(records(out)) >= TRACKS / 2, kill, folder, out, tiny_model, *options)
    first = records(out)
    assert TRACKS / 2 <= len(first) < TRACKS - BROKEN
    assert_nothing_half_written(out, samples)
    again = finish(folder, out, tiny_model, *options)
    assert f'done {TRACKS - BROKEN - len(first)}, skipped {len(first)} (complete' in again.printed
    assert {path: state for path, state in records(out).items() if path in first} == first
    assert_same(again, undisturbed)


def test_parts_of_a_long_track_are_used_again(tmp_path, tiny_model):
    """Killed while the long track has some parts; once more while it is put together; then finished."""
    music = tmp_path / 'music'
    music.mkdir()
    soundfile.write(music / 'long.wav', noise(60), 44100)
    chunks = -(-(60 * 44100 + TINY.frame_length) // (TINY.frames * TINY.frame_step))
    one_chunk = ('--chunks-per-segment', '1')
    whole = finish(music, tmp_path / 'whole', tiny_model)
    out = tmp_path / 'out'
    stop(lambda out: len(parts(out)) >= 5, kill, music, out, tiny_model, *one_chunk)
    first = parts(out)
    assert 5 <= len(first) < chunks
    assert not list(out.glob('stems/*/*'))

    def is_assembling(out: Path) -> bool:
        return len(parts(out)) == chunks

    stop(is_assembling, kill, music, out, tiny_model, *one_chunk)
    assert {path: state for path, state in parts(out).items() if path in first} == first
    assert_nothing_half_written(out, {'long': 60 * 44100})
    again = finish(music, out, tiny_model, *one_chunk)
    assert (again.status, whole.status) == (OK, OK)
    assert_same(again, whole)


def test_what_was_measured_for_the_wiener_filter_is_used_again(tmp_path, tiny_model):
    """Killed in the first pass, in the second one, and while the filtered parts are written; then finished."""
    music = tmp_path / 'music'
    music.mkdir()
    soundfile.write(music / 'long.wav', noise(60), 44100)
    options = ('--mwf-iterations', '2', '--chunks-per-segment', '1')
    whole = finish(music, tmp_path / 'whole', tiny_model, '--mwf-iterations', '2')
    out = tmp_path / 'out'

    def measured(out: Path) -> dict[Path, int]:
        found = (*out.glob('.stembeam/parts/*/*/wiener-*/*.npz'), *out.glob('.stembeam/parts/*/*/wiener-*.npz'))
        return {path: path.stat().st_mtime_ns for path in found}

    def passes(out: Path, number: int) -> int:
        return sum(f'wiener-{number}/' in str(path) for path in measured(out))

    for when in (lambda out: passes(out, 1) >= 5, lambda out: passes(out, 2) >= 5, lambda out: len(parts(out)) >= 5):
        before = measured(out)
        stop(when, kill, music, out, tiny_model, *options)
        assert measured(out).items() >= before.items()
        assert not list(out.glob('stems/*/*'))
    assert_same(finish(music, out, tiny_model, *options), whole)


def test_parts_are_forgotten_when_the_track_is_cut_otherwise(tmp_path, tiny_model):
    music = tmp_path / 'music'
    music.mkdir()
    soundfile.write(music / 'long.wav', noise(30), 44100)
    out = tmp_path / 'out'
    stop(lambda out: len(parts(out)) >= 3, kill, music, out, tiny_model, '--chunks-per-segment', '1')
    whole = finish(music, tmp_path / 'whole', tiny_model)
    assert_same(finish(music, out, tiny_model), whole)


@pytest.mark.parametrize('options', [('--workers', '1'), ('--workers', '3')], ids=['one thread', 'threads'])
def test_interrupted(tmp_path, tiny_model, corpus, undisturbed, options):
    """Ctrl-C: one line, an exit status of its own, and the next run goes on."""
    folder, samples = corpus
    out = tmp_path / 'out'
    status, said = stop(lambda out: len(records(out)) >= 20, interrupt, folder, out, tiny_model, *options)
    assert status == INTERRUPTED
    assert said == 'stembeam: interrupted; what is complete is kept, the same command goes on from here\n'
    first = records(out)
    assert_nothing_half_written(out, samples)
    again = finish(folder, out, tiny_model)
    assert f'skipped {len(first)} (complete' in again.printed
    assert_same(again, undisturbed)


@pytest.mark.skipif(not Path('/proc/self/cmdline').exists(), reason='finds the worker process in /proc')
def test_a_worker_process_dies(tmp_path, tiny_model, corpus, undisturbed):
    """Beam would wait for its answer for ever; the run is started again."""
    folder, _ = corpus
    options = ['--direct_running_mode', 'multi_processing']
    status, said = stop(lambda out: len(records(out)) >= 5, kill_a_worker, folder, tmp_path, tiny_model, *options)
    assert said == 'stembeam: a worker process died of SIGKILL; it goes on from there\n'
    assert_same(Run(status, tmp_path, ''), undisturbed)


def kill_a_worker(group: int) -> None:
    """Kill one of Beam's worker processes of a process group."""
    for process in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            words = (process / 'cmdline').read_bytes().split(b'\0')
            if b'apache_beam.runners.worker.sdk_worker_main' in words and os.getpgid(int(process.name)) == group:
                os.kill(int(process.name), signal.SIGKILL)
                return
    raise AssertionError('no worker process was found')
