"""Sums and searches over one row, shared by the kernels; loops here vectorise, so keep their shape.

A conditional term is a product with 0 or 1 or a maximum with 0: LLVM does not vectorise
`if c: s += t` unless it may assume that there are no NaNs. Sums that steer a search are taken in
the dtype over blocks of BLOCK entries and in float64 over blocks; sums that judge are float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from pertcore.kernels.compiled.elementary import exponential, logarithm
from pertcore.kernels.compiled.elements import (
    from_bits,
    gap,
    magnitude_bits,
    strict,
    summing,
)
from pertcore.kernels.compiled.powers import power
from pertcore.oracle import Array

PASSES = 64
BLOCK = 512
SMALLEST, LARGEST = 1e-270, 1e300
"""Between these a sum of powers has lost no digits to underflow, nor anything to overflow."""
OVERFLOWING = 700.0
"""exp of it is above LARGEST, so that the sum is taken afresh."""
LEAST_GAP = 2.2250738585072014e-308
"""Stands for gaps that count nothing; no power of it does."""
ESTIMATE = 4e-6
"""Bound on the relative error of the norm that `_estimate` finds in float32."""


@strict
def largest_entry(a: Array) -> Any:
    """max |a| of a row, by integer comparison; NaN where there is one."""
    top = magnitude_bits(a.dtype.type(0))
    for i in range(a.size):
        bits = magnitude_bits(a[i])
        top = bits if bits > top else top
    return from_bits(top)


@summing
def sum_of_powers(a: Array, p: float) -> float:
    """sum |a|^p in float64."""
    total = 0.0
    if p == 2:
        for i in range(a.size):
            v = np.float64(a[i])
            total += v * v
    elif p == 1:
        for i in range(a.size):
            total += abs(np.float64(a[i]))
    else:
        for i in range(a.size):
            total += abs(np.float64(a[i])) ** p
    return total


@strict
def row_norm(a: Array, p: float) -> float:
    """norm_p(a) in float64; relative to the largest entry where the sum of powers is not safe."""
    total = sum_of_powers(a, p)
    if SMALLEST < total < LARGEST:
        return total ** (1 / p)
    top = np.float64(largest_entry(a))
    if not 0 < top < np.inf:
        return top
    total = 0.0
    for i in range(a.size):
        total += (abs(np.float64(a[i])) / top) ** p
    return top * total ** (1 / p)


@strict
def distance(a: Array, x: Array, p: float) -> float:
    """norm_p(float64(a) - float64(x)); NaN entries count nothing."""
    return rooted(_powers_of_gaps(a, x, p), a, x, p)


@strict
def rooted(total: float, a: Array, x: Array, p: float) -> float:
    """norm_p(a - x) from the sum of the powers, or afresh where that sum is not safe."""
    if SMALLEST < total < LARGEST:
        return math.sqrt(total) if p == 2 else total ** (1 / p)
    top = 0.0
    for i in range(a.size):
        d = abs(gap(a[i], x[i]))
        top = d if d > top else top
    if not 0 < top < np.inf:
        return top
    total = 0.0
    for i in range(a.size):
        d = abs(gap(a[i], x[i]))
        total += (d / top) ** p if d > 0 else 0.0
    return top * total ** (1 / p)


@summing
def _powers_of_gaps(a: Array, x: Array, p: float) -> float:
    """sum |a - x|^p; NaN entries count nothing."""
    total = 0.0
    if p == 2:
        for i in range(a.size):
            d = gap(a[i], x[i])
            q = d * d
            total += q if q > 0 else 0.0
        return total
    if p == 1:
        for i in range(a.size):
            d = abs(gap(a[i], x[i]))
            total += d if d > 0 else 0.0
        return total
    for i in range(a.size):
        d = abs(gap(a[i], x[i]))
        d = d if d > LEAST_GAP else LEAST_GAP
        exponent = p * logarithm(d)
        total += exponential(exponent if exponent < OVERFLOWING else OVERFLOWING)
    return total


@strict
def estimated(a: Array, p: float) -> bool:
    """Whether a norm of rows like a is estimated before it is computed: float32, p not 1 or 2."""
    return p != 1 and p != 2 and np.finfo(a.dtype).eps > 1e-10


@strict
def judged_distance(a: Array, x: Array, p: float, limit: float) -> float:
    """A number >= norm_p(a - x), the norm itself wherever it could be mistaken for > limit.

    For p other than 1 and 2 in float32 a quick estimate decides where it is sure.
    """
    if estimated(a, p):
        estimate = _estimate(a, x, p)
        above = estimate * (1 + ESTIMATE)
        if above <= limit or estimate * (1 - ESTIMATE) > limit:
            return above
    return distance(a, x, p)


@strict
def _estimate(a: Array, x: Array, p: float) -> float:
    top = magnitude_bits(a.dtype.type(0))
    for i in range(a.size):
        bits = magnitude_bits(a[i] - x[i])
        top = bits if bits > top else top
    unit = from_bits(top)
    if not 0 < unit < np.inf:
        return distance(a, x, p)
    total = 0.0
    for s in range(0, a.size, BLOCK):
        total += _block_of_powers(a[s : s + BLOCK], x[s : s + BLOCK], unit, p)
    return np.float64(unit) * total ** (1 / p)


@summing
def _block_of_powers(a: Array, x: Array, unit: Any, p: float) -> Any:
    total = a.dtype.type(0)
    for i in range(a.size):
        total += power(abs(a[i] - x[i]) / unit, p)
    return total


def one_if(condition: Any, like: Any) -> Any:
    """1 or 0 in the dtype of the array `like`."""
    raise NotImplementedError("compiled code only")


@overload(one_if)
def _one_if(condition: Any, like: Any) -> Any:  # noqa: ARG001
    def single(condition: Any, like: Any) -> Any:  # noqa: ARG001
        return np.float32(1) if condition else np.float32(0)

    def double(condition: Any, like: Any) -> Any:  # noqa: ARG001
        return 1.0 if condition else 0.0

    return single if like.dtype == types.float32 else double


@summing
def _saturated_block(w: Array, r: Array, scale: Any, inverse: Any) -> tuple[Any, Any]:
    total, free = w.dtype.type(0), w.dtype.type(0)
    for i in range(w.size):
        v = scale * w[i]
        cap = inverse * r[i]
        m = v if v < cap else cap
        total += m * m
        free += m * m * one_if(v < cap, w)
    return total, free


@strict
def saturated_squares(w: Array, r: Array, t: float, radius: float) -> tuple[float, float]:
    """sum min(t w, r)^2 / radius^2, and the part of it from the entries with t w < r."""
    largest = np.finfo(w.dtype).max
    scale = w.dtype.type(min(t / radius, largest))
    inverse = w.dtype.type(min(1 / radius, largest))
    total, free = 0.0, 0.0
    for s in range(0, w.size, BLOCK):
        part = _saturated_block(w[s : s + BLOCK], r[s : s + BLOCK], scale, inverse)
        total += np.float64(part[0])
        free += np.float64(part[1])
    return total, free


@summing
def _powers_block(w: Array, r: Array, scale: Any, p: float) -> tuple[Any, Any]:
    total, free = w.dtype.type(0), w.dtype.type(0)
    for i in range(w.size):
        v = scale * w[i]
        q = power(v if v < r[i] else r[i], p)
        total += q
        free += q * one_if(v < r[i], w)
    return total, free


@strict
def saturated_powers(w: Array, r: Array, t: float, p: float) -> tuple[float, float]:
    """sum min(t w, r)^p, and the part of it from the entries with t w < r; r <= 1."""
    scale = w.dtype.type(t)
    total, free = 0.0, 0.0
    for s in range(0, w.size, BLOCK):
        part = _powers_block(w[s : s + BLOCK], r[s : s + BLOCK], scale, p)
        total += np.float64(part[0])
        free += np.float64(part[1])
    return total, free


@strict
def saturating_scale(w: Array, r: Array, radius: float, most: float) -> float:
    """The largest t <= most with norm_2(min(t w, r)) <= radius > 0, to rounding.

    Between breakpoints the square of the norm is S + t^2 F; the roots of these pieces rise to t,
    since entries only ever leave the free set (Newton's method on a concave function of t^2).
    """
    enough = 1 - np.finfo(w.dtype).eps
    norm = row_norm(w, 2.0)
    t = radius / norm if norm > 0 else most
    for _ in range(PASSES):
        if not t < most:
            return most
        total, free = saturated_squares(w, r, t, radius)
        if total >= enough or not free > 0:
            return t
        t *= math.sqrt(1 + (1 - total) / free)
    return t
