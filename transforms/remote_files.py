"""Reading files of object stores and web servers by ranges, each tried again by itself.

Stands on model/remote and fsspec's drivers. The one idea: a file is read in blocks, so what breaks costs one block, and
reading goes on where it broke; nothing of a file is asked for twice in a row.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

from ..model.remote import open_filesystem
from .addresses import split_url
from .retrying import ask

READ_BYTES = 1 << 20  # of a file that is read here and there: headers, ends
# What object stores say about the version of an object.
VERSION_KEYS = (
    'ETag',
    'etag',
    'md5Hash',
    'content_md5',
    'crc32c',
    'generation',
    'LastModified',
    'last_modified',
    'updated',
    'mtime',
    'created',
)
COPY_BYTES = 8 << 20  # of a file that is copied as a whole


class RemoteFile:
    """One file of a store, as it is there now."""

    def __init__(self, uri: str) -> None:
        """Asks for its size.

        Raises:
          GaveUp, OSError and whatever drivers raise.
        """
        self.uri = uri
        self.fs, self.path = open_filesystem(uri)
        self.info: dict[str, Any] = ask(lambda: self.fs.info(self.path), uri)
        if self.info.get('type') == 'directory':
            raise IsADirectoryError('this is a folder')
        self.size: int | None = self.info.get('size')

    @property
    def has_ranges(self) -> bool:
        """Whether any part of it can be asked for: not of a web server that does not say so, nor in an archive."""
        url = split_url(self.uri)
        is_plain = url is not None and not url.before and not url.after
        is_web = url is not None and url.is_web
        return self.size is not None and is_plain and (not is_web or bool(self.info.get('partial')))

    @property
    def version(self) -> tuple[str, ...]:
        """What tells it from a later file of the same name, as far as its store says."""
        return tuple(f'{key}={self.info[key]}' for key in ('size', *VERSION_KEYS) if self.info.get(key) is not None)

    def read_range(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the file, all of them; only where `has_ranges`."""
        return ask(lambda: self._read_once(start, stop), self.uri) if stop > start else b''

    def _read_once(self, start: int, stop: int) -> bytes:
        data = self.fs.cat_file(self.path, start=start, end=stop)
        if len(data) == self.size and stop - start < len(data):  # a server that gives the whole whatever it is asked
            data = data[start:stop]
        if len(data) != stop - start:
            raise ConnectionError(f'{len(data)} of {stop - start} bytes arrived')
        return data

    def blocks(self, size: int = COPY_BYTES) -> Iterator[bytes]:
        """The whole file, block by block; only where `has_ranges`."""
        for start in range(0, self.size or 0, size):
            yield self.read_range(start, min(start + size, self.size or 0))

    def download(self, local: str) -> None:
        """Copy it to a local path."""
        if not self.has_ranges:
            ask(lambda: self.fs.get_file(self.path, local), self.uri)
            return
        with open(local, 'wb') as file:
            for block in self.blocks():
                file.write(block)


class RangeReader(io.RawIOBase):
    """A RemoteFile as a binary file: the block at the position, and the one before it, are held."""

    def __init__(self, file: RemoteFile) -> None:
        """`file` must have ranges."""
        super().__init__()
        self._file = file
        self._size = file.size or 0
        self._position = 0
        self._blocks: dict[int, bytes] = {}  # number -> content, the last used last

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to `offset` and returns the new position."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer, but for what lies beyond the end of the file; returns how many bytes that are."""
        left = wanted = min(len(buffer), max(0, self._size - self._position))
        while left:
            number, offset = divmod(self._position, READ_BYTES)
            part = self._block(number)[offset : offset + left]
            buffer[wanted - left : wanted - left + len(part)] = part
            self._position += len(part)
            left -= len(part)
        return wanted

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            start = number * READ_BYTES
            block = self._file.read_range(start, min(start + READ_BYTES, self._size))
        self._blocks[number] = block
        while len(self._blocks) > 2:
            del self._blocks[next(iter(self._blocks))]
        return block
