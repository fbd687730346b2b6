from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembeam.model.chunks import ChunkGrid, frame_weights
from stembeam.model.errors import UsageError

from ..conftest import TINY

PUBLISHED = dataclasses.replace(TINY, frames=512)


def test_without_overlap_the_grid_is_spleeters() -> None:
    assert ChunkGrid.of(PUBLISHED) == ChunkGrid(hop=524288, tail=3072, lead=4096, frame_step=1024)


def test_overlapping_chunks_begin_closer_together_and_reach_further() -> None:
    grid = ChunkGrid.of(PUBLISHED, overlap=0.25)
    assert grid == ChunkGrid(hop=393216, tail=131072 + 3072, lead=131072 + 4096, frame_step=1024)
    assert grid.span == ChunkGrid.of(PUBLISHED).span


@given(
    samples=st.integers(1, 3_000_000),
    overlap=st.floats(0, 0.496),
    frames=st.sampled_from([128, 512, 1024]),
    frame=st.sampled_from([(4096, 1024), (2048, 1024), (3072, 1024), (4096, 512)]),
)
def test_every_frame_of_a_track_counts_once(samples: int, overlap: float, frames: int, frame: tuple[int, int]) -> None:
    config = dataclasses.replace(TINY, frames=frames, frame_length=frame[0], frame_step=frame[1], bins=1024)
    try:
        grid = ChunkGrid.of(config, overlap)
    except UsageError:
        assert overlap > 0.44
        return
    assert grid.tail <= grid.hop
    assert grid.lead <= grid.hop
    length, step = frame
    weights = frame_weights(frames, round(overlap * frames))
    counted = np.zeros(grid.num_chunks(samples) * frames, np.float32)
    origin = grid.start(0)
    for chunk in range(grid.num_chunks(samples)):
        first = (grid.start(chunk) - origin) // step
        counted[first : first + frames] += weights
    starts = origin + np.arange(len(counted)) * step
    np.testing.assert_array_equal(counted[(starts > -length) & (starts < samples)], 1)


@pytest.mark.parametrize('overlap', [1, 7, 128])
def test_weights_rise_and_fall_evenly(overlap: int) -> None:
    weights = frame_weights(512, overlap)
    assert (np.diff(weights[: overlap + 1]) > 0).all()
    np.testing.assert_array_equal(weights[:overlap] + weights[-overlap:], 1)
    np.testing.assert_array_equal(weights[overlap:-overlap], 1)
    assert frame_weights(512, 0).tolist() == [1.0] * 512


def test_an_overlap_that_chunks_are_too_short_for_is_refused() -> None:
    with pytest.raises(UsageError, match=r'overlap is 0\.49'):
        ChunkGrid.of(TINY, 0.49)
