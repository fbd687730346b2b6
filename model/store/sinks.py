"""Where fetched bytes go: a file that survives the process, or memory for small ones."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
from collections.abc import Iterator
from typing import Protocol

from ..errors import RunError
from .attempts import Refused
from .display import Display

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Sink(Protocol):
    """Where bytes go."""

    def size(self) -> int:
        """Bytes that are there."""

    def write(self, data: bytes) -> None:
        """Append."""

    def restart(self) -> None:
        """Forget all bytes."""


class Memory:
    """A sink for small files."""

    def __init__(self) -> None:
        """Empty."""
        self.content = b''

    def size(self) -> int:
        """Bytes that are there."""
        return len(self.content)

    def write(self, data: bytes) -> None:
        """Append."""
        self.content += data

    def restart(self) -> None:
        """Forget all bytes."""
        self.content = b''


class PartFile:
    """A sink on disk, unbuffered: a process that is killed leaves all that it has received.

    Raises:
      RunError: the disk is full, or the folder cannot be written.
    """

    def __init__(self, path: str, store: str) -> None:
        """`store`: the folder that messages name."""
        self.path = path
        self._store = store

    def size(self) -> int:
        """Bytes that are there."""
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def write(self, data: bytes) -> None:
        """Append."""
        with writing_to(self._store), open(self.path, 'ab', buffering=0) as file:
            write_all(file, data)

    def restart(self) -> None:
        """Forget all bytes."""
        with writing_to(self._store), open(self.path, 'wb'):
            pass


def write_all(file: io.FileIO, data: bytes) -> None:
    """Write to an unbuffered file, which may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


@contextlib.contextmanager
def writing_to(store: str) -> Iterator[None]:
    """A block that writes into the store: what goes wrong with the disk becomes a RunError that names the folder."""
    try:
        yield
    except OSError as error:
        cure = 'make room there' if error.errno in FULL else 'make it writable'
        raise RunError(
            f'model store {store}: {error.strerror or error}: {cure}, or name another folder with STEMBEAM_MODELS'
        ) from error


def take(sink: Sink, data: bytes, total: int | None, most: int, display: Display) -> None:
    """Bytes that have arrived. Raises Refused if the file is longer than it may be."""
    sink.write(data)
    have = sink.size()
    if have > most:
        raise Refused(f'it is longer than {most / 1e6:.0f} MB, which no model of this kind is')
    display.move(len(data), have, total)


def sha256_of(path: str) -> str:
    """SHA-256 (hex) of a file. Raises OSError."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
