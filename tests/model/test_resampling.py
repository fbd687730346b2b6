from __future__ import annotations

import numpy as np
import pytest
import soxr

from stembeam.model.resampling import (
    BLOCK_SECONDS,
    block_input,
    block_length,
    match_channels,
    resample,
    resample_block,
    resampled_length,
)

from ..transforms.audio_files import noise


def decibels(error, reference):
    return 10 * np.log10(np.mean(np.square(error, dtype=float)) / np.mean(np.square(reference, dtype=float)))


@pytest.mark.parametrize(
    ('num_samples', 'from_rate', 'to_rate', 'expected'),
    [
        (48000, 48000, 44100, 44100),
        (48001, 48000, 44100, 44101),
        (1, 192000, 44100, 1),
        (1, 8000, 44100, 6),
        (7, 44100, 44100, 7),
        (10**12, 48000, 44100, 918750000000),
    ],
)
def test_resampled_length_is_rounded_up(num_samples, from_rate, to_rate, expected):
    assert resampled_length(num_samples, from_rate, to_rate) == expected


@pytest.mark.parametrize(
    ('from_rate', 'to_rate'),
    [(48000, 44100), (44100, 48000), (8000, 44100), (96000, 44100), (44100, 16000), (44100, 22050)],
)
def test_blocks_join_without_a_seam(from_rate, to_rate):
    samples = noise(int(3.3 * BLOCK_SECONDS * from_rate), channels=1)
    expected = soxr.resample(np.concatenate([samples, np.zeros((100, 1), np.float32)]), from_rate, to_rate, 'HQ')
    result = resample(samples, from_rate, to_rate)
    assert len(result) == resampled_length(len(samples), from_rate, to_rate)
    expected = expected[: len(result)]
    assert decibels(result - expected, expected) < -100
    for second in (BLOCK_SECONDS, 2 * BLOCK_SECONDS, 3 * BLOCK_SECONDS):
        seam = slice(second * to_rate - 50, second * to_rate + 50)
        assert decibels(result[seam] - expected[seam], expected) < -100


def test_a_tone_keeps_its_phase_and_level():
    tone = np.sin(2 * np.pi * 1000 * np.arange(48000 * 25) / 48000)[:, None].astype(np.float32)
    expected = np.sin(2 * np.pi * 1000 * np.arange(44100 * 25) / 44100)[:, None]
    middle = slice(4410, -4410)
    assert decibels(resample(tone, 48000, 44100)[middle] - expected[middle], expected) < -100


@pytest.mark.parametrize('num_samples', [1, 2, 5, 160, 44099, 48000, 480000, 480001])
@pytest.mark.parametrize(('from_rate', 'to_rate'), [(48000, 44100), (192000, 44100), (8000, 44100), (44100, 1000)])
def test_short_tracks_have_the_promised_length(num_samples, from_rate, to_rate):
    samples = noise(num_samples)
    result = resample(samples, from_rate, to_rate)
    assert result.shape == (resampled_length(num_samples, from_rate, to_rate), 2)
    padded = np.concatenate([samples, np.zeros((4 * from_rate // to_rate + 8, 2), np.float32)])
    expected = soxr.resample(padded, from_rate, to_rate, 'HQ')[: len(result)]
    np.testing.assert_allclose(result, expected, atol=2e-6)


def test_equal_rates_change_nothing():
    samples = noise(1000)
    np.testing.assert_array_equal(resample(samples, 44100, 44100), samples)
    np.testing.assert_array_equal(resample_block(samples, 0, 44100, 44100, 1000), samples)


def test_blocks_know_their_input_and_their_length():
    assert block_input(0, 48000, 44100) == (0, (BLOCK_SECONDS + 1) * 48000)
    assert block_input(2, 48000, 44100) == ((2 * BLOCK_SECONDS - 1) * 48000, (3 * BLOCK_SECONDS + 1) * 48000)
    assert block_input(2, 44100, 44100) == (2 * BLOCK_SECONDS * 44100, 3 * BLOCK_SECONDS * 44100)
    assert block_length(1, 48000, 44100, None) == BLOCK_SECONDS * 44100
    assert block_length(1, 48000, 44100, BLOCK_SECONDS * 48000 + 1) == 1
    assert block_length(1, 48000, 44100, BLOCK_SECONDS * 48000) == 0
    assert block_length(5, 48000, 44100, 10) == 0


def test_channels_follow_the_rules():
    six = noise(10, channels=6)
    np.testing.assert_array_equal(match_channels(six, 2), six[:, :2])
    np.testing.assert_array_equal(match_channels(six[:, :1], 2), six[:, [0, 0]])
    np.testing.assert_allclose(match_channels(six[:, :2], 1)[:, 0], (six[:, 0] + six[:, 1]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(match_channels(six[:, :1], 1), six[:, :1])


def test_mono_repeated_before_or_after_resampling_is_the_same():
    samples = noise(30000, channels=1)
    before = resample(match_channels(samples, 2), 48000, 44100)
    np.testing.assert_array_equal(before, match_channels(resample(samples, 48000, 44100), 2))
