"""Filters of long tracks from the sums of their segments; what the sums are made of is for the tests of the model."""

from __future__ import annotations

import dataclasses

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to

from stembeam.model.errors import TrackError
from stembeam.model.method import Method
from stembeam.model.separator import Separator
from stembeam.model.wiener_records import WienerFilter, WienerSums
from stembeam.transforms.audio_records import DecodedSegment, MeasuredSegment
from stembeam.transforms.measuring import MeasureTracks, MeasuringHandler, decode_unmeasured, make_filter, store_sums
from stembeam.transforms.planning import is_long, split_track
from stembeam.transforms.records import Part, Segment
from stembeam.transforms.separating import StemModelHandler, decode_segment
from stembeam.transforms.wiener_files import (
    filter_file,
    has_filter,
    has_sums,
    read_filter,
    read_sums,
    sums_file,
    write_filter,
    write_sums,
)

from ..conftest import noise
from .jobs import local_pipeline, make_job, plan, write_track

SOUND = noise(5)  # four chunks
SHAPE = (3, 4, 1024)  # stems, terms, bins


@pytest.fixture(params=['disk', 'memory'])
def out(request, tmp_path):
    return tmp_path / 'out' if request.param == 'disk' else f'memory://{tmp_path.name}/out'


def filtered_job(out, model, iterations=1, **options):
    return make_job(out, model, method=Method(mwf_iterations=iterations), chunks_per_segment=1, **options)


@pytest.fixture
def planned(tmp_path, tiny_model):
    return plan(write_track(tmp_path / 'a.wav', SOUND), filtered_job(tmp_path / 'out', tiny_model))


def some_sums(seed):
    return WienerSums(np.random.default_rng(seed).uniform(0, 1, SHAPE), 3.0 + seed)


def store_all(segments, iteration, job):
    for segment in segments:
        write_sums(segment, iteration, some_sums(segment.index), 0.5, job)


def test_sums_and_filters_are_read_as_they_were_written(out, tiny_model, planned):
    job = filtered_job(out, tiny_model)
    segment = split_track(planned, job)[2]
    assert not has_sums(segment, 1, job)
    assert not has_filter(planned, 1, job)
    write_sums(segment, 1, some_sums(7), 1.25, job)
    sums, seconds = read_sums(segment, 1, job)
    np.testing.assert_array_equal(sums.covariances, some_sums(7).covariances)
    assert (sums.peak, seconds) == (10.0, 1.25)
    made = WienerFilter.from_sums(some_sums(30))
    write_filter(planned, 1, made, 2.5, job)
    found, seconds = read_filter(planned, 1, job)
    np.testing.assert_array_equal(found.covariances, made.covariances)
    assert (found.scale, seconds) == (3.3, 2.5)
    assert has_sums(segment, 1, job)
    assert has_filter(planned, 1, job)
    job.storage.write_bytes(sums_file(segment, 3), b'')  # a power cut
    assert not has_sums(segment, 3, job)
    # Others than these are others; and who overwrites wants neither.
    assert not has_sums(segment, 2, job)
    assert not has_filter(planned._replace(fingerprint='0' * 64), 1, job)
    assert not has_filter(planned, 1, dataclasses.replace(job, overwrite=True))
    assert not has_sums(segment, 1, dataclasses.replace(job, overwrite=True))
    cut_otherwise = dataclasses.replace(job, chunks_per_segment=2)
    assert not any(has_sums(segment, 1, job) for segment in split_track(planned, cut_otherwise))


def test_a_filter_is_made_of_all_segments(out, tiny_model, planned):
    job = filtered_job(out, tiny_model)
    segments = split_track(planned, job)
    store_all(segments, 1, job)
    assert list(make_filter(('a', [*reversed(segments), segments[1]]), job, 1)) == [planned]
    total = some_sums(0).plus(some_sums(1)).plus(some_sums(2)).plus(some_sums(3))
    found, seconds = read_filter(planned, 1, job)
    np.testing.assert_array_equal(found.covariances, WienerFilter.from_sums(total).covariances)
    assert (found.scale, seconds) == (1.0, 2.0)


def test_an_iteration_goes_on_from_the_former(tmp_path, tiny_model, planned):
    job = filtered_job(tmp_path / 'out', tiny_model, 2)
    segments = split_track(planned, job)
    former = WienerFilter.from_sums(some_sums(20))
    write_filter(planned, 1, former, 1.0, job)
    (decoded,) = decode_unmeasured(segments[0], job, 2)
    assert isinstance(decoded, DecodedSegment)
    assert decoded.wiener is not None
    np.testing.assert_array_equal(decoded.wiener.covariances, former.covariances)
    store_all(segments, 2, job)
    list(make_filter(('a', segments), job, 2))
    found, seconds = read_filter(planned, 2, job)
    assert (found.iterations, found.scale, seconds) == (2, 2.3, 3.0)
    np.testing.assert_array_equal(found.covariances[:1], former.covariances)


def test_a_track_with_a_segment_missing_has_no_filter(tmp_path, tiny_model, planned):
    job = filtered_job(tmp_path / 'out', tiny_model)
    segments = split_track(planned, job)
    store_all(segments, 1, job)
    assert list(make_filter(('a', segments[1:]), job, 1)) == []
    assert job.storage.size(filter_file(planned, 1)) is None
    assert job.storage.size(sums_file(segments[1], 1)) is None  # no use to keep them


