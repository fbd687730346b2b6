"""Threads that work on tracks of their own, and help with another one's chunks while they would have nothing to do.

A corpus rarely is a multiple of the cores, and often it is one file. The one idea to know: help changes no byte,
because what several threads compute is added up in one order; and it takes no core from a track, because a helper stops
when a thread with a track of its own has come.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar('Item')


class Crew:
    """Counts the threads of a process that compute, with and without a track of their own."""

    def __init__(self, size: int = 0) -> None:
        """`size`: threads that may compute at the same time; 0: nobody ever helps."""
        self.size = size
        self._lock = threading.Lock()
        self._owners = self._helpers = 0

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Around the work of this thread on a track of its own."""
        with self._lock:
            self._owners += 1
        try:
            yield
        finally:
            with self._lock:
                self._owners -= 1

    def join(self) -> bool:
        """Whether one more helper may begin; it is counted until it calls `leave`."""
        with self._lock:
            may = self._owners + self._helpers < self.size
            self._helpers += may
            return may

    def may_stay(self) -> bool:
        """Whether there is room for all who help now."""
        with self._lock:
            return self._owners + self._helpers <= self.size

    def leave(self) -> None:
        """A helper has ended."""
        with self._lock:
            self._helpers -= 1

    def room(self) -> int:
        """How many threads the work on a track may take now, the one at work included."""
        with self._lock:
            return max(1, min(self.size, 1 + self.size - self._owners - self._helpers))


CREW = Crew()  # of this process


class _Work(Generic[Item]):
    """Items that several threads take, and whose results are put to use in order."""

    def __init__(
        self, items: Sequence[Item], compute: Callable[[Item, bool], Any], use: Callable[[Item, bool, Any], None]
    ) -> None:
        self._items, self._compute, self._use = items, compute, use
        self._taken = self._used = 0
        self._changed = threading.Condition()
        self.error: BaseException | None = None

    def _failed(self) -> bool:
        return self.error is not None

    @property
    def left(self) -> int:
        return len(self._items) - self._taken

    def go_on(self, may: Callable[[], bool]) -> None:
        """Take items, as long as there are some and it is allowed."""
        while may():
            with self._changed:
                if self._failed() or not self.left:
                    return
                number, is_next = self._taken, self._taken == self._used
                self._taken += 1
            try:
                found = self._compute(self._items[number], is_next)
                with self._changed:
                    self._changed.wait_for(lambda n=number: self._used == n or self._failed())  # type: ignore[misc]
                    if self._failed():
                        return
                    self._use(self._items[number], is_next, found)
                    self._used += 1
                    self._changed.notify_all()
            except BaseException as error:
                with self._changed:
                    self.error = self.error or error
                    self._changed.notify_all()
                return


def work_together(
    crew: Crew, items: Sequence[Item], compute: Callable[[Item, bool], Any], use: Callable[[Item, bool, Any], None]
) -> None:
    """Compute all items in this thread, and in helpers as far as the crew has room.

    Args:
      compute: called with an item and whether all before it have been used; in any thread, several at a time.
      use: called with the item, the same truth value and what `compute` has returned; one after the other, in order.

    Raises:
      whatever `compute` or `use` raises first, once all threads have ended.
    """
    work = _Work(items, compute, use)
    helpers: list[threading.Thread] = []

    def help_out() -> None:
        try:
            work.go_on(crew.may_stay)
        finally:
            crew.leave()

    def call_helpers() -> bool:
        for _ in range(min(work.left - 1, crew.size)):
            if not crew.join():
                break
            helpers.append(threading.Thread(target=help_out, name='helper', daemon=True))
            helpers[-1].start()
        return True

    work.go_on(call_helpers)
    for helper in helpers:
        helper.join()
    if work.error is not None:
        raise work.error
