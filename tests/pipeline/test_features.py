"""The features that a run writes, against librosa and pyloudnorm, and as pandas and DuckDB see them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import librosa
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyloudnorm
import pytest
import scipy.stats
import soundfile

from stembeam.pipeline.cli import main
from stembeam.pipeline.example import make_song

HOP, FRAME = 1024, 2048


@pytest.fixture(scope='module')
def corpus(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A run over two songs, in several segments each; flac of 16 bits."""
    folder = tmp_path_factory.mktemp('features')
    for number, seconds in enumerate([7.3, 4.1]):
        song = sum(make_song(seconds, 44100, seed=number).values())
        soundfile.write(folder / f'song {number}.wav', song / np.abs(song).max(), 44100, subtype='PCM_24')
    arguments = ['separate', str(folder), '-o', str(folder / 'out'), '--model', str(tiny_model), '--format', 'flac']
    assert main([*arguments, '--chunks-per-segment', '2', '--workers', '2', '--no-progress']) == 0
    return folder


def stem_files(corpus: Path) -> list[tuple[str, str, Path]]:
    """(track, stem, file) of every stem, and of the mixtures."""
    stems = [(path.parent.name, path.stem, path) for path in (corpus / 'out' / 'stems').glob('*/*.flac')]
    return stems + [(path.stem, 'mixture', path) for path in corpus.glob('*.wav')]


def librosa_frames(path: Path) -> pd.DataFrame:
    wave, rate = librosa.load(path, sr=None, mono=True)
    spectrum = np.abs(librosa.stft(wave, n_fft=FRAME, hop_length=HOP))
    same = {'S': spectrum, 'sr': rate, 'n_fft': FRAME, 'hop_length': HOP}
    chroma = librosa.feature.chroma_stft(S=spectrum**2, sr=rate, n_fft=FRAME, hop_length=HOP, tuning=0.0)
    values = {
        'rms': librosa.feature.rms(y=wave, frame_length=FRAME, hop_length=HOP)[0],
        'zero_crossing_rate': librosa.feature.zero_crossing_rate(wave, frame_length=FRAME, hop_length=HOP)[0],
        'spectral_centroid': librosa.feature.spectral_centroid(**same)[0],
        'spectral_bandwidth': librosa.feature.spectral_bandwidth(**same)[0],
        'spectral_rolloff': librosa.feature.spectral_rolloff(**same)[0],
        'spectral_flatness': librosa.feature.spectral_flatness(S=spectrum, n_fft=FRAME, hop_length=HOP)[0],
        'onset_strength': librosa.onset.onset_strength(y=wave, sr=rate, hop_length=HOP),
    }
    for name, rows in {
        'spectral_contrast': librosa.feature.spectral_contrast(**same),
        'mfcc': librosa.feature.mfcc(y=wave, sr=rate, n_mfcc=20, n_fft=FRAME, hop_length=HOP),
        'chroma': chroma,
        'tonnetz': librosa.feature.tonnetz(chroma=chroma, sr=rate),
    }.items():
        values.update({f'{name}|{index}': row for index, row in enumerate(rows)})
    return pd.DataFrame(values)


def test_frames_equal_librosa_on_the_stem_files(corpus: Path) -> None:
    checked = 0
    for track, stem, path in stem_files(corpus):
        table = pd.read_parquet(corpus / 'out' / 'features' / 'frames' / f'{track}.parquet')
        ours = table[table.stem == stem]
        expected = librosa_frames(path)
        np.testing.assert_allclose(ours.time, np.arange(len(expected)) * HOP / 44100, rtol=1e-12)
        values = ours.drop(columns=['track_id', 'stem', 'time']).to_numpy(np.float64)
        assert values.shape == (len(expected), 52)
        order = sorted(range(52), key=lambda column: _order(expected.columns[column]))
        reference = expected.to_numpy(np.float64)[:, order]
        # Values near zero (an mfcc of 0.0001 dB among tens of dB) are compared on the scale of their column.
        allowed = 1e-3 * np.abs(reference) + 1e-5 * np.abs(reference).max(axis=0)
        assert np.all(np.abs(values - reference) <= allowed)
        checked += 1
    assert checked == 8


def _order(column: str) -> tuple[int, int]:
    """Our columns' order: scalar features first as the issue lists them, then the rows of each."""
    name, _, row = column.partition('|')
    names = [
        'rms',
        'zero_crossing_rate',
        'spectral_centroid',
        'spectral_bandwidth',
        'spectral_rolloff',
        'spectral_flatness',
    ]
    names += ['spectral_contrast', 'mfcc', 'chroma', 'tonnetz', 'onset_strength']
    return names.index(name), int(row or 0)


def query(sql: str) -> duckdb.DuckDBPyRelation:
    relation = duckdb.sql(sql)
    assert relation is not None
    return relation


def test_track_rows_are_the_statistics_of_the_frames(corpus: Path) -> None:
    tracks = query(f"select * from '{corpus}/out/features/tracks-*.parquet'").df()
    assert len(tracks) == 8
    for _, row in tracks.iterrows():
        frames = pd.read_parquet(corpus / 'out' / 'features' / 'frames' / f'{row.track_id}.parquet')
        column = frames[frames.stem == row.stem].spectral_centroid.to_numpy(np.float64)
        expected = {
            'mean': column.mean(),
            'std': column.std(),
            'skew': scipy.stats.skew(column),
            'kurtosis': scipy.stats.kurtosis(column),
            'median': np.median(column),
            'min': column.min(),
            'max': column.max(),
        }
        for name, value in expected.items():
            assert row[f'spectral_centroid_{name}'] == pytest.approx(value, rel=1e-6), name


def test_loudness_and_energy_are_those_of_the_files(corpus: Path) -> None:
    tracks = query(f"select * from '{corpus}/out/features/tracks-*.parquet'").df().set_index(['track_id', 'stem'])
    energies: dict[str, dict[str, float]] = {}
    for track, stem, path in stem_files(corpus):
        wave, rate = soundfile.read(path)
        row = tracks.loc[(track, stem)]
        assert row.loudness_lufs == pytest.approx(pyloudnorm.Meter(rate).integrated_loudness(wave), abs=0.1)
        assert row.true_peak_dbtp >= 20 * np.log10(np.abs(wave).max()) - 0.01
        energies.setdefault(track, {})[stem] = float(np.sum(wave**2))
    for track, found in energies.items():
        assert tracks.loc[(track, 'mixture')].energy_share == pytest.approx(1)
        for stem, energy in found.items():
            assert tracks.loc[(track, stem)].energy_share == pytest.approx(energy / found['mixture'], rel=1e-4)


def test_fields_say_what_they_are(corpus: Path) -> None:
    schema = pq.read_schema(corpus / 'out' / 'features' / 'frames' / 'song 0.parquet')
    assert schema.field('spectral_centroid').metadata[b'unit'] == b'Hz'
    assert b'librosa' in schema.field('mfcc_01').metadata[b'definition']
    assert schema.metadata[b'stembeam_features_version'] == b'1'


def test_the_whole_corpus_is_one_query(corpus: Path) -> None:
    sql = f"select stem, count(*) as frames from '{corpus}/out/features/frames/*.parquet' group by stem order by stem"
    counts = dict(query(sql).fetchall())
    frames = sum(1 + round(seconds * 44100) // HOP for seconds in (7.3, 4.1))
    assert counts == dict.fromkeys(['drums', 'mixture', 'other', 'vocals'], frames)
