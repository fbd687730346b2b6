from __future__ import annotations

import apache_beam as beam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembeam.transforms.record_coders import RECORDS, Record, RecordCoder
from stembeam.transforms.records import AudioInfo, Completed, Failure, Part, PlannedTrack, Segment, Track

TRACK = Track('live/a\udcff', '/music/a\udcff.mp3', {'year': 1999, 'title': 'é', 'score': 0.1, 'none': None, 'b': True})
INFO = AudioInfo('/music/a.mp3', 48000, 2, 2**40, 'mp3', 'MPEG_LAYER_III', 'soundfile', False)
PLANNED = PlannedTrack(TRACK, INFO, 7, 44100, 'f' * 64, {'bytes': 3, 'changed': 1_700_000_000_000_000_001})
SEGMENT = Segment(PLANNED, 1, 4, 4, 3)
PART = Part(SEGMENT, '.stembeam/parts/x', 123, None, {'decode': 0.1 + 0.2})
EVERY = [TRACK, INFO, PLANNED, SEGMENT, PART, Completed('a', 'a.json', True), Failure('u', 'a', 'plan', 'E', 'why')]


@pytest.mark.parametrize('record', EVERY, ids=lambda record: type(record).__name__)
def test_a_record_comes_back(record):
    coder = beam.coders.registry.get_coder(type(record))
    assert coder == beam.coders.registry.get_coder(Record) == RecordCoder()
    back = coder.decode(coder.encode(record))
    assert back == record
    assert type(back) is type(record)


def test_nested_records_are_records_again():
    part = RecordCoder().decode(RecordCoder().encode(PART))
    assert type(part.segment.planned.track) is Track
    assert type(part.segment.planned.info) is AudioInfo
    assert part.segment.planned.source == PLANNED.source
    assert {type(record).__name__ for record in EVERY} == set(RECORDS)


def test_equal_records_have_equal_bytes():
    turned = TRACK._replace(metadata=dict(reversed(TRACK.metadata.items())))
    assert RecordCoder().encode(turned) == RecordCoder().encode(TRACK)
    assert RecordCoder().is_deterministic()


@pytest.mark.parametrize('other', [('a', 'b'), None, 'Track', object()])
def test_nothing_else_is_taken(other):
    with pytest.raises(TypeError, match='is not one of the records Track, AudioInfo'):
        RecordCoder().encode(other)


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.text(), st.dictionaries(st.text(), VALUES))
def test_whatever_a_listing_holds(name, metadata):
    track = Track(name, name, metadata)
    assert RecordCoder().decode(RecordCoder().encode(track)) == track
