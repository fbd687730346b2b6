from __future__ import annotations

import threading
import weakref

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.ml.inference.base import RunInference
from apache_beam.testing.util import assert_that, equal_to

from stembeam.model.crew import CREW
from stembeam.model.errors import RunError, TrackError
from stembeam.transforms import separating
from stembeam.transforms.audio_records import DecodedSegment, SeparatedSegment
from stembeam.transforms.guarding import Guarded
from stembeam.transforms.model_handler import BatchSegments, SegmentHandler, chunk_weight, load_ahead
from stembeam.transforms.planning import split_track
from stembeam.transforms.records import Part, Segment
from stembeam.transforms.separating import StemModelHandler, decode_segment
from stembeam.transforms.writing import write_part, write_segment

from ..conftest import noise
from .jobs import local_pipeline, make_job, plan, write_track

HOP, TAIL, LEAD = 65536, 3072, 4096  # of the tiny model, in samples
SOUND = noise(5)  # 220 500 samples: chunks 0 to 3, the last one ends at 258 048


def padded(samples, chunks):
    """A track as its first `chunks` chunks read it: zeros around it."""
    run = np.zeros((chunks * HOP + TAIL, 2), np.float32)
    length = min(len(samples), len(run) - LEAD)
    run[LEAD : LEAD + length] = samples[:length]
    return run


def decode(segment, job):
    (decoded,) = decode_segment(segment, job)
    assert isinstance(decoded, DecodedSegment)
    return decoded


def check(decoded, samples, first_chunk, chunks, end):
    """That a segment has `chunks` chunks with the samples of the track that they read, and knows the track's end."""
    assert decoded.chunks == decoded.segment.num_chunks == chunks
    assert decoded.end == end
    assert decoded.samples.dtype == np.float32
    expected = padded(samples, first_chunk + chunks)[first_chunk * HOP :] if chunks else np.zeros((0, 2))
    np.testing.assert_array_equal(decoded.samples, expected)


@pytest.fixture
def track(tmp_path):
    return write_track(tmp_path / 'a.wav', SOUND)


@pytest.mark.parametrize(
    ('chunks_per_segment', 'expected'),
    [(4, [(0, 4, len(SOUND))]), (2, [(0, 2, None), (2, 2, len(SOUND))]), (3, [(0, 2, None), (2, 2, len(SOUND))])],
)
def test_segments_read_what_their_chunks_need(tmp_path, tiny_model, track, chunks_per_segment, expected):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=chunks_per_segment)
    segments = split_track(plan(track, job), job)
    for segment, (first_chunk, chunks, end) in zip(segments, expected, strict=True):
        check(decode(segment, job), SOUND, first_chunk, chunks, end)


def test_a_single_sample_is_one_chunk(tmp_path, tiny_model):
    job = make_job(tmp_path / 'out', tiny_model)
    planned = plan(write_track(tmp_path / 'b.wav', SOUND[:1]), job)
    check(decode(split_track(planned, job)[0], job), SOUND[:1], 0, 1, 1)


@pytest.mark.parametrize('end', [2 * HOP - LEAD, 2 * HOP - LEAD + 1, 2 * HOP - LEAD + TAIL, 2 * HOP - 1])
def test_ends_around_the_border_of_two_segments(tmp_path, tiny_model, end):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=1)
    planned = plan(write_track(tmp_path / 'b.wav', SOUND[:end]), job)
    segments = split_track(planned, job)
    assert len(segments) == (2 if end == 2 * HOP - LEAD else 3)
    for segment in segments:
        is_last = segment.index == len(segments) - 1
        check(decode(segment, job), SOUND[:end], segment.index, 1, end if is_last else None)


def test_offset_and_duration_cut_the_track(tmp_path, tiny_model, track):
    job = make_job(tmp_path / 'out', tiny_model, offset=0.25, duration=2.0, chunks_per_segment=1)
    cut = SOUND[11025 : 11025 + 88200]
    segments = split_track(plan(track, job), job)
    check(decode(segments[0], job), cut, 0, 1, None)
    check(decode(segments[1], job), cut, 1, 1, 88200)


@pytest.mark.parametrize('promised', [HOP, len(SOUND) - 1, len(SOUND) + 1, len(SOUND) + 3 * HOP])
def test_the_end_is_the_file_s_own_whatever_its_header_says(tmp_path, tiny_model, track, promised):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=1)
    planned = plan(track, job)._replace(num_samples=promised)
    segments = split_track(planned, job)
    decoded = [decode(segment, job) for segment in segments]
    chunks = [d.chunks for d in decoded]
    # The track has four chunks. The last segment takes what goes on, and segments beyond the end are empty.
    assert chunks == {2: [1, 3], 4: [1, 1, 1, 1], 7: [1, 1, 1, 1, 0, 0, 0]}[len(segments)]
    assert min(d.end for d in decoded if d.end is not None) == len(SOUND)
    for d in decoded:
        if d.chunks:
            check(d, SOUND, d.segment.first_chunk, d.chunks, d.end)
        else:
            assert len(d.samples) == 0


