"""Attacks that run the model and ask for no derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pertcore.attacks.registry import register
from pertcore.oracle import Array
from pertcore.solvers.descent import DRAWS_PER_RESTART, restarted
from pertcore.solvers.problem import Problem
from pertcore.solvers.squares import search_squares

Loss = str | Callable[..., Any]


@register("square", at_x=False, blind=True)
def square(
    problem: Problem, *, loss: Loss = "margin", steps: int = 1000, restarts: int = 1
) -> tuple[Array, Array]:
    """Square Attack: random squares, kept where the loss falls (Andriushchenko et al. 2020).

    A step is one run of the model a sample. Samples that are no images are taken as one row.
    """

    def once(part: Problem, restart: int) -> tuple[Array, Array]:
        return search_squares(part, loss=loss, queries=steps, draw=restart * DRAWS_PER_RESTART)

    return restarted(problem, once, restarts)