def test_what_was_measured_is_not_decoded_again(tmp_path, tiny_model, planned):
    job = filtered_job(tmp_path / 'out', tiny_model)
    first, second = split_track(planned, job)[:2]
    write_sums(first, 1, some_sums(0), 0.5, job)
    assert list(decode_unmeasured(first, job, 1)) == [first]
    (decoded,) = decode_unmeasured(second, job, 1)
    assert isinstance(decoded, DecodedSegment)
    assert decoded.wiener is None


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_sums_that_are_no_numbers_are_the_track_s_failure(tmp_path, tiny_model, planned, value):
    job = filtered_job(tmp_path / 'out', tiny_model)
    segment = split_track(planned, job)[0]
    for sums in (WienerSums(np.full(SHAPE, value), 1.0), WienerSums(np.ones(SHAPE), value)):
        with pytest.raises(TrackError, match=r'a\.wav: the Wiener filter comes out with NaN or infinity: .*scale it'):
            list(store_sums(MeasuredSegment(segment, sums, 1.0), job, 1))
    assert not has_sums(segment, 1, job)


def test_segments_of_long_tracks_get_their_filter(tmp_path, tiny_model, planned):
    job = filtered_job(tmp_path / 'out', tiny_model)
    write_filter(planned, 1, WienerFilter.from_sums(some_sums(0)), 1.5, job)
    first, second = (next(iter(decode_segment(segment, job))) for segment in split_track(planned, job)[:2])
    assert not isinstance(first, Part)
    assert not isinstance(second, Part)
    assert first.wiener is not None
    assert second.wiener is not None
    assert first.seconds['wiener'] == 1.5
    assert 'wiener' not in second.seconds  # counted once for the track
    whole = dataclasses.replace(job, chunks_per_segment=4)
    assert not is_long(planned, whole)
    (decoded,) = decode_segment(split_track(planned, whole)[0], whole)
    assert isinstance(decoded, DecodedSegment)
    assert decoded.wiener is None


class FakeModel:
    """Gives numbers that tell which run got which filter."""

    def separate_with_rows(self, runs, filters=None):
        return [
            (np.full((1, len(run), 2), run[0, 0] + (0 if filters is None else filters[number].scale)), None)
            for number, run in enumerate(runs)
        ]


def test_whole_tracks_and_segments_in_one_batch(tmp_path, tiny_model, planned):
    handler = StemModelHandler(filtered_job(tmp_path / 'out', tiny_model, batch_size=8))
    segment = split_track(planned, handler.job)[0]
    batch = [
        DecodedSegment(
            segment, np.full((5, 2), 1.0 + n, np.float32), None, {}, WienerFilter(np.ones(1), scale) if scale else None
        )
        for n, scale in enumerate([None, 10.0, None, 20.0, 30.0])
    ]
    found = [separated.stems[0, 0, 0] for separated in handler.run_inference(batch, FakeModel())]
    assert found == [1, 12, 3, 24, 35]


def test_the_model_of_one_step_is_that_of_another(tmp_path, tiny_model):
    job = filtered_job(tmp_path / 'out', tiny_model)
    model = StemModelHandler(job).load_model()
    assert MeasuringHandler(job).load_model() is model
    other = dataclasses.replace(job, streams=3, overwrite=True, format='flac')
    assert StemModelHandler(other).load_model() is model
    assert StemModelHandler(dataclasses.replace(job, method=Method())).load_model() is not model


def test_measure_tracks(tmp_path, tiny_model):
    """A track that is measured, one whose filter is there, one that cannot be read to its end."""
    job = filtered_job(tmp_path / 'out', tiny_model)
    new, ready, short = (plan(write_track(tmp_path / f'{name}.wav', SOUND), job) for name in ('new', 'ready', 'short'))
    write_filter(ready, 1, WienerFilter.from_sums(some_sums(0)), 1.0, job)
    write_track(tmp_path / 'short.wav', SOUND[: 3 * 44100])
    with local_pipeline() as pipeline:
        measured = pipeline | beam.Create([new, ready, short]) | MeasureTracks(job, 1)
        names = measured.good | 'Names' >> beam.Map(lambda planned: planned.track.track_id)
        assert_that(names, equal_to(['new', 'ready']), label='good')
        rows = measured.failures | 'Rows' >> beam.Map(lambda f: (f.track_id, f.stage, f.error))
        assert_that(rows | beam.Distinct(), equal_to([('short', 'decode', 'TrackError')]), label='failures')
    chunks = Separator.load(tiny_model, mwf=True).chunks
    run = np.zeros((chunks.grid.samples_of(4), 2), np.float32)
    run[chunks.grid.lead : chunks.grid.lead + len(SOUND)] = SOUND
    expected = WienerFilter.from_sums(chunks.wiener_sums(run))
    found, _ = read_filter(new, 1, job)
    np.testing.assert_allclose(found.covariances, expected.covariances, rtol=1e-9, atol=1e-12)
    assert found.scale == expected.scale
    assert [isinstance(item, Segment) for item in split_track(new, job)] == [True] * 4
