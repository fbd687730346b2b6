"""Completion records: a track is complete when its record exists; all tables are made from records.

A record is a small JSON file, OUT/.stembeam/complete/ab/abcdef....json, named by the track's id. It says what was made
from what (fingerprint), which files belong to the track with their sizes, and holds the track's row of the manifest
and of the feature table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from .storage import PRIVATE, Storage

FOLDER = f'{PRIVATE}/complete'
DONE = 'done'
BEING_REPLACED = 'being replaced'  # its files are being written: complete for nobody, but known to belong to the track
# Goes into the checksums: records of a version that had other entries count as none.
RECORD_VERSION = b'stembeam record 1'
_CHECKSUM = b', "sha256": "%s"}'


def track_key(track_id: str) -> str:
    """A short name for a track that every file system takes: 32 hex digits of the SHA-256 of its id."""
    return hashlib.sha256(track_id.encode('utf-8', 'surrogatepass')).hexdigest()[:32]


def record_path(track_id: str) -> str:
    """Where a track's record is, relative to OUT."""
    key = track_key(track_id)
    return f'{FOLDER}/{key[:2]}/{key}.json'


def read_record(storage: Storage, path: str) -> dict[str, Any] | None:
    """A record, or None if there is none. A damaged record counts as none: the track is made again."""
    try:
        content = storage.read_bytes(path)
    except FileNotFoundError:
        return None
    length = len(content) - len(_CHECKSUM % _checksum(b''))
    if length < 1 or content[length:] != _CHECKSUM % _checksum(content[:length]):
        return None
    return json.loads(content[:length] + b'}')


def write_record(storage: Storage, record: dict[str, Any]) -> str:
    """Write a record, replacing the track's former one; returns its path."""
    path = record_path(record['track_id'])
    content = json.dumps(record, allow_nan=False).encode()[:-1]
    storage.write_bytes(path, content + _CHECKSUM % _checksum(content))
    return path


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(RECORD_VERSION + content).hexdigest().encode()


def is_complete(storage: Storage, record: dict[str, Any], fingerprint: str) -> bool:
    """Whether a track was made from this input, model and options, and all its files are still there and whole."""
    return (
        record['status'] == DONE
        and record['fingerprint'] == fingerprint
        and all(storage.size(path) == size for path, size in record['files'].items())
    )


def list_records(storage: Storage) -> Iterator[str]:
    """Paths of all records in OUT."""
    return (path for path in storage.list_files(FOLDER) if path.endswith('.json'))
