"""max norm_2(c + J eta)^2 over a ball: problems (11) and (12), every norm, with an upper bound.

c = 0 is (12). The answers are those of the linearised model; `upper` bounds them, never f itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pertcore.closed_form import quadratic as closed
from pertcore.closed_form import sampling, steps
from pertcore.errors import InputError
from pertcore.oracle import Array
from pertcore.result import every_proof
from pertcore.solvers import columns as swept
from pertcore.solvers import trust_region
from pertcore.solvers.lanczos import FAILURE, Spectrum, singular
from pertcore.solvers.products import Products
from pertcore.solvers.stored import Map, Stored
from pertcore.solvers.whole import every_column, every_norm

# A Jacobian with so few rows or columns is taken whole: that costs less than Lanczos.
FEW = 64
# Pairs that bring the probabilistic bound within some 6 % (Kuczynski and Wozniakowski 1992).
CERTIFYING = 30
# Steps of the generalised power method, and how many random starts it has.
ASCENTS, STARTS = 50, 4
# Width and steps of the relaxation behind the bound of p > 2.
RANK, BLOCKS = 8, 60
# What rounding in products of J may hide from a bound, as a share, by itemsize.
ROUNDING = {4: 1e-6, 8: 1e-11}
# Steps inside the box from the answer for the ball alone; each is a pair of products.
CLIMBS = 4

EXACT = "exact up to rounding"
CHOLESKY = "dual bound, proved by a Cholesky factorisation"
PARTED = (
    "dual bounds over cones of outputs (branch and bound), each proved by a Cholesky factorisation"
)
CHANCE = f"probabilistic, wrong with probability {FAILURE:g} over the random start"
LOOSE = f"loose: interpolated between p = 1 and p = 2; {CHANCE}"


@dataclass(frozen=True)
class Maximum:
    """The best eta found for n samples: eta (n, d) float64, value (n,) = norm_2(c + J eta)^2,
    upper (n,) >= what any eta of the ball reaches, and `proof`, the kind of bound that it is."""

    eta: Array
    value: Array
    upper: Array
    proof: str


@dataclass(frozen=True)
class Question:
    """n problems: J as products, c (n, K) or None, budgets eps (n,), the order p, and one key a
    sample for random starts. x (n, d) and lo, hi, scalars or (d,): the box that x + eta keeps."""

    given: Products
    offset: Array | None
    eps: Array
    norm: float
    keys: Array
    x: Array
    lo: float | Array = -math.inf
    hi: float | Array = math.inf
    max_memory: int = swept.MAX_MEMORY
    certify: bool = True

    def level(self) -> Array:
        """c, zeros where there is none."""
        if self.offset is not None:
            return self.offset
        return np.zeros((len(self.given), self.given.outputs), self.given.dtype)

    def noise(self, draw: int) -> Array:
        """Random unit vectors (n, d), zero at frozen features."""
        ones = np.ones(len(self.given))
        made = sampling.random_on_sphere(self.keys, draw, ones, 2.0, self.given.d, self.given.dtype)
        return made if self.given.free is None else made * self.given.free

    @property
    def boxed(self) -> bool:
        return bool(np.any(np.isfinite(self.lo)) or np.any(np.isfinite(self.hi)))

    @property
    def narrow(self) -> bool:
        """Whether J has so few rows or columns that it is better taken whole."""
        return min(self.given.d, self.given.outputs) <= FEW

    def room(self) -> tuple[Array, Array]:
        """Middle and half width (n, d) of what ball (p = inf) and box leave to each entry."""
        wide, eps = self.x.astype(np.float64), self.eps[:, None]
        low, high = np.maximum(self.lo - wide, -eps), np.minimum(self.hi - wide, eps)
        return (high + low) / 2, (high - low) / 2

    def reach(self, direction: Array) -> Array:
        """The eta (n, d) of ball and box that lies farthest along a direction (n, d)."""
        g = -np.ascontiguousarray(direction, dtype=self.given.dtype)
        return steps.lmo_ball_box(g, self.x, self.eps, self.norm, self.lo, self.hi)

    def fits(self) -> bool:
        """Whether the columns of all samples may be stored."""
        return swept.size(self.given) <= self.max_memory

    def at_once(self) -> int:
        """How many samples' columns may be stored together."""
        return self.max_memory // max(swept.size(self.given) // max(len(self.given), 1), 1)

    def take(self, rows: Array) -> Question:
        """The problems of fewer samples."""
        return replace(
            self, given=self.given.take(rows), eps=self.eps[rows], keys=self.keys[rows],
            x=self.x[rows], offset=None if self.offset is None else self.offset[rows],
        )  # fmt: skip

    def stored(self) -> Stored:
        return Stored(every_column(self.given, max_memory=self.max_memory))


def largest(question: Question) -> Maximum:
    """The maximum by the method that its norm allows.

    p = 1: the vertices of the ball, exact (14). p = 2: singular vectors (13), with c a trust
    region. p = inf: signs, searched from many starts, inside the box. Other p: the generalised
    power method. Other norms than inf look for eta in the ball and climb inside the box from
    there, and `upper` is that of the ball. Where J is not finite, value is NaN and upper inf.
    """
    return settled(question, _within(question))


