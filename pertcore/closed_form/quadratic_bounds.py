"""Upper bounds of max norm_2(J eta)^2 that hold in spite of rounding."""

from __future__ import annotations

import math

import numpy as np

from pertcore.closed_form.norms import row_norms
from pertcore.closed_form.quadratic_signs import scaled
from pertcore.errors import InputError
from pertcore.oracle import Array

FLOOR = 1e-6
"""The smallest weight, as a share of the largest."""
DENSE = 192
"""Up to this order all eigenvalues are computed, above it the largest by Lanczos."""
STEPS = 48
SETTLED = 1e-6
SLACKS = (1e-5, 1e-3)
"""What is added to the estimate of the largest eigenvalue before the proof is tried."""
UNIT = 2.0**-53
PIECE = 8192
"""Columns that are held in float64 at once."""


def dual_weights(columns: Array, image: Array) -> Array:
    """norm_2(W^T J_k), (d,) float64: the weights that the relaxation proposes to `dual_bound`.

    columns (d, K) = J^T and image W = J V (K, rank) of `mixing`; at its optimum they are the
    dual solution of the semidefinite program.
    """
    batch, _ = scaled(columns)
    turned, _ = scaled(image)
    return np.linalg.norm(batch[0] @ turned[0], axis=1).astype(np.float64)


def dual_bound(
    columns: Array, y: Array, *, p: float = math.inf, gram: Array | None = None
) -> float:
    """A number >= norm_2(J eta)^2 for every eta with norm_p(eta) <= 1; p >= 2.

    norm_2(J eta)^2 <= theta sum y_i eta_i^2 <= theta norm_r(y), r = p/(p-2) (1 for p = inf, inf
    for p = 2), theta = lambda_max(J diag(y)^-1 J^T): weak duality with the semidefinite program
    (Nesterov 1998), for any y > 0. theta is proved by a Cholesky factorisation, not estimated.
    columns (d, K) = J^T; y (d,), raised to a millionth of its largest entry; columns of zeros
    need no weight. `gram` (d, d) spares the work of J^T J where it is at hand in float64.
    inf where an entry is not finite. Raises InputError for p < 2, or for y that is not finite or
    nowhere positive.
    """
    if not p >= 2:
        raise InputError(f"p={p}: the dual bound holds for p >= 2, p = inf included")
    batch, exponents = scaled(columns)
    if not np.all(np.isfinite(batch)):
        return math.inf
    used = np.any(batch[0] != 0, axis=1)
    if not np.any(used):
        return 0.0
    weights = raised(np.asarray(y, dtype=np.float64)[used])
    if gram is not None and not exponents[0]:
        inside = gram if np.all(used) else gram[np.ix_(used, used)]
        framed, terms = _framed(inside, weights), batch.shape[2]
    else:
        held = batch[0] if np.all(used) else batch[0][used]
        framed, terms = _weighted_gram(held, weights)
    theta = proved_top(framed, terms, float(np.trace(framed)))
    order = 1.0 if math.isinf(p) else (math.inf if p == 2 else p / (p - 2))
    size = float(row_norms(weights[None], order)[0])
    upper = theta * size * grown(len(weights))
    with np.errstate(over="ignore"):
        return float(np.ldexp(upper, 2 * int(exponents[0])))


def grown(count: int) -> float:
    """What makes up for rounding in a norm of `count` positive terms, and in a few products."""
    return 1 + 4 * (count + 64) * UNIT


def raised(y: Array) -> Array:
    """y as shares of its largest entry, at least FLOOR: weights of a dual bound."""
    top = y.max()
    if not (np.all(np.isfinite(y)) and top > 0):
        raise InputError(
            "y: the weights of a dual bound are finite, and positive somewhere; "
            f"their largest is {top}"
        )
    return np.maximum(y / top, FLOOR)


def _framed(gram: Array, weights: Array) -> Array:
    """diag(weights)^-1/2 gram diag(weights)^-1/2."""
    roots = np.sqrt(weights)
    framed = gram / roots[:, None]
    framed /= roots
    return framed


