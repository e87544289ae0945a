"""Vector work of Krylov methods, in NumPy."""

from __future__ import annotations

import numpy as np

from pertcore.oracle import Array


def reorthogonalise(basis: Array, counts: Array, w: Array, out: Array) -> None:
    """out (n, d) = w less its part in the span of basis[k, :counts[k]], removed twice."""
    for k in range(len(basis)):
        v, rest = basis[k, : counts[k]].astype(np.float64), w[k].astype(np.float64)
        for _ in range(2):
            rest = rest - (v @ rest) @ v
        out[k] = rest
