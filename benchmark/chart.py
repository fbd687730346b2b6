"""The report as a picture: speeds of whole commands and peers, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .rows import Row, find
from .stages import STAGES

OURS, THEIRS = '#1f6f8b', '#b9b9b9'


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG: bars for all speeds of commands, networks and peers, and for the CPU time of all stages."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    speeds = [row for row in rows if row.quantity == 'speed' and row.part in ('network', 'process', 'peers')]
    stages = [row for name in STAGES if (row := find(rows, 'stages', name, 'cpu'))]
    panels = [
        (speeds, 'times real time (longer is faster)'),
        (stages, 'CPU ms per second of audio (shorter is faster)'),
    ]
    panels = [panel for panel in panels if panel[0]]
    heights = [len(found) for found, _ in panels]
    figure, axes = plt.subplots(
        len(panels) or 1,
        1,
        figsize=(9, 1.6 + 0.32 * sum(heights)),
        squeeze=False,
        height_ratios=heights or [1],
        layout='constrained',
    )
    for axis, (found, title) in zip(axes[:, 0], panels, strict=False):
        medians = [row.median for row in found]
        reach = [
            [row.median - row.spread[0] for row in found],
            [row.spread[1] - row.median for row in found],
        ]
        colors = [THEIRS if row.part == 'peers' else OURS for row in found]
        bars = axis.barh([row.name for row in found], medians, xerr=reach, color=colors, ecolor='#444444')
        axis.bar_label(bars, [f'{median:.3g}' for median in medians], padding=4, fontsize=8)
        axis.invert_yaxis()
        axis.set_xlabel(title)
        axis.spines[['top', 'right']].set_visible(False)
        axis.tick_params(axis='y', labelsize=8, length=0)
        axis.margins(x=0.1)
    figure.savefig(path, dpi=120)
    plt.close(figure)
