"""A disk that fills up ends the run at once, loses nothing that was complete, and shows nothing that is not."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from stembeam.pipeline.exit_status import OK, RUN_FAILED
from stembeam.transforms.completion import DONE, read_record
from stembeam.transforms.storage import Storage

from ..conftest import TINY, noise
from . import runs

TRACKS, SECONDS = 12, 2
TRACK_BYTES = len(TINY.instruments) * SECONDS * 44100 * 4  # of stems in 16 bits


@pytest.fixture(scope='module')
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('music')
    for number in range(TRACKS):
        soundfile.write(folder / f'{number:02d}.wav', noise(SECONDS, seed=number), 44100)
    return folder


def complete_tracks(out: Path) -> list[str]:
    """Tracks whose records say that they are done; all their files must be there."""
    found = []
    for path in out.glob('.stembeam/complete/*/*.json'):
        record = read_record(Storage.at(str(out)), str(path.relative_to(out)))
        if record is not None and record['status'] == DONE:
            assert {name: os.path.getsize(out / name) for name in record['files']} == record['files']
            found.append(record['track_id'])
    return sorted(found)


def assert_nothing_half_written(out: Path) -> None:
    for path in out.glob('stems/*/*'):
        assert len(soundfile.read(path)[0]) == SECONDS * 44100, path
    assert os.listdir(out / '.stembeam/tmp') == []


def assert_one_line(said: str, out: Path) -> None:
    assert said == (
        f'stembeam: output folder {out}: No space left on device: everything that is complete is kept; '
        'make room and run the same command again\n'
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for five tracks."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mounted = sys.platform == 'linux' and subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', f'size={5 * TRACK_BYTES + TRACK_BYTES // 2}', 'none', folder],
        capture_output=True,
        check=False,
    ).returncode == 0  # fmt: skip
    if not mounted:
        pytest.skip('a small disk cannot be mounted here: this takes Linux and root')
    yield folder
    subprocess.run(['umount', folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize('workers', ['1', '4'])
def test_a_small_disk(small_disk, tiny_model, music, workers):
    options = ['--workers', workers, '--no-features', '--no-progress']
    arguments = ['separate', str(music), '-o', str(small_disk), '--model', str(tiny_model), *options]
    command = [sys.executable, '-m', 'stembeam.pipeline.cli', *arguments]
    full = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert full.returncode == RUN_FAILED
    assert_one_line(full.stderr, small_disk)
    done = complete_tracks(small_disk)
    assert 1 <= len(done) <= 5
    assert_nothing_half_written(small_disk)
    times = {name: state for name, state in runs.files_below(small_disk / 'stems').items() if name[:2] in done}

    room = f'remount,size={20 * TRACK_BYTES}'
    subprocess.run(['mount', '-o', room, small_disk], check=True)
    again = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert again.returncode == OK
    assert f'done {TRACKS - len(done)}, skipped {len(done)} (complete already), failed 0:' in again.stdout
    assert len(complete_tracks(small_disk)) == TRACKS
    assert_nothing_half_written(small_disk)
    assert times.items() <= runs.files_below(small_disk / 'stems').items()


@pytest.mark.parametrize(('workers', 'chunks'), [('1', '100'), ('3', '1')])
def test_every_moment_at_which_the_disk_can_be_full(tmp_path, tiny_model, music, monkeypatch, capfd, workers, chunks):
    """Room for 3, then for 7 more files and so on: each run stops in another place, and the last one goes through."""
    few = tmp_path / 'few'
    few.mkdir()
    for name in ('00.wav', '01.wav', '02.wav'):
        shutil.copy(music / name, few)
    out = tmp_path / 'out'
    replace = os.replace
    room = 0

    def replace_while_there_is_room(source: str, target: str) -> None:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
        room -= 1
        replace(source, target)

    monkeypatch.setattr(os, 'replace', replace_while_there_is_room)
    done: list[str] = []
    statuses = []
    for more in (3, 7, 11, 1000):
        room = more
        capfd.readouterr()
        run = runs.separate([str(few)], out, tiny_model, '--workers', workers, '--chunks-per-segment', chunks)
        statuses.append(run.status)
        assert_nothing_half_written(out)
        assert set(done) <= set(complete_tracks(out))
        done = complete_tracks(out)
        if run.status == RUN_FAILED:
            assert_one_line(capfd.readouterr().err.splitlines(keepends=True)[-1], out)
            assert not run.printed
        else:
            assert done == ['00', '01', '02']
            assert [row['track_id'] for row in run.rows('manifest-*')] == done
    assert statuses[0] == RUN_FAILED
    assert statuses[-1] == OK
