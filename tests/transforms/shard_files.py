"""Reads training shards as TensorFlow does, for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Chunk(NamedTuple):
    """One record."""

    track: str
    start: int
    stems: dict[str, np.ndarray]  # float64 (samples, channels)
    gains: dict[str, float]


def read_shard(path: str | Path) -> list[Chunk]:
    """The records of a TFRecord file, whose checksums TensorFlow compares."""
    import tensorflow as tf

    return [parse(record) for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]


def parse(record: bytes) -> Chunk:
    """A serialised tf.train.Example."""
    import tensorflow as tf

    features = tf.train.Example.FromString(record).features.feature
    shape = [features[name].int64_list.value[0] for name in ('samples', 'channels')]
    gains, stems = {}, {}
    for name in features:
        kind, _, stem = name.partition('/')
        if kind == 'audio':
            gains[stem] = features[f'gain/{stem}'].float_list.value[0]
            numbers = np.frombuffer(features[name].bytes_list.value[0], '<i2').reshape(shape)
            stems[stem] = numbers / 32767 * gains[stem]
    track = features['track'].bytes_list.value[0].decode()
    return Chunk(track, features['start'].int64_list.value[0], stems, gains)


def read_index(folder: Path) -> dict[str, Any]:
    """index.json."""
    return json.loads((folder / 'index.json').read_text())


def read_chunks(folder: Path, subset: str = 'train') -> list[Chunk]:
    """All records of a subset in their order."""
    return [chunk for shard in read_index(folder)['shards'][subset] for chunk in read_shard(folder / shard['file'])]


def read_report(folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of the report by track."""
    lines = (folder / 'prepare-report.jsonl').read_text().splitlines()
    return {row['track']: row for row in map(json.loads, lines)}
