"""Attacks that look for the smallest perturbation: problem (7), iterated."""

from __future__ import annotations

import numpy as np

from pertcore.attacks.registry import register
from pertcore.closed_form import exact
from pertcore.errors import InputError
from pertcore.oracle import Array, Linearization
from pertcore.solvers.crossing import Wall, cross, margin_wall, nearest_wall
from pertcore.solvers.problem import Problem


@register("deepfool", minimum_norm=True)
def deepfool(
    problem: Problem, first: Linearization | None, *, steps: int = 50, classes: int = 10,
    overshoot: float = 0.02,
) -> tuple[Array, Array]:  # fmt: skip
    """DeepFool for any norm, inside the box: the nearest linearised boundary, step after step.

    Moosavi-Dezfooli et al. 2016; `classes` best other classes are compared in one batched
    pull-back. With eps, what lies outside the ball is pulled back to it and judged there.
    """
    if classes < 1:
        raise InputError(f"classes={classes}: at least one other class is looked at")
    return _crossed(problem, first, nearest_wall(classes, overshoot), steps)


@register("minnorm", minimum_norm=True)
def minnorm(
    problem: Problem, first: Linearization | None, *, steps: int = 50, tolerance: float = 1e-4,
) -> tuple[Array, Array]:  # fmt: skip
    """Problem (7) on the margin itself, solved by (8) and iterated: one cotangent a step."""
    return _crossed(problem, first, margin_wall(tolerance), steps)


def _crossed(
    problem: Problem, first: Linearization | None, wall: Wall, steps: int
) -> tuple[Array, Array]:
    if problem.goal.task != "classification":
        raise InputError("minimum-norm attacks cross a class boundary: they need a classifier")
    if problem.goal.members is not None:
        raise InputError("minimum-norm attacks need one model: ensemble(..., reduce='logits')")
    if steps < 1:
        raise InputError(f"steps={steps}: a whole number >= 1")
    points, status = cross(problem, wall, steps_allowed=steps, first=first)
    if np.all(np.isinf(problem.eps)):
        return points, status
    box = problem.box
    return exact.finish(problem.x, points, problem.eps, problem.norm, box.lo, box.hi), status
