"""Points that lie inside ball and box exactly, judged in float64 on the stored dtype."""

from __future__ import annotations

import math

import numpy as np

from pertcore.oracle import Array

Bound = float | Array

SAFETY = 1e-9
"""Relative room left below eps, so that no order of summation finds a norm above it."""

REPEATS = 4


def round_down(eps: Array, dtype: np.dtype) -> Array:
    """(n, 1): the largest numbers of `dtype` that are <= eps."""
    with np.errstate(over="ignore"):
        near = eps.astype(dtype)[:, None]
    return np.where(near.astype(np.float64) > eps[:, None], np.nextafter(near, dtype.type(0)), near)


def toward(x: Array, d: Array) -> Array:
    """x + d rounded so that |result - x| <= |d| exactly; Knuth's TwoSum gives the error's sign."""
    with np.errstate(over="ignore", invalid="ignore"):
        s = x + d
        back = s - x
        error = (x - (s - back)) + (d - back)
    over = ((d > 0) & (error < 0)) | ((d < 0) & (error > 0))
    return np.where(over, np.nextafter(s, x), s)


def finish_inf(x: Array, z: Array, eps: Array, lo: Bound, hi: Bound, out: Array) -> None:
    """out = clip(z, [x - eps, x + eps] and [lo, hi]) with both ends rounded toward x."""
    e = round_down(eps, x.dtype)
    inside = np.minimum(np.maximum(z, toward(x, -e)), toward(x, e))
    out[...] = np.minimum(np.maximum(inside, lo), hi)


def delivered(x: Array, x_adv: Array, p: float) -> Array:
    """(n, 1) float64 norms of the stored displacement; NaN entries count nothing."""
    with np.errstate(over="ignore"):
        gap = np.abs(x_adv.astype(np.float64) - x.astype(np.float64))
    return norms(np.nan_to_num(gap, nan=0, posinf=np.inf), p)


def norms(a: Array, p: float) -> Array:
    """(n, 1) norm_p of rows a >= 0, relative to the largest entry: no power leaves the range."""
    top = np.max(a, axis=1, keepdims=True, initial=0)
    unit = np.where((top > 0) & np.isfinite(top), top, 1)
    with np.errstate(over="ignore", under="ignore"):
        return unit * np.sum((a / unit) ** p, axis=1, keepdims=True) ** (1 / p)


def finish_p(x: Array, z: Array, eps: Array, p: float, lo: Bound, hi: Bound, out: Array) -> None:
    """z clipped to the box, then drawn toward x until the delivered norm is inside eps.

    Rounds to nearest while that is enough (nothing systematic is lost), toward x as a last resort.
    """
    target = np.minimum(np.maximum(z, lo), hi)
    limit = eps[:, None] * (1 - SAFETY)
    slack = float(np.finfo(x.dtype).eps)
    norm = delivered(x, target, p)
    scale = np.ones_like(limit)
    first = limit / np.where(norm > limit, norm, np.inf)
    out[...] = target
    drawable = first > float(np.finfo(x.dtype).tiny) / float(np.finfo(x.dtype).eps)
    for _ in range(REPEATS):
        over = (norm > limit) & drawable
        scale = np.where(over, scale * (limit / np.where(over, norm, 1)) * (1 - slack), scale)
        slack *= 8
        with np.errstate(over="ignore", invalid="ignore"):
            drawn = x + scale.astype(x.dtype) * (target - x)
        out[...] = np.where(over, np.minimum(np.maximum(drawn, lo), hi), out)
        norm = delivered(x, out, p)
    out[...] = np.where(norm > limit, _drawn_toward(x, target, first, lo, hi), out)


def _drawn_toward(x: Array, target: Array, scale: Array, lo: Bound, hi: Bound) -> Array:
    wide = x.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        d = np.where(scale > 0, scale * (target.astype(np.float64) - wide), 0)
    s = (wide + d).astype(x.dtype)
    over = np.abs(s.astype(np.float64) - wide) > np.abs(d)
    return np.minimum(np.maximum(np.where(over, np.nextafter(s, x), s), lo), hi)


def finish(x: Array, z: Array, eps: Array, p: float, lo: Bound, hi: Bound, out: Array) -> None:
    """`finish_inf` or `finish_p`, by the order of the norm."""
    if math.isinf(p):
        finish_inf(x, z, eps, lo, hi, out)
    else:
        finish_p(x, z, eps, p, lo, hi, out)
