"""Memory is used again only when no array shares it any more."""

from __future__ import annotations

import gc

import numpy as np

from stembeam.model.recycling import Recycler


def address(array: np.ndarray) -> int:
    return array.__array_interface__['data'][0]


def test_what_has_gone_is_used_again_and_is_zeros() -> None:
    recycler = Recycler()
    first = recycler.zeros((3, 1000, 2))
    assert first.shape == (3, 1000, 2)
    assert first.dtype == np.float32
    assert first.flags.c_contiguous
    assert first.flags.writeable
    first += 1
    place = address(first)
    del first
    again = recycler.zeros((2, 2500))  # less, and of another shape
    assert address(again) == place
    np.testing.assert_array_equal(again, np.zeros((2, 2500), np.float32))


def test_a_view_keeps_the_memory() -> None:
    recycler = Recycler()
    first = recycler.zeros((4, 1000))
    first[2] = 7
    view = first[2, 100:200]
    place = address(first)
    del first
    other = recycler.zeros((4, 1000))
    assert address(other) != place
    other += 1
    np.testing.assert_array_equal(view, np.full(100, 7, np.float32))
    del view
    assert address(recycler.zeros((4, 1000))) == place


def test_memory_that_is_far_too_large_or_too_small_goes() -> None:
    for before, after in ((10_000, 1_000), (1_000, 10_000)):
        recycler = Recycler()
        recycler.zeros((before,))
        assert recycler.idle_sizes() == [before]
        array = recycler.zeros((after,))
        assert recycler.idle_sizes() == []
        del array
        assert recycler.idle_sizes() == [after]


def test_arrays_may_go_while_another_is_made() -> None:
    """The collector may come at any allocation, also in the middle of `zeros`."""
    recycler = Recycler()
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            cycle: list[object] = [recycler.zeros((100,))]
            cycle.append(cycle)
            np.testing.assert_array_equal(recycler.zeros((100,)), np.zeros(100))
    finally:
        gc.set_threshold(*threshold)
    assert len(recycler.idle_sizes()) < 10
