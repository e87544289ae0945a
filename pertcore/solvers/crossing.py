"""The smallest step over the linearised decision boundary, iterated: problem (7), DeepFool."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pertcore.arrays import contiguous, library
from pertcore.closed_form import losses, steps
from pertcore.closed_form.norms import row_norms
from pertcore.constraints import dual_order
from pertcore.oracle import Array, Linearization
from pertcore.result import Status
from pertcore.solvers.problem import Front, Problem, judge, leave_flat, narrowed

# The largest share of the step from x that Croce and Hein 2020 mix in.
BIAS = 0.1

# (7) ends on a tie, so a step aims over it by this share of the spread of the sample's scores;
# less than that, and rounding can hold a sample at a margin of 0.
TIE = 1e-4
LEAST_SPREAD = 1e-3

# (problem, linearisation, value) -> level (n,) and gradient (n, d) of the wall to step over.
Wall = Callable[[Problem, Linearization, Array], tuple[Array, Array]]


def cross(
    problem: Problem,
    wall: Wall,
    *,
    steps_allowed: int,
    overshoot: float,
    bias: float,
    first: Linearization | None,
) -> tuple[Array, Array]:
    """Points (n, d) just over the boundary and status (n,), inside the box at every step.

    Each step solves min norm_p(eta) s.t. level + g.eta <= 0 with x_t + eta in the box
    ((7), (8) corrected), drawn toward x by `bias` (`biased_step`); a box that leaves no way over
    it ends a sample as INFEASIBLE.
    """
    front = Front.start(problem)
    for t in range(steps_allowed):
        lin = front.problem.linearize(front.points) if first is None else first
        first = None
        rows = front.problem.losses("margin", lin.value)
        keep = judge(front, rows, lin.value)
        if np.any(keep):
            lin, covered = narrowed(front, lin, keep)
            level, gradient = wall(front.problem, lin, lin.value)
            keep = leave_flat(front, gradient, keep[covered])
            front.compact(keep)
            _step_over(front, level[keep], contiguous(gradient[keep]), overshoot, bias)
        else:
            front.compact(keep)
        problem.report(t + 1, steps_allowed, len(front.rows))
        if not len(front.rows):
            break
    return front.finish()


def _step_over(front: Front, level: Array, gradient: Array, overshoot: float, bias: float) -> None:
    moved, feasible = biased_step(
        front.problem, front.points, gradient, level, overshoot=overshoot, bias=bias
    )
    stuck = ~feasible & np.all(moved == front.points, axis=1)
    front.points = moved
    front.leave(stuck, Status.INFEASIBLE)
    front.compact(~stuck)


def biased_step(
    problem: Problem, points: Array, g: Array, level: Array, *, overshoot: float, bias: float
) -> tuple[Array, Array]:
    """(1 - a)(x_t + eta_t) + a (x + eta_0): over the linearised boundary, drawn toward x.

    eta_t and eta_0 are the smallest steps over it from the points x_t (n, d) and from x, inside
    the box, aimed at (1 + overshoot) times their levels; a = min(bias, |eta_t| / (|eta_t| +
    |eta_0|)) (Croce and Hein 2020, eq. 9). bias = 0 is DeepFool's step. Returns the new points
    and who could get over at all (n,).
    """
    box, p = problem.box, problem.norm
    over = 1 + overshoot
    eta, feasible = steps.hyperplane_step(g, over * level, p, x=points, lo=box.lo, hi=box.hi)
    ahead = points + eta
    if bias:
        offset = np.einsum("ij,ij->i", g, problem.x - points, dtype=np.float64)
        eta_0, _ = steps.hyperplane_step(
            g, over * (level + offset), p, x=problem.x, lo=box.lo, hi=box.hi
        )  # fmt: skip
        short, long = row_norms(eta, p), row_norms(eta_0, p)
        share = np.minimum(bias, short / np.maximum(short + long, np.finfo(g.dtype).tiny))
        ahead += share[:, None].astype(g.dtype) * (problem.x + eta_0 - ahead)
    return np.clip(ahead, box.lo, box.hi).astype(g.dtype, copy=False), feasible


def nearest_wall(classes: int) -> Wall:
    """DeepFool's wall: the class l with the smallest abs(f_k - f_l) / norm_q(grad f_k - grad f_l).

    Moosavi-Dezfooli et al. 2016, eq. 8. The `classes` best other classes are looked at.
    Targeted: each of them against the wanted class, and the wall farthest away is taken, since
    all of them have to be crossed.
    """

    def wall(problem: Problem, lin: Linearization, value: Array) -> tuple[Array, Array]:
        f = problem.goal.scores(value)
        cotangents, level, _ = losses.class_differences(
            f, problem.y, classes, decision=problem.goal.decision
        )
        sign = -1 if problem.goal.targeted else 1
        gradients = problem.gradient(lin, cotangents)
        q = dual_order(problem.norm)
        length = np.stack([row_norms(g, q) for g in gradients])
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.where(length > 0, np.abs(level) / length, math.inf)
        behind = (
            sign * level > 0 if problem.goal.targeted else np.full_like(level, True, dtype=bool)
        )
        score = np.where(behind, distance, -math.inf if problem.goal.targeted else math.inf)
        chosen = score.argmax(axis=0) if problem.goal.targeted else score.argmin(axis=0)
        everyone = library(level).arange(len(problem))
        return (
            sign * level[chosen, everyone] + TIE * _spread(problem, value),
            sign * gradients[chosen, everyone],
        )

    return wall


def margin_wall(tolerance: float = TIE) -> Wall:
    """The runner-up's wall alone, one cotangent a step; the step aims at L = -tol.

    tol is `tolerance` times the spread of the sample's scores, since (7) ends on a tie.
    """

    def wall(problem: Problem, lin: Linearization, value: Array) -> tuple[Array, Array]:
        rows = problem.losses("margin", value)
        aim = rows.value + tolerance * _spread(problem, value)
        return aim, problem.gradient(lin, rows.cotangent)

    return wall


def _spread(problem: Problem, value: Array) -> Array:
    f = problem.goal.scores(value).reshape(len(value), -1).astype(np.float64)
    if f.shape[1] > 1:
        return np.ptp(f, axis=1)
    return np.maximum(np.abs(f[:, 0] - problem.goal.decision), LEAST_SPREAD)
