"""Random points of the ball: where restarts and dithers lead, and what chance alone does."""

from __future__ import annotations

import math

import numpy as np

from pertcore.closed_form import exact, sampling
from pertcore.closed_form.norms import row_norms
from pertcore.oracle import Array
from pertcore.solvers.descent import DRAWS_PER_RESTART, Dither
from pertcore.solvers.problem import Problem
from pertcore.solvers.squares import Plane

# How many sizes the blocks of `in_blocks` have.
SCALES = 5


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
    return _placed(problem, noise if problem.free is None else _scaled(problem, noise, radius))


def in_blocks(problem: Problem, restart: int) -> Array:
    """x plus random signs that are equal within blocks of the image, of norm eps (n, d).

    With every restart the blocks have half the side, from the whole image down to a 16th, then
    the whole again; a sample that is no image is a row of blocks. Where a ReLU is off all around
    x a gradient says nothing of what it would do: patterns at many scales turn some on, as those
    of the square attack do.
    """
    plane = Plane.of(problem.oracle.input_shape)
    side = math.ceil(max(plane.height, plane.width) / 2 ** (restart % SCALES))
    down, along = math.ceil(plane.height / side), math.ceil(plane.width / side)
    signs = sampling.random_on_sphere(
        problem.keys, restart * DRAWS_PER_RESTART, np.ones(len(problem)), math.inf,
        plane.channels * down * along, problem.x.dtype,
    )  # fmt: skip
    blocks = signs.reshape(-1, plane.channels, down, along)
    spread = blocks.repeat(side, axis=2).repeat(side, axis=3)
    noise = plane.fold(spread[:, :, : plane.height, : plane.width])
    return _placed(problem, _scaled(problem, noise, problem.eps))


def around_own_answer(problem: Problem, steps: int, dither: float | None) -> Dither | None:
    """The dither asked for; by default eps / steps for regression without y, else none.

    Where y = f(x) the gradient of the squared error vanishes at x (Balda et al., after (15)).
    """
    if dither is None and problem.goal.task == "regression" and problem.goal.own_answer:
        return lambda part, _t: part.eps / steps
    if not dither:
        return None
    return lambda part, _t: np.full_like(part.eps, dither)


def _scaled(problem: Problem, noise: Array, radius: Array) -> Array:
    """The noise on the free features, rescaled to norm `radius` (n,)."""
    kept = noise if problem.free is None else noise * problem.free
    length = np.maximum(row_norms(kept, problem.norm), np.finfo(noise.dtype).tiny)
    return kept * (radius / length)[:, None].astype(noise.dtype)


def _placed(problem: Problem, noise: Array) -> Array:
    box = problem.box
    return exact.finish(
        problem.x, problem.x + noise, problem.eps, problem.norm, box.lo, box.hi
    )  # fmt: skip
