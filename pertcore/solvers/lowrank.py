"""J as a thin factor where its rank is low: J s = left @ (right @ s), and no further model run.

Golub and Kahan's directions span the row space of J once the recurrence ends, whatever rounding
did to it: the products J v_i of orthonormal v_i are kept as they are. Random products, taken
before the first direction, tell at every step what is still missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pertcore.oracle import Array
from pertcore.solvers.columns import MAX_MEMORY
from pertcore.solvers.products import Products

# What random products may miss, relative, by itemsize: the rounding of a model's own products.
TOLERANCE = {4: 3e-6, 8: 1e-11}
PROBES = 2
STREAM = 0x70657274
# Directions after which the rank is first foretold, and a share of room for the forecast.
FIRST_LOOK, ROOM = 8, 1.3
# How far beyond the rank promised halfway a straight line is still believed.
KEPT_WORD = 1.6


@dataclass(frozen=True)
class Factor:
    """J of n samples as left^T right: left (n, r, K), right (n, r, d) with orthonormal rows.

    rank (n,): rows in use, the others are zero. error (n,): the largest relative error of
    `PROBES` random products. complete (n,) bool: whether that error is below the tolerance; where
    it is not, J has a higher rank than was allowed or foretold. jvps, vjps: products a sample.
    """

    left: Array
    right: Array
    rank: Array
    error: Array
    complete: Array
    jvps: int
    vjps: int

    def push(self, v: Array) -> Array:
        """J v: (n, d) or (c, n, d) -> (n, K) or (c, n, K)."""
        inner = np.matmul(self.right, v[..., None])
        return np.asarray(np.matmul(self.left.swapaxes(1, 2), inner)[..., 0])

    def pull(self, u: Array) -> Array:
        """J^T u: (n, K) or (c, n, K) -> (n, d) or (c, n, d)."""
        inner = np.matmul(self.left, u[..., None])
        return np.asarray(np.matmul(self.right.swapaxes(1, 2), inner)[..., 0])

    def column_norms(self) -> Array:
        """Norms of the columns, (n, d) float64: ||R right e_i|| with the R of QR of left^T."""
        triangle = np.linalg.qr(self.left.swapaxes(1, 2).astype(np.float64), mode="r")
        return np.linalg.norm(np.matmul(triangle, self.right), axis=1)


def low_rank(
    products: Products,
    *,
    max_rank: int | None = None,
    tolerance: float | None = None,
    max_memory: int = MAX_MEMORY,
    rng: int = 0,
) -> Factor:
    """J of every sample as a factor of its rank r, from r + 2 products J v and r + 1 J^T u.

    max_rank None allows a quarter of min(K, d), where a factor still pays, and ends early where
    what random products miss shrinks too slowly for that; then `complete` is False. tolerance:
    relative error of random products.
    """
    d, outputs, n = products.d, products.outputs, len(products)
    limit = max(1, min(d, outputs) // 4) if max_rank is None else min(max_rank, d, outputs)
    limit = max(1, min(limit, max_memory // (products.dtype.itemsize * max(n, 1) * (d + outputs))))
    wanted = TOLERANCE[products.dtype.itemsize] if tolerance is None else tolerance
    search = _Search.start(products, rng, limit)
    while search.rank < limit and len(search.rows):
        search.grow()
        search.settle(wanted, limit, hopeful=max_rank is None)
    return search.factor(wanted)


@dataclass
class _Search:
    """Orthonormal directions and their products; `rows` are the samples still at work.

    missing (probes, n, K): random products minus what the directions explain, whole (probes, n)
    their norms at first; last (n, K) the newest left vector, coming (n, d) the next direction.
    """

    products: Products
    rows: Array
    right: Array
    left: Array
    basis: Array
    probes: Array
    missing: Array
    whole: Array
    coming: Array
    ranks: Array
    seed: int
    history: list[Array]
    rank: int = 0
    vjps: int = 0

    @classmethod
    def start(cls, products: Products, seed: int, limit: int) -> _Search:
        n, d, outputs, kind = len(products), products.d, products.outputs, products.dtype
        shared = _normal(seed, 0, (PROBES, 1, d)).astype(kind)
        probes = np.ascontiguousarray(np.broadcast_to(shared, (PROBES, n, d)))
        missing = products.push(probes) if n else np.zeros((PROBES, 0, outputs), kind)
        room = min(limit, 16)
        search = cls(
            products, np.arange(n), np.zeros((n, room, d), kind),
            np.zeros((n, room, outputs), kind), np.zeros((n, room, outputs), kind), probes,
            missing, _lengths(missing), np.zeros((n, d), kind), np.zeros(n, int), seed,
            [np.ones(n)],
        )  # fmt: skip
        search.leave(search.whole.max(axis=0) != 0)
        if len(search.rows):
            search.coming[search.rows] = search.fresh(np.ones(len(search.rows), bool))
        return search

    def grow(self) -> None:
        """One more direction: a pair (J v, J^T u)."""
        self._make_room()
        here, k = self.rows, self.rank
        v = _unit(_cleaned(self.right[here, :k], self.coming[here]))
        w = self.products.push(v)
        self.right[here, k], self.left[here, k] = v, w
        share = np.einsum("pnd,nd->pn", self.probes[:, here], v, dtype=np.float64)
        self.missing[:, here] -= (share[:, :, None] * w).astype(w.dtype)
        u = _unit(_cleaned(self.basis[here, :k], w))
        self.basis[here, k] = u
        self.rank = k + 1
        self.ranks[here] = self.rank

    def settle(self, tolerance: float, limit: int, *, hopeful: bool) -> None:
        """Let go whoever is complete, and all without hope; others get their next direction."""
        self.history.append(self.mean_errors())
        going = self.errors()[self.rows] > tolerance
        if hopeful and self.rank >= FIRST_LOOK and len(self.rows):
            earlier, now = (self.history[i][self.rows] for i in (self.rank // 2, -1))
            # ranks of one model are much alike: while there is hope for one sample all stay
            if np.all(_foretold(self.rank, earlier, now, tolerance) > ROOM * limit):
                going[:] = False
        self.leave(going)
        if not len(self.rows) or self.rank == limit:
            return
        here, k = self.rows, self.rank
        pulled = self.products.pull(self.basis[here, k - 1])
        self.vjps += 1
        rest = _cleaned(self.right[here, :k], pulled)
        # An ended recurrence has met each singular value once: while random products miss
        # something there are more of them, in new random directions.
        ended = _lengths(rest) <= tolerance * _lengths(pulled)
        if np.any(ended):
            rest[ended] = self.fresh(ended)
        self.coming[here] = rest

    def leave(self, going: Array) -> None:
        """Keep the samples at work for which `going` holds."""
        if not np.all(going):
            self.rows = self.rows[going]
            self.products = self.products.take(going)

    def errors(self) -> Array:
        """The most that a random product misses, relative, (n,)."""
        missed = _lengths(self.missing)
        share = np.divide(missed, self.whole, out=np.zeros_like(missed), where=self.whole != 0)
        return np.asarray(share.max(axis=0))

    def mean_errors(self) -> Array:
        """||J - J_k||_F / ||J||_F as the random products estimate it together, (n,)."""
        missed, whole = _lengths(self.missing), np.linalg.norm(self.whole, axis=0)
        return np.linalg.norm(missed, axis=0) / np.where(whole != 0, whole, 1)

    def factor(self, tolerance: float) -> Factor:
        error = self.errors()
        return Factor(
            self.left[:, : self.rank], self.right[:, : self.rank], self.ranks, error,
            error <= tolerance, PROBES + self.rank, self.vjps,
        )  # fmt: skip

    def fresh(self, which: Array) -> Array:
        """A random vector of the row space of some of the samples at work, (m, d)."""
        chosen = self.products.take(which)
        self.vjps += 1
        u = _normal(self.seed, self.rank + 1, (1, chosen.outputs)).astype(chosen.dtype)
        return chosen.pull(np.repeat(u, len(chosen), axis=0))

    def _make_room(self) -> None:
        if self.rank < self.right.shape[1]:
            return
        for name in ("right", "left", "basis"):
            held = getattr(self, name)
            setattr(self, name, np.concatenate([held, np.zeros_like(held)], axis=1))


def _normal(seed: int, draw: int, shape: tuple[int, ...]) -> Array:
    """Normal numbers of their own: a model made from the same seed must not have drawn them."""
    return np.random.default_rng((STREAM, seed, draw)).standard_normal(shape)


def _foretold(rank: int, earlier: Array, now: Array, tolerance: float) -> Array:
    """The rank at which nothing is missing, from what was missing at rank // 2 and is now.

    Falling singular values: geometrically. Equal ones: in a straight line of the squares, which
    is believed only while it keeps its earlier word.
    """
    with np.errstate(divide="ignore"):
        falling = rank * math.log(tolerance) / np.log(np.minimum(now, 1))
        promised = (rank // 2) / (1 - np.minimum(earlier, 1) ** 2)
        straight = rank / (1 - np.minimum(now, 1) ** 2)
    return np.where(rank <= KEPT_WORD * promised, np.minimum(falling, straight), falling)


def _cleaned(basis: Array, w: Array) -> Array:
    """w (n, d) minus its part in the rows of basis (n, k, d), taken out twice."""
    for _ in range(2 if basis.shape[1] else 0):
        inside = np.matmul(basis, w[:, :, None])
        w = w - np.matmul(inside.transpose(0, 2, 1), basis)[:, 0]
    return w


def _lengths(rows: Array) -> Array:
    return np.sqrt(np.einsum("...i,...i->...", rows, rows, dtype=np.float64))


def _unit(rows: Array) -> Array:
    length = _lengths(rows)
    inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return np.asarray(rows * inverse[:, None].astype(rows.dtype))
