"""Several attacks as one: the cheapest first, and only who stands goes on to the next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pertcore.attacks.adaptive import apgd, apgd_t
from pertcore.attacks.gradient import alg1
from pertcore.attacks.minimum_norm import fmn
from pertcore.attacks.registry import register
from pertcore.attacks.starts import in_blocks
from pertcore.oracle import Array
from pertcore.result import Stage, Status
from pertcore.solvers.descent import restarted, standing
from pertcore.solvers.momentum import descend_adaptively
from pertcore.solvers.problem import Problem
from pertcore.solvers.squares import search_squares

# Runs of the model that the black-box stage has for each step of the others.
QUERIES_PER_STEP = 16
# Starts at patterns of blocks; their sides go through all scales twice.
BLOCK_STARTS = 10

# (survivors, their best points so far) -> points and status.
Attempt = Callable[[Problem, Array], tuple[Array, Array]]


@register("portfolio", at_x=False, own_loss="margin")
def portfolio(
    problem: Problem, *, steps: int = 25, classes: int = 9
) -> tuple[Array, Array, tuple[Stage, ...]]:
    """Algorithm 1, apgd, fmn, apgd-t, then square on whoever stands: the worst case of each sample.

    Algorithm 1 has ten steps; apgd with DLR goes on from its points for `steps`, then with the
    margin and the cross-entropy from random points for 4 and 2 times as many. fmn has 2 `steps`
    from x, and what it finds outside the ball is pulled back. apgd-blocks begins ten times at
    random signs that are equal within blocks (`starts.in_blocks`), for `steps` each; apgd-t goes
    towards each of the `classes` best other classes for `steps`. The square attack has 16 `steps`
    runs from the best points so far: what it alone fools shows a masked gradient. An ensemble of
    models has no fmn.
    """
    race = _Race(problem)
    race.stage("alg1", lambda part, _at: alg1(part, None))
    race.stage(
        "apgd-dlr", lambda part, at: descend_adaptively(part, loss="dlr", steps=steps, start=at)
    )
    race.stage("apgd-margin", lambda part, _at: apgd(part, loss="margin", steps=4 * steps))
    race.stage("apgd-ce", lambda part, _at: apgd(part, steps=2 * steps))
    if problem.goal.members is None:
        race.stage("fmn", lambda part, _at: fmn(part, None, steps=2 * steps))
    race.stage("apgd-blocks", lambda part, _at: _from_blocks(part, steps))
    race.stage("apgd-t", lambda part, _at: apgd_t(part, steps=steps, classes=classes))
    queries = QUERIES_PER_STEP * steps
    race.stage(
        "square",
        lambda part, at: search_squares(part, loss="margin", queries=queries, draw=0, start=at),
    )
    return race.points, race.status, tuple(race.stages)


def _from_blocks(problem: Problem, steps: int) -> tuple[Array, Array]:
    def once(part: Problem, restart: int) -> tuple[Array, Array]:
        return descend_adaptively(part, loss="margin", steps=steps, start=in_blocks(part, restart))

    return restarted(problem, once, BLOCK_STARTS)


class _Race:
    """The best point of each sample so far, by margin, and what each stage did."""

    def __init__(self, problem: Problem) -> None:
        n = len(problem)
        self.problem, self.points = problem, np.array(problem.x)
        self.margin, self.fooled = np.full(n, np.inf), np.zeros(n, dtype=bool)
        self.status = np.full(n, Status.MAX_STEPS, dtype=np.int8)
        self.stages: list[Stage] = []

    def stage(self, name: str, attempt: Attempt) -> None:
        """Run `attempt` on whoever is not fooled yet; nobody's point gets worse."""
        left = np.flatnonzero(~self.fooled)
        before = self.problem.oracle.calls.copy()
        if len(left):
            part = self.problem.take(left)
            found, status = attempt(part, self.points[left])
            margin, fooled = standing(part, found)
            better = margin < self.margin[left]
            self.points[left[better]], self.margin[left[better]] = found[better], margin[better]
            self.status[left[better]], self.fooled[left] = status[better], fooled
        calls = self.problem.oracle.calls - before
        self.stages.append(Stage(name, len(left), int(self.fooled[left].sum()), calls))