def test_a_file_that_goes_on_and_on_is_refused(tmp_path, tiny_model, track, monkeypatch):
    monkeypatch.setattr(separating, 'MOST_UNPROMISED_SECONDS', 3)
    job = make_job(tmp_path / 'out', tiny_model)
    planned = plan(track, job)._replace(num_samples=88200)
    with pytest.raises(TrackError, match='goes on for more than 3 s beyond the 2 s'):
        decode(split_track(planned, job)[0], job)
    asked = make_job(tmp_path / 'out', tiny_model, duration=2.0)  # then the end is the user's
    check(decode(split_track(planned, asked)[0], asked), SOUND[:88200], 0, 2, 88200)


def test_a_file_without_samples_after_all(tmp_path, tiny_model, track):
    job = make_job(tmp_path / 'out', tiny_model, allow_truncated=True)
    planned = plan(track, job)
    beyond = planned._replace(start=len(SOUND) + 5)
    with pytest.raises(TrackError, match='no samples could be decoded'):
        decode(split_track(beyond, job)[0], job)


def test_a_part_that_is_there_is_not_decoded_again(tmp_path, tiny_model, track):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=1)
    planned = plan(track, job)
    first, second = split_track(planned, job)[:2]
    decoded = decode(first, job)
    part = write_part(SeparatedSegment(decoded, np.zeros((3, HOP + TAIL, 2), np.float32)), job)
    assert list(decode_segment(first, job)) == [part]
    assert isinstance(part, Part)
    decode(second, job)
    decode(first, make_job(tmp_path / 'out', tiny_model, chunks_per_segment=1, overwrite=True))


LISTED = {'long': SOUND, 'short': noise(1, seed=1), 'shorter': noise(0.01, seed=2)}


@pytest.fixture(scope='module')
def whole_tracks(tiny_model):
    """Stems of whole tracks, (stems, samples, channels), by name."""
    from stembeam.model.separator import Separator

    separator = Separator.load(tiny_model)
    return {name: np.stack(list(separator.separate(sound, 44100).values())) for name, sound in LISTED.items()}


def save(separated, folder):
    decoded = separated.decoded
    name = f'{decoded.segment.planned.track.track_id}-{decoded.segment.index}.npz'
    np.savez(folder / name, stems=separated.stems, chunks=decoded.chunks, **decoded.seconds)


@pytest.mark.parametrize('batch_size', [1, 3])
def test_batches_give_every_segment_its_own_stems(tmp_path, tiny_model, whole_tracks, batch_size):
    job = make_job(tmp_path / 'out', tiny_model, batch_size=batch_size, chunks_per_segment=2)
    segments: list[Segment] = []
    for name, sound in LISTED.items():
        segments += split_track(plan(write_track(tmp_path / f'{name}.wav', sound), job), job)
    with local_pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create(segments)
            | beam.FlatMap(decode_segment, job).with_output_types(DecodedSegment)
            | BatchSegments(job)
            | RunInference(StemModelHandler(job)).with_output_types(SeparatedSegment)
            | beam.Map(save, tmp_path)
        )
    found = sorted(path.stem for path in tmp_path.glob('*.npz'))
    assert found == ['long-0', 'long-1', 'short-0', 'shorter-0']
    for stored in found:
        name, index = stored.split('-')
        separated = np.load(tmp_path / f'{stored}.npz')
        chunks = int(separated['chunks'])
        assert chunks == (2 if name == 'long' else 1)
        assert separated['stems'].shape == (3, chunks * HOP + TAIL, 2)
        assert separated['separate'] > 0
        assert separated['decode'] > 0
        # What no neighbour adds to: neither the first samples of a later segment nor the tail.
        first, last = LEAD if index == '0' else TAIL, chunks * HOP
        start = int(index) * 2 * HOP - LEAD
        expected = whole_tracks[name][:, start + first : start + last]
        np.testing.assert_allclose(separated['stems'][:, first : first + expected.shape[1]], expected, atol=1e-6)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize(('batch_size', 'sizes'), [(8, [2, 1]), (None, [1, 1, 1])])
