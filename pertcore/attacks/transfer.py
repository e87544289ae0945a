"""Examples crafted on one model, judged on another that the attack never saw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pertcore.attacks.verify import clean_answer, joined, verify
from pertcore.errors import InputError
from pertcore.oracle import Array, Oracle
from pertcore.result import Transfer
from pertcore.solvers.problem import Goal


def check_target(target: Any, oracle: Oracle) -> None:
    """InputError unless `target` is an oracle that takes and gives what the attacked one does."""
    if not callable(target) or not hasattr(target, "output_shape"):
        raise InputError(
            f"evaluate_on is a {type(target).__name__}: give a model such as "
            "pertcore.from_onnx(path), as the first argument is one"
        )
    kinds = [(tuple(m.input_shape), _answer(m)) for m in (target, oracle)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"evaluate_on takes {kinds[0][0]} and gives {kinds[0][1]}; the attacked model takes "
            f"{kinds[1][0]} and gives {kinds[1][1]}: they must be for the same samples and classes"
        )


def _answer(model: Oracle) -> tuple[int, ...]:
    shape = tuple(model.output_shape)
    return shape if getattr(model, "ensemble_size", None) is None else shape[1:]


def transferred(
    target: Oracle, x: Array, points: Array, y: Array | None, goal: Goal, batch: int
) -> Transfer:
    """What `target` makes of x (n, *sample) and of the points (n, d) found on another model.

    y = None takes the target's own answers at x; its errors at x are not counted as success.
    """
    own = replace(goal, members=getattr(target, "ensemble_size", None))
    parts, errors = [], []
    for begin in range(0, len(x), batch):
        rows = slice(begin, begin + batch)
        stored = np.ascontiguousarray(x[rows], dtype=target.dtype)
        clean = clean_answer(target(stored), None if y is None else y[rows], own)
        moved = np.ascontiguousarray(points[rows], dtype=target.dtype)
        status = np.zeros(len(stored), dtype=np.int8)
        parts.append(verify(target, moved, status, clean, own, {}))
        errors.append(clean.error | clean.broken)
    seen = joined(parts)
    return Transfer(
        success=seen.success, attackable=~np.concatenate(errors), margin=seen.margin,
        before=seen.before, after=seen.after,
    )  # fmt: skip
