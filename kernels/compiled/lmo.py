"""Linear minimisation in ball and box: the Numba version of `definitions.steps`, `lmo_box_*`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import (
    at,
    clean,
    flip,
    floor_to,
    native,
    room,
    sign_bit,
    strict,
)
from pertcore.kernels.compiled.knapsack import spend
from pertcore.kernels.compiled.rows import (
    PASSES,
    largest_entry,
    saturated_powers,
    saturating_scale,
)
from pertcore.kernels.compiled.steps import magnitudes, weigh
from pertcore.oracle import Array

FILLED = 1 - 1e-5
"""A ball this full, in norm_p^p, is not filled again."""

LEAST_LEFT = 1e-30
"""A budget left of less than this is noise of the sums."""


@strict
def lmo_box_inf(g: Array, x: Array, eps: Array, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    zero = g.dtype.type(0)
    for k in range(x.shape[0]):
        gk, xk, ok = g[k], x[k], out[k]
        e = floor_to(eps[k], x)
        for i in range(xk.size):
            reach = min(e, room(gk[i], xk[i], at(low, i), at(high, i)))
            ok[i] = -flip(reach, sign_bit(gk[i])) if abs(gk[i]) > 0 else zero


@strict
def lmo_box_1(g: Array, x: Array, eps: Array, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    value, size = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    for k in range(x.shape[0]):
        magnitudes(g[k], value)
        rooms(g[k], x[k], low, high, x.dtype.type(eps[k]), size)
        spend(value, size, eps[k], out[k])
        against(g[k], out[k])


@strict
def rooms(g: Array, x: Array, low: Any, high: Any, most: Any, out: Array) -> None:
    """min(room, most) of every entry."""
    for i in range(x.size):
        out[i] = min(room(g[i], x[i], at(low, i), at(high, i)), most)


@strict
def against(g: Array, out: Array) -> None:
    """out, entries >= 0, pointed against g."""
    for i in range(g.size):
        out[i] = -flip(out[i], sign_bit(g[i])) if out[i] > 0 else out[i]


@strict
def lmo_box_2(g: Array, x: Array, eps: Array, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    w, r = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    for k in range(x.shape[0]):
        magnitudes(g[k], w)
        normalise(w)
        if not eps[k] > 0:
            out[k] = 0
            continue
        rooms(g[k], x[k], low, high, x.dtype.type(eps[k]), r)
        t = saturating_scale(w, r, eps[k], math.inf)
        saturate(g[k], w, r, t, out[k])


@strict
def normalise(w: Array) -> None:
    """w / max w where a square might leave the range of numbers."""
    top = largest_entry(w)
    if top > 0 and not 1e-15 < top < 1e15:
        for i in range(w.size):
            w[i] = w[i] / top


@strict
def saturate(g: Array, w: Array, r: Array, t: float, out: Array) -> None:
    """out = -sign(g) min(t w, r); entries without weight stay."""
    scale = w.dtype.type(t)
    for i in range(w.size):
        v = min(scale * w[i], r[i]) if w[i] > 0 else w[i]
        out[i] = -flip(v, sign_bit(g[i])) if v > 0 else v


@strict
def lmo_box_p(g: Array, x: Array, eps: Array, p: float, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    w, r = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    for k in range(x.shape[0]):
        if not eps[k] > 0:
            out[k] = 0
            continue
        total = weigh(g[k], p, w)
        rooms(g[k], x[k], low, high, x.dtype.type(np.inf), r)
        for i in range(r.size):
            r[i] = min(r[i] / eps[k], 1.0)
        t = _fill_again(g[k], w, r, p, total ** (-1 / p) if total > 0 else 0.0)
        rooms(g[k], x[k], low, high, x.dtype.type(eps[k]), r)
        for i in range(r.size):
            w[i] = eps[k] * (t * w[i])
        saturate(g[k], w, r, 1.0, out[k])


@strict
def _fill_again(g: Array, w: Array, r: Array, p: float, t: float) -> float:
    """The largest t with sum min(t w, r)^p <= 1, w renewed where small |g| are lost to underflow.

    If the ball is not full then, what is at its room stays there (w infinite) and the others are
    weighed relative to the largest of them.
    """
    for _ in range(PASSES):
        t, spent = _filling_scale(w, r, p, t)
        if not spent < FILLED:
            return t
        left, total = _weigh_open(g, w, r, p, t)
        if not total > 0:
            return t
        t = (left / total) ** (1 / p)
    return t


@strict
def _weigh_open(g: Array, w: Array, r: Array, p: float, t: float) -> tuple[float, float]:
    """New weights; returns 1 - sum r^p over the full entries and sum w^p over the others.

    The sum is 0 where all are full, or none has become so.
    """
    most, scale = np.finfo(g.dtype).max, w.dtype.type(t)
    left, top, news = 1.0, 0.0, 0
    for i in range(w.size):
        if w[i] > 0 and scale * w[i] >= r[i]:
            news += 1 if w[i] < np.inf else 0
            left -= np.float64(r[i]) ** p
            w[i] = np.inf
        else:
            top = max(top, abs(np.float64(clean(g[i], most))))
    total = 0.0
    for i in range(w.size if top > 0 and news > 0 else 0):
        if w[i] < np.inf:
            w[i] = (abs(np.float64(clean(g[i], most))) / top) ** (1 / (p - 1))
            total += np.float64(w[i]) ** p
    return max(left, LEAST_LEFT), total


@strict
def _filling_scale(w: Array, r: Array, p: float, t: float) -> tuple[float, float]:
    """The largest t with sum min(t w, r)^p <= 1, and that sum, from a t that is not too large.

    By the pieces S + t^p F, as for p = 2.
    """
    spent = 0.0
    for _ in range(PASSES):
        spent, free = saturated_powers(w, r, t, p)
        following = t * (1 + (1 - spent) / free) ** (1 / p) if free > 0 else t
        following = min(following, np.finfo(w.dtype).max)
        if spent >= 1 - np.finfo(w.dtype).eps or not following > t:
            return t, spent
        t = following
    return t, spent
