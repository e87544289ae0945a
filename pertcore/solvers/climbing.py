"""The iterated quadratic attack: (11) linearised anew at every step, the best point kept.

Balda et al. leave it as future work. With e = f(x + eta) - y, (11) at the present point asks for
max norm_2(e + J (eta' - eta))^2 over ball and box. The full step to the maximiser of its linear
term never loses for linear f; here it is taken on (11) restricted to the last two residuals, for
which J^T e is known, so that it converges faster at the same cost. Where f is far from linear the
full step fails: then the step is halved, and leads along the gradient from the best point.
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
from pertcore.solvers.problem import Problem, dead

Loss = str | Callable[..., Any]

# Steps of the convex-concave procedure on the restricted problem, which needs no model.
INNER = 10
# Two residuals closer than this (as 1 - cosine^2) span one direction.
PARALLEL = 1e-3
# What a forward run and a backward run cost, in units.
FORWARD = BACKWARD = 0.5
# A step that does not rise is tried again at this share of its length.
SHRINK = 0.5


@dataclass
class _Seen:
    """Residual e (n, K), for other losses the direction in which they fall, and J^T e (n, d)."""

    residual: Array
    pulled: Array

    def take(self, rows: Array) -> _Seen:
        return _Seen(self.residual[rows], self.pulled[rows])

    def put(self, rows: Array, other: _Seen) -> None:
        self.residual[rows], self.pulled[rows] = other.residual, other.pulled


@dataclass
class _Climb:
    """n samples at their best points: minimised loss, what was seen there and at the point before
    (`older`, where `known`), the share `size` of eps that a step takes, and who is done."""

    problem: Problem
    loss: Loss
    points: Array
    value: Array
    now: _Seen
    older: _Seen
    known: Array
    size: Array
    units: float
    spent: Array
    done: Array


def climb(
    problem: Problem, starts: Array, *, loss: Loss, units: float, spent: float
) -> tuple[Array, Array]:
    """The best points (n, d) found from starts (c, n, d) inside ball and box, and status (n,).

    Every start is judged and the best of each sample goes on, until `units` are gone of which
    `spent` were used before; a unit is one forward and one backward run of one sample.
    """
    state = _begun(problem, starts, loss, units, spent)
    status = np.full(len(problem), Status.MAX_STEPS, np.int8)
    status[dead(state.now.pulled)[0]] = Status.ZERO_GRADIENT
    turns = max(1, math.ceil(units))
    for turn in range(2 * turns):
        rows = np.flatnonzero(~state.done & (state.spent + FORWARD <= state.units))
        problem.report(min(turn + 1, turns), turns, len(rows))
        if not len(rows):
            break
        _advance(state, rows)
    return state.points, status


def _begun(problem: Problem, starts: Array, loss: Loss, units: float, spent: float) -> _Climb:
    """The best start of each sample, and the gradient there."""
    count, n, d = starts.shape
    wide = problem.take(np.tile(np.arange(n), count))
    points = starts.reshape(count * n, d)
    lin = wide.linearize(points)
    rows = wide.losses(loss, lin.value)
    reached = wide.goal.reached(rows, lin.value)
    rank = np.where(np.isfinite(rows.value), rows.value, math.inf).reshape(count, n)
    chosen = rank.argmin(axis=0) * n + np.arange(n)
    now = _seen(problem, _narrowed(problem, lin, chosen), rows.cotangent[chosen])
    older = _Seen(np.zeros_like(now.residual), np.zeros_like(now.pulled))
    return _Climb(
        problem, loss, points[chosen], rank.min(axis=0), now, older, np.zeros(n, bool), np.ones(n),
        units, np.full(n, spent + FORWARD * count + BACKWARD), reached[chosen] | _stuck(now),
    )  # fmt: skip


def _advance(state: _Climb, rows: Array) -> None:
    """One step of the samples `rows`: taken where the loss falls, else made shorter."""
    everybody = len(rows) == len(state.points)
    problem = state.problem if everybody else state.problem.take(rows)
    proposed = _proposed(problem, state, rows)
    lin = problem.linearize(proposed)
    found = problem.losses(state.loss, lin.value)
    state.spent[rows] += FORWARD
    better = np.flatnonzero(found.value < state.value[rows])
    state.size[np.delete(rows, better)] *= SHRINK
    if not len(better):
        return
    risen = rows[better]
    state.points[risen], state.value[risen] = proposed[better], found.value[better]
    state.done[risen] |= problem.goal.reached(found, lin.value)[better]
    # Who cannot pay for another step needs no gradient.
    state.done[risen] |= state.spent[risen] + BACKWARD + FORWARD > state.units
    better = better[~state.done[risen]]
    risen = rows[better]
    if not len(risen):
        return
    now = _seen(problem.take(better), _narrowed(problem, lin, better), found.cotangent[better])
    state.spent[risen] += BACKWARD
    state.older.put(risen, state.now.take(risen))
    state.now.put(risen, now)
    state.known[risen] = True
    state.done[risen] |= _stuck(now)


def _seen(problem: Problem, lin: Linearization, cotangent: Array) -> _Seen:
    residual = np.ascontiguousarray(cotangent / -2)
    return _Seen(residual, problem.gradient(lin, residual))


def _stuck(seen: _Seen) -> Array:
    """Whose gradient is zero or not finite, (n,) bool."""
    flat, broken = dead(seen.pulled)
    return flat | broken


def _proposed(problem: Problem, state: _Climb, rows: Array) -> Array:
    """The next points (n, d): a full step of (11), or a shorter one along the gradient."""
    here, now, older = state.points[rows], state.now.take(rows), state.older.take(rows)
    eta = _farthest(problem, now.pulled)
    if state.loss == "squared_error":
        tried = _restricted(problem, here - problem.x, eta, now, older)
        eta = np.where(state.known[rows, None], tried, eta)
    box, eps, size = problem.box, problem.eps, state.size[rows]
    moved = exact.finish(problem.x, problem.x + eta, eps, problem.norm, box.lo, box.hi)
    short = np.flatnonzero(size < 1)
    if len(short):
        moved[short] = steps.pgd_step(
            problem.x[short], here[short], -now.pulled[short], (size * eps)[short], eps[short],
            problem.norm, box.lo, box.hi,
        )  # fmt: skip
    return moved


def _farthest(problem: Problem, direction: Array) -> Array:
    """argmax eta.direction over ball and box around x."""
    box = problem.box
    return steps.lmo_ball_box(-direction, problem.x, problem.eps, problem.norm, box.lo, box.hi)


def _restricted(problem: Problem, here: Array, eta: Array, now: _Seen, older: _Seen) -> Array:
    """Raises norm_2(Q^T (e + J (eta - here)))^2 from `eta` on, Q an orthonormal basis of the last
    two residuals: Q^T J is a combination of the two pull-backs, and no model is asked."""
    level, factor = _orthonormal(now, older)
    for _ in range(INNER):
        reached = level + np.einsum("nad,nd->na", factor, eta - here)
        eta = _farthest(problem, np.einsum("nad,na->nd", factor, reached))
    return eta


def _orthonormal(now: _Seen, older: _Seen) -> tuple[Array, Array]:
    """Q^T e (n, 2) and Q^T J (n, 2, d) by Gram-Schmidt; an older residual along the present one
    counts for nothing."""
    length = _lengths(now.residual)
    first, pulled = now.residual / length, now.pulled / length
    inside = np.einsum("nk,nk->n", first, older.residual)[:, None]
    second, dragged = older.residual - inside * first, older.pulled - inside * pulled
    left = _lengths(second)
    share = left / _lengths(older.residual)
    dragged = np.where(share**2 > PARALLEL, dragged / left, 0)
    level = np.concatenate([length, np.zeros_like(length)], axis=1)
    return level, np.stack([pulled, dragged], axis=1)


def _lengths(rows: Array) -> Array:
    square = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    tiny = np.finfo(rows.dtype).tiny
    return np.maximum(np.sqrt(square), tiny)[:, None].astype(rows.dtype)


def _narrowed(problem: Problem, lin: Linearization, chosen: Array) -> Linearization:
    """The linearisation for the samples `chosen`, whether it can leave others out or not."""
    if len(chosen) == len(lin.value) and np.array_equal(chosen, np.arange(len(chosen))):
        return lin
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
        """J^T v of the chosen samples, (n, *out) -> (n, *in)."""
        everybody = np.zeros((len(self.lin.value), *cotangent.shape[1:]), cotangent.dtype)
        everybody[self.rows] = cotangent
        return self.lin.vjp(everybody)[self.rows]

    def jvp(self, tangent: Array) -> Array:
        """J u of the chosen samples, (n, *in) -> (n, *out)."""
        everybody = np.zeros((len(self.lin.value), *tangent.shape[1:]), tangent.dtype)
        everybody[self.rows] = tangent
        return self.lin.jvp(everybody)[self.rows]

    def take(self, index: Array) -> Linearization:
        return _Chosen(self.lin, self.rows[index])
