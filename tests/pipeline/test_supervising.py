"""The parent alone, with children that are three lines long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stembeam.pipeline.supervising import MOST_IDLE_STARTS, PROGRESS

PATIENCE = 60  # seconds that any wait may take

CHILD = """
import os, signal, sys, time
from pathlib import Path
from stembeam.pipeline import supervising

if not supervising.is_supervised():
    sys.exit(supervising.supervise())
run, notes = supervising.supervision(), Path(sys.argv[1])
with open(notes / 'starts', 'a') as file:
    file.write(run.folder + '\\n')
start = len((notes / 'starts').read_text().splitlines())

def die(number):
    os.kill(os.getpid(), number)
    time.sleep(100)

def get_on():
    with open(f'{run.folder}/PROGRESS', 'a') as file:
        file.write('.')

""".replace('PROGRESS', PROGRESS)


def words(notes: Path, child: str) -> list[str]:
    return [sys.executable, '-c', CHILD + child, str(notes)]


def supervise(notes: Path, child: str, **options: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    done = subprocess.run(words(notes, child), capture_output=True, text=True, timeout=PATIENCE, check=False, **options)  # type: ignore[call-overload]
    return done.returncode, done.stdout, done.stderr


def starts(notes: Path) -> list[str]:
    return (notes / 'starts').read_text().splitlines()


@pytest.mark.parametrize('status', [0, 1, 2, 3, 130])
def test_the_exit_status_is_the_child_s(tmp_path, status):
    child = f'run.remember({{}}); print("out"); print("err", file=sys.stderr); sys.exit({status})'
    assert supervise(tmp_path, child) == (status, 'out\n', 'err\n')
    assert len(starts(tmp_path)) == 1
    assert not os.path.exists(starts(tmp_path)[0])


def test_a_child_that_dies_is_started_again(tmp_path):
    child = """
print(run.recall(), sys.stdin.read(), flush=True)
run.remember({'began': 7})
if start == 1: die(signal.SIGSEGV)
if start == 2: os._exit(76)
if start == 3: run.ask_again('a worker died', False)
sys.exit(3)
"""
    status, out, said = supervise(tmp_path, child, input='stdin')
    assert status == 3
    assert out.splitlines() == ['None stdin', *["{'began': 7} "] * 3]
    assert said.splitlines() == [
        'stembeam: the process died of SIGSEGV; it goes on from there',
        'stembeam: the process ended because a decoder hung; it goes on from there',
        'stembeam: a worker died; it goes on from there',
    ]
    assert len(set(starts(tmp_path))) == 1
    assert not os.path.exists(starts(tmp_path)[0])


def test_a_child_that_dies_before_the_run_began_is_not(tmp_path):
    status, _, said = supervise(tmp_path, 'die(signal.SIGABRT)')
    assert (status, len(starts(tmp_path))) == (1, 1)
    assert said.startswith('stembeam: the process died of SIGABRT before the run began: ')


def test_without_progress_it_gives_up(tmp_path):
    child = """
print(run.fewer(8), flush=True)
run.remember({})
if start == 3: get_on()
die(signal.SIGKILL)
"""
    status, out, said = supervise(tmp_path, child)
    assert status == 1
    assert len(starts(tmp_path)) == 3 + MOST_IDLE_STARTS
    assert out.split() == ['8', '8', '4', '2', '1', '1', '1', '1']
    *lines, last = said.splitlines()
    assert lines[0] == 'stembeam: the process died of SIGKILL; it goes on from there'
    assert set(lines[1:]) == {f'{lines[0]}, with half as many workers'}
    assert last.startswith(f'stembeam: the process died of SIGKILL, for the {MOST_IDLE_STARTS}th time in a row')
    assert 'fewer --workers' in last


def test_its_lines_are_json_where_those_of_the_child_are(tmp_path):
    child = "run.remember({'log_format': 'json'})\nif start == 1: die(signal.SIGBUS)"
    status, _, said = supervise(tmp_path, child)
    assert status == 0
    assert said.startswith('{"time": ')
    assert 'died of SIGBUS' in said


WAITS = """
run.remember({})
(notes / 'pid').write_text(str(os.getpid()))
(notes / 'ready').touch()
try:
    time.sleep(100)
except KeyboardInterrupt:
    time.sleep(0.5)
    print('interrupted once', flush=True)
    os._exit(130)
"""


def started(notes: Path, child: str) -> tuple[subprocess.Popen[str], int]:
    """The parent, and the child's id."""
    process = subprocess.Popen(
        words(notes, child),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until((notes / 'ready').exists)
    return process, int((notes / 'pid').read_text())


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    stat = Path(f'/proc/{process}/stat')  # an orphan may wait for long to be buried
    return stat.exists() and stat.read_text().rpartition(')')[2].split()[0] == 'Z'


@pytest.mark.parametrize('to_group', [False, True], ids=['parent alone', 'as a terminal does'])
def test_an_interrupt_reaches_the_child_once(tmp_path, to_group):
    process, child = started(tmp_path, WAITS)
    (os.killpg if to_group else os.kill)(process.pid, signal.SIGINT)
    assert process.communicate(timeout=PATIENCE) == ('interrupted once\n', '')
    assert process.returncode == 130
    assert is_gone(child)


@pytest.mark.parametrize('target', ['parent', 'child'])
def test_who_is_told_to_end_is_not_started_again(tmp_path, target):
    process, child = started(tmp_path, WAITS)
    os.kill(process.pid if target == 'parent' else child, signal.SIGTERM)
    assert process.communicate(timeout=PATIENCE) == ('', '')
    assert process.returncode == -signal.SIGTERM
    assert len(starts(tmp_path)) == 1
    assert is_gone(child)
    assert not os.path.exists(starts(tmp_path)[0])


def test_the_child_dies_with_its_parent(tmp_path):
    process, child = started(tmp_path, WAITS)
    process.kill()
    process.communicate()
    wait_until(lambda: is_gone(child))
    wait_until(lambda: not os.path.exists(starts(tmp_path)[0]))
