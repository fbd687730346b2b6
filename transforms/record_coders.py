"""How the small records cross a shuffle: as JSON, on every runner the same, and nothing is ever unpickled.

Stands on records.py. The one idea: a record is written with the name of its class, so that a collection may hold
records of several kinds (`Record` is the type of such a one), and every class is registered with Beam here.
"""

from __future__ import annotations

import functools
import json
from typing import Any, get_type_hints

import apache_beam as beam

from .records import AudioInfo, Completed, Failure, Part, PlannedTrack, Segment, Track

RECORDS = {record.__name__: record for record in (Track, AudioInfo, PlannedTrack, Segment, Part, Completed, Failure)}


class Record:
    """The element type of collections with records of several kinds; never made itself."""


class RecordCoder(beam.coders.Coder):
    """A record as UTF-8 JSON, [class, [fields]]; the same record always gives the same bytes."""

    def encode(self, value: Any) -> bytes:
        """The bytes of a record. Raises TypeError for anything else."""
        name = type(value).__name__
        if RECORDS.get(name) is not type(value):
            raise TypeError(f'{type(value)!r} is not one of the records {", ".join(RECORDS)}: register it there')
        return json.dumps([name, value], separators=(',', ':'), sort_keys=True).encode()

    def decode(self, encoded: bytes) -> Any:
        """The record."""
        name, fields = json.loads(encoded)
        return _record(RECORDS[name], fields)

    def is_deterministic(self) -> bool:
        """Whether equal records have equal bytes."""
        return True

    def __eq__(self, other: object) -> bool:
        """All of them are the same."""
        return type(other) is type(self)

    def __hash__(self) -> int:
        """As of anything that is equal."""
        return hash(type(self))


def _record(record: Any, fields: list[Any]) -> Any:
    """A record from what JSON made of it: fields that are records themselves have become lists."""
    for index, nested in _nested(record):
        fields[index] = _record(nested, fields[index])
    return record(*fields)


@functools.cache
def _nested(record: Any) -> list[tuple[int, Any]]:
    """(index, class) of the fields that are records."""
    hints = get_type_hints(record)
    return [(i, hints[name]) for i, name in enumerate(record._fields) if hints[name] in RECORDS.values()]


for _type in (Record, *RECORDS.values()):
    beam.coders.registry.register_coder(_type, RecordCoder)
