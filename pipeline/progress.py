"""How far a run is, read from what it leaves in OUT: the plan, the completion records, and parts of long tracks.

Because only files are looked at, threads, worker processes and clusters are all the same to it.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from types import TracebackType
from typing import NamedTuple, Protocol, TextIO

import numpy as np

from ..transforms.completion import DONE, FOLDER, read_record
from ..transforms.planning import PLAN_FILE, Totals
from ..transforms.storage import Storage
from ..transforms.wiener_files import SUMS
from ..transforms.writing import MARKER, PARTS
from .clock import clock

LOCAL_SECONDS, REMOTE_SECONDS = 1.0, 20.0  # between two looks
LINE_SECONDS = 30.0  # between two lines where standard error is not a terminal


class Standing(NamedTuple):
    """A moment of a run."""

    listed: int  # tracks of the listing
    totals: Totals | None  # of the plan, once it is made
    done: int  # tracks completed by this run
    audio: float  # seconds of audio separated by this run
    elapsed: float  # seconds since the start
    measured: float = 0.0  # seconds of audio measured for Wiener filters by this run

    def line(self) -> str:
        """One line for people."""
        speed = self.audio / self.elapsed if self.elapsed > 0 else 0.0
        if self.totals is None:
            return f'planning {self.listed} tracks, {clock(self.elapsed)}'
        left = f'{clock(self.elapsed * (1 / self.share() - 1) if self.share() > 0 else math.nan)} left'
        if self.done < self.totals.tracks and self.audio >= self.totals.seconds:
            left = 'putting long tracks together'
        measured = (
            f'{self.measured / 3600:.2f}/{self.totals.measured / 3600:.2f} h measured for Wiener filters, '
            if self.totals.measured
            else ''
        )
        return (
            f'{self.done}/{self.totals.tracks} tracks, {measured}'
            f'{self.audio / 3600:.2f}/{self.totals.seconds / 3600:.2f} h of audio, '
            f'{speed:.1f}x real time, {left}'
        )

    def share(self) -> float:
        """How much of the work is done, 0 to 1: measuring audio and separating it count the same."""
        whole = self.totals.seconds + self.totals.measured if self.totals else 0.0
        return min(1.0, (self.audio + self.measured) / whole) if whole > 0 else 0.0

    def bar(self, width: int = 24) -> str:
        """A bar of the work that is done."""
        filled = round(width * self.share())
        return '[' + '#' * filled + '.' * (width - filled) + ']'


class Watch:
    """Looks at OUT from time to time; what was there before the start does not count."""

    def __init__(self, storage: Storage, listed: int, sample_rate: int) -> None:
        """`sample_rate` is the model's, in which parts are counted."""
        self._storage = storage
        self._listed = listed
        self._rate = sample_rate
        self._began = time.time()
        self._seen: dict[str, float] = {}  # record -> seconds of audio
        self._sums: dict[str, float] = {}  # sums of a segment -> seconds of audio

    def look(self) -> Standing:
        """The standing now. Files that vanish while being read are simply not counted yet."""
        self._read_new_records()
        audio = sum(self._seen.values()) + self._seconds_in_parts()
        totals = self._totals()
        measured = self._seconds_measured() if totals and totals.measured else 0.0
        return Standing(self._listed, totals, len(self._seen), audio, time.time() - self._began, measured)

    def _totals(self) -> Totals | None:
        try:
            return Totals(**json.loads(self._storage.read_bytes(PLAN_FILE)))
        except (OSError, ValueError):
            return None  # not made yet

    def _new_files(self, folder: str, name: str = '') -> list[str]:
        """Local files below a folder that were written since the start."""
        found = []
        for parent, _, names in os.walk(self._storage.url(folder)):
            for file in names:
                path = os.path.join(parent, file)
                if file.endswith(name) and path not in self._seen:
                    try:
                        if os.stat(path).st_mtime >= self._began - 1:
                            found.append(path)
                    except FileNotFoundError:
                        continue
        return found

    def _read_new_records(self) -> None:
        if not self._storage.is_local:
            return
        for path in self._new_files(FOLDER, '.json'):
            record = read_record(self._storage, os.path.relpath(path, self._storage.root))
            if record is not None and record['status'] == DONE and record['finished'] >= self._began:
                self._seen[path] = record['duration']

    def _seconds_in_parts(self) -> float:
        if not self._storage.is_local:
            return 0.0
        samples = 0
        for path in self._new_files(PARTS, MARKER):
            try:
                with open(path, 'rb') as file:
                    samples += json.load(file)['body_samples']
            except FileNotFoundError:
                continue
        return samples / self._rate

    def _seconds_measured(self) -> float:
        """Sums count on when their track is complete and they are gone."""
        if self._storage.is_local:
            for path in self._new_files(PARTS, SUMS):
                if path not in self._sums:
                    try:
                        with np.load(path, allow_pickle=False) as stored:
                            self._sums[path] = float(stored['samples']) / self._rate
                    except FileNotFoundError:
                        continue
        return sum(self._sums.values())


class Look(Protocol):
    """What can be shown of a moment of a run; a Standing is one."""

    def line(self) -> str:
        """One line for people."""
        ...

    def bar(self) -> str:
        """The same at a glance."""
        ...


class Watcher(Protocol):
    """Who knows how far a run is; a Watch is one."""

    def look(self) -> Look:
        """How far it is now."""
        ...


class Progress:
    """Shows a Watcher on a terminal as a bar, elsewhere as a line now and then; a context manager around the run."""

    def __init__(self, watch: Watcher, is_local: bool, out: TextIO | None = None) -> None:
        """`is_local`: OUT is a local folder, so looking is cheap.  `out`: standard error, as it is now, if None."""
        self._watch = watch
        self._out = sys.stderr if out is None else out
        self._terminal = self._out.isatty()
        self._pause = (LOCAL_SECONDS if self._terminal else LINE_SECONDS) if is_local else REMOTE_SECONDS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show_until_stopped, daemon=True)

    def __enter__(self) -> Progress:
        """Starts showing."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops showing."""
        self._stop.set()
        self._thread.join()
        if self._terminal:
            print('\r\x1b[K', end='', file=self._out, flush=True)

    def _show_until_stopped(self) -> None:
        while not self._stop.wait(self._pause):
            standing = self._watch.look()
            if self._terminal:
                print(f'\r\x1b[K{standing.bar()} {standing.line()}', end='', file=self._out, flush=True)
            else:
                print(standing.line(), file=self._out, flush=True)
