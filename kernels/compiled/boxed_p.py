"""Euclidean projection on ball and box for a general order: the Numba version of `project_box_p`.

In units where eps = 1, |u| = min(d, r) with d + mu d^(p-1) = a, and mu makes the norm 1. All is
kept as logarithms of base 2: v of d, L of a / top, with top = max a, and m of mu / top. Then the
equation of an entry is s + t = 1 for

    s = 2^(v + k - L),   t = 2^(m + (p - 1) v - L),   k = -log2 top,

and has no scale: nothing leaves the range of float32, whatever eps, top and p are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.kernels.compiled.boxed import place, split, stays
from pertcore.kernels.compiled.elements import native, strict, summing
from pertcore.kernels.compiled.exact import SAFETY, settle
from pertcore.kernels.compiled.powers import exp2, log2
from pertcore.kernels.compiled.rows import BLOCK, PASSES, largest_entry, one_if
from pertcore.oracle import Array

FIRST, LATER = 5, 2
"""Newton steps of an entry from afar or when all is settled, and from a multiplier nearby."""
WARM = 0.2
"""How far, relatively and times min(p - 1, 1), a multiplier nearby may be: from the left of the
solution of an entry Newton's method is slow."""
NOTHING = -2000.0
"""The logarithm that stands for that of 0."""
MOST = 60.0
"""No power d^p is taken larger than 2^MOST: at the solution all are <= 1."""


