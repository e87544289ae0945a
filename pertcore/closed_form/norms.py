"""The norm of a perturbation as results are judged: in float64, at any scale and order."""

from __future__ import annotations

import math

import numpy as np

from pertcore.oracle import Array

BLOCK = 1 << 16
SMALLEST, LARGEST = 1e-200, 1e200


def row_norms(delta: Array, norm: float) -> Array:
    """norm_p of each row of delta (n, d), float64 (n,), p in [1, inf] or 0.

    (sum |d_i|^p)^(1/p); where the sum of the powers leaves the safe range of float64 (p large, or
    the scale), m (sum (|d_i| / m)^p)^(1/p) with m = max |d_i|. p = 0 counts the entries that are
    not 0. A row with a NaN gives NaN, else, p > 0, one with an infinity gives infinity. A few rows
    at a time, so that no second (n, d) array is held.
    """
    n, d = delta.shape
    found = np.zeros(n)
    step = max(1, BLOCK // max(d, 1))
    for start in range(0, n if d else 0, step):
        rows = np.abs(delta[start : start + step].astype(np.float64))
        found[start : start + step] = _block(rows, norm)
    return found


def _block(a: Array, p: float) -> Array:
    if p == 0:
        return np.where(np.isnan(a).any(axis=1), math.nan, np.count_nonzero(a, axis=1))
    if math.isinf(p):
        return np.asarray(a.max(axis=1))
    if p == 1:
        return np.asarray(a.sum(axis=1))
    with np.errstate(over="ignore", under="ignore"):
        total = _powers(a, p).sum(axis=1)
        found = np.asarray(total ** (1 / p))
    odd = np.flatnonzero(((total < SMALLEST) | (total > LARGEST)) & (a.max(axis=1) > 0))
    if len(odd):
        found[odd] = _scaled(a[odd], p)
    return found


def _scaled(a: Array, p: float) -> Array:
    top = a.max(axis=1, keepdims=True)
    unit = np.where(np.isfinite(top), top, 1)
    with np.errstate(over="ignore", under="ignore"):
        total = _powers(a / unit, p).sum(axis=1)
        return np.asarray(unit[:, 0] * total ** (1 / p))


def _powers(a: Array, p: float) -> Array:
    return a * a if p == 2 else a**p
