"""Points that survive being stored as pictures: on evenly spaced levels, inside ball and box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.attacks.options import whole
from pertcore.closed_form.norms import row_norms
from pertcore.constraints import Box
from pertcore.errors import InputError
from pertcore.oracle import Array
from pertcore.result import Status
from pertcore.solvers.problem import Problem

# How far from its level, in steps between levels, an x may be stored.
SLACK = 1e-3
# Rounds of rounding by the gradient, and halvings of the share of a perturbation that is kept.
ROUNDS, HALVINGS = 3, 12


@dataclass(frozen=True)
class Levels:
    """`count` values from lo to hi, evenly spaced, as the dtype of x holds them: `values`."""

    lo: float
    hi: float
    values: Array

    @property
    def step(self) -> float:
        return (self.hi - self.lo) / (len(self.values) - 1)

    def numbers(self, points: Array) -> Array:
        """Number of the level nearest to each point, int64."""
        last = len(self.values) - 1
        near = np.rint((points.astype(np.float64) - self.lo) / self.step)
        return np.clip(near, 0, last).astype(np.int64)


def parse_levels(levels: Any, box: Box, x: Array) -> Levels | None:
    """The levels of x (n, *sample), None where none are wanted.

    Raises InputError without two numbers as bounds, and where x itself is not on the levels.
    """
    if levels is None:
        return None
    count = whole("levels", levels, 2)
    ends = (box.lo, box.hi)
    if not all(isinstance(end, float) and math.isfinite(end) for end in ends) or box.lo == box.hi:
        raise InputError(f"levels={levels}: needs bounds=(lo, hi), two different finite numbers")
    lo, hi = (float(end) for end in ends)
    values = np.linspace(lo, hi, count).astype(x.dtype)
    found = Levels(lo, hi, np.clip(values, *np.array([lo, hi], x.dtype)))
    away = np.abs(x - found.values[found.numbers(x)]).reshape(len(x), -1).max(axis=1)
    if away.max() > SLACK * found.step:
        sample = int(away.argmax())
        raise InputError(
            f"levels={levels}: sample {sample} has a value {away[sample]:.3g} away from the "
            f"{count} levels between {lo:g} and {hi:g}: give x as the pictures hold it"
        )
    return found


def on_levels(
    problem: Problem, points: Array, status: Array, levels: Levels, *, blind: bool
) -> Array:
    """Points (n, d) on the levels near the given ones, inside ball and box, exactly.

    Each entry goes to the nearest level that ball and box allow; other norms than inf keep the
    largest share of the perturbation that leaves the rounded one inside. Where that loses an
    attack that had succeeded (status OK), or a regression, entries are rounded up or down as the
    gradient at the rounded point says, three times at most, and the better point stays. `blind`
    leaves that out.
    """
    best = _inside(problem, points, None, levels)
    if blind or "vjp" not in problem.oracle.capabilities:
        return best
    left = np.flatnonzero((status == Status.OK) | (problem.goal.task == "regression"))
    for _ in range(ROUNDS):
        if not len(left):
            break
        part = problem.take(left)
        lin = part.linearize(best[left])
        rows = part.losses(part.goal.loss, lin.value)
        here = rows.value
        moved = _inside(part, points[left], part.gradient(lin, rows.cotangent), levels)
        there = part.losses(part.goal.loss, part.oracle(part.shaped(moved))).value
        lost = ~part.goal.reached(rows, lin.value)
        better = lost & (there < here)
        best[left[better]] = moved[better]
        left = left[better]
    return best


def _inside(problem: Problem, points: Array, gradient: Array | None, levels: Levels) -> Array:
    """The points on levels and inside; `gradient` (n, d) says which way to round, else nearest."""
    x = problem.x
    if math.isinf(problem.norm):
        return _rounded(problem, points, gradient, levels)
    move = points.astype(np.float64) - x
    share, step = np.ones((len(x), 1)), 0.5
    best = np.array(x)
    for _ in range(HALVINGS):
        tried = _rounded(problem, x + share * move, gradient, levels)
        norms = row_norms(tried.astype(np.float64) - x.astype(np.float64), problem.norm)
        inside = norms <= problem.eps
        best[inside] = tried[inside]
        share = np.where(inside[:, None], np.minimum(share + step, 1), share - step)
        step /= 2
    return best


def _rounded(problem: Problem, points: Array, gradient: Array | None, levels: Levels) -> Array:
    x, own = problem.x, levels.numbers(problem.x)
    exact = (points.astype(np.float64) - levels.lo) / levels.step
    number = np.rint(exact)
    if gradient is not None:
        number = np.where(gradient > 0, np.floor(exact), np.ceil(exact))
        number = np.where(gradient == 0, np.rint(exact), number)
    chosen = np.clip(number, 0, len(levels.values) - 1).astype(np.int64)
    if problem.free is not None:
        chosen = np.where(problem.free != 0, chosen, own)
    if math.isinf(problem.norm):
        chosen = _toward(x, own, chosen, problem.eps, levels)
    return np.where(chosen == own, x, levels.values[chosen])


def _toward(x: Array, own: Array, chosen: Array, eps: Array, levels: Levels) -> Array:
    """Level numbers drawn toward those of x until |level - x| <= eps holds in float64."""
    most = np.minimum(np.ceil(eps / levels.step), len(levels.values)).astype(np.int64)[:, None]
    chosen = np.clip(chosen, own - most, own + most)
    for _ in range(2):
        distance = np.abs(levels.values[chosen].astype(np.float64) - x.astype(np.float64))
        outside = (distance > eps[:, None]) & (chosen != own)
        chosen = np.where(outside, chosen - np.sign(chosen - own), chosen)
    return chosen
