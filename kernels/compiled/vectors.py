"""Products of a few long rows with one, each row read once: sums in the dtype, then in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.kernels.compiled.elements import summing
from pertcore.oracle import Array


@summing
def wide_dot(a: Array, b: Array) -> float:
    """a . b in float64."""
    total = 0.0
    for j in range(a.shape[0]):
        total += np.float64(a[j]) * np.float64(b[j])
    return total


@summing
def wide_square(a: Array) -> float:
    total = 0.0
    for j in range(a.shape[0]):
        v = np.float64(a[j])
        total += v * v
    return total


@summing
def wide_add(r: Array, factor: float, a: Array) -> None:
    """r += factor a, r in float64."""
    for j in range(r.shape[0]):
        r[j] += factor * np.float64(a[j])


@summing
def dot(a: Array, b: Array) -> Any:
    """a . b in the dtype of a."""
    total = a.dtype.type(0)
    for j in range(a.shape[0]):
        total += a[j] * b[j]
    return total


@summing
def dot_4(a: Array, b: Array, c: Array, d: Array, w: Array) -> Any:
    """Products of four rows with w."""
    zero = w.dtype.type(0)
    s, t, u, v = zero, zero, zero, zero
    for j in range(w.shape[0]):
        s += a[j] * w[j]
        t += b[j] * w[j]
        u += c[j] * w[j]
        v += d[j] * w[j]
    return s, t, u, v


@summing
def add(r: Array, factor: Any, a: Array) -> None:
    """r += factor a."""
    for j in range(r.shape[0]):
        r[j] += factor * a[j]


@summing
def add_4(r: Array, factors: Array, a: Array, b: Array, c: Array, d: Array) -> None:
    """r += the sum of four rows times their factors."""
    s, t, u, v = factors[0], factors[1], factors[2], factors[3]
    for j in range(r.shape[0]):
        r[j] += (s * a[j] + t * b[j]) + (u * c[j] + v * d[j])
