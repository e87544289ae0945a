"""One block of `pertcore attack`: attacked, and put in rows, here or in a worker of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pertcore.attacks.run import Progress
from pertcore.cli.arguments import AttackArguments
from pertcore.cli.problem import Problem, pose
from pertcore.evaluation.records import result_columns
from pertcore.evaluation.runs.engine import Work
from pertcore.evaluation.runs.failing import answered, surviving, with_failed
from pertcore.evaluation.runs.parts import Block
from pertcore.evaluation.runs.state import encoded
from pertcore.evaluation.stream import Batch, attacked_batch, joined, without_points
from pertcore.oracle import Array
from pertcore.result import AttackResult

TOP = 255  # the last of the 256 levels of --save-8bit


def posed_work(arguments: AttackArguments) -> Work:
    """The work of a worker, which reads model and data itself."""
    return block_work(pose(arguments))


def block_work(problem: Problem, callback: Callable[[Progress], None] | None = None) -> Work:
    """rows -> their block; a sample on which the model fails has status FAILED there."""

    def attacked(rows: slice) -> Batch:
        return attacked_batch(
            problem.oracle, problem.inputs, problem.y, rows=rows, callback=callback,
            settings=problem.settings, left_out=problem.left_out,
        )  # fmt: skip

    def work(rows: slice) -> Block:
        made, failed = surviving(rows, attacked)
        results = [batch.result for _, batch in made]
        return _block(problem, rows, joined(results) if results else None, results, failed)

    return work


def stored(problem: Problem, points: Array) -> Array:
    """Points as x_adv.npy holds them: the numbers of their levels, uint8, under --save-8bit."""
    if problem.settings.get("levels") is None:
        return points
    lo, hi = problem.settings["bounds"]
    return np.rint((points.astype(np.float64) - lo) * (TOP / (hi - lo))).astype(np.uint8)


def restored(problem: Problem, held: Array) -> Array:
    """What `stored` was given."""
    if problem.settings.get("levels") is None:
        return held
    lo, hi = problem.settings["bounds"]
    return (lo + held * ((hi - lo) / TOP)).astype(problem.oracle.dtype)


def lost_block(problem: Problem, index: int, reason: str) -> Block:
    """The block of a sample over which workers died."""
    return _block(problem, slice(index, index + 1), None, [], {index: reason})


def _block(
    problem: Problem,
    rows: slice,
    result: AttackResult | None,
    results: list[AttackResult],
    failed: dict[int, str],
) -> Block:
    kept = answered(rows, failed)
    given = (problem.labels, problem.targets)
    labels, targets = (None if part is None else part[rows] for part in given)
    known: dict[str, Any] = {}
    names = problem.inputs.names[rows]
    if names:
        known["name"] = np.array(names)
    if labels is not None and labels.ndim == 1:
        known["label"] = labels
    if targets is not None:
        known["target"] = targets
    made: dict[str, Any] = {}
    if result is not None:
        made = result_columns(
            result, rows.start, None if labels is None else labels[kept],
            None if targets is None else targets[kept],
            [name for name, there in zip(names, kept) if there],
        )  # fmt: skip
    columns = with_failed(made, rows, failed) | (known if failed else {})
    state = {} if result is None else encoded(without_points(result))
    points = stored(problem, _points(problem, rows, kept, results))
    return Block(rows.start, columns, points, state, failed)


def _points(problem: Problem, rows: slice, kept: Array, results: list[AttackResult]) -> Array:
    """(n, *sample): x_adv, and the sample as it was where the model failed."""
    points = [result.x_adv for result in results]
    if kept.all():
        return points[0] if len(points) == 1 else np.concatenate(points)
    whole = np.array(problem.inputs[rows])
    if points:
        whole[kept] = np.concatenate(points)
    return whole
