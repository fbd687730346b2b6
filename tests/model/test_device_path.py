"""What a device computes for features, from the graph to the tables; its stems are test_engines' matter.

No GPU is needed: the same graph is compiled, by XLA as for a GPU, for the CPU.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from stembeam.model import backend
from stembeam.model.chunk_rows import has_rows, rows_of_track, rows_per_chunk, unknown_rows
from stembeam.model.chunk_separator import ChunkSeparator
from stembeam.model.chunks import ChunkGrid
from stembeam.model.features import FRAME_FEATURES, FeatureExtractor, StemFeatures, frames
from stembeam.model.features.frames import is_unknown
from stembeam.model.method import Method
from stembeam.transforms.audio_records import DecodedSegment
from stembeam.transforms.planning import split_track
from stembeam.transforms.separating import StemModelHandler, decode_segment
from stembeam.transforms.writing import write_segment

from ..conftest import TINY, random_weights
from ..transforms.jobs import make_job, plan, write_track
from .features.test_frames import ABSOLUTE, music

GRID = ChunkGrid.of(TINY)
TRACKS = {'long': music(220_000, 44100), 'short': music(30_000, 44100, seed=1)}


def features_of(samples: np.ndarray, known: np.ndarray | None = None, block: int = 50_000) -> StemFeatures:
    extractor = FeatureExtractor(44100, samples.shape[1], known)
    for start in range(0, len(samples), block):
        extractor.add(samples[start : start + block])
    return extractor.finish()


def assert_equal_frames(found: np.ndarray, expected: np.ndarray) -> None:
    """The tolerance that is promised: 1e-4 of the value, and where values cross zero what librosa is compared with."""
    assert found.shape == expected.shape
    for column, feature in enumerate(FRAME_FEATURES):
        absolute = next((value for name, value in ABSOLUTE.items() if feature.name.startswith(name)), 0.0)
        np.testing.assert_allclose(
            found[:, column], expected[:, column], rtol=1e-4, atol=absolute, err_msg=feature.name
        )


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, 'find_gpu', lambda: 'a pretended GPU')


@pytest.mark.usefixtures('pretended_gpu')
def test_tables_with_rows_of_a_device_are_the_hosts(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tracks in one batch, 16 bits: the written files, by the host alone, give the same tables."""
    job = make_job(tmp_path / 'out', tiny_model, format='flac', batch_size=3)
    batch = []
    for name, sound in TRACKS.items():
        planned = plan(write_track(tmp_path / f'{name}.wav', sound), job)
        (decoded,) = decode_segment(split_track(planned, job)[0], job)
        assert isinstance(decoded, DecodedSegment)
        batch.append(decoded)
    handler = StemModelHandler(job)
    separated = list(handler.run_inference(batch, handler._load()))
    computed: list[int] = []
    by_host = frames.spectral_rows

    def counting(some: np.ndarray, *rest: Any) -> np.ndarray:
        computed.append(len(some))
        return by_host(some, *rest)

    monkeypatch.setattr(frames, 'spectral_rows', counting)
    for segment in separated:
        list(write_segment(segment, job))
    total = 4 * sum(1 + len(sound) // 1024 for sound in TRACKS.values())
    assert sum(computed) < 0.2 * total  # seams, ends, doubtful rolloffs: chunks of this model are short
    monkeypatch.setattr(frames, 'spectral_rows', by_host)
    for name, sound in TRACKS.items():
        table = pq.read_table(tmp_path / f'out/features/frames/{name}.parquet').to_pandas()
        for stem in ('vocals', 'drums', 'other', 'mixture'):
            path = tmp_path / f'out/stems/{name}/{stem}.flac'
            written = sound if stem == 'mixture' else soundfile.read(path, dtype='float32')[0]
            found = table[table.stem == stem][[feature.name for feature in FRAME_FEATURES]].to_numpy()
            assert_equal_frames(found, features_of(written).frames)


@pytest.mark.usefixtures('pretended_gpu')
@pytest.mark.parametrize('overlap', [0.0, 0.25])
def test_rows_of_float_stems_however_chunks_are_batched(overlap: float) -> None:
    method = Method(overlap=overlap, stems=('drums',), residual=True)
    grid = ChunkGrid.of(TINY, overlap)
    track = TRACKS['long']
    run = np.zeros((grid.samples_of(grid.num_chunks(len(track))), 2), np.float32)
    run[grid.lead : grid.lead + len(track)] = track
    tables = []
    for batch_size in (1, 3):
        separator = ChunkSeparator(TINY, random_weights(TINY), batch_size, method, with_rows=True)
        ((stems, rows),) = separator.separate_with_rows([run])
        assert rows is not None
        known = rows_of_track(rows, grid, len(track))
        assert known.shape[:2] == (3, 1 + len(track) // 1024)
        for signal, samples in zip(known, (*stems, run), strict=True):
            assert is_unknown(signal)[[0, -1]].all()
            assert is_unknown(signal).mean() < 0.2 + overlap
            samples = samples[grid.lead : grid.lead + len(track)]
            found, expected = features_of(samples, signal), features_of(samples)
            assert_equal_frames(found.frames, expected.frames)
            np.testing.assert_allclose(found.statistics, expected.statistics, rtol=1e-3, atol=1e-3)
            assert found.loudness_lufs == expected.loudness_lufs
            tables.append(found.frames)
    for one, other in zip(tables[:3], tables[3:], strict=True):
        assert_equal_frames(one, other)


def test_rows_are_asked_for_only_where_they_are_those_of_the_files(tmp_path: Path, tiny_model: Path) -> None:
    def with_rows(**options: Any) -> bool:
        return StemModelHandler(make_job(tmp_path / 'out', tiny_model, **options))._with_rows

    assert with_rows(format='flac')
    assert with_rows(format='ogg')
    assert with_rows(format='wav-float')
    assert not with_rows(format='flac24')
    assert not with_rows(format='flac', features=False)
    assert not with_rows(format='flac', output_rate=22050)


def test_chunks_that_know_no_frame() -> None:
    assert has_rows(TINY, GRID)
    assert rows_per_chunk(GRID) == 60
    assert not has_rows(TINY, dataclasses.replace(GRID, hop=GRID.tail))  # chunks that overlap by more than half
    assert not has_rows(TINY, dataclasses.replace(GRID, hop=65_000))  # frames that chunks do not begin with
    assert is_unknown(unknown_rows(1, 5000)[0]).tolist() == [True] * 5