def _weighted_gram(columns: Array, weights: Array) -> tuple[Array, int]:
    """J diag(weights)^-1 J^T or, where smaller, its companion; and the terms an entry sums."""
    d, width = columns.shape
    if d <= width:
        wide = columns.astype(np.float64)
        return _framed(wide @ wide.T, weights), width
    return weighted_square(columns, weights), d


def weighted_square(columns: Array, weights: Array) -> Array:
    """J diag(weights)^-1 J^T, (K, K) float64."""
    d, width = columns.shape
    total = np.zeros((width, width))
    for s in range(0, d, PIECE):
        frame = columns[s : s + PIECE] / np.sqrt(weights[s : s + PIECE, None])
        total += frame.T @ frame
    return total


def proved_top(gram: Array, terms: int, size: float) -> float:
    """A number >= lambda_max of the matrix that `gram`, of order n, is the rounded form of.

    That matrix is M = B B^T, an entry the sum of m = `terms` products in any order, or M + S with
    S = P^T C P with at most 7 rows P and C >= 0; `size` is trace M plus
    sum c_ab norm_2(p_a) norm_2(p_b). With u the unit roundoff, B or the product is divided by
    rounded roots: at most 6 roundings besides, so that gram differs from M by at most
    (m + 6) u abs(B) abs(B)^T, whose 2-norm is at most (m + 6) u trace M; S differs by at most
    16 u times its part of `size`, and the sum by u size. If the factorisation of
    A = theta I - gram runs to its end, then lambda_min(A) >= -(n + 2) u trace(A) (Rump 2006, after
    Demmel 1989), and trace(A) <= n theta + size; forming A adds u (theta + size). Every constant
    is doubled for the terms of second order, and for divisions done as products with a
    reciprocal. `size` is always an upper bound.
    """
    n = len(gram)
    rounding = 2 * (terms + 16) * UNIT * size
    whole = size * (1 + 4 * n * UNIT) + rounding
    guess = largest_eigenvalue(gram)
    for theta in (guess + s * abs(guess) for s in (SLACKS if n > DENSE else SLACKS[:1])):
        if _is_positive(theta, gram):
            break
    else:
        top = float(np.linalg.eigvalsh(gram)[-1])
        theta = top + SLACKS[0] * abs(top)
        if not _is_positive(theta, gram):
            return whole
    factored = 2 * (n + 16) * UNIT * (n * abs(theta) + size)
    return min(theta + factored + rounding, whole)


def _is_positive(theta: float, gram: Array) -> bool:
    # Twice as fast as numpy.linalg, which copies and clears; SciPy's import takes a while.
    from scipy.linalg.lapack import dpotrf

    shifted = -gram
    shifted.flat[:: len(gram) + 1] += theta
    return bool(dpotrf(shifted.T, lower=1, clean=0, overwrite_a=1)[1] == 0)


def largest_eigenvalue(gram: Array) -> float:
    """An estimate of lambda_max of a symmetric matrix >= 0: LAPACK, or Lanczos above DENSE."""
    n = len(gram)
    if n <= DENSE:
        return float(np.linalg.eigvalsh(gram)[-1])
    # An estimate to six digits is enough, and float32 is twice as fast.
    near = (gram / np.trace(gram)).astype(np.float32)
    basis, alpha, beta = np.empty((STEPS, n), np.float32), np.zeros(STEPS), np.zeros(STEPS)
    vector = np.sqrt(near.diagonal()) * (1 + np.arange(n) % 7)
    top = 0.0
    for k in range(STEPS):
        basis[k] = vector / np.linalg.norm(vector)
        vector = near @ basis[k]
        alpha[k] = basis[k] @ vector
        for _ in range(2):
            vector -= (basis[: k + 1] @ vector) @ basis[: k + 1]
        beta[k] = np.linalg.norm(vector)
        before, top = top, _top_ritz(alpha[: k + 1], beta[:k])
        if top - before <= SETTLED * top or beta[k] <= SETTLED * top:
            break
    return top * float(np.trace(gram))


def _top_ritz(alpha: Array, beta: Array) -> float:
    inner = np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1)
    return float(np.linalg.eigvalsh(inner)[-1])
