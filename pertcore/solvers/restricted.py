"""(11) restricted to two directions of the output, for which the rows of J are known.

A pull-back v = J^T u of an output direction u is one combination of the rows of J. With Q an
orthonormal basis of two such directions Q^T J is known, and max norm_2(Q^T (e + J (eta - here)))^2
over ball and box is climbed without a run of the model: a lower bound of (11).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pertcore.closed_form import steps
from pertcore.oracle import Array
from pertcore.solvers.problem import Problem

# Steps of the convex-concave procedure, which need no model.
INNER = 10
# Directions closer than this (1 - cosine^2) count as one: their pull-backs would differ mostly by
# being taken at different points. Labelled residuals share the distance to the label, and differ by
# less where they still say something.
PARALLEL, PARALLEL_LABELLED = 0.1, 1e-3


@dataclass
class Seen:
    """A direction u (n, K) of the output and J^T u (n, d), both at some point."""

    direction: Array
    pulled: Array

    def take(self, rows: Array) -> Seen:
        return Seen(self.direction[rows], self.pulled[rows])

    def put(self, rows: Array, other: Seen) -> None:
        self.direction[rows], self.pulled[rows] = other.direction, other.pulled


def orthonormal(now: Seen, older: Seen, *, parallel: float = PARALLEL) -> tuple[Array, Array]:
    """Q (n, 2, K) and Q^T J (n, 2, d) by Gram-Schmidt, q_1 along `now`; an older direction along
    the present one, 1 - cosine^2 <= parallel, counts for nothing, and its row is zero."""
    length = _lengths(now.direction)
    first, pulled = now.direction / length, now.pulled / length
    inside = np.einsum("nk,nk->n", first, older.direction)[:, None]
    second, dragged = older.direction - inside * first, older.pulled - inside * pulled
    left = _lengths(second)
    apart = (left / _lengths(older.direction)) ** 2 > parallel
    second, dragged = (np.where(apart, part / left, 0) for part in (second, dragged))
    return np.stack([first, second], axis=1), np.stack([pulled, dragged], axis=1)


def ascend(
    problem: Problem, level: Array, factor: Array, here: Array, eta: Array
) -> tuple[Array, Array]:
    """Raises norm_2(level + factor (eta - here))^2 from eta (n, d) on; the value never falls.

    level (n, 2) and factor (n, 2, d) are Q^T e and Q^T J at `here` (n, d). Returns eta and the
    value (n,) there.
    """
    for _ in range(INNER):
        reached = level + np.einsum("nad,nd->na", factor, eta - here)
        eta = farthest(problem, np.einsum("nad,na->nd", factor, reached))
    reached = level + np.einsum("nad,nd->na", factor, eta - here)
    return eta, np.einsum("na,na->n", reached, reached, dtype=np.float64)


def farthest(problem: Problem, direction: Array) -> Array:
    """argmax eta.direction over ball and box around x, (n, d)."""
    box, g = problem.box, -np.ascontiguousarray(direction)
    return steps.lmo_ball_box(g, problem.x, problem.eps, problem.norm, box.lo, box.hi)


def _lengths(rows: Array) -> Array:
    square = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    tiny = np.finfo(rows.dtype).tiny
    return np.maximum(np.sqrt(square), tiny)[:, None].astype(rows.dtype)
