"""Gradients as directions: cleaned entries, dual weights, and the room the box leaves."""

from __future__ import annotations

import math

import numpy as np

from pertcore.kernels.definitions.exact import Bound
from pertcore.oracle import Array


def clean(g: Array) -> Array:
    """g in float64 with NaN as 0 (no step there) and infinities as the dtype's largest number."""
    return np.nan_to_num(g).astype(np.float64)


def weights(a: Array, p: float) -> Array:
    """(|g| / max |g|)^(q-1) by row, the shape of the steepest direction; 0 where |g| is 0.

    a = |g|; q - 1 = 1/(p - 1); p = inf gives ones.
    """
    top = np.max(a, axis=1, keepdims=True, initial=0)
    scaled = a / np.where(top > 0, top, 1)
    power = 0.0 if math.isinf(p) else 1 / (p - 1)
    return np.where(a > 0, scaled**power, 0.0)


def room(g: Array, x: Array, lo: Bound, hi: Bound) -> Array:
    """float64 distance from x to the bound that a step along -g meets; NaN (x NaN) as 0."""
    up = np.asarray(hi, dtype=x.dtype) - x
    down = x - np.asarray(lo, dtype=x.dtype)
    return np.nan_to_num(np.where(g < 0, up, down).astype(np.float64), nan=0, posinf=np.inf)


def fill(value: Array, size: Array, budget: Array) -> Array:
    """Fractional knapsack by row: what each entry gets of the `budget` (n, 1), dearest first.

    An entry takes at most its `size`; ties go by index; entries without value take nothing.
    """
    order = np.argsort(-value, axis=1, kind="stable")
    sorted_size = np.take_along_axis(
        np.where(value > 0, np.minimum(size, budget), 0.0), order, axis=1
    )
    before = np.cumsum(sorted_size, axis=1) - sorted_size
    taken = np.empty_like(value)
    np.put_along_axis(taken, order, np.clip(budget - before, 0, sorted_size), axis=1)
    return taken


def saturate(w: Array, r: Array, t: Array) -> Array:
    """min(t w, r), where t may be infinite: weight 0 stays 0."""
    with np.errstate(invalid="ignore"):
        return np.where(w > 0, np.minimum(t * w, r), 0.0)
