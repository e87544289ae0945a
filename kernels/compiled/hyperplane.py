"""The smallest step to a hyperplane within a box: the Numba version of `hyperplane_*`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import at, flip, native, room, sign_bit, strict, summing
from pertcore.kernels.compiled.knapsack import spend
from pertcore.kernels.compiled.lmo import against, rooms
from pertcore.kernels.compiled.powers import power
from pertcore.kernels.compiled.rows import PASSES, largest_entry, one_if
from pertcore.kernels.compiled.steps import magnitudes
from pertcore.oracle import Array

ENOUGH = 1e-12
"""A gain this little below the level still counts as reaching it."""


@strict
def hyperplane_1(
    g: Array, level: Array, x: Array, lo: Any, hi: Any, out: Array, feasible: Array
) -> None:
    low, high = native(lo, x), native(hi, x)
    a = np.empty(x.shape[1], x.dtype)
    gain, gained = np.empty(x.shape[1]), np.empty(x.shape[1])
    for k in range(x.shape[0]):
        goal = max(level[k], 0.0)
        magnitudes(g[k], a)
        for i in range(a.size):
            r = room(g[k, i], x[k, i], at(low, i), at(high, i))
            gain[i] = min(np.float64(a[i]) * np.float64(r), goal) if a[i] > 0 else 0.0
        feasible[k] = spend(a, gain, goal, gained) >= goal * (1 - ENOUGH)
        for i in range(a.size):
            out[k, i] = gained[i] / np.float64(a[i]) if a[i] > 0 else 0.0
        against(g[k], out[k])


@strict
def hyperplane_p(
    g: Array, level: Array, p: float, x: Array, lo: Any, hi: Any, out: Array, feasible: Array
) -> None:
    low, high = native(lo, x), native(hi, x)
    d = x.shape[1]
    a, w, r = np.empty(d, x.dtype), np.empty(d, x.dtype), np.empty(d, x.dtype)
    for k in range(x.shape[0]):
        gk, xk, ok = g[k], x[k], out[k]
        magnitudes(gk, a)
        weights(a, p, w)
        rooms(gk, xk, low, high, x.dtype.type(np.inf), r)
        t, feasible[k] = _reaching_scale(a, w, r, max(level[k], 0.0))
        for i in range(d):
            v = x.dtype.type(min(t * np.float64(w[i]), np.float64(r[i])) if w[i] > 0 else 0.0)
            ok[i] = -flip(v, sign_bit(gk[i])) if v > 0 else v


@strict
def weights(a: Array, p: float, w: Array) -> None:
    """w = (a / max a)^(q-1); p = inf: 1 where a > 0."""
    top = largest_entry(a)
    for i in range(a.size):
        w[i] = a[i] / top if top > 0 else top
    if math.isinf(p):
        for i in range(a.size):
            w[i] = one_if(w[i] > 0, w)
    elif p != 2:
        for i in range(a.size):
            w[i] = power(w[i], 1 / (p - 1))


@summing
def _gain(a: Array, w: Array, r: Array, t: float) -> tuple[float, float]:
    """sum a min(t w, r), and its slope in t."""
    total = 0.0
    slope = 0.0
    for i in range(a.size):
        u = np.float64(w[i])
        v = t * u
        b = np.float64(a[i])
        cap = np.float64(r[i])
        total += b * (v if v < cap else cap)
        slope += b * u * (1.0 if v < cap else 0.0)
    return total, slope


@strict
def _reaching_scale(a: Array, w: Array, r: Array, goal: float) -> tuple[float, bool]:
    """The smallest t with sum a min(t w, r) >= goal: Newton's method on a concave function.

    Every tangent lies above the function, so the iterates rise to t and never pass it. Without
    such a t it is infinite.
    """
    if not goal > 0:
        return 0.0, True
    t = 0.0
    for _ in range(a.size + PASSES):
        total, slope = _gain(a, w, r, t)
        if total >= goal * (1 - ENOUGH):
            return t, True
        if not slope > 0:
            return math.inf, False
        next_t = t + (goal - total) / slope
        if not next_t > t:
            return t, True
        t = next_t
    return t, True
