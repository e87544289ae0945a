"""The exact kernels in plain arithmetic, the ball as it rounds: what exactness costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray


@njit(nogil=True)
def _clip(v: Any, low: Any, high: Any) -> Any:
    v = low if v < low else v
    return high if v > high else v


@njit(nogil=True)
def finish_inf(x: Array, z: Array, eps: Array, lo: float, hi: float, out: Array) -> None:
    low, high = x.dtype.type(lo), x.dtype.type(hi)
    for k in range(x.shape[0]):
        xk, zk, ok = x[k], z[k], out[k]
        e = x.dtype.type(eps[k])
        for i in range(xk.size):
            ok[i] = _clip(_clip(zk[i], xk[i] - e, xk[i] + e), low, high)


@njit(nogil=True)
def pgd_inf(
    x: Array, x_t: Array, g: Array, step: Array, eps: Array, lo: float, hi: float, out: Array
) -> None:
    low, high = x.dtype.type(lo), x.dtype.type(hi)
    zero = x.dtype.type(0)
    for k in range(x.shape[0]):
        xk, tk, gk, ok = x[k], x_t[k], g[k], out[k]
        e, move = x.dtype.type(eps[k]), x.dtype.type(step[k])
        for i in range(xk.size):
            m = np.copysign(move, gk[i]) if abs(gk[i]) > 0 else zero
            ok[i] = _clip(_clip(tk[i] - m, xk[i] - e, xk[i] + e), low, high)


PLAIN: dict[str, Callable[..., None]] = {"finish_inf": finish_inf, "pgd_inf": pgd_inf}
