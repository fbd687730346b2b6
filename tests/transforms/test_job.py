from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembeam.model.method import Method
from stembeam.transforms.job import PART_CHUNKS, WHOLE_TRACK_CHUNKS, SeparateJob
from stembeam.transforms.storage import Storage

from .jobs import make_job

SOURCE = {'bytes': 1000, 'changed': 5}


@given(st.integers(1, 5000), st.none() | st.integers(1, 60))
def test_segments_are_as_equal_as_can_be(num_chunks, chunks_per_segment):
    job = SeparateJob(Storage('/out'), None, chunks_per_segment=chunks_per_segment)  # type: ignore[arg-type]
    lengths = job.segment_lengths(num_chunks)
    whole = chunks_per_segment or WHOLE_TRACK_CHUNKS
    assert sum(lengths) == num_chunks
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 1
    if num_chunks <= whole:
        assert lengths == [num_chunks]
    else:
        most = chunks_per_segment or PART_CHUNKS
        assert max(lengths) <= most
        assert len(lengths) == -(-num_chunks // most)


def test_a_song_is_one_segment_and_an_hour_is_many(tiny_model, tmp_path):
    assert make_job(tmp_path, tiny_model).segment_lengths(30) == [30]
    assert len(make_job(tmp_path, tiny_model).segment_lengths(303)) > 30
    assert make_job(tmp_path, tiny_model, chunks_per_segment=8).segment_lengths(31) == [7, 8, 8, 8]


def fingerprint(job, track_id='a', uri='/music/a.wav', source=SOURCE):
    return job.fingerprint(track_id, uri, source)


@pytest.mark.parametrize(
    'changed',
    [
        {'method': Method(stems=('vocals',))},
        {'method': Method(mwf_iterations=1)},
        {'method': Method(mwf_iterations=2)},
        {'method': Method(overlap=0.25)},
        {'method': Method(masks='direct')},
        {'method': Method(high_band='octave')},
        {'method': Method(residual=True)},
        {'layout': 'spleeter'},
        {'format': 'flac'},
        {'bitrate': 192_000},
        {'output_rate': 22050},
        {'features': False},
        {'offset': 0.5},
        {'duration': 3.0},
        {'filename_format': '{instrument}/{track}.{codec}'},
        {'allow_truncated': True},
        {'decoder': 'av'},
    ],
)
def test_what_changes_the_results_changes_the_fingerprint(tmp_path, tiny_model, changed):
    assert fingerprint(make_job(tmp_path, tiny_model)) != fingerprint(make_job(tmp_path, tiny_model, **changed))


@pytest.mark.parametrize(
    'changed',
    [{'overwrite': True}, {'chunks_per_segment': 3}, {'batch_size': 8}, {'streams': 4}, {'storage': Storage('/b')}],
)
def test_what_only_changes_the_way_does_not(tmp_path, tiny_model, changed):
    assert fingerprint(make_job(tmp_path, tiny_model)) == fingerprint(make_job(tmp_path, tiny_model, **changed))


def test_model_and_input_are_in_the_fingerprint(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model)
    other_model = make_job(tmp_path, tiny_model, model=job.model._replace(fingerprint='0' * 64))
    different = [
        fingerprint(job),
        fingerprint(other_model),
        fingerprint(job, track_id='b'),
        fingerprint(job, uri='/music/b.wav'),
        fingerprint(job, source={'bytes': 1000, 'changed': 6}),
        fingerprint(job, source={'bytes': 1001, 'changed': 5}),
        fingerprint(job, track_id='\udcff', uri='/music/\udcff.wav'),
    ]
    assert len(set(different)) == len(different)
    assert all(len(value) == 64 for value in different)


def test_what_says_the_same_in_other_words_does_not(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model)
    same = {'method': Method(stems=('other', 'vocals', 'drums'))}, {'filename_format': '{track}/{instrument}.{codec}'}
    assert {fingerprint(make_job(tmp_path, tiny_model, **options)) for options in same} == {fingerprint(job)}
    assert not {'method', 'layout'} & job.results().keys()  # complete corpora of former versions stay complete


def test_stems_and_their_places(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model, method=Method(stems=('other', 'vocals'), residual=True))
    assert job.instruments == ('vocals', 'other', 'residual')
    assert job.stem_file('album/song', 'residual') == 'stems/album/song/residual.wav'
    theirs = make_job(tmp_path, tiny_model, layout='spleeter', format='mp3')
    assert theirs.stem_file('album/song', 'vocals') == 'song/vocals.mp3'
    named = make_job(tmp_path, tiny_model, layout='spleeter', filename_format='{foldername}/{filename}-{instrument}')
    assert named.stem_file('album/song', 'vocals') == 'album/song-vocals'


def test_the_grid_follows_the_overlap(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model, method=Method(overlap=0.25))
    assert (job.grid.hop, job.grid.tail, job.grid.lead) == (49152, 16384 + 3072, 16384 + 4096)


def test_the_name_of_a_model_is_not(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model)
    renamed = make_job(tmp_path, tiny_model, model=job.model._replace(name='another path to the same'))
    assert fingerprint(job) == fingerprint(renamed)


def test_it_travels_to_workers(tmp_path, tiny_model):
    job = make_job(tmp_path, tiny_model, duration=3.0)
    assert pickle.loads(pickle.dumps(job)).results() == job.results()
