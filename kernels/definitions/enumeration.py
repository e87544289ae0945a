"""The best signs of every subset of columns, in NumPy.

A partition comes as `members`, the columns of subset 0, then of subset 1 and so on, and `starts`
(S + 1,), where each begins. Columns in no subset get the sign 0.
"""

from __future__ import annotations

import numpy as np

from pertcore.kernels.definitions.quadratic import greedy_signs
from pertcore.oracle import Array

TIE = 1e-12
"""Values this close are tied: then the signs with the fewest, latest -1 in binary order win."""


def subset_greedy(
    columns: Array, members: Array, starts: Array, signs: Array, values: Array
) -> None:
    signs[:] = 0
    for s in range(len(starts) - 1):
        chosen = members[starts[s] : starts[s + 1]]
        found = np.empty((len(columns), len(chosen)), columns.dtype)
        greedy_signs(columns[:, chosen], found)
        _store(columns, chosen, found, signs, values[:, s])


def subset_exact(
    columns: Array, members: Array, starts: Array, signs: Array, values: Array
) -> None:
    signs[:] = 0
    for s in range(len(starts) - 1):
        chosen = members[starts[s] : starts[s + 1]]
        number = np.arange(2 ** max(len(chosen) - 1, 0))
        # The first sign is +1, since s and -s are worth the same; bit b turns sign b + 1.
        bits = (number[:, None] >> np.arange(len(chosen) - 1)) & 1
        every = np.concatenate([np.ones((len(number), 1)), 1 - 2 * bits], axis=1)[:, : len(chosen)]
        found = np.empty((len(columns), len(chosen)))
        for k in range(len(columns)):
            images = every @ columns[k, chosen].astype(np.float64)
            worth = (images * images).sum(axis=1)
            found[k] = every[int(np.argmax(worth >= worth.max() * (1 - TIE)))]
        _store(columns, chosen, found, signs, values[:, s])


def _store(columns: Array, chosen: Array, found: Array, signs: Array, values: Array) -> None:
    signs[:, chosen] = found
    wide = columns[:, chosen].astype(np.float64)
    images = np.einsum("kz,kzj->kj", found.astype(np.float64), wide)
    values[:] = (images * images).sum(axis=1)
