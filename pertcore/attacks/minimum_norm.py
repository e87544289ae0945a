"""Attacks that look for the smallest perturbation: problem (7), iterated."""

from __future__ import annotations

import numpy as np

from pertcore.attacks.registry import register
from pertcore.closed_form import exact
from pertcore.errors import InputError
from pertcore.oracle import Array, Linearization
from pertcore.result import Status
from pertcore.solvers.crossing import BIAS, TIE, Wall, cross, margin_wall, nearest_wall
from pertcore.solvers.problem import Problem
from pertcore.solvers.shrinking import hunt, hunt_few, into_ball, onto_sphere
from pertcore.solvers.tightening import tighten

# Rony et al. 2019: the radius changes by the same share at every step.
DDN_RATES = (0.05, 0.05)


@register("deepfool", minimum_norm=True, device=True)
def deepfool(
    problem: Problem, first: Linearization | None, *, steps: int = 50, classes: int = 10,
    overshoot: float = 0.02, refine: int = 20,
) -> tuple[Array, Array]:  # fmt: skip
    """DeepFool for any norm, inside the box: the nearest linearised boundary, step after step.

    Moosavi-Dezfooli et al. 2016; `classes` best other classes are compared in one batched
    pull-back. Then up to `refine` rounds walk back and over again to a nearer point (Croce and
    Hein 2020), whose steps are drawn toward x from the beginning, where they cross at all;
    refine=0 ends where it first crosses, as DeepFool does. A step aims `overshoot` past the
    boundary. With eps, a sample is done once it is inside its ball, and what stays outside is
    pulled back to the ball and judged there.
    """
    return _crossed(problem, first, nearest_wall(classes), steps, refine, overshoot)


@register("minnorm", minimum_norm=True, device=True)
def minnorm(
    problem: Problem, first: Linearization | None, *, steps: int = 50, tolerance: float = TIE,
    refine: int = 0,
) -> tuple[Array, Array]:  # fmt: skip
    """Problem (7) on the margin itself, solved by (8) and iterated: one cotangent a step.

    A step aims at L = -tolerance times the spread of the scores, since (7) ends on a tie.
    `refine` as in deepfool.
    """
    return _crossed(problem, first, margin_wall(tolerance), steps, refine, 0.0)


@register("fmn", minimum_norm=True, counts=True, device=True)
def fmn(
    problem: Problem, first: Linearization | None, *, steps: int = 100,
) -> tuple[Array, Array]:  # fmt: skip
    """Fast minimum-norm: descend the margin in a ball that follows the boundary (Pintor 2021).

    Any p >= 1; each step is the steepest that the box allows, of l_2 or for p = inf of l_inf, and
    is projected on ball and box together. The first is as long as the linear model's way to the
    boundary; below p = 2 steps are of a sparser norm and follow the radius. p = 0 is the number
    of changed features: an l_1 ball for half of the steps, then each step has the best corner of
    the box within that number, for an average of the gradients.
    """
    _check_classifier(problem)
    if problem.norm:
        points, status = hunt(problem, into_ball, loss="margin", steps=steps, first=first)
    else:
        points, status = hunt_few(problem, steps=steps, first=first)
    return _inside(problem, points), status


@register("ddn", minimum_norm=True, device=True)
def ddn(
    problem: Problem, first: Linearization | None, *, steps: int = 100,
) -> tuple[Array, Array]:  # fmt: skip
    """Decoupled direction and norm: a step, then delta rescaled to a radius (Rony et al. 2019).

    Theirs is p = 2; for other p the step is the steepest of that norm. The first radius is the
    linear model's distance to the boundary instead of their 1, which is for images.
    """
    _check_classifier(problem)
    points, status = hunt(
        problem, onto_sphere, loss="cross_entropy", steps=steps, first=first, rates=DDN_RATES
    )
    return _inside(problem, points), status


def _crossed(
    problem: Problem, first: Linearization | None, wall: Wall, steps: int, refine: int,
    overshoot: float,
) -> tuple[Array, Array]:  # fmt: skip
    _check_classifier(problem)
    bias = BIAS if refine else 0.0
    points, status = cross(
        problem, wall, steps_allowed=steps, overshoot=overshoot, bias=bias, first=first
    )
    lost = (status == int(Status.MAX_STEPS)) | (status == int(Status.INFEASIBLE))
    stuck = np.flatnonzero(lost)
    if refine and len(stuck):
        # Steps drawn toward x end nearer, but may not end at all.
        points[stuck], status[stuck] = cross(
            problem.take(stuck),
            wall,
            steps_allowed=steps,
            overshoot=overshoot,
            bias=0.0,
            first=None,
        )
    over = np.flatnonzero(status == int(Status.OK))
    if refine and len(over):
        part = problem.take(over)
        points[over] = tighten(part, margin_wall(), points[over], rounds=refine)
    return _inside(problem, points), status


def _check_classifier(problem: Problem) -> None:
    if problem.goal.task != "classification":
        raise InputError("minimum-norm attacks cross a class boundary: they need a classifier")
    if problem.goal.members is not None:
        raise InputError("minimum-norm attacks need one model: ensemble(..., reduce='logits')")


def _inside(problem: Problem, points: Array) -> Array:
    if np.all(np.isinf(problem.eps)):
        return points
    box = problem.box
    return exact.finish(problem.x, points, problem.eps, problem.norm, box.lo, box.hi)
