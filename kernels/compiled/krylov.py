"""Vector work of Krylov methods, in Numba.

Both removals need three readings of the basis, not four: a piece of the once cleaned vector is
multiplied with the basis while that piece of the basis is still in the cache. The third is left
out where it would change the vector by no more than its rounding.
"""

from __future__ import annotations

import numpy as np

from pertcore.kernels.compiled.elements import strict
from pertcore.kernels.compiled.vectors import add, add_4, dot, dot_4, wide_square
from pertcore.oracle import Array

# Long enough that rows too long for the cache are read in streams; shorter rows are one piece.
PIECE = 65536


@strict
def reorthogonalise(basis: Array, counts: Array, w: Array, out: Array) -> None:
    first, second = np.zeros(basis.shape[1]), np.zeros(basis.shape[1])
    d, ulp = w.shape[1], np.finfo(w.dtype).eps
    for k in range(basis.shape[0]):
        count, rest = counts[k], out[k]
        v = basis[k, :count]
        first[:count] = 0.0
        second[:count] = 0.0
        rest[:] = w[k]
        for s in range(0, d, PIECE):
            _multiply(v, rest, s, min(s + PIECE, d), first)
        for s in range(0, d, PIECE):
            _remove(v, first, s, min(s + PIECE, d), rest)
            _multiply(v, rest, s, min(s + PIECE, d), second)
        if wide_square(second[:count]) <= (2 * ulp) ** 2 * wide_square(rest):
            continue
        for s in range(0, d, PIECE):
            _remove(v, second, s, min(s + PIECE, d), rest)


@strict
def _multiply(v: Array, w: Array, s: int, e: int, products: Array) -> None:
    """products += v[:, s:e] . w[s:e]."""
    piece = w[s:e]
    fours = v.shape[0] // 4 * 4
    for b in range(0, fours, 4):
        found = dot_4(v[b, s:e], v[b + 1, s:e], v[b + 2, s:e], v[b + 3, s:e], piece)
        products[b] += found[0]
        products[b + 1] += found[1]
        products[b + 2] += found[2]
        products[b + 3] += found[3]
    for b in range(fours, v.shape[0]):
        products[b] += dot(v[b, s:e], piece)


@strict
def _remove(v: Array, products: Array, s: int, e: int, w: Array) -> None:
    """w[s:e] -= products . v[:, s:e]."""
    piece = w[s:e]
    fours = v.shape[0] // 4 * 4
    factors = np.empty(4, v.dtype)
    for b in range(0, fours, 4):
        for c in range(4):
            factors[c] = -products[b + c]
        add_4(piece, factors, v[b, s:e], v[b + 1, s:e], v[b + 2, s:e], v[b + 3, s:e])
    for b in range(fours, v.shape[0]):
        add(piece, v.dtype.type(-products[b]), v[b, s:e])
