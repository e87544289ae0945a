"""Steps that change one subset of the coordinates, in NumPy.

A kernel sees the labels (d,) of a partition, -1 where frozen; bounds are numbers or (d,). A sum
over a subset runs in float64 and in the order of the coordinates, so that every version agrees.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.oracle import Array


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
    slope, point = g.astype(np.float64), x.astype(np.float64)
    room = np.where(slope > 0, point - lo, hi - point)
    with np.errstate(invalid="ignore"):
        gain = np.abs(slope) * np.minimum(room, eps[:, None])
    gain = np.where(gain > 0, gain, 0.0)
    free = labels >= 0
    for i in range(len(g)):
        total = np.bincount(labels[free], weights=gain[i, free], minlength=taken.shape[1])
        total[taken[i]] = -1.0
        chosen = int(np.argmax(total))
        out[i] = chosen if total[chosen] >= 0 else -1


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
    budget = eps[:, None]
    point = x_t.astype(np.float64)
    sign = np.where(g > 0, -1.0, np.where(g < 0, 1.0, 0.0))
    moved = (point + sign * budget).astype(x_t.dtype)
    over = np.abs(moved.astype(np.float64) - point) > budget
    moved = np.where(over, np.nextafter(moved, x_t), moved)
    moved = np.minimum(np.maximum(moved, lo), hi)
    inside = (labels == chosen[:, None]) & (labels >= 0) & (sign != 0)
    out[:] = np.where(inside, moved, x_t)
