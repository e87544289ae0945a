"""Attacks on regression models by the quadratic problems (11) and (12)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pertcore.attacks.registry import register
from pertcore.attacks.starts import on_sphere
from pertcore.closed_form import exact, sampling
from pertcore.closed_form.norms import row_norms
from pertcore.oracle import Array, Linearization
from pertcore.result import Certificate, Status
from pertcore.solvers import quadratic as quadratic_problem
from pertcore.solvers.climbing import BACKWARD, FORWARD, climb
from pertcore.solvers.columns import MAX_MEMORY, parse_memory
from pertcore.solvers.descent import DRAWS_PER_RESTART, restarted
from pertcore.solvers.problem import Problem
from pertcore.solvers.products import Products
from pertcore.solvers.quadratic import Maximum, Question, largest
from pertcore.solvers.restricted import Seen, ascend, farthest, orthonormal
from pertcore.solvers.single_subset import best_subset

Ended = tuple[Array, Array]
Certified = tuple[Array, Array, Certificate]
Loss = str | Callable[..., Any]

# With fewer units than LEAST, what a step from both turned starts may cost, the start is random;
# else one unit in PER_TURN multiplies it by J^T J; half as many where the gradient leads, too.
LEAST, PER_TURN = 6, 6
# The draw of the random vector that is turned.
START = DRAWS_PER_RESTART - 1
TINY = np.float32(1e-30)


@register("quadratic", regression=True, aims=False, tangents=True)
def quadratic(
    problem: Problem, first: Linearization, *, loss: Loss | None = None, method: str = "best",
    certify: bool = True, max_memory: int | str = MAX_MEMORY,
) -> Certified:  # fmt: skip
    """(12), with y (11): the eta that moves the linearised output most, both signs tried.

    p = 1 (14), p = 2 (13) and p = inf (19), any other p; method="paper" is as printed, else the
    linear term of (11), the box and a search beyond the greedy signs of (19) are used. `certify`
    spends model runs on the bound of p = 2. `max_memory`: bytes that J may take.
    """
    question = _question(problem, first, certify=certify, max_memory=parse_memory(max_memory))
    found = quadratic_problem.paper(question) if method == "paper" else largest(question)
    return _both_ways(problem, found, loss or problem.goal.loss)


@register("quadratic-subset", regression=True, subset=True, aims=False, tangents=True)
def quadratic_subset(
    problem: Problem, first: Linearization, *, loss: Loss | None = None, method: str = "best",
    max_memory: int | str = MAX_MEMORY,
) -> Certified:  # fmt: skip
    """(17): the one subset, and its signs, that move the linearised output most.

    All signs of a subset are tried where it has few entries; method="paper" is the greedy rule
    (20). The full eps, or the room to the bounds, is used. `max_memory`: bytes that J may take.
    """
    question = _question(problem, first, max_memory=parse_memory(max_memory))
    found = best_subset(question, problem.subsets(1), method)
    return _both_ways(problem, found, loss or problem.goal.loss)


def _question(problem: Problem, lin: Linearization, **settings: Any) -> Question:
    labelled = problem.goal.task == "regression" and not problem.goal.own_answer
    value = lin.value.reshape(len(problem), -1)
    return Question(
        Products.at(problem.oracle, lin, problem.free), value - problem.y if labelled else None,
        problem.eps, problem.norm, problem.keys, problem.x, problem.box.lo, problem.box.hi,
        **settings,
    )  # fmt: skip


def _both_ways(problem: Problem, found: Maximum, loss: Loss) -> Certified:
    """x + eta and x - eta, finished inside ball and box: the better of them on the model."""
    points = _inside(problem, found.eta)
    best = problem.losses(loss, problem.oracle(problem.shaped(points))).value
    other = _inside(problem, -found.eta)
    value = problem.losses(loss, problem.oracle(problem.shaped(other))).value
    problem.report(1, 1, len(problem))
    better = value < best
    points[better] = other[better]
    status = np.full(len(problem), Status.MAX_STEPS, np.int8)
    status[(found.value == 0) & (problem.eps > 0)] = Status.ZERO_GRADIENT
    return points, status, Certificate(found.value, found.upper, found.proof)


def _inside(problem: Problem, eta: Array) -> Array:
    box, moved = problem.box, (problem.x + eta).astype(problem.x.dtype)
    return exact.finish(problem.x, moved, problem.eps, problem.norm, box.lo, box.hi)


@register("iterated-quadratic", regression=True, tangents=True)
def iterated_quadratic(
    problem: Problem, first: Linearization | None, *, loss: Loss | None = None,
    steps: int = 12, restarts: int = 1,
) -> Ended:  # fmt: skip
    """(11) linearised anew at every step, begun along J^T J r both ways; best near linearity.

    `steps` counts units, a forward and a backward run of a sample each, all included. A few of
    them turn a random r toward the top singular vectors of J at x; the maxima on both sides are
    tried on the model. Full steps to the best point of the linearised problem inside ball and box
    follow, halved where the model is not as linear as that. Restarts begin at random points and
    have as many units each.
    """
    chosen = loss or problem.goal.loss

    def once(part: Problem, restart: int) -> Ended:
        if restart or steps < LEAST:
            spent = 0.0 if restart else FORWARD
            start = on_sphere(part, restart)[None]
            return climb(part, start, loss=chosen, units=steps, spent=spent)
        lin = part.linearize(part.x) if first is None else first
        return _from_turned(part, lin, chosen, steps)

    return restarted(problem, once, restarts)


def _from_turned(problem: Problem, lin: Linearization, loss: Loss, units: int) -> Ended:
    """The climb from two starts led by powers of J^T J times a random vector.

    Without labels they maximise both ways what the last two powers say of (12); with labels the
    residual at x says which way, and the other start follows the gradient there.
    """
    goal = problem.goal
    turns = max(1, units // (PER_TURN if goal.own_answer else 2 * PER_TURN))
    now, older = _turned(problem, lin, turns)
    spent, promised = FORWARD + turns, None
    if goal.own_answer:
        etas, values = _both_maxima(problem, now, older)
        promised = values / (goal.members or 1) if loss == "squared_error" else None
    else:
        slope = -problem.gradient(lin, problem.losses(loss, lin.value).cotangent)
        along = np.einsum("nd,nd->n", now.pulled, slope)
        turned = np.where(along[:, None] < 0, -now.pulled, now.pulled)
        etas = [farthest(problem, direction) for direction in (turned, slope)]
        spent += BACKWARD
    starts = np.stack([_inside(problem, eta) for eta in etas])
    return climb(problem, starts, loss=loss, units=units, spent=spent, linear=promised)


def _both_maxima(problem: Problem, now: Seen, older: Seen) -> tuple[list[Array], Array]:
    """Two eta (n, d), and the larger (n,) of what norm_2(J eta)^2 is there, at least."""
    factor = orthonormal(now, older)[1]
    level, nowhere = np.zeros(factor.shape[:2], factor.dtype), np.zeros_like(problem.x)
    found = [
        ascend(problem, level, factor, nowhere, farthest(problem, sign * now.pulled))
        for sign in (1, -1)
    ]
    return [eta for eta, _ in found], np.maximum(found[0][1], found[1][1])


def _turned(problem: Problem, lin: Linearization, turns: int) -> tuple[Seen, Seen]:
    """u and J^T u at x for the last two of u = J r, J J^T J r, ... with a random r."""
    products = Products.at(problem.oracle, lin, problem.free)
    turned = sampling.random_on_sphere(
        problem.keys, START, np.ones(len(problem)), 2.0, problem.x.shape[1], problem.x.dtype
    )
    seen = []
    for _ in range(turns):
        image = products.push(turned)
        image /= np.maximum(row_norms(image, math.inf), TINY)[:, None].astype(image.dtype)
        turned = products.pull(image)
        seen.append(Seen(image, turned))
    return seen[-1], seen[-2:][0]
