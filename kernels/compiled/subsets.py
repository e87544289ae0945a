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
PEEK = 64
STRETCH = 1024


@strict
def _gain(g: Any, x: Any, low: Any, high: Any, eps: float) -> float:
    reach = min(gap(x, low) if g > 0 else gap(high, x), eps)
    gain = abs(np.float64(g)) * reach
    return gain if gain > 0.0 else 0.0


@strict
def _add_plane(g: Array, x: Array, low: Any, high: Any, eps: float, gains: Array) -> None:
    for j in range(gains.shape[0]):
        gains[j] += _gain(g[j], x[j], at(low, j), at(high, j), eps)


def unbounded(low: Any, high: Any) -> Any:
    """Whether both bounds are scalars and infinite, so that every step has its full length."""
    raise NotImplementedError("compiled code only")


@overload(unbounded)
def _unbounded(low: Any, high: Any) -> Any:
    def scalars(low: Any, high: Any) -> Any:
        return low == -np.inf and high == np.inf

    def arrays(low: Any, high: Any) -> Any:  # noqa: ARG001
        return False

    one_is_array = isinstance(low, types.Array) or isinstance(high, types.Array)
    return arrays if one_is_array else scalars


@strict
def _add_reach(
    g: Array, x: Array, low: Any, high: Any, eps: float, free: bool, gains: Array
) -> None:
    if not free:
        _add_plane(g, x, low, high, eps, gains)
        return
    for j in range(gains.shape[0]):
        gain = abs(np.float64(g[j])) * eps
        gains[j] += gain if gain > 0.0 else 0.0


@strict
def _add_labelled(each: Array, labels: Array, gains: Array) -> None:
    for j in range(each.shape[0]):
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


def piece(bound: Any, s: int, e: int) -> Any:
    """Entries s to e of an array bound; a scalar bound as it is."""
    raise NotImplementedError("compiled code only")


@overload(piece)
def _piece(bound: Any, s: int, e: int) -> Any:  # noqa: ARG001
    def entries(bound: Any, s: int, e: int) -> Any:
        return bound[s:e]

    def scalar(bound: Any, s: int, e: int) -> Any:  # noqa: ARG001
        return bound

    return entries if isinstance(bound, types.Array) else scalar


@strict
def _gains(
    g: Array, x: Array, labels: Array, eps: float, low: Any, high: Any, planes: int, gains: Array
) -> None:
    """What every subset of one sample gains; planes from `_count_planes`."""
    count, free = gains.shape[0], unbounded(low, high)
    gains[:] = 0.0
    if planes == 0:
        each = np.empty(STRETCH, np.float64)
        for s in range(0, g.shape[0], STRETCH):
            e = min(s + STRETCH, g.shape[0])
            here = each[: e - s]
            here[:] = 0.0
            _add_reach(g[s:e], x[s:e], piece(low, s, e), piece(high, s, e), eps, free, here)
            _add_labelled(here, labels[s:e], gains)
    # A stretch of pixels meets all its planes while its sums are in the nearest cache.
    for b in range(0, count if planes > 0 else 0, STRETCH):
        here = gains[b : min(b + STRETCH, count)]
        for c in range(planes):
            s = c * count + b
            e = s + here.shape[0]
            _add_reach(g[s:e], x[s:e], piece(low, s, e), piece(high, s, e), eps, free, here)


@strict
def subset_gains(
    g: Array, x: Array, labels: Array, eps: Array, lo: Any, hi: Any, out: Array
) -> None:
    low, high = native(lo, x), native(hi, x)
    planes = _count_planes(labels, out.shape[1])
    for k in range(g.shape[0]):
        _gains(g[k], x[k], labels, eps[k], low, high, planes, out[k])


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
    gains = np.empty(taken.shape[1], np.float64)
    planes = _count_planes(labels, taken.shape[1])
    for k in range(g.shape[0]):
        _gains(g[k], x[k], labels, eps[k], low, high, planes, gains)
        out[k] = _first_free(gains, taken[k])


@strict
def top_subsets(gains: Array, taken: Array, out: Array) -> None:
    """By a heap of the best so far, its root the worst of them; blocks below it are skipped."""
    most = out.shape[1]
    heap = np.empty(most, np.int64)
    for k in range(gains.shape[0]):
        row, barred, size = gains[k], taken[k], 0
        bar = -1.0
        for start in range(0, row.shape[0] if most > 0 else 0, PEEK):
            block, hits = row[start : start + PEEK], 0
            for j in range(block.shape[0]):
                hits += block[j] > bar
            for s in range(start, start + (block.shape[0] if hits > 0 else 0)):
                if barred[s] or not row[s] > bar:
                    continue
                if size < most:
                    _rise(heap, size, s, row)
                    size += 1
                else:
                    _sink(heap, size, s, row)
                bar = row[heap[0]] if size == most else -1.0
        out[k] = -1
        while size > 0:
            size -= 1
            out[k, size] = heap[0]
            _sink(heap, size, heap[size], row)


@strict
def _worse(a: int, b: int, row: Array) -> bool:
    return row[a] < row[b] or (row[a] == row[b] and a > b)


@strict
def _rise(heap: Array, place: int, s: int, row: Array) -> None:
    """s enters the heap of `place` entries."""
    while place > 0 and _worse(s, heap[(place - 1) // 2], row):
        heap[place] = heap[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place] = s


@strict
def _sink(heap: Array, size: int, s: int, row: Array) -> None:
    """s replaces the root of the heap of `size` entries."""
    place, child = 0, 1
    while child < size:
        if child + 1 < size and _worse(heap[child + 1], heap[child], row):
            child += 1
        if not _worse(heap[child], s, row):
            break
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    if size > 0:
        heap[place] = s


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
