"""Large arrays whose memory is used again, instead of going back to the system from track to track.

Memory that comes from the system is cleared page by page when it is first touched, which for the stems of track after
track takes as long as an inverse STFT (measured, on a virtual machine).
"""

from __future__ import annotations

import math
import threading
import weakref

import numpy as np

MOST_WASTE = 2  # memory more than so many times too large is given back instead: tracks have become shorter


class Recycler:
    """Makes arrays of zeros. Their memory is free again when the last array that shares it has gone, by itself."""

    def __init__(self) -> None:
        """Begin with no memory."""
        self._idle: dict[int, np.ndarray] = {}  # by identity
        self._lock = threading.RLock()  # arrays may go at any moment, while the same thread is in here, too

    def zeros(self, shape: tuple[int, ...]) -> np.ndarray:
        """A float32 array of zeros, contiguous."""
        size = math.prod(shape)
        memory = self._take(size)
        # Not a view of `memory`: views of this array are to keep it alive, and it is what is watched.
        array = np.frombuffer(memory.data, np.float32, size)
        weakref.finalize(array, self._give, memory).atexit = False
        array[:] = 0
        return array.reshape(shape)

    def idle_sizes(self) -> list[int]:
        """Of the memory that no array uses: numbers of samples."""
        with self._lock:
            return sorted(map(len, self._idle.values()))

    def _take(self, size: int) -> np.ndarray:
        """The smallest memory that is large enough. If there is none, some that is not makes room for it."""
        with self._lock:
            idle = list(self._idle.values())
            fitting = [memory for memory in idle if size <= len(memory) <= MOST_WASTE * size]
            if fitting:
                return self._idle.pop(id(min(fitting, key=len)))
            if idle:
                del self._idle[id(max(idle, key=len))]
        return np.empty(size, np.float32)

    def _give(self, memory: np.ndarray) -> None:
        with self._lock:
            self._idle[id(memory)] = memory


RECYCLER = Recycler()  # of this process
