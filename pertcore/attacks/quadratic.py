"""Attacks on regression models by the quadratic problems (11) and (12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pertcore.attacks.registry import register
from pertcore.attacks.starts import on_sphere
from pertcore.closed_form import exact, sampling, steps
from pertcore.oracle import Array, Linearization
from pertcore.solvers.climbing import BACKWARD, FORWARD, climb
from pertcore.solvers.descent import DRAWS_PER_RESTART, restarted
from pertcore.solvers.lanczos import singular
from pertcore.solvers.problem import Problem
from pertcore.solvers.products import Products

Ended = tuple[Array, Array]
Loss = str | Callable[..., Any]

# A start from the singular vectors takes a quarter of the units, at most this many pairs.
MOST_PAIRS = 4
# The draw of the random vector that Lanczos starts from.
START = DRAWS_PER_RESTART - 1


@register("iterated-quadratic", regression=True)
def iterated_quadratic(
    problem: Problem, first: Linearization | None, *, loss: Loss | None = None,
    steps: int = 12, restarts: int = 1,
) -> Ended:  # fmt: skip
    """(11) linearised anew at every step, from the top singular vector; regression's strongest.

    `steps` counts units, a forward and a backward run of a sample each, all included. A quarter
    of them finds the top singular vector of J at x, whose two signs are tried on the model; full
    steps to the best point of the linearised problem inside ball and box follow, and the best
    point seen is kept. Restarts begin at random points and have as many units each.
    """
    chosen = loss or problem.goal.loss

    def once(part: Problem, restart: int) -> Ended:
        if restart or not _pairs(steps):
            start = on_sphere(part, restart)[None]
            return climb(part, start, loss=chosen, units=steps - (0 if restart else FORWARD))
        lin = part.linearize(part.x) if first is None else first
        starts, spent = _singular_starts(part, lin, chosen, _pairs(steps))
        return climb(part, starts, loss=chosen, units=steps - FORWARD - spent)

    return restarted(problem, once, restarts)


def _pairs(units: int) -> int:
    return min(MOST_PAIRS, units // 4)


def _singular_starts(
    problem: Problem, lin: Linearization, loss: Loss, pairs: int
) -> tuple[Array, float]:
    """Two starts (2, n, d): the top right singular vector both ways, and the units they cost.

    With labels the residual at x says which way, and the other start follows the gradient there.
    """
    products = Products.at(problem.oracle, lin, problem.free)
    noise = sampling.random_on_sphere(
        problem.keys, START, np.ones(len(problem)), 2.0, problem.x.shape[1], problem.x.dtype
    )
    found = singular(products, _free(problem, noise), tolerance=0, max_pairs=pairs)
    top = found.right[:, 0]
    directions = [top, -top]
    spent = float(pairs)
    if not problem.goal.own_answer:
        rows = problem.losses(loss, lin.value)
        slope = -problem.gradient(lin, rows.cotangent)
        along = np.einsum("nd,nd->n", top, slope)
        directions = [np.where(along[:, None] < 0, -top, top), slope]
        spent += BACKWARD
    return np.stack([_extreme(problem, direction) for direction in directions]), spent


def _free(problem: Problem, noise: Array) -> Array:
    return noise if problem.free is None else noise * problem.free


def _extreme(problem: Problem, direction: Array) -> Array:
    """The point of ball and box farthest along a direction (n, d)."""
    box = problem.box
    eta = steps.lmo_ball_box(
        -np.ascontiguousarray(direction), problem.x, problem.eps, problem.norm, box.lo, box.hi
    )
    return exact.finish(problem.x, problem.x + eta, problem.eps, problem.norm, box.lo, box.hi)
