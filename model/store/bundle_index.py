"""Names and shapes of the variables in a TensorFlow checkpoint, read from its `.index` file without TensorFlow.

Importing TensorFlow takes seconds, and looking whether a checkpoint fits a configuration should not. The one idea: an
index is a sorted table (LevelDB's format: blocks of entries that share prefixes with the entry before, found through
an index block that the footer names), with a protocol buffer (BundleEntryProto) for each variable.

Sources: LevelDB, doc/table_format.md; TensorFlow, core/protobuf/tensor_bundle.proto and core/util/tensor_bundle.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

FOOTER_BYTES = 48
MAGIC = bytes.fromhex('57fb808b247547db')
TRAILER_BYTES = 5  # after each block: kind of compression, CRC
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


class Entry(NamedTuple):
    """A variable: its shape, and where its bytes lie in a shard of the data."""

    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


class Index(NamedTuple):
    """The variables of a checkpoint."""

    num_shards: int
    entries: dict[str, Entry]

    def shard_names(self, prefix: str) -> list[str]:
        """Names of the files with the data."""
        return [f'{prefix}.data-{shard:05d}-of-{self.num_shards:05d}' for shard in range(self.num_shards)]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """name -> shape."""
        return {name: entry.shape for name, entry in self.entries.items()}


def read_index(path: str) -> Index:
    """Read a `.index` file.

    Raises:
      OSError: it cannot be read.
      ValueError: it is damaged, or of a form (compressed) that only TensorFlow reads.
    """
    with open(path, 'rb') as file:
        return parse_index(file.read())


def parse_index(data: bytes) -> Index:
    """The content of a `.index` file (see `read_index`). Raises ValueError."""
    if len(data) < FOOTER_BYTES or data[-8:] != MAGIC:
        raise ValueError('no index of a checkpoint')
    try:
        return _parse_table(data)
    except IndexError as error:
        raise ValueError('a damaged index of a checkpoint') from error


def incomplete_variables(index: Index, prefix: str) -> list[str]:
    """Names of the variables of which the data files beside an index do not hold all bytes."""
    paths = index.shard_names(prefix)
    sizes = [os.path.getsize(path) if os.path.isfile(path) else 0 for path in paths]
    return [
        name
        for name, entry in index.entries.items()
        if entry.shard >= len(sizes) or entry.offset + entry.size > sizes[entry.shard]
    ]


def _parse_table(data: bytes) -> Index:
    footer = len(data) - FOOTER_BYTES
    _, position = _handle(data, footer)  # of blocks that TensorFlow does not write
    (start, size), _ = _handle(data, position)
    shards: int | bytes = 0
    entries = {}
    for _, where in _block(data, start, size):
        for key, value in _block(data, *_handle(where, 0)[0]):
            if key:
                entries[key.decode()] = _entry(value)
            else:
                shards = dict(_fields(value)).get(1, 1)
    if not isinstance(shards, int) or not 0 < shards < 10000:
        raise ValueError('an index without its header')
    return Index(shards, entries)


def _block(data: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The (key, value) pairs of a block."""
    if start + size + TRAILER_BYTES > len(data) or size < 4:
        raise ValueError('a block beyond the end')
    if data[start + size]:
        raise ValueError('compressed')
    block = data[start : start + size]
    restarts = int.from_bytes(block[-4:], 'little')
    end = size - 4 - 4 * restarts
    position, key = 0, b''
    while position < end:
        shared, position = _varint(block, position)
        added, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + added]
        position += added
        yield key, block[position : position + length]
        position += length


def _entry(message: bytes) -> Entry:
    fields = dict(_fields(message))
    dims = [dict(_fields(_bytes(dim))).get(1, 0) for number, dim in _fields(_bytes(fields.get(2, b''))) if number == 2]
    shape = tuple(dim for dim in dims if isinstance(dim, int))
    return Entry(shape, _int(fields.get(3, 0)), _int(fields.get(4, 0)), _int(fields.get(5, 0)))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of the fields of a protocol buffer."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        value: int | bytes
        if kind == VARINT:
            value, position = _varint(message, position)
        else:
            if kind == BYTES:
                length, position = _varint(message, position)
            elif kind in (FIXED32, FIXED64):
                length = 4 if kind == FIXED32 else 8
            else:
                raise ValueError('no protocol buffer')
            value, position = message[position : position + length], position + length
        yield tag >> 3, value


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError('no number')
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError('no message')
    return value


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """(offset, size) of a block, and where reading goes on."""
    offset, position = _varint(data, position)
    size, position = _varint(data, position)
    return (offset, size), position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return value, position
