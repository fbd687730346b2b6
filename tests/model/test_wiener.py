"""The Wiener filter against norbert, the program that Spleeter calls, and against itself cut into pieces."""

from __future__ import annotations

import numpy as np
import pytest

from stembeam.model import wiener
from stembeam.model.wiener_records import EPSILON, WienerFilter, WienerSums

norbert = pytest.importorskip('norbert')


def parts_of(spectrum: np.ndarray) -> wiener.Spectrum:
    """Complex (T, F, channels) as real and imaginary parts (1, T, F) per channel."""
    return tuple(
        (part.real[np.newaxis].astype(np.float32), part.imag[np.newaxis].astype(np.float32))
        for part in np.moveaxis(spectrum, -1, 0)
    )


def sums_of(
    magnitudes: np.ndarray, mixture: np.ndarray, so_far: WienerFilter, weights: np.ndarray | None = None
) -> WienerSums:
    """Magnitudes (stems, T, F, channels) and mixture (T, F, channels) to what they contribute to the next iteration."""
    frames = np.ones(len(mixture)) if weights is None else weights
    stems = filtered(magnitudes, mixture, so_far)
    sums = np.asarray(wiener.covariance_sums(stems, frames.astype(np.float64)))
    return WienerSums(sums[:, 0], float(np.abs(mixture).max()))


def filtered(magnitudes: np.ndarray, mixture: np.ndarray, so_far: WienerFilter) -> wiener.Spectrum:
    shares = wiener.magnitude_shares(list(magnitudes[:, np.newaxis]))
    covariances = so_far.covariances[:, :, np.newaxis]
    return wiener.filtered(shares, parts_of(mixture), covariances, np.array([so_far.scale]))


def unfiltered(magnitudes: np.ndarray) -> WienerFilter:
    stems, _, bins, channels = magnitudes.shape
    return WienerFilter(np.zeros((0, *WienerSums.none(stems, channels, bins).covariances.shape)), 1.0)


def filter_of(pieces: list[tuple[np.ndarray, np.ndarray]], iterations: int) -> WienerFilter:
    """The filter of a track from its pieces: (magnitudes, mixture) each."""
    so_far, former = unfiltered(pieces[0][0]), None
    for _ in range(iterations):
        total = sums_of(*pieces[0], so_far)
        for piece in pieces[1:]:
            total = total.plus(sums_of(*piece, so_far))
        so_far = former = WienerFilter.from_sums(total, former)
    return so_far


def stems_of(magnitudes: np.ndarray, mixture: np.ndarray, complete: WienerFilter) -> np.ndarray:
    """Complex (stems, T, F, channels)."""
    stems = filtered(magnitudes, mixture, complete)
    return np.stack([np.asarray(real)[:, 0] + 1j * np.asarray(imaginary)[:, 0] for real, imaginary in stems], axis=-1)


def by_norbert(magnitudes: np.ndarray, mixture: np.ndarray, iterations: int) -> np.ndarray:
    """norbert in double precision with the epsilon of single precision, which is what Spleeter gives it."""
    stems = norbert.wiener(
        np.moveaxis(magnitudes, 0, -1).astype(np.float64), mixture.astype(np.complex128), iterations, eps=EPSILON
    )
    return np.moveaxis(stems, -1, 0)


def noisy_track(
    stems: int = 4, frames: int = 60, channels: int = 2, level: float = 3.0, seed: int = 0, width: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes (stems, T, F, channels) and a mixture (T, F, channels) of stems that come from a direction each."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

    directions = normal(stems, 1, 1, channels)
    sources = level * normal(stems, frames, 7, 1) * (directions + width * normal(stems, frames, 7, channels))
    magnitudes = np.abs(sources) * rng.uniform(0.7, 1.3, sources.shape)
    return magnitudes.astype(np.float32), sources.sum(axis=0).astype(np.complex64)


def signal_to_error_db(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(np.abs(wanted) ** 2) / np.sum(np.abs(wanted - found) ** 2)))


