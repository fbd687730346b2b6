"""This run against the report that was committed last.

Times of two machines, or of one machine on a good and on a bad day, differ; so what is compared are speeds as shares
of the matrix ceiling measured in the same run (times, multiplied by it), of one core or of all as the quantity says.
That leaves what memory binds, and all else that differs between processors: where they do, the comparison says so, and
every line tells the change as it is, too. Memory is compared as it is. Peers are not compared: they are not ours to
mend.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .rows import QUANTITIES, Row, ceilings

WORSE = 0.15  # what counts as a regression
OURS = ('network', 'stages', 'process', 'long')


class Change(NamedTuple):
    """A row that both runs have."""

    row: Row
    before: float  # its median in the earlier report
    worse: float  # share by which it became worse after normalising; negative: better
    worse_as_it_is: float  # the same without normalising

    @property
    def is_regression(self) -> bool:
        """More than can be chance."""
        return self.worse > WORSE

    def told(self) -> str:
        """One line."""
        unit = QUANTITIES[self.row.quantity].unit
        against = QUANTITIES[self.row.quantity].ceiling
        how = f' set against the ceiling of {against}, {_share(self.worse_as_it_is)} as it is' if against else ''
        return f'{self.row.name}: {self.row.median:.4g} {unit}, before {self.before:.4g}: {_share(self.worse)}{how}'


def _share(worse: float) -> str:
    return f'{abs(worse):.0%} {"worse" if worse > 0 else "better"}'


class Comparison(NamedTuple):
    """What became of all rows that can be compared."""

    against: str  # commit and date of the earlier report, or why there is none to compare with
    changes: list[Change]

    @property
    def regressions(self) -> list[Change]:
        """Those that became worse by more than WORSE, the worst first."""
        return sorted((change for change in self.changes if change.is_regression), key=lambda change: -change.worse)


def compare(rows: Sequence[Row], settings: Mapping[str, Any], cpu: str, earlier: str | None) -> Comparison:
    """Compare with an earlier report, given as its text; `cpu` is the processor of this run."""
    if earlier is None:
        return Comparison('no report was committed yet', [])
    try:
        report = json.loads(earlier)
        before = {row.key: row for row in map(Row.from_json, report['rows'])}
        name = f'{report["commit"]} of {report["date"]}'
        former_settings = {key: report['settings'][key] for key in settings}
        former_cpu = report['machine']['cpu']
    except (ValueError, KeyError, TypeError) as error:
        return Comparison(f'the earlier report cannot be read ({type(error).__name__}: {error})', [])
    if former_settings != dict(settings):
        return Comparison(f'{name} was measured with other settings ({former_settings}): not compared', [])
    if former_cpu != cpu:
        name += f' (another processor, {former_cpu}: the matrix ceiling does not level all that differs)'
    now, then = ceilings(rows), ceilings(list(before.values()))
    changes = []
    for row in rows:
        former = before.get(row.key)
        if row.part not in OURS or former is None:
            continue
        worse = worsening(row, former, now, then)
        as_it_is = worsening(row, former)
        if worse is not None and as_it_is is not None:
            changes.append(Change(row, former.median, worse, as_it_is))
    return Comparison(name, changes)


def worsening(
    row: Row, former: Row, now: Mapping[str, float] | None = None, then: Mapping[str, float] | None = None
) -> float | None:
    """The share by which a row became worse, each against the ceiling of its own run, or as they are if none is given.

    Returns:
      None where a ceiling is missing, or a value is not above zero.
    """
    quantity = QUANTITIES[row.quantity]
    values = [row.median, former.median]
    if quantity.ceiling is not None and now is not None and then is not None:
        if quantity.ceiling not in now or quantity.ceiling not in then:
            return None
        factors = now[quantity.ceiling], then[quantity.ceiling]
        values = [v / f if quantity.higher_is_better else v * f for v, f in zip(values, factors, strict=True)]
    if min(values) <= 0:
        return None
    return (values[1] / values[0] if quantity.higher_is_better else values[0] / values[1]) - 1
