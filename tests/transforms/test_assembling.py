from __future__ import annotations

import json

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from stembeam.transforms.assembling import AssembleTracks, assemble_track, stem_blocks
from stembeam.transforms.completion import read_record
from stembeam.transforms.encoding import quantise
from stembeam.transforms.records import Completed
from stembeam.transforms.writing import write_part, write_segment

from ..conftest import noise
from .jobs import local_pipeline, make_job, plan, separate_by_chance, write_track

HOP, TAIL, LEAD = 65536, 3072, 4096  # of the tiny model, in samples
SEAM = 3 * HOP - LEAD  # where chunk 3 begins
SOUND = noise(6.5)


@pytest.mark.parametrize('num_samples', [SEAM + 1, SEAM + TAIL // 2, SEAM + TAIL, SEAM + TAIL + 1, 4 * HOP - LEAD])
@pytest.mark.parametrize('chunks_per_segment', [1, 2, 3])
@pytest.mark.parametrize('format', ['wav', 'wav-float', 'mp3'])
def test_parts_are_the_whole_track_bit_for_bit(tmp_path, tiny_model, num_samples, chunks_per_segment, format):
    job = make_job(tmp_path / 'out', tiny_model, format=format, chunks_per_segment=chunks_per_segment)
    planned = plan(write_track(tmp_path / 'a.wav', SOUND[:num_samples]), job)
    whole, separated = separate_by_chance(planned, job)
    assert len(separated) == {1: 4, 2: 2, 3: 2}[chunks_per_segment]
    parts = [write_part(s, job) for s in separated]
    for number, name in enumerate(job.instruments):
        joined = np.concatenate(list(stem_blocks(parts, name, num_samples, job)))
        np.testing.assert_array_equal(quantise(joined, job.stem_format), quantise(whole[number], job.stem_format))


@pytest.mark.parametrize('end', [HOP - LEAD, HOP - LEAD + 5, 2 * HOP - LEAD - 1, 2 * HOP - LEAD, 2 * HOP - LEAD + TAIL])
def test_a_track_that_ends_early_has_empty_parts(tmp_path, tiny_model, end):
    job = make_job(tmp_path / 'out', tiny_model, format='wav-float', chunks_per_segment=1)
    planned = plan(write_track(tmp_path / 'a.wav', SOUND), job)
    whole, separated = separate_by_chance(planned, job)
    chunks = -(-(end + LEAD) // HOP)
    parts = []
    for s in separated:
        decoded = s.decoded._replace(end=end if s.decoded.segment.index == chunks - 1 else None)
        if decoded.segment.index >= chunks:
            segment = decoded.segment._replace(num_chunks=0)
            start = segment.first_chunk * HOP - LEAD
            decoded = decoded._replace(segment=segment, samples=decoded.samples[:0], end=start)
            s = s._replace(stems=s.stems[:, :0])
        parts.append(write_part(s._replace(decoded=decoded), job))
    # What chunk after chunk adds up to where no later chunk follows.
    expected = separate_by_chance(planned._replace(num_samples=end), job)[0]
    for number, name in enumerate(job.instruments):
        joined = np.concatenate(list(stem_blocks(parts, name, end, job)))
        np.testing.assert_array_equal(joined, expected[number])
    assert whole.shape[1] > end


def finished(tmp_path, tiny_model, out, order, **options):
    """The record and frame table of a track that is made of parts, or at once if `order` is None."""
    job = make_job(tmp_path / out, tiny_model, **options)
    planned = plan(write_track(tmp_path / 'a.wav', SOUND), job)
    _, separated = separate_by_chance(planned, job)
    if order is None:
        (done,) = write_segment(separated[0], job)
    else:
        parts = [write_part(s, job) for s in separated]
        (done,) = assemble_track(('a', [parts[index] for index in order]), job)
        assert not (tmp_path / out / '.stembeam' / 'parts' / parts[0].folder.split('/')[2]).exists()
    assert isinstance(done, Completed)
    assert done.is_new
    return read_record(job.storage, done.record), pq.read_table(tmp_path / out / 'features' / 'frames' / 'a.parquet')


@pytest.mark.parametrize('options', [{'format': 'flac'}, {'format': 'ogg', 'output_rate': 48000}])
def test_an_assembled_track_equals_one_that_was_made_at_once(tmp_path, tiny_model, options):
    expected, expected_frames = finished(tmp_path, tiny_model, 'once', None, **options)
    for out, order in (('in-order', [0, 1, 2, 3, 4]), ('any-order-and-twice', [3, 0, 4, 0, 2, 1])):
        record, frames = finished(tmp_path, tiny_model, out, order, chunks_per_segment=1, **options)
        for key in ('stems', 'features', 'files', 'num_samples', 'duration'):
            assert record[key] == expected[key], key
        assert frames.equals(expected_frames)
        assert record['seconds']['decode'] == 2.5  # half a second in each part
    assert expected['num_samples'] == len(SOUND)


def test_features_of_the_mixture_are_those_of_the_input(tmp_path, tiny_model):
    _, frames = finished(tmp_path, tiny_model, 'out', [0, 1, 2, 3, 4], chunks_per_segment=1)
    table = frames.to_pandas()
    mixture = table[table.stem == 'mixture']
    padded = np.pad(SOUND.mean(axis=1), 1024)
    rms = [np.sqrt(np.mean(padded[i * 1024 : i * 1024 + 2048] ** 2)) for i in range(len(mixture))]
    np.testing.assert_allclose(mixture.rms, rms, rtol=1e-5)


def test_a_track_of_which_a_segment_failed_is_not_made(tmp_path, tiny_model):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=1)
    planned = plan(write_track(tmp_path / 'a.wav', SOUND), job)
    _, separated = separate_by_chance(planned, job)
    parts = [write_part(s, job) for s in separated]
    assert list(assemble_track(('a', parts[:-1]), job)) == []
    assert not (tmp_path / 'out' / 'stems').exists()
    assert not (tmp_path / 'out' / parts[0].folder).exists()


def test_a_track_that_is_assembled_twice(tmp_path, tiny_model):
    """As a runner does that lost the answer; only a track that is complete may do without its parts."""
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=1)
    planned = plan(write_track(tmp_path / 'a.wav', SOUND), job)
    parts = [write_part(s, job) for s in separate_by_chance(planned, job)[1]]
    first = list(assemble_track(('a', parts), job))
    assert list(assemble_track(('a', parts), job)) == first
    assert first[0].is_new
    next((tmp_path / 'out' / 'stems').rglob('*.wav')).unlink()
    with pytest.raises(FileNotFoundError):
        list(assemble_track(('a', parts), job))


def test_assemble_tracks(tmp_path, tiny_model):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=2)
    parts = []
    for name in ('whole', 'lacking', 'gone'):
        planned = plan(write_track(tmp_path / f'{name}.wav', SOUND[:220_500]), job)
        made = [write_part(s, job) for s in separate_by_chance(planned, job)[1]]
        parts += made[1:] if name == 'lacking' else made[::-1]
    (tmp_path / 'gone.wav').unlink()  # its mixture cannot be read again
    with local_pipeline() as pipeline:
        assembled = pipeline | beam.Create(parts) | AssembleTracks(job)
        assert_that(assembled.good | beam.Map(lambda done: (done.track_id, done.is_new)), equal_to([('whole', True)]))
        rows = assembled.failures | 'Rows' >> beam.Map(lambda f: (f.track_id, f.stage, f.error))
        assert_that(rows, equal_to([('gone', 'assemble', 'TrackError')]), label='failures')
    assert (tmp_path / 'out' / 'stems' / 'whole' / 'vocals.wav').exists()
    assert not (tmp_path / 'out' / 'stems' / 'gone').exists()
    assert json.dumps([part.seconds for part in parts])  # plain data
