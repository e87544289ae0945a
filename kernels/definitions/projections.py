"""Euclidean projections: what each kernel of `projections` means, in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pertcore.kernels.definitions.exact import (
    SAFETY,
    Bound,
    delivered,
    finish_p,
    norms,
    round_down,
)
from pertcore.oracle import Array

HALVINGS = 80
FARTHEST, SPREAD = 1e300, 1e100


def inner(eps: Array, dtype: np.dtype) -> Array:
    """(n, 1) eps less a few units in the last place: a rounded point of that norm is inside."""
    return eps[:, None] * (1 - max(4 * float(np.finfo(dtype).eps), SAFETY))


def project_inf(delta: Array, eps: Array, out: Array) -> None:
    """out = clip(delta, -eps, eps), eps rounded down to the dtype."""
    e = round_down(eps, delta.dtype)
    out[...] = np.minimum(np.maximum(delta, -e), e)


def project_1(delta: Array, eps: Array, out: Array) -> None:
    """out = sign(delta) max(|delta| - tau, 0), tau by sorting (Duchi et al. 2008, figure 1)."""
    a = np.abs(delta.astype(np.float64))
    radius = inner(eps, delta.dtype)
    falling = -np.sort(-a, axis=1)
    count = np.arange(1, a.shape[1] + 1)
    tau = (np.cumsum(falling, axis=1) - radius) / count
    last = np.sum(falling > tau, axis=1, keepdims=True) - 1
    tau = np.take_along_axis(tau, np.maximum(last, 0), axis=1)
    shrunk = np.sign(delta) * np.where(radius > 0, np.maximum(a - tau, 0), 0)
    out[...] = np.where(np.sum(a, axis=1, keepdims=True) <= eps[:, None], delta, shrunk)


def project_2(delta: Array, eps: Array, out: Array) -> None:
    """out = delta min(1, eps / norm_2(delta))."""
    norm = norms(np.abs(delta.astype(np.float64)), 2.0)
    shrunk = delta / np.where(norm > 0, norm, 1) * inner(eps, delta.dtype)
    with np.errstate(over="ignore"):
        near = shrunk.astype(delta.dtype)
    zero = delta.dtype.type(0)
    near = np.where(np.abs(near) > np.abs(shrunk), np.nextafter(near, zero), near)
    out[...] = np.where(norm > eps[:, None], near, delta)


def project_box_1(x: Array, z: Array, eps: Array, lo: Bound, hi: Bound, out: Array) -> None:
    """x + sign(z - x) min(max(|z - x| - tau, 0), room), the smallest tau >= 0 inside eps."""

    def shape(a: Array, tau: Array) -> Array:
        return np.maximum(a - tau, 0)

    _project(x, z, eps, 1.0, lo, hi, out, shape, np.inf)


def project_box_2(x: Array, z: Array, eps: Array, lo: Bound, hi: Bound, out: Array) -> None:
    """x + clip((z - x) / (1 + mu), room), the smallest mu >= 0 inside eps."""

    def shape(a: Array, mu: Array) -> Array:
        return a / (1 + mu)

    _project(x, z, eps, 2.0, lo, hi, out, shape, 2.0)


def project_box_p(
    x: Array, z: Array, eps: Array, p: float, lo: Bound, hi: Bound, out: Array
) -> None:
    """x + sign(z - x) min(d, room), d + mu d^(p-1) = |z - x|, the smallest mu >= 0 inside eps."""

    def shape(a: Array, mu: Array) -> Array:
        low, high = np.zeros_like(a), a.copy()
        for _ in range(54):
            middle = (low + high) / 2
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                over = middle + mu * middle ** (p - 1) > a
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        return high

    _project(x, z, eps, p, lo, hi, out, shape, p / (p - 1))


def _project(
    x: Array,
    z: Array,
    eps: Array,
    p: float,
    lo: Bound,
    hi: Bound,
    out: Array,
    shape: Callable[[Array, Array], Array],
    q: float,
) -> None:
    """Halve the interval of the multiplier, in units where eps = 1; then finish exactly.

    The multiplier is at most norm_q(z - x). A displacement of more than SPREAD eps is shortened:
    its direction decides.
    """
    unit = np.where(eps > 0, eps, 1)[:, None] * (1 - SAFETY) * (1 - float(np.finfo(x.dtype).eps))
    with np.errstate(over="ignore"):
        gap = z.astype(np.float64) - x.astype(np.float64)
    gap = np.clip(gap, -FARTHEST, FARTHEST)
    longest = np.max(np.abs(np.nan_to_num(gap)), axis=1, keepdims=True, initial=0) / SPREAD
    a = np.abs(gap / np.maximum(unit, longest))
    bound = np.where(gap > 0, np.asarray(hi, dtype=x.dtype), np.asarray(lo, dtype=x.dtype))
    with np.errstate(over="ignore"):
        r = np.abs(bound.astype(np.float64) - x.astype(np.float64)) / unit

    def over(d: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.sum(np.nan_to_num(d) ** p, axis=1, keepdims=True) > 1

    clipped = np.minimum(np.maximum(z, lo), hi)
    outside = delivered(x, clipped, p) > eps[:, None] * (1 - SAFETY)
    top = np.max(np.nan_to_num(a), axis=1, keepdims=True, initial=0)
    low, high = np.zeros_like(unit), top if np.isinf(q) else norms(np.nan_to_num(a), q)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        more = over(np.minimum(shape(a, middle), r))
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    d = np.minimum(shape(a, high), r)
    point = np.where(d == r, bound, x + unit * np.sign(gap) * d).astype(x.dtype)
    finish_p(x, np.where(outside, point, clipped), eps, p, lo, hi, out)
