"""Losses of classifiers and regressors: value, cotangent, margin and runner-up in one pass.

Every loss is minimised by an attack. Where a row of f holds a NaN or an infinity, value,
cotangent and margin of that sample are NaN and its runner-up is -1: it never counts as fooled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pertcore.arrays import contiguous, library
from pertcore.errors import InputError
from pertcore.kernels.catalogue import kernel
from pertcore.oracle import Array

Loss = Callable[[Array, Array], tuple[Array, Array]]

GOALS = ("minimise", "maximise")


@dataclass(frozen=True)
class LossRows:
    """One loss at n outputs: `value` (n,) float64; `cotangent` = d value / d f, shape and dtype of
    f; `margin` (n,) float64, strictly below zero where fooled, NaN for regression; `runner_up`
    (n,) int64, the best class other than the label (first of equals), -1 where there is none.
    """

    value: Array
    cotangent: Array
    margin: Array
    runner_up: Array


def margin(f: Array, y: Array, targeted: bool = False) -> LossRows:
    """Margin of outputs f (n, K >= 2) for labels y (n,): f_y - max_{j != y} f_j; Algorithm 1.

    Targeted, y is the wanted class and the value max_{j != y} f_j - f_y: the stronger form of
    (23), Balda, Behboodi and Mathar. Of equal best classes the first carries the cotangent.
    """
    return _classification("margin_loss", f, y, targeted)


def score(f: Array, y: Array, targeted: bool = False) -> LossRows:
    """Score f_y of outputs f (n, K >= 2); targeted -f_y. Algorithm 2 of Balda et al."""
    return _classification("score_loss", f, y, targeted)


def cross_entropy(f: Array, y: Array, targeted: bool = False) -> LossRows:
    """Minus the cross-entropy of logits f (n, K >= 2): f_y - log sum_j exp f_j; targeted plus it.

    The cotangent is e_y - softmax(f), whose entry y is summed from the other classes, so that it
    keeps its relative precision when the model is sure (1 - p_y would cancel). Where its largest
    entry, 1 - p_y, is below the smallest normal number of f's dtype, the row is returned divided
    by 1 - p_y: 1 at y and minus the softmax over the other classes (targeted: negated). Steps do
    not depend on the gradient's scale, and a row of zeros would stop them. The value stays true.
    """
    return _classification("cross_entropy_loss", f, y, targeted)


def dlr(f: Array, y: Array, targeted: bool = False) -> LossRows:
    """Difference of logits ratio of f (n, K >= 2), signed so that minimising it fools.

    Croce and Hein 2020: (f_y - max_{j != y} f_j) / (f_(1) - f_(3) + 1e-12), f_(k) the k-th
    largest. Targeted: (max_{j != y} f_j - f_y) / (f_(1) - (f_(3) + f_(4)) / 2 + 1e-12), y the
    wanted class; their numerator has the true class where this has the best other one. Three
    classes have no f_(4), so f_(3) stands alone; with two the ratio would be constant, so the
    denominator is 1 and the loss is the margin.
    """
    return _classification("dlr_loss", f, y, targeted)


def squared_error(f: Array, y: Array, targeted: bool = False) -> LossRows:
    """Minus the squared error -sum_j (f_j - y_j)^2 of outputs f, y (n, K); targeted plus it.

    Untargeted, minimising it drives f away from y, as in (10) of Balda et al.; targeted, towards.
    There is no margin (NaN) and no runner-up (-1).
    """
    f, n, made = contiguous(f), len(f), library(f)
    target = contiguous(y, f.dtype)
    rows = LossRows(
        made.empty(n), made.empty_like(f), made.full(n, math.nan), made.full(n, -1, dtype=np.int64)
    )
    kernel("squared_error_loss")(f, target, bool(targeted), rows.value, rows.cotangent)
    return rows


def _classification(name: str, f: Array, y: Array, targeted: bool) -> LossRows:
    f, y = contiguous(f), library(y).asarray(y)
    if f.ndim != 2 or f.shape[1] < 2 or y.shape != f.shape[:1] or y.dtype.kind not in "iu":
        raise InputError(
            f"outputs {f.shape} with labels {y.shape} of {y.dtype}: a classifier's loss takes "
            "scores (n, K >= 2) and integer labels (n,); `evaluate` also takes one logit (n, 1)"
        )
    n, made = len(f), library(f)
    rows = LossRows(made.empty(n), made.empty_like(f), made.empty(n), made.empty(n, dtype=np.int64))
    labels = contiguous(y, np.int64)
    kernel(name)(f, labels, bool(targeted), rows.value, rows.cotangent, rows.margin, rows.runner_up)
    return rows


LOSSES: dict[str, Callable[[Array, Array, bool], LossRows]] = {
    "margin": margin,
    "score": score,
    "cross_entropy": cross_entropy,
    "dlr": dlr,
    "squared_error": squared_error,
}


def evaluate(
    loss: str | Loss,
    f: Array,
    y: Array,
    *,
    targeted: bool = False,
    decision: float = 0.0,
    goal: str | None = None,
) -> LossRows:
    """A loss, by name or as a callable, at outputs f (n, K), or (n, m, K) of m ensemble members.

    y is (n,) integer classes or (n, K) values. Of an ensemble the members' values are averaged,
    and the margin is the largest member's: fooled when every member is. With K = 1 and integer
    labels, class 1 is f > `decision`, and the losses see two classes with the scores
    (-(f - decision) / 2, (f - decision) / 2). The cross-entropy of an ensemble is scaled up (see
    `cross_entropy`) only where every member's cotangent would vanish.
    A callable is loss(f, y) -> (value (n,), cotangent like f); its `goal` is "minimise" or
    "maximise", given here or as its attribute `goal`, and a loss to maximise comes back negated.
    Raises InputError for an unknown name or goal and for a callable's result of wrong shape.
    """
    direction = goal or getattr(loss, "goal", "minimise")
    if direction not in GOALS:
        raise InputError(f"goal={direction!r}: allowed are {', '.join(map(repr, GOALS))}")
    f, y = library(f).asarray(f), library(y).asarray(y)
    if f.ndim == 3:
        rows = _ensemble(loss, f, y, targeted, decision)
    else:
        rows = _single(loss, f, y, targeted, decision)
    if direction == "minimise":
        return rows
    return LossRows(-rows.value, -rows.cotangent, rows.margin, rows.runner_up)


def _ensemble(loss: str | Loss, f: Array, y: Array, targeted: bool, decision: float) -> LossRows:
    n, members, count = f.shape
    each = _single(
        loss, f.reshape(n * members, count), np.repeat(y, members, axis=0), targeted, decision
    )
    margins = each.margin.reshape(n, members)
    cotangent = each.cotangent.reshape(f.shape) / np.asarray(members, dtype=f.dtype)
    if loss == "cross_entropy":
        lost = np.abs(each.value.reshape(n, members)) < np.finfo(f.dtype).tiny
        cotangent[lost & ~lost.all(axis=1, keepdims=True)] = 0
    worst = (np.arange(n), np.argmax(margins, axis=1))
    return LossRows(
        each.value.reshape(n, members).mean(axis=1),
        cotangent,
        margins[worst],
        each.runner_up.reshape(n, members)[worst],
    )


def _single(loss: str | Loss, f: Array, y: Array, targeted: bool, decision: float) -> LossRows:
    if callable(loss):
        return _custom(loss, f, y, targeted, decision)
    if loss not in LOSSES:
        raise InputError(
            f"loss={loss!r}: allowed are {', '.join(LOSSES)}, or a callable "
            "loss(f, y) -> (value, cotangent)"
        )
    if f.shape[1] > 1 or y.dtype.kind not in "iu" or loss == "squared_error":
        return LOSSES[loss](f, y, targeted)
    rows = LOSSES[loss](_two_classes(f, decision), y, targeted)
    slope = (rows.cotangent[:, 1:] - rows.cotangent[:, :1]) / 2
    if loss == "cross_entropy":
        vanishing = np.abs(slope) < np.finfo(f.dtype).tiny
        slope = np.where(vanishing, np.sign(slope), slope)
    return LossRows(rows.value, slope.astype(f.dtype), rows.margin, rows.runner_up)


def _two_classes(f: Array, decision: float) -> Array:
    # In float64, so that f > decision is judged as the user wrote it, not on a rounded decision.
    # Half to each side, so that the score of either class feels the logit.
    half = (f.astype(np.float64) - decision) / 2
    return np.hstack([-half, half])


def _custom(loss: Loss, f: Array, y: Array, targeted: bool, decision: float) -> LossRows:
    value, cotangent = (np.asarray(part) for part in loss(f, y))
    if value.shape != f.shape[:1] or cotangent.shape != f.shape:
        raise InputError(
            f"the loss returned value {value.shape} and cotangent {cotangent.shape}: expected "
            f"one value a sample {f.shape[:1]} and d value / d f {f.shape}"
        )
    if y.dtype.kind in "iu" and y.ndim == 1:
        judged = margin(f if f.shape[1] > 1 else _two_classes(f, decision), y, targeted)
        margins, runner_up = judged.margin, judged.runner_up
    else:
        margins, runner_up = np.full(len(f), np.nan), np.full(len(f), -1, dtype=np.int64)
    return LossRows(
        value.astype(np.float64),
        np.ascontiguousarray(cotangent, dtype=f.dtype),
        margins,
        runner_up,
    )


def class_differences(
    f: Array, y: Array, classes: int, *, decision: float = 0.0
) -> tuple[Array, Array, Array]:
    """Cotangents, levels and numbers of f_y - f_l for the c best classes l other than y.

    f (n, K), y (n,) -> cotangents (c, n, K) in f's dtype, levels (c, n) float64, class numbers
    (c, n) int64, best first and of equals the first class; c = min(classes, K - 1). With K = 1
    the two classes are (-(f - decision) / 2, (f - decision) / 2). DeepFool's linear pieces:
    Moosavi-Dezfooli, Fawzi and Frossard 2016, Algorithm 2.
    """
    f, labels, made = contiguous(f), contiguous(y, np.int64), library(f)
    n, count = f.shape
    if count == 1:
        sign = np.where(labels == 1, 1, -1).astype(f.dtype)
        levels = sign * (f[:, 0].astype(np.float64) - decision)
        return sign.reshape(1, n, 1), levels[None], (1 - labels)[None]
    kept = min(classes, count - 1)
    cotangents = made.empty((kept, n, count), dtype=f.dtype)
    levels, numbers = made.empty((kept, n)), made.empty((kept, n), dtype=np.int64)
    kernel("class_differences")(f, labels, cotangents, levels, numbers)
    return cotangents, levels, numbers
