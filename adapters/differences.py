"""Central differences: slopes along tangents, and columns of the Jacobian one by one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pertcore.oracle import Array

Run = Callable[[Array], Array]


def step_scale(x: Array) -> Array:
    """Root mean square of each sample of x (n, *in), 1 for an all-zero one: the step's unit."""
    axes = tuple(range(1, x.ndim))
    size = np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=axes))
    return np.where(size == 0, 1.0, size)


def _relative_step(x: Array) -> float:
    # Truncation grows like h^2, round-off like machine eps / h: the sum is least near this.
    return float(np.cbrt(np.finfo(x.dtype).eps))


def along(run: Run, x: Array, widen: float = 1.0) -> Callable[[Array, Array], Array]:
    """product(sample, u): (f(x + h u) - f(x - h u)) / 2 h for rows (r, d) u, flat (r, K).

    h = widen * cbrt(machine eps) * rms(x) / max |u| per row, in the dtype of x.
    """
    scale = step_scale(x)

    def product(sample: Array, u: Array) -> Array:
        largest = np.abs(u).max(axis=1, initial=0.0)
        h = widen * _relative_step(x) * scale[sample] / np.where(largest == 0, 1.0, largest)
        move = (h[:, None] * u).astype(x.dtype).reshape(len(u), *x.shape[1:])
        up, down = _pair(run, x[sample] + move, x[sample] - move)
        return (up - down) / (2 * h[:, None])

    return product


def columns(run: Run, x: Array) -> Callable[[Array, Array], Array]:
    """line(sample, j): column j of those samples' Jacobians, (r, K), by central differences.

    h = cbrt(machine eps) * max(|x_j|, rms(x)); the divisor is the step as it was stored.
    """
    scale = step_scale(x)
    flat = x.reshape(len(x), math.prod(x.shape[1:]))

    def line(sample: Array, j: Array) -> Array:
        rows, at = np.arange(len(sample)), flat[sample, j]
        h = (_relative_step(x) * np.maximum(np.abs(at), scale[sample])).astype(x.dtype)
        high, low = flat[sample], flat[sample]
        high[rows, j], low[rows, j] = at + h, at - h
        shape = (len(sample), *x.shape[1:])
        up, down = _pair(run, high.reshape(shape), low.reshape(shape))
        wide = high[rows, j].astype(np.float64) - low[rows, j]
        return (up - down) / wide[:, None]

    return line


def _pair(run: Run, high: Array, low: Array) -> tuple[Array, Array]:
    both = run(np.concatenate([high, low])).astype(np.float64).reshape(2, len(high), -1)
    return both[0], both[1]
