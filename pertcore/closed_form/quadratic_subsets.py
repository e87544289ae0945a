"""Single-subset attacks on the quadratic: the best signs of every subset, and the best subset."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.closed_form.quadratic_search import best_signs
from pertcore.closed_form.quadratic_signs import scaled
from pertcore.constraints import Partition
from pertcore.errors import InputError
from pertcore.kernels.catalogue import kernel
from pertcore.oracle import Array

ENUMERATED = 20
"""Subsets of more entries are searched, not enumerated."""
TIE = 1e-12
METHODS = {"exact": "subset_exact", "paper": "subset_greedy"}


def subset_signs(
    columns: Array, partition: Partition, *, method: str = "exact", seed: int = 0
) -> tuple[Array, Array]:
    """The signs of every subset for (18) of Balda et al., (d,), and their values, (S,) float64.

    Value s is norm_2(sum of s_i J_i over subset s)^2; frozen columns get the sign 0. "exact"
    enumerates subsets of at most ENUMERATED entries (of equal signs those with s_1 = +1 and the
    fewest changes from +1 in binary order) and searches larger ones with `best_signs`; "paper" is
    the greedy (19) in every subset. columns (d, K) = J^T or (n, d, K); with n samples the results
    are (n, d) and (n, S). Raises InputError for another method.
    """
    if method not in METHODS:
        raise InputError(f"method={method!r}: allowed are 'exact' and 'paper'")
    batch, exponents = scaled(columns)
    sizes = np.bincount(partition.labels[partition.labels >= 0], minlength=partition.count)
    large = np.flatnonzero(sizes > ENUMERATED) if method == "exact" else np.empty(0, np.int64)
    members, starts = _grouped(partition, large)
    signs = np.empty(batch.shape[:2], batch.dtype)
    values = np.empty((len(batch), partition.count))
    kernel(METHODS[method])(batch, members, starts, signs, values)
    for s in large:
        inside = np.flatnonzero(partition.labels == s)
        for k in range(len(batch)):
            found, value = best_signs(batch[k, inside], seed=seed)
            signs[k, inside], values[k, s] = found, value
    with np.errstate(over="ignore"):
        values = np.ldexp(values, 2 * exponents[:, None])
    return (signs, values) if np.ndim(columns) == 3 else (signs[0], values[0])


def best_subset_quadratic(
    columns: Array,
    partition: Partition,
    *,
    method: str = "exact",
    taken: Array | None = None,
    seed: int = 0,
) -> tuple[Any, Array, Any]:
    """The subset whose signs are worth most: its number, its signs (d,), 0 elsewhere, its value.

    (17) to (20) of Balda et al. with eps = 1: see `subset_signs` for `method`. Of equal subsets
    (to 1e-12) the first wins; `taken` (S,) bool excludes some, and where all are excluded the
    number is -1 and the value 0. For (n, d, K) the results are (n,), (n, d), (n,), taken (n, S).
    """
    signs, values = subset_signs(columns, partition, method=method, seed=seed)
    rows, worth = np.atleast_2d(signs), np.atleast_2d(values).copy()
    if taken is not None:
        worth[np.broadcast_to(taken, worth.shape)] = -1.0
    top = worth.max(axis=1)
    chosen = np.where(top < 0, -1, np.argmax(worth >= top[:, None] * (1 - TIE), axis=1))
    rows = np.where((partition.labels == chosen[:, None]) & (chosen[:, None] >= 0), rows, 0)
    rows, top = rows.astype(signs.dtype), np.maximum(top, 0.0)
    if np.ndim(columns) == 3:
        return chosen, rows, top
    return int(chosen[0]), rows[0], float(top[0])


def enumerate_subset(columns: Array) -> tuple[Array, float]:
    """The best of all signs for at most ENUMERATED columns (Z, K): signs (Z,) and value.

    max norm_2(sum s_i J_i)^2, exact: half of the 2^Z signs in Gray-code order, s_1 = +1. Raises
    InputError for more columns.
    """
    if len(columns) > ENUMERATED:
        raise InputError(
            f"{len(columns)} columns: at most {ENUMERATED} are enumerated; use best_signs"
        )
    whole = Partition(np.zeros(len(columns), dtype=np.int64), 1)
    signs, values = subset_signs(columns, whole)
    return signs, float(values[0])


def _grouped(partition: Partition, left_out: Array) -> tuple[Array, Array]:
    """Columns subset by subset, and where each begins (S + 1,); those left out are empty."""
    labels = np.where(np.isin(partition.labels, left_out), -1, partition.labels)
    order = np.argsort(labels, kind="stable").astype(np.int64)
    members = np.ascontiguousarray(order[np.count_nonzero(labels < 0) :])
    sizes = np.bincount(labels[members], minlength=partition.count)
    return members, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
