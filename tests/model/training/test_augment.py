"""Batches to magnitudes: those of the separator, of what was asked for, stretched as Spleeter stretches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stembeam.model import spectral
from stembeam.model.training.augment import magnitudes, shift_weights, stretch_weights
from stembeam.model.training.settings import Recipe
from stembeam.model.training.shards import span_of
from stembeam.model.training.tables import quantise

from .songs import CONFIG, make_stems

SPAN = span_of(CONFIG, 64)


def make_batch(**changes: Any) -> dict[str, np.ndarray]:
    """One chunk of two stems."""
    pairs = [quantise(audio[:SPAN]) for audio in make_stems(1, 0).values()]
    batch = {
        'waves': np.stack([wave for wave, _ in pairs])[np.newaxis],
        'gain': np.asarray([[gain for _, gain in pairs]], np.float32),
        'swap': np.zeros((1, 2), np.float32),
        'stretch': np.ones(1, np.float32),
        'shift': np.ones(1, np.float32),
    }
    return {
        **batch,
        **{key: np.asarray(value, batch.get(key, np.zeros(1, np.float32)).dtype) for key, value in changes.items()},
    }


def magnitude_of(audio: np.ndarray) -> np.ndarray:
    """(samples, channels) to (T, F, channels), as the separator sees it."""
    real, imaginary = spectral.stft(audio.T, CONFIG.frame_length, CONFIG.frame_step)
    return np.moveaxis(np.hypot(np.asarray(real), np.asarray(imaginary))[..., : CONFIG.bins], 0, -1)


def compute(batch: dict[str, np.ndarray], wanted: tuple[int, ...] = (0, 1), **recipe: Any) -> list[np.ndarray]:
    mixture, stems = magnitudes(batch, CONFIG, list(wanted), Recipe(**recipe))
    return [np.asarray(value)[0] for value in (mixture, *stems)]


def test_magnitudes_are_those_that_the_separator_sees() -> None:
    low, high = (audio[:SPAN] for audio in make_stems(1, 0).values())
    found = compute(make_batch(), wanted=(1, 0))
    for ours, audio in zip(found, (low + high, high, low), strict=True):
        np.testing.assert_allclose(ours, magnitude_of(audio), atol=2e-3)


def test_gains_swaps_and_dropped_stems_change_the_mixture_too() -> None:
    low, high = (audio[:SPAN] for audio in make_stems(1, 0).values())
    batch = make_batch(swap=[[0, 1]])
    batch['gain'] = batch['gain'] * np.asarray([[0.5, 2.0]], np.float32)
    mixture, first, second = compute(batch)
    np.testing.assert_allclose(mixture, magnitude_of(low / 2 + 2 * high[:, ::-1]), atol=4e-3)
    np.testing.assert_allclose(second, magnitude_of(2 * high[:, ::-1]), atol=4e-3)
    batch['gain'] = batch['gain'] * np.asarray([[0, 1]], np.float32)
    mixture, first, second = compute(batch)
    assert not first.any()
    np.testing.assert_allclose(mixture, second, atol=1e-5)


def test_a_given_mixture_is_taken_as_it_is() -> None:
    low, high = (audio[:SPAN] for audio in make_stems(1, 0).values())
    wave, gain = quantise(3 * low - high)
    mixture, only = compute(
        {**make_batch(), 'mixture': wave[np.newaxis], 'mixture_gain': np.asarray([gain], np.float32)}, wanted=(1,)
    )
    np.testing.assert_allclose(mixture, magnitude_of(3 * low - high), atol=4e-3)
    np.testing.assert_allclose(only, magnitude_of(high), atol=2e-3)


def spectrum_of(audio: np.ndarray) -> np.ndarray:
    """(samples, channels) to complex (T, F, channels)."""
    real, imaginary = spectral.stft(audio.T, CONFIG.frame_length, CONFIG.frame_step)
    return np.moveaxis((np.asarray(real) + 1j * np.asarray(imaginary))[..., : CONFIG.bins], 0, -1)


def test_targets_in_phase_are_what_a_mask_can_bring_out() -> None:
    low, high = (audio[:SPAN] for audio in make_stems(1, 0).values())
    mixture, *found = compute(make_batch(), targets='in_phase')
    whole = spectrum_of(low + high)
    heard = np.abs(whole) > 0.1
    for target, stem in zip(found, map(spectrum_of, (low, high)), strict=True):
        projected = np.real(stem[heard] * np.conj(whole[heard])) / np.abs(whole[heard])
        np.testing.assert_allclose(target[heard], np.clip(projected, 0, np.abs(whole[heard])), atol=4e-3)
        masked = target[heard] / mixture[heard] * whole[heard]
        by_magnitude = np.minimum(np.abs(stem[heard] / whole[heard]), 1) * whole[heard]
        assert np.linalg.norm(masked - stem[heard]) < 0.9 * np.linalg.norm(by_magnitude - stem[heard])


def resized(line: np.ndarray, length: int) -> np.ndarray:
    """Linear interpolation with aligned corners."""
    return np.interp(np.linspace(0, len(line) - 1, length), np.arange(len(line)), line)


@pytest.mark.parametrize('factor', [0.9, 0.97, 1.0, 1.06, 1.1])
def test_stretching_resizes_about_the_middle(factor: float) -> None:
    line = np.random.default_rng(1).uniform(size=64)
    found = np.asarray(stretch_weights(np.asarray([factor], np.float32), 64))[0] @ line
    length = int(np.float32(64) * np.float32(factor))
    inner = resized(line, length)
    if length > 64:
        expected = inner[(length - 64) // 2 :][:64]
    else:
        expected = np.zeros(64)
        expected[(64 - length) // 2 :][:length] = inner
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize('semitones', [-1.0, 0.0, 0.5, 1.0])
def test_shifting_resizes_from_the_lowest_bin(semitones: float) -> None:
    line = np.random.default_rng(2).uniform(size=128)
    factor = np.float32(2 ** (semitones / 12))
    found = np.asarray(shift_weights(np.asarray([factor], np.float32), 128))[0] @ line
    inner = resized(line, int(np.float32(128) * factor))
    expected = np.zeros(128)
    expected[: len(inner)] = inner[:128]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_stretch_and_shift_move_mixture_and_stems_alike() -> None:
    plain = compute(make_batch())
    changed = compute(make_batch(stretch=[1.1], shift=[2 ** (1 / 12)]), time_stretch=(0.9, 1.1), pitch_shift=1.0)
    for before, after in zip(plain, changed, strict=True):
        peak_before, peak_after = before.mean(axis=(0, 2)).argmax(), after.mean(axis=(0, 2)).argmax()
        assert peak_after == pytest.approx(peak_before * 2 ** (1 / 12), abs=1.5)
