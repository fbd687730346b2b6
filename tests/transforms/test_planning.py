from __future__ import annotations

import json
import os

import apache_beam as beam
import fsspec
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stembeam.model.errors import RunError, TrackError
from stembeam.transforms.completion import DONE, read_record, record_path, write_record
from stembeam.transforms.planning import (
    PLAN_FILE,
    PlanTracks,
    SplitTracks,
    Totals,
    _SumTotals,
    plan_track,
    source_identity,
    split_track,
)
from stembeam.transforms.records import Completed, Track

from ..conftest import noise
from .jobs import local_pipeline, make_job, plan, write_track


def complete(planned, job):
    """A completion record with one file, as a run would leave it."""
    path = f'stems/{planned.track.track_id}/vocals.wav'
    job.storage.write_bytes(path, b'12345')
    write_record(
        job.storage,
        {
            'status': DONE,
            'track_id': planned.track.track_id,
            'fingerprint': planned.fingerprint,
            'metadata': {},
            'files': {path: 5},
            'finished': 1000.0,
        },
    )
    return path


def test_a_plan_has_length_and_start_at_the_model_s_rate(tmp_path, tiny_model):
    track = write_track(tmp_path / 'a.wav', noise(2, 48000, channels=1)[:-1], 48000)
    planned = plan(track, make_job(tmp_path / 'out', tiny_model))
    assert (planned.start, planned.num_samples) == (0, 88200)  # 95 999 samples, rounded up
    assert (planned.info.sample_rate, planned.info.channels, planned.info.num_samples) == (48000, 1, 95_999)
    assert planned.source['bytes'] == os.path.getsize(track.uri)
    assert planned.track == track


@pytest.mark.parametrize(
    ('options', 'start', 'num_samples'),
    [
        ({'offset': 0.5}, 22050, 66150),
        ({'duration': 0.25}, 0, 11025),
        ({'duration': 100.0}, 0, 88200),
        ({'offset': 1.5, 'duration': 1.0}, 66150, 22050),
        ({'offset': 0.5, 'duration': 1e-9}, 22050, 1),
        ({'offset': 1.99998}, 88199, 1),
        ({'duration': 1e308}, 0, 88200),
    ],
)
def test_offset_and_duration(tmp_path, tiny_model, options, start, num_samples):
    track = write_track(tmp_path / 'a.wav', noise(2))
    planned = plan(track, make_job(tmp_path / 'out', tiny_model, **options))
    assert (planned.start, planned.num_samples) == (start, num_samples)


@pytest.mark.parametrize('offset', [2.0, 1e300])
def test_nothing_is_left_beyond_the_end(tmp_path, tiny_model, offset):
    track = write_track(tmp_path / 'a.wav', noise(2))
    with pytest.raises(TrackError, match=r'lasts 2\.00 s.*--offset'):
        plan(track, make_job(tmp_path / 'out', tiny_model, offset=offset))


def test_a_complete_track_is_skipped_until_something_changes(tmp_path, tiny_model):
    track = write_track(tmp_path / 'a.wav', noise(0.1))
    job = make_job(tmp_path / 'out', tiny_model)
    stem = complete(plan(track, job), job)
    now = Track(track.track_id, track.uri, {'year': 1999})
    assert list(plan_track(now, job)) == [Completed('a', record_path('a'), is_new=False)]
    record = read_record(job.storage, record_path('a'))
    assert record is not None
    assert record['metadata'] == {'year': 1999}

    plan(track, make_job(tmp_path / 'out', tiny_model, overwrite=True))
    plan(track, make_job(tmp_path / 'out', tiny_model, format='flac'))
    job.storage.write_bytes(stem, b'1234')  # cut off
    plan(track, job)
    job.storage.remove(stem)
    plan(track, job)
    complete(plan(track, job), job)
    write_track(tmp_path / 'a.wav', noise(0.1, seed=1))  # as long as before
    os.utime(track.uri, (1, 1))
    plan(track, job)


def test_a_fresh_run_asks_for_no_records(tmp_path, tiny_model):
    track = write_track(tmp_path / 'a.wav', noise(0.1))
    job = make_job(tmp_path / 'out', tiny_model)
    assert plan(track, job).is_known is False
    complete(plan(track, job), job)
    assert plan(track, make_job(tmp_path / 'out', tiny_model, overwrite=True)).is_known
    assert plan(track, make_job(tmp_path / 'out', tiny_model, is_fresh=True)).is_known is False


@pytest.mark.parametrize('overwrite', [False, True])
def test_what_this_command_has_completed_before_it_was_started_again(tmp_path, tiny_model, overwrite):
    track = write_track(tmp_path / 'a.wav', noise(0.1))
    first = make_job(tmp_path / 'out', tiny_model)
    complete(plan(track, first), first)
    ours = make_job(tmp_path / 'out', tiny_model, overwrite=overwrite, since=1000.0)
    assert list(plan_track(track, ours)) == [Completed('a', record_path('a'), is_new=True)]
    assert Totals().plus(Completed('a', record_path('a'), is_new=True), ours) == Totals()
    later = make_job(tmp_path / 'out', tiny_model, overwrite=overwrite, since=1000.5)
    assert list(plan_track(track, later)) != list(plan_track(track, ours))


