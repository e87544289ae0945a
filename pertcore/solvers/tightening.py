"""From a point over the boundary to a nearer one: back toward x, then over again."""

from __future__ import annotations

import numpy as np

from pertcore.arrays import library
from pertcore.closed_form.norms import row_norms
from pertcore.oracle import Array, Linearization
from pertcore.solvers.crossing import BIAS, Wall, biased_step
from pertcore.solvers.problem import Problem

# How far back a fooled point goes (Croce and Hein 2020 take 0.9), and how far over a step aims.
BACKWARD = 0.8
OVERSHOOT = 0.05


def tighten(problem: Problem, wall: Wall, points: Array, *, rounds: int) -> Array:
    """Fooled points (n, d) no farther from x than the given fooled ones, usually nearer.

    After Croce and Hein 2020: a fooled point goes back to x + 0.8 (x_t - x), one that is not
    fooled steps over again (`crossing.biased_step`), and the nearest fooled one is kept. Every
    point is inside the box. A round costs one forward run, and the wall's backward runs for
    those on this side. A sample with a finite budget leaves as soon as it is inside it.
    """
    best, at = points.copy(), _back(problem.x, points)
    length = _lengths(problem, best)
    budget = np.where(np.isinf(problem.eps), 0.0, problem.eps)
    for t in range(rounds):
        left = np.flatnonzero(length > budget)
        if not len(left):
            break
        part, here = problem.take(left), at[left]
        lin = part.linearize(here)
        rows = part.losses("margin", lin.value)
        fooled = part.goal.reached(rows, lin.value)
        reached = _lengths(part, here)
        better = fooled & (reached < length[left])
        best[left[better]], length[left[better]] = here[better], reached[better]
        at[left[fooled]] = _back(part.x[fooled], here[fooled])
        ahead = np.flatnonzero(~fooled)
        if len(ahead):
            at[left[ahead]] = _over(part, wall, lin, here, ahead)
        problem.report(t + 1, rounds, len(left))
    return best


def _lengths(problem: Problem, points: Array) -> Array:
    return row_norms(points.astype(np.float64) - problem.x.astype(np.float64), problem.norm)


def _back(x: Array, points: Array) -> Array:
    return x + (points - x) * points.dtype.type(BACKWARD)


def _over(problem: Problem, wall: Wall, lin: Linearization, here: Array, ahead: Array) -> Array:
    if len(ahead) < len(problem) and "take" in problem.oracle.capabilities:
        problem, lin, here = problem.take(ahead), lin.take(ahead), here[ahead]
        ahead = library(ahead).arange(len(ahead))
    level, gradient = wall(problem, lin, lin.value)
    moved, _ = biased_step(problem, here, gradient, level, overshoot=OVERSHOOT, bias=BIAS)
    return moved[ahead]
