"""The chunks of a table kept on disk as shards, so that songs are decoded once: Spleeter's `training_cache`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ..errors import UsageError
from .model_folder import write_text
from .shards import FORMAT_VERSION, INDEX, MIXTURE, TRAIN, read_index
from .sources import ShardSource
from .tables import Table, load_chunk

FILES = 8  # shards of a cache, to be read side by side


def cached_source(table: Table, folder: str, shuffle_bytes: int, tell: Callable[[str], None]) -> ShardSource:
    """The chunks of a table from its cache, which is made if it is not there.

    Raises:
      UsageError: the folder is the cache of something else.
    """
    path = os.path.join(folder, INDEX)
    if not os.path.exists(path):
        tell(f'reading {len(table.songs)} songs into {folder}')
        _write(table, folder)
    with open(path, encoding='utf-8') as file:
        digest = json.load(file).get('table')
    if digest != table.digest:
        raise UsageError(f'cache {folder}: made from another table or other chunks: delete it, or name another folder')
    return ShardSource(read_index(folder), TRAIN, True, shuffle_bytes)


def _write(table: Table, folder: str) -> None:
    """Write all chunks; the index comes last, so a cache that was not finished is none."""
    os.makedirs(folder, exist_ok=True)
    count = min(FILES, len(table.chunks))
    files = []
    for number in range(count):
        chunks = range(number, len(table.chunks), count)
        name = f'{TRAIN}-{number:05d}-of-{count:05d}.tfrecord'
        with tf.io.TFRecordWriter(os.path.join(folder, name)) as writer:
            for chunk in chunks:
                writer.write(_record(table, chunk))
        files.append({'file': name, 'records': len(chunks)})
    index = {
        'format_version': FORMAT_VERSION,
        'stems': list(table.stems),
        'with_mixture': True,
        'sample_rate': table.sample_rate,
        'channels': table.channels,
        'chunk_samples': table.chunk_samples,
        'shards': {TRAIN: files},
        'table': table.digest,
    }
    write_text(os.path.join(folder, INDEX), json.dumps(index, indent=2) + '\n')


def _record(table: Table, chunk: int) -> bytes:
    waves, gains = load_chunk(table, chunk, 0, table.chunk_samples)
    song, start = table.chunks[chunk]
    features: dict[str, Any] = {
        'track': tf.train.Feature(bytes_list=tf.train.BytesList(value=[table.songs[song].files[MIXTURE].encode()])),
        'start': _int(start),
        'samples': _int(table.chunk_samples),
        'channels': _int(table.channels),
    }
    for name, wave, gain in zip((MIXTURE, *table.stems), waves, gains, strict=True):
        features[f'audio/{name}'] = tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[wave.astype('<i2').tobytes()])
        )
        features[f'gain/{name}'] = tf.train.Feature(float_list=tf.train.FloatList(value=[float(gain)]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _int(value: int) -> Any:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
