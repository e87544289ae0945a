"""One block of `pertcore curve` or `robustness`: measured, and put in rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pertcore.attacks.registry import find
from pertcore.attacks.run import Progress
from pertcore.cli.arguments import AttackArguments, numbers
from pertcore.cli.block_rows import block_of, given_of
from pertcore.cli.problem import Problem, pose
from pertcore.errors import InputError, PertcoreWarning
from pertcore.evaluation.curve import Curve, checked_budgets, checked_once
from pertcore.evaluation.regression_curve import RegressionCurve
from pertcore.evaluation.robustness import check_task, limits
from pertcore.evaluation.runs.engine import Work
from pertcore.evaluation.runs.failing import surviving
from pertcore.evaluation.runs.measures import (
    MEASURES,
    Measured,
    Told,
    joined,
    measured_columns,
    rows_of,
)
from pertcore.evaluation.runs.parts import Block
from pertcore.oracle import Array
from pertcore.result import Status

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


def settings_of(arguments: AttackArguments, problem: Problem) -> dict[str, Any]:
    """What `pertcore.curve` or `pertcore.robustness` is given beside model and samples."""
    own = {name: value for name, value in problem.settings.items() if name != "eps"}
    if arguments.kind == "curve":
        return {**own, "eps": budgets(arguments)}
    return {**own, "largest": arguments.number("largest")}


def check(arguments: AttackArguments, problem: Problem) -> None:
    """Raises InputError for whatever the first block would refuse; runs no model."""
    own = settings_of(arguments, problem)
    name, eps = own.pop("attack"), own.pop("eps", np.zeros(1))
    if arguments.kind == "robustness":
        limits(own.pop("tolerance", 0.05), own.pop("largest"))
    del own["rng"]
    y = None if problem.y is None else problem.y[:1]
    given = checked_once(find(name), problem.oracle, problem.inputs[0:1], y, eps, own)
    if arguments.kind == "robustness":
        check_task(given)


def posed_work(arguments: AttackArguments) -> Work:
    """The work of a worker, which reads model and data itself."""
    return block_work(arguments, pose(arguments))


def block_work(
    arguments: AttackArguments,
    problem: Problem,
    callback: Callable[[Progress], None] | None = None,
) -> Work:
    """rows -> their block; a sample on which the model fails has status FAILED there."""
    measure, settings = MEASURES[arguments.kind], settings_of(arguments, problem)

    def measured(rows: slice) -> Measured:
        x, y = problem.inputs[rows], None if problem.y is None else problem.y[rows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PertcoreWarning)
            found = measure(
                problem.oracle, x, y, first_index=rows.start, callback=callback, **settings
            )
        if problem.left_out is not None:
            found = untouched(found, x, problem.left_out[rows])
        return found

    def work(rows: slice) -> Block:
        made, failed = surviving(rows, measured)
        if not made:
            return block_of(problem, rows, failed, {}, [], {})
        columns = rows_of(
            measured_columns(found, part.start, *given_of(problem, part)) for part, found in made
        )
        points = [np.asarray(found.x_adv) for _, found in made]
        state = joined([Told.of(found) for _, found in made]).state()
        return block_of(problem, rows, failed, columns, points, state)

    return work


def untouched(found: Measured, x: Array, rows: Array) -> Measured:
    """The result with samples `rows`, (n,) bool, as they were: their label is the target."""
    if isinstance(found, RegressionCurve) or not rows.any():
        return found
    name = "in_vain" if isinstance(found, Curve) else "linear"
    own: dict[str, Any] = {name: np.where(rows, 0.0, getattr(found, name))}
    kept = ~rows.reshape(-1, *[1] * (x.ndim - 1))
    return replace(
        found, norms=np.where(rows, 0.0, found.norms), x_adv=np.where(kept, found.x_adv, x),
        attackable=found.attackable & ~rows, after=np.where(rows, found.before, found.after),
        status=np.where(rows, Status.CLEAN_ERROR, found.status).astype(found.status.dtype), **own,
    )  # fmt: skip