def test_the_chosen_decoder_says_what_is_in_a_track(tmp_path, tiny_model):
    track = write_track(tmp_path / 'a.wav', noise(0.1))
    assert plan(track, make_job(tmp_path / 'out', tiny_model)).info.decoder == 'soundfile'
    assert plan(track, make_job(tmp_path / 'out', tiny_model, decoder='av')).info.decoder == 'av'


def test_identity_of_a_source(tmp_path):
    track = write_track(tmp_path / 'a.wav', noise(0.1))
    before = source_identity(track.uri)
    assert source_identity(track.uri) == before
    os.utime(track.uri, ns=(1, 1))
    assert source_identity(track.uri) == {'bytes': before['bytes'], 'changed': 1}
    memory = fsspec.filesystem('memory')
    memory.pipe_file('/bucket/a.wav', b'123')
    remote = source_identity('memory://bucket/a.wav')
    assert remote['bytes'] == 3
    assert json.loads(json.dumps(remote)) == remote
    memory.pipe_file('/bucket/a.wav', b'456')
    assert source_identity('memory://bucket/a.wav') != remote


def test_a_source_that_cannot_be_identified(tmp_path):
    with pytest.raises(TrackError, match='there is no such file'):
        source_identity(str(tmp_path / 'none.wav'))
    with pytest.raises(TrackError, match='there is no such file'):
        source_identity('memory://bucket/none.wav')
    with pytest.raises(RunError, match='not installed'):
        source_identity('dropbox://none.wav')


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(1, 20_000_000), st.none() | st.integers(1, 40))
def test_segments_hold_every_chunk_once(planned, tiny_model, num_samples, chunks_per_segment):
    job = make_job('/out', tiny_model, chunks_per_segment=chunks_per_segment)
    segments = split_track(planned._replace(num_samples=num_samples), job)
    held = [chunk for s in segments for chunk in range(s.first_chunk, s.first_chunk + s.num_chunks)]
    # Frames of 4096 samples begin every 1024, 64 in a chunk, 4096 zeros in front.
    assert held == list(range(-(-(num_samples + 4096) // 65536)))
    assert [s.index for s in segments] == list(range(len(segments)))
    assert {s.num_segments for s in segments} == {len(segments)}


@pytest.fixture
def planned(tmp_path, tiny_model):
    return plan(write_track(tmp_path / 'a.wav', noise(0.1)), make_job(tmp_path / 'out', tiny_model))


def test_totals_add_up_in_any_order(planned, tiny_model):
    items = [planned._replace(num_samples=44100 * n) for n in (1, 2, 3)] + [Completed('x', 'x.json', False)] * 2
    add = _SumTotals(make_job('/out', tiny_model))
    one, two, none = (add.create_accumulator() for _ in range(3))
    for item in items[::2]:
        one = add.add_input(one, item)
    for item in items[1::2]:
        two = add.add_input(two, item)
    assert add.extract_output(add.merge_accumulators([one, none, two])) == Totals(tracks=3, skipped=2, seconds=6.0)
    assert add.extract_output(none) == Totals(0, 0, 0.0)


def test_plan_and_split_tracks(tmp_path, tiny_model):
    job = make_job(tmp_path / 'out', tiny_model, chunks_per_segment=2)
    tracks = {
        name: write_track(tmp_path / f'{name}.wav', noise(seconds)) for name, seconds in (('s', 1), ('l', 5), ('d', 1))
    }
    complete(plan(tracks['d'], job), job)
    broken = Track('broken', str(tmp_path / 'none.wav'), {})
    with local_pipeline() as pipeline:
        planned = pipeline | beam.Create([*tracks.values(), broken]) | PlanTracks(job)
        segments = (
            planned.tracks
            | SplitTracks(job)
            | 'Names' >> beam.Map(lambda s: (s.planned.track.track_id, s.index, s.num_chunks))
        )
        # 5 s are four chunks of 1.49 s (the first one begins 0.09 s before the track), 1 s is one.
        assert_that(segments, equal_to([('l', 0, 2), ('l', 1, 2), ('s', 0, 1)]), label='segments')
        assert_that(
            planned.completed | beam.Map(lambda c: (c.track_id, c.is_new)), equal_to([('d', False)]), label='done'
        )
        rows = planned.failures | 'Rows' >> beam.Map(lambda f: (f.track_id, f.stage, f.error))
        assert_that(rows, equal_to([('broken', 'plan', 'TrackError')]), label='failures')
    totals = Totals(**json.loads(job.storage.read_bytes(PLAN_FILE)))
    assert (totals.tracks, totals.skipped) == (2, 1)
    assert totals.seconds == pytest.approx(6.0)


def test_an_empty_plan_is_published(tmp_path, tiny_model):
    job = make_job(tmp_path / 'out', tiny_model)
    with local_pipeline() as pipeline:
        planned = pipeline | beam.Create([Track('x', '/none.wav', {})]) | PlanTracks(job)
        assert_that(planned.tracks | SplitTracks(job, in_order=False), equal_to([]))
    assert Totals(**json.loads(job.storage.read_bytes(PLAN_FILE))) == Totals(0, 0, 0.0)
