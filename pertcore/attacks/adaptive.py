"""Auto-PGD, with the losses of AutoAttack and with every other class as a target in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pertcore.arrays import library
from pertcore.attacks.registry import register
from pertcore.attacks.starts import in_ball
from pertcore.closed_form.losses import class_differences
from pertcore.oracle import Array
from pertcore.solvers.descent import restarted
from pertcore.solvers.momentum import descend_adaptively
from pertcore.solvers.problem import Problem

Loss = str | Callable[..., Any]
Ended = tuple[Array, Array]


@register("apgd", at_x=False, device=True)
def apgd(
    problem: Problem, *, loss: Loss = "cross_entropy", steps: int = 100, restarts: int = 1
) -> Ended:
    """Auto-PGD: momentum, step sizes that halve by themselves (Croce and Hein 2020)."""

    def once(part: Problem, restart: int) -> Ended:
        return descend_adaptively(part, loss=loss, steps=steps, start=in_ball(part, restart))

    return restarted(problem, once, restarts)


@register("apgd-t", at_x=False, own_loss="dlr", device=True)
def apgd_t(problem: Problem, *, steps: int = 100, classes: int = 9, restarts: int = 1) -> Ended:
    """Auto-PGD on the targeted DLR loss, towards one of the `classes` best other classes a run.

    Croce and Hein 2020. Any class other than y is a success; with targeted=True the wanted class
    is the only target.
    """
    targets = best_others(problem, classes)

    def once(part: Problem, restart: int) -> Ended:
        toward = None if targets is None else targets[restart % len(targets)][part.index]
        return descend_adaptively(
            part, loss="dlr", steps=steps, start=in_ball(part, restart), toward=toward
        )

    return restarted(problem, once, restarts * (1 if targets is None else len(targets)))


def best_others(problem: Problem, classes: int) -> Array | None:
    """The best classes other than y at x, best first (c, size), by `problem.index`.

    c = min(classes, K - 1). None for a targeted attack, which has its class.
    """
    if problem.goal.targeted:
        return None
    scores = problem.goal.scores(problem.oracle(problem.shaped(problem.x)))
    if problem.goal.members is not None:
        scores = scores.mean(axis=1)
    _, _, numbers = class_differences(scores, problem.y, classes, decision=problem.goal.decision)
    size = int(problem.index.max()) + 1 if len(problem.index) else 0
    table = library(numbers).zeros((len(numbers), size), dtype=np.int64)
    table[:, problem.index] = numbers
    return table
