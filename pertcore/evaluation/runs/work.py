"""One block of a run: attacked or measured, and put in rows, here or in a worker of a cluster."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pertcore.attacks.run import Progress
from pertcore.errors import PertcoreWarning
from pertcore.evaluation import stream
from pertcore.evaluation.curve import Curve
from pertcore.evaluation.records import result_columns
from pertcore.evaluation.regression_curve import RegressionCurve
from pertcore.evaluation.runs import measures
from pertcore.evaluation.runs.engine import Work
from pertcore.evaluation.runs.failing import FAILURES, surviving
from pertcore.evaluation.runs.measures import MEASURES, Measured, Told, measured_columns, rows_of
from pertcore.evaluation.runs.parts import Block
from pertcore.evaluation.runs.rows import Posed, block_of, given_of
from pertcore.evaluation.runs.state import encoded
from pertcore.oracle import Array
from pertcore.result import Status

Step = Callable[[Progress], None]
Failures = tuple[type[Exception], ...]


def block_work(
    problem: Posed, kind: str, callback: Step | None = None, failures: Failures = FAILURES
) -> Work:
    """rows -> their block in a run of this kind; a sample that meets one of the failures has
    status FAILED there."""
    if kind == "attack":
        return partial(_attacked, problem, callback, failures)
    return partial(_measured, problem, MEASURES[kind], callback, failures)


def _attacked(problem: Posed, callback: Step | None, failures: Failures, rows: slice) -> Block:
    def attacked(part: slice) -> stream.Batch:
        return stream.attacked_batch(
            problem.oracle, problem.inputs, problem.y, rows=part, callback=callback,
            settings=problem.settings, left_out=problem.left_out,
        )  # fmt: skip

    made, failed = surviving(rows, attacked, failures)
    if not made:
        return block_of(problem, rows, failed, {}, [], {})
    results = [batch.result for _, batch in made]
    columns = rows_of(
        result_columns(batch.result, part.start, *given_of(problem, part)) for part, batch in made
    )
    state = encoded(stream.without_points(stream.joined(results)))
    return block_of(problem, rows, failed, columns, [r.x_adv for r in results], state)


def _measured(
    problem: Posed,
    measure: Callable[..., Measured],
    callback: Step | None,
    failures: Failures,
    rows: slice,
) -> Block:
    def measured(part: slice) -> Measured:
        x, y = problem.inputs[part], None if problem.y is None else problem.y[part]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PertcoreWarning)
            found = measure(
                problem.oracle, x, y, first_index=part.start, callback=callback,
                **problem.settings,
            )  # fmt: skip
        left = problem.left_out
        return found if left is None else untouched(found, x, left[part])

    made, failed = surviving(rows, measured, failures)
    if not made:
        return block_of(problem, rows, failed, {}, [], {})
    columns = rows_of(
        measured_columns(found, part.start, *given_of(problem, part)) for part, found in made
    )
    points = [np.asarray(found.x_adv) for _, found in made]
    state = measures.joined([Told.of(found) for _, found in made]).state()
    return block_of(problem, rows, failed, columns, points, state)


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
