from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
import scipy.signal

from stembeam.model.features.loudness import LoudnessMeter, k_weighting


def loudness(samples: np.ndarray, sample_rate: int, group_samples: int = 16_384) -> float:
    """Integrated loudness of float32 (samples, channels), in groups."""
    meter = LoudnessMeter(sample_rate, samples.shape[1])
    for start in range(0, len(samples), group_samples):
        group = samples[start : start + group_samples]
        padded = np.zeros((samples.shape[1], group_samples), np.float32)
        padded[:, : len(group)] = group.T
        meter.add(padded, len(group))
    return meter.finish()


def sine(seconds: float, sample_rate: int = 48_000, frequency: float = 997.0, level: float = 0.0) -> np.ndarray:
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return (10 ** (level / 20) * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def noise(seconds: float, sample_rate: int, channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((round(seconds * sample_rate), channels))
    swell = np.exp(3 * np.sin(np.arange(len(samples)) / sample_rate))  # 52 dB up and down: the gates matter
    return (0.02 * swell[:, None] * samples).astype(np.float32)


def test_coefficients_at_48_khz_are_those_of_the_standard() -> None:
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    np.testing.assert_allclose(k_weighting(48_000), [shelf, high_pass], rtol=1e-9)


@pytest.mark.parametrize(('sample_rate', 'tolerance'), [(44_100, 0.01), (48_000, 0.01), (192_000, 0.01), (8_000, 0.25)])
def test_calibration(sample_rate: int, tolerance: float) -> None:
    """A full-scale sine in one of two channels reads -3.01 LUFS; at low rates the transform bends the shelf."""
    tone = sine(3, sample_rate)
    assert loudness(np.stack([tone, 0 * tone], axis=1), sample_rate) == pytest.approx(-3.01, abs=tolerance)


@pytest.mark.parametrize('sample_rate', [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_equals_pyloudnorm(sample_rate: int) -> None:
    samples = noise(12, sample_rate)
    expected = pyloudnorm.Meter(sample_rate).integrated_loudness(samples.astype(np.float64))
    assert loudness(samples, sample_rate) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize('group_samples', [1024, 3 * 1024, 2**20])
@pytest.mark.parametrize('sample_rate', [8_000, 44_100, 384_000])
def test_the_filters_are_those_of_the_standard_sample_by_sample(sample_rate: int, group_samples: int) -> None:
    samples = (0.1 * np.random.default_rng(0).standard_normal((2 * sample_rate, 1)) + 0.5).astype(np.float32)
    weighted = scipy.signal.sosfilt(k_weighting(sample_rate), samples[:, 0].astype(np.float64))
    steps = np.sum(weighted.reshape(20, -1) ** 2, axis=1)
    powers = np.convolve(steps, np.ones(4), mode='valid') / (0.4 * sample_rate)
    expected = -0.691 + 10 * np.log10(powers.mean())
    assert loudness(samples, sample_rate, group_samples) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize('channels', [1, 5])
def test_equals_pyloudnorm_for_other_channels(channels: int) -> None:
    samples = noise(5, 44_100, channels)
    expected = pyloudnorm.Meter(44_100).integrated_loudness(samples.astype(np.float64))
    assert loudness(samples, 44_100) == pytest.approx(expected, abs=0.1)


def test_the_low_frequency_channel_of_six_does_not_count() -> None:
    samples = noise(3, 44_100, 6)
    assert loudness(samples, 44_100) == pytest.approx(loudness(np.delete(samples, 3, axis=1), 44_100), abs=1e-4)


def test_a_constant_offset_does_not_matter() -> None:
    tone = sine(5, level=-50)[:, None]
    rise = 0.25 - 0.25 * np.cos(np.pi * np.minimum(1, np.arange(len(tone)) / 96_000))  # slow, so as not to be heard
    assert loudness(tone + rise[:, None].astype(np.float32), 48_000) == pytest.approx(-53.01, abs=0.1)


def test_gates() -> None:
    """EBU Tech 3341, case 3: -36, -23, -36 LUFS for 10, 60, 10 s reads -23 LUFS."""
    tone = np.concatenate([sine(10, level=-36), sine(60, level=-23), sine(10, level=-36)])
    assert loudness(np.stack([tone, tone], axis=1), 48_000) == pytest.approx(-23.0, abs=0.1)


def test_silence_around_does_not_matter() -> None:
    tone = np.concatenate([np.zeros(480_000, np.float32), sine(20, level=-20), np.zeros(480_000, np.float32)])
    assert loudness(tone[:, None], 48_000) == pytest.approx(-23.01, abs=0.1)


@pytest.mark.parametrize('seconds', [0.001, 0.399])
def test_less_than_a_block_has_no_loudness(seconds: float) -> None:
    assert np.isnan(loudness(sine(seconds)[:, None], 48_000))


def test_one_block_has_a_loudness() -> None:
    assert loudness(sine(0.4)[:, None], 48_000) == pytest.approx(-3.01, abs=0.1)


def test_below_the_absolute_gate_there_is_no_loudness() -> None:
    assert np.isnan(loudness(np.zeros((96_000, 2), np.float32), 48_000))
    assert np.isnan(loudness(sine(2, level=-70)[:, None], 48_000))
