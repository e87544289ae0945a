"""The iterated quadratic attack: (11) linearised anew at every step, the best point kept.

Balda et al. leave it as future work. With e = f(x + eta) - y, (11) at the present point asks for
max norm_2(e + J (eta' - eta))^2 over ball and box. The full step to the maximiser of its linear
term never loses for linear f; here it is taken on (11) restricted to two residuals for which J^T e
is known, the present one and the one before, or, as long as there are two starts, the last of the
other start: it converges faster, and into fewer poor maxima, at the same cost. Where f is far from
linear the full step fails: then the step is halved, and leads along the gradient from the best
point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pertcore.closed_form import exact, steps
from pertcore.oracle import Array, Linearization
from pertcore.result import Status
from pertcore.solvers.problem import Problem, dead
from pertcore.solvers.restricted import (
    PARALLEL,
    PARALLEL_LABELLED,
    Seen,
    ascend,
    farthest,
    orthonormal,
)

Loss = str | Callable[..., Any]

# What a forward run and a backward run cost, in units.
FORWARD = BACKWARD = 0.5
# A step that does not rise is tried again at this share of its length, from the best point.
SHRINK = 0.5
# Full steps that need not rise, where the model keeps this share of what its linearisation says.
PATIENCE, HELD = 1, 0.5


@dataclass
class _Climb:
    """n samples on their way: where they are, the best point of each, and who is done.

    now: the residual here, for other losses the direction in which they fall, and J^T of it;
    older: the same, where `known`, at the point before or where the other start is; size: the
    share of eps that a step takes; patience: full steps that need not rise.
    """

    problem: Problem
    loss: Loss
    points: Array
    now: Seen
    older: Seen
    known: Array
    size: Array
    patience: Array
    units: float
    spent: Array
    done: Array
    best: _Best

    def take(self, rows: Array, problem: Problem) -> _Climb:
        """The samples `rows` of it, which are those of `problem`."""
        arrays = {
            f.name: getattr(self, f.name)[rows]
            for f in fields(self)
            if isinstance(getattr(self, f.name), np.ndarray)
        }
        seen = {name: getattr(self, name).take(rows) for name in ("now", "older", "best")}
        return replace(self, problem=problem, **arrays, **seen)


@dataclass
class _Best:
    """The best points (n, d), their losses (n,) and what was seen there."""

    points: Array
    value: Array
    seen: Seen

    def take(self, rows: Array) -> _Best:
        return _Best(self.points[rows], self.value[rows], self.seen.take(rows))


def climb(
    problem: Problem, starts: Array, *, loss: Loss, units: float, spent: float,
    linear: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """The best points (n, d) found from starts (c, n, d) inside ball and box, and status (n,).

    Each sample goes on from its best start until `units` are gone of which `spent` were used
    before; a unit is one forward and one backward run of one sample. `linear` (n,) is what the
    linearised model promises of the loss at the starts, at least: who keeps less than the share
    HELD of it is not trusted with full steps that do not rise, the others try each start for one
    step before the better one is chosen.
    """
    state = _chosen(_begun(problem, starts, loss, units, spent, linear), problem)
    status = np.full(len(problem), Status.MAX_STEPS, np.int8)
    status[dead(state.now.pulled)[0]] = Status.ZERO_GRADIENT
    turns = max(1, math.ceil(units))
    for turn in range(2 * turns):
        rows = np.flatnonzero(~state.done & (state.spent + FORWARD <= state.units))
        problem.report(min(turn + 1, turns), turns, len(rows))
        if not len(rows):
            break
        _advance(state, rows)
    return state.best.points, status


def _begun(
    problem: Problem, starts: Array, loss: Loss, units: float, spent: float, linear: Array | None
) -> _Climb:
    """All starts as samples of their own (c n), one step on where that is worth it."""
    count, n, d = starts.shape
    wide = problem.take(np.tile(np.arange(n), count)) if count > 1 else problem
    points = np.array(starts.reshape(count * n, d))
    lin = wide.linearize(points)
    rows = wide.losses(loss, lin.value)
    value = np.where(np.isfinite(rows.value), rows.value, math.inf)
    rank = value.reshape(count, n)
    trusted = np.ones(n, bool) if linear is None else -rank.min(axis=0) > HELD * linear
    going = np.tile(trusted, count)
    going[rank.argmin(axis=0) * n + np.arange(n)] = True
    moving = np.flatnonzero(going)
    seen = Seen(np.zeros_like(rows.cotangent), np.zeros_like(points))
    part = wide if len(moving) == len(points) else wide.take(moving)
    seen.put(moving, _seen(part, _narrowed(wide, lin, moving), rows.cotangent[moving]))
    state = _Climb(
        wide, loss, points, seen, Seen(*map(np.zeros_like, (seen.direction, points))),
        np.zeros(len(points), bool), np.ones(len(points)),
        np.where(np.tile(trusted, count), PATIENCE, 0), units,
        spent / count + FORWARD + BACKWARD * going,
        ~going | wide.goal.reached(rows, lin.value) | _stuck(seen),
        _Best(points.copy(), value.copy(), seen.take(np.arange(len(points)))),
    )  # fmt: skip
    for start in range(count if count > 1 else 0):
        rows = start * n + np.flatnonzero(trusted & ~state.done[start * n : (start + 1) * n])
        if len(rows):
            _beside(state, rows, state.now.take((rows + n) % len(points)))
            _advance(state, rows)
    return state


def _chosen(state: _Climb, problem: Problem) -> _Climb:
    """Each sample at the start that led it lowest; what the others cost is counted."""
    n = len(problem)
    rank = state.best.value.reshape(-1, n)
    reached = rank.argmin(axis=0) * n + np.arange(n)
    total = state.spent.reshape(-1, n).sum(axis=0)
    narrow = state.take(reached, problem)
    narrow.spent = total
    if len(state.points) > n:
        _beside(narrow, np.arange(n), state.now.take((reached + n) % len(state.points)))
    return narrow


def _beside(state: _Climb, rows: Array, other: Seen) -> None:
    """The samples `rows` take what the other start saw last for their second direction."""
    state.older.put(rows, other)
    state.known[rows] = ~_stuck(other)


def _advance(state: _Climb, rows: Array) -> None:
    """One step of the samples `rows`: taken where it rises or may not, else made shorter."""
    problem = state.problem if len(rows) == len(state.points) else state.problem.take(rows)
    proposed = _proposed(problem, state, rows)
    lin = problem.linearize(proposed)
    found = problem.losses(state.loss, lin.value)
    state.spent[rows] += FORWARD
    better = found.value < state.best.value[rows]
    taken = better | ((state.patience[rows] > 0) & np.isfinite(found.value))
    state.patience[rows[~better]] -= 1
    _shorten(state, rows[~taken])
    state.best.points[rows[better]] = proposed[better]
    state.best.value[rows[better]] = found.value[better]
    state.done[rows] |= better & problem.goal.reached(found, lin.value)
    # Who cannot pay for another step needs no gradient.
    state.done[rows] |= taken & (state.spent[rows] + BACKWARD + FORWARD > state.units)
    on = np.flatnonzero(taken & ~state.done[rows])
    if len(on):
        now = _seen(problem.take(on), _narrowed(problem, lin, on), found.cotangent[on])
        _move(state, rows[on], proposed[on], now, better[on])


def _move(state: _Climb, rows: Array, points: Array, now: Seen, better: Array) -> None:
    state.spent[rows] += BACKWARD
    state.older.put(rows, state.now.take(rows))
    state.now.put(rows, now)
    state.points[rows], state.known[rows] = points, True
    state.best.seen.put(rows[better], now.take(better))
    state.done[rows] |= _stuck(now)


def _shorten(state: _Climb, rows: Array) -> None:
    """Back to the best point, where the gradient is known, with half the step."""
    state.size[rows] *= SHRINK
    state.points[rows] = state.best.points[rows]
    state.now.put(rows, state.best.seen.take(rows))


def _seen(problem: Problem, lin: Linearization, cotangent: Array) -> Seen:
    residual = np.ascontiguousarray(cotangent / -2)
    return Seen(residual, problem.gradient(lin, residual))


def _stuck(seen: Seen) -> Array:
    """Whose gradient is zero or not finite, (n,) bool."""
    flat, broken = dead(seen.pulled)
    return flat | broken


def _proposed(problem: Problem, state: _Climb, rows: Array) -> Array:
    """The next points (n, d): a full step of (11), or a shorter one along the gradient."""
    here, now, older = state.points[rows], state.now.take(rows), state.older.take(rows)
    eta = farthest(problem, now.pulled)
    if _quadratic(state):
        parallel = PARALLEL if problem.goal.own_answer else PARALLEL_LABELLED
        basis, factor = orthonormal(now, older, parallel=parallel)
        level = np.einsum("nak,nk->na", basis, now.direction)
        tried = ascend(problem, level, factor, here - problem.x, eta)[0]
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


def _quadratic(state: _Climb) -> bool:
    """Whether the norm of one residual is what is raised, as (11) has it."""
    goal = state.problem.goal
    return state.loss == "squared_error" and not goal.targeted and goal.members is None


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
