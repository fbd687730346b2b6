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
from typing import NamedTuple, TextIO

from ..transforms.completion import DONE, FOLDER, read_record
from ..transforms.planning import PLAN_FILE, Totals
from ..transforms.storage import Storage
from ..transforms.writing import MARKER, PARTS

LOCAL_SECONDS, REMOTE_SECONDS = 1.0, 20.0  # between two looks
LINE_SECONDS = 30.0  # between two lines where standard error is not a terminal


class Standing(NamedTuple):
    """A moment of a run."""

    listed: int  # tracks of the listing
    totals: Totals | None  # of the plan, once it is made
    done: int  # tracks completed by this run
    audio: float  # seconds of audio separated by this run
    elapsed: float  # seconds since the start

    def line(self) -> str:
        """One line for people."""
        speed = self.audio / self.elapsed if self.elapsed > 0 else 0.0
        if self.totals is None:
            return f'planning {self.listed} tracks, {clock(self.elapsed)}'
        left = f'{clock((self.totals.seconds - self.audio) / speed if speed > 0 else math.nan)} left'
        if self.done < self.totals.tracks and self.audio >= self.totals.seconds:
            left = 'putting long tracks together'
        return (
            f'{self.done}/{self.totals.tracks} tracks, '
            f'{self.audio / 3600:.2f}/{self.totals.seconds / 3600:.2f} h of audio, '
            f'{speed:.1f}x real time, {left}'
        )

    def bar(self, width: int = 24) -> str:
        """A bar of the audio that is separated."""
        whole = self.totals.seconds if self.totals else 0.0
        filled = round(width * min(1.0, self.audio / whole)) if whole > 0 else 0
        return '[' + '#' * filled + '.' * (width - filled) + ']'


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    if not math.isfinite(seconds):
        return '?'
    whole = max(0, round(seconds))
    return f'{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}'


class Watch:
    """Looks at OUT from time to time; what was there before the start does not count."""

    def __init__(self, storage: Storage, listed: int, sample_rate: int) -> None:
        """`sample_rate` is the model's, in which parts are counted."""
        self._storage = storage
        self._listed = listed
        self._rate = sample_rate
        self._began = time.time()
        self._seen: dict[str, float] = {}  # record -> seconds of audio

    def look(self) -> Standing:
        """The standing now. Files that vanish while being read are simply not counted yet."""
        self._read_new_records()
        audio = sum(self._seen.values()) + self._seconds_in_parts()
        return Standing(self._listed, self._totals(), len(self._seen), audio, time.time() - self._began)

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


class Progress:
    """Shows a Watch on a terminal as a bar, elsewhere as a line now and then; a context manager around the run."""

    def __init__(self, watch: Watch, is_local: bool, out: TextIO | None = None) -> None:
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
