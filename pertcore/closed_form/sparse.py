"""Few changed features: the linear problems over {delta: at most k entries differ from 0}.

Each entry counts 1 wherever it goes, so the box alone says how far. Everywhere x, g are (n, d) of
one dtype, lo and hi finite, scalars or (d,).
"""

from __future__ import annotations

import numpy as np

from pertcore.oracle import Array

Bound = float | Array


def keep_few(x: Array, z: Array, worth: Array, count: Array) -> Array:
    """x (n, d) with the `count` (n,) entries of z that have the largest worth above 0.

    Of equals the first. Returns (n, d) in the dtype of x; entries that are not kept are x's own.
    """
    order = np.argsort(-worth, axis=1, kind="stable")
    chosen = np.arange(x.shape[1]) < count[:, None]
    kept = np.empty(x.shape, dtype=bool)
    np.put_along_axis(kept, order, chosen, axis=1)
    return np.where(kept & (worth > 0), z, x).astype(x.dtype, copy=False)


def few_corners(g: Array, x: Array, count: Array, lo: Bound, hi: Bound) -> Array:
    """argmin_z g.(z - x) with at most `count` (n,) entries other than x's, lo <= z <= hi.

    The entries with the largest |g_i| times the room along -sign(g_i) go to their bound, the others
    stay. Entries with g_i = 0 stay. Returns z (n, d).
    """
    corner = np.where(g > 0, lo, hi)
    return keep_few(x, corner, g * (x - corner), count)


def fewest(g: Array, level: Array, x: Array, lo: Bound, hi: Bound) -> Array:
    """The least number of entries that gets over the hyperplane: level + g.eta <= 0 in the box.

    The largest |g_i| room_i first, until their sum reaches `level` (n,). Returns (n,) float64, d
    where all of them together do not; 0 where level <= 0.
    """
    gains = np.maximum(g * (x - np.where(g > 0, lo, hi)), 0).astype(np.float64)
    reached = np.cumsum(-np.sort(-gains, axis=1), axis=1)
    short = np.count_nonzero(reached < level[:, None], axis=1) + (level > 0)
    return np.minimum(short, x.shape[1]).astype(np.float64)
