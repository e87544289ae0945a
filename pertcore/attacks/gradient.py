"""Attacks of a fixed budget by steps along the gradient: Algorithm 1 and its special cases.

Every one solves min L(x, eta) over norm_p(eta) <= eps (problem (4), linearised as (5), (6)) and
differs in loss, number of steps, dither and start alone (Table II). The box is part of every
step: the linear problem is solved over the ball intersected with the room that is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pertcore.attacks.registry import register
from pertcore.attacks.starts import around_own_answer, in_ball, on_sphere
from pertcore.closed_form import steps as closed
from pertcore.oracle import Array, Linearization
from pertcore.solvers.descent import DRAWS_PER_RESTART, Dither, Step, descend, restarted
from pertcore.solvers.problem import Problem

Loss = str | Callable[..., Any]
Ended = tuple[Array, Array]


@register("alg1", device=True)
def alg1(
    problem: Problem, first: Linearization | None, *, loss: Loss | None = None, steps: int = 10,
    dither: float | None = None, restarts: int = 1,
) -> Ended:  # fmt: skip
    """Algorithm 1: `steps` linear problems in balls of radius eps / steps; the steps add up.

    Loss: the margin for classification, the squared error for regression. `dither`: radius of
    the random vector added to the point of linearisation; by default 0, and eps / steps for
    regression without y, where the gradient at y = f(x) vanishes. Restarts begin at random points.
    """
    chosen = loss or problem.goal.loss
    blurred = around_own_answer(problem, steps, dither)

    def once(part: Problem, restart: int) -> Ended:
        start = in_ball(part, restart) if restart else None
        return descend(
            part, _ball_step(steps), loss=chosen, steps=steps, start=start,
            first=None if restart else first, dither=blurred, draw=restart * DRAWS_PER_RESTART,
        )  # fmt: skip

    return restarted(problem, once, restarts)


@register("linear", regression=True, device=True)
def linear(
    problem: Problem, first: Linearization | None, *, loss: Loss | None = None, steps: int = 10,
    dither: float | None = None, restarts: int = 1,
) -> Ended:  # fmt: skip
    """linear-l_p-T: Algorithm 1 on the squared error of a regression, with y or without."""
    return alg1(problem, first, loss=loss, steps=steps, dither=dither, restarts=restarts)


@register("alg2", own_loss="score", device=True)
def alg2(
    problem: Problem, first: Linearization | None, *, steps: int = 1, dither: float | None = None,
    restarts: int = 1,
) -> Ended:  # fmt: skip
    """Algorithm 2-T: Algorithm 1 with the score f_k alone, no maximum over the other classes."""
    return alg1(problem, first, loss="score", steps=steps, dither=dither, restarts=restarts)


@register("fgsm", device=True)
def fgsm(problem: Problem, first: Linearization | None, *, loss: Loss = "cross_entropy") -> Ended:
    """One step of the whole budget on the cross-entropy, for any norm (Goodfellow et al. 2015)."""
    return descend(problem, _ball_step(1), loss=loss, steps=1, first=first)


@register("rfgsm", at_x=False, device=True)
def rfgsm(
    problem: Problem, *, loss: Loss = "cross_entropy",
    rel_alpha: float = 0.5, restarts: int = 1,
) -> Ended:  # fmt: skip
    """A random step of rel_alpha * eps, then a gradient step of the rest (Tramer et al. 2018)."""

    def step(part: Problem, points: Array, gradient: Array) -> Array:
        return _moved(part, points, gradient, (1 - rel_alpha) * part.eps)

    def once(part: Problem, restart: int) -> Ended:
        return descend(part, step, loss=loss, steps=1, start=on_sphere(part, restart, rel_alpha))

    return restarted(problem, once, restarts)


@register("rfgsm-dithered", at_x=False, device=True)
def rfgsm_dithered(
    problem: Problem, *, loss: Loss = "cross_entropy",
    dither: float | None = None,
) -> Ended:  # fmt: skip
    """One step of the whole budget from x, its gradient taken at a dithered point (Table II).

    `dither`: the radius in the units of x, by default eps / 2.
    """
    return descend(problem, _ball_step(1), loss=loss, steps=1, dither=_first(0.5, dither))


@register("bim", device=True)
def bim(
    problem: Problem, first: Linearization | None, *, loss: Loss = "cross_entropy",
    steps: int = 10, step_size: float | None = None,
) -> Ended:  # fmt: skip
    """FGSM in steps of eps / steps, kept in ball and box (Kurakin et al. 2017)."""
    step = _ball_step(steps) if step_size is None else _projected_step(step_size, None, steps)
    return descend(problem, step, loss=loss, steps=steps, first=first)


@register("pgd", at_x=False, device=True)
def pgd(
    problem: Problem, *, loss: Loss = "cross_entropy",
    steps: int = 40, step_size: float | None = None, rel_step_size: float = 2.5,
    restarts: int = 1,
) -> Ended:  # fmt: skip
    """Projected gradient descent from a random point of the ball (Madry et al. 2018).

    The step is `step_size` in the units of x, else rel_step_size * eps / steps; after each step
    the Euclidean projection onto the ball intersected with the box.
    """
    step = _projected_step(step_size, rel_step_size, steps)

    def once(part: Problem, restart: int) -> Ended:
        return descend(part, step, loss=loss, steps=steps, start=in_ball(part, restart))

    return restarted(problem, once, restarts)


@register("pgd-dithered", at_x=False, device=True)
def pgd_dithered(
    problem: Problem, *, loss: Loss = "cross_entropy",
    steps: int = 10,
) -> Ended:  # fmt: skip
    """The paper's reading of PGD: Algorithm 1 with its first gradient dithered by eps, no start."""
    return descend(problem, _ball_step(steps), loss=loss, steps=steps, dither=_first(1.0, None))


@register("ensemble", at_x=False)
def ensemble(
    problem: Problem, *, loss: Loss = "cross_entropy",
    steps: int = 1, dither: float | None = None,
) -> Ended:  # fmt: skip
    """Averaged losses of several models, dithered (Tramer et al. 2018); give `pertcore.ensemble`.

    Success means that every member is fooled. One model alone is an ensemble of one. The first
    gradient is taken at a random point of radius `dither`, by default eps / 2.
    """
    return descend(problem, _ball_step(steps), loss=loss, steps=steps, dither=_first(0.5, dither))


def _ball_step(steps: int) -> Step:
    def step(problem: Problem, points: Array, gradient: Array) -> Array:
        return _moved(problem, points, gradient, problem.eps / steps)

    return step


def _moved(problem: Problem, points: Array, gradient: Array, radius: Array) -> Array:
    box = problem.box
    return closed.ball_step(
        problem.x, points, gradient, radius, problem.eps, problem.norm, box.lo, box.hi
    )


def _projected_step(step_size: float | None, rel_step_size: float | None, steps: int) -> Step:
    def step(problem: Problem, points: Array, gradient: Array) -> Array:
        size = problem.eps * (rel_step_size or 0) / steps
        if step_size is not None:
            size = np.full_like(problem.eps, step_size)
        return closed.pgd_step(
            problem.x, points, gradient, size, problem.eps, problem.norm,
            problem.box.lo, problem.box.hi,
        )  # fmt: skip

    return step


def _first(rel_dither: float, dither: float | None) -> Dither:
    def radius(problem: Problem, t: int) -> Array:
        if t:
            return np.zeros_like(problem.eps)
        return problem.eps * rel_dither if dither is None else np.full_like(problem.eps, dither)

    return radius
