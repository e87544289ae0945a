"""The norm of a perturbation as results are judged: in float64, at any scale and order."""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from pertcore.arrays import library, on_device
from pertcore.oracle import Array

# Entries at a time: what stays in a CPU's cache, and what fills a device.
BLOCK, DEVICE_BLOCK = 1 << 16, 1 << 24
SMALLEST, LARGEST = 1e-200, 1e200


def row_norms(delta: Array, norm: float) -> Array:
    """norm_p of each row of delta (n, d), float64 (n,), p in [1, inf] or 0.

    (sum |d_i|^p)^(1/p); where the sum of the powers leaves the safe range of float64 (p large, or
    the scale), m (sum (|d_i| / m)^p)^(1/p) with m = max |d_i|. p = 0 counts the entries that are
    not 0. A row with a NaN gives NaN, else, p > 0, one with an infinity gives infinity. A few rows
    at a time, so that no second (n, d) array is held.
    """
    n, d = delta.shape
    found = library(delta).zeros(n)
    step = max(1, (DEVICE_BLOCK if on_device(delta) else BLOCK) // max(d, 1))
    for start in range(0, n if d else 0, step):
        rows = np.abs(delta[start : start + step].astype(np.float64))
        found[start : start + step] = _block(rows, norm)
    return found


def _block(a: Array, p: float) -> Array:
    if p == 0:
        return np.where(np.isnan(a).any(axis=1), math.nan, np.count_nonzero(a, axis=1))
    if math.isinf(p):
        return cast("Array", a.max(axis=1))
    if p == 1:
        return cast("Array", a.sum(axis=1))
    with np.errstate(over="ignore", under="ignore"):
        total = _powers(a, p).sum(axis=1)
        found = total ** (1 / p)
    odd = np.flatnonzero(((total < SMALLEST) | (total > LARGEST)) & (a.max(axis=1) > 0))
    if len(odd):
        found[odd] = _scaled(a[odd], p)
    return found


def _scaled(a: Array, p: float) -> Array:
    top = a.max(axis=1, keepdims=True)
    unit = np.where(np.isfinite(top), top, 1)
    with np.errstate(over="ignore", under="ignore"):
        total = _powers(a / unit, p).sum(axis=1)
        return cast("Array", unit[:, 0] * total ** (1 / p))


def _powers(a: Array, p: float) -> Array:
    return a * a if p == 2 else a**p
