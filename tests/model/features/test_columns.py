from __future__ import annotations

import numpy as np

from stembeam.model.features import FRAME_FEATURES, STATISTICS, TRACK_FEATURES, frame_times


def test_frame_columns() -> None:
    names = [feature.name for feature in FRAME_FEATURES]
    assert len(names) == len(set(names)) == 52
    assert len({name.lower() for name in names}) == 52  # SQL does not tell upper from lower case
    assert names[:3] == ['rms', 'zero_crossing_rate', 'spectral_centroid']
    for name in ('spectral_contrast_7', 'mfcc_01', 'mfcc_20', 'chroma_C', 'chroma_B', 'tonnetz_6'):
        assert name in names
    assert names[-1] == 'onset_strength'


def test_definitions_name_the_librosa_call() -> None:
    for feature in FRAME_FEATURES:
        assert 'librosa.' in feature.definition
        assert '=1024' in feature.definition
        assert 'SPEC' not in feature.definition


def test_track_columns() -> None:
    names = [feature.name for feature in TRACK_FEATURES]
    assert names[:5] == ['loudness_lufs', 'true_peak_dbtp', 'energy', 'active_frames', 'rms_mean']
    assert names[-1] == 'onset_strength_max'
    assert len(names) == len(set(names)) == 4 + 52 * 7
    assert STATISTICS == ('mean', 'std', 'skew', 'kurtosis', 'median', 'min', 'max')


def test_frame_times() -> None:
    np.testing.assert_allclose(frame_times(3, 44_100), [0, 1024 / 44_100, 2048 / 44_100])
    assert frame_times(0, 44_100).shape == (0,)
