"""Each sample's smallest budget on a grid, by attacks at a budget of its own.

A sample that an attack fools at one budget counts as fooled at every larger one. So it is enough
to know, of each, a budget where it was fooled and the next smaller one where it was attacked in
vain. All samples are attacked together, each where its own answer is expected: at first from the
slope at x (Theorem 1), then where the margin, drawn straight through the last end, is zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pertcore.attacks.feasibility import LinearEstimate
from pertcore.errors import PertcoreWarning
from pertcore.oracle import Array
from pertcore.result import AttackResult

# How far beyond the slope's own answer the first attack begins, the next after a failure.
FIRST, BEYOND = 1.2, 1.03
# Attacks after which the margin is no longer asked where to go: a sample that was never fooled is
# attacked at the largest budget of all, the bracket of one that always was is halved. So no sample
# is attacked more than some HALVING + log2 m times.
LARGEST, HALVING = 2, 4

# (positions of the samples, their budgets) -> what the attack made of them.
Attempt = Callable[[Array, Array], AttackResult]


@dataclass
class Bracket:
    """What is known of n samples: fooled at grid[high], if that exists, and not at grid[low].

    norms (n,) and points (n, *sample): the smallest perturbation that fooled, inf and x where none
    did. attackable (n,): right before any attack. tries: attacks so far.
    """

    low: Array
    high: Array
    norms: Array
    points: Array
    attackable: Array
    tries: Array
    warnings: list[str] = field(default_factory=list)
    rounds: int = 0

    @property
    def open(self) -> Array:
        """Whose two budgets are not neighbours yet, (n,) bool."""
        return self.attackable & (self.high - self.low > 1)


def search(grid: Array, x: Array, estimate: LinearEstimate, attempt: Attempt) -> Bracket:
    """Brackets every sample of x (n, *sample) on `grid` (m,), ascending and positive."""
    n, top = len(x), len(grid)
    found = Bracket(
        np.full(n, -1), np.full(n, top), np.full(n, np.inf), np.array(x),
        np.ones(n, bool), np.zeros(n, np.int64),
    )  # fmt: skip
    probe = _above(grid, FIRST * estimate.eps)
    while True:
        rows = np.flatnonzero(found.open)
        if not len(rows):
            return found
        at = np.clip(probe[rows], found.low[rows] + 1, found.high[rows] - 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PertcoreWarning)
            result = attempt(rows, grid[at])
        _learn(found, grid, rows, at, result)
        probe[rows] = _next(found, grid, rows, at, result, estimate.margin[rows])


def _above(grid: Array, eps: Array) -> Array:
    """The first place of the grid that is not below eps; the middle where nothing is known."""
    places = np.where(np.isnan(eps), len(grid) // 2, np.searchsorted(grid, eps))
    return places.clip(0, len(grid) - 1)


def _learn(found: Bracket, grid: Array, rows: Array, at: Array, result: AttackResult) -> None:
    found.rounds += 1
    found.warnings += result.warnings
    found.attackable[rows] &= result.attackable
    won, lost = rows[result.success], rows[~result.success]
    found.high[won] = np.searchsorted(grid, result.norms[result.success])
    found.norms[won] = result.norms[result.success]
    found.points[won] = result.x_adv[result.success]
    found.low[lost] = at[~result.success]
    found.tries[rows] += 1


def _next(
    found: Bracket, grid: Array, rows: Array, at: Array, result: AttackResult, margin: Array
) -> Array:
    """Where to attack next: between both budgets; else where the secant of the margin is zero."""
    low, high = found.low[rows], found.high[rows]
    reached = np.where(result.success, result.norms, grid[at])
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = reached * margin / (margin - result.margin)
    sensible = np.isfinite(crossing) & (crossing > 0)
    crossing = np.where(sensible, crossing, 2 * reached)
    guess = _above(grid, BEYOND * crossing) - result.success
    middle, tries = (low + high) // 2, found.tries[rows]
    guess = np.where(result.success & (tries >= HALVING), middle, guess)
    guess = np.where(~result.success & (tries >= LARGEST), len(grid) - 1, guess)
    return np.where((low >= 0) & (high < len(grid)), middle, guess)
