"""What a run counts: every stage's tracks, audio, bytes and time."""

from __future__ import annotations

import os
from typing import Any

import apache_beam as beam
import pytest

from stembeam.pipeline.runners import place
from stembeam.pipeline.separate import SeparateTracks
from stembeam.transforms.metrics import NAMESPACE, STAGES
from stembeam.transforms.planning import split_track
from stembeam.transforms.records import Track

from ..conftest import TINY, noise, write_model
from ..transforms.jobs import make_job, plan, write_track

RATE = 44_100
SHORT, LONG = 2.0, 7.0  # seconds; a chunk of the tiny model lasts 1.49 s
NUM_STEMS = 3


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """(job, counters, distributions) of a run of one short track, a long one and a broken file."""
    folder = tmp_path_factory.mktemp('counted')
    model = write_model(folder / 'model', TINY, seed=17)  # of its own, so that no other test has loaded it
    tracks = [write_track(folder / f'{name}.wav', noise(s)) for name, s in (('short', SHORT), ('long', LONG))]
    (folder / 'broken.wav').write_text('no audio')
    broken = Track('broken', str(folder / 'broken.wav'), {})
    job = make_job(folder / 'out', model, chunks_per_segment=2)
    placement = place('local', 1, {})
    pipeline = beam.Pipeline(runner=placement.runner, options=placement.options)
    _ = pipeline | beam.Create([*tracks, broken]).with_output_types(Track) | SeparateTracks(job)
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(NAMESPACE))
    totals: dict[str, int] = {}
    for item in found['counters']:
        totals[item.key.metric.name] = totals.get(item.key.metric.name, 0) + item.result
    times: dict[str, list[Any]] = {}  # the same name may be counted in several steps
    for item in found['distributions']:
        times.setdefault(item.key.metric.name, []).append(item.result)
    unmade = make_job(folder / 'new', model, chunks_per_segment=2)
    segments = [split_track(plan(track, unmade), unmade) for track in tracks]
    return job, totals, times, [len(some) for some in segments], [os.path.getsize(track.uri) for track in tracks]


def test_every_stage_counts_its_elements_and_audio(run):
    job, totals, _, (one, several), sizes = run
    assert (one, several) == (1, 3)
    milliseconds = round(1000 * (SHORT + LONG))
    expected = {
        'plan-tracks': 2,
        'plan-audio-milliseconds': milliseconds,
        'plan-bytes-in': sum(sizes),
        'plan-failures': 1,
        'plan-segments': one + several,
        'decode-segments': one + several,
        'separate-segments': one + several,
        'write-tracks': 1,
        'write-segments': several,
        'write-audio-milliseconds': round(1000 * SHORT),
        'assemble-tracks': 1,
        'assemble-audio-milliseconds': round(1000 * LONG),
        'features-tracks': 2,
        'tracks-done': 2,
    }
    assert {name: totals[name] for name in expected} == expected
    assert totals['separate-audio-milliseconds'] == pytest.approx(milliseconds, abs=several + one)
    # Neighbours share the samples where their chunks overlap.
    shared = (several - 1) * 1000 * job.grid.tail / RATE
    assert totals['decode-audio-milliseconds'] == pytest.approx(milliseconds + shared, abs=several + one)
    assert totals['models-loaded'] >= 1  # of this process, in which other tests load models, too
    assert 'plan-skipped' not in totals


def test_bytes_are_those_of_files_and_arrays(run):
    job, totals, _, _, _ = run
    records = [path for path in job.storage.list_files('') if not path.removeprefix('./').startswith('.stembeam')]
    written = sum(job.storage.size(path) for path in records)
    assert totals['write-bytes-out'] + totals['assemble-bytes-out'] > written  # and parts, which are gone
    frames = [path for path in records if '/frames/' in path]
    assert totals['features-bytes-out'] == sum(job.storage.size(path) for path in frames)
    assert totals['separate-bytes-in'] == totals['decode-bytes-out']
    assert totals['separate-bytes-out'] == NUM_STEMS * totals['decode-bytes-out']
    chunks, hop = totals['separate-chunks'], job.grid.hop
    assert totals['decode-bytes-out'] >= chunks * hop * 2 * 4


def test_every_stage_tells_its_time(run):
    _, _, times, (one, several), _ = run
    counts = {name: sum(item.count for item in items) for name, items in times.items()}
    assert counts == {
        'plan-milliseconds': 2,
        'decode-milliseconds': one + several,
        'separate-milliseconds': one + several,
        'write-milliseconds': 1 + several,
        'assemble-milliseconds': 1,
        'features-milliseconds': 2,
    }
    assert {name.removesuffix('-milliseconds') for name in counts} == set(STAGES) - {'wiener'}
    assert all(0 <= item.min <= item.mean <= item.max for items in times.values() for item in items)
