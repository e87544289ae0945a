"""Products with a Jacobian that is never stored: its rows or columns pass by in bounded blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pertcore.oracle import Array


def blocks(count: int, bytes_each: int, max_memory: int) -> Iterator[Array]:
    """Index ranges that cover range(count), each of at most `max_memory` bytes, at least one."""
    size = max(1, max_memory // max(1, bytes_each))
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def contract(
    line: Callable[[Array, Array], Array],
    weights: Array,
    size: int,
    bytes_each: int,
    max_memory: int,
) -> Array:
    """out[c, i, j] = sum_m line(i, j)[m] * weights[c, i, m], all (i, j) in blocks.

    `line(sample, number)` with indices (r,), (r,) returns those lines (r, m) of the samples'
    Jacobians: columns for J^T v with m = K and size = d, rows for J u with m = d and size = K.
    `weights` is (c, n, m); the result (c, n, size) in its dtype. `bytes_each` is what one line
    costs the caller.
    """
    c, n, m = weights.shape
    out = np.empty((c, n * size), dtype=weights.dtype)
    for pair in blocks(n * size, bytes_each + weights.itemsize * m * (c + 1), max_memory):
        sample, number = np.divmod(pair, size)
        out[:, pair] = np.einsum("rm,crm->cr", line(sample, number), weights[:, sample])
    return out.reshape(c, n, size)


def each(
    product: Callable[[Array, Array], Array],
    vectors: Array,
    size: int,
    bytes_each: int,
    max_memory: int,
) -> Array:
    """out[c, i] = product(i, vectors[c, i]), (c, n, m) -> (c, n, size), in blocks of (c, i)."""
    c, n, m = vectors.shape
    flat = vectors.reshape(c * n, m)
    out = np.empty((c * n, size), dtype=vectors.dtype)
    for pair in blocks(c * n, bytes_each, max_memory):
        out[pair] = product(pair % n, flat[pair])
    return out.reshape(c, n, size)
