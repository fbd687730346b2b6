"""The picture of an evaluation: its size, and that what is drawn depends on the scores."""

from __future__ import annotations

import io
import math

import numpy as np
from matplotlib import image

from stembeam.model.evaluation.bsseval import METRICS
from stembeam.model.evaluation.figure import draw_scores

BLUE, GREY, RED, PURPLE = (59, 125, 216), (184, 188, 194), (192, 57, 43), (142, 68, 173)


def pixels(png: bytes) -> np.ndarray:
    """(rows, columns, 3), 0..255."""
    return np.round(255 * image.imread(io.BytesIO(png))[..., :3]).astype(int)


def drawn(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return np.abs(picture - color).max(axis=2) <= 3


def tracks(stems: list[str], offset: float = 0.0, count: int = 8) -> list[dict[str, dict[str, float]]]:
    rng = np.random.default_rng(1)
    return [{stem: {metric: offset + rng.normal(5, 2) for metric in METRICS} for stem in stems} for _ in range(count)]


def test_four_panels_with_boxes_for_every_stem():
    stems = ['vocals', 'drums', 'bass', 'other']
    picture = pixels(draw_scores('songs', 'mini', tracks(stems), tracks(stems, -6)))
    assert picture.shape == (840, 1200, 3)
    blue, grey = drawn(picture, BLUE), drawn(picture, GREY)
    panels = [
        (rows, columns) for rows in (slice(40, 390), slice(430, 790)) for columns in (slice(600), slice(600, None))
    ]
    for panel in panels:
        columns = blue[panel].any(axis=0).astype(int)
        assert np.count_nonzero(np.diff(columns) == 1) == 4  # one box for each stem, side by side
        assert drawn(picture, RED)[panel].sum() > 100
        assert drawn(picture, PURPLE)[panel].sum() > 100
    assert grey[panels[0]].sum() > 1000
    assert all(grey[panel].sum() < 100 for panel in panels[1:])


def test_a_stem_that_the_paper_does_not_have_and_scores_that_are_undefined():
    scored = tracks(['piano', 'strings'], count=2)
    scored[0]['piano'] = dict.fromkeys(METRICS, math.nan)
    scored[1]['strings'] = dict.fromkeys(METRICS, math.nan)
    scored.append({'piano': dict.fromkeys(METRICS, 3.0)})
    picture = pixels(draw_scores('songs', 'estimates', scored, scored))
    assert drawn(picture, BLUE).sum() > 1000
    assert not drawn(picture, RED).any()
