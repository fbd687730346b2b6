"""Rounds in which everything that is measured has its turn, and the processes that are asked to measure."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from .rows import Row

ROOT = Path(__file__).resolve().parent.parent  # of the checkout


class MeasuringError(Exception):
    """Something could not be measured; the message says what and why."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """Something to measure; `measure` gives samples by quantity, one or several for each."""

    part: str
    name: str
    measure: Callable[[], Mapping[str, float | Sequence[float]]]
    rounds: int


def take_turns(subjects: Sequence[Subject], tell: Callable[[str], None]) -> tuple[list[Row], dict[str, str]]:
    """Measure all subjects, in rounds.

    Returns:
      Rows in the order of the subjects, and by name why subjects failed: they have no further turns, the others do.
    """
    samples: dict[tuple[str, str, str], list[float]] = {}
    failures: dict[str, str] = {}
    rounds = max((subject.rounds for subject in subjects), default=0)
    for number in range(rounds):
        for subject in subjects:
            if number >= subject.rounds or subject.name in failures:
                continue
            began = time.monotonic()
            try:
                found = subject.measure()
            except MeasuringError as error:
                failures[subject.name] = str(error)
                tell(f'round {number + 1}/{rounds}  {subject.name}: {error}')
                continue
            for quantity, values in found.items():
                more = [float(values)] if isinstance(values, int | float) else list(map(float, values))
                samples.setdefault((subject.part, subject.name, quantity), []).extend(more)
            told = ', '.join(f'{quantity} {_short(values)}' for quantity, values in found.items())
            tell(f'round {number + 1}/{rounds}  {subject.name}: {told} ({time.monotonic() - began:.0f} s)')
    order = {(subject.part, subject.name): place for place, subject in enumerate(subjects)}
    keys = sorted(samples, key=lambda key: order[key[:2]])  # stable: quantities stay as they came
    return [Row(*key, tuple(samples[key])) for key in keys], failures


def _short(values: float | Sequence[float]) -> str:
    return f'{values:.4g}' if isinstance(values, int | float) else ' '.join(f'{value:.4g}' for value in values)


class Worker:
    """A process that is kept open and measures what it is asked to (see peers/serving.py for its side)."""

    def __init__(
        self,
        module: str,
        config: Mapping[str, Any],
        log: Path,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        timeout: float = 1800,
    ) -> None:
        """Start it; it is warm, having done its work once, when this returns.

        Args:
          module: of this folder, run with `config` as JSON for its argument.
          log: where its standard error goes.
          timeout: seconds for every answer.

        Raises:
          MeasuringError: it does not start.
        """
        self._log = log
        self._name = module
        self._timeout = timeout
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open('wb') as errors:
            self._process = subprocess.Popen(
                [python, '-m', f'benchmark.{module}', json.dumps(config)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        self.started = self._answer()

    def measure(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """What it answers. Raises MeasuringError if it fails, or does not answer in time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(task) + '\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail('has ended')
        return self._answer()

    def peak_memory(self) -> int:
        """Bytes that it had at most so far, its children left out."""
        status = Path(f'/proc/{self._process.pid}/status').read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith('VmHWM'))

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        watch = threading.Timer(self._timeout, self._process.kill)
        watch.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            self._fail('ended without an answer')
        answer = json.loads(line)
        if 'error' in answer:
            self._fail(answer['error'])
        return answer

    def _fail(self, what: str) -> None:
        self.close()
        raise MeasuringError(f'{self._name}: {what}: see {self._log}')

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Worker:
        """The worker itself."""
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()
