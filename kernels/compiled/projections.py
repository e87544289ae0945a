"""Euclidean projections: the Numba version of `definitions.projections`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import (
    at,
    clamp,
    flip,
    floor_to,
    gap,
    native,
    room,
    sign_bit,
    strict,
    summing,
)
from pertcore.kernels.compiled.exact import REPEATS, SAFETY, settle
from pertcore.kernels.compiled.rows import (
    BLOCK,
    PASSES,
    distance,
    largest_entry,
    one_if,
    saturating_scale,
    sum_of_powers,
)
from pertcore.oracle import Array


@strict
def project_inf(delta: Array, eps: Array, out: Array) -> None:
    for k in range(delta.shape[0]):
        dk, ok = delta[k], out[k]
        e = floor_to(eps[k], delta)
        for i in range(dk.size):
            ok[i] = clamp(dk[i], -e, e)


@strict
def project_2(delta: Array, eps: Array, out: Array) -> None:
    margin = 1 - max(4 * np.finfo(delta.dtype).eps, SAFETY)
    for k in range(delta.shape[0]):
        dk, ok = delta[k], out[k]
        norm = math.sqrt(sum_of_powers(dk, 2.0))
        c = delta.dtype.type(eps[k] * margin / norm if norm > eps[k] else 1.0)
        for i in range(dk.size):
            ok[i] = dk[i] * c


@strict
def project_1(delta: Array, eps: Array, out: Array) -> None:
    margin = 1 - max(4 * np.finfo(delta.dtype).eps, SAFETY)
    a = np.empty(delta.shape[1], delta.dtype)
    for k in range(delta.shape[0]):
        dk, ok = delta[k], out[k]
        for i in range(a.size):
            a[i] = abs(dk[i])
        total = sum_of_powers(a, 1.0)
        tau = _threshold(a, total, eps[k] * margin) if total > eps[k] else 0.0
        for i in range(a.size):
            ok[i] = flip(delta.dtype.type(max(np.float64(a[i]) - tau, 0.0)), sign_bit(dk[i]))


@summing
def _excess_block(a: Array, tau: Any) -> tuple[Any, Any]:
    total, count = a.dtype.type(0), a.dtype.type(0)
    for i in range(a.size):
        v = a[i] - tau
        total += max(v, a.dtype.type(0))
        count += one_if(v > 0, a)
    return total, count


@strict
def _excess_quickly(a: Array, tau: float) -> tuple[float, float]:
    near = a.dtype.type(tau)
    total, count = 0.0, 0.0
    for s in range(0, a.size, BLOCK):
        part = _excess_block(a[s : s + BLOCK], near)
        total += np.float64(part[0])
        count += np.float64(part[1])
    return total, count


@summing
def _excess(a: Array, tau: float) -> tuple[float, float]:
    """sum max(a - tau, 0), and the count of entries above tau."""
    total, count = 0.0, 0
    for i in range(a.size):
        v = np.float64(a[i]) - tau
        total += max(v, 0.0)
        count += 1 if v > 0 else 0
    return total, np.float64(count)


@strict
def _threshold(a: Array, total: float, radius: float) -> float:
    """tau with sum max(a - tau, 0) = radius: Newton's method on a convex piecewise linear function.

    Its iterates rise to tau, and are there when the set of entries above stays the same. The
    first passes are made in the dtype, the last in float64: from above the root, where rounding
    may have led, one step leads below it.
    """
    tau = max((total - radius) / a.size, np.float64(largest_entry(a)) - radius, 0.0)
    before = -1.0
    for _ in range(PASSES):
        total, count = _excess_quickly(a, tau)
        if count == before or not total > radius:
            break
        tau += (total - radius) / max(count, 1.0)
        before = count
    for _ in range(PASSES):
        total, count = _excess(a, tau)
        tau += (total - radius) / max(count, 1.0)
        if count == before:
            break
        before = count
    return tau


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
    return math.sqrt(total)


@strict
def placed(x: Any, z: Any, a: Any, r: Any, scale: Any) -> Any:
    """x + sign(z - x) min(scale a, r)."""
    v = scale * a
    return x + flip(v if v < r else r, sign_bit(z - x))


@strict
def split(x: Array, z: Array, low: Any, high: Any, a: Array, r: Array) -> None:
    """a = |z - x|, NaN as 0; r = the room in that direction."""
    for i in range(x.size):
        d = z[i] - x[i]
        a[i] = abs(d) if abs(d) > 0 else x.dtype.type(0)
        r[i] = room(-d, x[i], at(low, i), at(high, i))


@strict
def place(
    x: Array, z: Array, a: Array, r: Array, t: float, low: Any, high: Any, out: Array
) -> None:
    """out = x + sign(z - x) min(t a, r), rounded into the box."""
    scale = x.dtype.type(t)
    for i in range(x.size):
        out[i] = clamp(placed(x[i], z[i], a[i], r[i], scale), at(low, i), at(high, i))


@strict
def project_box_1(x: Array, z: Array, eps: Array, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    a, r = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    for k in range(x.shape[0]):
        limit = eps[k] * (1 - SAFETY)
        split(x[k], z[k], low, high, a, r)
        tau = _capped_threshold(a, r, limit * (1 - np.finfo(x.dtype).eps))
        if tau > 0:
            for i in range(a.size):
                a[i] = max(np.float64(a[i]) - tau, 0.0)
            place(x[k], z[k], a, r, 1.0, low, high, out[k])
        else:
            for i in range(a.size):
                out[k, i] = clamp(z[k, i], at(low, i), at(high, i))
        if distance(out[k], x[k], 1.0) > limit:
            a[:] = out[k]
            settle(x[k], a, eps[k], 1.0, low, high, out[k])


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


@strict
def project_box_p(x: Array, z: Array, eps: Array, p: float, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    d = x.shape[1]
    a, r, u = np.empty(d), np.empty(d), np.empty(d)
    inside, caps = np.empty(d, x.dtype), np.empty(d, x.dtype)
    for k in range(x.shape[0]):
        unit = eps[k] * (1 - SAFETY) * (1 - np.finfo(x.dtype).eps)
        split(x[k], z[k], low, high, inside, caps)
        if not unit > 0:
            out[k] = x[k]
            continue
        for i in range(d):
            a[i] = gap(inside[i], 0.0) / unit
            r[i] = caps[i] / unit
        if _multiplier(a, r, p, u) > 0:
            for i in range(d):
                inside[i] = unit * u[i]
            place(x[k], z[k], inside, caps, 1.0, low, high, out[k])
        else:
            for i in range(d):
                out[k, i] = clamp(z[k, i], at(low, i), at(high, i))
        inside[:] = out[k]
        settle(x[k], inside, eps[k], p, low, high, out[k])


@strict
def _shrunk(a: float, mu: float, p: float) -> float:
    """d with d + mu d^(p-1) = a, by Newton's method from above on its convex form."""
    if not a > 0 or not mu > 0:
        return a
    if p >= 2:
        d = min(a, (a / mu) ** (1 / (p - 1)))
        for _ in range(PASSES):
            less = mu * d ** (p - 2)
            change = (d + less * d - a) / (1 + (p - 1) * less)
            d -= change
            if not change > 1e-15 * d:
                return d
        return d
    b = min(a ** (p - 1), a / mu)
    power = 1 / (p - 1)
    for _ in range(PASSES):
        d = b**power
        change = (d + mu * b - a) / (power * d / b + mu)
        b -= change
        if not change > 1e-15 * b:
            break
    return b**power


