"""Single-subset attacks at p = inf: which subset pays most, and the step that changes it alone."""

from __future__ import annotations

import numpy as np

from pertcore.closed_form.exact import Bound, limits
from pertcore.constraints import Partition
from pertcore.kernels.catalogue import kernel
from pertcore.oracle import Array


def best_subset(
    g: Array,
    x: Array,
    partition: Partition,
    eps: Array,
    lo: Bound,
    hi: Bound,
    taken: Array,
) -> Array:
    """The subset whose step lowers the linear model most, (n,) int64, -1 when all are taken.

    argmax over s not in `taken` (n, S) bool of sum_{i in S_s} abs(g_i) min(eps, room_i), room_i
    the way from x_i to the bound in the direction -sign g_i: (22) of Balda et al. inside a box.
    g, x (n, d), eps (n,); the first of equal subsets wins; a NaN in g counts as 0.
    """
    x = np.ascontiguousarray(x)
    chosen = np.empty(len(x), dtype=np.int64)
    kernel("best_subset")(
        np.ascontiguousarray(g),
        x,
        partition.labels,
        np.ascontiguousarray(eps, dtype=np.float64),
        *limits(lo, hi, x.dtype),
        np.ascontiguousarray(taken, dtype=np.bool_),
        chosen,
    )
    return chosen


def top_subsets(
    g: Array,
    x: Array,
    partition: Partition,
    eps: Array,
    lo: Bound,
    hi: Bound,
    taken: Array,
    count: int,
) -> Array:
    """The `count` subsets that `best_subset` takes one after another for one g, (n, count) int64.

    Best first, equal ones by number, -1 when none is left; arguments as there.
    """
    x = np.ascontiguousarray(x)
    gains = np.empty((len(x), partition.count))
    kernel("subset_gains")(
        np.ascontiguousarray(g),
        x,
        partition.labels,
        np.ascontiguousarray(eps, dtype=np.float64),
        *limits(lo, hi, x.dtype),
        gains,
    )
    chosen = np.empty((len(x), count), dtype=np.int64)
    kernel("top_subsets")(gains, np.ascontiguousarray(taken, dtype=np.bool_), chosen)
    return chosen


def subset_step(
    x_t: Array,
    g: Array,
    partition: Partition,
    chosen: Array,
    eps: Array,
    lo: Bound,
    hi: Bound,
) -> Array:
    """x_t with subset `chosen` (n,) of each sample moved by -eps sign(g) and clipped to the box.

    The step of (22), Balda et al. Exact in float: abs(float64(x_next) - float64(x_t)) <= eps in
    every entry; where g is 0 or NaN, or chosen is -1, nothing moves.
    """
    x_t = np.ascontiguousarray(x_t)
    x_next = np.empty_like(x_t)
    kernel("subset_step")(
        x_t,
        np.ascontiguousarray(g),
        partition.labels,
        np.ascontiguousarray(chosen, dtype=np.int64),
        np.ascontiguousarray(eps, dtype=np.float64),
        *limits(lo, hi, x_t.dtype),
        x_next,
    )
    return x_next
