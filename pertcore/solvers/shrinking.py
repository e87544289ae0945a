"""Smallest perturbations by a ball that follows the boundary: it grows outside, shrinks inside."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pertcore.arrays import contiguous
from pertcore.closed_form import sparse
from pertcore.closed_form import steps as closed
from pertcore.closed_form.norms import row_norms
from pertcore.closed_form.projections import project_ball_box
from pertcore.constraints import dual_order
from pertcore.oracle import Array, Linearization
from pertcore.result import Status
from pertcore.solvers.problem import Front, Problem, leave_flat

# Share by which a ball grows and shrinks, at the first step and at the last (Pintor et al. 2021);
# the last step is this share of the first.
FIRST_RATE, LAST_RATE, LAST_STEP = 0.05, 0.001, 0.01

# Where the linear model has the boundary nearer, a ball of p < 2 shrinks up to so many times as
# fast, but never below this share of it at once.
HASTE, KEPT = 20, 0.3

# A whole step over the radius of an l_1 ball; such steps follow the radius, those of larger p keep
# the length of the first: where a gradient misleads, the first l_1 ball is far too small.
CORNERED = 0.7

# For p = 0 the share that the earlier gradients keep in their average, and that of the steps in
# which an l_1 ball finds where to begin.
MEMORY, BEFORE = 0.95, 0.5


@dataclass
class Hunt:
    """n samples: radius of the ball, nearest fooled point and its distance, length of a step."""

    radius: Array
    best: Array
    length: Array
    step: Array

    @classmethod
    def begin(cls, problem: Problem, points: Array) -> Hunt:
        radius = row_norms(points.astype(np.float64) - problem.x.astype(np.float64), problem.norm)
        return cls(radius, points.copy(), np.full_like(radius, np.inf), np.zeros_like(radius))

    def follow(self, rows: Array, fooled: Array, ahead: Array, rate: float) -> None:
        """New radii of the samples `rows`; `ahead` (m,) is where the linear model has the boundary.

        They grow to there until a point is found, then by `rate`; where fooled they shrink by
        `rate`, or further if the boundary is.
        """
        found = np.isfinite(self.length[rows])
        held = self.radius[rows]
        grown = np.where(found, held * (1 + rate), ahead * (1 + rate))
        near = np.maximum(ahead, held * max(1 - HASTE * rate, KEPT))
        shrunk = np.minimum(np.minimum(held * (1 - rate), self.length[rows]), near)
        self.radius[rows] = np.where(fooled, shrunk, grown)

    def count(self, rows: Array, fooled: Array, needed: Array, rate: float) -> None:
        """New radii of `rows` for p = 0: whole numbers from 1 up, that change by 1 at least, and
        stay below what is known to be enough.

        Where fooled, what the linear model needs (m,) counts, if it is less, down to half.
        """
        held, length = self.radius[rows], self.length[rows]
        shrunk = np.minimum(np.minimum(np.floor(held * (1 - rate)), length), needed)
        kept = np.where(np.isfinite(length), np.floor(length / 2), 0)
        grown = np.minimum(np.ceil(held * (1 + rate)), length - 1)
        radius = np.where(fooled, np.maximum(shrunk, kept), grown)
        self.radius[rows] = np.maximum(radius, 1)


# (problem, points, gradient, step (m,), radius (m,)) -> points inside the box.
Move = Callable[[Problem, Array, Array, Array, Array], Array]


def hunt(
    problem: Problem, move: Move, *, loss: str | Callable[..., Any], steps: int,
    first: Linearization | None, rates: tuple[float, float] = (FIRST_RATE, LAST_RATE),
    begin: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """The nearest fooled points (n, d) that `steps` steps met, and status (n,).

    A sample that is not fooled yet has a ball of the linear model's distance to the boundary,
    norm_p(delta) + margin / norm_q(grad margin), for other losses than the margin at the first
    step only; after that the radius grows by a share where the point is not fooled and shrinks
    where it is, see `Hunt.follow`. Shares and step lengths fall by a cosine. The first points are
    `begin` (n, d), by default x. p = 0: see `Hunt.count`.
    """
    front = Front.start(problem, begin)
    state = Hunt.begin(problem, front.points)
    for t in range(steps):
        lin = front.problem.linearize(front.points) if first is None else first
        first = None
        rate, share = _falling(rates, t, steps), _falling((1.0, LAST_STEP), t, steps)
        gradient = _look(front, state, lin, loss, rate, at_x=t == 0)
        if len(front.rows):
            step, radius = share * state.step[front.rows], state.radius[front.rows]
            front.points = move(front.problem, front.points, gradient, step, radius)
        problem.report(t + 1, steps, len(front.rows))
        if not len(front.rows):
            break
    if len(front.rows):
        value = front.problem.oracle(front.problem.shaped(front.points))
        margins = front.problem.losses("margin", value)
        _note(front, state, front.problem.goal.reached(margins, value))
    points, status = front.finish()
    found = np.isfinite(state.length)
    points[found], status[found] = state.best[found], int(Status.OK)
    return points, status


def hunt_few(problem: Problem, *, steps: int, first: Linearization | None) -> tuple[Array, Array]:
    """As `hunt` for p = 0: an l_1 ball finds a point with few changed features, from which the
    corners of the box with fewer of them follow."""
    before, (into, corners) = max(1, int(BEFORE * steps)), averaged(problem)
    ball = replace(problem.ball, norm=1.0)
    points, status = hunt(
        replace(problem, ball=ball, report=lambda t, _, n: problem.report(t, steps, n)),
        into, loss="margin", steps=before, first=first,
    )  # fmt: skip
    begin = np.where((status == int(Status.OK))[:, None], points, problem.x)
    return hunt(
        replace(problem, report=lambda t, _, n: problem.report(before + t, steps, n)),
        corners, loss="margin", steps=steps - before, first=None, begin=begin,
    )  # fmt: skip


def _falling(ends: tuple[float, float], t: int, steps: int) -> float:
    return ends[1] + (ends[0] - ends[1]) * (1 + math.cos(math.pi * t / steps)) / 2


def _look(
    front: Front, state: Hunt, lin: Linearization, loss: Any, rate: float, *, at_x: bool
) -> Array:
    """Notes who is fooled, sets every radius, drops who is done; gradients (m, d) of the rest."""
    problem = front.problem
    rows = problem.losses(loss, lin.value)
    fooled = problem.goal.reached(rows, lin.value)
    lengths = _note(front, state, fooled)
    gradient = problem.gradient(lin, rows.cotangent)
    broken = ~np.isfinite(rows.value)
    front.leave(broken, Status.NONFINITE)
    keep = leave_flat(front, gradient, ~broken & (lengths + ~fooled > 0))
    if problem.norm == 0:
        needed = _needed(front, rows.margin, gradient)
        state.count(front.rows[keep], fooled[keep], needed[keep], rate)
        front.compact(keep)
        return contiguous(gradient[keep])
    ahead = state.radius[front.rows]
    if at_x or loss == "margin":  # otherwise it costs a backward run
        ahead = lengths + _distance(problem, lin, rows.margin, gradient, loss)
    state.follow(front.rows[keep], fooled[keep], ahead[keep], rate)
    if at_x or problem.norm < 2:
        state.step[front.rows] = state.radius[front.rows] * _reach(problem)
    front.compact(keep)
    return contiguous(gradient[keep])


def _note(front: Front, state: Hunt, fooled: Array) -> Array:
    away = front.points.astype(np.float64) - front.problem.x.astype(np.float64)
    lengths = row_norms(away, front.problem.norm)
    better = fooled & (lengths < state.length[front.rows])
    rows = front.rows[better]
    state.best[rows], state.length[rows] = front.points[better], lengths[better]
    return lengths


def _needed(front: Front, margin: Array, gradient: Array) -> Array:
    """How many features of x (n,) must change by the linear model at the present points."""
    problem = front.problem
    back = np.einsum("ij,ij->i", gradient, problem.x - front.points, dtype=np.float64)
    level = np.maximum(margin + back, 0)
    return sparse.fewest(gradient, level, problem.x, problem.box.lo, problem.box.hi)


def _distance(
    problem: Problem, lin: Linearization, margin: Array, gradient: Array, loss: Any
) -> Array:
    """margin / norm_q(grad margin) (n,): how far the boundary of the linear model is. For points
    beyond it below 0 where p < 2, else 0: from p = 2 on, shrinking by more gained nothing."""
    if loss != "margin":
        cotangent = problem.losses("margin", lin.value).cotangent
        gradient = problem.gradient(lin, cotangent)
    slope = row_norms(gradient, dual_order(problem.norm))
    with np.errstate(invalid="ignore"):
        level = margin if problem.norm < 2 else np.maximum(margin, 0)
        return level / np.maximum(slope, np.finfo(np.float64).tiny)


def _reach(problem: Problem) -> float:
    """A whole step over the radius: how far the ball reaches in the norm of the step. Below p = 2
    that is its corners, which a step in many entries overshoots."""
    p = problem.norm
    if math.isinf(p):
        return 1.0
    return problem.x.shape[1] ** (0.5 - 1 / p) if p > 2 else CORNERED ** (2 / p - 1)


def into_ball(
    problem: Problem, points: Array, gradient: Array, step: Array, radius: Array
) -> Array:
    """The steepest l_2 step inside the box, for p = inf l_inf step, projected on ball and box.

    Below p = 2 the step is of a norm between p and 2, which moves fewer entries further.
    Pintor et al. 2021 step along -g / norm_2(g) for every p and as if there were no box: entries
    that cannot move use up the step, and for p = inf only the few largest of g move.
    """
    box, p = problem.box, problem.norm
    order = p if math.isinf(p) else min(1 + p / 2, 2.0)
    ahead = closed.lmo_ball_box(gradient, points, step, order, box.lo, box.hi)
    return project_ball_box(problem.x, points + ahead, radius, p, box.lo, box.hi)


def onto_sphere(
    problem: Problem, points: Array, gradient: Array, step: Array, radius: Array
) -> Array:
    """A step, delta rescaled to the norm `radius`, in the box (Rony et al. 2019).

    The step is the steepest of the norm inside the box: one that forgets the box stalls on it.
    """
    box, p = problem.box, problem.norm
    delta = points - problem.x
    delta += closed.lmo_ball_box(gradient, points, step, p, box.lo, box.hi)
    length = np.maximum(row_norms(delta, p), np.finfo(delta.dtype).tiny)
    delta *= (radius / length)[:, None].astype(delta.dtype)
    return np.clip(problem.x + delta, box.lo, box.hi).astype(delta.dtype, copy=False)


def averaged(whole: Problem) -> tuple[Move, Move]:
    """`into_ball`, and the best corner of the box with `radius` changed features for the average
    of the gradients of both.

    One gradient alone jumps to and fro between corners; the average over the steps settles.
    """
    average = np.zeros((int(whole.index.max(initial=-1)) + 1, whole.x.shape[1]), whole.x.dtype)

    def mixed(problem: Problem, gradient: Array) -> Array:
        unit = -closed.dual_norm_step(gradient, np.ones(len(problem)), 2.0)
        average[problem.index] += (1 - MEMORY) * (unit - average[problem.index])
        return average[problem.index]

    def ball(problem: Problem, points: Array, gradient: Array, step: Array, radius: Array) -> Array:
        mixed(problem, gradient)
        return into_ball(problem, points, gradient, step, radius)

    def corners(
        problem: Problem, _points: Array, gradient: Array, _step: Array, radius: Array
    ) -> Array:
        box = problem.box
        return sparse.few_corners(mixed(problem, gradient), problem.x, radius, box.lo, box.hi)

    return ball, corners
