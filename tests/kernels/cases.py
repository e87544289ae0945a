"""What the geometry kernels are tried on: lists of (arguments, results to be written)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cases = list[tuple[tuple[Any, ...], tuple[Array, ...]]]
ORDERS = (3.0, 1.2, 1.5, 10.0, 2.0)


def _gradient(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Array:
    return rng.normal(size=(n, d)).astype(dtype)


def _odd_gradient(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Array:
    """Rows in turn: zero, ties, a NaN, an infinity, tiny numbers, huge numbers, plain."""
    g = _gradient(rng, n, d, dtype)
    g[0::7] = 0
    g[1::7] = rng.integers(-1, 2, size=g[1::7].shape)
    g[2::7, d // 2] = np.nan
    g[3::7] *= np.finfo(dtype).max / 1000
    g[3::7, d // 2] = -np.inf
    g[4::7] *= np.finfo(dtype).tiny
    g[5::7] *= np.finfo(dtype).max / 10
    return g


def _images(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Array:
    """Points of [0, 1], about half of the entries on a bound."""
    return np.clip(rng.normal(0.5, 0.7, size=(n, d)), 0, 1).astype(dtype)


def _budgets(rng: np.random.Generator, n: int, scale: float = 1.0) -> Array:
    eps = rng.uniform(0.01, 1, size=n) * scale
    eps[3::5] = 0
    eps[4::5] = 1e-9
    return eps


def _boxes(x: Array) -> list[tuple[Any, Any]]:
    low = np.minimum(x.min(axis=0), 0).astype(x.dtype)
    high = np.maximum(x.max(axis=0), 1).astype(x.dtype)
    return [(0.0, 1.0), (low, high), (float(np.finfo(x.dtype).min), float(np.finfo(x.dtype).max))]


def gradients(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    eps = rng.uniform(0.1, 2, size=n)
    return [
        ((g, e), (np.empty_like(g),))
        for g, e in [
            (_gradient(rng, n, d, dtype), eps),
            (_odd_gradient(rng, n, d, dtype), eps),
            (_gradient(rng, n, d, dtype), _budgets(rng, n)),
        ]
    ]


def gradients_p(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    return _with_orders(gradients(rng, n, d, dtype), 2)


def _with_orders(cases: Cases, place: int, orders: tuple[float, ...] = ORDERS) -> Cases:
    return [
        ((*args[:place], p, *args[place:]), tuple(np.empty_like(o) for o in outs))
        for p in orders
        for args, outs in cases
    ]


def boxed(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    x = _images(rng, n, d, dtype)
    plain, odd = _gradient(rng, n, d, dtype), _odd_gradient(rng, n, d, dtype)
    eps = 0.3 * math.sqrt(d) * rng.uniform(0.5, 2, size=n)
    return [
        ((g, x, e, lo, hi), (np.empty_like(x),))
        for lo, hi in _boxes(x)
        for g, e in [(plain, eps), (odd, eps), (plain, _budgets(rng, n)), (plain, eps * d)]
    ]


def boxed_p(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    return _with_orders(boxed(rng, n, d, dtype), 3)


def levels(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    x = _images(rng, n, d, dtype)
    plain = _gradient(rng, n, d, dtype)
    zero_rows = plain.copy()
    zero_rows[::2] = 0
    reachable = rng.uniform(-0.1, 0.2, size=n) * d
    bounds = [*_boxes(x)[:2], (-math.inf, math.inf)]
    return [
        ((g, level, x, lo, hi), (np.empty_like(x), np.empty(n, np.bool_)))
        for lo, hi in bounds
        for g, level in [(plain, reachable), (zero_rows, reachable), (plain, np.full(n, 2.0 * d))]
    ]


def levels_p(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    cases = _with_orders(levels(rng, n, d, dtype), 2)
    infinite = [
        ((*args[:2], math.inf, *args[3:]), tuple(np.empty_like(o) for o in outs))
        for args, outs in cases[: len(cases) // len(ORDERS)]
    ]
    return cases + infinite


def steps_back(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    x = _images(rng, n, d, dtype)
    x_t = np.clip(x + rng.normal(0, 0.02, size=x.shape), 0, 1).astype(dtype)
    lost = x_t.copy()
    lost[::2, d // 3] = np.nan
    lost_x = np.where(np.isnan(lost), lost, x)
    plain, odd = _gradient(rng, n, d, dtype), _odd_gradient(rng, n, d, dtype)
    eps = rng.uniform(0.5, 1, size=n) * 0.05
    few = _budgets(rng, n, 0.1)
    return [
        ((a, b, g, step, e, lo, hi), (np.empty_like(x),))
        for lo, hi in _boxes(x)
        for a, b, g, step, e in [
            (x, x_t, plain, eps / 4, eps),
            (x, x_t, odd, eps / 4, eps),
            (x, x_t, plain, few, few),
            (lost_x, lost, plain, eps / 4, eps),
        ]
    ]


def deltas(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    delta = _gradient(rng, n, d, dtype)
    ties = rng.integers(-1, 2, size=(n, d)).astype(dtype)
    return [
        ((v, e), (np.empty_like(v),))
        for v, e in [
            (delta, rng.uniform(0.5, 2, size=n)),
            (ties, rng.uniform(0.1, 1, size=n)),
            (ties * dtype(1e-8), np.where(np.arange(n) % 2, 1e-9 * d, 0)),
            (delta, np.full(n, 10.0 * d)),
        ]
    ]


def points(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    x = _images(rng, n, d, dtype)
    near = np.clip(x + rng.normal(0, 0.1, size=x.shape), -1, 2).astype(dtype)
    far = (x + 100 * rng.normal(size=x.shape)).astype(dtype)
    eps = rng.uniform(0.1, 1, size=n)
    return [
        ((x, z, e, lo, hi), (np.empty_like(x),))
        for lo, hi in _boxes(x)
        for z, e in [(near, eps), (far, eps), (near, _budgets(rng, n)), (near, eps * d)]
    ]


def points_p(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    return _with_orders(points(rng, n, d, dtype), 3, (*ORDERS, 1000.0))


def points_slow(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    """As `points_p`, less of it: the definition solves an equation an entry, by halving."""
    return _with_orders(points(rng, n, d, dtype), 3, (3.0, 1.5))
