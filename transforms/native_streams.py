"""Tracks that are open for decoding at their own rate, and the pool that keeps them open between segments.

Stands on readers.py. The one idea: most kinds of file can only be decoded from the start, so a track that was read up
to some place is kept open there, with the last seconds in memory; whoever wants what comes next goes on from it.
"""

from __future__ import annotations

import collections
import itertools
import threading
from collections.abc import Hashable

import numpy as np

from ..model.errors import TrackError
from ..model.resampling import BLOCK_SECONDS, MARGIN_SECONDS
from .addresses import shown
from .readers import BlockReader

# A segment begins a little before the end of the last one, so at worst in the block before that segment's last block.
HISTORY_SECONDS = 2 * (BLOCK_SECONDS + MARGIN_SECONDS)
POOL_SIZE = 16  # open tracks per process, HISTORY_SECONDS of sound each


class NativeStream:
    """One open track: samples from anywhere not too far back, in at most two channels, checked for NaN and infinity."""

    def __init__(self, reader: BlockReader, channels: int, exact_seek: bool) -> None:
        """Takes over `reader`, which may seek if `exact_seek`.

        One channel from several is their mean, two are the first two.
        """
        self._reader = reader
        self.exact_seek = exact_seek
        self._to_mono = channels == 1 and reader.channels > 1
        self.width = 1 if self._to_mono else min(2, reader.channels)
        self.sample_rate = reader.sample_rate
        self.num_samples: int | None = None  # of the whole track; None until its end was read
        self.closed = False
        self._history: collections.deque[np.ndarray] = collections.deque()  # consecutive, up to the reader's position
        self._held = 0

    @property
    def cut_short(self) -> bool:
        """Whether the file ended in the middle of its data."""
        return self._reader.cut_short

    @property
    def position(self) -> int:
        """The sample up to which the track is decoded."""
        return self._reader.position

    def reaches(self, start: int) -> bool:
        """Whether `read` can begin at sample `start`."""
        return self.exact_seek or start >= self.position - self._held

    def read(self, start: int, count: int) -> np.ndarray:
        """Samples [start, start + count), fewer only at the end of the track, which sets `num_samples`.

        Returns:
          (n, width) float32, the caller's own.

        Raises:
          TrackError: damaged data, NaN or infinity.
        """
        self._go_to(start)
        missing = start + count - self.position
        if missing > 0 and self.num_samples is None:
            self._decode(missing)
        result = np.empty((max(0, min(start + count, self.position) - start), self.width), np.float32)
        at = self.position - self._held
        for chunk in self._history:
            first, last = max(start, at), min(start + len(result), at + len(chunk))
            if first < last:
                result[first - start : last - start] = chunk[first - at : last - at]
            at += len(chunk)
        return result

    def _go_to(self, start: int) -> None:
        if self.position - self._held <= start <= self.position:
            return
        self._history.clear()
        self._held = 0
        if self.exact_seek:
            self._reader.seek(min(start, self._reader.header_samples or 0))
        elif self.num_samples is None:
            wanted = start - self.position
            if self._reader.skip(wanted) < wanted:
                self.num_samples = self.position

    def _decode(self, count: int) -> None:
        position = self.position
        samples = self._reader.read(count)
        if len(samples) < count:
            self.num_samples = self.position
        if not np.isfinite(samples).all():
            seconds = (position + np.argwhere(~np.isfinite(samples))[0, 0]) / self.sample_rate
            raise TrackError(
                f'{shown(self._reader.uri)}: holds NaN or infinity at {seconds:.3f} s: make the file again'
            )
        if self._to_mono:
            samples = samples.mean(axis=1, keepdims=True, dtype=np.float32)
        elif self._reader.channels > 2:
            samples = samples[:, :2].copy()
        self._history.append(samples)
        self._held += len(samples)
        while self._held - len(self._history[0]) >= HISTORY_SECONDS * self.sample_rate:
            self._held -= len(self._history.popleft())

    def close(self) -> None:
        """Frees the file and the memory; may be called twice."""
        self.closed = True
        self._history.clear()
        self._reader.close()


class StreamPool:
    """Open streams that wait for the next segment of their track; for any number of threads."""

    def __init__(self, size: int = POOL_SIZE) -> None:
        """Keeps at most `size` streams; the one that has waited longest is closed first."""
        self._size = size
        self._waiting: collections.OrderedDict[int, tuple[Hashable, NativeStream]] = collections.OrderedDict()
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many streams wait."""
        return len(self._waiting)

    def take(self, key: Hashable, start: int) -> NativeStream | None:
        """The stream of this key that is decoded furthest and still reaches `start`; the caller's until given back."""
        with self._lock:
            fitting = [
                (stream.position, number)
                for number, (its_key, stream) in self._waiting.items()
                if its_key == key and stream.reaches(start)
            ]
            return self._waiting.pop(max(fitting)[1])[1] if fitting else None

    def give_back(self, key: Hashable, stream: NativeStream) -> None:
        """Keeps a stream for the next segment, or closes it where opening it again is as good."""
        if stream.closed or stream.exact_seek:
            stream.close()
            return
        with self._lock:
            self._waiting[next(self._numbers)] = key, stream
            evicted = [self._waiting.popitem(last=False)[1][1] for _ in range(len(self._waiting) - self._size)]
        for old in evicted:
            old.close()
