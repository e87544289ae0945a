"""The last word on a perturbed point: inside ball and box, exactly, as stored."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from pertcore.closed_form.sparse import keep_few
from pertcore.kernels.catalogue import kernel
from pertcore.oracle import Array

Bound = float | Array


def finish(
    x: Array, z: Array, eps: Array, norm: float, lo: Bound, hi: Bound, *, out: Array | None = None
) -> Array:
    """The point near z inside {norm_p(. - x) <= eps} and [lo, hi], exactly, in x's dtype.

    x, z (n, d) of one dtype with lo <= x <= hi; eps (n,) float64. For p = inf it is the clip of z
    with both ends of the ball rounded toward x. For p = 0 the clip of z to the box keeps its
    floor(eps) entries farthest from x. For other p, z is clipped to the box and drawn toward x,
    rounded to nearest, until the norm of float64(x_adv) - float64(x) is inside eps; a relative 1e-9
    is left, so that any order of summation agrees. Returns x_adv (n, d); `out` must not overlap an
    input. NaN in x stays.
    """
    out = np.empty_like(x) if out is None else out
    lo, hi = limits(lo, hi, x.dtype)
    if norm == 0:
        inside = np.clip(z, lo, hi).astype(x.dtype, copy=False)
        out[...] = keep_few(x, inside, np.abs(inside - x), np.floor(eps))
    elif math.isinf(norm):
        kernel("finish_inf")(x, z, eps, lo, hi, out)
    else:
        kernel("finish_p")(x, z, eps, norm, lo, hi, out)
    return out


def limits(lo: Bound, hi: Bound, dtype: np.dtype[Any]) -> tuple[Bound, Bound]:
    """The bounds as a kernel wants them: scalars rounded inward to finite numbers of `dtype`."""
    return (
        lo if getattr(lo, "ndim", 0) else _inward(float(lo), 1, dtype),
        hi if getattr(hi, "ndim", 0) else _inward(float(hi), -1, dtype),
    )


@lru_cache(maxsize=256)
def _inward(bound: float, direction: int, dtype: np.dtype[Any]) -> float:
    largest = float(np.finfo(dtype).max)
    finite = min(max(bound, -largest), largest)
    near = dtype.type(finite)
    if (float(near) - finite) * direction < 0:
        near = np.nextafter(near, dtype.type(direction * math.inf))
    return float(near)
