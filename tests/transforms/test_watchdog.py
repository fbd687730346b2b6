from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Iterator
from types import SimpleNamespace

from stembeam.transforms import watchdog
from stembeam.transforms.watchdog import Watchdog, current_watcher, watched, watched_by

PATIENCE = 30  # seconds that any wait may take


class Notes:
    """A Watcher that notes the calls."""

    def __init__(self) -> None:
        self.said: list[object] = []

    @contextlib.contextmanager
    def watch(self, more: float) -> Iterator[None]:
        self.said.append(more)
        yield
        self.said.append('done')


def test_a_call_that_takes_too_long():
    dog, expired = Watchdog(tick=0.01), threading.Event()
    with dog.watch(0.02, expired.set):
        assert expired.wait(PATIENCE)


def test_calls_that_come_back_in_time():
    dog, late, other = Watchdog(tick=0.01), threading.Event(), threading.Event()
    with dog.watch(1000, late.set), dog.watch(0.02, other.set):
        assert other.wait(PATIENCE)
    with dog.watch(0.05, other.clear):
        pass
    time.sleep(0.2)
    assert other.is_set()
    assert not late.is_set()


def test_time_in_which_the_process_stood_still_does_not_count(monkeypatch):
    clock = SimpleNamespace(now=0.0, looks=0)

    def sleep(seconds: float) -> None:
        clock.now += 1000  # the laptop was closed
        clock.looks += 1
        time.sleep(0.001)

    monkeypatch.setattr(watchdog, 'time', SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    expired = threading.Event()
    looks: list[int] = []

    def expire() -> None:
        looks.append(clock.looks)
        expired.set()

    with Watchdog(tick=1.0).watch(19, expire):
        assert expired.wait(PATIENCE)
    assert looks[0] >= 10  # two seconds at a look


def test_nobody_needs_to_watch():
    assert current_watcher() is None
    with watched(5):
        pass


def test_the_watcher_of_a_thread():
    outer, inner = Notes(), Notes()
    seen: list[object] = []
    with watched_by(outer):
        with watched():
            pass
        with watched_by(inner), watched(2.5):
            assert current_watcher() is inner
        assert current_watcher() is outer
        thread = threading.Thread(target=lambda: seen.append(current_watcher()))
        thread.start()
        thread.join()
    assert current_watcher() is None
    assert (outer.said, inner.said, seen) == ([0.0, 'done'], [2.5, 'done'], [None])


def test_a_generator_hands_its_watcher_on_to_those_who_read_it():
    notes = Notes()

    def values() -> Generator[int, None, None]:
        with watched_by(notes):
            yield 1

    reading = values()
    next(reading)
    assert current_watcher() is notes
    reading.close()
    assert current_watcher() is None
