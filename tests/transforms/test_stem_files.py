from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from stembeam.model.errors import TrackError
from stembeam.model.features.extractor import FeatureExtractor
from stembeam.transforms.stem_files import extract_features, reblock, resample_stream, write_stem

from ..conftest import noise
from .jobs import make_job

SOUND = noise(2.3, level=0.4)  # beyond full scale here and there


def split(samples, sizes):
    """The samples in blocks of these sizes, whatever is left in one more."""
    start = 0
    for size in sizes:
        yield samples[start : start + size]
        start += size
    yield samples[start:]


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 40))
def test_reblock_gives_the_same_samples_in_blocks_of_one_size(sizes, size):
    samples = np.arange(2 * sum(sizes), dtype=np.float32).reshape(-1, 2)
    blocks = list(reblock(split(samples, sizes), size))
    assert all(len(block) == size for block in blocks[:-1])
    assert all(1 <= len(block) <= size for block in blocks[-1:])
    np.testing.assert_array_equal(np.concatenate([np.zeros((0, 2), np.float32), *blocks]), samples)


def test_reblock_reads_no_further_than_it_must():
    taken = []

    def blocks():
        for number in range(5):
            taken.append(number)
            yield np.zeros((10, 1), np.float32)

    assert len(next(reblock(blocks(), 15))) == 15
    assert taken == [0, 1]


@given(st.integers(1, 30_000), st.sampled_from([8000, 22050, 44101, 48000, 96000, 192_000]), st.integers(1, 7000))
def test_resampled_length_is_exact(num_samples, to_rate, block):
    samples = np.ones((num_samples, 1), np.float32)
    stream = resample_stream(split(samples, [block] * (num_samples // block)), 44100, to_rate, 1)
    assert sum(map(len, stream)) == -(-num_samples * to_rate // 44100)


@pytest.mark.parametrize('to_rate', [22050, 48000])
def test_a_stream_is_resampled_as_one(to_rate):
    pieces = resample_stream(reblock([SOUND], 1000), 44100, to_rate, 2)
    resampled = np.concatenate(list(pieces))
    whole = soxr.resample(SOUND, 44100, to_rate, quality='HQ')
    np.testing.assert_allclose(resampled[: len(whole)], whole[: len(resampled)], atol=1e-6)


def test_the_same_rate_is_the_same_samples():
    (block,) = resample_stream([SOUND], 44100, 44100, 2)
    assert block is SOUND


def features_of(samples, rate=44100):
    extractor = FeatureExtractor(rate, samples.shape[1])
    extractor.add(samples)
    return extractor.finish()


def same_features(found, expected):
    np.testing.assert_array_equal(found.frames, expected.frames)
    assert found.track_row() == expected.track_row()


def test_a_stem_has_its_features_as_written(tmp_path, tiny_model):
    path = tmp_path / 'x'
    stem = write_stem(split(SOUND, [1, 70_000]), str(path), make_job(tmp_path, tiny_model))
    steps = np.clip(np.rint(SOUND * 32768), -32768, 32767)
    written, rate = soundfile.read(path, dtype='int16')
    assert rate == 44100
    np.testing.assert_array_equal(written, steps)
    assert stem.num_samples == len(SOUND)
    assert stem.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert stem.clipped == np.count_nonzero(np.abs(SOUND) > 1) > 0
    assert stem.features is not None
    same_features(stem.features, features_of((steps / 32768).astype(np.float32)))
    assert stem.features.true_peak_dbtp < features_of(SOUND).true_peak_dbtp  # cut off, as in the file


def test_the_file_does_not_depend_on_the_blocks(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model, format='ogg', output_rate=48000)
    one = write_stem([SOUND], str(tmp_path / 'one'), job)
    other = write_stem(split(SOUND, [1, 2, 65_536, 0, 5000]), str(tmp_path / 'other'), job)
    assert one[:3] == other[:3]
    assert one.num_samples == -(-len(SOUND) * 48000 // 44100)
    same_features(one.features, other.features)


def test_no_features(tmp_path, tiny_model):
    assert write_stem([SOUND], str(tmp_path / 'x'), make_job(tmp_path, tiny_model, features=False)).features is None


@pytest.mark.parametrize('format', ['mp3', 'm4a', 'wma'])
def test_what_an_encoder_cannot_take_is_the_track_s_failure(tmp_path, tiny_model, format):
    job = make_job(tmp_path, tiny_model, format=format)
    with pytest.raises(TrackError, match=rf'peak of 2e\+05 times full scale.*{format}.*wav-float'):
        write_stem([np.array([[0.1, 2e5]] * 5000, np.float32)], str(tmp_path / 'x'), job)
    assert Path(tmp_path / 'x').stat().st_size == 0
    assert write_stem([SOUND * 100], str(tmp_path / 'x'), job).num_samples == len(SOUND)


def test_mixture_features_are_those_of_its_samples_at_the_output_s_rate(tmp_path, tiny_model):
    same_features(extract_features(split(SOUND, [5]), make_job(tmp_path, tiny_model)), features_of(SOUND))
    resampled = extract_features([SOUND], make_job(tmp_path, tiny_model, output_rate=22050))
    assert resampled.num_frames == 1 + -(-len(SOUND) // 2) // 1024
