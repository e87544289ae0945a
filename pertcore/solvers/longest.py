"""(14): the longest column of J, which is ||J||_{1 -> 2}, by whichever way is cheapest.

max ||J eta||_2 over ||eta||_1 <= eps is attained at eps e_k, k = argmax ||J_k||_2.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array
from pertcore.solvers import columns, probing
from pertcore.solvers.columns import MAX_MEMORY
from pertcore.solvers.lowrank import low_rank
from pertcore.solvers.products import Products
from pertcore.solvers.sketch import FAILURE, longest_column, longest_of

METHODS = ("auto", "columns", "combs", "low rank", "sketch")
# Below so many products the plain sweep costs less than looking for structure.
PLAIN = 64
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Longest:
    """The longest column of n Jacobians.

    index (n,); norm (n,) float64, the model's own product; norms (n, d) of all columns, None
    where the sketch ruled most of them out. method: one of `METHODS`; kind: "exact", or the
    probability with which the sketch is right. jvps, vjps: products a sample, those included
    that led nowhere; notes: why a cheaper way was left.
    """

    index: Array
    norm: Array
    norms: Array | None
    method: str
    kind: str
    jvps: int
    vjps: int
    notes: tuple[str, ...] = ()


def largest_column(
    products: Products, *, method: str = "auto", max_memory: int = MAX_MEMORY, rng: int = 0
) -> Longest:
    """argmax_k ||J_k||_2 of every sample, and its norm (14); ties go to the lowest index.

    "columns" sweeps all of J in min(K, d) products and keeps O(d); "combs" serves local models,
    "low rank" bottlenecks, "sketch" columns of very different lengths; "auto" tries them in that
    order of cost and falls back to the sweep. Raises InputError for another method, or where
    the asked one does not fit the model.
    """
    if method not in METHODS:
        raise InputError(f"method={method!r}: allowed are {', '.join(METHODS)}")
    structured = products.sweep > PLAIN and products.plain
    ways = {"combs": _combs, "low rank": _low_rank, "sketch": _sketch}
    chosen = [method] if method != "auto" else list(ways) if structured else []
    jvps, vjps = 0, 0
    notes: list[str] = []
    for name in chosen if method != "columns" else ():
        found = ways[name](products, max_memory, rng)
        jvps, vjps = jvps + found.jvps, vjps + found.vjps
        if not found.notes:
            return _added(found, jvps, vjps, notes)
        LOG.info("%s", found.notes[0])
        notes += found.notes
    if method not in ("auto", "columns"):
        raise InputError(f"method={method!r}: {notes[0]}; give method='auto'")
    found = _sweep(products, max_memory)
    return _added(found, jvps + found.jvps, vjps + found.vjps, notes)


def _added(found: Longest, jvps: int, vjps: int, notes: list[str]) -> Longest:
    return Longest(
        found.index, found.norm, found.norms, found.method, found.kind, jvps, vjps, tuple(notes)
    )


def _sweep(products: Products, max_memory: int) -> Longest:
    norms = columns.column_norms(products, max_memory=max_memory)
    rows = products.by_rows
    return _of_norms(norms, "columns", 0 if rows else products.d, products.outputs if rows else 0)


def _combs(products: Products, max_memory: int, rng: int) -> Longest:
    reach = probing.detect(products)
    if reach is None:
        return _left("combs", len(products), probing.SEARCH, 0, "the model is not local")
    combs = probing.Combs.of(products, reach, max_memory=max_memory, rng=rng)
    norms = probing.column_norms(combs)
    if not np.all(combs.trusted):
        why = f"combs miss {float(np.max(combs.error)):.1e} of random products"
        return _left("combs", len(products), combs.jvps, 0, why)
    return _of_norms(norms, "combs", combs.jvps, 0)


def _low_rank(products: Products, max_memory: int, rng: int) -> Longest:
    factor = low_rank(products, max_memory=max_memory, rng=rng)
    if not np.all(factor.complete):
        why = f"J is of no low rank: {factor.left.shape[1]} directions miss "
        why += f"{float(np.max(factor.error)):.1e} of random products"
        return _left("low rank", len(products), factor.jvps, factor.vjps, why)
    norms = factor.column_norms()
    # Columns that the factor cannot tell from the longest are asked of the model itself.
    doubt = 4 * np.maximum(factor.error, 1e-7) * columns.frobenius(norms)
    near = norms >= norms.max(axis=1, keepdims=True) - doubt[:, None]
    index, norm = longest_of(products, near, max_memory)
    jvps = factor.jvps + int(near.sum(axis=1).max(initial=0))
    return Longest(index, norm, norms, "low rank", "exact", jvps, factor.vjps)


def _sketch(products: Products, max_memory: int, rng: int) -> Longest:
    found = longest_column(products, max_memory=max_memory, rng=rng)
    if not found.gain:
        why = "the columns are too alike for a sketch to tell them apart, or not finite"
        return _left("sketch", len(products), found.jvps, found.vjps, why)
    kind = f"right with probability 1 - {FAILURE:.0e}"
    return Longest(found.index, found.norm, None, "sketch", kind, found.jvps, found.vjps)


def _of_norms(norms: Array, method: str, jvps: int, vjps: int) -> Longest:
    index = norms.argmax(axis=1)
    norm = norms[np.arange(len(norms)), index]
    return Longest(index, norm, norms, method, "exact", jvps, vjps)


def _left(method: str, n: int, jvps: int, vjps: int, why: str) -> Longest:
    nothing = np.zeros(n)
    return Longest(nothing.astype(int), nothing, None, method, "none", jvps, vjps, (why,))
