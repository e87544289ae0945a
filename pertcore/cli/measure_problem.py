"""From flags to the problem of `pertcore curve` or `robustness`, refused before any work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pertcore.cli.arguments import AttackArguments, numbers
from pertcore.cli.problem import Problem, pose
from pertcore.errors import InputError
from pertcore.evaluation.curve import checked_budgets
from pertcore.evaluation.runs.checked import check
from pertcore.evaluation.runs.engine import Work
from pertcore.evaluation.runs.work import block_work
from pertcore.oracle import Array

STEPS = 20


def budgets(arguments: AttackArguments) -> Array:
    """The budgets of a curve: those listed by --eps, or --points equal steps from 0 to it."""
    if arguments.eps is None:
        raise InputError(
            "--eps is missing: give the budgets, as 0,2/255,8/255, or the largest and --points"
        )
    listed = numbers(arguments.eps, "--eps")
    if len(listed) > 1:
        if arguments.points is not None:
            raise InputError(f"--points {arguments.points}: --eps lists the budgets already")
        return checked_budgets(listed)
    steps = STEPS if arguments.points is None else arguments.points
    if steps < 1:
        raise InputError(f"--points {steps}: expected a whole number >= 1")
    if not listed[0] > 0:
        raise InputError(f"--eps {arguments.eps}: the largest budget is above 0")
    return checked_budgets(np.linspace(0, checked_budgets(listed)[0], steps + 1))


def pose_measure(arguments: AttackArguments) -> Problem:
    """The problem whose settings are those of `pertcore.curve` or `pertcore.robustness`.

    Raises InputError for whatever the first block would refuse; runs no model.
    """
    problem = pose(arguments)
    problem = replace(problem, settings=_settings(arguments, problem))
    y = None if problem.y is None else problem.y[:1]
    check(arguments.kind, problem.oracle, problem.inputs[0:1], y, problem.settings)
    return problem


def posed_work(arguments: AttackArguments) -> Work:
    """The work of a worker, which reads model and data itself."""
    return block_work(pose_measure(arguments), arguments.kind)


def _settings(arguments: AttackArguments, problem: Problem) -> dict[str, Any]:
    own = {name: value for name, value in problem.settings.items() if name != "eps"}
    if arguments.kind == "curve":
        return {**own, "eps": budgets(arguments)}
    return {**own, "largest": arguments.number("largest")}
