"""The box plot of an evaluation: how the scores of the tracks spread, one panel per metric.

Stands on matplotlib, which is loaded only when a picture is made, and draws without a screen.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from .paper import METRICS, PUBLISHED
from .tables import MIXTURE, Medians

WIDTH, HEIGHT, DOTS_PER_INCH = 10.0, 7.0, 120  # inches; the picture has 1200 x 840 pixels
_MARKERS = {'paper, mask': ('D', '#c0392b'), 'paper, MWF': ('^', '#8e44ad')}
_OURS, _MIXTURE = '#3b7dd8', '#b8bcc2'


def draw_scores(title: str, estimate: str, separation: Sequence[Medians], mixture: Sequence[Medians]) -> bytes:
    """Draw the spread of the tracks' scores.

    Args:
      title: what was scored.
      estimate: what the boxes of the separation are called.
      separation: for each track stem -> metric -> median over its frames, dB.
      mixture: the same for the mixture taken as the estimate; drawn for SDR alone, since the mixture has no artifacts.

    Returns:
      A PNG file. Boxes reach from the first to the third quartile of the tracks, with the median as a line; whiskers
      reach to the last track within 1.5 times the box, tracks beyond are dots.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stems = list(dict.fromkeys(stem for medians in separation for stem in medians))
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS_PER_INCH, layout='constrained')
    FigureCanvasAgg(figure)
    shown: dict[str, Any] = {}
    for axes, metric in zip(figure.subplots(2, 2).flat, METRICS, strict=True):
        sets = [(estimate, _OURS, separation), *([(MIXTURE, _MIXTURE, mixture)] if metric == 'SDR' else [])]
        for place, (label, color, tracks) in enumerate(sets):
            offset = (place - (len(sets) - 1) / 2) * 0.34
            values = [_finite(tracks, stem, metric) for stem in stems]
            boxes = axes.boxplot(
                values,
                positions=[index + offset for index in range(len(stems))],
                widths=0.3,
                patch_artist=True,
                boxprops={'facecolor': color, 'edgecolor': '#333333'},
                medianprops={'color': 'black'},
                flierprops={'marker': '.', 'markersize': 5, 'markerfacecolor': '#333333'},
                manage_ticks=False,
            )
            shown.setdefault(label, boxes['boxes'][0])
        for label, numbers in PUBLISHED.items():
            there = [(index, numbers[stem][metric]) for index, stem in enumerate(stems) if stem in numbers]
            if there:
                marker, color = _MARKERS[label]
                points = axes.scatter(*zip(*there, strict=True), marker=marker, color=color, s=28, zorder=3)
                shown.setdefault(label, points)
        axes.set_title(metric)
        axes.set_ylabel('dB')
        axes.set_xticks(range(len(stems)), stems)
        axes.set_xlim(-0.6, len(stems) - 0.4)
        axes.grid(axis='y', alpha=0.3)
    figure.suptitle(title)
    figure.legend(list(shown.values()), list(shown), loc='outside lower center', ncols=len(shown))
    content = io.BytesIO()
    figure.savefig(content, format='png')
    return content.getvalue()


def _finite(tracks: Sequence[Medians], stem: str, metric: str) -> list[float]:
    return [medians[stem][metric] for medians in tracks if stem in medians and math.isfinite(medians[stem][metric])]
