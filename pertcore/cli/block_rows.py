"""What every kind of block is put together from, samples on which the model failed among it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.cli.problem import Problem
from pertcore.evaluation.runs.failing import answered, with_failed
from pertcore.evaluation.runs.parts import Block
from pertcore.oracle import Array

TOP = 255  # the last of the 256 levels of --save-8bit


def given_of(problem: Problem, rows: slice) -> tuple[Array | None, Array | None, Sequence[str]]:
    """Labels, targets and names of the samples `rows`, as a row of results is told them."""
    labels, targets = (None if v is None else v[rows] for v in (problem.labels, problem.targets))
    return labels, targets, problem.inputs.names[rows]


def block_of(
    problem: Problem,
    rows: slice,
    failed: dict[int, str],
    columns: dict[str, Any],
    points: Sequence[Array],
    state: dict[str, Any],
) -> Block:
    """The block of the samples `rows` from what is known of those that did not fail."""
    if failed:
        columns = with_failed(columns, rows, failed) | _known(problem, rows)
    whole = _points(problem, rows, answered(rows, failed), points)
    return Block(rows.start, columns, stored(problem, whole), state, failed)


def lost_block(problem: Problem, index: int, reason: str) -> Block:
    """The block of a sample over which workers died."""
    return block_of(problem, slice(index, index + 1), {index: reason}, {}, [], {})


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


def _known(problem: Problem, rows: slice) -> dict[str, Any]:
    """What stands in the row of a sample whatever the model makes of it."""
    labels, targets, names = given_of(problem, rows)
    found: dict[str, Any] = {}
    if names:
        found["name"] = np.array(names)
    if labels is not None and labels.ndim == 1:
        found["label"] = labels
    if targets is not None:
        found["target"] = targets
    return found


def _points(problem: Problem, rows: slice, kept: Array, points: Sequence[Array]) -> Array:
    """(n, *sample): x_adv, and the sample as it was where the model failed."""
    if kept.all():
        return points[0] if len(points) == 1 else np.concatenate(points)
    whole = np.array(problem.inputs[rows])
    if points:
        whole[kept] = np.concatenate(points)
    return whole
