from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stembeam.model.features import FeatureExtractor
from stembeam.model.features.true_peak import TAPS, true_peak


def peak_dbtp(samples: np.ndarray, sample_rate: int = 48_000) -> float:
    extractor = FeatureExtractor(sample_rate, samples.shape[1])
    extractor.add(samples)
    return extractor.finish().true_peak_dbtp


@pytest.mark.parametrize(('frequency', 'phase'), [(0.25, 45.0), (1 / 6, 60.0), (1 / 8, 67.5), (0.4, 10.0)])
def test_sines_peak_at_their_amplitude(frequency: float, phase: float) -> None:
    """EBU Tech 3341, cases 15 to 18, ask for +0.2/-0.4 dB; the samples of the first stay 3 dB under the peak."""
    angle = 2 * np.pi * frequency * np.arange(20_000) + np.deg2rad(phase)
    fade = np.minimum(1, np.minimum(np.arange(20_000), np.arange(20_000)[::-1]) / 1000)
    samples = (0.5 * fade * np.sin(angle)).astype(np.float32)
    assert peak_dbtp(samples[:, None]) == pytest.approx(-6.02, abs=0.1)


def test_the_loudest_channel_counts() -> None:
    samples = np.zeros((5000, 2), np.float32)
    samples[4000, 1] = -0.5
    assert peak_dbtp(samples) == pytest.approx(-6.0206, abs=1e-4)


@pytest.mark.parametrize('position', [0, 1, 511, 262_142, 262_143, 262_144, 270_000])
def test_peaks_between_samples_are_found_everywhere(position: int) -> None:
    """Two neighbours of the same sign: at the start, at the end, and where groups meet."""
    samples = np.zeros((max(position + 2, 270_002), 1), np.float32)
    samples[position : position + 2] = 0.5
    expected = peak_dbtp(np.full((2, 1), 0.5, np.float32))
    assert expected > -6.0206 + 1.5
    assert peak_dbtp(samples) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    'smoothing', [[1.0, 1.0], [1.0, 0.5], np.hanning(9), np.hanning(100)], ids=['2', '2 uneven', '9', '100']
)
def test_skipping_stretches_does_not_change_the_peak(smoothing: Any) -> None:
    rng = np.random.default_rng(0)
    samples = np.convolve(rng.standard_normal(512 * 40), smoothing, 'same').astype(np.float32)
    padded = np.concatenate([np.zeros(TAPS - 1, np.float32), samples])[None]
    whole = true_peak(padded, 0.0)
    in_parts = 0.0
    for start in range(0, len(samples), 512):
        in_parts = true_peak(padded[:, start : start + 512 + TAPS - 1], in_parts)
    every_phase = np.abs(samples).max()
    for phase in (0.25, 0.5, 0.75):
        offset = np.arange(TAPS) - (TAPS // 2 - 1) - phase
        taps = np.sinc(offset) * np.i0(5 * np.sqrt(1 - (offset / (TAPS / 2)) ** 2))
        every_phase = max(every_phase, np.abs(np.convolve(padded[0], (taps / taps.sum())[::-1], 'valid')).max())
    assert whole == in_parts == pytest.approx(every_phase, rel=1e-6)
    assert whole > np.abs(samples).max()
