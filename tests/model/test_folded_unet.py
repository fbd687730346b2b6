from __future__ import annotations

import dataclasses
import gc
import tracemalloc

import keras
import numpy as np
import pytest

from stembeam.model.checkpoint import assign_weights
from stembeam.model.configuration import ModelConfig
from stembeam.model.folded_unet import build_folded_unet
from stembeam.model.folding import pixels_kernel, split_norm
from stembeam.model.unet import build_unet

from ..conftest import random_weights

CONFIG = ModelConfig(instruments=('vocals', 'drums', 'other'), frames=64, bins=128, conv_filters=(4, 6, 8, 8, 10, 12))


def magnitudes(config, seed=1):
    shape = (2, config.frames, config.bins, config.channels)
    return np.abs(np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def both(config, weights, **arguments):
    plain = build_unet(config, **arguments)
    assign_weights(plain, weights)
    x = magnitudes(config)
    return [np.stack(model(x, training=False)) for model in (plain, build_folded_unet(config, weights, **arguments))]


@pytest.mark.parametrize('model_type', ['unet.unet', 'unet.softmax_unet'])
@pytest.mark.parametrize('activations', [('LeakyReLU', 'ReLU'), ('ELU', 'ELU')])
def test_the_folded_network_is_the_same_function(model_type, activations):
    config = dataclasses.replace(
        CONFIG, model_type=model_type, conv_activation=activations[0], deconv_activation=activations[1]
    )
    plain, folded = both(config, random_weights(config))
    assert plain.std() > 0.1
    np.testing.assert_allclose(folded, plain, atol=2e-6 * np.abs(plain).max())


@pytest.mark.parametrize('value', [0.0, 1e-7, -1e-5])
def test_norms_that_scale_by_next_to_nothing_are_kept(value):
    """Weights decayed to zero are in published checkpoints; dividing by them would make noise, or NaN."""
    weights = random_weights(CONFIG)
    for name in weights:
        if name.endswith('gamma'):
            weights[name][::2] = value
    plain, folded = both(CONFIG, weights)
    np.testing.assert_allclose(folded, plain, atol=2e-6 * np.abs(plain).max())


def test_norms_may_scale_by_nothing_at_all_or_by_negative_factors():
    weights = random_weights(CONFIG)
    for number, name in enumerate(name for name in weights if name.endswith('gamma')):
        weights[name] = -weights[name] if number % 2 else np.zeros_like(weights[name])
    plain, folded = both(CONFIG, weights)
    np.testing.assert_allclose(folded, plain, atol=2e-6 * np.abs(plain).max())


def test_some_stems_and_their_shares():
    plain, folded = both(CONFIG, random_weights(CONFIG), stems=('other', 'vocals'), shares=True)
    assert folded.shape[0] == 2
    assert 0 <= folded.min() < 0.4 < 0.6 < folded.max() <= 1
    np.testing.assert_allclose(folded, plain, atol=2e-6)


def test_a_split_norm_is_the_norm():
    rng = np.random.default_rng(0)
    norm = {part: rng.uniform(0.5, 2, 5) for part in ('gamma', 'beta', 'moving_mean', 'moving_variance')}
    norm['gamma'][2] = 1e-9
    scale, rest, shift = split_norm(norm)
    x = rng.standard_normal((7, 5))
    expected = (x - norm['moving_mean']) / np.sqrt(norm['moving_variance'] + 1e-3) * norm['gamma'] + norm['beta']
    np.testing.assert_allclose(rest * (scale * x) + shift, expected, rtol=1e-12)
    assert scale[2] == 1
    assert np.delete(rest, 2).tolist() == [1, 1, 1, 1]


def test_the_pixels_are_those_of_the_transposed_convolution():
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((5, 5, 1, 3)).astype(np.float32)
    x = rng.standard_normal((1, 6, 4, 3)).astype(np.float32)
    expected = np.asarray(keras.ops.conv_transpose(x, kernel, strides=2, padding='same'))
    blocks = np.asarray(keras.ops.conv(x, pixels_kernel(kernel), padding='same')).reshape(1, 6, 4, 2, 2)
    np.testing.assert_allclose(blocks.transpose(0, 1, 3, 2, 4).reshape(1, 12, 8, 1), expected, atol=1e-5)


def test_the_network_keeps_no_second_copy_of_its_weights():
    weights = random_weights(CONFIG)
    build_folded_unet(CONFIG, weights)  # what libraries keep once
    tracemalloc.start()
    try:
        network = build_folded_unet(CONFIG, weights)
        gc.collect()
        arrays = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
        tensors = tracemalloc.Filter(inclusive=False, filename_pattern='*/constant_op.py')  # TensorFlow's own memory
        kept = sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([arrays, tensors]).traces)
    finally:
        tracemalloc.stop()
    held = sum(np.asarray(weight).nbytes for weight in network.weights)
    assert kept < 0.1 * held
