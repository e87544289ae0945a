"""The iterated quadratic attack: (11) linearised anew at every step, several starts, best kept.

Balda et al. leave it as future work. With e = f(x + eta) - y, (11) at the present point asks for
max norm_2(e + J (eta' - eta))^2 over ball and box. A full step to the maximiser of its linear
term is monotone for linear f; here it is taken on (11) restricted to the last two residuals, for
which J^T e is known, so that it costs one forward and one backward run and converges faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.closed_form import exact, steps
from pertcore.oracle import Array, Linearization
from pertcore.result import Status
from pertcore.solvers.problem import Problem

# Steps of the convex-concave procedure on the restricted problem, which needs no model.
INNER = 10
# Two residuals closer than this (as 1 - cosine^2) span one direction.
PARALLEL = 1e-3
# What a forward run and a backward run cost, in units.
FORWARD = BACKWARD = 0.5


@dataclass
class _Past:
    """A residual e (m, K), for other losses the direction in which they fall, and J^T e (m, d)."""

    residual: Array
    pulled: Array

    def take(self, index: Array) -> _Past:
        return _Past(self.residual[index], self.pulled[index])


def climb(
    problem: Problem, starts: Array, *, loss: str | Callable[..., Any], units: float
) -> tuple[Array, Array]:
    """The best points (n, d) found from starts (c, n, d) inside ball and box, and status (n,).

    Every start takes one step, the best of each sample goes on alone until the `units` are spent;
    a unit is one forward and one backward run of one sample.
    """
    count, n, d = starts.shape
    wide = problem if count == 1 else problem.take(np.tile(np.arange(n), count))
    points = starts.reshape(count * n, d)
    best = _Best(problem.x.copy(), np.full(n, math.inf), np.full(n, Status.MAX_STEPS, np.int8))
    past: _Past | None = None
    flat, reached = np.ones(n, bool), np.zeros(n, bool)
    rounds = max(1, int(units))
    for turn in range(rounds + 1):
        lin = wide.linearize(points)
        units -= FORWARD * count
        rows = wide.losses(loss, lin.value)
        rank = np.where(np.isfinite(rows.value), rows.value, math.inf).reshape(count, n)
        best.update(points.reshape(count, n, d), rank)
        problem.report(turn + 1, rounds + 1, n)
        keep = 1 if turn and count > 1 else count
        reached |= wide.goal.reached(rows, lin.value).reshape(count, n).any(axis=0)
        if units < (FORWARD + BACKWARD) * keep or np.all(reached):
            break
        residual = rows.cotangent / -2
        if keep < count:
            chosen = rank.argmin(axis=0) * n + np.arange(n)
            lin, points, residual = _taken(problem, lin, chosen), points[chosen], residual[chosen]
            past = past if past is None else past.take(chosen)
            wide, count = problem, keep
        units -= BACKWARD * count
        now = _Past(residual, wide.gradient(lin, residual))
        points, past, stuck = _step(wide, points, now, past, loss == "squared_error")
        flat &= stuck.reshape(count, n).all(axis=0)
    best.status[flat & (best.status == Status.MAX_STEPS)] = Status.ZERO_GRADIENT
    return best.points, best.status


@dataclass
class _Best:
    """The best point of each sample so far, its minimised loss, and how it stands."""

    points: Array
    value: Array
    status: Array

    def update(self, points: Array, rank: Array) -> None:
        """Points (c, n, d) with losses (c, n)."""
        first, everyone = rank.argmin(axis=0), np.arange(rank.shape[1])
        found = rank[first, everyone]
        better = found < self.value
        self.points[better] = points[first, everyone][better]
        self.value[better] = found[better]


def _taken(problem: Problem, lin: Linearization, chosen: Array) -> Linearization:
    if "take" in problem.oracle.capabilities:
        return lin.take(chosen)
    return _Chosen(lin, chosen)


@dataclass(frozen=True)
class _Chosen:
    """Samples of a linearisation that cannot leave the others out."""

    lin: Linearization
    rows: Array

    @property
    def value(self) -> Array:
        return self.lin.value[self.rows]

    def vjp(self, cotangent: Array) -> Array:
        everybody = np.zeros((len(self.lin.value), *cotangent.shape[1:]), cotangent.dtype)
        everybody[self.rows] = cotangent
        return self.lin.vjp(everybody)[self.rows]

    def jvp(self, tangent: Array) -> Array:
        everybody = np.zeros((len(self.lin.value), *tangent.shape[1:]), tangent.dtype)
        everybody[self.rows] = tangent
        return self.lin.jvp(everybody)[self.rows]

    def take(self, index: Array) -> Linearization:
        return _Chosen(self.lin, self.rows[index])


def _step(
    problem: Problem, points: Array, now: _Past, past: _Past | None, quadratic: bool
) -> tuple[Array, _Past, Array]:
    """The next points, what to remember, and who has no gradient (m,) and stays."""
    stuck = ~np.isfinite(now.pulled).all(axis=1) | ~now.pulled.any(axis=1)
    now = _Past(now.residual, np.where(stuck[:, None], 0, now.pulled).astype(points.dtype))
    eta = _farthest(problem, now.pulled)
    if past is not None and quadratic:
        eta = _restricted(problem, points - problem.x, eta, now, past)
    box = problem.box
    moved = exact.finish(problem.x, problem.x + eta, problem.eps, problem.norm, box.lo, box.hi)
    moved[stuck] = points[stuck]
    return moved, now, stuck


def _farthest(problem: Problem, direction: Array) -> Array:
    """argmax eta.direction over ball and box around x."""
    box = problem.box
    return steps.lmo_ball_box(-direction, problem.x, problem.eps, problem.norm, box.lo, box.hi)


def _restricted(problem: Problem, here: Array, eta: Array, now: _Past, past: _Past) -> Array:
    """Raises norm_2(Q^T (e + J (eta - here)))^2 from `eta` on, Q an orthonormal basis of the last
    two residuals: Q^T J is a combination of the two pull-backs, and no model is asked."""
    level, factor = _orthonormal(now, past)
    for _ in range(INNER):
        reached = level + np.einsum("mad,md->ma", factor, eta - here)
        eta = _farthest(problem, np.einsum("mad,ma->md", factor, reached))
    return eta


def _orthonormal(now: _Past, past: _Past) -> tuple[Array, Array]:
    """Q^T e (m, 2) and Q^T J (m, 2, d) by Gram-Schmidt; an older residual along the present one
    counts for nothing."""
    length = _lengths(now.residual)
    first, pulled = now.residual / length, now.pulled / length
    inside = np.einsum("mk,mk->m", first, past.residual)[:, None]
    second, dragged = past.residual - inside * first, past.pulled - inside * pulled
    left = _lengths(second)
    share = left / _lengths(past.residual)
    dragged = np.where(share**2 > PARALLEL, dragged / left, 0)
    level = np.concatenate([length, np.zeros_like(length)], axis=1)
    return level, np.stack([pulled, dragged], axis=1)


def _lengths(rows: Array) -> Array:
    square = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    tiny = np.finfo(rows.dtype).tiny
    return np.maximum(np.sqrt(square), tiny)[:, None].astype(rows.dtype)
