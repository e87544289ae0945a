"""Steps in the ball alone: the Numba version of `definitions.steps`, first part."""

from __future__ import annotations

import math

import numpy as np

from pertcore.kernels.compiled.elements import clean, flip, floor_to, sign_bit, strict, summing
from pertcore.kernels.compiled.powers import power
from pertcore.kernels.compiled.rows import largest_entry
from pertcore.oracle import Array


@strict
def dual_step_inf(g: Array, eps: Array, out: Array) -> None:
    zero = g.dtype.type(0)
    for k in range(g.shape[0]):
        gk, ok = g[k], out[k]
        e = floor_to(eps[k], g)
        for i in range(gk.size):
            ok[i] = -flip(e, sign_bit(gk[i])) if abs(gk[i]) > 0 else zero


@strict
def dual_step_1(g: Array, eps: Array, out: Array) -> None:
    most = np.finfo(g.dtype).max
    size = np.empty(g.shape[1], g.dtype)
    for k in range(g.shape[0]):
        magnitudes(g[k], size)
        top = largest_entry(size)
        out[k] = 0
        for i in range(size.size):
            if size[i] == top and top > 0:
                out[k, i] = -math.copysign(eps[k], clean(g[k, i], most))
                break


@strict
def magnitudes(g: Array, out: Array) -> None:
    """|g| with NaN as 0 and infinities as the largest number."""
    most = g.dtype.type(np.finfo(g.dtype).max)
    for i in range(g.size):
        out[i] = abs(clean(g[i], most))


@summing
def _squares(g: Array) -> float:
    total = 0.0
    for i in range(g.size):
        v = np.float64(g[i])
        total += v * v
    return total


@strict
def is_plain(g: Array) -> bool:
    """Whether the row is finite and its squares stay in the range of its dtype."""
    return 1e-9 < largest_entry(g) < 1e9


@strict
def tame(g: Array, out: Array) -> None:
    """A multiple of the cleaned row whose squares stay in range; 0 for 0."""
    magnitudes(g, out)
    top = largest_entry(out)
    most = g.dtype.type(np.finfo(g.dtype).max)
    for i in range(g.size):
        out[i] = clean(g[i], most) / top if top > 0 else top


@strict
def dual_step_2(g: Array, eps: Array, out: Array) -> None:
    tamed = np.empty(g.shape[1], g.dtype)
    for k in range(g.shape[0]):
        if is_plain(g[k]):
            _scale(g[k], eps[k], out[k])
        else:
            tame(g[k], tamed)
            _scale(tamed, eps[k], out[k])


@strict
def _scale(g: Array, eps: float, out: Array) -> None:
    c = g.dtype.type(step_factor(g, eps))
    for i in range(g.size):
        out[i] = c * g[i]


@strict
def step_factor(g: Array, eps: float) -> float:
    """-eps / norm_2(g), 0 where g = 0."""
    norm = math.sqrt(_squares(g))
    return -eps / norm if norm > 0 else 0.0


@strict
def dual_step_p(g: Array, eps: Array, p: float, out: Array) -> None:
    zero = g.dtype.type(0)
    size = np.empty(g.shape[1], g.dtype)
    for k in range(g.shape[0]):
        gk, ok = g[k], out[k]
        total = weigh(gk, p, size)
        c = g.dtype.type(eps[k] * total ** (-1 / p) if total > 0 else 0.0)
        for i in range(gk.size):
            ok[i] = -flip(c * size[i], sign_bit(gk[i])) if size[i] > 0 else zero


@strict
def weigh(g: Array, p: float, w: Array) -> float:
    """w = (|g| / max |g|)^(q-1); returns sum w^p = sum (|g| / max |g|)^q."""
    magnitudes(g, w)
    top = largest_entry(w)
    if not top > 0:
        return 0.0
    return _weigh(w, top, 1 / (p - 1))


@summing
def _weigh(w: Array, top: float, r: float) -> float:
    total = 0.0
    for i in range(w.size):
        t = w[i] / top
        w[i] = power(t, r)
        total += np.float64(t) * np.float64(w[i])
    return total
