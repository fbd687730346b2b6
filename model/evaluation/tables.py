"""From the medians of tracks to the table of an evaluation: numbers, plain text and Markdown.

Stands on paper.py. The one idea: a row is a stem and whose estimate was scored: the separation, the mixture taken as
the estimate (what it would be to do nothing), the gain between these two rows, and the paper's rows for that stem.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .paper import METRICS, NOTE, PUBLISHED
from .scores import nan_median

Medians = Mapping[str, Mapping[str, float]]  # stem -> metric -> dB
MIXTURE, GAIN = 'mixture', 'gain'
DEFINITION = (
    'BSSEval v4, dB: median over frames of {window:g} s, then over tracks. mixture: itself taken as the estimate.'
)
GAIN_DEFINITION = 'gain: median SDR of the separation minus median SDR of the mixture.'


class Row(NamedTuple):
    """A row of the table."""

    stem: str
    estimate: str  # whose: the name of the separation, 'mixture', 'gain', 'paper, mask', 'paper, MWF'
    values: Mapping[str, float]  # metric -> dB; NaN or missing: none


class Table(NamedTuple):
    """The table of an evaluation."""

    title: str
    rows: tuple[Row, ...]
    window: float  # seconds of a frame

    def text(self) -> str:
        """The table for a terminal."""
        cells = [['stem', 'estimate', *METRICS], *map(_cells, self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
        lines = []
        for number, row in enumerate(cells):
            if number > 1 and row[0] == cells[number - 1][0]:
                row = ['', *row[1:]]
            elif number > 0:
                lines.append('')
            names = '  '.join(cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True))
            lines.append(
                names + ''.join(cell.rjust(width + 3) for cell, width in zip(row[2:], widths[2:], strict=True))
            )
        return '\n'.join([self.title, '', *lines, '', *self.notes()]) + '\n'

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [f'| stem | estimate | {" | ".join(METRICS)} |', f'|---|---|{"---:|" * len(METRICS)}']
        lines += [f'| {" | ".join(_escaped(cell) for cell in _cells(row))} |' for row in self.rows]
        notes = [f'{note}  ' for note in self.notes()]
        return '\n'.join([f'### {_escaped(self.title)}', '', *lines, '', *notes]) + '\n'

    def notes(self) -> list[str]:
        """What the numbers are."""
        has_paper = any(row.estimate in PUBLISHED for row in self.rows)
        return [DEFINITION.format(window=self.window), GAIN_DEFINITION, *([NOTE] if has_paper else [])]


def _cells(row: Row) -> list[str]:
    values = [row.values.get(metric, math.nan) for metric in METRICS]
    sign = '+' if row.estimate == GAIN else ''
    return [row.stem, row.estimate, *('-' if math.isnan(value) else f'{value:{sign}.2f}' for value in values)]


def _escaped(text: str) -> str:
    return text.replace('|', '\\|')


def track_medians(tracks: Iterable[Medians]) -> dict[str, dict[str, float]]:
    """Stem -> metric -> median over tracks of the medians over frames; tracks without a score do not count."""
    gathered: dict[str, dict[str, list[float]]] = {}
    for medians in tracks:
        for stem, values in medians.items():
            found = gathered.setdefault(stem, {metric: [] for metric in METRICS})
            for metric in METRICS:
                found[metric].append(values[metric])
    return {stem: {metric: nan_median(values) for metric, values in found.items()} for stem, found in gathered.items()}


def make_table(title: str, estimate: str, separation: Medians, mixture: Medians, window: float) -> Table:
    """The table of medians over tracks.

    Args:
      title: what was scored.
      estimate: what the rows of the separation are called, such as the model's name.
      separation: the medians of the estimates.
      mixture: the same for the mixture taken as the estimate.
      window: seconds of a frame.
    """
    rows = []
    for stem, values in separation.items():
        rows.append(Row(stem, estimate, values))
        rows.append(Row(stem, MIXTURE, mixture[stem]))
        rows.append(Row(stem, GAIN, {'SDR': values['SDR'] - mixture[stem]['SDR']}))
        rows += [Row(stem, name, numbers[stem]) for name, numbers in PUBLISHED.items() if stem in numbers]
    return Table(title, tuple(rows), window)


def to_json(value: Any) -> Any:
    """A value for JSON, in which NaN has no place: it becomes null."""
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
