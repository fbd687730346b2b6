from __future__ import annotations

import numpy as np
import pytest

from stembeam.model.masks import extend_mask, ratio_masks


def test_power_ratio() -> None:
    masks = [np.asarray(mask) for mask in ratio_masks([np.array([3.0, 1.0]), np.array([1.0, 1.0])])]
    np.testing.assert_allclose(masks, [[0.9, 0.5], [0.1, 0.5]], rtol=1e-6)


def test_exponent_one_is_the_ratio_of_magnitudes() -> None:
    masks = [np.asarray(mask) for mask in ratio_masks([np.array([3.0]), np.array([1.0])], exponent=1.0)]
    np.testing.assert_allclose(masks, [[0.75], [0.25]], rtol=1e-6)


@pytest.mark.parametrize('stems', [2, 3, 5])
def test_silence_is_split_evenly(stems: int) -> None:
    for mask in ratio_masks([np.zeros((2, 3), np.float32)] * stems):
        np.testing.assert_allclose(np.asarray(mask), 1 / stems, rtol=1e-6)


def test_extensions() -> None:
    mask = np.array([[0.2, 0.4], [0.0, 1.0]], np.float32)
    np.testing.assert_allclose(np.asarray(extend_mask(mask, 4, 'zeros')), [[0.2, 0.4, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    average = np.asarray(extend_mask(mask, 4, 'average'))
    np.testing.assert_allclose(average, [[0.2, 0.4, 0.3, 0.3], [0.0, 1.0, 0.5, 0.5]])


def test_the_octave_below_speaks_for_the_high_band() -> None:
    mask = np.array([[0.2, 0.4, 0.5, 0.7], [0.0, 1.0, 0.0, 1.0]], np.float32)
    octave = np.asarray(extend_mask(mask, 6, 'octave'))
    np.testing.assert_allclose(octave[:, :4], mask)
    np.testing.assert_allclose(octave[:, 4:], [[0.6, 0.6], [0.5, 0.5]], rtol=1e-6)
