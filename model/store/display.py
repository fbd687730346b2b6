"""What a user sees of a download: a line that moves on a terminal, elsewhere one line at its start and one at its end.

Retries and waiting are told in lines of their own in both cases.
"""

from __future__ import annotations

import io
import sys
import time
from typing import TextIO

SECONDS_BETWEEN = 0.2  # two drawings of the moving line
MEGABYTE = 1e6


class Display:
    """The progress of one download after another, on standard error unless told otherwise."""

    def __init__(self, out: TextIO | None = None) -> None:
        """`out`: where to show; None: standard error, as it is now."""
        self._out = sys.stderr if out is None else out
        self._moves = self._out.isatty()
        self._drawn = False
        self._next = 0.0
        self._name = ''
        self._began = time.monotonic()
        self._received = 0

    def start(self, name: str, source: str) -> None:
        """A download begins."""
        self._name, self._began, self._received, self._next = name, time.monotonic(), 0, 0.0
        self.tell(f'fetching {name} from {source}')

    def move(self, added: int, have: int, total: int | None) -> None:
        """`added` bytes arrived, `have` of `total` (None: unknown) are here."""
        self._received += added
        now = time.monotonic()
        if self._moves and now >= self._next:
            self._next = now + SECONDS_BETWEEN
            whole = f' of {total / MEGABYTE:.1f}' if total else ''
            self._line(f'{self._name}: {have / MEGABYTE:.1f}{whole} MB, {self._rate()}')

    def end(self, size: int) -> None:
        """The download is complete and right."""
        self.tell(f'fetched {self._name}: {size / MEGABYTE:.1f} MB, {self._rate()}')

    def tell(self, text: str) -> None:
        """A line that stays."""
        self._line('')
        print(text, file=self._out, flush=True)
        self._drawn = False

    def close(self) -> None:
        """Take the moving line away."""
        self._line('')

    def _rate(self) -> str:
        elapsed = max(time.monotonic() - self._began, 1e-3)
        return f'{self._received / MEGABYTE / elapsed:.1f} MB/s'

    def _line(self, text: str) -> None:
        if self._moves and (self._drawn or text):
            print(f'\r\x1b[K{text}', end='', file=self._out, flush=True)
            self._drawn = bool(text)


def silent() -> Display:
    """A display that shows nothing."""
    return Display(io.StringIO())
