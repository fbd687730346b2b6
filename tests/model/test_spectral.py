from __future__ import annotations

import numpy as np
import pytest

from stembeam.model.spectral import inverse_stft, stft
from stembeam.model.windows import hann, overlap_gain


@pytest.mark.parametrize(('length', 'step'), [(4096, 1024), (2048, 256)])
def test_stft_is_the_windowed_fft_of_every_frame(length: int, step: int) -> None:
    wave = np.random.default_rng(0).standard_normal((2, 9 * step + length)).astype(np.float32)
    real, imaginary = map(np.asarray, stft(wave, length, step))
    assert real.shape == (2, 10, length // 2 + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    for frame in (0, 4, 9):
        expected = np.fft.rfft(wave[:, frame * step : frame * step + length] * window)
        np.testing.assert_allclose(real[:, frame] + 1j * imaginary[:, frame], expected, atol=2e-3)


@pytest.mark.parametrize(('length', 'step'), [(4096, 1024), (2048, 256)])
def test_inverse_gives_the_samples_back_where_all_frames_overlap(length: int, step: int) -> None:
    wave = np.random.default_rng(1).standard_normal((1, 12 * step + length)).astype(np.float32)
    back = np.asarray(inverse_stft(stft(wave, length, step), length, step))
    assert back.shape == wave.shape
    inner = slice(length - step, -(length - step))
    np.testing.assert_allclose(back[:, inner], wave[:, inner], atol=1e-5)


def test_spleeters_gain_is_three_halves() -> None:
    assert overlap_gain(4096, 1024) == pytest.approx(1.5, rel=1e-6)


def test_the_window_is_periodic() -> None:
    assert hann(8).tolist() == pytest.approx([0, 0.1464466, 0.5, 0.8535534, 1, 0.8535534, 0.5, 0.1464466], abs=1e-6)
