"""Requests to stores from within a run: tried again as the options say, and counted in Beam's counter `store-retries`.

Stands on model/remote and metrics.py. The one idea: latency, not work, is what small requests cost, so many are made
side by side. Nothing of Beam is loaded before something is counted: `stembeam doctor` reads files too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..model.remote import RemoteFile, Retries, current_retries, retries_of_this_thread, retrying
from .metrics import STORE_RETRIES, count

T = TypeVar('T')
R = TypeVar('R')


def ask(call: Callable[[], T], address: str, retries: Retries | None = None) -> T:
    """What a request to a store returns.

    Args:
      call: does no harm when it is done twice.
      address: what it is about, for messages.
      retries: None: as the options of the run say.

    Raises:
      GaveUp: it failed in passing, too often.
      Exception: what the driver raised otherwise.
    """
    before = retries_of_this_thread()
    try:
        return retrying(call, address, retries or current_retries())
    finally:
        if retries_of_this_thread() > before:
            count(STORE_RETRIES, retries_of_this_thread() - before)


class CountedFile(RemoteFile):
    """A file of a store, every request for which that is tried again is counted."""

    def ask(self, call: Callable[[], T]) -> T:
        """As RemoteFile's, and counted."""
        return ask(call, self.uri)


def side_by_side(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """`function` of every item, in order, up to `threads` at a time, with Beam's counters as in the calling thread."""
    if threads == 1:
        yield from map(function, items)
        return
    from apache_beam.runners.worker import statesampler

    tracker = statesampler.get_current_tracker()  # who counts for the step that this thread is in

    def call(item: T) -> R:
        statesampler.set_current_tracker(tracker)
        return function(item)

    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(call, items)