def test_segments_are_gathered_until_they_hold_a_batch_of_chunks(tmp_path, tiny_model, track, batch_size, sizes):
    job = make_job(tmp_path / 'out', tiny_model, batch_size=batch_size)
    decoded = decode(split_track(plan(track, job), job)[0], job)
    assert decoded.chunks == 4
    with local_pipeline() as pipeline:
        batches = (
            pipeline
            | beam.Create([[decoded] * 3])
            | beam.FlatMap(lambda some: some).with_output_types(DecodedSegment)
            | BatchSegments(job)
            | beam.Map(len)
        )
        assert_that(batches, equal_to(sizes))


arrays: list[weakref.ref[np.ndarray]] = []  # audio that steps were given
alive: list[int] = []  # how many of them were in memory whenever a track was to be decoded


def watch(audio):
    arrays.append(weakref.ref(audio if audio.base is None else audio.base))


def decode_watched(segment, job):
    alive.append(sum(array() is not None for array in arrays))
    decoded = decode(segment, job)
    watch(decoded.samples)
    yield decoded


def write_watched(separated, job):
    watch(separated.stems)
    yield from write_segment(separated, job)


def track_of_separated(separated):
    return separated.decoded.segment.planned.track


def test_only_the_track_that_is_worked_on_is_in_memory(tmp_path, tiny_model):
    """Neither Beam nor a step of ours holds a track's audio when the next one is decoded."""
    job = make_job(tmp_path / 'out', tiny_model, format='wav')
    segments = [
        split_track(plan(write_track(tmp_path / f'{number}.wav', noise(1, seed=number)), job), job)[0]
        for number in range(3)
    ]
    with local_pipeline() as pipeline:
        written = (
            pipeline
            | beam.Create([segments])
            | beam.FlatMap(lambda some: some).with_output_types(Segment)
            | beam.FlatMap(decode_watched, job).with_output_types(DecodedSegment)
            | BatchSegments(job)
            | RunInference(StemModelHandler(job)).with_output_types(SeparatedSegment)
            | Guarded(write_watched, job, stage='write', track_of=track_of_separated)
        )
        assert_that(written.good | beam.Map(lambda completed: completed.track_id), equal_to(['0', '1', '2']))
    assert alive == [0, 0, 0]
    assert len(arrays) == 6


def test_the_handler_needs_no_pickling_to_count(tmp_path, tiny_model, track):
    job = make_job(tmp_path / 'out', tiny_model, batch_size=8)
    handler = StemModelHandler(job)
    decoded = decode(split_track(plan(track, job), job)[0], job)
    assert handler.get_num_bytes([decoded, decoded]) == 2 * (4 * HOP + TAIL) * 2 * 4
    assert chunk_weight(decoded) == 4
    assert chunk_weight(decoded._replace(segment=decoded.segment._replace(num_chunks=0))) == 1


def test_an_empty_batch_gives_nothing(tmp_path, tiny_model):
    handler = StemModelHandler(make_job(tmp_path / 'out', tiny_model))
    assert list(handler.run_inference([], handler.load_model())) == []


def test_a_model_that_is_loaded_ahead_is_the_one_that_steps_get(tmp_path, tiny_model, monkeypatch):
    handler = StemModelHandler(make_job(tmp_path / 'out', tiny_model, batch_size=5))  # which no other test has loaded
    begun, may_end, loads = threading.Event(), threading.Event(), []
    load = SegmentHandler._load

    def slow(self):
        loads.append(threading.current_thread().name)
        begun.set()
        assert may_end.wait(60)
        return load(self)

    monkeypatch.setattr(SegmentHandler, '_load', slow)
    load_ahead(handler)
    assert begun.wait(60)
    threading.Timer(0.2, may_end.set).start()
    assert handler.load_model() is handler.load_model()
    assert loads == ['load']


def test_what_goes_wrong_ahead_is_raised_where_the_model_is_asked_for(tmp_path, tiny_model, monkeypatch):
    handler = StemModelHandler(make_job(tmp_path / 'out', tiny_model, batch_size=7))  # which no other test has loaded
    tried = threading.Event()

    def broken(self):
        tried.set()
        raise RunError('no memory left')

    monkeypatch.setattr(SegmentHandler, '_load', broken)
    load_ahead(handler)
    assert tried.wait(60)
    with pytest.raises(RunError, match='no memory left'):
        handler.load_model()


def test_threads_without_a_track_may_help_while_one_is_under_way(tmp_path, tiny_model, track):
    job = make_job(tmp_path / 'out', tiny_model, streams=2)
    model = StemModelHandler(job).load_model()
    assert (model.crew, CREW.size) == (CREW, 2)
    (segment,) = split_track(plan(track, job), job)
    decoded = decode_segment(segment, job)
    next(decoded)  # from here on the later steps are at work
    assert CREW.join()
    assert not CREW.join()
    assert list(decoded) == []  # over: both may
    assert CREW.join()
    CREW.leave()
    CREW.leave()
