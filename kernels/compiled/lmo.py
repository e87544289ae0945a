"""Linear minimisation in ball and box: the Numba version of `definitions.steps`, `lmo_box_*`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import at, flip, floor_to, native, room, sign_bit, strict
from pertcore.kernels.compiled.knapsack import spend
from pertcore.kernels.compiled.rows import (
    largest_entry,
    saturated_powers,
    saturating_scale,
)
from pertcore.kernels.compiled.steps import magnitudes, weigh
from pertcore.oracle import Array


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
        total = weigh(g[k], p, w)
        unit = eps[k] if eps[k] > 0 else 1.0
        rooms(g[k], x[k], low, high, x.dtype.type(np.inf), r)
        for i in range(r.size):
            r[i] = min(r[i] / unit, 1.0)
        t = _filling_scale(w, r, p, total)
        rooms(g[k], x[k], low, high, x.dtype.type(eps[k]), r)
        for i in range(r.size):
            w[i] = eps[k] * (t * w[i])
        saturate(g[k], w, r, 1.0, out[k])


@strict
def _filling_scale(w: Array, r: Array, p: float, total: float) -> float:
    """The largest t with sum min(t w, r)^p <= 1, by the pieces S + t^p F, as for p = 2."""
    t = total ** (-1 / p) if total > 0 else 0.0
    for _ in range(64):
        spent, free = saturated_powers(w, r, t, p)
        following = t * (1 + (1 - spent) / free) ** (1 / p) if free > 0 else t
        following = min(following, np.finfo(w.dtype).max)
        if spent >= 1 - np.finfo(w.dtype).eps or not following > t:
            return t
        t = following
    return t
