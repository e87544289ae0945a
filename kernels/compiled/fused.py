"""Whole steps in one visit of a row: the Numba version of the fused steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.kernels.compiled.boxed import project_row_2
from pertcore.kernels.compiled.elements import (
    at,
    clamp,
    flip,
    floor_to,
    native,
    sign_bit,
    strict,
    within,
)
from pertcore.kernels.compiled.steps import is_plain, step_factor, tame
from pertcore.oracle import Array


@strict
def _signed_rows(
    x: Array, x_t: Array, g: Array, move: Any, e: Any, low: Any, high: Any, out: Array
) -> None:
    """One row of `pgd_inf`: move and e in the dtype of x."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        m = flip(move, sign_bit(g[i])) if abs(g[i]) > 0 else zero
        out[i] = clamp(within(x[i], x_t[i] - m, e), at(low, i), at(high, i))


@strict
def pgd_inf(
    x: Array, x_t: Array, g: Array, step: Array, eps: Array, lo: Any, hi: Any, out: Array
) -> None:
    low, high = native(lo, x), native(hi, x)
    for k in range(x.shape[0]):
        move = x.dtype.type(step[k])
        _signed_rows(x[k], x_t[k], g[k], move, floor_to(eps[k], x), low, high, out[k])


@strict
def ball_step_inf(
    x: Array, x_t: Array, g: Array, radius: Array, eps: Array, lo: Any, hi: Any, out: Array
) -> None:
    low, high = native(lo, x), native(hi, x)
    for k in range(x.shape[0]):
        move = floor_to(radius[k], x)
        _signed_rows(x[k], x_t[k], g[k], move, floor_to(eps[k], x), low, high, out[k])


@strict
def pgd_2(
    x: Array, x_t: Array, g: Array, step: Array, eps: Array, lo: Any, hi: Any, out: Array
) -> None:
    low, high = native(lo, x), native(hi, x)
    d = x.shape[1]
    z, a, r = np.empty(d, x.dtype), np.empty(d, x.dtype), np.empty(d, x.dtype)
    for k in range(x.shape[0]):
        if is_plain(g[k]):
            _move(x_t[k], g[k], step[k], z)
        else:
            tame(g[k], a)
            _move(x_t[k], a, step[k], z)
        project_row_2(x[k], z, eps[k], low, high, a, r, out[k])


@strict
def _move(x_t: Array, g: Array, step: float, out: Array) -> None:
    """out = x_t - step g / norm_2(g)."""
    c = g.dtype.type(step_factor(g, step))
    for i in range(g.size):
        out[i] = x_t[i] + c * g[i]
