"""Row norms keep their digits at every order and scale."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from pertcore.closed_form.norms import row_norms

NORMS = (1.0, 1.1, 1.5, 2.0, 3.0, 10.0, 200.0, 1000.0, math.inf)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e-160, 1e-40, 1e-3, 1e35, 1e110, 1e160, 1e300])
def test_norms_are_homogeneous_where_powers_are_not(norm: float, scale: float) -> None:
    delta = np.random.default_rng(1).standard_normal((7, 13))
    plain = np.linalg.norm(delta.astype(np.longdouble), ord=norm, axis=1).astype(np.float64)
    np.testing.assert_allclose(row_norms(delta * scale, norm), plain * scale, rtol=1e-13)


def test_one_entry_is_its_own_norm_and_rows_are_judged_apart() -> None:
    delta = np.zeros((4, 3))
    delta[:, 1] = [3.0, -1e-200, 1e200, 0.0]
    for norm in NORMS:
        np.testing.assert_allclose(row_norms(delta, norm), np.abs(delta[:, 1]), rtol=1e-13)


def test_two_equal_entries_at_subnormal_scale_agree_with_rationals() -> None:
    tiny = 2.0**-1060
    exact = float(Fraction(5) * Fraction(tiny))
    assert row_norms(np.array([[3 * tiny, 4 * tiny]]), 2.0)[0] == exact


@pytest.mark.parametrize("norm", NORMS)
def test_nan_and_infinity_show(norm: float) -> None:
    delta = np.array([[1.0, np.nan, np.inf], [1.0, -np.inf, 2.0], [np.inf, np.inf, 0.0]])
    found = row_norms(delta, norm)
    assert np.isnan(found[0])
    assert np.all(np.isposinf(found[1:]))


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (1, 200_000), (3000, 40)])
def test_blocks_cover_every_row(shape: tuple[int, int]) -> None:
    delta = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    expected = np.sqrt(np.sum(delta.astype(np.float64) ** 2, axis=1))
    found = row_norms(delta, 2.0)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)
