"""BSSEval against museval, frame by frame, and against what theory says of cases made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stembeam.model.evaluation.bsseval import FILTER_TAPS, METRICS, BssEval, window_starts

from .museval_package import museval  # noqa: F401

SECOND = 8000  # samples: small enough for museval


def coloured(count: int, samples: int, channels: int, seed: int = 0) -> list[np.ndarray]:
    """Sources with spectra of their own and channels that resemble each other, float32 (samples, channels)."""
    rng = np.random.default_rng(seed)
    sources = []
    for _ in range(count):
        filtered = np.convolve(rng.standard_normal(samples), rng.standard_normal(9), 'same')
        mixed = filtered[:, None] * rng.uniform(0.3, 1, channels) + 0.3 * rng.standard_normal((samples, channels))
        sources.append((0.1 * mixed).astype(np.float32))
    return sources


def imperfect(references: list[np.ndarray], seed: int = 1) -> list[np.ndarray]:
    """Estimates with something of everything: interference, filtering, noise."""
    rng = np.random.default_rng(seed)
    mixture = sum(references)
    return [
        (0.8 * s + 0.1 * np.roll(s, 3, axis=0) + 0.1 * mixture + 0.01 * rng.standard_normal(s.shape)).astype(np.float32)
        for s in references
    ]


def by_museval(package, references, estimates, window=SECOND, hop=SECOND) -> np.ndarray:
    sdr, isr, sir, sar = package.evaluate(np.stack(references), np.stack(estimates), win=window, hop=hop)
    return np.stack([{'SDR': sdr, 'ISR': isr, 'SIR': sir, 'SAR': sar}[name] for name in METRICS])


@pytest.mark.parametrize('channels', [1, 2])
def test_equals_museval(museval, channels):  # noqa: F811
    references = coloured(3, int(3.4 * SECOND), channels)
    estimates = imperfect(references)
    found = BssEval(references).scores(estimates, SECOND, SECOND)
    assert found.shape == (4, 3, 3)
    np.testing.assert_allclose(found, by_museval(museval, references, estimates), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ('window', 'hop', 'frames'),
    [(SECOND, SECOND // 2, 4), (2 * SECOND, SECOND, 1), (3 * SECOND, SECOND, 1), (777, 2001, 10)],
)
def test_equals_museval_for_any_window(museval, window, hop, frames):  # noqa: F811
    references = coloured(2, int(2.5 * SECOND), 1)
    estimates = imperfect(references)
    found = BssEval(references).scores(estimates, window, hop)
    assert found.shape == (4, 2, frames) == (4, 2, len(window_starts(len(references[0]), window, hop)))
    np.testing.assert_allclose(found, by_museval(museval, references, estimates, window, hop), rtol=0, atol=1e-6)


def test_frames_with_silence_have_no_scores_as_in_museval(museval):  # noqa: F811
    references = coloured(2, 4 * SECOND, 2)
    estimates = imperfect(references)
    references[0][SECOND : 2 * SECOND] = 0
    estimates[1][2 * SECOND : 3 * SECOND, 0] = 0.1
    estimates[1][2 * SECOND : 3 * SECOND, 1] = -0.1  # museval takes channels that cancel for silence
    found = BssEval(references).scores(estimates, SECOND, SECOND)
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to([False, True, True, False], found.shape))
    np.testing.assert_allclose(found, by_museval(museval, references, estimates), rtol=0, atol=1e-6)


def test_copies_among_the_channels_do_no_harm(museval):  # noqa: F811
    """A source in the middle has the same channel twice, a panned one louder on one side: a singular system."""
    references = coloured(2, 3 * SECOND, 2)
    references[0][:, 1] = references[0][:, 0]
    references[1][:, 1] = 0.5 * references[1][:, 0]
    estimates = imperfect(references)
    found = BssEval(references).scores(estimates, SECOND, SECOND)
    np.testing.assert_allclose(found, by_museval(museval, references, estimates), rtol=0, atol=1e-4)


def test_one_estimate_for_all(museval):  # noqa: F811
    """The mixture as the estimate of every source: its filters are computed once."""
    references = coloured(3, 2 * SECOND, 1)
    mixture = sum(references) + 0.01 * np.random.default_rng(5).standard_normal(references[0].shape)
    found = BssEval(references).scores([mixture] * 3, SECOND, SECOND)
    np.testing.assert_allclose(found, by_museval(museval, references, [mixture] * 3), rtol=0, atol=1e-6)


# Cases with known scores: two independent white sources of energy 1 per sample, mono, in four windows.
WINDOW, SAMPLES = 16000, 64000


@pytest.fixture(scope='module')
def white() -> list[np.ndarray]:
    return list(np.random.default_rng(3).standard_normal((2, SAMPLES, 1)))


def scores_of_first(references, estimate) -> dict[str, np.ndarray]:
    found = BssEval(references).scores([estimate, references[1]], WINDOW, WINDOW)
    return dict(zip(METRICS, found[:, 0], strict=True))


def test_a_scaled_copy_is_a_distortion_of_the_image_alone(white):
    """A filter of one tap makes half of the source: what is wrong is half of it, -20 log10(1/2) = 6.02 dB."""
    scores = scores_of_first(white, 0.5 * white[0])
    np.testing.assert_allclose(scores['SDR'], 20 * np.log10(2), atol=1e-9)
    np.testing.assert_allclose(scores['ISR'], 20 * np.log10(2), atol=1e-6)
    assert (scores['SIR'] > 150).all()
    assert (scores['SAR'] > 150).all()


@pytest.mark.parametrize('delay', [10, 100, FILTER_TAPS - 1])
def test_a_delayed_copy_is_a_distortion_of_the_image_and_of_the_frame_borders(white, delay):
    """Source and copy are independent where white, so their difference has twice the energy: SDR = ISR = -3.01 dB.

    The filter delays each frame by itself: it makes `delay` samples beyond its end, which the estimate has not, and
    lacks as many at its beginning, which the estimate has from the frame before. Only these 2 * delay samples are
    artifacts, in the first frame those at the end alone.
    """
    estimate = np.concatenate([np.zeros((delay, 1)), white[0][:-delay]])
    scores = scores_of_first(white, estimate)
    # Of 16000 products of white samples the mean is off by 1/sqrt(16000) = 0.8%: 0.1 dB are three of that.
    silence = np.array([delay, 0, 0, 0]) / WINDOW  # at the start of the estimate
    np.testing.assert_allclose(scores['SDR'], -10 * np.log10(2 - silence), atol=0.1)
    np.testing.assert_allclose(scores['ISR'], -10 * np.log10(2), atol=0.1)
    energy = np.concatenate([np.zeros(WINDOW), white[0][:, 0] ** 2])
    starts = WINDOW * np.arange(1, 5)
    borders = [energy[i - delay : i].sum() + energy[i + WINDOW - delay : i + WINDOW].sum() for i in starts]
    whole = [energy[i : i + WINDOW].sum() for i in starts]
    np.testing.assert_allclose(scores['SAR'], 10 * np.log10(np.divide(whole, borders)), atol=0.1)
    assert (scores['SIR'] > 35).all()


def test_a_delay_beyond_the_filters_is_all_artifacts(white):
    estimate = np.concatenate([np.zeros((FILTER_TAPS, 1)), white[0][:-FILTER_TAPS]])
    scores = scores_of_first(white, estimate)
    np.testing.assert_allclose(scores['SDR'], -10 * np.log10(2), atol=0.15)
    assert (scores['SAR'] < -10).all()


def test_noise_at_20_db(white):
    """Filters of 512 taps, fitted to 64000 samples of noise, find 512/64000 of it in each of the two sources."""
    noise = 0.1 * np.random.default_rng(4).standard_normal((SAMPLES, 1))
    scores = scores_of_first(white, white[0] + noise)
    frames = [slice(start, start + WINDOW) for start in range(0, SAMPLES, WINDOW)]
    exact = [10 * np.log10(np.sum(white[0][part] ** 2) / np.sum(noise[part] ** 2)) for part in frames]
    np.testing.assert_allclose(scores['SDR'], exact, atol=1e-9)
    found = FILTER_TAPS / SAMPLES
    np.testing.assert_allclose(scores['SAR'], exact - 10 * np.log10(1 - 2 * found), atol=0.1)
    # 512 random numbers have an energy that is off by sqrt(2/512) = 6%, each frame's share of it by a little more.
    np.testing.assert_allclose(scores['ISR'], 20 - 10 * np.log10(found), atol=1)
    np.testing.assert_allclose(scores['SIR'], 20 - 10 * np.log10(found), atol=1)


def test_interference_at_20_db(white):
    scores = scores_of_first(white, white[0] + 0.1 * white[1])
    frames = [slice(start, start + WINDOW) for start in range(0, SAMPLES, WINDOW)]
    exact = [20 + 10 * np.log10(np.sum(white[0][part] ** 2) / np.sum(white[1][part] ** 2)) for part in frames]
    np.testing.assert_allclose(scores['SDR'], exact, atol=1e-9)
    # Of the other source, too, 512/64000 is taken for a filtering of the first one.
    np.testing.assert_allclose(scores['SIR'], exact - 10 * np.log10(1 - FILTER_TAPS / SAMPLES), atol=0.1)
    np.testing.assert_allclose(scores['ISR'], 20 - 10 * np.log10(FILTER_TAPS / SAMPLES), atol=1)
    assert (scores['SAR'] > 150).all()


def test_a_perfect_estimate(white):
    scores = scores_of_first(white, white[0].copy())
    assert (scores['SDR'] > 200).all()
    assert (scores['SAR'] > 150).all()
