"""The vectorising exp, log, sine, cosine and maxima against NumPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

from pertcore.kernels.compiled.elementary import exponential, logarithm, total, turn
from pertcore.kernels.compiled.extremes import first_equal, peak


def everywhere(function):
    return np.vectorize(function, otypes=[np.float64])


def ulps(found, wanted):
    return np.max(np.abs(found - wanted) / np.spacing(np.abs(wanted)))


def test_exponential():
    rng = np.random.default_rng(0)
    x = np.concatenate([-rng.uniform(0, 708, 4000), rng.uniform(-2, 2, 4000), [0.0, -0.0, 1e-320]])
    assert ulps(everywhere(exponential)(x), np.exp(x)) <= 2
    tiny = everywhere(exponential)(np.array([-708.5, -1e5, -1e308, -math.inf]))
    assert np.array_equal(tiny, np.zeros(4))


def test_logarithm():
    rng = np.random.default_rng(1)
    x = np.concatenate(
        [rng.uniform(0, 1, 4000) ** 9, 1 - rng.uniform(0, 1e-6, 4000), [1.0, 2.0**-53, 1e300]]
    )
    assert ulps(everywhere(logarithm)(x), np.log(x)) <= 2


def test_turn():
    u = np.concatenate([np.random.default_rng(2).uniform(0, 1, 8000), np.arange(9) / 8])
    cosine, sine = np.vectorize(turn)(u)
    np.testing.assert_allclose(cosine, np.cos(2 * math.pi * u), rtol=0, atol=1e-15)
    np.testing.assert_allclose(sine, np.sin(2 * math.pi * u), rtol=0, atol=1e-15)
    np.testing.assert_allclose(cosine**2 + sine**2, 1, rtol=1e-15)
    quarters = np.array(turn(0.0) + turn(0.25) + turn(0.5) + turn(0.75))
    assert np.array_equal(quarters, [1, 0, 0, 1, -1, 0, 0, -1])


def test_total_keeps_nan_and_infinity():
    assert total(np.ones(1001)) == 1001 and total(np.empty(0)) == 0
    assert np.isnan(total(np.array([1.0, math.nan, 2.0] * 20)))
    assert total(np.array([1.0, math.inf] * 20)) == math.inf


@njit
def highest(row):
    return peak(row)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 1025])
def test_peak_and_where_it_is(dtype, size):
    rng = np.random.default_rng(size)
    for row in (rng.normal(size=size), -rng.exponential(size=size), np.zeros(size)):
        row = row.astype(dtype)
        best, finite = highest(row)
        assert best == row.max() and finite
        assert first_equal(row, best, 0) == np.argmax(row)
        for bad in (math.nan, -math.nan, math.inf, -math.inf):
            broken = row.copy()
            broken[rng.integers(size)] = bad
            assert not highest(broken)[1]
    assert highest(np.empty(0, dtype)) == (-math.inf, True)
