"""Where chunks come from, as tf.data sees it: shards, or a table of songs.

A source gives the numbers of its chunks in the order of an epoch, which the seed and the epoch decide, and loads part
of a chunk as 16-bit samples. Numbering goes on through the epochs, so that a resumed run can begin anywhere: the order
of the epoch is made again and its beginning skipped, before anything is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from ..backend import Tensor
from . import tables
from .remote_shards import is_remote, local_copy
from .shards import MIXTURE, Shard, ShardIndex

READERS = 8  # files read side by side
EPOCHS = 1 << 40  # more than any run


class Piece(NamedTuple):
    """Part of a chunk: mixture first where the source has one, then the source's stems."""

    waves: Tensor  # int16 (parts, samples, channels)
    gains: Tensor  # float32 (parts,)


class Source(Protocol):
    """Chunks of a subset, from wherever."""

    stems: tuple[str, ...]
    has_mixture: bool
    records: int
    chunk_samples: int  # of a whole chunk

    def stream(self, first: int, seed: int) -> Any:
        """Endless dataset of (number, handle), from chunk number `first` on, every epoch in another order."""

    def in_order(self) -> Any:
        """The handles of one epoch, in their order on disk."""

    def load(self, handle: Tensor, place: Tensor, samples: int) -> Piece:
        """`samples` of a chunk from `place` (0 the first possible start .. 1 the last); zeros beyond its end."""


def _epochs(first: int, records: int, epoch_of: Any) -> Any:
    """Epochs one after another: `epoch_of(epoch)` is a dataset of `records`; `first` records are left out."""
    start, skipped = divmod(first, records)
    datasets = tf.data.Dataset.range(start, EPOCHS).flat_map(
        lambda epoch: epoch_of(epoch).skip(tf.where(epoch == start, tf.constant(skipped, tf.int64), 0))
    )
    return datasets.enumerate(first)


def _remote_records(url: bytes) -> Iterator[bytes]:
    with local_copy(url.decode()) as path:
        yield from tf.data.TFRecordDataset(path).as_numpy_iterator()


class ShardSource:
    """The records of a subset of a folder of shards."""

    def __init__(self, index: ShardIndex, subset: str, mixture: bool, shuffle_bytes: int) -> None:
        """`mixture`: whether to read the stored mixture; `shuffle_bytes`: of records held in memory."""
        self.index = index
        self.stems = index.stems
        self.has_mixture = mixture
        self.shards: tuple[Shard, ...] = tuple(index.shards.get(subset, ()))
        self.records = index.records(subset)
        self.chunk_samples = index.chunk_samples
        record = 2 * index.chunk_samples * index.channels * (len(index.stems) + 1)
        self.buffer = max(1, min(self.records, shuffle_bytes // record))

    def stream(self, first: int, seed: int) -> Any:
        """Files in random order, several at a time, and their records through a shuffle buffer."""
        urls = tf.constant([shard.url for shard in self.shards])

        def epoch_of(epoch: Tensor) -> Any:
            files = tf.random.experimental.stateless_shuffle(urls, seed=tf.stack([tf.constant(seed, tf.int64), epoch]))
            records = tf.data.Dataset.from_tensor_slices(files).interleave(
                self._records,
                cycle_length=min(READERS, len(self.shards)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            return records.shuffle(self.buffer, seed=seed * 1_000_003 + epoch, reshuffle_each_iteration=False)

        return _epochs(first, self.records, epoch_of)

    def in_order(self) -> Any:
        """All records, file by file."""
        if not self._is_remote:
            return tf.data.TFRecordDataset([shard.url for shard in self.shards])
        return tf.data.Dataset.from_tensor_slices([shard.url for shard in self.shards]).flat_map(self._records)

    @property
    def _is_remote(self) -> bool:
        return is_remote(self.index.folder)

    def _records(self, url: Tensor) -> Any:
        """The records of a file, as a dataset."""
        if not self._is_remote:
            return tf.data.TFRecordDataset(url)
        return tf.data.Dataset.from_generator(
            _remote_records, args=(url,), output_signature=tf.TensorSpec((), tf.string)
        )

    def load(self, handle: Tensor, place: Tensor, samples: int) -> Piece:
        """Decode what is needed of a record."""
        names = [MIXTURE, *self.stems] if self.has_mixture else list(self.stems)
        features: dict[str, Any] = {'samples': tf.io.FixedLenFeature([], tf.int64)}
        for name in names:
            features[f'audio/{name}'] = tf.io.FixedLenFeature([], tf.string)
            features[f'gain/{name}'] = tf.io.FixedLenFeature([], tf.float32)
        record = tf.io.parse_single_example(handle, features)
        channels = self.index.channels
        room = tf.maximum(record['samples'] - samples, 0)
        first = tf.minimum(tf.cast(tf.cast(room + 1, tf.float32) * place, tf.int64), room)
        frame = 2 * channels  # bytes

        def decode(name: str) -> Tensor:
            part = tf.strings.substr(record[f'audio/{name}'], first * frame, samples * frame)
            return tf.io.decode_raw(part, tf.int16, fixed_length=samples * frame)

        waves = tf.reshape(tf.stack([decode(name) for name in names]), (len(names), samples, channels))
        return Piece(waves, tf.stack([record[f'gain/{name}'] for name in names]))


class TableSource:
    """The chunks of a table of songs, read from the songs' files each time."""

    def __init__(self, table: tables.Table) -> None:
        """Nothing is read yet."""
        self.table = table
        self.stems = table.stems
        self.has_mixture = True
        self.records = len(table.chunks)
        self.chunk_samples = table.chunk_samples

    def stream(self, first: int, seed: int) -> Any:
        """Chunks in random order."""

        def epoch_of(epoch: Tensor) -> Any:
            numbers = tf.range(self.records, dtype=tf.int64)
            order = tf.random.experimental.stateless_shuffle(
                numbers, seed=tf.stack([tf.constant(seed, tf.int64), epoch])
            )
            return tf.data.Dataset.from_tensor_slices(order)

        return _epochs(first, self.records, epoch_of)

    def in_order(self) -> Any:
        """Chunks song by song."""
        return tf.data.Dataset.range(self.records)

    def load(self, handle: Tensor, place: Tensor, samples: int) -> Piece:
        """Read part of a chunk from the files of its song."""
        room = self.table.chunk_samples - samples
        first = tf.minimum(tf.cast(tf.cast(room + 1, tf.float32) * place, tf.int64), room)

        def read(chunk: Any, offset: Any) -> Any:
            return tables.load_chunk(self.table, int(chunk), int(offset), samples)

        waves, gains = tf.numpy_function(read, [handle, first], [tf.int16, tf.float32])
        parts = 1 + len(self.stems)
        return Piece(tf.ensure_shape(waves, (parts, samples, self.table.channels)), tf.ensure_shape(gains, (parts,)))
