from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stembeam.model.errors import TrackError
from stembeam.transforms.attempts import PROGRESS_FILE, Attempts, Mark, attempt, mark_name
from stembeam.transforms.completion import track_key
from stembeam.transforms.metrics import PLAN
from stembeam.transforms.records import Track
from stembeam.transforms.storage import Storage
from stembeam.transforms.watchdog import HUNG, current_watcher

TRACK = Track('album/a', '/music/album/a.wav', {})
NAME = mark_name('decode', TRACK, 2)


@pytest.fixture(params=['disk', 'store'])
def attempts(request: pytest.FixtureRequest, tmp_path: Path) -> Attempts:
    root = str(tmp_path / 'marks') if request.param == 'disk' else f'memory:/{tmp_path}/marks'
    return Attempts(Storage.at(root))


def no_trial() -> str | None:
    raise AssertionError('nobody suspected the track')


def progress(attempts: Attempts) -> int:
    return attempts.storage.size(PROGRESS_FILE) or 0


def test_a_mark_is_there_as_long_as_the_track_is_under_way(attempts):
    with attempt(attempts, 'decode', TRACK, no_trial, index=2):
        mark = attempts.read(NAME)
        assert (mark.crashes, mark.verdict) == (0, None)
        assert attempts.left() == {track_key('album/a'): mark}
        assert current_watcher() is not None
    assert attempts.read(NAME) is None
    assert attempts.left() == {}
    assert current_watcher() is None
    assert progress(attempts) == (1 if attempts.storage.is_local else 0)


def test_planning_is_no_progress(attempts):
    with attempt(attempts, PLAN, TRACK, no_trial):
        assert attempts.left()
    assert progress(attempts) == 0


def test_an_error_takes_the_mark_away(attempts):
    with pytest.raises(ValueError, match='broken'), attempt(attempts, 'decode', TRACK, no_trial):
        raise ValueError('broken')
    assert attempts.left() == {}
    assert progress(attempts) == 0


def test_a_generator_that_nobody_reads_on_takes_it_away(attempts):
    def samples() -> Iterator[int]:
        with attempt(attempts, 'decode', TRACK, no_trial):
            yield 1

    reading = samples()
    next(reading)
    assert attempts.left()
    del reading
    assert attempts.left() == {}


def test_nothing_is_marked_without_a_place():
    with attempt(None, 'decode', TRACK, no_trial):
        assert current_watcher() is None


def test_a_suspect_that_fails_its_trial_is_set_aside(attempts):
    attempts.write(NAME, Mark('a process that died'))
    with (
        pytest.raises(TrackError, match='breaks the decoder'),
        attempt(attempts, 'decode', TRACK, lambda: 'it breaks the decoder', index=2),
    ):
        raise AssertionError('it was tried')
    assert attempts.read(NAME).verdict == 'it breaks the decoder'
    assert attempts.left() == {}
    assert progress(attempts) == (1 if attempts.storage.is_local else 0)
    with pytest.raises(TrackError, match='breaks the decoder'), attempt(attempts, 'decode', TRACK, no_trial, index=2):
        raise AssertionError('it was tried')
    with attempt(attempts, 'decode', TRACK, no_trial, index=3):  # another segment is no suspect
        pass


def test_a_track_that_was_under_way_in_several_deaths_is_set_aside(attempts):
    trials = []

    def passes() -> None:
        trials.append(attempts.read(NAME).crashes)

    attempts.write(NAME, Mark('a process that died'))
    for crashes in (1, 2):
        with attempt(attempts, 'decode', TRACK, passes, index=2):
            mark = attempts.read(NAME)
            assert mark.crashes == crashes
        attempts.write(NAME, mark._replace(owner='died as well'))
    with (
        pytest.raises(TrackError, match=r'/music/album/a\.wav: 3 processes died.*--workers'),
        attempt(attempts, 'decode', TRACK, passes, index=2),
    ):
        raise AssertionError('it was tried')
    assert trials == [1, 2, 3]  # what the trial does to this process counts, too


def test_the_own_mark_is_no_death(attempts):
    """A bundle that failed for another reason, and is done again."""
    with attempt(attempts, 'decode', TRACK, no_trial, index=2):
        mark = attempts.read(NAME)
    attempts.write(NAME, mark)
    with attempt(attempts, 'decode', TRACK, no_trial, index=2):
        assert attempts.read(NAME) == mark


@pytest.mark.parametrize('content', [b'', b'{"own', b'[]', b'\xff', b'[1, 2, 3, 4]'])
def test_a_mark_that_was_cut_off_is_one(attempts, content):
    attempts.storage.write_bytes(NAME, content)
    tried = []
    with attempt(attempts, 'decode', TRACK, lambda: tried.append('it'), index=2):
        assert attempts.read(NAME).crashes == 1
    assert tried == ['it']


HANGS = """
import contextlib, sys, threading, time
from stembeam.transforms.attempts import Attempts, attempt
from stembeam.transforms.records import Track
from stembeam.transforms.storage import Storage
from stembeam.transforms.watchdog import watched

attempts = Attempts(Storage.at(sys.argv[1]), timeout=0.1)

def work(track_id, seconds):
    with attempt(attempts, 'decode', Track(track_id, f'/{track_id}.wav', {}), None):
        with watched() if seconds > 100 else contextlib.nullcontext():
            time.sleep(seconds)

threading.Thread(target=work, args=('good', 60), daemon=True).start()
while not attempts.left():
    time.sleep(0.01)
work('hangs', 1000)
"""


def test_a_process_that_hangs_ends_and_says_why(tmp_path):
    done = subprocess.run([sys.executable, '-c', HANGS, str(tmp_path)], capture_output=True, timeout=100, check=False)
    assert done.returncode == HUNG
    attempts = Attempts(Storage.at(str(tmp_path)))
    mark = attempts.read(mark_name('decode', Track('hangs', '', {}), 0))
    assert mark is not None
    assert mark.verdict is not None
    assert '/hangs.wav: decoding it hangs, nothing came for 0 s' in mark.verdict
    assert attempts.left() == {}  # the other one is no suspect
    assert '/hangs.wav: decoding it hangs' in done.stderr.decode()
