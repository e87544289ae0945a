"""Sums and searches over one row, shared by the kernels; loops here vectorise, so keep their shape.

A conditional term is written as a product with 0 or 1, or a maximum with 0: Numba's LLVM does not
vectorise `if c: s += t` without assuming that there are no NaNs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import gap, strict, summing
from pertcore.kernels.compiled.powers import power
from pertcore.oracle import Array

PASSES = 64


@summing
def largest_entry(a: Array) -> Any:
    """max of a row of entries >= 0 without NaN."""
    top = a.dtype.type(0)
    for i in range(a.size):
        top = max(top, a[i])
    return top


@summing
def sum_of_powers(a: Array, p: float) -> float:
    """sum a^p in float64, a >= 0."""
    total = 0.0
    if p == 2:
        for i in range(a.size):
            v = np.float64(a[i])
            total += v * v
    elif p == 1:
        for i in range(a.size):
            total += np.float64(a[i])
    else:
        for i in range(a.size):
            total += np.float64(a[i]) ** p
    return total


@summing
def distance(a: Array, x: Array, p: float) -> float:
    """norm_p(float64(a) - float64(x)); NaN entries count nothing."""
    total = 0.0
    if p == 2:
        for i in range(a.size):
            d = gap(a[i], x[i])
            q = d * d
            total += q if q > 0 else 0.0
        return math.sqrt(total)
    if p == 1:
        for i in range(a.size):
            d = abs(gap(a[i], x[i]))
            total += d if d > 0 else 0.0
        return total
    for i in range(a.size):
        d = abs(gap(a[i], x[i]))
        total += d**p if d > 0 else 0.0
    return total ** (1 / p)


@summing
def saturated_squares(w: Array, r: Array, t: float) -> tuple[float, float]:
    """sum min(t w, r)^2, and sum w^2 over the entries with t w < r."""
    scale = w.dtype.type(t)
    total = 0.0
    free = 0.0
    for i in range(w.size):
        v = scale * w[i]
        m = np.float64(min(v, r[i]))
        f = np.float64(w[i]) * np.float64(v < r[i])
        total += m * m
        free += f * f
    return total, free


@summing
def saturated_powers(w: Array, r: Array, t: float, p: float) -> tuple[float, float]:
    """sum min(t w, r)^p, and sum w^p over the entries with t w < r; entries of r are <= 1."""
    scale = w.dtype.type(t)
    total = 0.0
    free = 0.0
    for i in range(w.size):
        v = scale * w[i]
        total += np.float64(power(min(v, r[i]), p))
        free += np.float64(power(w[i], p)) * np.float64(v < r[i])
    return total, free


@strict
def saturating_scale(w: Array, r: Array, radius: float, most: float) -> float:
    """The largest t <= most with norm_2(min(t w, r)) <= radius, to rounding.

    Between breakpoints the square of the norm is S + t^2 F; the roots of these pieces rise to t,
    since entries only ever leave the free set (Newton's method on a concave function of t^2).
    """
    goal = radius * radius
    most = min(most, np.finfo(w.dtype).max)
    enough = goal * (1 - np.finfo(w.dtype).eps)
    total = sum_of_powers(w, 2.0)
    t = radius / math.sqrt(total) if total > 0 else most
    for _ in range(PASSES):
        if not t < most:
            return most
        total, free = saturated_squares(w, r, t)
        following = math.sqrt(t * t + (goal - total) / free) if free > 0 else t
        if total >= enough or not following > t:
            return t
        t = following
    return t