def _within(question: Question) -> Maximum:
    if math.isinf(question.norm):
        return in_parts(question, _signs)
    if question.norm == 1:
        found = _vertices(question)
    elif question.norm == 2:
        found = in_parts(question, _dense) if question.narrow else _iterated(question)
    else:
        found = in_parts(question, _general)
    if not question.boxed:
        return found
    inside = ascend(question, question.given, [found.eta, -found.eta], most=CLIMBS)
    return Maximum(inside.eta, inside.value, found.upper, f"{found.proof}, the box left out")


def paper(question: Question) -> Maximum:
    """As the paper prints it: (14) for p = 1, (13) for p = 2, the greedy signs (19) for p = inf.

    The box plays no part, and neither does c. Raises InputError for other p.
    """
    bare = replace(question, offset=None, lo=-math.inf, hi=math.inf)
    if question.norm not in (1, 2, math.inf):
        raise InputError(
            f"method='paper': the paper has p = 1, 2 and inf, not norm={question.norm:g}; "
            "take method='best'"
        )
    if math.isinf(question.norm):
        return settled(bare, in_parts(bare, _greedy))
    return settled(bare, _singular_step(bare) if question.norm == 2 else _vertices(bare))


def settled(question: Question, found: Maximum) -> Maximum:
    """Frozen entries stay where they are, and the bound allows for rounding in J's dtype."""
    upper = np.maximum(found.upper, found.value)
    upper *= 1 + ROUNDING[question.given.dtype.itemsize]
    upper = np.where(question.eps == 0, found.value, upper)
    broken = ~np.isfinite(found.value)
    upper, value = np.where(broken, np.inf, upper), np.where(broken, np.nan, found.value)
    free = question.given.free
    eta = found.eta if free is None else found.eta * free
    return Maximum(eta, value, upper, found.proof)


def in_parts(question: Question, solve: Callable[[Question], Maximum]) -> Maximum:
    """The problems a few samples at a time, where the columns of all of them do not fit."""
    step = question.at_once()
    if question.fits() or step == 0:
        return solve(question)
    everyone = np.arange(len(question.given))
    parts = [solve(question.take(everyone[i : i + step])) for i in range(0, len(everyone), step)]
    eta, value, upper = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("eta", "value", "upper")
    )
    return Maximum(eta, value, upper, every_proof(part.proof for part in parts))


def _greedy(question: Question) -> Maximum:
    stored = question.stored()
    eta = question.eps[:, None] * closed.greedy_signs(stored.columns).astype(np.float64)
    image = stored.push(eta)
    value = np.einsum("nk,nk->n", image, image, dtype=np.float64)
    return Maximum(eta, value, np.full(len(eta), math.inf), "none: the method as printed")


def _vertices(question: Question, norms: Array | None = None) -> Maximum:
    if norms is None:
        norms = every_norm(question.given, max_memory=question.max_memory)
    level, eps = question.level(), question.eps
    slope = np.zeros_like(norms) if question.offset is None else question.given.pull(level)
    slope = slope.astype(np.float64)
    base = np.einsum("nk,nk->n", level, level, dtype=np.float64)
    gains = 2 * eps[:, None] * np.abs(slope) + (eps[:, None] * norms) ** 2
    best = gains.argmax(axis=1)
    everyone = np.arange(len(best))
    eta = np.zeros_like(norms)
    eta[everyone, best] = eps * np.where(slope[everyone, best] < 0, -1, 1)
    value = base + gains[everyone, best]
    return Maximum(eta, value, value, EXACT)


def _spectrum(question: Question, given: Map) -> Spectrum:
    return singular(
        given, question.noise(0), tolerance=1e-2, min_pairs=CERTIFYING if question.certify else 1
    )


def _singular_step(question: Question) -> Maximum:
    spectrum = _spectrum(question, question.given)
    eta = question.eps[:, None] * spectrum.right[:, 0].astype(np.float64)
    value = (question.eps * spectrum.values[:, 0]) ** 2
    upper = _within_reach(question, spectrum.upper)
    return Maximum(eta, value, upper, EXACT if np.all(spectrum.exhausted) else CHANCE)


def _dense(question: Question) -> Maximum:
    if not question.fits():
        return _iterated(question)
    found = trust_region.dense(question.stored(), question.level(), question.eps)
    return Maximum(found.eta, found.value, found.upper, EXACT)


def _iterated(question: Question) -> Maximum:
    if question.offset is None:
        return _singular_step(question)
    spectrum = _spectrum(question, question.given)
    found = trust_region.krylov(
        question.given, question.level(), question.eps, spectrum, tolerance=1e-3,
        max_pairs=CERTIFYING,
    )  # fmt: skip
    return Maximum(found.eta, found.value, found.upper, CHANCE)


