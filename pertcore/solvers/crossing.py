"""The smallest step over the linearised decision boundary, iterated: problem (7), DeepFool."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pertcore.closed_form import losses, steps
from pertcore.constraints import dual_order
from pertcore.oracle import Array, Linearization
from pertcore.result import Status
from pertcore.solvers.problem import Front, Problem, judge, leave_flat, narrowed

# (problem, linearisation, value) -> level (n,) and gradient (n, d) of the wall to step over.
Wall = Callable[[Problem, Linearization, Array], tuple[Array, Array]]


def cross(
    problem: Problem, wall: Wall, *, steps_allowed: int, first: Linearization | None
) -> tuple[Array, Array]:
    """Points (n, d) just over the boundary and status (n,), inside the box at every step.

    Each step solves min norm_p(eta) s.t. level + g.eta <= 0 with x_t + eta in the box
    ((7), (8) corrected); a box that leaves no way over it ends a sample as INFEASIBLE.
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
            _step_over(front, level[keep], np.ascontiguousarray(gradient[keep]))
        else:
            front.compact(keep)
        problem.report(t + 1, steps_allowed, len(front.rows))
        if not len(front.rows):
            break
    return front.finish()


def _step_over(front: Front, level: Array, gradient: Array) -> None:
    problem = front.problem
    box = problem.box
    eta, feasible = steps.hyperplane_step(
        gradient, level, problem.norm, x=front.points, lo=box.lo, hi=box.hi
    )
    moved = np.clip(front.points + eta, box.lo, box.hi).astype(eta.dtype, copy=False)
    stuck = np.all(moved == front.points, axis=1)
    front.points = moved
    front.leave(~feasible & stuck, Status.INFEASIBLE)
    front.compact(~(~feasible & stuck))


def nearest_wall(classes: int, overshoot: float) -> Wall:
    """DeepFool's wall: the class l with the smallest abs(f_k - f_l) / norm_q(grad f_k - grad f_l).

    Moosavi-Dezfooli et al. 2016, eq. 8; the step aims at (1 + overshoot) times the level. The
    `classes` best other classes are looked at. Targeted: each of them against the wanted class,
    and the wall farthest away is taken, since all of them have to be crossed.
    """

    def wall(problem: Problem, lin: Linearization, value: Array) -> tuple[Array, Array]:
        f = problem.goal.scores(value)
        cotangents, level, _ = losses.class_differences(
            f, problem.y, classes, decision=problem.goal.decision
        )
        sign = -1 if problem.goal.targeted else 1
        gradients = problem.gradient(lin, cotangents)
        q = dual_order(problem.norm)
        length = np.linalg.norm(gradients.astype(np.float64), ord=q, axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.where(length > 0, np.abs(level) / length, math.inf)
        behind = sign * level > 0 if problem.goal.targeted else np.ones_like(level, dtype=bool)
        score = np.where(behind, distance, -math.inf if problem.goal.targeted else math.inf)
        chosen = score.argmax(axis=0) if problem.goal.targeted else score.argmin(axis=0)
        everyone = np.arange(len(problem))
        return (
            sign * level[chosen, everyone] * (1 + overshoot),
            sign * gradients[chosen, everyone],
        )

    return wall


def margin_wall(tolerance: float) -> Wall:
    """The runner-up's wall alone, one cotangent a step; the step aims at L = -tol.

    tol is `tolerance` times the spread of the sample's scores, since (7) ends on a tie.
    """

    def wall(problem: Problem, lin: Linearization, value: Array) -> tuple[Array, Array]:
        rows = problem.losses("margin", value)
        f = problem.goal.scores(value).reshape(len(value), -1)
        spread = np.ptp(f, axis=1).astype(np.float64) + np.abs(rows.margin)
        return rows.value + tolerance * spread, problem.gradient(lin, rows.cotangent)

    return wall
