"""Points inside ball and box exactly: the Numba version of `definitions.exact`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import at, clamp, floor_to, gap, native, strict, within
from pertcore.kernels.compiled.rows import judged_distance
from pertcore.oracle import Array

SAFETY = 1e-9
REPEATS = 4


@strict
def finish_inf(x: Array, z: Array, eps: Array, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    for k in range(x.shape[0]):
        xk, zk, ok = x[k], z[k], out[k]
        e = floor_to(eps[k], x)
        for i in range(xk.size):
            ok[i] = clamp(within(xk[i], zk[i], e), at(low, i), at(high, i))


@strict
def finish_p(x: Array, z: Array, eps: Array, p: float, lo: Any, hi: Any, out: Array) -> None:
    low, high = native(lo, x), native(hi, x)
    for k in range(x.shape[0]):
        zk, ok = z[k], out[k]
        for i in range(zk.size):
            ok[i] = clamp(zk[i], at(low, i), at(high, i))
        settle(x[k], zk, eps[k], p, low, high, ok)


@strict
def settle(x: Array, z: Array, eps: float, p: float, low: Any, high: Any, out: Array) -> None:
    """out, z within the box, is drawn toward x until its norm is inside eps; z is not out."""
    limit = eps * (1 - SAFETY)
    slack = np.finfo(x.dtype).eps
    norm = judged_distance(out, x, p, limit)
    if not norm > limit:
        return
    first = limit / norm
    scale = 1.0
    for _ in range(REPEATS if first > least_scale(x) else 0):
        scale *= limit / norm * (1 - slack)
        slack *= 8
        _draw(x, z, scale, low, high, out)
        norm = judged_distance(out, x, p, limit)
        if not norm > limit:
            return
    _draw_toward(x, z, first, low, high, out)


@strict
def least_scale(x: Array) -> float:
    """Below this a factor in the dtype of x has too few digits."""
    return float(np.finfo(x.dtype).tiny) / np.float64(np.finfo(x.dtype).eps)


@strict
def _draw(x: Array, z: Array, scale: float, low: Any, high: Any, out: Array) -> None:
    c = x.dtype.type(scale)
    for i in range(x.size):
        d = clamp(z[i], at(low, i), at(high, i)) - x[i]
        out[i] = clamp(x[i] + c * d, at(low, i), at(high, i))


@strict
def _draw_toward(x: Array, z: Array, scale: float, low: Any, high: Any, out: Array) -> None:
    """Every entry rounded toward x, so that no displacement is larger than it should be."""
    if not scale > 0:
        out[:] = x
        return
    for i in range(x.size):
        d = scale * gap(clamp(z[i], at(low, i), at(high, i)), x[i])
        s = x.dtype.type(np.float64(x[i]) + d)
        s = np.nextafter(s, x[i]) if abs(gap(s, x[i])) > abs(d) else s
        out[i] = clamp(s, at(low, i), at(high, i))
