"""Our graphs of the published models against the same networks evaluated layer by layer in NumPy."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

import stembeam.configs
from stembeam.model.checkpoint import is_unused
from stembeam.model.chunk_separator import ChunkSeparator
from stembeam.model.configuration import ModelConfig, load_config

from ..conftest import TINY, noise, random_weights
from .reference import separate_chunk

CONFIGS = os.path.dirname(stembeam.configs.__file__)
REQUIRED_DB = 100


def signal_to_error_db(config: ModelConfig) -> float:
    """Of the worst stem of one chunk."""
    weights = random_weights(config, seed=3)
    for name, value in weights.items():
        if is_unused(name):
            value[:] = np.nan  # checkpoints have it, but nothing may read it
    separator = ChunkSeparator(config, weights)
    wave = noise(separator.grid.span / config.sample_rate, channels=config.channels)[: separator.grid.span]
    (found,) = separator.separate_runs([wave])
    expected = separate_chunk(config, weights, wave)
    for stem in range(1, len(expected)):
        assert np.abs(expected[stem] - expected[0]).max() > 1e-3
    return min(
        float(10 * np.log10(np.sum(stem**2) / np.sum((stem - ours) ** 2)))
        for stem, ours in zip(expected, found, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', ['2stems', '4stems', '5stems'])
def test_full_size_networks_are_the_published_architecture(name: str) -> None:
    config = load_config(f'{CONFIGS}/{name}.json')
    # A quarter of a chunk's frames, so that plain NumPy is done in seconds; a network does not depend on their number.
    assert signal_to_error_db(dataclasses.replace(config, frames=128)) > REQUIRED_DB


@pytest.mark.parametrize(
    'change',
    [
        {},
        {'conv_activation': 'LeakyReLU', 'deconv_activation': 'ReLU'},
        {'conv_activation': 'ReLU', 'deconv_activation': 'LeakyReLU', 'mask_extension': 'zeros'},
        {'model_type': 'unet.softmax_unet', 'bins': 1536},
        {'channels': 1, 'separation_exponent': 1.0},
    ],
)
def test_members_of_the_family(change: dict[str, object]) -> None:
    assert signal_to_error_db(dataclasses.replace(TINY, **change)) > REQUIRED_DB  # type: ignore[arg-type]
