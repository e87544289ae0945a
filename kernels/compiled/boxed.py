"""Euclidean projections on ball and box together: the Numba version of `project_box_*`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import (
    at,
    clamp,
    flip,
    gap,
    native,
    room,
    sign_bit,
    strict,
    summing,
)
from pertcore.kernels.compiled.exact import REPEATS, SAFETY, least_scale, settle
from pertcore.kernels.compiled.rows import (
    BLOCK,
    PASSES,
    distance,
    judged_distance,
    largest_entry,
    one_if,
    rooted,
    saturating_scale,
)
from pertcore.oracle import Array

ALMOST = 1 - 1e-5
FARTHEST = 1e300
"""The longest entry of a displacement in float64, so that its norm is a number."""


@strict
def project_box_2(x: Array, z: Array, eps: Array, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    a, r = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    for k in range(x.shape[0]):
        project_row_2(x[k], z[k], eps[k], low, high, a, r, out[k])


@strict
def project_row_2(
    x: Array, z: Array, eps: float, low: Any, high: Any, a: Array, r: Array, out: Array
) -> None:
    """out = the projection of z; a and r are room to work in, z is not out."""
    limit = eps * (1 - SAFETY)
    split(x, z, low, high, a, r)
    if not limit > 0:
        out[:] = x
        return
    slack = np.float64(np.finfo(x.dtype).eps)
    t = saturating_scale(a, r, limit * (1 - slack), 1.0)
    if not t > least_scale(x):
        for i in range(x.size):
            a[i] = np.float64(a[i]) * t
        place(x, z, a, r, low, high, out)
        a[:] = out
        settle(x, a, eps, 2.0, low, high, out)
        return
    if t > ALMOST and not place_2(x, z, a, r, 1.0, low, high, out) > limit:
        return
    for _ in range(REPEATS):
        norm = place_2(x, z, a, r, t, low, high, out)
        if not norm > limit:
            return
        t *= limit / norm * (1 - slack)
        slack *= 8
    a[:] = out
    settle(x, a, eps, 2.0, low, high, out)


@summing
def place_2(
    x: Array, z: Array, a: Array, r: Array, t: float, low: Any, high: Any, out: Array
) -> float:
    """`place`, and norm_2 of what was placed; t >= 1 places z itself, clipped to the box."""
    scale = x.dtype.type(t)
    total = 0.0
    for i in range(x.size):
        v = placed(x[i], z[i], a[i], r[i], scale) if t < 1 else z[i]
        v = clamp(v, at(low, i), at(high, i))
        out[i] = v
        d = gap(v, x[i])
        q = d * d
        total += q if q > 0 else 0.0
    return rooted(total, out, x, 2.0)


@strict
def placed(x: Any, z: Any, a: Any, r: Any, scale: Any) -> Any:
    """x + sign(z - x) min(scale a, r)."""
    v = scale * a
    return x + flip(v if v < r else r, sign_bit(z - x))


@strict
def split(x: Array, z: Array, low: Any, high: Any, a: Array, r: Array) -> None:
    """a = |z - x|, NaN as 0, infinity as a large number; r = the room in that direction."""
    most = x.dtype.type(min(np.finfo(x.dtype).max, FARTHEST))
    for i in range(x.size):
        d = z[i] - x[i]
        a[i] = min(abs(d), most) if abs(d) > 0 else x.dtype.type(0)
        r[i] = room(-d, x[i], at(low, i), at(high, i))


@strict
def place(x: Array, z: Array, a: Array, r: Array, low: Any, high: Any, out: Array) -> None:
    """out = x + sign(z - x) min(a, r), rounded into the box."""
    scale = x.dtype.type(1)
    for i in range(x.size):
        out[i] = clamp(placed(x[i], z[i], a[i], r[i], scale), at(low, i), at(high, i))


@strict
def project_box_1(x: Array, z: Array, eps: Array, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    a, r = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    for k in range(x.shape[0]):
        limit = eps[k] * (1 - SAFETY)
        if stays(x[k], z[k], 1.0, limit, low, high, out[k]):
            continue
        split(x[k], z[k], low, high, a, r)
        tau = _capped_threshold(a, r, limit * (1 - np.finfo(x.dtype).eps))
        for i in range(a.size):
            a[i] = max(np.float64(a[i]) - tau, 0.0)
        place(x[k], z[k], a, r, low, high, out[k])
        if distance(out[k], x[k], 1.0) > limit:
            a[:] = out[k]
            settle(x[k], a, eps[k], 1.0, low, high, out[k])


@strict
def stays(x: Array, z: Array, p: float, limit: float, low: Any, high: Any, out: Array) -> bool:
    """Whether z, clipped to the box into out, is inside the ball already."""
    for i in range(x.size):
        out[i] = clamp(z[i], at(low, i), at(high, i))
    return judged_distance(out, x, p, limit) <= limit


@summing
def _capped_block(a: Array, r: Array, tau: Any) -> tuple[Any, Any]:
    zero = a.dtype.type(0)
    total, count = zero, zero
    for i in range(a.size):
        v = max(a[i] - tau, zero)
        total += v if v < r[i] else r[i]
        count += one_if((v > 0) & (v < r[i]), a)
    return total, count


@strict
def _capped_quickly(a: Array, r: Array, tau: float) -> tuple[float, float]:
    near = a.dtype.type(tau)
    total, count = 0.0, 0.0
    for s in range(0, a.size, BLOCK):
        part = _capped_block(a[s : s + BLOCK], r[s : s + BLOCK], near)
        total += np.float64(part[0])
        count += np.float64(part[1])
    return total, count


@summing
def _capped_excess(a: Array, r: Array, tau: float) -> tuple[float, float]:
    """sum min(max(a - tau, 0), r), and the count of entries strictly between."""
    total, count = 0.0, 0
    for i in range(a.size):
        v = max(np.float64(a[i]) - tau, 0.0)
        cap = np.float64(r[i])
        total += v if v < cap else cap
        count += 1 if (v > 0) & (v < cap) else 0
    return total, np.float64(count)


@strict
def _capped_threshold(a: Array, r: Array, radius: float) -> float:
    """The smallest tau >= 0 with sum min(max(a - tau, 0), r) <= radius, to rounding."""
    total, _ = _capped_excess(a, r, 0.0)
    if total <= radius:
        return 0.0
    return _bracket(a, r, radius, _bracket(a, r, radius, 0.0, True), False)


@strict
def _bracket(a: Array, r: Array, radius: float, tau: float, quickly: bool) -> float:
    """The threshold from a first guess; falling and piecewise linear in tau, but not convex.

    Newton's steps are taken where they stay inside the bracket, else it is halved.
    """
    low, high = 0.0, float(largest_entry(a))
    unit = np.finfo(a.dtype).eps
    for k in range(4 * PASSES):
        if quickly:
            total, count = _capped_quickly(a, r, tau)
            noise = 8 * unit * (radius + tau * count)
        else:
            total, count = _capped_excess(a, r, tau)
            noise = unit * radius + 1e-15 * tau * count
        if abs(total - radius) <= noise:
            return tau
        low, high = (low, tau) if total <= radius else (tau, high)
        following = tau + (total - radius) / max(count, 1.0)
        usable = low < following < high and k % 4 != 3
        tau = following if usable else low + (high - low) / 2
        if not low < tau < high:
            return high
    return high
