"""What every kind of block is put together from, samples on which the model failed among it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from pertcore.evaluation.runs.failing import answered, with_failed
from pertcore.evaluation.runs.parts import Block
from pertcore.evaluation.stream import Samples
from pertcore.oracle import Array, Oracle

BYTE = 256  # levels that uint8 tells apart


class NamedSamples(Samples, Protocol):
    """Samples that may have a name each."""

    @property
    def names(self) -> Sequence[str]: ...


class Posed(Protocol):
    """A model, samples and what an attack is asked for; slices of samples give their part."""

    @property
    def oracle(self) -> Oracle: ...

    @property
    def inputs(self) -> NamedSamples: ...

    @property
    def labels(self) -> Any:
        """(n, ...) or None."""

    @property
    def targets(self) -> Any:
        """(n,) wanted classes or None."""

    @property
    def settings(self) -> dict[str, Any]: ...

    @property
    def y(self) -> Any:
        """What the attack is given: targets where there are any, else labels."""

    @property
    def left_out(self) -> Array | None:
        """(n,) bool: samples that are not attacked, their label being the target already."""


def given_of(problem: Posed, rows: slice) -> tuple[Array | None, Array | None, Sequence[str]]:
    """Labels, targets and names of the samples `rows`, as a row of results is told them."""
    labels, targets = (None if v is None else v[rows] for v in (problem.labels, problem.targets))
    return labels, targets, problem.inputs.names[rows]


def block_of(
    problem: Posed,
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


def lost_block(problem: Posed, index: int, reason: str) -> Block:
    """The block of a sample over which workers died."""
    return block_of(problem, slice(index, index + 1), {index: reason}, {}, [], {})


def stored(problem: Posed, points: Array) -> Array:
    """Points as x_adv.npy holds them: the numbers of their levels, uint8, where a byte holds
    them."""
    steps = _steps(problem)
    if steps is None:
        return points
    lo, width, last = steps
    return np.rint((points.astype(np.float64) - lo) * (last / width)).astype(np.uint8)


def restored(problem: Posed, held: Array) -> Array:
    """What `stored` was given."""
    steps = _steps(problem)
    if steps is None:
        return held
    lo, width, last = steps
    return (lo + held * (width / last)).astype(problem.oracle.dtype)


def _steps(problem: Posed) -> tuple[float, float, int] | None:
    """Lowest value, width of the box and last level, where points are kept as levels."""
    levels = problem.settings.get("levels")
    bounds: Any = problem.settings.get("bounds")
    if levels is None or levels > BYTE or any(np.ndim(end) for end in bounds):
        return None
    lo, hi = map(float, bounds)
    return lo, hi - lo, int(levels) - 1


def _known(problem: Posed, rows: slice) -> dict[str, Any]:
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


def _points(problem: Posed, rows: slice, kept: Array, points: Sequence[Array]) -> Array:
    """(n, *sample): x_adv, and the sample as it was where the model failed."""
    if kept.all():
        return points[0] if len(points) == 1 else np.concatenate(points)
    whole = np.array(problem.inputs[rows])
    if points:
        whole[kept] = np.concatenate(points)
    return whole
