"""Vector work of Krylov methods on batches."""

from __future__ import annotations

import numpy as np

from pertcore.kernels.catalogue import kernel
from pertcore.oracle import Array


def reorthogonalise(
    basis: Array, counts: Array | int, w: Array, *, out: Array | None = None
) -> Array:
    """w less its part in the span of the first vectors of `basis`, removed twice, (n, d).

    w <- w - V (V^T w), twice: classical Gram-Schmidt with one repetition (Giraud and Langou 2005).
    basis (n, k_max, d) holds orthonormal rows, of which sample i uses the first counts[i]; one
    count serves all. The arrays are of one dtype; `out` must not be `w`.
    """
    used = np.ascontiguousarray(np.broadcast_to(counts, (len(basis),)), dtype=np.int64)
    rest = np.empty_like(w) if out is None else out
    kernel("reorthogonalise")(np.ascontiguousarray(basis), used, np.ascontiguousarray(w), rest)
    return rest
