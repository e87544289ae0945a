"""Golub-Kahan-Lanczos: the largest singular values of J from pairs (J v, J^T u), batched.

Golub and Kahan 1965; one-sided reorthogonalisation as in Simon and Zha 2000; restarts that keep
the best Ritz vectors as in Baglama and Reichel 2005.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pertcore.closed_form.krylov import reorthogonalise
from pertcore.oracle import Array
from pertcore.solvers.stored import Map

# Columns kept in memory before a restart, and how many Ritz vectors survive it.
LONGEST, KEPT = 32, 4
# Two more pairs after the residual is small: they catch most starts that miss the top.
EXTRA = 2
# A new direction shorter than this share of sigma_1 is rounding, in float32 and in float64.
EXHAUSTED = {4: 1e-6, 8: 1e-14}
# Entries whose squares are summed in the dtype.
BLOCK = 1024
# The probability with which the bound of Kuczynski and Wozniakowski may be wrong.
FAILURE = 1e-6


@dataclass(frozen=True)
class Spectrum:
    """The r largest singular triplets of n Jacobians, as far as the pairs went.

    values: (n, r) float64, falling, each a lower bound of its singular value (up to rounding);
    right: (n, r, d); left: (n, r, K); residual: (n,) norm of J^T u_1 - s_1 v_1; upper: (n,)
    bound of sigma_1 that fails with probability `FAILURE` over the random start, inf where there
    were too few pairs; exact where `exhausted`, (n,) bool: the Krylov space held all of J that
    the start can see, and `values` are all there is. pairs: (n,) products spent.
    """

    values: Array
    right: Array
    left: Array
    residual: Array
    upper: Array
    exhausted: Array
    pairs: Array


def singular(
    products: Map,
    start: Array,
    *,
    count: int = 1,
    tolerance: float = 1e-2,
    min_pairs: int = 1,
    max_pairs: int = 100,
    longest: int = LONGEST,
) -> Spectrum:
    """The `count` largest singular triplets of each J, from random starts (n, d).

    A start is zero only where every feature is frozen, and then J is zero.

    A sample leaves when the residual of its triplets is below tolerance * sigma_1, two pairs
    later and not before `min_pairs`, or when its Krylov space is exhausted. `longest` is how many
    directions are kept before a restart; memory is n * longest * (d + K) numbers.
    """
    n, d, outputs = len(products), products.d, products.outputs
    kept = max(KEPT, count + 1)
    longest = max(min(longest, max_pairs), kept + 2)
    found = Spectrum(
        np.zeros((n, count)), np.zeros((n, count, d), products.dtype),
        np.zeros((n, count, outputs), products.dtype), np.full(n, math.inf),
        np.full(n, math.inf), np.zeros(n, bool), np.zeros(n, int),
    )  # fmt: skip
    state = Krylov.start(products, start, longest)
    settled = np.full(n, -1)
    for pair in range(1, max_pairs + 1):
        if state.size == longest:
            state.restart(kept)
        state.advance()
        small = state.residuals(count) <= tolerance * state.top
        left = np.where(small & (settled < 0), EXTRA + 1, settled)
        settled = np.where(left > 0, left - 1, left)
        state.bound(pair)
        done = (settled == 0) & (pair >= min_pairs) | state.exhausted | (pair == max_pairs)
        state.report(found, done, pair)
        if np.all(done):
            break
        if np.any(done):
            state.keep(~done)
            settled = settled[~done]
    return found


@dataclass
class Krylov:
    """J V = U B and J^T U = V B^T + beta v_next e_last^T for the samples still at work."""

    products: Map
    rows: Array
    right: Array
    left: Array
    b: Array
    size: int
    beta: Array
    top: Array
    upper: Array
    exhausted: Array
    restarted: bool = False
    svd: tuple[Array, Array, Array] | None = None

    @classmethod
    def start(cls, products: Map, start: Array, longest: int) -> Krylov:
        n, d = start.shape
        right = np.zeros((n, longest + 1, d), products.dtype)
        left = np.zeros((n, longest, products.outputs), products.dtype)
        right[:, 0] = start * _inverse(_norms(start))[:, None]
        return cls(
            products, np.arange(n), right, left, np.zeros((n, longest, longest)), 0,
            np.zeros(n), np.zeros(n), np.full(n, math.inf), np.zeros(n, bool),
        )  # fmt: skip

    def advance(self) -> None:
        """One pair (J v, J^T u): the space grows by a direction."""
        k = self.size
        known = self.b[:, :k, k]
        u = self.products.push(self.right[:, k])
        # one left vector, but for the step after a restart
        for j in np.flatnonzero(known.any(axis=0)):
            u -= known[:, j, None].astype(u.dtype) * self.left[:, j]
        alpha = _finite_norms(u)
        u *= _inverse(alpha).astype(u.dtype)[:, None]
        self.left[:, k], self.b[:, k, k] = u, alpha
        w = reorthogonalise(self.right, k + 1, self.products.pull(u))
        self.beta = _finite_norms(w)
        self.right[:, k + 1] = w * _inverse(self.beta).astype(w.dtype)[:, None]
        self.size = k + 1
        self.svd = np.linalg.svd(self.b[:, : k + 1, : k + 1])
        self.top = self.svd[1][:, 0]
        share = EXHAUSTED[self.products.dtype.itemsize]
        self.exhausted = self.beta <= share * self.top
        if k + 1 < self.b.shape[1]:
            self.b[:, k, k + 1] = self.beta

    def residuals(self, count: int) -> Array:
        """The largest residual norm of the `count` leading triplets, (n,)."""
        vectors, values, _ = self._decomposition()
        last = self.beta[:, None] * np.abs(vectors[:, -1, :count])
        if values.shape[1] < count:
            return np.full(len(self.rows), math.inf)
        return np.asarray(last.max(axis=1))

    def bound(self, pair: int) -> None:
        """sigma_1^2 <= s^2 / (1 - (ln(1.648 sqrt(d) / delta) / (2 k - 1))^2) except with
        probability delta over the start (Kuczynski and Wozniakowski 1992, theorem 4.1)."""
        if self.restarted:
            return
        share = (math.log(1.648 * math.sqrt(self.right.shape[2]) / FAILURE) / (2 * pair - 1)) ** 2
        if share < 1:
            self.upper = np.minimum(self.upper, self.top / math.sqrt(1 - share))

    def restart(self, kept: int) -> None:
        """The best Ritz vectors and the last direction stay; everything else is dropped."""
        vectors, values, transposed = self._decomposition()
        k = self.size
        right = np.matmul(transposed[:, :kept].astype(self.right.dtype), self.right[:, :k])
        turn = vectors[:, :, :kept].transpose(0, 2, 1).astype(self.left.dtype)
        left = np.matmul(turn, self.left[:, :k])
        self.right[:, :kept], self.right[:, kept] = right, self.right[:, k]
        self.left[:, :kept] = left
        self.b[:] = 0
        places = np.arange(kept)
        self.b[:, places, places] = values[:, :kept]
        self.b[:, :kept, kept] = self.beta[:, None] * vectors[:, -1, :kept]
        self.size, self.restarted = kept, True

    def report(self, found: Spectrum, done: Array, pair: int) -> None:
        """Write the triplets of who is done into `found`."""
        if not np.any(done):
            return
        at, k = self.rows[done], self.size
        vectors, values, _ = (part[done] for part in self._decomposition())
        count = min(found.values.shape[1], k)
        found.values[at, :count] = values[:, :count]
        for place, sample in zip(at, np.flatnonzero(done)):
            right, left = self.right[sample, :k], self.left[sample, :k]
            u, _, vt = (part[sample] for part in self._decomposition())
            found.right[place, :count] = vt[:count].astype(right.dtype) @ right
            found.left[place, :count] = u[:, :count].T.astype(left.dtype) @ left
        found.residual[at] = self.beta[done] * np.abs(vectors[:, -1, 0])
        ended = self.exhausted[done]
        rounding = 2 * EXHAUSTED[self.products.dtype.itemsize]
        whole = values[:, 0] * (1 + rounding)
        found.upper[at] = np.where(ended, whole, np.maximum(self.upper[done], whole))
        found.exhausted[at] = self.exhausted[done]
        found.pairs[at] = pair

    def keep(self, going: Array) -> None:
        """Drop everybody else; the products run on fewer samples from here on."""
        u, values, vt = self._decomposition()
        self.svd = u[going], values[going], vt[going]
        self.products = self.products.take(going)
        for name in ("rows", "b", "beta", "top", "upper", "exhausted"):
            setattr(self, name, getattr(self, name)[going])
        for name, used in (("right", self.size + 1), ("left", self.size)):
            held = getattr(self, name)
            fewer = np.zeros((len(self.rows), *held.shape[1:]), held.dtype)
            fewer[:, :used] = held[going, :used]
            setattr(self, name, fewer)

    def _decomposition(self) -> tuple[Array, Array, Array]:
        if self.svd is None:
            self.svd = np.linalg.svd(self.b[:, : self.size, : self.size])
        return self.svd


def _norms(rows: Array) -> Array:
    """Norms of the last axis in float64: sums of short blocks in the dtype, added in float64."""
    whole = rows.shape[-1] // BLOCK * BLOCK
    blocks = rows[..., :whole].reshape(*rows.shape[:-1], -1, BLOCK)
    rest = rows[..., whole:]
    squares = np.einsum("...bi,...bi->...b", blocks, blocks).sum(axis=-1, dtype=np.float64)
    squares += np.einsum("...i,...i->...", rest, rest, dtype=np.float64)
    if np.all((squares > 1e-30) & (squares < 1e30)):
        return np.sqrt(squares)
    # squares that float32 cannot hold
    return np.sqrt(np.einsum("...i,...i->...", rows, rows, dtype=np.float64))


def _finite_norms(rows: Array) -> Array:
    """Norms (n,); a row that is not finite becomes zero, and its Krylov space ends there."""
    norms = _norms(rows)
    broken = ~np.isfinite(norms)
    rows[broken], norms[broken] = 0, 0
    return norms


def _inverse(length: Array) -> Array:
    return np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
