"""Estimates of chunks kept on disk between the passes over a track, so that memory does not grow with the track."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from .errors import RunError


class Spill:
    """A temporary file of equally large float32 arrays; it has no name, so that it vanishes with the process.

    >>> with Spill((2,)) as spill:
    ...     spill.append(np.float32([1, 2]))
    ...     spill.append(np.float32([3, 4]))
    ...     spill.read(1)
    array([3., 4.], dtype=float32)
    """

    def __init__(self, shape: Sequence[int]) -> None:
        """Arrays of this shape will come. The file lies where `tempfile` puts it (TMPDIR)."""
        self.shape = tuple(shape)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by __exit__)

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, array: np.ndarray) -> None:
        """Write an array behind those that are there. Raises RunError if the disk is full."""
        try:
            self._file.write(np.ascontiguousarray(array, np.float32).data)
            self._file.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise RunError(
                f'no space in {tempfile.gettempdir()} for the estimates that the Wiener filter keeps between its '
                'passes (1.4 MB per second of audio for four stems): free some, or set TMPDIR to another folder'
            ) from error

    def read(self, number: int) -> np.ndarray:
        """The `number`-th array that was written, from 0."""
        array = np.empty(self.shape, np.float32)
        self._file.seek(number * array.nbytes)
        if self._file.readinto(array.data.cast('B')) != array.nbytes:  # type: ignore[attr-defined]
            raise RunError('the temporary file of the Wiener filter is too short: check the disk of TMPDIR')
        return array
