"""What is computed from a kernel's arguments before it starts, in the arrays' own library.

`arrays` is NumPy or CuPy; `start(name, *args)` runs another kernel. The results come after the
arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pertcore.kernels.definitions.quadratic import KEPT_BITS

Start = Callable[..., None]


def partition(arrays: Any, labels: Any, count: int) -> list[Any]:
    """The coordinates of subset 0, then of subset 1 and so on, and where each begins (count + 1,).

    Frozen coordinates, whose label is -1, come before all.
    """
    members = arrays.argsort(labels, kind="stable")
    starts = arrays.searchsorted(labels[members], arrays.arange(count + 1))
    return [members, starts]


def summed_subsets(arrays: Any, start: Start, args: tuple[Any, ...]) -> list[Any]:  # noqa: ARG001
    return partition(arrays, args[2], args[6].shape[1])


def falling(arrays: Any, squares: Any) -> Any:
    """Indices of squares (n, d) by decreasing value in KEPT_BITS digits, ties by index."""
    dropped = np.uint64(52 - KEPT_BITS)
    half = np.uint64(1 << (51 - KEPT_BITS))
    keys = ((squares.view(np.uint64) + half) >> dropped).astype(np.int64)
    return arrays.argsort(-keys, axis=1, kind="stable")


def _squares(arrays: Any, start: Start, columns: Any) -> Any:
    squares = arrays.empty(columns.shape[:2], np.float64)
    start("column_squares", columns, squares)
    return squares


def greedy_order(arrays: Any, start: Start, args: tuple[Any, ...]) -> list[Any]:
    """The columns (n, d) by falling norm."""
    return [falling(arrays, _squares(arrays, start, args[0]))]


def ordered_members(arrays: Any, start: Start, args: tuple[Any, ...]) -> list[Any]:
    """The members (n, m) of each subset by falling norm; signs of other columns are set to 0."""
    columns, members, starts, signs = args[:4]
    signs[...] = 0
    squares = _squares(arrays, start, columns)[:, members]
    order = falling(arrays, arrays.ascontiguousarray(squares))
    subset = arrays.searchsorted(starts, arrays.arange(len(members)), side="right")
    by_subset = arrays.argsort(subset[order], axis=1, kind="stable")
    return [members[arrays.take_along_axis(order, by_subset, axis=1)]]


def longest(arrays: Any, start: Start, args: tuple[Any, ...]) -> list[Any]:  # noqa: ARG001
    """The size of the largest subset; signs of columns in no subset are set to 0."""
    starts, signs = args[2], args[3]
    signs[...] = 0
    return [int((starts[1:] - starts[:-1]).max())] if len(starts) > 1 else [0]
