"""max norm_2(c + J eta)^2 over norm_2(eta) <= eps: (11) for p = 2, its optimum and a bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pertcore.oracle import Array
from pertcore.solvers.lanczos import Krylov, Spectrum
from pertcore.solvers.stored import Map, Stored

HALVINGS = 120
# How much of the top singular vector joins the gradient at the start: without it a gradient
# orthogonal to that vector never finds it (the hard case of More and Sorensen 1983).
MIXED = 0.1


@dataclass(frozen=True)
class Solution:
    """eta (n, d), norm_2(c + J eta)^2 (n,), an upper bound (n,) and the pairs spent (n,)."""

    eta: Array
    value: Array
    upper: Array
    pairs: Array


def secular(values: Array, slope: Array, eps: Array) -> tuple[Array, Array]:
    """Maximises sum_i values_i w_i^2 + 2 slope_i w_i over norm_2(w) <= eps.

    values, slope (n, k), eps (n,). w_i = slope_i / (mu - values_i) with the mu >= max(values) that
    puts w on the sphere (More and Sorensen 1983); where the slope has no part along the largest
    value, what is missing of the norm goes there. Returns w (n, k) and mu (n,).
    """
    top = values.max(axis=1)
    largest = values == top[:, None]
    radius = np.where(eps > 0, eps, 1)
    low = top + np.sqrt(np.where(largest, slope**2, 0).sum(axis=1)) / radius
    high = top + np.linalg.norm(slope, axis=1) / radius
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        outside = _norm_at(values, slope, middle) > radius
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    w = _at(values, slope, high)
    missing = np.sqrt(np.maximum(eps**2 - (w**2).sum(axis=1), 0))
    at = largest.argmax(axis=1)
    everyone = np.arange(len(w))
    sign = np.where(w[everyone, at] < 0, -1, 1)
    # Along the largest value more is always better: an exact root is scaled, a hard case filled.
    alone = np.abs(w[everyone, at])
    others = (w**2).sum(axis=1) - alone**2
    w[everyone, at] = sign * np.where(
        missing > 0, np.sqrt(np.maximum(eps**2 - others, 0)), alone
    )  # fmt: skip
    length = np.linalg.norm(w, axis=1)
    w *= np.minimum(1, eps / np.maximum(length, np.finfo(float).tiny))[:, None]
    return w, high


def _at(values: Array, slope: Array, mu: Array) -> Array:
    gap = mu[:, None] - values
    return np.divide(slope, gap, out=np.zeros_like(slope), where=gap > 0)


def _norm_at(values: Array, slope: Array, mu: Array) -> Array:
    return np.linalg.norm(_at(values, slope, mu), axis=1)


def dense(stored: Stored, offset: Array, eps: Array) -> Solution:
    """The optimum from all singular values, exact up to rounding: J has few rows or columns.

    NaN for the value of samples whose J or offset is not finite.
    """
    columns, level = stored.columns.astype(np.float64), offset.astype(np.float64)
    broken = ~(np.isfinite(columns).all(axis=(1, 2)) & np.isfinite(level).all(axis=1))
    columns[broken], level[broken] = 0, 0
    wide = columns.shape[1] >= columns.shape[2]
    gram = (
        np.matmul(columns.transpose(0, 2, 1), columns)
        if wide
        else np.matmul(columns, columns.transpose(0, 2, 1))
    )
    squares, vectors = np.linalg.eigh(gram)
    squares = np.maximum(squares, 0)
    if wide:
        right = np.matmul(columns, vectors)
        lengths = np.sqrt(squares)
        small = lengths <= lengths[:, -1:] * 1e-12
        right = np.where(small[:, None], 0, right / np.where(small, 1, lengths)[:, None])
        slope = lengths * np.einsum("nkr,nk->nr", vectors, level)
    else:
        right, slope = vectors, None
    slope = np.einsum("ndr,ndk,nk->nr", right, columns, level) if slope is None else slope
    w, mu = secular(squares, slope, eps)
    eta = np.einsum("ndr,nr->nd", right, w)
    base = np.einsum("nk,nk->n", level, level)
    value = base + (squares * w**2 + 2 * slope * w).sum(axis=1)
    gap = mu[:, None] - squares
    inside = np.divide(slope**2, gap, out=np.zeros_like(slope), where=gap > 0)
    upper = np.maximum(base + mu * eps**2 + inside.sum(axis=1), value)
    value[broken] = np.nan
    return Solution(eta, value, upper, np.zeros(len(eta), int))


def krylov(
    given: Map, offset: Array, eps: Array, spectrum: Spectrum, *, tolerance: float, max_pairs: int
) -> Solution:
    """The optimum over a Krylov space of J^T J from b = J^T c and the top singular vector.

    `spectrum` holds that vector and a bound s of the largest singular value. The upper bound is
    the dual function |c|^2 + mu eps^2 + b^T (mu - J^T J)^-1 b at a mu > s^2, its last term
    bounded through the residual of an approximate solve; it is as certain as s.
    """
    slope = given.pull(offset)
    state = Krylov.start(given, _start(slope, spectrum), max_pairs)
    base = np.einsum("nk,nk->n", offset, offset, dtype=np.float64)
    while True:
        state.advance()
        point = _solved(state, slope, base, eps, spectrum)
        settled = (point.residual <= tolerance * point.scale) | state.exhausted
        if np.all(settled) or state.size == max_pairs:
            break
    eta = np.einsum("nk,nkd->nd", point.w, state.right[:, : state.size].astype(np.float64))
    return Solution(
        eta, point.value, np.maximum(point.upper, point.value), np.full(len(eta), state.size)
    )  # fmt: skip


def _start(slope: Array, spectrum: Spectrum) -> Array:
    length = np.linalg.norm(slope.astype(np.float64), axis=1)[:, None]
    along = np.divide(slope, length, out=np.zeros_like(slope), where=length > 0)
    top = spectrum.right[:, 0]
    sign = np.where(np.einsum("nd,nd->n", along, top) < 0, -1, 1)[:, None]
    return (along + MIXED * sign * top).astype(slope.dtype)


@dataclass(frozen=True)
class _Point:
    w: Array
    value: Array
    upper: Array
    residual: Array
    scale: Array


def _solved(state: Krylov, slope: Array, base: Array, eps: Array, spectrum: Spectrum) -> _Point:
    """The problem restricted to the space so far, and what its solution proves."""
    k = state.size
    small = state.b[:, :k, :k]
    squares, turn = np.linalg.eigh(np.matmul(small.transpose(0, 2, 1), small))
    inside = np.einsum("nkd,nd->nk", state.right[:, :k], slope, dtype=np.float64)
    part = np.einsum("nkr,nk->nr", turn, inside)
    z, mu = secular(np.maximum(squares, 0), part, eps)
    value = base + (squares * z**2 + 2 * part * z).sum(axis=1)
    w = np.einsum("nkr,nr->nk", turn, z)
    outside = np.linalg.norm(
        slope - np.einsum("nk,nkd->nd", inside, state.right[:, :k]).astype(slope.dtype), axis=1
    )
    residual = np.hypot(state.beta * np.abs(np.einsum("nk,nk->n", small[:, -1], w)), outside)
    return _Point(
        w, value, _dual(state, spectrum, squares, turn, part, mu, outside, base, eps), residual,
        np.maximum(mu * eps, np.finfo(float).tiny),
    )  # fmt: skip


def _dual(
    state: Krylov, spectrum: Spectrum, squares: Array, turn: Array, part: Array, mu: Array,
    outside: Array, base: Array, eps: Array,
) -> Array:  # fmt: skip
    """|c|^2 + mu eps^2 + 2 b.z - z.(mu - J^T J) z + |r|^2 / (mu - s^2), r = b - (mu - J^T J) z,
    the smallest of a few mu: any z bounds the quadratic form of a positive definite inverse."""
    ceiling = spectrum.upper**2
    best = np.full(len(mu), math.inf)
    small = state.b[:, : state.size, : state.size]
    for share in (0.0, 1e-3, 1e-2, 0.05, 0.2, 1.0):
        tried = np.maximum(mu, ceiling) * (1 + share)
        z = _at(squares, part, tried)
        tail = state.beta * np.abs(np.einsum("nk,nkr,nr->n", small[:, -1], turn, z))
        # the two parts of r need not be orthogonal
        rest = (tail + outside) ** 2
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            form = (2 * part * z - (tried[:, None] - squares) * z**2).sum(axis=1)
            lost = np.where(rest > 0, rest / (tried - ceiling), 0)
            bound = base + tried * eps**2 + form + lost
        best = np.fmin(best, np.where(np.isnan(bound), math.inf, bound))
    return best
