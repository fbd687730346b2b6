"""Whole commands from start to exit: wall time, CPU time and peak memory of the process and all its children."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .material import LONG_MINUTES, Material
from .turns import ROOT, MeasuringError, Subject

SAMPLING_SECONDS = 0.25


class Run(NamedTuple):
    """What a command took."""

    wall: float  # seconds
    cpu: float  # seconds, of all its processes
    memory: float  # bytes, at the peak


def run_command(
    command: Sequence[str], log: Path, timeout: float = 3600, environment: Mapping[str, str] | None = None
) -> Run:
    """Run a command to its end.

    Returns:
      Memory is the larger of two: the kernel's own high-water mark of the largest process, which misses no peak but
      that of the last quarter of a second, and the most that samples of the whole tree came to, in which pages that
      processes share count once. (The kernel's figure for a process that has ended holds what its parent had, too.)

    Raises:
      MeasuringError: it cannot be started, fails, or takes longer than `timeout` seconds.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with log.open('wb') as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # so that it can be ended with all its children
            )
        except OSError as error:
            raise MeasuringError(f'{command[0]}: cannot be started: {error}') from error
        with _Sampler(process.pid) as sampler:
            late = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
            late.start()
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:  # we are to end
                os.killpg(process.pid, signal.SIGKILL)
                raise
            finally:
                late.cancel()
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = [line for line in log.read_text(errors='replace').splitlines() if line.strip()][-1:]
        raise MeasuringError(f'exit status {process.returncode} after {wall:.0f} s: {"".join(last)[:300]} (see {log})')
    return Run(wall, usage.ru_utime + usage.ru_stime, sampler.peak)


class _Sampler:
    """Watches the memory of a process and its children, from a core that is not measured on if there is one."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        others = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
        if others:
            with contextlib.suppress(OSError):  # a container may not be given them
                os.sched_setaffinity(0, others)  # of this thread alone
        while not self._stop.wait(SAMPLING_SECONDS):
            tree = process_tree(self._pid)
            marks = [_kilobytes(pid, 'status', 'VmHWM:') for pid in tree]
            shares = sum(_kilobytes(pid, 'smaps_rollup', 'Pss:') for pid in tree)
            self.peak = max(self.peak, 1024 * shares, 1024 * max(marks))

    def __enter__(self) -> _Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def process_tree(pid: int) -> list[int]:
    """A process and all that descend from it, as far as they live."""
    parents: dict[int, int] = {}
    for name in os.listdir('/proc'):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):  # it has ended
                stat = Path(f'/proc/{name}/stat').read_text()
                parents[int(name)] = int(stat.rpartition(')')[2].split()[1])
    tree = [pid]
    for member in tree:
        tree += [child for child, parent in parents.items() if parent == member]
    return tree


def _kilobytes(pid: int, file: str, key: str) -> int:
    """A figure that the kernel tells of a process; 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f'/proc/{pid}/{file}').read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1])
    return 0


OURS = str(Path(sys.executable).with_name('stembeam'))  # in the environment that the benchmark runs in


class Separation(NamedTuple):
    """One way to call `stembeam separate`."""

    name: str
    rounds: int
    workers: int
    options: tuple[str, ...]
    model: str = '4stems'


def separations(cores: int, rounds: int, two_stems: bool = False) -> list[Separation]:
    """The ways that are measured.

    Args:
      rounds: for those of FLAC, features and numbers of workers; the others are done half as often, but once at least.
      two_stems: measure the two-stem model too, for a peer that has no other.
    """
    fewer = max(1, rounds // 2)
    bare = '--no-features'
    ways = [Separation('stembeam separate, FLAC', rounds, cores, ('-c', 'flac', bare))]
    # One after the other: between others the machine's speed could change.
    for workers in range(1, cores):
        name = f'stembeam separate, FLAC, {workers} worker' + 's' * (workers > 1)
        ways.append(Separation(name, rounds, workers, ('-c', 'flac', bare)))
    ways += [
        Separation('stembeam separate, FLAC, features', rounds, cores, ('-c', 'flac')),
        Separation('stembeam separate, WAV', fewer, cores, ('-c', 'wav', bare)),
        Separation('stembeam separate, WAV, features', fewer, cores, ('-c', 'wav')),
    ]
    if two_stems:
        ways.append(Separation('stembeam separate, FLAC, two stems', fewer, cores, ('-c', 'flac', bare), '2stems'))
    return ways


def process_subjects(
    material: Material, ways: Sequence[Separation], seconds: float, scratch: Path, logs: Path, program: str = OURS
) -> list[Subject]:
    """The command's help, and separations of the corpus, `seconds` of audio in all; `program` is the command."""
    rounds = max(way.rounds for way in ways)
    subjects = [Subject('process', 'stembeam --help', lambda: _help_time(program, logs), rounds)]
    for way in ways:
        subjects.append(
            Subject(
                'process',
                way.name,
                lambda way=way: _separate(  # type: ignore[misc]
                    program, material, material.tracks, seconds, way, scratch, logs
                ),
                way.rounds,
            )
        )
    return subjects


def long_subjects(material: Material, cores: int, scratch: Path, logs: Path, program: str = OURS) -> list[Subject]:
    """Tracks of one minute to three hours, by themselves."""
    return [
        Subject(
            'long',
            f'stembeam separate, FLAC, features, one track of {minutes} min',
            lambda minutes=minutes: _separate(  # type: ignore[misc]
                program,
                material,
                [material.long_track(minutes)],
                60.0 * minutes,
                Separation(f'long {minutes}', 1, cores, ('-c', 'flac')),
                scratch,
                logs,
            ),
            1,
        )
        for minutes in LONG_MINUTES
    ]


def _help_time(program: str, logs: Path) -> dict[str, float]:
    return {'seconds': run_command([program, '--help'], logs / 'help.log').wall}


def _separate(
    program: str,
    material: Material,
    tracks: Sequence[Path],
    seconds: float,
    way: Separation,
    scratch: Path,
    logs: Path,
) -> dict[str, float]:
    shutil.rmtree(scratch, ignore_errors=True)
    command = [
        program, 'separate', *map(str, tracks), '-o', str(scratch), '--model', str(material.model(way.model)),
        '--workers', str(way.workers), *way.options,
    ]  # fmt: skip
    run = run_command(command, logs / f'{way.name.replace(" ", "-").replace(",", "")}.log')
    stems = 2 if way.model == '2stems' else 4
    check_stems(scratch, stems * len(tracks))
    shutil.rmtree(scratch, ignore_errors=True)
    return figures(run, seconds)


def check_stems(folder: Path, count: int) -> None:
    """Raises MeasuringError unless there are so many stems: a command that does nothing is fast."""
    found = [path for path in folder.rglob('*') if path.suffix in ('.flac', '.wav')]
    if len(found) != count:
        raise MeasuringError(f'{folder}: {len(found)} stems instead of {count} came out')


def figures(run: Run, seconds: float) -> dict[str, float]:
    """What is told of a command that separated so many seconds of audio."""
    return {'speed': seconds / run.wall, 'cpu': 1e3 * run.cpu / seconds, 'memory': run.memory / 1e9}
