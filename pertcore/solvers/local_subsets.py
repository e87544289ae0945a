"""Quadratics of single subsets, such as pixels, of a local model: (17) without the columns of J.

Within a subset only the products J_i . J_j count, so a column may be replaced by any vector with
the same products: one of Z numbers for a subset of Z entries, where J_i has K.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csc_array

from pertcore.constraints import Partition
from pertcore.oracle import Array
from pertcore.solvers import probing
from pertcore.solvers.columns import MAX_MEMORY
from pertcore.solvers.products import Products


def subset_columns(
    products: Products, partition: Partition, *, max_memory: int = MAX_MEMORY, rng: int = 0
) -> Array | None:
    """Short columns (n, d, Z) with the products of J's within every subset, by combs.

    None where the model is not local, or where combs miss a part of random products. Raises
    InputError where the sparse J of one sample is beyond `max_memory`.
    """
    reach = probing.detect(products)
    if reach is None:
        return None
    made = []
    for sample in range(len(products)):
        alone = products.take(np.array([sample]))
        combs = probing.Combs.of(alone, reach, max_memory=max_memory, rng=rng)
        (sparse,) = probing.sparse_columns(combs)
        if not np.all(combs.trusted):
            return None
        made.append(short_columns(*subset_grams(sparse, partition), products.d))
    return np.stack(made).astype(products.dtype)


def subset_grams(columns: csc_array, partition: Partition) -> tuple[Array, Array]:
    """J_S^T J_S of every subset, (S, Z, Z) float64, and its entries (S, Z), -1 beyond its size.

    columns: J of one sample, (K, d). Z is the size of the largest subset.
    """
    entries = _members(partition)
    held = columns.astype(np.float64)
    padded = np.where(entries < 0, 0, entries)
    parts = [held[:, padded[:, z]] for z in range(entries.shape[1])]
    grams = np.zeros((*entries.shape, entries.shape[1]))
    for a, first in enumerate(parts):
        for b in range(a + 1):
            both = (entries[:, a] >= 0) & (entries[:, b] >= 0)
            products = first.multiply(parts[b]).sum(axis=0)
            grams[:, a, b] = grams[:, b, a] = np.where(both, products, 0)
    return grams, entries


def _members(partition: Partition) -> Array:
    order = np.argsort(partition.labels, kind="stable")
    order = order[np.count_nonzero(partition.labels < 0) :]
    labels = partition.labels[order]
    sizes = np.bincount(labels, minlength=partition.count)
    starts = np.cumsum(sizes) - sizes
    entries = np.full((partition.count, sizes.max()), -1)
    entries[labels, np.arange(len(order)) - starts[labels]] = order
    return entries


def short_columns(grams: Array, entries: Array, d: int) -> Array:
    """Vectors (d, Z) whose products within each subset are the grams (S, Z, Z); zero elsewhere."""
    values, vectors = np.linalg.eigh(grams)
    roots = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
    short = np.zeros((d, grams.shape[1]))
    short[entries[entries >= 0]] = roots[entries >= 0]
    return short
