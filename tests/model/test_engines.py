"""Which signal path runs, and that both make the same stems."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from tensorflow.python.eager import context

from stembeam.model import backend
from stembeam.model.batch_size import GPU_BATCH_SIZE
from stembeam.model.chunk_separator import ChunkSeparator
from stembeam.model.chunks import ChunkGrid
from stembeam.model.device_path import DevicePath
from stembeam.model.engines import HostPath, load_engine
from stembeam.model.folded_unet import build_folded_unet
from stembeam.model.method import Method
from stembeam.transforms.formats import FORMATS
from stembeam.transforms.quantising import clipped, quantise

from ..conftest import TINY, noise, random_weights

GRID = ChunkGrid.of(TINY)
RUN = noise(5)[: GRID.samples_of(3)]


def test_on_a_device_all_of_it_gives_the_stems_of_the_host(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (expected,) = ChunkSeparator(TINY, random_weights(TINY)).separate_runs([RUN])
    monkeypatch.setattr(backend, 'find_gpu', lambda: 'a pretended GPU')  # also compiled by XLA, as it is for one
    with caplog.at_level(logging.INFO):
        on_device = ChunkSeparator(TINY, random_weights(TINY))
    assert isinstance(on_device._engine.path, DevicePath)
    assert not products_may_be_rounded()
    assert on_device.batch_size == GPU_BATCH_SIZE
    assert f'run on a pretended GPU, {GPU_BATCH_SIZE} chunks at a time' in caplog.text
    (found,) = on_device.separate_runs([RUN])
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-6)


def products_may_be_rounded() -> bool:
    """Whether the array library may use TF32 on a GPU."""
    if backend.keras.backend.backend() == 'jax':
        import jax

        return jax.config.jax_default_matmul_precision != 'float32'
    import tensorflow as tf

    return tf.config.experimental.tensor_float_32_execution_enabled()


def test_the_graph_and_the_host_path_around_the_same_network(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        host = load_engine(TINY, random_weights(TINY), Method())
    assert isinstance(host.path, HostPath)
    assert host.batch_size == 1
    assert 'no GPU' in caplog.text
    network = build_folded_unet(TINY, random_weights(TINY))
    found, expected = np.zeros((2, 3, GRID.span, 2), np.float32)
    DevicePath(network, TINY, Method(), batch_size=2).separate([RUN[: GRID.span]], [expected])
    host.path.separate([RUN[: GRID.span]], [found])
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(('level', 'overlap'), [(0.3, 0.0), (0.3, 0.25), (4.0, 0.0)])
def test_a_device_may_round_to_16_bits_and_the_file_is_the_same(level: float, overlap: float) -> None:
    """At the level of 4 some samples are beyond full scale: they come as floats, so that they can be counted."""
    method = Method(overlap=overlap)
    grid = ChunkGrid.of(TINY, overlap)
    run = noise(5, level=level)[: grid.samples_of(3)]
    network = build_folded_unet(TINY, random_weights(TINY))
    exact, rounded = np.zeros((2, 3, len(run), 2), np.float32)
    for stems, for_16_bits in ((exact, False), (rounded, True)):
        path = DevicePath(network, TINY, method, batch_size=2, for_16_bits=for_16_bits)
        # TensorFlow's other executor adds in another order in one call out of 15.
        with context.function_executor_type('SINGLE_THREADED_EXECUTOR'):
            for starts in ([0, grid.hop], [2 * grid.hop]):
                spans = [slice(start, start + grid.span) for start in starts]
                path.separate([run[span] for span in spans], [stems[:, span] for span in spans])
    np.testing.assert_array_equal(quantise(rounded, FORMATS['wav']), quantise(exact, FORMATS['wav']))
    assert clipped(rounded) == clipped(exact)
    assert (clipped(exact) > 0) == (level > 1)
    assert (rounded != exact).any() == (level < 1)
