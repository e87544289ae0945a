"""What the loss, sampling and subset kernels are tried on: lists of (arguments, results)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cases = list[tuple[tuple[Any, ...], tuple[Array, ...]]]


def _logits(rng: np.random.Generator, n: int, count: int, dtype: Any) -> list[Array]:
    plain = rng.normal(size=(n, count)).astype(dtype)
    tied = rng.integers(-1, 2, size=(n, count)).astype(dtype)
    sure = (plain * 100).astype(dtype)
    broken = plain.copy()
    broken.flat[:: max(1, 3 * count // 2)] = np.nan
    broken.flat[1 :: max(2, 5 * count // 2)] = np.inf
    return [plain, tied, sure, broken]


def classified(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    count = max(d, 2)
    y = rng.integers(0, count, size=n)
    return [
        ((f, y, targeted), (np.empty(n), np.empty_like(f), np.empty(n), np.empty(n, np.int64)))
        for f in _logits(rng, n, count, dtype)
        for targeted in (False, True)
    ]


def regressed(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    target = rng.normal(size=(n, d)).astype(dtype)
    return [
        ((f, target, targeted), (np.empty(n), np.empty_like(f)))
        for f in _logits(rng, n, d, dtype)
        for targeted in (False, True)
    ]


def differences(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    count = max(d, 2)
    y = rng.integers(0, count, size=n)
    kept = sorted({1, min(9, count - 1), min(33, count - 1)})
    return [
        ((f, y), (np.empty((c, n, count), dtype), np.empty((c, n)), np.empty((c, n), np.int64)))
        for c in kept
        for f in _logits(rng, n, count, dtype)
    ]


def _keys(rng: np.random.Generator, n: int) -> Array:
    return rng.integers(0, 2**64, size=n, dtype=np.uint64)


def random_points(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    eps = np.concatenate([rng.uniform(0, 2, size=n - n // 4), np.zeros(n // 4)])
    return [
        ((_keys(rng, n), draw, eps, norm), (np.empty((n, d), dtype),))
        for norm in (2.0, math.inf, 1.0, 1.5, 3.0, 40.0)
        for draw in (0, 7)
    ]


def orders(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    return [
        (
            (
                _keys(rng, n),
                3,
                d,
            ),
            (np.empty((n, k), np.int64),),
        )
        for k in sorted({1, d // 2, d})
    ]


def _partitions(rng: np.random.Generator, d: int) -> list[tuple[Array, int]]:
    planes = 3 if d % 3 == 0 else 1
    pixels = np.tile(np.arange(d // planes), planes)
    count = max(1, d // 4)
    return [(pixels, d // planes), (rng.integers(-1, count, size=d), count)]


def _fields(rng: np.random.Generator, n: int, d: int, dtype: Any) -> tuple[Array, ...]:
    x = rng.uniform(0, 1, size=(n, d)).astype(dtype)
    x.flat[::5], x.flat[::7] = 0, 1
    g = rng.normal(size=(n, d)).astype(dtype)
    g.flat[::11], g.flat[1::13], g.flat[2::17] = 0, np.nan, np.inf
    return x, g, rng.uniform(0, 0.4, size=n)


def _boxes(d: int, dtype: Any) -> list[tuple[Any, Any]]:
    arrays = (np.full(d, -0.5, dtype), np.linspace(1, 2, d).astype(dtype))
    return [(-math.inf, math.inf), (0.0, 1.0), arrays]


def subset_choices(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    x, g, eps = _fields(rng, n, d, dtype)
    cases: Cases = []
    for labels, count in _partitions(rng, d):
        some = rng.random((n, count)) < 0.3
        for lo, hi in _boxes(d, dtype):
            for taken in (some, np.ones_like(some)):
                arguments = (g, x, labels, eps, lo, hi, taken)
                cases.append((arguments, (np.empty(n, np.int64),)))
    return cases


def subset_sums(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    x, g, eps = _fields(rng, n, d, dtype)
    return [
        ((g, x, labels, eps, lo, hi), (np.empty((n, count)),))
        for labels, count in _partitions(rng, d)
        for lo, hi in _boxes(d, dtype)
    ]


def subset_tops(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    plain, tied = rng.exponential(size=(n, d)), rng.integers(0, 3, size=(n, d)).astype(np.float64)
    rising = np.sort(plain, axis=1)
    return [
        ((gains, rng.random((n, d)) < share), (np.empty((n, count), np.int64),))
        for share in (0.0, 0.4, 1.0)
        for gains in (plain, tied, rising)
        for count in sorted({min(d, 100), 1, d + 2})
    ]


def subset_moves(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    x, g, eps = _fields(rng, n, d, dtype)
    return [
        ((x, g, labels, rng.integers(-1, count, size=n), eps, lo, hi), (np.empty_like(x),))
        for labels, count in _partitions(rng, d)
        for lo, hi in _boxes(d, dtype)
    ]
