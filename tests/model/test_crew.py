"""Help among threads: in order, as many as there is room for, and errors reach whoever asked."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from stembeam.model.chunk_separator import ChunkSeparator
from stembeam.model.chunks import ChunkGrid
from stembeam.model.crew import Crew, work_together
from stembeam.model.method import Method

from ..conftest import TINY, noise, random_weights

PATIENCE = 60  # seconds


def test_as_many_threads_compute_as_there_is_room_for_and_results_come_in_order() -> None:
    crew, used, together = Crew(4), [], threading.Barrier(3)

    def compute(item: int, is_next: bool) -> int:
        together.wait(PATIENCE)  # only three at a time get on
        return item * item

    assert crew.room() == 4
    with crew.at_work(), crew.at_work():  # this thread, and another one with a track of its own
        work_together(crew, range(9), compute, lambda item, is_next, found: used.append((item, found)))
        assert crew.room() == 3
    assert used == [(item, item * item) for item in range(9)]


@pytest.mark.parametrize('size', [0, 1])
def test_without_room_one_thread_does_it_all(size: int) -> None:
    crew, threads = Crew(size), set()
    with crew.at_work():
        work_together(crew, range(5), lambda *_: threads.add(threading.get_ident()), lambda *_: None)
    assert threads == {threading.get_ident()}


def test_what_is_next_is_told_apart_from_what_must_wait() -> None:
    crew, first_may_end, told = Crew(2), threading.Event(), {}

    def compute(item: int, is_next: bool) -> None:
        told[item] = is_next
        if item == 0:
            assert first_may_end.wait(PATIENCE)
        else:
            first_may_end.set()

    with crew.at_work():
        work_together(crew, range(2), compute, lambda *_: None)
    assert told == {0: True, 1: False}


def test_a_helper_stops_when_a_thread_comes_with_a_track_of_its_own() -> None:
    crew, owner = Crew(2), threading.get_ident()
    by_helper: list[int] = []
    helping = threading.Event()

    def compute(item: int, is_next: bool) -> None:
        if threading.get_ident() == owner:
            assert helping.wait(PATIENCE)
        else:
            by_helper.append(item)
            other.__enter__()  # comes while the helper is at its first item
            helping.set()

    other = crew.at_work()
    with crew.at_work():
        work_together(crew, range(6), compute, lambda *_: None)
        other.__exit__(None, None, None)
    assert len(by_helper) == 1
    assert crew.join()  # all have left: there is room again


@pytest.mark.parametrize('bad', [0, 1, 7])
def test_the_first_error_is_raised_when_all_threads_have_ended(bad: int) -> None:
    crew, used = Crew(3), []
    before = threading.active_count()

    def compute(item: int, is_next: bool) -> None:
        if item == bad:
            raise ValueError(f'item {item}')

    with crew.at_work(), pytest.raises(ValueError, match=f'item {bad}'):
        work_together(crew, range(8), compute, lambda item, *_: used.append(item))
    assert used == list(range(len(used)))
    assert bad not in used
    assert threading.active_count() == before


@pytest.mark.parametrize(('overlap', 'batch_size'), [(0.0, 1), (0.25, 1), (0.0, 2)])
def test_help_changes_no_byte_of_the_stems(overlap: float, batch_size: int) -> None:
    method = Method(overlap=overlap)
    separator = ChunkSeparator(TINY, random_weights(TINY), batch_size, method, streams=3)
    run = noise(20)[: ChunkGrid.of(TINY, overlap).samples_of(9)]
    (expected,) = separator.separate_runs([run])
    separator.crew = Crew(3)
    for _ in range(3):
        with separator.crew.at_work():
            (found,) = separator.separate_runs([run])
        np.testing.assert_array_equal(found, expected)
    assert expected.std() > 0.01
