"""The signal path by SciPy: the samples of the graph's, by every method, and what it adds to what is there."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest

from stembeam.model.backend import compile_function
from stembeam.model.chunks import ChunkGrid
from stembeam.model.configuration import ModelConfig
from stembeam.model.engines import HostPath
from stembeam.model.host_signal import HostSignal
from stembeam.model.method import Method
from stembeam.model.signal_path import separate_chunks
from stembeam.model.unet import build_unet

from ..conftest import TINY, noise

GAINS = (0.7, 0.1, 0.4)


def estimates_of(magnitude: Any) -> list[Any]:
    """In place of networks: every stem another share of the mixture, different from bin to bin."""
    bins = np.arange(magnitude.shape[2], dtype=np.float32)[:, np.newaxis]
    return [magnitude * np.float32(gain) * (1 + np.sin(bins * np.float32(gain))) for gain in GAINS]


@functools.cache
def _model() -> Any:
    return build_unet(dataclasses.replace(TINY, conv_filters=(1, 1, 1, 1, 1, 1)))


def chunk_of(config: ModelConfig, method: Method) -> np.ndarray:
    return noise(5, channels=config.channels)[: ChunkGrid.of(config, method.overlap).span]


@pytest.mark.parametrize(
    ('change', 'method'),
    [
        ({}, {}),
        ({'mask_extension': 'zeros', 'channels': 1}, {'stems': ('drums', 'other'), 'residual': True}),
        ({'bins': 1536, 'separation_exponent': 1.0}, {'high_band': 'octave', 'overlap': 0.25}),
        ({'frame_length': 2048, 'frame_step': 256, 'bins': 512}, {'stems': ('other',), 'high_band': 'average'}),
    ],
)
def test_host_and_graph_make_the_same_stems(change: dict[str, Any], method: dict[str, Any]) -> None:
    config, how = dataclasses.replace(TINY, **change), Method(**method)
    wave = chunk_of(config, how)
    graph = compile_function(_model(), lambda _, waves: separate_chunks(estimates_of, waves, config, how))
    expected = graph(wave[np.newaxis])[:, 0]
    found = np.zeros_like(expected)
    HostPath(estimates_of, config, how, batch_size=1).separate([wave], [found])
    assert expected.std(axis=(1, 2)).min() > 0.003
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_networks_see_the_magnitudes_of_windowed_frames() -> None:
    wave = noise(5)[: ChunkGrid.of(TINY).span]
    magnitude = np.empty((TINY.frames, TINY.bins, 2), np.float32)
    spectra = HostSignal(TINY, Method()).analyse(wave, magnitude)
    window = np.hanning(TINY.frame_length + 1)[:-1, np.newaxis]
    for frame in (0, 17, TINY.frames - 1):
        start = frame * TINY.frame_step
        expected = np.fft.rfft(window * wave[start : start + TINY.frame_length], axis=0)
        np.testing.assert_allclose(spectra[frame], expected, atol=2e-4)
        np.testing.assert_allclose(magnitude[frame], np.abs(expected[: TINY.bins]), atol=2e-4)


def test_chunks_are_added_to_what_chunks_before_have_left_whatever_the_batch() -> None:
    grid, method = ChunkGrid.of(TINY), Method()
    run = noise(8)[: grid.samples_of(4)]
    starts = range(0, 4 * grid.hop, grid.hop)
    alone = np.zeros((3, len(run), 2), np.float32)
    for start in starts:
        chunk = np.zeros((3, grid.span, 2), np.float32)
        HostPath(estimates_of, TINY, method, 1).separate([run[start : start + grid.span]], [chunk])
        alone[:, start : start + grid.span] += chunk
    together = np.zeros_like(alone)
    path = HostPath(estimates_of, TINY, method, 3)
    for some in (starts[:3], starts[3:]):
        spans = [slice(start, start + grid.span) for start in some]
        path.separate([run[span] for span in spans], [together[:, span] for span in spans])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(together[:, 4096:-4096].sum(axis=0), run[4096:-4096], atol=1e-6)
