"""The frame table against librosa, which is the definition."""

from __future__ import annotations

import warnings
from typing import Any

import librosa
import numpy as np
import pytest

from stembeam.model.features import FRAME_FEATURES, FeatureExtractor

# Differences that are rounding and not error: values that cross zero have no relative precision there.
ABSOLUTE = {'mfcc': 2e-4, 'spectral_contrast': 1e-5, 'tonnetz': 1e-6, 'onset_strength': 1e-5}


def music(num_samples: int, sample_rate: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    """Decaying notes and soft drum hits, float32 (samples, channels)."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_samples) / sample_rate
    samples = np.zeros((num_samples, channels))
    for i, frequency in enumerate((110.0, 220.5, 331.0, 554.4, 880.0, 1760.3, 3520.0)):
        if frequency < 0.4 * sample_rate:
            note = 0.2 / (i + 1) * np.sin(2 * np.pi * frequency * time + i) * np.exp(-3 * ((2 * time + 0.3 * i) % 1))
            samples += note[:, None] * rng.uniform(0.3, 1, channels)
    samples += 0.02 * rng.standard_normal((num_samples, channels)) * np.exp(-12 * ((4 * time) % 1))[:, None]
    return samples.astype(np.float32)


def noise(num_samples: int, level: float) -> np.ndarray:
    return (level * np.random.default_rng(1).standard_normal((num_samples, 2))).astype(np.float32)


def with_silence() -> np.ndarray:
    samples = music(400_000, 44100)
    samples[60_000:300_000] = 0
    return samples


def clicks() -> np.ndarray:
    samples = np.zeros((150_000, 2), np.float32)
    samples[::7919] = 0.9
    return samples


def sine(frequency: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(100_000) / 44100)).astype(np.float32)[:, None]


def frames_of(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    extractor = FeatureExtractor(sample_rate, samples.shape[1])
    extractor.add(samples)
    return extractor.finish().frames


def librosa_frames(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The same table by librosa's own calls, as FRAME_FEATURES words them."""
    y = librosa.to_mono(np.ascontiguousarray(samples.T))
    spec: dict[str, Any] = {'n_fft': 2048, 'hop_length': 1024}
    both: dict[str, Any] = {'y': y, 'sr': sample_rate, **spec}
    feature = librosa.feature
    with warnings.catch_warnings():
        warnings.simplefilter(
            'ignore'
        )  # short signals, empty mel bands: what librosa does then is what we want to equal
        bands = min(6, int(np.sum(200 * 2.0 ** np.arange(7) < sample_rate / 2)))
        contrast = feature.spectral_contrast(n_bands=bands, **both)
        chroma = feature.chroma_stft(tuning=0.0, **both)
        rows = [
            feature.rms(y=y, frame_length=2048, hop_length=1024),
            feature.zero_crossing_rate(y, frame_length=2048, hop_length=1024),
            feature.spectral_centroid(**both),
            feature.spectral_bandwidth(**both),
            feature.spectral_rolloff(**both),
            feature.spectral_flatness(y=y, **spec),
            contrast,
            np.full((6 - bands, contrast.shape[1]), np.nan),
            feature.mfcc(n_mfcc=20, **both),
            chroma,
            feature.tonnetz(chroma=chroma),
            librosa.onset.onset_strength(**both)[None],
        ]
    return np.concatenate(rows).T


def assert_equals_librosa(samples: np.ndarray, sample_rate: int) -> None:
    ours, theirs = frames_of(samples, sample_rate), librosa_frames(samples, sample_rate)
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape == (1 + len(samples) // 1024, 52)
    for column, feature in enumerate(FRAME_FEATURES):
        absolute = next((value for name, value in ABSOLUTE.items() if feature.name.startswith(name)), 0.0)
        np.testing.assert_allclose(
            ours[:, column], theirs[:, column], rtol=1e-3, atol=absolute, equal_nan=True, err_msg=feature.name
        )


@pytest.mark.parametrize(
    'samples',
    [
        pytest.param(music(400_000, 44100), id='music'),
        pytest.param(noise(200_000, 0.1), id='noise'),
        pytest.param(with_silence(), id='long digital silence'),
        pytest.param(np.zeros((70_000, 2), np.float32), id='nothing but silence'),
        pytest.param(-np.zeros((70_000, 2), np.float32), id='negative zeros'),
        pytest.param(music(200_000, 44100) * np.float32(10 ** (-90 / 20)), id='music at -90 dB'),
        pytest.param(noise(200_000, 10 ** (-90 / 20)), id='noise at -90 dBFS'),
        pytest.param(noise(100_000, 1e-20), id='below every floor'),
        pytest.param(clicks(), id='clicks'),
        pytest.param(sine(997.0), id='sine'),
        pytest.param(sine(20_000.0), id='high sine'),
        pytest.param(np.full((50_000, 1), 0.25, np.float32), id='constant'),
        pytest.param(music(50_000, 44100, channels=1), id='mono'),
        pytest.param(music(50_000, 44100, channels=6), id='six channels'),
    ],
)
def test_equals_librosa(samples: np.ndarray) -> None:
    assert_equals_librosa(samples, 44100)


@pytest.mark.parametrize('sample_rate', [4000, 8000, 11025, 12800, 16000, 22050, 32000, 48000, 96000, 192000, 384000])
def test_equals_librosa_at_any_sample_rate(sample_rate: int) -> None:
    assert_equals_librosa(music(60_000, sample_rate), sample_rate)


@pytest.mark.parametrize('num_samples', [1, 2, 100, 1023, 1024, 1025, 2048, 131_071, 131_072, 131_073])
def test_equals_librosa_at_any_length(num_samples: int) -> None:
    samples = np.full((1, 2), 0.5, np.float32) if num_samples == 1 else music(num_samples, 44100)
    assert_equals_librosa(samples, 44100)


def test_bands_above_the_nyquist_frequency_have_no_contrast() -> None:
    frames = frames_of(music(20_000, 8000), 8000)
    names = [feature.name for feature in FRAME_FEATURES]
    assert np.isnan(frames[:, names.index('spectral_contrast_7')]).all()
    assert np.isfinite(np.delete(frames, names.index('spectral_contrast_7'), axis=1)).all()
