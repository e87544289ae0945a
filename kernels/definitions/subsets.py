"""Steps that change one subset of the coordinates, in NumPy.

A kernel sees the labels (d,) of a partition, -1 where frozen; bounds are numbers or (d,). A sum
over a subset runs in float64 and in the order of the coordinates, so that every version agrees.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.oracle import Array


def _way(bound: Any, way: Array) -> Array:
    """The way to the bound; infinite where there is none, whatever the point."""
    return np.where(np.isinf(bound), np.inf, way)


def subset_gains(
    g: Array, x: Array, labels: Array, eps: Array, lo: Any, hi: Any, out: Array
) -> None:
    slope, point = g.astype(np.float64), x.astype(np.float64)
    room = np.where(slope > 0, _way(lo, point - lo), _way(hi, hi - point))
    with np.errstate(invalid="ignore"):
        gain = np.abs(slope) * np.minimum(room, eps[:, None])
    gain = np.where(gain > 0, gain, 0.0)
    free = labels >= 0
    for i in range(len(g)):
        out[i] = np.bincount(labels[free], weights=gain[i, free], minlength=out.shape[1])


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
    gains = np.empty(taken.shape)
    subset_gains(g, x, labels, eps, lo, hi, gains)
    gains[taken] = -1.0
    out[:] = np.where(gains.max(axis=1) >= 0, np.argmax(gains, axis=1), -1)


def top_subsets(gains: Array, taken: Array, out: Array) -> None:
    """The subsets with the largest gains (n, S) not in `taken`, best first, then -1."""
    order = np.argsort(np.where(taken, 1.0, -gains), axis=1, kind="stable")
    count = min(out.shape[1], order.shape[1])
    out[:] = -1
    for i in range(len(gains)):
        free = order[i][~taken[i][order[i]]][:count]
        out[i, : len(free)] = free


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
