from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stembeam.model.errors import TrackError
from stembeam.model.features import FRAME_FEATURES, STATISTICS, TRACK_FEATURES, FeatureExtractor, StemFeatures, spool


def noise(num_samples: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    swell = 0.1 + 0.1 * np.sin(np.arange(num_samples) / 20_000)[:, None]
    return (swell * np.random.default_rng(seed).standard_normal((num_samples, channels))).astype(np.float32)


def extract(samples: np.ndarray, block: int, sample_rate: int = 44100) -> StemFeatures:
    extractor = FeatureExtractor(sample_rate, samples.shape[1])
    for start in range(0, len(samples), block):
        extractor.add(samples[start : start + block])
    return extractor.finish()


def assert_identical(one: StemFeatures, other: StemFeatures) -> None:
    np.testing.assert_array_equal(one.frames, other.frames)
    np.testing.assert_array_equal(one.statistics, other.statistics)
    assert one.track_row() == other.track_row()


@pytest.mark.parametrize('block', [997, 44_100, 131_072, 262_145])
def test_blocks_of_the_stream_do_not_change_a_bit(block: int) -> None:
    samples = noise(400_000)
    assert_identical(extract(samples, len(samples)), extract(samples, block))


def test_single_samples_empty_blocks_and_strided_blocks() -> None:
    samples = noise(1500)
    extractor = FeatureExtractor(44100, 2)
    for start in range(len(samples)):
        extractor.add(samples[start:start])
        extractor.add(np.asfortranarray(samples)[start : start + 1])
    assert_identical(extract(samples, len(samples)), extractor.finish())


def test_threads_do_not_disturb_each_other() -> None:
    stems = [noise(300_000, seed=seed) for seed in range(4)]
    alone = [extract(stem, 50_000) for stem in stems]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda stem: extract(stem, 50_000), stems))
    for one, other in zip(alone, together, strict=True):
        assert_identical(one, other)


def test_a_table_on_disk_is_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise(2_000_000, channels=1)
    in_memory = extract(samples, 100_000)
    monkeypatch.setattr(spool, 'MEMORY_BYTES', 10_000)
    assert_identical(in_memory, extract(samples, 100_000))


def test_frame_blocks_are_the_frames() -> None:
    features = extract(noise(200_000), 100_000)
    blocks = list(features.frame_blocks(rows=50))
    assert [len(block) for block in blocks] == [50, 50, 50, 46]
    np.testing.assert_array_equal(np.concatenate(blocks), features.frames)
    assert features.num_frames == 196


def test_energy_and_active_frames() -> None:
    samples = np.zeros((102_400, 2), np.float32)
    samples[:51_200, 0] = 0.5  # frames 0 to 50 reach into it; the mono downmix is 0.25
    features = extract(samples, 10_000)
    assert features.energy == pytest.approx(51_200 * 0.25 / 2, rel=1e-6)
    assert features.active_frames == pytest.approx(51 / 101)
    assert features.frames[10, 0] == pytest.approx(0.25)


@pytest.mark.parametrize(('level', 'active'), [(-59.9, 1.0), (-60.1, 0.0)])
def test_frames_are_active_above_minus_60_dbfs(level: float, active: float) -> None:
    samples = np.full((10 * 1024 - 1, 1), 10 ** (level / 20), np.float32)
    padding = np.full((1024, 1), 0.5, np.float32)  # keeps the half-empty first and last frames out of the question
    features = extract(np.concatenate([padding, samples, padding]), 4096)
    assert np.mean(features.frames[2:10, 0] > 1e-3) == active
    assert features.active_frames == pytest.approx((8 * active + 4) / 12)


def test_silence_has_no_loudness_and_no_peak() -> None:
    row = extract(np.zeros((100_000, 2), np.float32), 50_000).track_row()
    assert row['loudness_lufs'] is None
    assert row['true_peak_dbtp'] is None
    assert row['energy'] == 0
    assert row['active_frames'] == 0
    assert row['rms_max'] == 0
    assert row['rms_skew'] is None  # of values that are all the same


def test_track_row_has_every_track_feature_in_order() -> None:
    features = extract(noise(100_000), 50_000)
    row = features.track_row()
    assert list(row) == [feature.name for feature in TRACK_FEATURES]
    column = [feature.name for feature in FRAME_FEATURES].index('mfcc_02')
    assert row['mfcc_02_median'] == features.statistics[column, STATISTICS.index('median')]
    assert row['mfcc_02_median'] == pytest.approx(np.median(features.frames[:, column]))
    assert row['spectral_centroid_min'] == features.frames[:, 2].min()


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_fail_the_track(bad: float) -> None:
    samples = noise(10_000)
    samples[5000, 1] = bad
    with pytest.raises(TrackError, match='NaN or infinite'):
        extract(samples, 1000)


def test_no_samples_fail_the_track() -> None:
    extractor = FeatureExtractor(44100, 2)
    extractor.add(np.zeros((0, 2), np.float32))
    with pytest.raises(TrackError, match='no samples'):
        extractor.finish()


@pytest.mark.parametrize('block', [np.zeros((5, 3), np.float32), np.zeros((5, 2)), np.zeros(5, np.float32)])
def test_blocks_of_another_shape_or_dtype_are_refused(block: np.ndarray) -> None:
    with pytest.raises(ValueError, match='give float32 of shape'):
        FeatureExtractor(44100, 2).add(block)


def test_a_finished_stream_takes_no_more() -> None:
    extractor = FeatureExtractor(44100, 1)
    extractor.add(noise(10, channels=1))
    extractor.finish()
    with pytest.raises(ValueError, match='finished'):
        extractor.add(noise(10, channels=1))
    with pytest.raises(ValueError, match='finished'):
        extractor.finish()


@pytest.mark.parametrize(('sample_rate', 'channels'), [(3999, 2), (384_001, 2), (44100, 0)])
def test_signals_without_defined_features_are_refused(sample_rate: int, channels: int) -> None:
    with pytest.raises(ValueError, match=r'sample_rate|channels'):
        FeatureExtractor(sample_rate, channels)
