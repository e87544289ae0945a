"""The fractional knapsack of a row: the best entries are filled until the budget is spent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from pertcore.kernels.compiled.elements import strict, summing
from pertcore.kernels.compiled.rows import BLOCK, largest_entry, one_if
from pertcore.oracle import Array


def between(low: Any, high: Any) -> Any:
    """The number halfway from low to high >= 0, counted in representable numbers, rounded down."""
    raise NotImplementedError("compiled code only")


@overload(between)
def _between(low: Any, high: Any) -> Any:  # noqa: ARG001
    def single(low: Any, high: Any) -> Any:
        first = np.int64(np.float32(low).view(np.int32))
        last = np.int64(np.float32(high).view(np.int32))
        return np.int32((first + last) // 2).view(np.float32)

    def double(low: Any, high: Any) -> Any:
        first = np.float64(low).view(np.int64)
        return np.int64(first + (np.float64(high).view(np.int64) - first) // 2).view(np.float64)

    return single if low == types.float32 else double


@summing
def _above_block(value: Array, size: Array, least: Any) -> tuple[Any, Any]:
    total, count = size.dtype.type(0), value.dtype.type(0)
    for i in range(value.size):
        total += size[i] * one_if(value[i] > least, size)
        count += one_if(value[i] > least, value)
    return total, count


@strict
def above(value: Array, size: Array, least: Any) -> tuple[float, float]:
    """Sum of `size` over the entries with value > least, and their count."""
    total, count = 0.0, 0.0
    for s in range(0, value.size, BLOCK):
        part = _above_block(value[s : s + BLOCK], size[s : s + BLOCK], least)
        total += np.float64(part[0])
        count += np.float64(part[1])
    return total, count


@summing
def _sum_above(value: Array, size: Array, least: Any) -> float:
    total = 0.0
    for i in range(value.size):
        total += np.float64(size[i]) * (1.0 if value[i] > least else 0.0)
    return total


@strict
def spend(value: Array, size: Array, budget: float, out: Array) -> float:
    """Fill `size` of the entries in falling `value`, ties by index; returns what was spent.

    The value at which the budget ends is found by halving the interval between two values in
    representable numbers; it stops when one entry is left between them, or only ties are.
    """
    low, high = value.dtype.type(0), largest_entry(value)
    total, most = above(value, size, low)
    if total <= budget:
        _fill(value, size, low, out)
        return total
    least = 0.0
    while most - least > 1:
        middle = between(low, high)
        if middle == low:
            break
        reached, count = above(value, size, middle)
        if reached < budget:
            high, least = middle, count
        else:
            low, most = middle, count
    _fill(value, size, high, out)
    spent = _sum_above(value, size, high)
    for i in range(value.size):
        if low < value[i] <= high:
            out[i] = min(np.float64(size[i]), budget - spent)
            spent += np.float64(out[i])
            if not spent < budget:
                break
    return budget


@strict
def _fill(value: Array, size: Array, least: Any, out: Array) -> None:
    zero = out.dtype.type(0)
    for i in range(value.size):
        out[i] = size[i] if value[i] > least else zero
