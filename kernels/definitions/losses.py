"""Losses of classifiers and regressors, with their cotangents, in NumPy.

A row of `f` that holds a NaN or an infinity gives NaN in value, cotangent and margin, and -1 as
runner-up: no model that breaks counts as fooled.
"""

from __future__ import annotations

import numpy as np

from pertcore.oracle import Array

DLR_FLOOR = 1e-12


def _compare(f: Array, y: Array, targeted: bool, margins: Array, runner_up: Array) -> Array:
    rows = np.arange(len(f))
    finite: Array = np.asarray(np.isfinite(f).all(axis=1))
    scores = np.where(finite[:, None], f, 0).astype(np.float64)
    own = scores[rows, y]
    others = scores.copy()
    others[rows, y] = -np.inf
    runner_up[:] = np.argmax(others, axis=1)
    with np.errstate(over="ignore"):
        lead = own - others[rows, runner_up]
    margins[:] = np.where(finite, -lead if targeted else lead, np.nan)
    runner_up[~finite] = -1
    return scores


def _blank(margins: Array, value: Array, cotangent: Array) -> None:
    broken = np.isnan(margins)
    value[broken] = np.nan
    cotangent[broken] = np.nan


def margin_loss(
    f: Array,
    y: Array,
    targeted: bool,
    value: Array,
    cotangent: Array,
    margins: Array,
    runner_up: Array,
) -> None:
    _compare(f, y, targeted, margins, runner_up)
    rows = np.arange(len(f))
    value[:] = margins
    cotangent[:] = 0
    cotangent[rows, y] = -1 if targeted else 1
    cotangent[rows, runner_up] = 1 if targeted else -1
    _blank(margins, value, cotangent)


def score_loss(
    f: Array,
    y: Array,
    targeted: bool,
    value: Array,
    cotangent: Array,
    margins: Array,
    runner_up: Array,
) -> None:
    scores = _compare(f, y, targeted, margins, runner_up)
    rows = np.arange(len(f))
    sign = -1 if targeted else 1
    value[:] = sign * scores[rows, y]
    cotangent[:] = 0
    cotangent[rows, y] = sign
    _blank(margins, value, cotangent)


def cross_entropy_loss(
    f: Array,
    y: Array,
    targeted: bool,
    value: Array,
    cotangent: Array,
    margins: Array,
    runner_up: Array,
) -> None:
    """The entry of y is the sum of the others, so that it keeps its digits when p_y is near 1."""
    scores = _compare(f, y, targeted, margins, runner_up)
    rows = np.arange(len(f))
    sign = -1.0 if targeted else 1.0
    top = scores.max(axis=1, initial=-np.inf)
    with np.errstate(over="ignore", under="ignore"):
        behind = scores[rows, y] - top
        weights = np.exp(scores - top[:, None])
        own = weights[rows, y]
        weights[rows, y] = 0
        rest = weights.sum(axis=1)
        value[:] = sign * (behind - np.log1p(rest + (own - 1)))
        weights *= (-sign / (rest + own))[:, None]
        weights[rows, y] = sign * rest / (rest + own)
        vanishing = np.asarray(rest / (rest + own) < np.finfo(f.dtype).tiny)
        cotangent[:] = np.where(vanishing[:, None], sign * _among_others(scores, y), weights)
    _blank(margins, value, cotangent)


def _among_others(scores: Array, y: Array) -> Array:
    """1 at y and minus the softmax over the other classes: (e_y - softmax) / (1 - p_y)."""
    rows = np.arange(len(scores))
    others = scores.copy()
    others[rows, y] = -np.inf
    shares = np.exp(others - others.max(axis=1, keepdims=True, initial=np.finfo(np.float64).min))
    shares /= -shares.sum(axis=1, keepdims=True)
    shares[rows, y] = 1
    return shares


def dlr_loss(
    f: Array,
    y: Array,
    targeted: bool,
    value: Array,
    cotangent: Array,
    margins: Array,
    runner_up: Array,
) -> None:
    scores = _compare(f, y, targeted, margins, runner_up)
    n, count = f.shape
    rows = np.arange(n)
    order = np.argsort(-scores, axis=1, kind="stable")
    lower = order[:, 2 : min(count, 4 if targeted else 3)]
    sign = -1.0 if targeted else 1.0
    lead = sign * (scores[rows, y] - scores[rows, runner_up])
    gradient = np.zeros((n, count))
    if lower.shape[1] == 0:
        scale, slope = np.ones(n), np.zeros(n)
    else:
        floor = np.take_along_axis(scores, lower, axis=1).mean(axis=1)
        scale = scores[rows, order[:, 0]] - floor + DLR_FLOOR
        slope = -(lead / scale) / scale
        gradient[rows, order[:, 0]] += slope
        for rank in lower.T:
            gradient[rows, rank] -= slope / lower.shape[1]
    value[:] = lead / scale
    gradient[rows, y] += sign / scale
    gradient[rows, runner_up] -= sign / scale
    cotangent[:] = gradient
    _blank(margins, value, cotangent)


def squared_error_loss(
    f: Array, target: Array, targeted: bool, value: Array, cotangent: Array
) -> None:
    error = f.astype(np.float64) - target
    sign = 1.0 if targeted else -1.0
    value[:] = sign * (error * error).sum(axis=1)
    cotangent[:] = sign * 2 * error


def class_differences(f: Array, y: Array, cotangents: Array, levels: Array, classes: Array) -> None:
    rows = np.arange(len(f))
    scores = np.where(np.isnan(f), -np.inf, f).astype(np.float64)
    scores[rows, y] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")
    others = order[order != y[:, None]].reshape(len(f), f.shape[1] - 1)
    cotangents[:] = 0
    for rank in range(len(classes)):
        classes[rank] = others[:, rank]
        with np.errstate(invalid="ignore", over="ignore"):
            own = f[rows, y].astype(np.float64)
            levels[rank] = own - f[rows, classes[rank]].astype(np.float64)
        cotangents[rank, rows, y] = 1
        cotangents[rank, rows, classes[rank]] = -1
