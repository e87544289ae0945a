"""The relaxation of max norm_1(J^T w) over unit w in a cone, in NumPy."""

from __future__ import annotations

import numpy as np

from pertcore.oracle import Array

# The share of the present image that a step keeps, besides what P^T C P could turn around.
PULL = 0.3
# By how much a price rises for a product of -1, besides the rates of its two normals.
PRICE = 3.0


def cone_ascent(
    planes: Array,
    normals: Array,
    rates: Array,
    start: Array,
    first: Array,
    steps: int,
    settled: float,
    image: Array,
    prices: Array,
) -> None:
    """W (K, q) of norm_F 1 with large sum_i norm_2(W^T J_i), and P W W^T P^T >= 0 off its diagonal.

    planes (K, d) = J, scaled so that the sum is near 1; normals P (r, K). Steps of the generalised
    power method (Journee, Nesterov, Richtarik and Sepulchre 2010) on the Lagrange function, and
    of its multipliers, the prices (r, r), upwards where a product is negative; from W = start
    and prices = first, until W and prices move by less than `settled`.
    """
    a, p = planes.astype(np.float64), normals.astype(np.float64)
    w, cost = start.astype(np.float64), first.astype(np.float64)
    lengths = np.sqrt((p * p).sum(axis=1))
    pace = PRICE * np.outer(rates, rates).astype(np.float64)
    turning = np.outer(lengths, lengths) - p @ p.T
    tiny = np.finfo(np.float32).tiny
    for _ in range(steps):
        g = w.T @ a
        g /= np.sqrt((g * g).sum(axis=0)) + tiny
        moved = a @ g.T + (PULL + (cost * turning).sum() / 4) * w + p.T @ (cost @ (p @ w))
        moved /= max(np.sqrt((moved * moved).sum()), tiny)
        inner = p @ moved
        dearer = np.maximum(cost - pace * (inner @ inner.T), 0)
        np.fill_diagonal(dearer, 0)
        change = max(np.abs(moved - w).max(), np.abs(dearer - cost).max(initial=0))
        w, cost = moved, dearer
        if change <= settled:
            break
    image[:], prices[:] = w, cost
