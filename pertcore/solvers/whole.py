"""All columns of J, or their norms: by combs where the model is local, else by the sweep."""

from __future__ import annotations

import logging

import numpy as np

from pertcore.oracle import Array
from pertcore.solvers import columns, probing
from pertcore.solvers.columns import MAX_MEMORY
from pertcore.solvers.products import Products

# Below so many products the sweep costs less than looking for structure.
PLAIN = 64
LOG = logging.getLogger(__name__)


def every_column(products: Products, *, max_memory: int = MAX_MEMORY, rng: int = 0) -> Array:
    """J^T of every sample, (n, d, K), as `columns.explicit`, in fewer products of a local model.

    Raises InputError where the array is beyond `max_memory` bytes.
    """
    combs = _combs(products, max_memory, rng) if columns.size(products) <= max_memory else None
    if combs is None:
        return columns.explicit(products, max_memory=max_memory)
    held = np.zeros((len(products), products.d, products.outputs), products.dtype)
    for owner, response in combs:
        owned = np.flatnonzero(owner >= 0)
        held[:, owner[owned], owned] = response[:, owned]
    return held if _trusted(combs) else columns.explicit(products, max_memory=max_memory)


def every_norm(products: Products, *, max_memory: int = MAX_MEMORY, rng: int = 0) -> Array:
    """The norms of all columns, (n, d) float64, as `columns.column_norms`."""
    combs = _combs(products, max_memory, rng)
    norms = None if combs is None else probing.column_norms(combs)
    if combs is None or norms is None or not _trusted(combs):
        return columns.column_norms(products, max_memory=max_memory)
    return norms


def _combs(products: Products, max_memory: int, rng: int) -> probing.Combs | None:
    if products.sweep <= PLAIN or not products.plain:
        return None
    reach = probing.detect(products)
    if reach is None:
        return None
    return probing.Combs.of(products, reach, max_memory=max_memory, rng=rng)


def _trusted(combs: probing.Combs) -> bool:
    if not np.all(combs.trusted):
        LOG.warning("combs miss %.1e of random products: swept instead", combs.error.max())
    return bool(np.all(combs.trusted))
