"""A growing table of float32 rows of bounded memory: when it is long, it moves to an unnamed temporary file.

One mechanism serves short and long tracks alike: rows are appended once, and read back in blocks as often as needed.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator

import numpy as np

MEMORY_BYTES = 16 * 2**20  # what one table may keep in memory: ten minutes of intermediates at 44.1 kHz


class RowSpool:
    """Float32 rows of `columns` values.  Not to be shared by threads; the file goes when the object goes."""

    def __init__(self, columns: int) -> None:
        """An empty table."""
        self.columns = columns
        self.num_rows = 0
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - lives as long as this object
        weakref.finalize(self, self._file.close)

    def append(self, rows: np.ndarray) -> None:
        """Adds rows, (n, columns) float32."""
        self._file.seek(4 * self.columns * self.num_rows)
        self._file.write(np.ascontiguousarray(rows, dtype=np.float32).data)
        self.num_rows += len(rows)

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """The table in order, in read-only arrays of at most `rows` rows."""
        for start in range(0, self.num_rows, rows):
            count = min(rows, self.num_rows - start)
            self._file.seek(4 * self.columns * start)
            data = self._file.read(4 * self.columns * count)
            yield np.frombuffer(data, np.float32).reshape(count, self.columns)
