from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stembeam.model.features.columns import FRAME_FEATURES, TRACK_FEATURES
from stembeam.model.features.extractor import FeatureExtractor
from stembeam.transforms.feature_tables import MIXTURE, FrameTable, printable, track_rows, tracks_table

from ..conftest import noise


def features_of(samples, rate=44100):
    extractor = FeatureExtractor(rate, samples.shape[1])
    extractor.add(samples)
    return extractor.finish()


@pytest.fixture(scope='module')
def sounds():
    return {
        'vocals': features_of(noise(1)),
        'drums': features_of(noise(1, seed=1)),
        MIXTURE: features_of(noise(1, seed=2)),
    }


@pytest.fixture(scope='module')
def frames(tmp_path_factory, sounds):
    """The file of a frame table."""
    path = str(tmp_path_factory.mktemp('frames') / 'song.parquet')
    with FrameTable(path, 'live/Søng \udcff', 44100) as table:
        for stem, features in sounds.items():
            table.add(stem, features)
    return path


def test_a_frame_table_explains_itself(frames):
    schema = pq.read_schema(frames)
    assert schema.names == ['track_id', 'stem', 'time', *(feature.name for feature in FRAME_FEATURES)]
    assert schema.metadata[b'stembeam_features_version'] == b'1'
    assert schema.field('time').metadata[b'unit'] == b's'
    centroid = schema.field('spectral_centroid').metadata
    assert centroid[b'unit'] == b'Hz'
    assert centroid[b'definition'].startswith(b'librosa.feature.spectral_centroid(')
    assert {field.type for field in list(schema)[3:]} == {pa.float32()}


def test_pandas_reads_the_frames(frames, sounds):
    table = pd.read_parquet(frames)
    assert len(table) == 3 * 44  # 44 100 samples, one frame each 1024 and one at 0
    assert set(table.track_id) == {'live/Søng \\udcff'}
    assert list(dict.fromkeys(table.stem)) == ['vocals', 'drums', MIXTURE]
    drums = table[table.stem == 'drums']
    np.testing.assert_allclose(drums.time, np.arange(44) * 1024 / 44100)
    np.testing.assert_array_equal(drums.iloc[:, 3:].to_numpy(np.float32), sounds['drums'].frames)


def test_duckdb_reads_the_frames(frames, sounds):
    query = 'SELECT stem, count(*), avg(rms), min(time), max(time) FROM read_parquet(?) GROUP BY stem ORDER BY stem'
    rows = duckdb.execute(query, [frames]).fetchall()
    assert [row[:2] for row in rows] == [('drums', 44), (MIXTURE, 44), ('vocals', 44)]
    for stem, _, rms, first, last in rows:
        assert rms == pytest.approx(sounds[stem].statistics[0, 0], rel=1e-6)
        assert (first, last) == (0, pytest.approx(43 * 1024 / 44100))


def test_long_tables_are_written_in_groups(tmp_path):
    features = features_of(noise(2 * 16_384 * 1024 / 8000 + 1, 8000, channels=1), 8000)
    with FrameTable(str(tmp_path / 'a.parquet'), 'a', 8000) as table:
        table.add('vocals', features)
    file = pq.ParquetFile(tmp_path / 'a.parquet')
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [16_384, 16_384, features.num_frames - 2 * 16_384]
    np.testing.assert_allclose(file.read(['time'])['time'], np.arange(features.num_frames) * 0.128)
    assert file.read(['spectral_contrast_7'])['spectral_contrast_7'].null_count == features.num_frames  # beyond Nyquist


def test_short_stems_share_a_row_group(frames):
    assert pq.ParquetFile(frames).num_row_groups == 1


def test_rows_of_the_track_table(sounds):
    rows = track_rows(sounds)
    assert list(rows) == ['vocals', 'drums', MIXTURE]
    names = [*(feature.name for feature in TRACK_FEATURES), 'energy_share']
    vocals = dict(zip(names, rows['vocals'], strict=True))
    assert vocals['energy_share'] == sounds['vocals'].energy / sounds[MIXTURE].energy
    assert vocals['rms_mean'] == pytest.approx(np.mean(sounds['vocals'].frames[:, 0]))
    assert rows[MIXTURE][-1] == 1.0


def test_what_is_undefined_is_none():
    silence, click = np.zeros((4410, 2), np.float32), np.zeros((4410, 2), np.float32)
    click[100] = 0.5
    names = [*(feature.name for feature in TRACK_FEATURES), 'energy_share']
    rows = track_rows({'vocals': features_of(click), MIXTURE: features_of(silence)})
    silent, clicks = (dict(zip(names, rows[stem], strict=True)) for stem in (MIXTURE, 'vocals'))
    undefined = ('loudness_lufs', 'true_peak_dbtp', 'energy_share')
    assert [silent[name] for name in undefined] == [None, None, None]
    assert (silent['energy'], silent['rms_max']) == (0, 0)
    assert clicks['loudness_lufs'] is None  # shorter than 400 ms
    assert clicks['energy_share'] is None  # of a silent mixture
    assert clicks['true_peak_dbtp'] == pytest.approx(-6, abs=0.5)


def test_the_track_table_holds_records_of_all_kinds(tmp_path, sounds):
    rows = track_rows(sounds)
    rows['drums'][0] = None
    records: list[dict[str, Any]] = [
        {'track_id': 'a', 'features': rows},
        {'track_id': 'without', 'features': None},
        {'track_id': 'b\udcff', 'features': {MIXTURE: rows[MIXTURE]}},
    ]
    table = tracks_table(records)
    assert list(zip(table['track_id'].to_pylist(), table['stem'].to_pylist(), strict=True)) == [
        ('a', 'vocals'),
        ('a', 'drums'),
        ('a', MIXTURE),
        ('b\\udcff', MIXTURE),
    ]
    assert table['loudness_lufs'].to_pylist()[1] is None
    assert table['energy_share'].to_pylist()[2:] == [1.0, 1.0]
    pq.write_table(table, tmp_path / 'tracks.parquet')
    schema = pq.read_schema(tmp_path / 'tracks.parquet')
    assert schema.field('loudness_lufs').metadata[b'unit'] == b'LUFS'
    assert b'null where the mixture is silent' in schema.field('energy_share').metadata[b'definition']
    empty = tracks_table([])
    assert (len(empty), empty.schema) == (0, table.schema)


def test_printable():
    assert printable('Søng 😀\n') == 'Søng 😀\n'
    assert printable('a\udcff\ud800') == 'a\\udcff\\ud800'
