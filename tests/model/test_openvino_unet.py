"""The networks in OpenVINO: the function of the training network, for every kind of model, in any thread."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from stembeam.model.checkpoint import assign_weights
from stembeam.model.configuration import ModelConfig
from stembeam.model.unet import build_unet

from ..conftest import random_weights

pytest.importorskip('openvino')
from stembeam.model.openvino_unet import OpenVinoNetworks

CONFIG = ModelConfig(instruments=('vocals', 'drums', 'other'), frames=64, bins=128, conv_filters=(4, 6, 8, 8, 10, 12))


def magnitudes(seed: int = 1, batch: int = 2) -> np.ndarray:
    shape = (batch, CONFIG.frames, CONFIG.bins, CONFIG.channels)
    return np.abs(np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize(
    ('change', 'stems', 'shares'),
    [
        ({}, ('vocals', 'drums', 'other'), False),
        ({'model_type': 'unet.softmax_unet'}, ('vocals', 'drums', 'other'), True),
        ({'conv_activation': 'ELU', 'deconv_activation': 'ELU'}, ('other', 'vocals'), True),
        ({}, ('drums',), False),
    ],
)
def test_the_same_function_as_the_training_network(
    change: dict[str, Any], stems: tuple[str, ...], shares: bool
) -> None:
    config = dataclasses.replace(CONFIG, **change)
    weights = random_weights(config)
    for name in weights:
        if name.endswith('gamma'):
            weights[name][::3] = 0  # a norm that cannot be folded
    plain = build_unet(config, stems, shares)
    assign_weights(plain, weights)
    found = plain(magnitudes(), training=False)
    expected = np.stack(found if isinstance(found, list) else [found])
    networks = OpenVinoNetworks(config, weights, stems, shares, batch_size=2)
    assert expected.std() > 0.02
    np.testing.assert_allclose(np.stack(networks(magnitudes())), expected, atol=1e-5 * np.abs(expected).max())


def test_threads_get_the_same_bytes_each_in_memory_of_its_own() -> None:
    networks = OpenVinoNetworks(CONFIG, random_weights(CONFIG), CONFIG.instruments, streams=3)
    inputs = [magnitudes(seed, batch=1) for seed in range(12)]
    alone = [np.stack(networks(magnitude)) for magnitude in inputs]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda magnitude: np.stack(networks(magnitude)), inputs * 4))
    for expected, found in zip(alone * 4, together, strict=True):
        np.testing.assert_array_equal(found, expected)
