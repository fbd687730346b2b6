"""What was measured: rows of samples, and what is said of them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Quantity(NamedTuple):
    """A kind of measurement."""

    unit: str
    higher_is_better: bool
    ceiling: str | None  # which matrix ceiling ('one core', 'all cores') it is set against to compare machines


QUANTITIES: Mapping[str, Quantity] = {
    'rate': Quantity('GFLOP/s', True, 'all cores'),
    'speed': Quantity('x real time', True, 'all cores'),
    'cpu': Quantity('CPU ms per second of audio', False, 'one core'),
    'wall': Quantity('ms per second of audio', False, 'all cores'),
    'seconds': Quantity('s', False, 'one core'),
    'memory': Quantity('GB', False, None),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing measured, once in every round.

    Raises:
      ValueError: no samples, or an unknown quantity.
    """

    part: str  # 'ceiling', 'network', 'stages', 'process', 'peers' or 'long'
    name: str
    quantity: str  # of QUANTITIES
    samples: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES or not self.samples:
            raise ValueError(f'row {self.name}: {len(self.samples)} samples of {self.quantity!r}: nothing to tell')

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is, without its values."""
        return self.part, self.name, self.quantity

    @property
    def median(self) -> float:
        """The figure that is told."""
        return statistics.median(self.samples)

    @property
    def spread(self) -> tuple[float, float]:
        """Quartiles of four samples or more; of fewer the lowest and the highest."""
        if len(self.samples) < 4:
            return min(self.samples), max(self.samples)
        low, _, high = statistics.quantiles(self.samples, n=4, method='inclusive')
        return low, high

    def to_json(self) -> dict[str, Any]:
        """With the figures that follow from the samples, for readers of the report."""
        low, high = self.spread
        return {
            **dataclasses.asdict(self),
            'unit': QUANTITIES[self.quantity].unit,
            'median': self.median,
            'low': low,
            'high': high,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Row:
        """The row of `to_json`. Raises KeyError, TypeError or ValueError where it is none."""
        return cls(found['part'], found['name'], found['quantity'], tuple(map(float, found['samples'])))


def find(rows: Sequence[Row], part: str, name: str, quantity: str) -> Row | None:
    """The row of that key."""
    return next((row for row in rows if row.key == (part, name, quantity)), None)


def ceilings(rows: Sequence[Row]) -> dict[str, float]:
    """GFLOP/s of the best way to multiply float32 matrices, by 'one core' and 'all cores'."""
    best: dict[str, float] = {}
    for row in rows:
        if row.part == 'ceiling':
            cores = row.name.rpartition(', ')[2]
            best[cores] = max(best.get(cores, 0.0), row.median)
    return best
