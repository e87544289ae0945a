"""The loop under Algorithm 1, FGSM, BIM and PGD: linearise, judge, step, drop who is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pertcore.closed_form import sampling
from pertcore.oracle import Array, Linearization
from pertcore.result import Status
from pertcore.solvers.problem import Front, Problem, dead, survivors

Step = Callable[[Problem, Array, Array], Array]
# (problem, step t from 0) -> radius (n,) of the random vector added before linearising.
Dither = Callable[[Problem, int], Array]

# Draw numbers of one sample never meet: a restart owns a block, its start point is draw 0 of it.
DRAWS_PER_RESTART = 1 << 20


def descend(
    problem: Problem,
    step: Step,
    *,
    loss: str | Callable[..., Any],
    steps: int,
    start: Array | None = None,
    first: Linearization | None = None,
    dither: Dither | None = None,
    draw: int = 0,
) -> tuple[Array, Array]:
    """Points (n, d) after at most `steps` steps, and status (n,).

    `step(problem, points, gradient)` moves the samples still in the batch and keeps them in
    ball and box. `start` (n, d) is where to begin, x by default; `first` a linearisation there,
    if one is known. `dither(problem, t)` (n,): the gradient of step t is taken at the points plus
    a random vector of that radius, clipped to the box (Algorithm 1, lines 3 and 4); a dithered
    value says nothing about the points themselves, so nobody leaves on it, and where its gradient
    is zero or not finite that sample waits for the next draw.
    """
    front = Front.start(problem, start)
    for t in range(steps):
        radius = None if dither is None else dither(front.problem, t)
        dithered = radius is not None and bool(np.any(radius))
        lin = first
        if lin is None or dithered:
            at = front.points if radius is None else _dithered(front, radius, draw + t + 1)
            lin = front.problem.linearize(at)
        first = None
        gradient = _gradient(front, lin, loss, dithered)
        if len(front.rows):
            front.points = step(front.problem, front.points, gradient)
        problem.report(t + 1, steps, len(front.rows))
        if not len(front.rows):
            break
    return front.finish()


def _gradient(front: Front, lin: Linearization, loss: Any, dithered: bool) -> Array:
    rows = front.problem.losses(loss, lin.value)
    if dithered:
        gradient = front.problem.gradient(lin, rows.cotangent)
        flat, broken = dead(gradient)
        gradient[broken] = 0
        front.moved[front.rows[~(flat | broken)]] = True
        return gradient
    return survivors(front, lin, rows)[0]


def _dithered(front: Front, radius: Array, draw: int) -> Array:
    problem, points = front.problem, front.points
    d = points.shape[1]
    noise = sampling.random_in_ball(problem.keys, draw, radius, problem.norm, d, points.dtype)
    if problem.free is not None:
        noise *= problem.free
    return np.clip(points + noise, problem.box.lo, problem.box.hi).astype(points.dtype, copy=False)


def restarted(
    problem: Problem, once: Callable[[Problem, int], tuple[Array, Array]], restarts: int
) -> tuple[Array, Array]:
    """The best of several runs: survivors alone go on, the smallest margin or loss is kept.

    `once(problem, restart)` -> points and status; `restart` counts from 0.
    """
    points, status = once(problem, 0)
    if restarts == 1:
        return points, status
    best, done = standing(problem, points)
    for restart in range(1, restarts):
        left = np.flatnonzero((status != int(Status.OK)) & ~done)
        if not len(left):
            break
        again = problem.take(left)
        found, ended = once(again, restart)
        rank, there = standing(again, found)
        better = (rank < best[left]) | (ended == int(Status.OK))
        points[left[better]], status[left[better]] = found[better], ended[better]
        best[left[better]], done[left[better]] = rank[better], there[better]
    return points, status


def standing(problem: Problem, points: Array) -> tuple[Array, Array]:
    """What to rank points by, NaN last, and who has reached the goal."""
    value = problem.oracle(problem.shaped(points))
    name = "margin" if problem.goal.task == "classification" else problem.goal.loss
    rows = problem.losses(name, value)
    rank = rows.margin if problem.goal.task == "classification" else rows.value
    return np.where(np.isnan(rank), np.inf, rank), problem.goal.reached(rows, value)
