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
from pertcore.evaluation.stream import unrelated
from pertcore.oracle import Array
from pertcore.result import AttackResult, Status

# How far beyond the slope's own answer the first attack begins, the next after a failure.
FIRST, BEYOND = 1.2, 1.03
# Attacks after which the margin is no longer asked where to go: a sample that was never fooled is
# attacked at the largest budget of all, the bracket of one that always was is halved. So no sample
# is attacked more than some HALVING + log2 m times.
LARGEST, HALVING = 2, 4

# (positions of the samples, their budgets) -> what the attack made of them.
Attempt = Callable[[Array, Array], AttackResult]


@dataclass(frozen=True)
class Window:
    """Of n samples: the first and the last place of the grid at which each may be attacked, (n,)
    whole numbers. A sample's answer depends on its own window alone."""

    first: Array
    last: Array


@dataclass
class Bracket:
    """What is known of n samples: fooled at grid[high], if that exists, and not at grid[low].

    norms (n,) and points (n, *sample): the smallest perturbation that fooled, inf and x where none
    did. attackable (n,): right before any attack. before, after (n,): the class of x and of the
    point. status (n,): of the attack that fooled, else of the last. tries: attacks so far.
    """

    low: Array
    high: Array
    norms: Array
    points: Array
    attackable: Array
    before: Array
    after: Array
    status: Array
    tries: Array
    warnings: list[str] = field(default_factory=list)
    rounds: int = 0

    @classmethod
    def begun(cls, x: Array, window: Window) -> Bracket:
        """Nothing is known yet of the samples x (n, *sample)."""
        n = len(x)
        return cls(
            low=window.first - 1, high=window.last + 1, norms=np.full(n, np.inf),
            points=np.array(x), attackable=np.ones(n, bool), before=np.full(n, -1),
            after=np.full(n, -1), status=np.full(n, Status.MAX_STEPS), tries=np.zeros(n, np.int64),
        )  # fmt: skip

    @property
    def open(self) -> Array:
        """Whose two budgets are not neighbours yet, (n,) bool."""
        return self.attackable & (self.high - self.low > 1)


def search(
    grid: Array, x: Array, estimate: LinearEstimate, attempt: Attempt, window: Window | None = None
) -> Bracket:
    """Brackets every sample of x (n, *sample) on its window, the whole by default, of `grid` (m,),
    ascending and positive."""
    whole = Window(np.zeros(len(x), np.int64), np.full(len(x), len(grid) - 1))
    window = window or whole
    found = Bracket.begun(x, window)
    probe = _above(grid, FIRST * estimate.eps, window)
    while True:
        rows = np.flatnonzero(found.open)
        if not len(rows):
            return found
        at = np.clip(probe[rows], found.low[rows] + 1, found.high[rows] - 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PertcoreWarning)
            result = attempt(rows, grid[at])
        _learn(found, grid, rows, at, result)
        own = Window(window.first[rows], window.last[rows])
        probe[rows] = _next(found, grid, rows, at, result, estimate.margin[rows], own)


def _above(grid: Array, eps: Array, window: Window) -> Array:
    """The first place of the grid that is not below eps; the middle where nothing is known."""
    middle = (window.first + window.last + 1) // 2
    places = np.where(np.isnan(eps), middle, np.searchsorted(grid, eps))
    return places.clip(window.first, window.last)


def _learn(found: Bracket, grid: Array, rows: Array, at: Array, result: AttackResult) -> None:
    found.rounds += 1
    found.warnings += unrelated(result)
    found.attackable[rows] &= result.attackable
    unseen = rows[found.tries[rows] == 0]
    found.before[unseen] = found.after[unseen] = result.before[found.tries[rows] == 0]
    # who was fooled once is fooled, whatever becomes of a smaller budget
    changed = result.success | (found.norms[rows] == np.inf)
    found.status[rows[changed]] = result.status[changed]
    won, lost = rows[result.success], rows[~result.success]
    found.high[won] = np.searchsorted(grid, result.norms[result.success])
    found.norms[won] = result.norms[result.success]
    found.points[won] = result.x_adv[result.success]
    found.after[won] = result.after[result.success]
    found.low[lost] = at[~result.success]
    found.tries[rows] += 1


def _next(
    found: Bracket, grid: Array, rows: Array, at: Array, result: AttackResult, margin: Array,
    window: Window,
) -> Array:  # fmt: skip
    """Where to attack next: between both budgets; else where the secant of the margin is zero."""
    low, high = found.low[rows], found.high[rows]
    reached = np.where(result.success, result.norms, grid[at])
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = reached * margin / (margin - result.margin)
    sensible = np.isfinite(crossing) & (crossing > 0)
    crossing = np.where(sensible, crossing, 2 * reached)
    guess = _above(grid, BEYOND * crossing, window) - result.success
    middle, tries = (low + high) // 2, found.tries[rows]
    guess = np.where(result.success & (tries >= HALVING), middle, guess)
    guess = np.where(~result.success & (tries >= LARGEST), window.last, guess)
    return np.where((low >= window.first) & (high <= window.last), middle, guess)
