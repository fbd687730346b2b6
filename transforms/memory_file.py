"""A file in memory that a library writes by its descriptor, and whose bytes are passed on as they come.

A library that writes into a Python object waits for the interpreter's lock at every few kilobytes, and so do all other
threads that write. The one idea to know: memory stays constant, because what was passed on is given back to the system;
the beginning alone is kept, where headers are written anew at the end.
"""

from __future__ import annotations

import mmap
import os
from typing import Protocol

HEAD_BYTES = 1 << 16  # may be written anew
FREED_BYTES = 1 << 20  # given back at a time: many pages


class Sink(Protocol):
    """What takes the bytes: a binary file, or like one."""

    def write(self, data: bytes, /) -> int:
        """Append bytes, or overwrite those at the position."""

    def seek(self, offset: int, /) -> int:
        """Move to a position."""


class MemoryFile:
    """A file without a name, for one writer that appends to it, and goes back within its first HEAD_BYTES alone.

    >>> import io
    >>> sink = io.BytesIO()
    >>> file = MemoryFile(sink)
    >>> os.write(file.descriptor, b'12 bytes to come:')
    17
    >>> file.pass_on()
    >>> os.pwrite(file.descriptor, b'17', 0)
    2
    >>> file.finish()
    >>> sink.getvalue()
    b'17 bytes to come:'
    """

    def __init__(self, sink: Sink) -> None:
        """An empty file.

        Raises:
          OSError: no memory, or no descriptor, is left.
        """
        self.descriptor = os.memfd_create('stembeam')
        self._sink = sink
        self._passed = 0
        self._freed = HEAD_BYTES
        self._head = b''

    def pass_on(self) -> None:
        """Give the sink what has been written since the last call.

        Raises:
          OSError: the sink's.
        """
        size = os.fstat(self.descriptor).st_size
        while self._passed < size:
            data = os.pread(self.descriptor, min(size - self._passed, FREED_BYTES), self._passed)
            self._head += data[: max(0, HEAD_BYTES - self._passed)]
            self._passed += len(data)
            self._sink.write(data)
        while self._passed - self._freed >= FREED_BYTES:
            with mmap.mmap(self.descriptor, FREED_BYTES, offset=self._freed) as pages:
                pages.madvise(mmap.MADV_REMOVE)
            self._freed += FREED_BYTES

    def finish(self) -> None:
        """Give the sink all that is left, and the beginning again if it was written anew; frees the memory.

        Raises:
          OSError: the sink's.
        """
        try:
            self.pass_on()
            head = os.pread(self.descriptor, HEAD_BYTES, 0)
            if head != self._head:
                self._sink.seek(0)
                self._sink.write(head)
        finally:
            self.close()

    def close(self) -> None:
        """Free the memory, whatever was written; may be called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
