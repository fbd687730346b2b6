"""Calls into native code that may never come back, watched from another thread.

Stands on the standard library alone. The one idea: a thread that hangs in native code cannot be stopped, only its
process can; so whoever makes such calls puts them into `watched()`, and whoever answers for the thread has said with
`watched_by` what is to happen to calls that take too long.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

HUNG = 76  # exit status of a process that ended itself because a call did not come back
TICK_SECONDS = 1.0
DECODE_TIMEOUT = 300.0  # seconds that a decoder may give nothing
MOST_CRASHES = 3  # processes that may die while a track is under way; see attempts.py


class Watcher(Protocol):
    """Who answers for what a thread does."""

    def watch(self, more: float) -> contextlib.AbstractContextManager[None]:
        """Around one call, which may take `more` seconds longer than usual."""
        ...


class _OfThread(threading.local):
    watcher: Watcher | None = None


_of_thread = _OfThread()


def current_watcher() -> Watcher | None:
    """Who answers for what this thread does; to be handed on to threads that help."""
    return _of_thread.watcher


@contextlib.contextmanager
def watched_by(watcher: Watcher | None) -> Iterator[None]:
    """`watcher` answers for what this thread does in the block, and in generators that yield from within it."""
    former, _of_thread.watcher = _of_thread.watcher, watcher
    try:
        yield
    finally:
        if _of_thread.watcher is watcher:  # a generator may end in another thread than it began in
            _of_thread.watcher = former


@contextlib.contextmanager
def watched(more: float = 0.0) -> Iterator[None]:
    """One call into native code, which may take `more` seconds longer than usual; nobody may be watching."""
    watcher = _of_thread.watcher
    with contextlib.nullcontext() if watcher is None else watcher.watch(more):
        yield


class _Call:
    def __init__(self, seconds: float, expired: Callable[[], None]) -> None:
        self.left = seconds
        self.expired = expired


class Watchdog:
    """Counts the time that calls take, of any number of threads.

    Time in which the whole process stood still (a closed laptop, Ctrl-Z) does not count.
    """

    def __init__(self, tick: float = TICK_SECONDS) -> None:
        """`tick`: seconds between two looks."""
        self._tick = tick
        self._calls: dict[int, _Call] = {}
        self._numbers = itertools.count()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watch(self, seconds: float, expired: Callable[[], None]) -> Iterator[None]:
        """`expired` is called in another thread if the block is not through after so many seconds."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look_for_ever, name='watchdog', daemon=True)
                self._thread.start()
        number = next(self._numbers)
        self._calls[number] = _Call(seconds, expired)
        try:
            yield
        finally:
            self._calls.pop(number, None)

    def _look_for_ever(self) -> None:
        before = time.monotonic()
        while True:
            time.sleep(self._tick)
            now = time.monotonic()
            passed, before = min(now - before, 2 * self._tick), now  # more than that: the process stood still
            for number, call in list(self._calls.items()):
                call.left -= passed
                if call.left <= 0 and self._calls.pop(number, None) is not None:
                    call.expired()
