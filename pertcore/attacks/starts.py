"""Random points of the ball: where restarts and dithers lead, and what chance alone does."""

from __future__ import annotations

import numpy as np

from pertcore.closed_form import exact, sampling
from pertcore.closed_form.norms import row_norms
from pertcore.oracle import Array
from pertcore.solvers.descent import DRAWS_PER_RESTART, Dither
from pertcore.solvers.problem import Problem


def in_ball(problem: Problem, restart: int) -> Array:
    """x plus a uniform draw from the ball of eps, inside the box (n, d); frozen features stay."""
    noise = sampling.random_in_ball(
        problem.keys, restart * DRAWS_PER_RESTART, problem.eps, problem.norm,
        problem.x.shape[1], problem.x.dtype,
    )  # fmt: skip
    return _placed(problem, noise if problem.free is None else noise * problem.free)


def on_sphere(problem: Problem, restart: int, share: float = 1.0) -> Array:
    """x plus a random vector of norm share * eps on the free features, inside the box (n, d).

    p = inf: random signs; p = 2: a normalised Gaussian; other p: the normalised generalised one.
    """
    radius = share * problem.eps
    noise = sampling.random_on_sphere(
        problem.keys, restart * DRAWS_PER_RESTART, radius, problem.norm, problem.x.shape[1],
        problem.x.dtype,
    )  # fmt: skip
    if problem.free is not None:
        noise = noise * problem.free
        length = np.maximum(row_norms(noise, problem.norm), np.finfo(noise.dtype).tiny)
        noise *= (radius / length)[:, None].astype(noise.dtype)
    return _placed(problem, noise)


def around_own_answer(problem: Problem, steps: int, dither: float | None) -> Dither | None:
    """The dither asked for; by default eps / steps for regression without y, else none.

    Where y = f(x) the gradient of the squared error vanishes at x (Balda et al., after (15)).
    """
    if dither is None and problem.goal.task == "regression" and problem.goal.own_answer:
        return lambda part, _t: part.eps / steps
    if not dither:
        return None
    return lambda part, _t: np.full(len(part), dither)


def _placed(problem: Problem, noise: Array) -> Array:
    box = problem.box
    return exact.finish(
        problem.x, problem.x + noise, problem.eps, problem.norm, box.lo, box.hi
    )  # fmt: skip
