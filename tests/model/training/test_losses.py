"""Spleeter's losses by hand, and the learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stembeam.model.training.losses import stem_losses
from stembeam.model.training.schedule import learning_rate, make_optimizer
from stembeam.model.training.settings import Recipe, Settings

TARGET = np.array([[0.0, 3.0], [2.0, 2.0]], np.float32).reshape(2, 2, 1, 1)
ESTIMATE = np.array([[1.0, 3.0], [2.0, 0.0]], np.float32).reshape(2, 2, 1, 1)


def losses(*arguments: Any) -> np.ndarray:
    return np.asarray(stem_losses([ESTIMATE, TARGET], [TARGET, TARGET], *arguments))


def test_l1_is_the_mean_difference_of_every_chunk_and_stem() -> None:
    np.testing.assert_allclose(losses('L1_mask'), [[0.5, 0.0], [1.0, 0.0]])


def test_weighted_l1_weighs_a_chunk_by_its_mean_target() -> None:
    np.testing.assert_allclose(losses('weighted_L1_mask'), [[0.5 * 1.5, 0.0], [1.0 * 2, 0.0]])


def test_the_logarithmic_term_is_added() -> None:
    np.testing.assert_allclose(losses('L1_mask', 4.0)[0, 0], 0.5 + 4 * np.log(2) ** 2 / 2, rtol=1e-6)


def rates(*steps: int, **recipe: Any) -> list[float]:
    settings = Settings(learning_rate=1e-2, train_max_steps=1000, training=Recipe(**recipe))
    return [float(np.asarray(learning_rate(settings, np.float32(step)))) for step in steps]


def test_the_learning_rate_is_constant_by_default() -> None:
    assert rates(0, 999) == pytest.approx([1e-2, 1e-2])


def test_the_cosine_warms_up_and_falls_to_its_final_share() -> None:
    found = rates(0, 99, 500, 1000, schedule='cosine', warmup_steps=100, final_rate=0.1)
    assert found == pytest.approx([1e-4, 1e-2 * (0.1 + 0.45 * (1 + np.cos(0.099 * np.pi))), 5.5e-3, 1e-3], rel=1e-4)


def test_it_warms_up_again_when_the_norms_settle() -> None:
    before, at, after = rates(699, 700, 800, warmup_steps=100, settled=0.3)
    assert at == pytest.approx(before / 100)
    assert after == pytest.approx(before)


@pytest.mark.parametrize(('name', 'rate'), [('Adam', 1e-2), ('SGD', 1e-2), ('Adadelta', 1e-3)])
def test_optimisers_have_spleeters_rates_and_begin_where_they_are_told(name: str, rate: float) -> None:
    recipe = Recipe(warmup_steps=10)
    optimizer = make_optimizer(Settings(learning_rate=1e-2, train_max_steps=100, optimizer=name, training=recipe), 4)
    assert type(optimizer).__name__ == name
    assert float(np.asarray(optimizer.learning_rate)) == pytest.approx(rate * 5 / 10)
