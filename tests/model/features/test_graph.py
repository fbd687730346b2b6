"""Spectral rows by a device's graph are those of the host."""

from __future__ import annotations

import numpy as np
import pytest

from stembeam.model.backend import compile_function
from stembeam.model.features import graph
from stembeam.model.features.columns import NUM_CHROMA, NUM_CONTRAST
from stembeam.model.features.frames import NUM_SPECTRAL, is_unknown, spectral_rows
from stembeam.model.features.spectra import frames_of

from .test_frames import clicks, music, noise, sine, with_silence

SAMPLES = 60 * 1024
SCALARS = 4
CHROMA = SCALARS + 2 * NUM_CONTRAST
MEL = CHROMA + NUM_CHROMA


def mono(samples: np.ndarray) -> np.ndarray:
    return samples[:SAMPLES].mean(axis=1)


def loud_and_quiet(samples: np.ndarray) -> np.ndarray:
    """The same at full level, 90 dB below, rounded to 16 bits, and not at all."""
    quiet = (samples * 10 ** (-90 / 20)).astype(np.float32)
    return np.stack([samples, quiet, np.round(samples * 2**11) / np.float32(2**15), 0 * samples])


@pytest.mark.parametrize(('sample_rate', 'xla'), [(44100, True), (44100, False), (8000, False), (96000, False)])
def test_a_graph_gives_the_rows_of_the_host(sample_rate: int, xla: bool) -> None:
    signals = [mono(music(SAMPLES, sample_rate)), mono(noise(SAMPLES, 0.1)), mono(clicks()), mono(sine(997.0))]
    signals += [mono(with_silence()[40_000:]), np.full(SAMPLES, 0.25, np.float32)]
    batch = np.stack([loud_and_quiet(signal) for signal in signals])
    compiled = compile_function(None, lambda _, samples: graph.spectral_rows(samples, sample_rate), xla=xla)
    rows = compiled(batch)
    assert (rows.dtype, rows.shape) == (np.float32, (len(signals), 4, 59, NUM_SPECTRAL))
    expected = np.stack([spectral_rows(frames_of(signal), sample_rate) for signal in batch.reshape(-1, SAMPLES)])
    rows, expected = rows.reshape(-1, NUM_SPECTRAL), expected.reshape(-1, NUM_SPECTRAL)
    unknown = is_unknown(rows)
    assert 0 < unknown.mean() < 0.05  # where the rolloff hangs on rounding; silence is none of these
    rows, expected = rows[~unknown], expected[~unknown]
    # Bandwidths of a few Hz are small differences of float32 sums that differ in their last bit between BLAS kernels.
    bin_width = sample_rate / 2048
    np.testing.assert_allclose(rows[:, :2], expected[:, :2], rtol=3e-5, atol=2e-5 * bin_width)
    np.testing.assert_allclose(rows[:, 3], expected[:, 3], rtol=3e-5, atol=1e-10)
    np.testing.assert_array_equal(rows[:, 2], expected[:, 2])  # rolloff: the same bin
    np.testing.assert_allclose(rows[:, SCALARS:CHROMA], expected[:, SCALARS:CHROMA], rtol=2e-6, atol=1e-10)
    np.testing.assert_allclose(rows[:, CHROMA:MEL], expected[:, CHROMA:MEL], atol=5e-6)
    np.testing.assert_allclose(rows[:, MEL:], expected[:, MEL:], atol=5e-5)