@strict
def _multiplier(a: Array, r: Array, p: float, u: Array) -> float:
    """The mu >= 0 at which u, u + mu u^(p-1) = a capped at r, has norm_p(u) = 1; fills u.

    Newton's method on 1 / norm_p(u) - 1, which is linear in mu for p = 2, inside a bracket:
    norm_p(u) <= (norm_q(a) / mu)^(1/(p-1)).
    """
    q = p / (p - 1)
    low, high, mu = 0.0, sum_of_powers(a, q) ** (1 / q), 0.0
    for _ in range(4 * PASSES):
        total, slope = 0.0, 0.0
        for i in range(a.size):
            d = _shrunk(a[i], mu, p)
            u[i] = min(d, r[i])
            if u[i] > 0:
                part = u[i] ** p
                total += part
                if d < r[i]:
                    slope += part / (u[i] ** (2 - p) + mu * (p - 1))
        if mu == 0 and total <= 1:
            return 0.0
        if abs(total - 1) <= 1e-12 * p:
            return mu
        low, high = (mu, high) if total > 1 else (low, mu)
        norm = total ** (1 / p)
        following = mu
        following += (norm - 1) * total / slope if slope > 0 else 0.0
        mu = following if low < following < high else (low + high) / 2
        if not low < mu < high:
            return mu
    return mu
