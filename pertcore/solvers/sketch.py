"""The longest column of J by a Gaussian sketch: few products rule out most columns.

For Gaussian u the entries of J^T u are normal with the norms of the columns as deviations, so
sums of squares over m draws are ||J_k||^2 chi2_m: an interval for every column, wrong with a
probability that is chosen. Only columns that may still be the longest are then computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from pertcore.oracle import Array
from pertcore.solvers.columns import MAX_MEMORY, vectors_at_once
from pertcore.solvers.products import Products

# The probability with which the interval of any column, at any look, may be wrong.
FAILURE = 1e-6
STREAM = 0x736B6574
LOOKS = (16, 32, 64, 96, 128, 192, 256, 384, 512)
# Columns whose logarithmic squared lengths deviate less than this are too alike to be pruned.
ALIKE = 0.25


@dataclass(frozen=True)
class Pruned:
    """The longest column of n Jacobians, or why the sketch gave up.

    index (n,), norm (n,) float64; gain: whether pruning paid; where it is False, index and norm
    mean nothing. jvps, vjps: products a sample.
    """

    index: Array
    norm: Array
    gain: bool
    jvps: int
    vjps: int


def longest_column(
    products: Products, *, max_memory: int = MAX_MEMORY, rng: int = 0, failure: float = FAILURE
) -> Pruned:
    """argmax_k ||J_k|| of every sample, wrong with a probability of at most `failure`.

    Gives up, `gain` False, where columns are too alike or not finite, or more products would be
    needed than the min(K, d) of the plain sweep.
    """
    n, d, plain = len(products), products.d, min(products.d, products.outputs)
    sums, drawn = np.zeros((n, d)), 0
    nothing = np.zeros(n, int), np.zeros(n)
    for look in LOOKS:
        if look > plain // 2:
            return Pruned(*nothing, False, 0, drawn)
        _draw(products, sums, drawn, look, max_memory, rng)
        drawn = look
        if not np.all(np.isfinite(sums)):
            return Pruned(*nothing, False, 0, drawn)
        if look == LOOKS[0] and np.any(_spread(sums, drawn) < ALIKE):
            return Pruned(*nothing, False, 0, drawn)
        left = survivors(sums, drawn, failure / (len(LOOKS) * max(d, 1) * max(n, 1)))
        most = int(left.sum(axis=1).max(initial=0))
        if most <= drawn // 2:
            return Pruned(*longest_of(products, left, max_memory), True, most, drawn)
    return Pruned(*nothing, False, 0, drawn)


def survivors(sums: Array, drawn: int, failure: float) -> Array:
    """(n, d) bool: who may be the longest, when each interval is wrong with that probability."""
    highest = sums / chi2.ppf(failure / 2, drawn)
    lowest = sums / chi2.isf(failure / 2, drawn)
    return np.asarray(highest >= lowest.max(axis=1, keepdims=True))


def _draw(
    products: Products, sums: Array, drawn: int, look: int, max_memory: int, seed: int
) -> None:
    """Add draws number `drawn` to `look` to the sums of squares."""
    step = vectors_at_once(products, max_memory)
    for begin in range(drawn, look, step):
        numbers = range(begin, min(begin + step, look))
        u = np.stack(
            [
                np.random.default_rng((STREAM, seed, k)).standard_normal(products.outputs)
                for k in numbers
            ]
        ).astype(products.dtype)
        pulled = products.pull(np.repeat(u[:, None], len(products), axis=1))
        sums += np.einsum("cnd,cnd->nd", pulled, pulled, dtype=np.float64)


def _spread(sums: Array, drawn: int) -> Array:
    """Deviation of the columns' log ||J_k||^2 beyond what the draws alone make of it, (n,)."""
    logs = np.log(np.maximum(sums, np.finfo(float).tiny))
    own = logs.var(axis=1) - 2 / (drawn - 1)
    return np.sqrt(np.maximum(own, 0))


def longest_of(products: Products, left: Array, max_memory: int) -> tuple[Array, Array]:
    """Index and norm (n,) of the longest of the columns `left` (n, d), from one product each."""
    n, most = len(left), int(left.sum(axis=1).max(initial=0))
    # whoever has fewer columns left repeats his first
    order = np.argsort(~left, axis=1, kind="stable")[:, :most]
    counts = left.sum(axis=1)
    order = np.where(np.arange(most) < counts[:, None], order, order[:, :1])
    norms = np.zeros((n, most))
    step = vectors_at_once(products, max_memory)
    for begin in range(0, most, step):
        part = order[:, begin : begin + step].T
        units = np.zeros((*part.shape, products.d), products.dtype)
        np.put_along_axis(units, part[:, :, None], 1, axis=2)
        pushed = products.push(units)
        norms[:, begin : begin + step] = np.sqrt(
            np.einsum("cnk,cnk->nc", pushed, pushed, dtype=np.float64)
        )
    best = norms.argmax(axis=1)
    rows = np.arange(n)
    return order[rows, best], norms[rows, best]
