"""The last word: success, margins and norms recomputed from x_adv on the user's own model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from pertcore.arrays import library, to_host
from pertcore.closed_form import metrics as closed
from pertcore.closed_form.norms import row_norms
from pertcore.oracle import Array, Oracle
from pertcore.result import Status
from pertcore.solvers.problem import Goal


@dataclass(frozen=True)
class Clean:
    """The answer at x: value (n, *out), predicted class or -1 (n,), y as the attack uses it.

    error: (n,) bool, wrong before any attack, or already at the wanted class; broken: (n,) bool,
    the answer is not finite. Nobody of either is attacked.
    """

    value: Array
    before: Array
    y: Array
    error: Array
    broken: Array


@dataclass(frozen=True)
class Verified:
    """One verified batch; every field (n, ...), or a dict of such, named as in `AttackResult`.

    All but x_adv, which stays where the attack ran, are NumPy arrays.
    """

    x_adv: Array
    success: Array
    status: Array
    margin: Array
    before: Array
    after: Array
    loss_before: Array
    loss_after: Array
    metrics: dict[str, Array] = field(default_factory=dict)


def clean_answer(value: Array, y: Array | None, goal: Goal) -> Clean:
    """What is right at x: y = None takes the model's own class k(x), or f(x) for regression."""
    broken = np.any(~np.isfinite(value.reshape(len(value), -1)), axis=1)
    if goal.task == "regression":
        flat = value.reshape(len(value), -1)
        target = flat.copy() if y is None else y
        return Clean(value, predicted(value, goal), target, np.zeros_like(broken), broken)
    before = predicted(value, goal)
    labels = np.maximum(before, 0) if y is None else y
    if goal.targeted:
        wrong = before == labels
    elif goal.members is None:
        wrong = before != labels
    else:
        wrong = goal.rows("margin", value, labels).margin < 0
    return Clean(value, before, labels, wrong & ~broken, broken)


def predicted(value: Array, goal: Goal) -> Array:
    """Class (n,) int64 by argmax; by `decision` for one logit; ensembles vote by mean score.

    -1 for regression and where a score is not finite.
    """
    if goal.task == "regression":
        return library(value).full(len(value), -1, dtype=np.int64)
    scores = goal.scores(value)
    if goal.members is not None:
        scores = scores.mean(axis=1)
    single = scores.shape[1] == 1
    classes = scores[:, 0] > goal.decision if single else scores.argmax(axis=1)
    return np.where(np.isfinite(scores).all(axis=1), classes.astype(np.int64), -1)


def verify(
    oracle: Oracle, points: Array, status: Array, clean: Clean, goal: Goal,
    metrics: Mapping[str, closed.Metric],
) -> Verified:  # fmt: skip
    """One forward run at the points (n, d) decides; what a recipe claimed is only its status."""
    value = oracle(points.reshape(len(points), *oracle.input_shape))
    at_x = goal.rows(goal.loss, clean.value, clean.y).value
    at_points = goal.rows(goal.loss, value, clean.y).value
    if goal.task == "classification":
        margin = goal.rows("margin", value, clean.y).margin
        success = margin < 0
    else:
        margin = np.full_like(at_points, np.nan)
        success = at_points < at_x
        if goal.threshold is not None:
            success = goal.past_threshold(at_points)
    success &= ~(clean.error | clean.broken)
    final = status.astype(np.int8)
    final[(final == int(Status.OK)) & ~success] = int(Status.NOT_ADVERSARIAL)
    final[success] = int(Status.OK)
    final[clean.error] = int(Status.CLEAN_ERROR)
    final[~np.isfinite(at_points) | clean.broken] = int(Status.NONFINITE)
    measured = {}
    if metrics:
        flat = to_host(value).reshape(len(value), -1)
        measured = closed.measured(metrics, flat, to_host(clean.y))
    return Verified(
        x_adv=points, success=to_host(success), status=to_host(final), margin=to_host(margin),
        before=to_host(clean.before), after=to_host(predicted(value, goal)),
        loss_before=to_host(goal.shown(at_x)), loss_after=to_host(goal.shown(at_points)),
        metrics=measured,
    )  # fmt: skip


def joined(parts: list[Verified]) -> Verified:
    """Batches in order as one."""
    rows = {
        f.name: np.concatenate([getattr(p, f.name) for p in parts])
        for f in fields(Verified)
        if f.name != "metrics"
    }
    names = parts[0].metrics
    return Verified(
        **rows, metrics={k: np.concatenate([p.metrics[k] for p in parts]) for k in names}
    )


def differences(x: Array, x_adv: Array, norm: float) -> tuple[Array, Array]:
    """delta = float64(x_adv) - float64(x), flat (n, d), and its float64 norms (n,), in NumPy."""
    flat = x.reshape(len(x), -1)
    delta = x_adv.astype(np.float64) - flat.astype(np.float64)
    return delta, to_host(row_norms(delta, norm))
