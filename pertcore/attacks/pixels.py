"""Attacks that change few subsets of the input, such as pixels, by the full budget each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pertcore.attacks.registry import register
from pertcore.attacks.starts import around_own_answer
from pertcore.closed_form import sampling, subsets
from pertcore.oracle import Array, Linearization
from pertcore.result import Status
from pertcore.solvers.descent import DRAWS_PER_RESTART, descend, restarted
from pertcore.solvers.problem import Problem

Loss = str | Callable[..., Any]
Ended = tuple[Array, Array]


@register("subset", subset=True)
def subset(
    problem: Problem, first: Linearization | None, *, loss: Loss = "margin",
    dither: float | None = None,
) -> Ended:  # fmt: skip
    """One subset by (22): eps * sign(g) on the subset where the linear loss falls most."""
    return pixel(problem, first, loss=loss, steps=1, dither=dither)


@register("pixel", subset=True)
def pixel(
    problem: Problem, first: Linearization | None, *, loss: Loss = "margin", steps: int = 10,
    dither: float | None = None,
) -> Ended:  # fmt: skip
    """linear-pixel-T: (22) iterated, each step one new subset, earlier ones excluded."""
    partition = problem.subsets(steps)
    used = np.zeros((int(problem.index.max(initial=-1)) + 1, partition.count), dtype=bool)

    def step(part: Problem, points: Array, gradient: Array) -> Array:
        box = part.box
        chosen = subsets.best_subset(
            gradient, points, partition, part.eps, box.lo, box.hi, used[part.index]
        )
        used[part.index[chosen >= 0], chosen[chosen >= 0]] = True
        return subsets.subset_step(points, gradient, partition, chosen, part.eps, box.lo, box.hi)

    return descend(
        problem, step, loss=loss, steps=steps, first=first,
        dither=around_own_answer(problem, steps, dither),
    )  # fmt: skip


@register("random-pixel", at_x=False, subset=True, blind=True)
def random_pixel(problem: Problem, *, steps: int = 10, restarts: int = 1) -> Ended:
    """Baseline: `steps` random subsets changed by random signs times eps, best of `restarts`."""
    partition = problem.subsets(steps)

    def once(part: Problem, restart: int) -> Ended:
        draw, box = restart * DRAWS_PER_RESTART, part.box
        chosen = sampling.random_order(part.keys, draw, partition.count, steps)
        part.report(restart + 1, restarts, len(part))
        signs = sampling.random_on_sphere(
            part.keys, draw + 1, np.ones(len(part)), math.inf, part.x.shape[1], part.x.dtype
        )
        points = part.x
        if part.free is not None:
            signs = signs * part.free
        for t in range(steps):
            points = subsets.subset_step(
                points, signs, partition, np.ascontiguousarray(chosen[:, t]), part.eps,
                box.lo, box.hi,
            )  # fmt: skip
        return points, np.full(len(part), Status.MAX_STEPS, dtype=np.int8)

    return restarted(problem, once, restarts)
