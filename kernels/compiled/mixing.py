"""The mixing method (Wang, Chang and Kolter 2017), in Numba: sums in the dtype of the columns."""

from __future__ import annotations

import math

import numpy as np

from pertcore.kernels.compiled.elements import strict
from pertcore.kernels.compiled.vectors import add, dot, dot_4, wide_square
from pertcore.oracle import Array

STILL = 64


@strict
def mixing(
    columns: Array, start: Array, sweeps: int, rise: float, rows: Array, image: Array
) -> None:
    d, width, rank = columns.shape[1], columns.shape[2], start.shape[2]
    across = np.empty((rank, width), columns.dtype)
    squares = np.empty(d, columns.dtype)
    g = np.empty(rank, columns.dtype)
    for k in range(columns.shape[0]):
        one, v = columns[k], rows[k]
        v[:] = start[k]
        across[:] = 0
        for i in range(d):
            squares[i] = wide_square(one[i])
            for c in range(rank):
                add(across[c], v[i, c], one[i])
        for _ in range(sweeps):
            risen = 0.0
            for i in range(d):
                risen += _turn_row(one[i], squares[i], v[i], across, g)
            if risen <= rise * _mass(across):
                break
        image[k] = across.T


@strict
def _mass(across: Array) -> float:
    total = 0.0
    for c in range(across.shape[0]):
        total += wide_square(across[c])
    return total


@strict
def gram_mixing(gram: Array, start: Array, sweeps: int, rise: float, rows: Array) -> None:
    d, rank = start.shape
    across, g = np.empty((rank, d), gram.dtype), np.empty(rank, gram.dtype)
    across[:] = start.T
    rows[:] = start
    value = 0.0
    for i in range(d):
        for c in range(rank):
            value += np.float64(rows[i, c]) * np.float64(dot(across[c], gram[i]))
    for _ in range(sweeps):
        risen = 0.0
        for i in range(d):
            moved = _direction(gram[i], gram[i, i], rows[i], across, g)
            if moved >= 0.0:
                risen += moved
                rows[i] = g
                across[:, i] = g
        value += risen
        if risen <= rise * value:
            break


@strict
def _turn_row(column: Array, square: float, v: Array, across: Array, g: Array) -> float:
    """v to the best direction while the others stand still; returns the rise of the value."""
    moved = _direction(column, square, v, across, g)
    if moved < 0.0:
        return 0.0
    for c in range(v.shape[0]):
        add(across[c], g[c] - v[c], column)
        v[c] = g[c]
    return moved


@strict
def _direction(column: Array, square: float, v: Array, across: Array, g: Array) -> float:
    """g = the best unit direction of v, and how much it raises the value; -1 if there is none."""
    rank = v.shape[0]
    fours = rank // 4 * 4
    for c in range(0, fours, 4):
        found = dot_4(across[c], across[c + 1], across[c + 2], across[c + 3], column)
        g[c], g[c + 1], g[c + 2], g[c + 3] = found
    for c in range(fours, rank):
        g[c] = dot(across[c], column)
    total, along = 0.0, 0.0
    for c in range(rank):
        g[c] -= square * v[c]
        total += np.float64(g[c]) * np.float64(g[c])
        along += np.float64(g[c]) * np.float64(v[c])
    size = math.sqrt(total)
    if not size > STILL * np.finfo(column.dtype).eps * square:
        return -1.0
    for c in range(rank):
        g[c] = g[c] / size
    return max(2.0 * (size - along), 0.0)
