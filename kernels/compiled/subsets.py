"""Steps that change one subset of the coordinates, in Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from pertcore.kernels.compiled.elements import at, clamp, gap, native, strict
from pertcore.kernels.compiled.extremes import first_equal, peak
from pertcore.oracle import Array

BLOCK = 256


def by_planes(bound: Any, width: int) -> Any:
    """An array bound as rows of `width` entries, one a plane; a scalar bound as it is."""
    raise NotImplementedError("compiled code only")


@overload(by_planes)
def _by_planes(bound: Any, width: int) -> Any:  # noqa: ARG001
    def rows(bound: Any, width: int) -> Any:
        return bound.reshape(bound.size // width, width)

    def scalar(bound: Any, width: int) -> Any:  # noqa: ARG001
        return bound

    return rows if isinstance(bound, types.Array) else scalar


@strict
def _gain(g: Any, x: Any, low: Any, high: Any, eps: float) -> float:
    reach = min(gap(x, low) if g > 0 else gap(high, x), eps)
    gain = abs(np.float64(g)) * reach
    return gain if gain > 0.0 else 0.0


@strict
def _add_plane(g: Array, x: Array, low: Any, high: Any, eps: float, gains: Array) -> None:
    for j in range(gains.shape[0]):
        gains[j] += _gain(g[j], x[j], at(low, j), at(high, j), eps)


@strict
def _add_labelled(
    g: Array, x: Array, labels: Array, low: Any, high: Any, eps: float, gains: Array, each: Array
) -> None:
    each[:] = 0.0
    _add_plane(g, x, low, high, eps, each)
    for j in range(g.shape[0]):
        if labels[j] >= 0:
            gains[labels[j]] += each[j]


@strict
def _count_planes(labels: Array, count: int) -> int:
    """C when the labels are 0..count-1 repeated C times (channel-first pixels), else 0."""
    planes = labels.shape[0] // count
    if planes * count != labels.shape[0]:
        return 0
    for c in range(planes):
        plane, strangers = labels[c * count : (c + 1) * count], 0
        for j in range(count):
            strangers += plane[j] != j
        if strangers > 0:
            return 0
    return planes


@strict
def best_subset(
    g: Array,
    x: Array,
    labels: Array,
    eps: Array,
    lo: Any,
    hi: Any,
    taken: Array,
    out: Array,
) -> None:
    low, high = native(lo, x), native(hi, x)
    count = taken.shape[1]
    planes = _count_planes(labels, count)
    width = count if planes > 0 else g.shape[1]
    low_rows, high_rows = by_planes(low, width), by_planes(high, width)
    gains = np.empty(count, np.float64)
    each = np.empty(0 if planes > 0 else g.shape[1], np.float64)
    for k in range(g.shape[0]):
        gk, xk = g[k], x[k]
        gains[:] = 0.0
        for c in range(planes):
            s, e = c * count, (c + 1) * count
            _add_plane(gk[s:e], xk[s:e], at(low_rows, c), at(high_rows, c), eps[k], gains)
        if planes == 0:
            _add_labelled(gk, xk, labels, low, high, eps[k], gains, each)
        out[k] = _first_free(gains, taken[k])


@strict
def _first_free(gains: Array, taken: Array) -> int:
    for s in range(gains.shape[0]):
        gains[s] = -1.0 if taken[s] else gains[s]
    best, _ = peak(gains)
    return first_equal(gains, best, 0) if best >= 0.0 else -1


@strict
def _moved(x: Any, g: Any, eps: float, low: Any, high: Any) -> Any:
    if not (g > 0 or g < 0):
        return x
    moved = type(x)(np.float64(x) - eps if g > 0 else np.float64(x) + eps)
    if abs(gap(moved, x)) > eps:
        moved = np.nextafter(moved, x)
    return clamp(moved, low, high)


@strict
def subset_step(
    x_t: Array,
    g: Array,
    labels: Array,
    chosen: Array,
    eps: Array,
    lo: Any,
    hi: Any,
    out: Array,
) -> None:
    low, high = native(lo, x_t), native(hi, x_t)
    for k in range(x_t.shape[0]):
        xk, gk, ok, wanted = x_t[k], g[k], out[k], chosen[k]
        ok[:] = xk
        for start in range(0, ok.shape[0] if wanted >= 0 else 0, BLOCK):
            block, hits = labels[start : start + BLOCK], 0
            for j in range(block.shape[0]):
                hits += block[j] == wanted
            for j in range(start, start + (block.shape[0] if hits > 0 else 0)):
                if labels[j] == wanted:
                    ok[j] = _moved(xk[j], gk[j], eps[k], at(low, j), at(high, j))
