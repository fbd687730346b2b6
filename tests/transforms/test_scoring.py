"""One track: what is scored, what is written, and what makes scores out of date."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from stembeam.model.errors import TrackError
from stembeam.model.evaluation.bsseval import METRICS
from stembeam.model.evaluation.scores import score_track
from stembeam.model.method import Method
from stembeam.model.separator import Separator
from stembeam.model.store import resolve_model
from stembeam.transforms.completion import read_record, record_path
from stembeam.transforms.datasets import DatasetTrack, list_dataset
from stembeam.transforms.score_files import FRAMES_SCHEMA, track_files
from stembeam.transforms.scoring import (
    EvaluateJob,
    TrackScorer,
    forget_scores,
    is_scored,
    plan_score,
)
from stembeam.transforms.storage import Storage

from ..conftest import noise
from .dataset_files import write_song

RATE = 8000


def references(seconds: float = 2.5) -> dict[str, np.ndarray]:
    """Two stems on the grid of 16-bit samples, float32 (samples, 2)."""
    return {
        name: np.round(noise(seconds, RATE, seed=seed) * 32768).astype(np.float32) / 32768
        for seed, name in enumerate(('vocals', 'accompaniment'))
    }


def mix(stems: dict[str, np.ndarray]) -> np.ndarray:
    return np.sum(list(stems.values()), axis=0)


def estimates_of(stems: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    mixture = mix(stems)
    return {name: np.round((stem + 0.25 * mixture) * 8192) / 8192 for name, stem in stems.items()}


def the_track(folder: Path) -> DatasetTrack:
    (track,) = list_dataset(str(folder))
    return track


@pytest.fixture
def job(tmp_path) -> EvaluateJob:
    """For estimates that are there."""
    return EvaluateJob(Storage.at(str(tmp_path / 'out')), None, Method(), sample_rate=RATE)


def score(tmp_path: Path, job: EvaluateJob, stems: dict, estimates: dict):
    write_song(tmp_path / 'set/test/A Song', stems, RATE)
    write_song(tmp_path / 'estimates/A Song', estimates, RATE)
    planned = plan_score(the_track(tmp_path / 'set'), the_track(tmp_path / 'estimates').stems, job)
    return planned, TrackScorer(job).score(planned)


def test_json_and_parquet_hold_the_scores_of_estimates_and_mixture(tmp_path, job):
    stems = references()
    estimates = estimates_of(stems)
    _, completed = score(tmp_path, job, stems, estimates)
    mixture = mix(stems)
    expected = score_track(stems, [estimates, dict.fromkeys(stems, mixture)], RATE)
    out = tmp_path / 'out'
    assert completed.track_id == 'test/A Song'
    assert json.loads((out / 'tracks/test/A Song.json').read_bytes()) == expected[0].to_museval()
    assert json.loads((out / 'mixture/test/A Song.json').read_bytes()) == expected[1].to_museval()
    table = pq.read_table(out / 'frames/test/A Song.parquet')
    assert table.schema.equals(FRAMES_SCHEMA, check_metadata=True)
    rows = table.to_pylist()
    assert len(rows) == 2 * 2 * 2
    for kind, scores in zip(('separation', 'mixture'), expected, strict=True):
        for index, stem in enumerate(stems):
            found = [row for row in rows if row['estimate'] == kind and row['stem'] == stem]
            assert [(row['track'], row['frame'], row['time'], row['duration']) for row in found] == [
                ('test/A Song', 0, 0.0, 1.0),
                ('test/A Song', 1, 1.0, 1.0),
            ]
            for metric in METRICS:
                assert [row[metric] for row in found] == scores.metric(metric)[index].tolist()


def test_every_field_has_its_unit_and_definition():
    for field in FRAMES_SCHEMA:
        assert field.metadata[b'definition'], field.name
        assert field.metadata[b'unit'] == {'time': b's', 'duration': b's'}.get(
            field.name, b'dB' if field.name in METRICS else b''
        )


def test_undefined_scores_are_null_in_parquet_and_nan_in_json(tmp_path, job):
    stems = references()
    stems['vocals'][:RATE] = 0
    score(tmp_path, job, stems, estimates_of(stems))
    rows = pq.read_table(tmp_path / 'out/frames/test/A Song.parquet').to_pylist()
    assert {row['frame'] for row in rows if row['SDR'] is None} == {0}
    first, second = json.loads((tmp_path / 'out/tracks/test/A Song.json').read_bytes())['targets'][0]['frames']
    assert np.isnan(list(first['metrics'].values())).all()
    assert np.isfinite(list(second['metrics'].values())).all()


def test_estimates_of_other_length_are_scored_and_reported(tmp_path, job, caplog):
    stems = references()
    estimates = estimates_of(stems)
    estimates['vocals'] = estimates['vocals'][:-300]
    estimates['accompaniment'] = np.concatenate([estimates['accompaniment'], np.ones((7, 2))])
    with caplog.at_level(logging.WARNING, logger='stembeam'):
        _, completed = score(tmp_path, job, stems, estimates)
    (expected,) = score_track(stems, [estimates], RATE)
    assert json.loads((tmp_path / 'out/tracks/test/A Song.json').read_bytes()) == expected.to_museval()
    record = read_record(job.storage, completed.record)
    assert record is not None
    assert record['length_differences'] == {'vocals': -300, 'accompaniment': 7}
    assert [record.getMessage() for record in caplog.records] == [
        'test/A Song: the estimate of vocals is 300 samples shorter than its reference: it was padded with zeros',
        'test/A Song: the estimate of accompaniment is 7 samples longer than its reference: it was cut',
    ]


def test_the_mixture_of_the_data_set_is_taken_if_there_is_one(tmp_path, job):
    stems = references()
    mixture = np.round((0.5 * stems['vocals'] + stems['accompaniment']) * 4096) / 4096
    score(tmp_path, job, {**stems, 'mixture': mixture}, estimates_of(stems))
    (expected,) = score_track(stems, [dict.fromkeys(stems, mixture)], RATE)
    assert json.loads((tmp_path / 'out/mixture/test/A Song.json').read_bytes()) == expected.to_museval()


def test_a_model_separates_the_mixture(tmp_path, tiny_model):
    """Of a data set without a mixture: it is the sum. The model's `other` holds the data set's `piano`."""
    stems = {
        name: np.round(noise(2, 44100, seed=seed) * 32768).astype(np.float32) / 32768
        for seed, name in enumerate(('vocals', 'drums', 'other', 'piano'))
    }
    write_song(tmp_path / 'set/A Song', stems)
    model = resolve_model(tiny_model)
    job = EvaluateJob(Storage.at(str(tmp_path / 'out')), model, Method())
    TrackScorer(job).score(plan_score(the_track(tmp_path / 'set'), None, job))
    mixture = mix(stems)
    compared = {'vocals': stems['vocals'], 'drums': stems['drums'], 'other': stems['other'] + stems['piano']}
    (expected,) = score_track(compared, [Separator.load(tiny_model).separate(mixture, 44100)], 44100)
    found = json.loads((tmp_path / 'out/tracks/A Song.json').read_bytes())
    assert [target['name'] for target in found['targets']] == ['vocals', 'drums', 'other']
    # Sums of float32 in another order differ by 1e-7 of the samples.
    ours = [frame['metrics'] for target in found['targets'] for frame in target['frames']]
    theirs = [frame['metrics'] for target in expected.to_museval()['targets'] for frame in target['frames']]
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_errors_name_the_track(tmp_path, job):
    stems = references()
    with pytest.raises(TrackError, match=r'^test/A Song: no estimate of accompaniment: '):
        score(tmp_path, job, stems, {'vocals': stems['vocals']})


def test_scores_are_of_these_files_and_options_alone(tmp_path, job):
    stems = references(1.2)
    planned, _ = score(tmp_path, job, stems, estimates_of(stems))
    storage = job.storage
    assert is_scored(planned, storage)
    track, estimates = the_track(tmp_path / 'set'), the_track(tmp_path / 'estimates').stems
    assert is_scored(plan_score(track, estimates, job), storage)
    for change in ({'window': 0.5}, {'hop': 0.5}, {'sample_rate': 44100}, {'scorer': 'museval'}):
        assert not is_scored(plan_score(track, estimates, dataclasses.replace(job, **change)), storage), change
    estimate = tmp_path / 'estimates/A Song/vocals.wav'
    soundfile.write(estimate, soundfile.read(estimate)[0][:-1], RATE)
    assert not is_scored(plan_score(track, estimates, job), storage)


def test_scores_that_lack_a_file_are_made_again_and_can_be_forgotten(tmp_path, job):
    stems = references(1.2)
    planned, _ = score(tmp_path, job, stems, estimates_of(stems))
    (tmp_path / 'out' / track_files(planned.track_id)['frames']).unlink()
    assert not is_scored(planned, job.storage)
    forget_scores(planned.track_id, job.storage)
    assert read_record(job.storage, record_path(planned.track_id)) is None
    assert not list((tmp_path / 'out').rglob('*.json'))
    forget_scores(planned.track_id, job.storage)  # nothing is there: nothing happens


def test_a_file_that_is_gone(tmp_path, job):
    write_song(tmp_path / 'set/A Song', references(1.2), RATE)
    track = the_track(tmp_path / 'set')
    (tmp_path / 'set/A Song/vocals.wav').unlink()
    with pytest.raises(TrackError, match=r'vocals\.wav: there is no such file'):
        plan_score(track, None, job)
