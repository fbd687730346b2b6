"""One file from anywhere to here: over HTTP with `requests` (proxies, redirects), from other addresses with fsspec.

The one idea: what has arrived stays in a sink, and another attempt goes on where the sink ends, in this process or a
later one. Whether the whole is right is for the caller to check, by its SHA-256 or size.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from .. import remote
from ..errors import RunError
from .addresses import is_web, shown
from .attempts import Broken, Patience, Refused, cause
from .display import Display
from .sinks import Memory, Sink, take
from .web import http_piece

BLOCK = 1 << 20  # bytes read at a time
LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for
GAIN = 1 << 20  # bytes with which an attempt counts as a success though it broke


def transfer(url: str, sink: Sink, most: int, patience: Patience, display: Display) -> None:
    """Bring the rest of a file into a sink.

    Args:
      url: of HTTP or of any fsspec file system.
      sink: holds the beginning of the file, or nothing.
      most: bytes; a longer file is refused.

    Raises:
      Refused: it is not there, must not be read, is too long, or `patience` has come to its end.
      RunError: the disk is full.
    """
    piece = http_piece if is_web(url) else _fsspec_piece
    failures, answered = 0, False
    while True:
        before = sink.size()
        try:
            piece(url, sink, most, patience, display)
            return
        except Broken as error:
            failures = 1 if sink.size() - before >= GAIN else failures + 1
            answered = answered or error.answered
            limit = patience.attempts if answered else min(patience.connections, patience.attempts)
            if failures >= limit:
                raise Refused(f'{error} (tried {limit} times)' if limit > 1 else str(error)) from error
            pause = min(max(patience.pause * 2 ** (failures - 1), error.pause), LONGEST_PAUSE)
            display.tell(f'{shown(url)}: {error}; trying again in {pause:.0f} s ({failures + 1} of {limit})')
            time.sleep(pause)


def read_small(url: str, most: int, patience: Patience, display: Display) -> bytes:
    """The content of a small file. Raises Refused (see `transfer`)."""
    memory = Memory()
    transfer(url, memory, most, patience, display)
    return memory.content


def _fsspec_piece(url: str, sink: Sink, most: int, patience: Patience, display: Display) -> None:
    """What is missing of a file of any fsspec file system."""
    with store_errors():
        fs, path = open_filesystem(url)
        total = fs.info(path)['size']
        if total is not None and sink.size() > total:
            sink.restart()
        with fs.open(path, 'rb') as source:
            source.seek(sink.size())
            while data := source.read(BLOCK):
                take(sink, data, total, most, display)
    if total is not None and sink.size() < total:
        raise Broken(f'it ended after {sink.size() / 1e6:.1f} of {total / 1e6:.1f} MB')


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it. Raises Refused if it needs a package that is not here."""
    try:
        return remote.open_filesystem(url)
    except (ImportError, ValueError) as error:
        raise Refused(cause(error)) from error


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """Whatever an fsspec file system raises becomes Broken or Refused."""
    try:
        yield
    except (Broken, Refused, RunError):
        raise
    except Exception as error:  # stores raise exceptions of their own
        if remote.is_transient(error):
            raise Broken(remote.told(error)) from error
        if isinstance(error, FileNotFoundError):
            raise Refused('there is no such file', missing=True) from error
        if remote.is_forbidden(error) or isinstance(error, (IsADirectoryError, NotADirectoryError)):
            raise Refused(cause(error)) from error
        raise (Broken if isinstance(error, OSError) else Refused)(cause(error)) from error
