"""How far a run is, read from what it leaves in OUT: the plan, the completion records, and parts of long tracks.

Because only files are looked at, threads, worker processes and clusters are all the same to it.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, Protocol, TextIO, TypeVar

import numpy as np

from ..model.errors import RunError
from ..transforms.completion import DONE, FOLDER, read_record
from ..transforms.planning import PLAN_FILE, Totals
from ..transforms.retrying import side_by_side
from ..transforms.storage import Storage
from ..transforms.wiener_files import SUMS
from ..transforms.writing import MARKER, PARTS
from .clock import clock

LOCAL_SECONDS, REMOTE_SECONDS = 1.0, 20.0  # between two looks
READERS = 32  # files of a store that are read at the same time
PAUSES_PER_LOOK = 10  # so many times longer than a look is the pause after it: records may be millions
LINE_SECONDS = 30.0  # between two lines where standard error is not a terminal

T = TypeVar('T')


class Standing(NamedTuple):
    """A moment of a run."""

    listed: int  # tracks of the listing
    totals: Totals | None  # of the plan, once it is made
    done: int  # tracks completed by this run
    audio: float  # seconds of audio separated by this run
    elapsed: float  # seconds since the start
    measured: float = 0.0  # seconds of audio measured for Wiener filters by this run
    last: float | None = None  # when this run completed a track last, seconds since the epoch

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
    """Looks at OUT from time to time; what was there before the start does not count.

    Of a local folder only files are read that were written since the start; object stores are not asked for times, so
    there every record is read once, many at a time.
    """

    def __init__(self, storage: Storage, listed: int, sample_rate: int, began: float | None = None) -> None:
        """`sample_rate` is the model's, in which parts are counted; `began` when the run started, None for now."""
        self._storage = storage
        self._listed = listed
        self._rate = sample_rate
        self._began = time.time() if began is None else began
        self._seen: dict[str, float] = {}  # record -> seconds of audio
        self._stale: set[str] = set()  # records from before the start, in a store
        self._parts: dict[str, float] = {}  # part -> seconds of audio
        self._sums: dict[str, float] = {}  # sums of a segment -> seconds of audio
        self._last: float | None = None  # when the last track was completed

    def look(self) -> Standing:
        """The standing now. Files that vanish while being read are simply not counted yet.

        Raises:
          RunError: the store does not answer.
        """
        totals = self._totals()
        self._read_new_records(totals)
        audio = sum(self._seen.values()) + self._seconds_in_parts()
        measured = self._seconds_measured() if totals and totals.measured else 0.0
        elapsed = time.time() - self._began
        return Standing(self._listed, totals, len(self._seen), audio, elapsed, measured, self._last)

    def _totals(self) -> Totals | None:
        try:
            return Totals(**json.loads(self._storage.read_bytes(PLAN_FILE)))
        except (OSError, ValueError):
            return None  # not made yet

    def _files(self, folder: str, name: str) -> Iterator[str]:
        """Files below a folder whose name ends so, relative to OUT; of a local one those written since the start."""
        for path in self._storage.list_files(folder):
            if path.endswith(name) and (not self._storage.is_local or self._is_new(path)):
                yield path

    def _is_new(self, path: str) -> bool:
        try:
            return os.stat(self._storage.url(path)).st_mtime >= self._began - 1
        except FileNotFoundError:
            return False

    def _read(self, paths: Iterable[str], read: Callable[[str], T | None]) -> Iterator[tuple[str, T]]:
        """What `read` makes of files, but of those that have vanished; files of a store side by side."""

        def read_one(path: str) -> tuple[str, T | None]:
            try:
                return path, read(path)
            except (FileNotFoundError, ValueError):  # not JSON: being written by a program that is not ours
                return path, None

        found = map(read_one, paths) if self._storage.is_local else side_by_side(read_one, paths, READERS)
        return ((path, value) for path, value in found if value is not None)

    def _read_new_records(self, totals: Totals | None) -> None:
        # As many as were skipped will stay as they are; when there are more, some are to be replaced.
        if totals is None or len(self._stale) > totals.skipped:
            self._stale.clear()
        known = self._seen.keys() | self._stale
        new = [path for path in self._files(FOLDER, '.json') if path not in known]
        for path, record in self._read(new, lambda path: read_record(self._storage, path)):
            if record['status'] == DONE and record['finished'] >= self._began:
                self._seen[path] = record['duration']
                self._last = max(self._last or 0.0, record['finished'])
            elif not self._storage.is_local:
                self._stale.add(path)

    def _seconds_in_parts(self) -> float:
        """Parts of long tracks count until their track is complete and they are gone."""
        there = set(self._files(PARTS, f'/{MARKER}'))
        new = there - self._parts.keys()
        markers = self._read(new, lambda path: json.loads(self._storage.read_bytes(path)))
        self._parts |= {path: marker['body_samples'] / self._rate for path, marker in markers}
        return sum(seconds for path, seconds in self._parts.items() if path in there)

    def _seconds_measured(self) -> float:
        """Sums count on when their track is complete and they are gone."""
        new = [path for path in self._files(PARTS, SUMS) if path not in self._sums]
        self._sums |= dict(self._read(new, self._read_sums))
        return sum(self._sums.values())

    def _read_sums(self, path: str) -> float:
        with np.load(io.BytesIO(self._storage.read_bytes(path)), allow_pickle=False) as stored:
            return float(stored['samples']) / self._rate


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
        took = 0.0  # by the last look
        while not self._stop.wait(max(self._pause, PAUSES_PER_LOOK * took)):
            began = time.monotonic()
            try:
                standing = self._watch.look()
            except RunError:  # a store that does not answer: the run itself says so if that lasts
                continue
            finally:
                took = time.monotonic() - began
            if self._terminal:
                print(f'\r\x1b[K{standing.bar()} {standing.line()}', end='', file=self._out, flush=True)
            else:
                print(standing.line(), file=self._out, flush=True)
