"""No stored coordinate leaves ball or box, judged in float64; 10^8 of them if PERTCORE_FULL."""

from __future__ import annotations

import math
import os
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from pertcore.closed_form.exact import finish
from pertcore.closed_form.projections import project_ball_box
from pertcore.closed_form.steps import ball_step, pgd_step
from pertcore.oracle import Array

ORDERS = (1.0, 1.5, 2.0, 3.0, math.inf)
FULL = bool(os.environ.get("PERTCORE_FULL"))
COORDINATES = 10**8 // len(ORDERS) if FULL else 10**6
CHUNK = 25_000
WIDTHS = (1, 7, 256, 3072)
KINDS = ("images", "on bounds", "subnormal", "wide", "unbounded", "tight box")
BUDGETS = (0.0, 1e-45, 1e-12, 1e-9, 1e-6, 1e-3, 2 / 255, 8 / 255, 0.1, 0.5, 3.0, 1e4, 1e30)


def _sample(rng: np.random.Generator, kind: str, n: int, d: int, dtype: Any) -> tuple[Any, ...]:
    """x, a point far or near, and bounds, in one of the kinds."""
    x = rng.random((n, d))
    lo: Any = 0.0
    hi: Any = 1.0
    if kind == "on bounds":
        x = rng.integers(0, 3, size=(n, d)) / 2
    elif kind == "subnormal":
        x, lo, hi = x * 100 * np.finfo(dtype).smallest_subnormal, 0.0, math.inf
    elif kind == "wide":
        x = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-12, 12, size=(n, d))
        lo, hi = -1e14, 1e14
    elif kind == "unbounded":
        x, lo, hi = rng.normal(size=(n, d)), -math.inf, math.inf
    x = x.astype(dtype)
    if kind == "tight box":
        lo = (x.min(axis=0) - 1e-6 * rng.random(d)).astype(dtype)
        hi = np.maximum(x.max(axis=0), lo + np.float32(1e-6)).astype(dtype)
    return x, lo, hi


def _norms(gap: Array, p: float) -> Array:
    gap = np.abs(gap)
    if math.isinf(p):
        return gap.max(axis=1, initial=0)
    return np.sum(gap**p, axis=1) ** (1 / p)


def _check_inside(x: Array, found: Array, eps: Array, p: float, lo: Any, hi: Any) -> None:
    assert found.dtype == x.dtype
    assert np.all((found >= lo) & (found <= hi)), "outside the box"
    norms = _norms(found.astype(np.float64) - x.astype(np.float64), p)
    worst = int(np.argmax(norms - eps))
    assert np.all(norms <= eps), f"norm {norms[worst]!r} above eps {eps[worst]!r}"


def _points(rng: np.random.Generator, x: Array, eps: Array, lo: Any, hi: Any) -> Array:
    reach = 10.0 ** rng.uniform(-2, 2, size=(len(x), 1)) * eps[:, None]
    with np.errstate(over="ignore"):
        z = x + (rng.normal(size=x.shape) * reach).astype(x.dtype)
    return np.nan_to_num(z, nan=0)


def _inside_of_everything(rng: np.random.Generator, p: float, dtype: Any, kind: str) -> int:
    d = int(rng.choice(WIDTHS))
    n = max(1, CHUNK // d // 4)
    x, lo, hi = _sample(rng, kind, n, d, dtype)
    eps = rng.choice(BUDGETS, size=n) * rng.uniform(0.5, 1, size=n)
    z = _points(rng, x, eps, lo, hi)
    x_t = np.clip(finish(x, z, eps, p, lo, hi), lo, hi).astype(dtype)
    g = rng.normal(size=x.shape).astype(dtype)
    for found in (
        x_t,
        project_ball_box(x, z, eps, p, lo, hi),
        ball_step(x, x_t, g, eps * rng.uniform(0.1, 2), eps, p, lo, hi),
        pgd_step(x, x_t, g, eps * rng.uniform(0.1, 2), eps, p, lo, hi),
    ):
        _check_inside(x, found, eps, p, lo, hi)
    return 4 * x.size


@pytest.mark.parametrize("p", ORDERS)
def test_no_coordinate_leaves_ball_or_box(p: float) -> None:
    rng = np.random.default_rng([7, int(2 * min(p, 50))])
    done = 0
    while done < COORDINATES:
        for kind in KINDS:
            for dtype in (np.float32, np.float64):
                done += _inside_of_everything(rng, p, dtype, kind)


def test_float64_points_are_inside_in_rational_arithmetic() -> None:
    rng = np.random.default_rng(3)
    for eps in (1e-9, 8 / 255, 0.3, 1e5):
        x = rng.normal(size=(1, 400)) * 10.0 ** rng.integers(-9, 9, size=(1, 400))
        z = x + 3 * eps * rng.normal(size=x.shape)
        budget = np.array([eps])
        sup = finish(x, z, budget, math.inf, -math.inf, math.inf)[0]
        gaps = [abs(Fraction(float(a)) - Fraction(float(b))) for a, b in zip(sup, x[0])]
        assert max(gaps) <= Fraction(eps)
        two = finish(x, z, budget, 2.0, -math.inf, math.inf)[0]
        squares = [
            (Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(two, x[0], strict=True)
        ]
        assert sum(squares) <= Fraction(eps) ** 2


def test_plain_rounding_is_caught() -> None:
    x = np.random.default_rng(0).random((50, 100)).astype(np.float32)
    eps = np.full(50, 8 / 255)
    naive = x + np.float32(8 / 255)
    with pytest.raises(AssertionError, match="above eps"):
        _check_inside(x, naive, eps, math.inf, -math.inf, math.inf)


def test_little_of_the_budget_is_lost() -> None:
    rng = np.random.default_rng(1)
    x = rng.random((20, 3072)).astype(np.float32)
    z = x + rng.normal(size=x.shape).astype(np.float32)
    for p in (1.0, 1.5, 2.0, 3.0):
        for eps in (0.5, 8.0):
            found = finish(x, z, np.full(20, eps), p, -math.inf, math.inf)
            norms = _norms(found.astype(np.float64) - x.astype(np.float64), p)
            assert np.all(norms >= eps * (1 - 1e-5))
    sup = finish(x, z, np.full(20, 8 / 255), math.inf, -math.inf, math.inf)
    ends = np.abs(z - x) > 0.04
    beyond = np.nextafter(sup, np.where(z > x, np.inf, -np.inf).astype(np.float32))
    reach = np.abs(beyond.astype(np.float64) - x) > np.nextafter(np.float32(8 / 255), np.float32(0))
    assert np.mean(reach[ends]) == 1
