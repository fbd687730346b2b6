"""Reading files of object stores and web servers by ranges, each tried again by itself.

Stands on retrying.py and fsspec's drivers. The one idea: a file is read in blocks, so what breaks costs one block, and
reading goes on where it broke; nothing of a file is asked for twice in a row. Where a store tells about a file while it
sends its beginning (S3), one request is enough for a small file.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from .filesystems import open_filesystem
from .options import current_retries
from .retrying import retrying

T = TypeVar('T')

READ_BYTES = 1 << 20  # of a file that is read here and there: headers, ends
COPY_BYTES = 8 << 20  # of a file that is copied as a whole
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


class RemoteFile:
    """One file of a store, as it is there now."""

    def __init__(self, uri: str, is_wanted: bool = False) -> None:
        """Asks for its size.

        Args:
          uri: of the file.
          is_wanted: its beginning will be read; it is fetched by the same request where the store does that.

        Raises:
          GaveUp, OSError and whatever drivers raise.
        """
        self.uri = uri
        self.fs, self.path = open_filesystem(uri)
        self._beginning = b''
        found = self._open_s3() if is_wanted and self._is_plain else None
        if found is None:
            self.info: dict[str, Any] = self.ask(lambda: self.fs.info(self.path))
        else:
            self.info, self._beginning = found
        if self.info.get('type') == 'directory':
            raise IsADirectoryError('this is a folder')
        self.size: int | None = self.info.get('size')

    @property
    def has_ranges(self) -> bool:
        """Whether any part of it can be asked for: not of a web server that does not say so, nor in an archive."""
        is_web = self.uri.lower().startswith(('http://', 'https://'))
        return self.size is not None and self._is_plain and (not is_web or bool(self.info.get('partial')))

    @property
    def _is_plain(self) -> bool:
        """Whether it is no archive, cache or the like that the driver looks into: no chain of addresses."""
        return '::' not in self.uri

    @property
    def version(self) -> tuple[str, ...]:
        """What tells it from a later file of the same name, as far as its store says."""
        return tuple(f'{key}={self.info[key]}' for key in ('size', *VERSION_KEYS) if self.info.get(key) is not None)

    def ask(self, call: Callable[[], T]) -> T:
        """What a request to the store returns, which does no harm when it is done twice; tried as the options say.

        Every request for the file goes through here, so a subclass can count them.
        """
        return retrying(call, self.uri, current_retries())

    def read_range(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the file, all of them; only where `has_ranges`."""
        if stop <= len(self._beginning):
            return self._beginning[start:stop]
        return self.ask(lambda: self._read_once(start, stop)) if stop > start else b''

    def _read_once(self, start: int, stop: int) -> bytes:
        data = self.fs.cat_file(self.path, start=start, end=stop)
        if len(data) == self.size and stop - start < len(data):  # a server that gives the whole whatever it is asked
            data = data[start:stop]
        if len(data) != stop - start:
            raise ConnectionError(f'{len(data)} of {stop - start} bytes arrived')
        return data

    def blocks(self, size: int = COPY_BYTES) -> Iterator[bytes]:
        """The whole file, block by block; only where `has_ranges`."""
        if self._beginning:
            yield self._beginning
        for start in range(len(self._beginning), self.size or 0, size):
            yield self.read_range(start, min(start + size, self.size or 0))

    def download(self, local: str) -> None:
        """Copy it to a local path."""
        if not self.has_ranges:
            self.ask(lambda: self.fs.get_file(self.path, local))
            return
        with open(local, 'wb') as file:
            for block in self.blocks():
                file.write(block)

    def _open_s3(self) -> tuple[dict[str, Any], bytes] | None:
        """What s3fs' `info` says of a file, and up to READ_BYTES of its beginning, by one request.

        None where that is no way to learn of it: in other stores, of folders, of empty and of missing files.

        Source: the headers of S3's GetObject, which are those of HeadObject with Content-Range.
        """
        import fsspec.asyn

        fs = self.fs
        if not hasattr(fs, '_call_s3') or not hasattr(fs, 'split_path'):
            return None
        bucket, key, version = fs.split_path(self.path)
        if not key:
            return None

        async def get() -> tuple[dict[str, Any], bytes]:
            which = {'VersionId': version} if version else {}
            answer = await fs._call_s3(
                'get_object', fs.kwargs, Bucket=bucket, Key=key, Range=f'bytes=0-{READ_BYTES - 1}', **which
            )
            try:
                return answer, await answer['Body'].read()
            finally:
                answer['Body'].close()

        try:
            answer, beginning = self.ask(lambda: fsspec.asyn.sync(fs.loop, get))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:  # as s3fs says that nothing of an empty file can be asked for
                return None
            raise
        total = re.search(r'/(\d+)$', answer.get('ContentRange') or '')
        if total is None or len(beginning) != min(int(total[1]), READ_BYTES):
            return None
        info = {'name': self.path, 'type': 'file', 'size': int(total[1])}
        return {**info, **{name: answer.get(name) for name in ('ETag', 'LastModified', 'VersionId')}}, beginning


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
