"""What the feature tables hold: the name, unit and definition of every column, as it goes into Parquet field metadata.

Definitions are librosa's (0.11).  In the formulas `y` is the mono downmix (mean of the channels) and `SPEC` stands for
`n_fft=2048, hop_length=1024`; frame t is centred on sample 1024 * t, so n samples make 1 + n // 1024 frames.  The one
idea to know: these tuples fix the order of the columns of every array in this folder.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FEATURES_VERSION = 1  # raise it whenever a value, a column or its order changes
HOP_LENGTH = 1024  # samples between frames
FRAME_LENGTH = 2048  # samples in a frame, and points of its Fourier transform
MIN_SAMPLE_RATE = 4_000  # Hz; below, the K-weighting of loudness has no room
MAX_SAMPLE_RATE = 384_000  # Hz; above, the lowest bands of spectral contrast hold no bin

NUM_MEL_BANDS = 128
NUM_MFCC = 20
NUM_CHROMA = 12
NUM_CONTRAST = 7
NUM_TONNETZ = 6

STATISTICS = ('mean', 'std', 'skew', 'kurtosis', 'median', 'min', 'max')
"""The seven statistics of the FMA data set (Defferrard et al., ISMIR 2017), in this order."""

ACTIVE_RMS_DBFS = -60.0  # a frame is active when its rms lies above this


class FrameFeature(NamedTuple):
    """One column of the frame table."""

    name: str
    unit: str  # '' for a plain number
    definition: str


class TrackFeature(NamedTuple):
    """One column of the track table."""

    name: str
    unit: str
    definition: str


_PITCHES = ('C', 'Cs', 'D', 'Ds', 'E', 'F', 'Fs', 'G', 'Gs', 'A', 'As', 'B')
_TONNETZ_AXES = ('fifth x', 'fifth y', 'minor third x', 'minor third y', 'major third x', 'major third y')


def _frame_features() -> tuple[FrameFeature, ...]:
    scalars = [
        FrameFeature('rms', 'full scale', 'librosa.feature.rms(y=y, frame_length=2048, hop_length=1024)'),
        FrameFeature(
            'zero_crossing_rate',
            'crossings per sample',
            'librosa.feature.zero_crossing_rate(y, frame_length=2048, hop_length=1024)',
        ),
        FrameFeature('spectral_centroid', 'Hz', 'librosa.feature.spectral_centroid(y=y, sr=sr, SPEC)'),
        FrameFeature('spectral_bandwidth', 'Hz', 'librosa.feature.spectral_bandwidth(y=y, sr=sr, SPEC)'),
        FrameFeature('spectral_rolloff', 'Hz', 'librosa.feature.spectral_rolloff(y=y, sr=sr, roll_percent=0.85, SPEC)'),
        FrameFeature('spectral_flatness', '', 'librosa.feature.spectral_flatness(y=y, SPEC)'),
    ]
    contrast = [
        FrameFeature(
            f'spectral_contrast_{band + 1}',
            'dB',
            f'librosa.feature.spectral_contrast(y=y, sr=sr, SPEC)[{band}]; up to 12.8 kHz sample rate with fewer '
            'n_bands, so that all begin below the Nyquist frequency, and the bands left over are null',
        )
        for band in range(NUM_CONTRAST)
    ]
    mfcc = [
        FrameFeature(f'mfcc_{i + 1:02d}', 'dB', f'librosa.feature.mfcc(y=y, sr=sr, n_mfcc=20, SPEC)[{i}]')
        for i in range(NUM_MFCC)
    ]
    chroma = [
        FrameFeature(f'chroma_{pitch}', '', f'librosa.feature.chroma_stft(y=y, sr=sr, tuning=0.0, SPEC)[{i}]')
        for i, pitch in enumerate(_PITCHES)
    ]
    tonnetz = [
        FrameFeature(
            f'tonnetz_{i + 1}',
            '',
            f'{axis}: librosa.feature.tonnetz(chroma=librosa.feature.chroma_stft(y=y, sr=sr, tuning=0.0, SPEC))[{i}]',
        )
        for i, axis in enumerate(_TONNETZ_AXES)
    ]
    onset = FrameFeature('onset_strength', 'dB', 'librosa.onset.onset_strength(y=y, sr=sr, SPEC)')
    columns = (*scalars, *contrast, *mfcc, *chroma, *tonnetz, onset)
    return tuple(f._replace(definition=f.definition.replace('SPEC', 'n_fft=2048, hop_length=1024')) for f in columns)


FRAME_FEATURES = _frame_features()
"""The 52 columns of the frame table, in the order of every frame array."""


def _track_features() -> tuple[TrackFeature, ...]:
    scalars = (
        TrackFeature(
            'loudness_lufs',
            'LUFS',
            'integrated loudness, ITU-R BS.1770-4: K-weighting, 400 ms blocks every 100 ms, gates at -70 LUFS and '
            '10 LU below the mean of the blocks above that; null when there are none or the track is under 400 ms',
        ),
        TrackFeature(
            'true_peak_dbtp',
            'dBTP',
            'largest magnitude of the signal interpolated four times (ITU-R BS.1770-4, Annex 2), loudest channel; '
            'null for digital silence',
        ),
        TrackFeature(
            'energy', 'full scale squared x samples', 'sum of squares over samples and channels, over channels'
        ),
        TrackFeature('active_frames', 'share', f'share of the frames whose rms lies above {ACTIVE_RMS_DBFS:g} dBFS'),
    )
    statistics = tuple(
        TrackFeature(
            f'{feature.name}_{statistic}',
            '' if statistic in ('skew', 'kurtosis') else feature.unit,
            f'{statistic} over the frames of: {feature.definition}',
        )
        for feature in FRAME_FEATURES
        for statistic in STATISTICS
    )
    return scalars + statistics


TRACK_FEATURES = _track_features()
"""The four scalars of a track, then '<column>_<statistic>' for every frame column and statistic."""


def frame_times(num_frames: int, sample_rate: int) -> np.ndarray:
    """Centres of the frames, (num_frames,) float64, in seconds from the start of the track.

    >>> frame_times(3, 44100).round(6)
    array([0.      , 0.02322 , 0.04644 ])
    """
    return np.arange(num_frames) * (HOP_LENGTH / sample_rate)
