"""Losses of classifiers and regressors, with their cotangents: one visit a row, in Numba."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray
from pertcore.kernels.compiled.elementary import exponential, total

Array = NDArray[Any]

DLR_FLOOR = 1e-12
LAST = 4
BLOCK = 64
S31, S63 = np.int32(31), np.int64(63)
SINGLE_MAGNITUDE, SINGLE_INFINITY = np.int32(0x7FFFFFFF), np.int32(0x7F800000)
DOUBLE_MAGNITUDE, DOUBLE_INFINITY = np.int64(2**63 - 1), np.int64(0x7FF0000000000000)
# Where -inf sorts: below every finite number, and what a maximum over nothing returns.
SINGLE_LEAST = np.int32(~0x7F800000)
DOUBLE_LEAST = np.int64(~0x7FF0000000000000)


def _peak(row: Any) -> Any:
    """The largest entry and whether all are finite; -inf and True of an empty row."""
    raise NotImplementedError("compiled code only")


@overload(_peak)
def _peak_of(row: Any) -> Any:
    # As integers that sort like the numbers: an integer maximum vectorises and sees every NaN.
    def single(row: Any) -> Any:
        words, top, size = row.view(np.int32), SINGLE_LEAST, np.int32(0)
        for j in range(words.shape[0]):
            magnitude = np.int32(words[j] & SINGLE_MAGNITUDE)
            size = magnitude if magnitude > size else size
            sortable = np.int32(words[j] ^ ((words[j] >> S31) & SINGLE_MAGNITUDE))
            top = sortable if sortable > top else top
        back = np.int32(top ^ ((top >> S31) & SINGLE_MAGNITUDE))
        return back.view(np.float32), size < SINGLE_INFINITY

    def double(row: Any) -> Any:
        words, top, size = row.view(np.int64), DOUBLE_LEAST, np.int64(0)
        for j in range(words.shape[0]):
            magnitude = np.int64(words[j] & DOUBLE_MAGNITUDE)
            size = magnitude if magnitude > size else size
            sortable = np.int64(words[j] ^ ((words[j] >> S63) & DOUBLE_MAGNITUDE))
            top = sortable if sortable > top else top
        back = np.int64(top ^ ((top >> S63) & DOUBLE_MAGNITUDE))
        return back.view(np.float64), size < DOUBLE_INFINITY

    return single if row.dtype == types.float32 else double


@njit(cache=True, nogil=True, error_model="numpy")
def _first(row: Array, wanted: float, start: int) -> int:
    """The first index from `start` on of an entry known to be there, skipped to by blocks."""
    while start + BLOCK <= row.shape[0]:
        block, hits = row[start : start + BLOCK], 0
        for j in range(BLOCK):
            hits += block[j] == wanted
        if hits > 0:
            break
        start += BLOCK
    while row[start] != wanted:
        start += 1
    return start


@njit(cache=True, nogil=True, error_model="numpy")
def _compare(row: Array, own: int, targeted: bool) -> tuple[float, int]:
    before, before_finite = _peak(row[:own])
    after, after_finite = _peak(row[own + 1 :])
    if not (before_finite and after_finite and abs(row[own]) < np.inf):
        return np.nan, -1
    best = max(before, after)
    runner_up = _first(row, best, 0 if before == best else own + 1)
    lead = np.float64(row[own]) - np.float64(best)
    return (-lead if targeted else lead), runner_up


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def _weights(scores: Array, top: float, out: Array) -> None:
    for j in range(scores.shape[0]):
        out[j] = exponential(np.float64(scores[j]) - top)


@njit(cache=True, nogil=True, error_model="numpy")
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
    weights = np.empty(f.shape[1], np.float64)
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
        scale = -sign / (rest + share)
        for j in range(out.shape[0]):
            out[j] = weights[j] * scale
        out[own] = -scale * rest


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"reassoc", "contract", "arcp", "nsz"},
)
def _squared_row(row: Array, target: Array, factor: float, out: Array) -> float:
    squared = 0.0
    for j in range(row.shape[0]):
        error = np.float64(row[j]) - np.float64(target[j])
        squared += error * error
        out[j] = factor * error
    return squared


@njit(cache=True, nogil=True, error_model="numpy")
def squared_error_loss(
    f: Array, target: Array, targeted: bool, value: Array, cotangent: Array
) -> None:
    sign = 1.0 if targeted else -1.0
    for i in range(f.shape[0]):
        value[i] = sign * _squared_row(f[i], target[i], 2.0 * sign, cotangent[i])


@njit(cache=True, nogil=True, error_model="numpy")
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
