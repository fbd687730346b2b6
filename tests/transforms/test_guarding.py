from __future__ import annotations

import logging

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from stembeam.model.errors import RunError, TrackError
from stembeam.transforms.guarding import Guarded, failure_of
from stembeam.transforms.records import Failure, Track

from .jobs import local_pipeline


def halves(name, suffix):
    """Two elements for each name, or the trouble that the name asks for."""
    yield f'{name}1{suffix}'
    if name == 'broken':
        raise TrackError('broken.wav: is\n  damaged: replace it')
    if name == 'odd':
        raise KeyError('rate')
    if name == 'full':
        raise RunError('the disk is full: make room')
    yield f'{name}2{suffix}'


def track_of(name):
    return Track(f'id of {name}', f'/music/{name}.wav', {})


def guarded(stage):
    return Guarded(halves, '.', stage=stage, track_of=track_of)


def test_trouble_with_one_element_is_one_row(caplog):
    caplog.set_level(logging.WARNING, 'stembeam')
    with local_pipeline() as pipeline:
        outputs = pipeline | beam.Create(['a', 'broken', 'odd', 'b']) | guarded('decode')
        assert_that(outputs.good, equal_to(['a1.', 'a2.', 'b1.', 'b2.', 'broken1.', 'odd1.']), label='good')
        rows = [
            ('/music/broken.wav', 'id of broken', 'decode', 'TrackError', 'broken.wav: is damaged: replace it'),
            ('/music/odd.wav', 'id of odd', 'decode', 'KeyError', "KeyError: 'rate'"),
        ]
        assert_that(outputs.failures | beam.Map(tuple), equal_to(rows), label='failures')
    warnings = [record for record in caplog.records if record.name.startswith('stembeam')]
    (message,) = [record.getMessage() for record in warnings]
    assert message.startswith('/music/odd.wav: unexpected error while decode\nTraceback')
    assert message.rstrip().endswith("KeyError: 'rate'")
    assert (warnings[0].track, warnings[0].stage) == ('id of odd', 'decode')


def test_what_stops_the_run_passes_through():
    pipeline = local_pipeline()
    _ = pipeline | beam.Create(['a', 'full', 'b']) | guarded('write')
    with pytest.raises(RunError, match='the disk is full: make room'):
        pipeline.run()


def test_errors_of_later_steps_are_not_taken_for_the_element_s():
    def explode(element):
        raise ZeroDivisionError(f'later step with {element}')

    pipeline = local_pipeline()
    outputs = pipeline | beam.Create(['a']) | guarded('write')
    _ = outputs.good | beam.Map(explode)
    with pytest.raises(ZeroDivisionError, match='later step with a1'):
        pipeline.run()


def test_an_error_without_words_has_a_reason():
    assert failure_of(track_of('a'), 'plan', MemoryError()) == Failure(
        '/music/a.wav', 'id of a', 'plan', 'MemoryError', 'MemoryError: no message'
    )