@strict
def project_box_p(x: Array, z: Array, eps: Array, p: float, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    d, unit_of = x.shape[1], np.float64(np.finfo(x.dtype).eps)
    a, r, v = np.empty(d, x.dtype), np.empty(d, x.dtype), np.empty(d, x.dtype)
    sizes, caps = np.empty(d, x.dtype), np.empty(d, x.dtype)
    for k in range(x.shape[0]):
        limit = eps[k] * (1 - SAFETY)
        if stays(x[k], z[k], p, limit, low, high, out[k]):
            continue
        unit = limit * (1 - unit_of)
        split(x[k], z[k], low, high, a, r)
        top = np.float64(largest_entry(a))
        if not unit > 0 or not top > 0:
            out[k] = x[k]
            continue
        _logarithms(a, top, sizes)
        _cap_logarithms(r, unit, MOST / p, caps)
        _solve(sizes, caps, math.log2(unit) - math.log2(top), p, v)
        _lengths(v, caps, unit, r, a)
        place(x[k], z[k], a, r, low, high, out[k])
        a[:] = out[k]
        settle(x[k], a, eps[k], p, low, high, out[k])


@strict
def _logarithms(a: Array, top: float, out: Array) -> None:
    least = a.dtype.type(np.finfo(a.dtype).tiny)
    for i in range(a.size):
        t = a.dtype.type(np.float64(a[i]) / top)
        near = log2(t if t > least else least)
        out[i] = near if t > least else a.dtype.type(NOTHING)


@strict
def _cap_logarithms(r: Array, unit: float, most: float, out: Array) -> None:
    """log2(r / unit), at most `most`."""
    least = r.dtype.type(np.finfo(r.dtype).tiny)
    largest = 2.0**most
    for i in range(r.size):
        t = r.dtype.type(min(np.float64(r[i]) / unit, largest))
        near = log2(t if t > least else least)
        out[i] = near if t > least else r.dtype.type(NOTHING)


@strict
def _lengths(v: Array, caps: Array, unit: float, r: Array, out: Array) -> None:
    """out = unit 2^v below the caps, the room r above them, 0 where there is nothing."""
    for i in range(v.size):
        inside = v.dtype.type(unit * np.float64(exp2(min(v[i], caps[i]))))
        out[i] = r[i] if (v[i] >= caps[i]) & (r[i] < inside) else inside


@summing
def _two_sums(sizes: Array, p: float, q: float) -> tuple[float, float]:
    """sum 2^(p L) and sum 2^(q L)."""
    first, second = sizes.dtype.type(p), sizes.dtype.type(q)
    one, two = 0.0, 0.0
    for i in range(sizes.size):
        one += np.float64(exp2(first * sizes[i]))
        two += np.float64(exp2(second * sizes[i]))
    return one, two


@strict
def _solve(sizes: Array, caps: Array, k: float, p: float, v: Array) -> None:
    """v, and the mu >= 0 at which norm_p(min(d, r)) = 1; norm_p(a) > 1.

    (norm_p of the entries not capped)^(1-p) is nearly linear in mu, and linear for p = 2 and for
    large mu, so Newton's method is used on it inside a bracket. Without caps it is near
    norm_p(a)^(1-p) + mu / norm_q(a), which gives the first mu.
    """
    one, two = _two_sums(sizes, p, p / (p - 1))
    high = two ** (1 - 1 / p) * (1 + 1e-5)
    before = (1 - p) * (math.log(one) / p - k * math.log(2.0))
    low, mu = 0.0, -high * math.expm1(min(before, -1e-12))
    enough = max(1e-12, 8 * np.float64(np.finfo(v.dtype).eps)) * p
    close, used, near = False, 0.0, WARM * min(p - 1, 1.0)
    for _ in range(PASSES):
        if not abs(mu - used) <= near * used:
            v[:] = np.inf
        number = LATER if 0 < abs(mu - used) <= near * used else FIRST
        used = mu
        full, free, slope = _norms_at(sizes, caps, k, math.log2(mu), p, v, number)
        total = full + free
        if abs(total - 1) <= enough:
            if close:
                return
            close = True
            continue
        close = False
        low, high = (mu, high) if total > 1 else (low, mu)
        following = -1.0
        if full < 1 and slope > 0:
            ratio = (free / (1 - full)) ** (1 - 1 / p)
            following = mu * (1 + (ratio - 1) * free / ((p - 1) * slope))
        if not low < following < high:
            following = math.sqrt(max(low, high * 1e-6) * high)
        mu = following
        if not low < mu < high:
            return


@strict
def _norms_at(
    sizes: Array, caps: Array, k: float, m: float, p: float, v: Array, steps: int
) -> tuple[float, float, float]:
    """v at this m; sums of d^p over the capped, over the others, and of d^p t / (s + (p-1) t)."""
    full, free, slope = 0.0, 0.0, 0.0
    for b in range(0, v.size, BLOCK):
        block, size = v[b : b + BLOCK], sizes[b : b + BLOCK]
        for _ in range(steps):
            if p < 2:
                _step(size, k, m, p - 1, block)
            else:
                _step_of_large(size, k, m, p - 1, block)
        part = _sums_block(size, caps[b : b + BLOCK], m, p, block)
        full += np.float64(part[0])
        free += np.float64(part[1])
        slope += np.float64(part[2])
    return full, free, slope


@strict
def _step(sizes: Array, k: float, m: float, rho: float, v: Array) -> None:
    """A Newton step for s of s + t(s) = 1, concave in s for rho = p - 1 < 1.

    From v at most where s = 1 or t = 1 it leads to a positive s, then rises to the solution.
    """
    number = v.dtype.type
    near, far, slope, inverse = number(k), number(m), number(rho), number(1 / rho)
    rest = number(1 - rho)
    for i in range(v.size):
        one, two = near - sizes[i], far - sizes[i]
        w = min(v[i], min(-one, -two * inverse))
        s, t = exp2(w + one), exp2(slope * w + two)
        v[i] = w + log2((number(1) - rest * t) / (s + slope * t))


@strict
def _step_of_large(sizes: Array, k: float, m: float, rho: float, v: Array) -> None:
    """As `_step`, for t of s(t) + t = 1, concave in t for rho = p - 1 > 1."""
    number = v.dtype.type
    near, far, slope, inverse = number(k), number(m), number(rho), number(1 / rho)
    rest = number(1 - 1 / rho)
    for i in range(v.size):
        one, two = near - sizes[i], far - sizes[i]
        w = min(v[i], min(-one, -two * inverse))
        s, t = exp2(w + one), exp2(slope * w + two)
        v[i] = w + inverse * log2((number(1) - rest * s) / (t + inverse * s))


@summing
def _sums_block(sizes: Array, caps: Array, m: float, p: float, v: Array) -> tuple[Any, Any, Any]:
    number = v.dtype.type
    far, slope, order = number(m), number(p - 1), number(p)
    full, free, lost = number(0), number(0), number(0)
    for i in range(v.size):
        t = exp2(min(slope * v[i] + (far - sizes[i]), number(0)))
        part = exp2(order * min(v[i], caps[i]))
        open_part = part * one_if(v[i] < caps[i], v)
        full += part - open_part
        free += open_part
        lost += open_part * t / ((number(1) - t) + slope * t)
    return full, free, lost
