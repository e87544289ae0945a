"""Euclidean projections on l_p balls, alone and within a box."""

from __future__ import annotations

import math

import numpy as np

from pertcore.closed_form.exact import Bound, finish, limits
from pertcore.kernels.catalogue import kernel
from pertcore.oracle import Array


def project_ball(delta: Array, eps: Array, norm: float, *, out: Array | None = None) -> Array:
    """argmin_u norm_2(u - delta) with norm_p(u) <= eps, by row.

    delta (n, d), eps (n,) float64, p in [1, inf]; returns (n, d) in delta's dtype, never outside
    the ball, and delta itself where it is inside. p = 1 thresholds (Duchi et al. 2008), p = 2
    scales, p = inf clips; else |u| + mu |u|^(p-1) = |delta| with mu found by Newton's method.
    """
    out = np.empty_like(delta) if out is None else out
    if norm in (1, 2) or math.isinf(norm):
        kernel(f"project_{norm:g}")(delta, eps, out)
        return out
    return project_ball_box(np.zeros_like(delta), delta, eps, norm, -math.inf, math.inf, out=out)


def project_ball_box(
    x: Array, z: Array, eps: Array, norm: float, lo: Bound, hi: Bound, *, out: Array | None = None
) -> Array:
    """argmin_u norm_2(u - z) with norm_p(u - x) <= eps and lo <= u <= hi, by row.

    x, z (n, d) of one dtype with lo <= x <= hi; eps (n,) float64; lo, hi scalars or (d,).
    Solved through the multiplier of the ball: p = 1 sign(v) min(max(|v| - tau, 0), room),
    p = 2 min(t |v|, room), else |u| + mu |u|^(p-1) = |v| capped at the room, v = z - x.
    Returns (n, d), inside ball and box exactly (see `exact.finish`).
    """
    if math.isinf(norm):
        return finish(x, z, eps, norm, lo, hi, out=out)
    out = np.empty_like(x) if out is None else out
    lo, hi = limits(lo, hi, x.dtype)
    if norm in (1, 2):
        kernel(f"project_box_{norm:g}")(x, z, eps, lo, hi, out)
    else:
        kernel("project_box_p")(x, z, eps, norm, lo, hi, out)
    return out
