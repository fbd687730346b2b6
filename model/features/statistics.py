"""The seven statistics of the FMA data set over the frames of a track, by scipy.stats' definitions.

Source: Defferrard et al., "FMA: A dataset for music analysis", ISMIR 2017 (features.py: mean, std, skew, kurtosis,
median, min, max).  The one idea to know: one column at a time, so that memory depends on the length of a column only.
"""

from __future__ import annotations

import numpy as np

from .columns import STATISTICS
from .spool import RowSpool

_COLUMNS_AT_ONCE = 13
_READ_ROWS = 4096


def column_statistics(values: np.ndarray) -> np.ndarray:
    """Statistics of one column.

    Args:
      values: (n,), float32, n > 0; it is sorted in place.

    Returns:
      (7,), float64, in the order of STATISTICS.  std has no correction of its degrees of freedom, skew is the biased
      one and kurtosis Fisher's (0 for a normal distribution); both are NaN, as in scipy.stats, where all values are the
      same.  If any value is NaN, all statistics are.
    """
    values.sort()
    if np.isnan(values[-1]):  # NaN sorts to the end
        return np.full(len(STATISTICS), np.nan)
    exact = values.astype(np.float64)
    mean = exact.mean()
    exact -= mean
    square = exact * exact
    variance = square.mean()
    if variance <= (np.finfo(np.float64).resolution * mean) ** 2:
        skew = kurtosis = np.nan
    else:
        exact *= square
        skew = exact.mean() / variance**1.5
        square *= square
        kurtosis = square.mean() / variance**2 - 3.0
    middle = len(values) // 2
    median = float(values[middle]) if len(values) % 2 else (float(values[middle - 1]) + float(values[middle])) / 2
    return np.array([mean, np.sqrt(variance), skew, kurtosis, median, values[0], values[-1]])


def table_statistics(table: RowSpool) -> np.ndarray:
    """Statistics of every column of a table with at least one row, (columns, 7) float64."""
    result = np.empty((table.columns, len(STATISTICS)))
    for first in range(0, table.columns, _COLUMNS_AT_ONCE):
        stop = min(first + _COLUMNS_AT_ONCE, table.columns)
        columns = np.empty((stop - first, table.num_rows), np.float32)
        start = 0
        for block in table.blocks(_READ_ROWS):
            columns[:, start : start + len(block)] = block[:, first:stop].T
            start += len(block)
        for column, values in enumerate(columns, first):
            result[column] = column_statistics(values)
    return result