@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('iterations', [1, 2, 3])
@pytest.mark.parametrize('level', [0.001, 0.3, 300.0])
def test_the_filter_is_norberts(channels: int, iterations: int, level: float) -> None:
    magnitudes, mixture = noisy_track(channels=channels, level=level)
    found = stems_of(magnitudes, mixture, filter_of([(magnitudes, mixture)], iterations))
    assert signal_to_error_db(by_norbert(magnitudes, mixture, iterations), found) > 110


@pytest.mark.parametrize('width', [1e-2, 1e-4])
def test_sources_in_nearly_one_direction_lose_no_precision(width: float) -> None:
    magnitudes, mixture = noisy_track(level=300.0, width=width)
    mixture[..., 1] = mixture[..., 0] * (1 + width * mixture[..., 1] / np.abs(mixture[..., 1]))
    found = stems_of(magnitudes, mixture, filter_of([(magnitudes, mixture)], 1))
    assert signal_to_error_db(by_norbert(magnitudes, mixture, 1), found) > 100


@pytest.mark.parametrize('iterations', [1, 3])
def test_silence(iterations: int) -> None:
    magnitudes, mixture = noisy_track()
    silence = np.zeros_like(magnitudes), np.zeros_like(mixture)
    np.testing.assert_array_equal(stems_of(*silence, filter_of([silence], iterations)), 0)


@pytest.mark.parametrize('level', [1e-3, 1e-5])
def test_silence_in_some_bins_and_frames_of_a_nearly_silent_track(level: float) -> None:
    magnitudes, mixture = noisy_track(level=level)
    magnitudes[:, :, 3], mixture[:, 3] = 0, 0
    magnitudes[:, 20:30], mixture[20:30] = 0, 0
    magnitudes[:, 30:40] = 0  # the networks find nothing in what is there
    magnitudes[0] = 0
    found = stems_of(magnitudes, mixture, filter_of([(magnitudes, mixture)], 1))
    assert np.isfinite(found).all()
    expected = by_norbert(magnitudes, mixture, 1)
    assert np.abs(expected).max() > 0
    assert signal_to_error_db(expected, found) > 110


@pytest.mark.parametrize('iterations', [1, 2])
def test_pieces_of_a_track_have_the_filter_of_the_whole(iterations: int) -> None:
    magnitudes, mixture = noisy_track(frames=90)
    pieces = [(magnitudes[:, cut], mixture[cut]) for cut in (slice(0, 10), slice(10, 11), slice(11, 90))]
    whole = filter_of([(magnitudes, mixture)], iterations)
    joined = filter_of(pieces, iterations)
    assert joined.scale == whole.scale
    assert joined.iterations == iterations
    np.testing.assert_allclose(joined.covariances, whole.covariances, rtol=1e-6, atol=1e-9)


def test_frames_count_as_their_weights_say() -> None:
    magnitudes, mixture = noisy_track(frames=20)
    none = unfiltered(magnitudes)
    weights = np.linspace(0, 1, 20)
    faded = sums_of(magnitudes, mixture, none, weights).plus(sums_of(magnitudes, mixture, none, 1 - weights))
    np.testing.assert_allclose(faded.covariances, sums_of(magnitudes, mixture, none).covariances, rtol=1e-6, atol=1e-6)


def test_the_stems_of_a_loud_track_add_up_to_it_but_for_the_regularisation() -> None:
    magnitudes, mixture = noisy_track(level=300.0)
    stems = stems_of(magnitudes, mixture, filter_of([(magnitudes, mixture)], 1))
    assert signal_to_error_db(mixture, stems.sum(axis=0)) > 40


def test_sums_are_covariances_and_the_greatest_magnitude() -> None:
    """One stem that is the whole mixture: its covariance is the mixture's."""
    _, mixture = noisy_track(stems=2, frames=5)
    sums = sums_of(np.abs(mixture)[np.newaxis], mixture, unfiltered(np.abs(mixture)[np.newaxis]))
    left, right = mixture[..., 0], mixture[..., 1]
    cross = np.sum(left * right.conj(), axis=0)
    expected = [np.sum(np.abs(left) ** 2, axis=0), np.sum(np.abs(right) ** 2, axis=0), cross.real, cross.imag]
    np.testing.assert_allclose(sums.covariances[0], expected, rtol=1e-4, atol=1e-3)
    assert sums.peak == pytest.approx(np.abs(mixture).max())