def _signs(question: Question) -> Maximum:
    if not question.fits():
        return _unstored_signs(question)
    stored = question.stored()
    middle, half = question.room()
    level = question.level() + stored.push(middle)
    eta, value, upper = np.empty_like(half), np.empty(len(stored)), np.empty(len(stored))
    enough, kinds = closed.ENOUGH if question.certify else 0.0, []
    for i in range(len(stored)):
        rows = stored.columns[i] * half[i][:, None].astype(stored.dtype)
        lifted = np.concatenate([rows, level[i][None].astype(stored.dtype)])
        signs, value[i], upper[i], cones = closed.certified_signs(
            lifted, seed=int(question.keys[i] >> np.uint64(34)), enough=enough
        )
        kinds.append(CHOLESKY if cones == 1 else PARTED)
        eta[i] = middle[i] + half[i] * signs[:-1] * signs[-1]
    return Maximum(eta, value, upper, every_proof(kinds))


def _unstored_signs(question: Question) -> Maximum:
    """Sign steps on J asked for products alone; d sigma_1^2 eps^2 bounds them."""
    spectrum = _spectrum(question, question.given)
    found = ascend(question, question.given, _starts(question, spectrum))
    upper = _within_reach(question, math.sqrt(question.given.d) * spectrum.upper)
    return Maximum(found.eta, found.value, upper, CHANCE)


def _general(question: Question) -> Maximum:
    given: Map = question.stored() if question.fits() else question.given
    spectrum = _spectrum(question, given)
    starts, p = _starts(question, spectrum), question.norm
    if p < 2:
        norms = every_norm(question.given, max_memory=question.max_memory)
        starts.append(_vertices(question, norms).eta)
        upper, proof = _interpolated(question, norms, spectrum), LOOSE
    elif isinstance(given, Stored):
        upper, proof = _dual_uppers(question, given), CHOLESKY
    else:
        width = given.d ** (0.5 - 1 / p)
        upper, proof = _within_reach(question, width * spectrum.upper), CHANCE
    found = ascend(question, given, starts)
    return Maximum(found.eta, found.value, upper, proof)


def _within_reach(question: Question, size: Array) -> Array:
    """(norm_2(c) + eps size)^2, (n,): the triangle inequality, `size` (n,) >= the norm of J."""
    level = np.linalg.norm(question.level().astype(np.float64), axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((level + question.eps * size) ** 2)


def _starts(question: Question, spectrum: Spectrum) -> list[Array]:
    top = spectrum.right[:, 0]
    return [top, -top, *(question.noise(draw) for draw in range(1, 1 + STARTS))]


def _dual_uppers(question: Question, stored: Stored) -> Array:
    """(norm_2(c) + eps sqrt(theta(y) norm_r(y)))^2, r = p/(p-2), with the relaxation's weights."""
    sizes = np.empty(len(stored))
    for i in range(len(stored)):
        columns = stored.columns[i].astype(np.float64)
        weights = _relaxed_weights(columns, question.norm, int(question.keys[i] >> np.uint64(34)))
        sizes[i] = math.sqrt(closed.dual_bound(columns, weights, p=question.norm))
    return _within_reach(question, sizes)


def _relaxed_weights(columns: Array, p: float, seed: int) -> Array:
    """y_i = norm_2(v_i)^(p-2) of the relaxation max norm_F(J V)^2, sum norm_2(v_i)^p <= 1.

    V (d, RANK) by block steps of the generalised power method: v_i along the i-th row of
    J^T J V, its length that of the l_p-ball's point farthest along the lengths of those rows.
    """
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(len(columns), RANK))
    lengths = np.zeros(len(columns))
    for _ in range(BLOCKS):
        rows = columns @ (columns.T @ rows)
        sizes = np.linalg.norm(rows, axis=1)
        if not sizes.any():
            return np.ones(len(columns))
        lengths = (sizes / sizes.max()) ** (1 / (p - 1))
        lengths /= (lengths**p).sum() ** (1 / p)
        rows *= np.divide(lengths, sizes, out=np.zeros_like(sizes), where=sizes > 0)[:, None]
    return lengths ** (p - 2)


def _interpolated(question: Question, norms: Array, spectrum: Spectrum) -> Array:
    """Riesz-Thorin for p < 2: |J|_p <= |J|_1^(1-t) |J|_2^t, t = 2 - 2/p, |J|_1 = max norms."""
    share = 2 - 2 / question.norm
    return _within_reach(question, norms.max(axis=1) ** (1 - share) * spectrum.upper**share)


def ascend(question: Question, given: Map, starts: list[Array], *, most: int = ASCENTS) -> Maximum:
    """eta <- argmax over ball and box of eta.J^T (c + J eta), from every start; the best is kept.

    The generalised power method (Journee, Nesterov, Richtarik and Sepulchre 2010): the value of a
    convex function never falls along it.
    """
    n, level = len(given), question.level()
    best = Maximum(np.zeros((n, given.d)), np.full(n, -math.inf), np.full(n, math.inf), "none")
    for start in starts:
        eta = question.reach(start)
        value = np.full(n, -math.inf)
        for _ in range(most):
            image = given.push(eta) + level
            risen = np.einsum("nk,nk->n", image, image, dtype=np.float64)
            better = risen > best.value
            best.eta[better], best.value[better] = eta[better], risen[better]
            if np.all(risen <= value * (1 + 1e-6)):
                break
            value, eta = risen, question.reach(given.pull(image))
    return best
