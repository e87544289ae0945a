"""Random points and orders that belong to a sample: the same bits in every batch and backend.

Each sample has a 64-bit key; a number is a hash of (key, draw, coordinate), so a sample's random
numbers do not depend on the batch it sits in, on its length or on earlier draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.arrays import contiguous, library
from pertcore.errors import InputError
from pertcore.kernels.catalogue import kernel
from pertcore.kernels.definitions.sampling import GOLDEN, WORD, mix
from pertcore.oracle import Array


def sample_keys(seed: int, index: Array) -> Array:
    """Keys (n,) uint64 of the samples numbered `index` (n,) in the run seeded with `seed`.

    Any integer is a seed; every one of its bits counts.
    """
    start, rest = np.zeros(1, dtype=np.uint64), int(seed)
    for _ in range(1 + rest.bit_length() // 64):
        start = mix((start ^ np.uint64(rest & WORD)) + np.uint64(GOLDEN))
        rest >>= 64
    numbers = np.asarray(index).astype(np.uint64)
    return mix(start ^ mix(numbers * np.uint64(GOLDEN) + np.uint64(GOLDEN)))


def random_in_ball(
    keys: Array,
    draw: int,
    eps: Array,
    norm: float,
    d: int,
    dtype: Any,
    *,
    out: Array | None = None,
) -> Array:
    """Points (n, d) uniform in {delta: norm_p(delta) <= eps}, eps (n,), p in [1, inf].

    t / (sum abs(t)^p + E)^(1/p) with t of density proportional to exp(-abs(t)^p) in every
    coordinate and E exponential: Barthe, Guedon, Mendelson and Naor 2005, Theorem 1. For p = inf
    the coordinates are independent. Shrunk by 2^-23 (float32) or 1e-13 (float64) so that rounding
    stays inside.
    """
    return _points("random_ball", keys, draw, eps, norm, d, dtype, out)


def random_on_sphere(
    keys: Array,
    draw: int,
    eps: Array,
    norm: float,
    d: int,
    dtype: Any,
    *,
    out: Array | None = None,
) -> Array:
    """Points (n, d) with norm_p(delta) = eps, the random baseline of Balda et al., Section V.

    p = inf: random signs times eps. p < inf: t / norm_p(t) with t of density proportional to
    exp(-abs(t)^p): a normalised Gaussian for p = 2, Laplace for p = 1 (the cone measure).
    """
    return _points("random_sphere", keys, draw, eps, norm, d, dtype, out)


def _points(
    name: str,
    keys: Array,
    draw: int,
    eps: Array,
    norm: float,
    d: int,
    dtype: Any,
    out: Array | None,
) -> Array:
    points = library(keys).empty((len(keys), d), dtype=dtype) if out is None else out
    kernel(name)(contiguous(keys), int(draw), contiguous(eps, np.float64), float(norm), points)
    return points


def random_order(keys: Array, draw: int, count: int, k: int) -> Array:
    """For each sample k distinct numbers of range(count) in random order, (n, k) int64.

    The first k cards of a Fisher-Yates shuffle. Raises InputError when k > count.
    """
    if not 0 <= k <= count:
        raise InputError(f"k={k}: expected a number from 0 to count={count}")
    order = library(keys).empty((len(keys), k), dtype=np.int64)
    kernel("random_order")(contiguous(keys), int(draw), int(count), order)
    return order
