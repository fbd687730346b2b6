"""The arithmetic of networks, against sums made by hand."""

from __future__ import annotations

import dataclasses

import pytest

from stembeam.model.arithmetic import chunk_flop, flop_per_second
from stembeam.model.configuration import ModelConfig

STEMS = ('vocals', 'drums', 'bass', 'other')


def test_flop_of_the_smallest_network_by_hand():
    config = ModelConfig(('one',), frames=64, bins=64, channels=1, conv_filters=(1, 1, 1, 1, 1, 1))
    down = sum(50 * (64 >> layer) ** 2 for layer in range(1, 7))
    up = 50 * 1 + sum(50 * 2 * (1 << layer) ** 2 for layer in range(1, 6))  # all but the first see a skip connection
    assert chunk_flop(config) == down + up + 2 * 16 * 64 * 64


def test_flop_of_the_published_four_stems():
    assert chunk_flop(ModelConfig(STEMS)) == 48_788_144_128
    assert flop_per_second(ModelConfig(STEMS)) == pytest.approx(4.104e9, rel=1e-3)


def test_stems_and_frames_multiply():
    config = ModelConfig(STEMS)
    assert chunk_flop(ModelConfig(STEMS[:2])) * 2 == chunk_flop(config)
    assert chunk_flop(dataclasses.replace(config, frames=256)) * 2 == chunk_flop(config)
