"""Euclidean projections on the ball alone: the Numba version of `project_*`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import (
    clamp,
    flip,
    floor_to,
    sign_bit,
    strict,
    summing,
)
from pertcore.kernels.compiled.exact import SAFETY, least_scale
from pertcore.kernels.compiled.rows import (
    BLOCK,
    PASSES,
    largest_entry,
    one_if,
    row_norm,
    sum_of_powers,
)
from pertcore.oracle import Array


@strict
def project_inf(delta: Array, eps: Array, out: Array) -> None:
    for k in range(delta.shape[0]):
        dk, ok = delta[k], out[k]
        e = floor_to(eps[k], delta)
        for i in range(dk.size):
            ok[i] = clamp(dk[i], -e, e)


@strict
def project_2(delta: Array, eps: Array, out: Array) -> None:
    margin = 1 - max(4 * np.finfo(delta.dtype).eps, SAFETY)
    least = least_scale(delta)
    for k in range(delta.shape[0]):
        dk, ok = delta[k], out[k]
        norm = row_norm(dk, 2.0)
        factor = eps[k] * margin / norm if norm > eps[k] else 1.0
        if factor < 1 and not (factor > least and eps[k] > least * dk.size):
            _shrink(dk, norm, eps[k] * margin, ok)
            continue
        c = delta.dtype.type(factor)
        for i in range(dk.size):
            ok[i] = dk[i] * c


@strict
def _shrink(delta: Array, norm: float, radius: float, out: Array) -> None:
    """out = delta radius / norm rounded toward 0, for factors and results near the subnormals."""
    for i in range(delta.size):
        v = np.float64(delta[i]) / norm * radius
        s = delta.dtype.type(v)
        out[i] = np.nextafter(s, delta.dtype.type(0)) if abs(np.float64(s)) > abs(v) else s


@strict
def project_1(delta: Array, eps: Array, out: Array) -> None:
    margin = 1 - max(4 * np.finfo(delta.dtype).eps, SAFETY)
    a = np.empty(delta.shape[1], delta.dtype)
    for k in range(delta.shape[0]):
        dk, ok = delta[k], out[k]
        for i in range(a.size):
            a[i] = abs(dk[i])
        total = sum_of_powers(a, 1.0)
        tau = _threshold(a, total, eps[k] * margin) if total > eps[k] else 0.0
        for i in range(a.size):
            ok[i] = flip(delta.dtype.type(max(np.float64(a[i]) - tau, 0.0)), sign_bit(dk[i]))


@summing
def _excess_block(a: Array, tau: Any) -> tuple[Any, Any]:
    total, count = a.dtype.type(0), a.dtype.type(0)
    for i in range(a.size):
        v = a[i] - tau
        total += max(v, a.dtype.type(0))
        count += one_if(v > 0, a)
    return total, count


@strict
def _excess_quickly(a: Array, tau: float) -> tuple[float, float]:
    near = a.dtype.type(tau)
    total, count = 0.0, 0.0
    for s in range(0, a.size, BLOCK):
        part = _excess_block(a[s : s + BLOCK], near)
        total += np.float64(part[0])
        count += np.float64(part[1])
    return total, count


@summing
def _excess(a: Array, tau: float) -> tuple[float, float]:
    """sum max(a - tau, 0), and the count of entries above tau."""
    total, count = 0.0, 0
    for i in range(a.size):
        v = np.float64(a[i]) - tau
        total += max(v, 0.0)
        count += 1 if v > 0 else 0
    return total, np.float64(count)


@strict
def _threshold(a: Array, total: float, radius: float) -> float:
    """tau with sum max(a - tau, 0) = radius: Newton's method on a convex piecewise linear function.

    Its iterates rise to tau, and are there when the set of entries above stays the same. The
    first passes are made in the dtype, the last in float64: from above the root, where rounding
    may have led, one step leads below it.
    """
    tau = max((total - radius) / a.size, np.float64(largest_entry(a)) - radius, 0.0)
    before = -1.0
    for _ in range(PASSES):
        total, count = _excess_quickly(a, tau)
        if count == before or not total > radius:
            break
        tau += (total - radius) / max(count, 1.0)
        before = count
    for _ in range(PASSES):
        total, count = _excess(a, tau)
        tau += (total - radius) / max(count, 1.0)
        if count == before:
            break
        before = count
    return tau
