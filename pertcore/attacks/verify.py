"""The last word: success, margins and norms recomputed from x_adv on the user's own model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from pertcore.oracle import Array, Oracle
from pertcore.result import Status
from pertcore.solvers.problem import Goal


@dataclass(frozen=True)
class Clean:
    """The answer at x: value (n, *out), predicted class or -1 (n,), and y as the attack uses it."""

    value: Array
    before: Array
    y: Array
    error: Array


@dataclass(frozen=True)
class Verified:
    """One verified batch; every field (n, ...), named as in `AttackResult`."""

    x_adv: Array
    success: Array
    status: Array
    margin: Array
    before: Array
    after: Array
    loss_before: Array
    loss_after: Array


def clean_answer(value: Array, y: Array | None, goal: Goal) -> Clean:
    """What is right at x: y = None takes the model's own class k(x), or f(x) for regression."""
    if goal.task == "regression":
        flat = value.reshape(len(value), -1)
        target = np.array(flat) if y is None else y
        nobody = np.zeros(len(value), dtype=bool)
        return Clean(value, np.full(len(value), -1), target, nobody)
    before = predicted(value, goal)
    labels = before if y is None else y
    wrong = np.zeros(len(value), dtype=bool) if goal.targeted else before != labels
    return Clean(value, before, labels, wrong)


def predicted(value: Array, goal: Goal) -> Array:
    """Class (n,) int64 by argmax; by `decision` for one logit; ensembles vote by mean score."""
    scores = goal.scores(value)
    if goal.members is not None:
        scores = scores.mean(axis=1)
    if scores.shape[1] == 1:
        return (scores[:, 0] > goal.decision).astype(np.int64)
    return scores.argmax(axis=1)


def verify(
    oracle: Oracle, points: Array, status: Array, clean: Clean, goal: Goal, loss: Any
) -> Verified:
    """One forward run at the points (n, d) decides; what a recipe claimed is only its status."""
    value = oracle(points.reshape(len(points), *oracle.input_shape))
    at_x, at_points = goal.rows(loss, clean.value, clean.y), goal.rows(loss, value, clean.y)
    sign = -1.0 if goal.task == "regression" and loss == "squared_error" else 1.0
    before, after = sign * at_x.value, sign * at_points.value
    if goal.task == "classification":
        margin = goal.rows("margin", value, clean.y).margin
        success, classes = (margin < 0) & ~clean.error, predicted(value, goal)
    else:
        margin, classes = np.full(len(points), np.nan), np.full(len(points), -1)
        better = sign * after < sign * before
        success = better if goal.threshold is None else after >= goal.threshold
    final = np.array(status, dtype=np.int8)
    final[(final == Status.OK) & ~success] = Status.NOT_ADVERSARIAL
    final[~np.isfinite(at_points.value)] = Status.NONFINITE
    final[success] = Status.OK
    final[clean.error] = Status.CLEAN_ERROR
    return Verified(points, success, final, margin, clean.before, classes, before, after)


def joined(parts: list[Verified]) -> Verified:
    """Batches in order as one."""
    return Verified(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Verified))
    )


def differences(x: Array, x_adv: Array, norm: float) -> tuple[Array, Array]:
    """delta = float64(x_adv) - float64(x), flat (n, d), and its float64 norms (n,)."""
    flat = x.reshape(len(x), -1)
    delta = x_adv.astype(np.float64) - flat.astype(np.float64)
    return delta, np.linalg.norm(delta, ord=norm, axis=1)
