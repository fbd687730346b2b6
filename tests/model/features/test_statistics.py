from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from stembeam.model.features.statistics import column_statistics


@pytest.mark.parametrize('length', [2, 3, 1000, 1001])
@pytest.mark.parametrize('offset', [0.0, 1000.0])
def test_equals_scipy(length: int, offset: float) -> None:
    values = (np.random.default_rng(length).gamma(2.0, size=length) + offset).astype(np.float32)
    exact = values.astype(np.float64)
    expected = [
        exact.mean(),
        exact.std(),
        scipy.stats.skew(exact),
        scipy.stats.kurtosis(exact),
        np.median(exact),
        exact.min(),
        exact.max(),
    ]
    np.testing.assert_allclose(column_statistics(values.copy()), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('value', [0.0, 0.1, -100.0])
def test_equal_values_have_no_shape(value: float) -> None:
    single = np.float32(value)
    expected: list[float] = [float(single), 0, np.nan, np.nan, *[float(single)] * 3]
    statistics = column_statistics(np.full(1001, single))
    np.testing.assert_allclose(statistics, expected, rtol=1e-9, atol=1e-12)


def test_columns_without_values_have_no_statistics() -> None:
    assert np.isnan(column_statistics(np.full(10, np.nan, np.float32))).all()
