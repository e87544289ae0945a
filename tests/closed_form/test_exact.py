"""The exact finish: the farthest number inside, edges of the number range, bounds of any form."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pertcore.closed_form.exact import finish, limits

ORDERS = (1.0, 1.5, 2.0, 3.0, math.inf)
singles = st.floats(-(2.0**100), 2.0**100, width=32)
budgets = st.floats(0, 1e30)


def one(value: float, dtype: Any = np.float32) -> Any:
    return np.array([[value]], dtype)


@given(singles, singles, budgets)
def test_one_coordinate_ends_on_the_farthest_number_inside(x: float, z: float, eps: float) -> None:
    found = finish(one(x), one(z), np.array([eps]), math.inf, -math.inf, math.inf)[0, 0]
    assert abs(Fraction(float(found)) - Fraction(x)) <= Fraction(eps)
    if found == np.float32(z):
        return
    beyond = float(np.nextafter(found, np.float32(z)))
    single = np.float32(min(eps, 3e38))
    single = single if float(single) <= eps else np.nextafter(single, np.float32(0))
    assert abs(Fraction(beyond) - Fraction(x)) > Fraction(float(single)), (
        "a farther number was inside"
    )


@given(st.sampled_from(ORDERS), singles, singles, budgets)
def test_what_is_inside_stays_and_the_rest_goes_towards_z(
    p: float, x: float, z: float, eps: float
) -> None:
    found = finish(one(x), one(z), np.array([eps]), p, -math.inf, math.inf)[0, 0]
    assert min(x, z) <= found <= max(x, z)
    if abs(z - x) <= eps * (1 - 1e-8):
        assert found == np.float32(z)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", ORDERS)
def test_the_ends_of_the_number_range(p: float, dtype: Any) -> None:
    info = np.finfo(dtype)
    x = np.array([[0.0, info.smallest_subnormal, -info.tiny, info.max, -info.max]], dtype)
    z = np.array([[np.inf, 1.0, -np.inf, np.inf, -np.inf]], dtype)
    for eps in (0.0, float(info.smallest_subnormal), 1e-30, 1.0):
        found = finish(x, z, np.array([eps]), p, -math.inf, math.inf)
        assert np.all(np.isfinite(found))
        gap = np.abs(found.astype(np.float64) - x)
        assert np.all(gap <= eps)


def test_nan_stays_where_it_is() -> None:
    x = np.array([[0.5, np.nan, 0.25]])
    z = np.array([[0.9, np.nan, 0.3]])
    for p in ORDERS:
        found = finish(x, z, np.array([0.1]), p, 0.0, 1.0)
        np.testing.assert_array_equal(np.isnan(found), [[False, True, False]])


def test_a_box_smaller_than_the_ball_decides() -> None:
    x = np.full((1, 4), 0.5, np.float32)
    z = np.array([[9.0, -9.0, 0.5, 0.52]], np.float32)
    for p in ORDERS:
        found = finish(x, z, np.array([100.0]), p, 0.49, 0.53)
        lo, hi = limits(0.49, 0.53, np.dtype(np.float32))
        np.testing.assert_array_equal(found, np.clip(z, np.float32(lo), np.float32(hi)))


def test_scalar_bounds_are_rounded_inward_and_made_finite() -> None:
    lo, hi = limits(0.1, 0.1 + 1e-9, np.dtype(np.float32))
    assert lo >= 0.1 and hi <= 0.1 + 1e-9
    single = np.dtype(np.float32)
    largest = float(np.finfo(np.float32).max)
    assert limits(-math.inf, math.inf, single) == (-largest, largest)
    arrays = (np.zeros(3, np.float32), np.ones(3, np.float32))
    assert limits(*arrays, single) == arrays


@pytest.mark.parametrize("p", ORDERS)
def test_array_bounds_samples_and_shapes(p: float) -> None:
    rng = np.random.default_rng(2)
    x = rng.random((6, 77)).astype(np.float32)
    z = (x + rng.normal(size=x.shape)).astype(np.float32)
    eps = rng.random(6)
    whole = finish(x, z, eps, p, 0.0, 1.0)
    arrays = finish(x, z, eps, p, np.zeros(77, np.float32), np.ones(77, np.float32))
    np.testing.assert_array_equal(whole, arrays)
    for k in range(6):
        one_row = slice(k, k + 1)
        alone = finish(x[one_row], z[one_row], eps[one_row], p, 0.0, 1.0)
        np.testing.assert_array_equal(alone, whole[one_row])
    np.testing.assert_array_equal(finish(x, whole, eps, p, 0.0, 1.0), whole)
    assert finish(x[:0], z[:0], eps[:0], p, 0.0, 1.0).shape == (0, 77)
