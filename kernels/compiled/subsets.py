"""Steps that change one subset of the coordinates, in Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(cache=True, nogil=True, error_model="numpy")
def _gain(slope: float, room_down: float, room_up: float, eps: float) -> float:
    room = room_down if slope > 0.0 else room_up
    gain = abs(slope) * (eps if room > eps else room)
    return gain if gain > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _add_plane(g: Array, x: Array, eps: float, lo: Array, hi: Array, total: Array) -> None:
    for j in range(total.shape[0]):
        point = np.float64(x[j])
        total[j] += _gain(np.float64(g[j]), point - lo[j], hi[j] - point, eps)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_labelled(
    g: Array, x: Array, labels: Array, eps: float, lo: Array, hi: Array, total: Array
) -> None:
    for j in range(g.shape[0]):
        if labels[j] >= 0:
            point = np.float64(x[j])
            total[labels[j]] += _gain(np.float64(g[j]), point - lo[j], hi[j] - point, eps)


@njit(cache=True, nogil=True, error_model="numpy")
def _count_planes(labels: Array, count: int) -> int:
    """C when the labels are 0..count-1 repeated C times (channel-first pixels), else 0."""
    planes = labels.shape[0] // count
    if planes * count != labels.shape[0]:
        return 0
    for c in range(planes):
        strangers = 0
        for j, label in enumerate(labels[c * count : (c + 1) * count]):
            strangers += label != j
        if strangers:
            return 0
    return planes


@njit(cache=True, nogil=True, error_model="numpy")
def best_subset(
    g: Array,
    x: Array,
    labels: Array,
    eps: Array,
    lo: Array,
    hi: Array,
    taken: Array,
    out: Array,
) -> None:
    count = taken.shape[1]
    total = np.empty(count, np.float64)
    planes = _count_planes(labels, count)
    for i in range(g.shape[0]):
        total[:] = 0.0
        if planes > 0:
            for c in range(planes):
                at = slice(c * count, (c + 1) * count)
                _add_plane(g[i][at], x[i][at], eps[i], lo[at], hi[at], total)
        else:
            _add_labelled(g[i], x[i], labels, eps[i], lo, hi, total)
        best, chosen = -1.0, -1
        for s in range(count):
            if total[s] > best and not taken[i, s]:
                best, chosen = total[s], s
        out[i] = chosen


@njit(cache=True, nogil=True, error_model="numpy")
def _moved(x: Any, g: Any, eps: float, lo: Any, hi: Any) -> Any:
    if not (g > 0 or g < 0):
        return x
    near = np.float64(x) - eps if g > 0 else np.float64(x) + eps
    moved = type(x)(near)
    if abs(np.float64(moved) - np.float64(x)) > eps:
        moved = np.nextafter(moved, x)
    moved = lo if moved < lo else moved
    return hi if moved > hi else moved


@njit(cache=True, nogil=True, error_model="numpy")
def subset_step(
    x_t: Array,
    g: Array,
    labels: Array,
    chosen: Array,
    eps: Array,
    lo: Array,
    hi: Array,
    out: Array,
) -> None:
    for i in range(x_t.shape[0]):
        out[i] = x_t[i]
        if chosen[i] < 0:
            continue
        for j in range(x_t.shape[1]):
            if labels[j] == chosen[i]:
                out[i, j] = _moved(x_t[i, j], g[i, j], eps[i], lo[j], hi[j])
