"""A hundred tracks and twenty faults: every track is in the manifest or in the failure table, once, and whatever is
made is as an undisturbed run makes it.

Eleven tracks are broken, seven break, hang or kill the process that reads them, the output store is away for some
seconds, and the launcher is killed and started again.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stembeam.pipeline.exit_status import WITH_FAILURES

from ..pipeline.runs import Run
from .corpus import INJECTED, TRACKS, Corpus, write_corpus

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path('/proc/self/fd').exists(), reason='tracks are known by their names in /proc'),
]

INJECTED_CODE = Path(__file__).parent / 'injected'
PATIENCE = 500  # seconds that any wait may take
SETTINGS = ('--decode-timeout', '5')
PROCESSES = ('--direct_running_mode', 'multi_processing')
# Faults of the run whose launcher is killed, and of the next one, which has to find out again about all that remain.
# Every death of a worker process starts all of them again, so there are fewer.
STRUCK = {(): (('crash-open',), tuple(INJECTED)), PROCESSES: ((), ('crash-read', 'kill-once', 'hang-read'))}


@pytest.fixture(scope='module')
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp('faults'))


@pytest.fixture(scope='module')
def undisturbed(corpus: Corpus, tiny_model: Path) -> Run:
    """Nobody strikes."""
    out = corpus.folder / 'undisturbed'
    done = subprocess.run(
        command(corpus, str(out), tiny_model), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    run = Run(done.returncode, out, done.stdout)
    assert run.status == WITH_FAILURES
    assert {row['uri'] for row in run.failures()} == corpus.broken
    assert len(run.by_uri()) == TRACKS - len(corpus.broken)
    return run


def command(corpus: Corpus, out: str, model: Path, *options: str) -> list[str]:
    arguments = ['separate', str(corpus.listing), '-o', out, '--model', str(model), '--workers', '2', '--no-progress']
    return [sys.executable, '-m', 'stembeam.pipeline.cli', *arguments, *SETTINGS, *options]


def start(words: list[str], strikes: Path, faults: tuple[str, ...]) -> subprocess.Popen[str]:
    """Start a command whose tracks strike."""
    path = os.pathsep.join([str(INJECTED_CODE), *filter(None, [os.environ.get('PYTHONPATH')])])
    told = {'PYTHONPATH': path, 'STEMBEAM_TEST_STRIKES': str(strikes), 'STEMBEAM_TEST_FAULTS': ' '.join(faults)}
    return subprocess.Popen(
        words, env={**os.environ, **told}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def running(words: str) -> list[int]:
    """Processes with these words in their command lines."""
    found = []
    for process in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            if words in (process / 'cmdline').read_bytes().decode(errors='replace'):
                found.append(int(process.name))
    return found


def wait_for(condition: Any, process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, f'the run was over too soon: {process.communicate()}'
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize('options', [(), PROCESSES], ids=['threads', 'processes'])
def test_nothing_is_lost_and_nothing_is_there_twice(tmp_path, tiny_model, corpus, undisturbed, options):
    strikes, out = tmp_path / 'strikes', tmp_path / 'out'
    strikes.mkdir()
    struck_before, struck = STRUCK[options]
    words = command(corpus, f'flaky://{out}', tiny_model, *options)
    first = start(words, strikes, struck_before)
    try:
        wait_for(lambda: len(list(out.glob('.stembeam/complete/*/*'))) >= 15, first)
    finally:
        first.kill()
        first.communicate()
    wait_for(lambda: not running(str(out)))  # it takes its child along
    again = start(words, strikes, struck)
    printed, said = again.communicate(timeout=PATIENCE)
    run = Run(again.returncode, out, printed)

    assert run.status == WITH_FAILURES, said
    reasons = {row['uri']: row['reason'] for row in run.failures()}
    set_aside = {corpus.injected[fault]: INJECTED[fault] for fault in struck if INJECTED[fault]}
    assert reasons.keys() == corpus.broken | set_aside.keys()
    for uri, words_of_reason in set_aside.items():
        assert str(words_of_reason) in reasons[uri]
    found = Counter(row['uri'] for row in (*run.rows('manifest-*.parquet'), *run.failures()))
    assert len(found) == TRACKS
    assert set(found.values()) == {1}
    done = {row['uri'] for row in run.rows('manifest-*.parquet')}
    assert_as_undisturbed(run, undisturbed, done)
    # What an earlier start of the same command has done is no work of another run.
    counts = re.match(r'done (\d+), skipped (\d+) \(complete already\), failed (\d+): ', printed)
    assert counts is not None
    done_now, skipped, failed = map(int, counts.groups())
    assert (done_now + skipped, failed) == (len(done), len(reasons))
    assert skipped >= 15
    assert (strikes / 'refused').stat().st_size > 0  # the store was away
    # Which of the faults kills the run, and which is found in a trial after another one has, is a matter of chance.
    assert '; it goes on from there' in said
    assert not list(out.glob('.stembeam/attempts/*'))


def assert_as_undisturbed(run: Run, undisturbed: Run, uris: set[str]) -> None:
    """The same rows of all tables and the same bytes in all files, of some tracks."""
    expected = {row['track_id']: row for row in undisturbed.rows('manifest-*.parquet') if row['uri'] in uris}
    for row in run.rows('manifest-*.parquet'):
        assert {**row, 'seconds': None} == {**expected[row['track_id']], 'seconds': None}
        for path in [*dict(row['stems']).values(), row['frames']]:
            assert (run.out / path).read_bytes() == (undisturbed.out / path).read_bytes(), path
    rows = [row for row in undisturbed.rows('features/tracks-*.parquet') if row['track_id'] in expected]
    assert run.rows('features/tracks-*.parquet') == rows
    stems = {path.relative_to(run.out) for path in run.out.glob('stems/**/*') if path.is_file()}
    assert len(stems) == 3 * len(expected)
