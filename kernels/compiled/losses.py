"""Losses of classifiers and regressors, with their cotangents: one visit a row, in Numba."""

from __future__ import annotations

import math

import numpy as np

from pertcore.kernels.compiled.elementary import exponential, total
from pertcore.kernels.compiled.elements import strict, summing
from pertcore.kernels.compiled.extremes import first_equal, peak
from pertcore.oracle import Array

DLR_FLOOR = 1e-12
LAST = 4


@strict
def _compare(row: Array, own: int, targeted: bool) -> tuple[float, int]:
    before, before_finite = peak(row[:own])
    after, after_finite = peak(row[own + 1 :])
    if not (before_finite and after_finite and abs(row[own]) < np.inf):
        return np.nan, -1
    best = max(before, after)
    runner_up = first_equal(row, best, 0 if before == best else own + 1)
    lead = np.float64(row[own]) - np.float64(best)
    return (-lead if targeted else lead), runner_up


@strict
def margin_loss(
    f: Array,
    y: Array,
    targeted: bool,
    value: Array,
    cotangent: Array,
    margins: Array,
    runner_up: Array,
) -> None:
    sign = -1.0 if targeted else 1.0
    for i in range(f.shape[0]):
        margins[i], runner_up[i] = _compare(f[i], y[i], targeted)
        value[i] = margins[i]
        if runner_up[i] < 0:
            cotangent[i] = np.nan
        else:
            cotangent[i] = 0.0
            cotangent[i, y[i]] = sign
            cotangent[i, runner_up[i]] = -sign


@strict
def score_loss(
    f: Array,
    y: Array,
    targeted: bool,
    value: Array,
    cotangent: Array,
    margins: Array,
    runner_up: Array,
) -> None:
    sign = -1.0 if targeted else 1.0
    for i in range(f.shape[0]):
        margins[i], runner_up[i] = _compare(f[i], y[i], targeted)
        if runner_up[i] < 0:
            value[i] = np.nan
            cotangent[i] = np.nan
        else:
            value[i] = sign * f[i, y[i]]
            cotangent[i] = 0.0
            cotangent[i, y[i]] = sign


@strict
def _weights(scores: Array, top: float, out: Array) -> None:
    for j in range(scores.shape[0]):
        out[j] = exponential(np.float64(scores[j]) - top)


@strict
def cross_entropy_loss(
    f: Array,
    y: Array,
    targeted: bool,
    value: Array,
    cotangent: Array,
    margins: Array,
    runner_up: Array,
) -> None:
    sign = -1.0 if targeted else 1.0
    weights, tiny = np.empty(f.shape[1], np.float64), np.finfo(f.dtype).tiny
    for i in range(f.shape[0]):
        row, own, out = f[i], y[i], cotangent[i]
        margins[i], runner_up[i] = _compare(row, own, targeted)
        if runner_up[i] < 0:
            value[i] = np.nan
            out[:] = np.nan
            continue
        top = np.float64(max(row[own], row[runner_up[i]]))
        behind = np.float64(row[own]) - top
        _weights(row, top, weights)
        share = weights[own]
        weights[own] = 0.0
        rest = total(weights)
        value[i] = sign * (behind - math.log1p(rest + (share - 1.0)))
        if rest / (rest + share) < tiny:
            # Divided by 1 - p_y, which is rest / (rest + share): only a zero row would be left.
            _weights(row, np.float64(row[runner_up[i]]), weights)
            weights[own] = 0.0
            rest, share = total(weights), 0.0
        scale = -sign / (rest + share)
        for j in range(out.shape[0]):
            out[j] = weights[j] * scale
        out[own] = -scale * rest


@strict
def _leaders(row: Array, keep: int, scores: Array, classes: Array) -> None:
    scores[:keep] = -np.inf
    classes[:keep] = -1
    for j in range(row.shape[0]):
        v = np.float64(row[j])
        if v > scores[keep - 1]:
            place = keep - 1
            while place > 0 and v > scores[place - 1]:
                scores[place] = scores[place - 1]
                classes[place] = classes[place - 1]
                place -= 1
            scores[place] = v
            classes[place] = j


@strict
def dlr_loss(
    f: Array,
    y: Array,
    targeted: bool,
    value: Array,
    cotangent: Array,
    margins: Array,
    runner_up: Array,
) -> None:
    sign = -1.0 if targeted else 1.0
    keep = min(f.shape[1], 4 if targeted else 3)
    scores, classes = np.empty(LAST, np.float64), np.empty(LAST, np.int64)
    change = np.empty(LAST, np.float64)
    for i in range(f.shape[0]):
        margins[i], runner_up[i] = _compare(f[i], y[i], targeted)
        if runner_up[i] < 0:
            value[i] = np.nan
            cotangent[i] = np.nan
            continue
        lead, scale = margins[i], 1.0
        change[:] = 0.0
        if keep > 2:
            _leaders(f[i], keep, scores, classes)
            floor = scores[2] if keep == 3 else 0.5 * (scores[2] + scores[3])
            scale = scores[0] - floor + DLR_FLOOR
            change[0] = -(lead / scale) / scale
            change[2] = -change[0] / (keep - 2)
            change[3] = change[2]
        value[i] = lead / scale
        out = cotangent[i]
        out[:] = 0.0
        for rank in range(keep):
            if keep > 2 and rank != 1:
                out[classes[rank]] = change[rank]
        # Summed in float64 and stored once: an entry may be both the label and a leader.
        for j, part in ((y[i], sign / scale), (runner_up[i], -sign / scale)):
            slope = part
            for rank in range(keep):
                if keep > 2 and classes[rank] == j:
                    slope += change[rank]
            out[j] = slope


@summing
def _squared_row(row: Array, target: Array, factor: float, out: Array) -> float:
    squared = 0.0
    for j in range(row.shape[0]):
        error = np.float64(row[j]) - np.float64(target[j])
        squared += error * error
        out[j] = factor * error
    return squared


@strict
def squared_error_loss(
    f: Array, target: Array, targeted: bool, value: Array, cotangent: Array
) -> None:
    sign = 1.0 if targeted else -1.0
    for i in range(f.shape[0]):
        value[i] = sign * _squared_row(f[i], target[i], 2.0 * sign, cotangent[i])


@strict
def class_differences(f: Array, y: Array, cotangents: Array, levels: Array, classes: Array) -> None:
    keep = classes.shape[0]
    scores, chosen = np.empty(keep, np.float64), np.empty(keep, np.int64)
    for i in range(f.shape[0]):
        own, filled = y[i], 0
        for j in range(f.shape[1]):
            v = np.float64(f[i, j]) if f[i, j] == f[i, j] else -np.inf
            if j == own or (filled == keep and v <= scores[keep - 1]):
                continue
            place = min(filled, keep - 1)
            filled = min(filled + 1, keep)
            while place > 0 and v > scores[place - 1]:
                scores[place] = scores[place - 1]
                chosen[place] = chosen[place - 1]
                place -= 1
            scores[place] = v
            chosen[place] = j
        for rank in range(keep):
            other = chosen[rank]
            classes[rank, i] = other
            levels[rank, i] = np.float64(f[i, own]) - np.float64(f[i, other])
            cotangents[rank, i] = 0.0
            cotangents[rank, i, own] = 1.0
            cotangents[rank, i, other] = -1.0
