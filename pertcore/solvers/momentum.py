"""Auto-PGD: momentum, and step sizes that a sample halves for itself when progress stalls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pertcore.closed_form import steps as closed
from pertcore.closed_form.losses import LossRows
from pertcore.closed_form.projections import project_ball_box
from pertcore.oracle import Array, Linearization
from pertcore.result import Status
from pertcore.solvers.problem import Front, Problem, judge, survivors

# Croce and Hein 2020, section 3: the share of the new step against the last move, the share of
# steps that must lower the loss, the first checkpoint, and how the gaps between them shrink.
NEW_SHARE = 0.75
LOWERING_SHARE = 0.75
FIRST_CHECK, GAP_SHRINKS, LEAST_GAP = 0.22, 0.03, 0.06


def checkpoints(steps: int) -> list[int]:
    """Steps at which step sizes are reconsidered: ceil(p_j N), Croce and Hein 2020, section 3.

    p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06).
    """
    found, place, gap = [0], FIRST_CHECK, FIRST_CHECK
    # Rounded, since 0.22 + 0.19 + ... must not pass a whole number by the last bit.
    while math.ceil(round(place * steps, 9)) < steps:
        found.append(math.ceil(round(place * steps, 9)))
        gap = max(gap - GAP_SHRINKS, LEAST_GAP)
        place += gap
    return sorted(set(found))


@dataclass
class _Memory:
    """What each of n samples has seen: its best point with value and gradient, its last move."""

    best: Array
    value: Array
    gradient: Array
    previous: Array
    last: Array
    step: Array
    lowered: Array
    reduced: Array
    marked: Array

    @classmethod
    def begin(cls, points: Array, step: Array) -> _Memory:
        return cls(
            best=points.copy(), value=np.full_like(step, np.inf), gradient=np.zeros_like(points),
            previous=points.copy(), last=np.full_like(step, -np.inf), step=step,
            lowered=np.zeros_like(step, dtype=np.int64), marked=np.full_like(step, np.inf),
            reduced=np.full_like(step, True, dtype=bool),
        )  # fmt: skip

    def note(self, rows: Array, points: Array, value: Array) -> Array:
        """Values (m,) at the points (m, d) of the samples `rows`; who has a new best (m,) bool."""
        self.lowered[rows] += value < self.last[rows]
        self.last[rows] = value
        better = value < self.value[rows]
        self.value[rows[better]], self.best[rows[better]] = value[better], points[better]
        return better

    def stalled(self, rows: Array, passed: int) -> Array:
        """Who halves the step after `passed` steps, (m,) bool: conditions 1 and 2 of the paper."""
        few = self.lowered[rows] < LOWERING_SHARE * passed
        stuck = ~self.reduced[rows] & (self.value[rows] == self.marked[rows])
        self.reduced[rows], self.marked[rows] = few | stuck, self.value[rows]
        self.lowered[rows] = 0
        return few | stuck


def descend_adaptively(
    problem: Problem, *, loss: str | Callable[..., Any], steps: int, start: Array,
    toward: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Auto-PGD from `start` (n, d): the best points seen (n, d) and status (n,).

    z = P(x_k + step), x_{k+1} = P(x_k + a (z - x_k) + (1 - a)(x_k - x_{k-1})), a = 0.75, P on ball
    and box; the step size of a sample begins at 2 eps and halves at a checkpoint that finds too
    few steps lowering its loss, or its best unchanged: then it goes back to its best point (Croce
    and Hein 2020, Algorithm 1), from rest. Fooled samples leave. `toward` (n,): a class a sample,
    whose targeted loss is lowered, while any class other than y counts as fooled.
    """
    front = Front.start(problem, start)
    memory = _Memory.begin(front.points, 2 * problem.eps)
    checks, checked = set(checkpoints(steps)[1:]), 0
    for t in range(steps):
        gradient = _gradient(front, memory, loss, toward)
        if t in checks:
            _reconsider(front, memory, gradient, t - checked)
            checked = t
        if len(front.rows):
            _move(front, memory, gradient, first=t == 0)
        problem.report(t + 1, steps, len(front.rows))
        if not len(front.rows):
            break
    if len(front.rows):
        value = front.problem.oracle(front.problem.shaped(front.points))
        rows = _losses(front, value, loss, toward)
        judge(front, rows, value)
        memory.note(front.rows, front.points, rows.value)
    ended, status = front.finish()
    kept = (status != int(Status.OK)) & np.isfinite(memory.value)
    ended[kept] = memory.best[kept]
    return ended, status


def _losses(front: Front, value: Array, loss: Any, toward: Array | None) -> LossRows:
    problem = front.problem
    if toward is None:
        return problem.losses(loss, value)
    # While y is the best class the targeted ratio's best other class is y, as the paper has it.
    pulled = replace(problem.goal, targeted=True).rows(loss, value, toward[front.rows])
    return replace(pulled, margin=problem.losses("margin", value).margin)


def _gradient(front: Front, memory: _Memory, loss: Any, toward: Array | None) -> Array:
    lin: Linearization = front.problem.linearize(front.points)
    rows = _losses(front, lin.value, loss, toward)
    gradient, left = survivors(front, lin, rows)
    better = memory.note(front.rows, front.points, rows.value[left])
    memory.gradient[front.rows[better]] = gradient[better]
    return gradient


def _reconsider(front: Front, memory: _Memory, gradient: Array, passed: int) -> None:
    halved = memory.stalled(front.rows, passed)
    back = front.rows[halved]
    memory.step[back] /= 2
    front.points[halved], gradient[halved] = memory.best[back], memory.gradient[back]
    memory.previous[back], memory.last[back] = memory.best[back], memory.value[back]


def _move(front: Front, memory: _Memory, gradient: Array, *, first: bool) -> None:
    problem, points, rows = front.problem, front.points, front.rows
    box, p = problem.box, problem.norm
    ahead = closed.pgd_step(
        problem.x, points, gradient, memory.step[rows], problem.eps, p, box.lo, box.hi
    )
    if not first:
        share = points.dtype.type(NEW_SHARE)
        drift = points + share * (ahead - points) + (1 - share) * (points - memory.previous[rows])
        ahead = project_ball_box(problem.x, drift, problem.eps, p, box.lo, box.hi)
    memory.previous[rows] = points
    front.points = ahead
