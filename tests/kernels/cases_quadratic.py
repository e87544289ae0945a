"""What the kernels of the quadratic are tried on: lists of (arguments, results to be written)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Cases = list[tuple[tuple[Any, ...], tuple[Array, ...]]]
WIDTHS = (10, 1, 16, 17, 33)


def _columns(rng: np.random.Generator, n: int, d: int, dtype: Any) -> list[Array]:
    plain = [rng.normal(size=(n, d, width)).astype(dtype) for width in WIDTHS]
    whole = rng.integers(-2, 3, size=(n, d, 3)).astype(dtype)
    whole[:, ::3] = 0
    same = np.ones((n, d, 2), dtype)
    same[:, 1::2, 0] = -1
    scaled = (plain[0] * np.exp(rng.normal(0, 2, size=(n, d, 1)))).astype(dtype)
    return [*plain, whole, same, scaled, np.zeros((n, d, 4), dtype)]


def columns(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    return [((a,), (np.empty(a.shape[:2]),)) for a in _columns(rng, n, d, dtype)]


def columns_for_signs(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    return [((a,), (np.empty(a.shape[:2], dtype),)) for a in _columns(rng, n, d, dtype)]


def signed_columns(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    cases: Cases = []
    for a in _columns(rng, n, d, dtype):
        signs = rng.choice([-1, 1], size=a.shape[:2]).astype(dtype)
        for sweeps in (8, 1):
            cases.append(((a, signs, sweeps), (np.empty_like(signs), np.empty(n))))
    return cases


def mixed_columns(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    cases: Cases = []
    for a in _columns(rng, n, d, dtype):
        for rank in (8, 3):
            start = rng.normal(size=(n, d, rank))
            start = (start / np.linalg.norm(start, axis=2, keepdims=True)).astype(dtype)
            image = np.empty((n, a.shape[2], rank), dtype)
            cases.append(((a, start, 2, 0.0), (np.empty_like(start), image)))
    return cases


def cones(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    """One problem of d columns, whatever n: one and three normals, ranks in fours and not."""
    cases: Cases = []
    for width, count, rank in ((10, 3, 4), (5, 1, 6), (1, 1, 1), (33, 3, 3)):
        planes = (rng.normal(size=(width, d)) / d).astype(dtype)
        normals = rng.normal(size=(count, width)).astype(dtype) / dtype(width)
        start = rng.normal(size=(width, rank))
        start = (start / np.linalg.norm(start)).astype(dtype)
        prices = (0.1 * (1 - np.eye(count))).astype(dtype)
        outs = (np.empty_like(start), np.empty_like(prices))
        rates = rng.uniform(0.5, 2, size=count).astype(dtype)
        cases += [
            ((planes, normals, rates, start, prices, steps, 0.0), outs) for steps in (0, 1, 4)
        ]
    nothing = np.zeros((4, d), dtype), normals[:, :4], rates, start[:4], prices
    cases.append(((*nothing, 3, 1e-3), (np.empty_like(start[:4]), np.empty_like(prices))))
    return cases


def bases(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    cases: Cases = []
    for room in (8, 11, 1):
        used = min(room, d)
        basis = np.zeros((n, room, d), dtype)
        for k in range(n):
            basis[k, :used] = np.linalg.qr(rng.normal(size=(d, used)))[0].T
        w = rng.normal(size=(n, d)).astype(dtype)
        w += (3 * basis.sum(axis=1)).astype(dtype)
        for counts in (np.full(n, used), rng.integers(0, used + 1, size=n)):
            cases.append(((basis, counts.astype(np.int64), w), (np.empty_like(w),)))
    return cases


def _grams(rng: np.random.Generator, d: int, dtype: Any) -> list[Array]:
    wide = rng.normal(size=(d, min(d, 40)))
    whole = rng.integers(-2, 3, size=(d, 3))
    return [(a @ a.T).astype(dtype) for a in (wide, whole, np.zeros((d, 2)))]


def gram_rows(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    """One problem of d columns, whatever n."""
    cases: Cases = []
    for gram in _grams(rng, d, dtype):
        for rank in (8, 3):
            start = rng.normal(size=(d, rank))
            start = (start / np.linalg.norm(start, axis=1, keepdims=True)).astype(dtype)
            cases.append(((gram, start, 2, 0.0), (np.empty_like(start),)))
    return cases


def searched(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    """n starts on Gram matrices; kicks on small ones alone."""
    keys = rng.integers(0, 2**64, size=n, dtype=np.uint64)
    signs = rng.choice([-1, 1], size=(n, d)).astype(dtype)
    rows = rng.normal(size=(d, 2))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)
    return [
        ((gram, rows, signs, keys, kicks), (np.empty_like(signs), np.empty(n)))
        for gram in _grams(rng, d, dtype)
        for kicks in ((0, 5) if d < 1000 else (0,))
    ]


def _groups(rng: np.random.Generator, d: int) -> list[tuple[Array, Array]]:
    """Pixels of three channel-first planes (or of one), and subsets of 0 to 11 random columns."""
    planes = 3 if d % 3 == 0 else 1
    pixels = np.arange(d).reshape(planes, -1).T.ravel()
    every = np.arange(0, d + 1, planes)
    mixed = rng.permutation(d)[: max(1, d - d // 9)]
    ends = np.minimum(np.cumsum(rng.integers(0, 12, size=d)), len(mixed))
    return [(pixels, every), (mixed, np.concatenate([[0], np.unique(ends), [len(mixed)]]))]


def grouped_columns(rng: np.random.Generator, n: int, d: int, dtype: Any) -> Cases:
    return [
        ((a, members, starts), (np.empty(a.shape[:2], dtype), np.empty((n, len(starts) - 1))))
        for a in _columns(rng, n, d, dtype)
        for members, starts in _groups(rng, d)
    ]
