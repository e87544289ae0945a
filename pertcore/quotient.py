"""Difference quotients at several steps, and when they contradict a derivative.

A quotient errs by truncation and by kinks for large steps, by rounding for small ones; which
steps may judge is decided here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pertcore.oracle import Array

STEPS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
TRIALS, CONTRADICTIONS = 3, 2


@dataclass(frozen=True)
class Verdict:
    """How derivatives (n, K) compare with quotients: who passes, and by how much others miss.

    ratio (n,): distance to the nearest quotient over what is allowed; shown (n, K) that quotient.
    """

    passed: Array
    ratio: Array
    shown: Array


@dataclass(frozen=True)
class Slopes:
    """Slopes of run (n, *in) -> (n, *out), or of <v, run>, at x along u."""

    run: Callable[[Array], Array]
    x: Array
    u: Array
    v: Array | None

    def compare(self, given: Array, rtol: float) -> Verdict:
        """`given` (n, K) against the best quotient of every sample, allowed rtol * |quotient|."""
        ratio, shown = np.full(len(given), np.inf), np.zeros_like(given)
        at_kink, jump_before = np.zeros(len(given), dtype=bool), np.full(len(given), np.inf)
        base = self._outputs(0.0)
        for number, step in enumerate(STEPS):
            right, left, noise = self._sides(base, step)
            middle = (left + right) / 2
            allowed = rtol * np.linalg.norm(middle, axis=1)
            # Below its own rounding noise a quotient agrees with anything: it may not judge.
            judges = (noise <= allowed) | (number < 2)
            allowed = allowed + noise
            here = _ratio(np.linalg.norm(given - middle, axis=1), allowed)
            better = judges & (here < ratio)
            ratio[better], shown[better] = here[better], middle[better]
            jump = np.linalg.norm(right - left, axis=1)
            stays = judges & (jump > allowed) & (jump > 0.5 * jump_before)
            at_kink |= stays & _between(given, left, right, allowed)
            jump_before = jump
        return Verdict((ratio <= 1) | at_kink, ratio, shown)

    def _sides(self, base: Array, step: float) -> tuple[Array, Array, Array]:
        h = step * self._unit()
        right = (self._outputs(h) - base) / h[:, None]
        left = (base - self._outputs(-h)) / h[:, None]
        rounding = 2 * np.finfo(self.run(self.x).dtype).eps
        return right, left, rounding * np.linalg.norm(base, axis=1) / h

    def _unit(self) -> Array:
        size, along = (np.sqrt(np.mean(np.square(_rows(a)), axis=1)) for a in (self.x, self.u))
        return np.where(size > 0, size, 1.0) / np.where(along > 0, along, 1.0)

    def _outputs(self, h: Array | float) -> Array:
        move = np.reshape(h, (-1, *[1] * (self.x.ndim - 1))) * self.u.astype(np.float64)
        rows = _rows(self.run(self.x.astype(np.float64) + move))
        return rows if self.v is None else np.sum(rows * _rows(self.v), axis=1, keepdims=True)


def judge(trial: Callable[[Array], tuple[Slopes, Array]], n: int, rtol: float, name: str) -> None:
    """AssertionError when a sample contradicts its quotient along two of three directions.

    `trial(rows)` draws a new direction for those samples: the slopes along it, and what the
    oracle says they are (r, K). Who agrees along the first one has passed.
    """
    left, misses = np.arange(n), np.zeros(n, dtype=np.int64)
    for number in range(TRIALS):
        slopes, given = trial(left)
        verdict = slopes.compare(given, rtol)
        bad = np.flatnonzero(~verdict.passed)
        misses[left[bad]] += 1
        guilty = bad[misses[left[bad]] >= CONTRADICTIONS]
        if len(guilty):
            _fail(left, given, verdict, guilty, name, n, rtol)
        left = left[bad] if number == 0 else left
        if not len(left):
            return


def _fail(
    rows: Array, given: Array, verdict: Verdict, bad: Array, name: str, n: int, rtol: float
) -> None:
    i = bad[np.argmax(verdict.ratio[bad])]
    k = int(np.argmax(np.abs(given[i] - verdict.shown[i])))
    raise AssertionError(
        f"{name}: sample {rows[i]}, entry {k}: got {given[i, k]:.9g}, the difference quotient says "
        f"{verdict.shown[i, k]:.9g}; the sample is {verdict.ratio[i]:.3g} times further apart than "
        f"rtol {rtol:.3g} allows, along two directions; {len(bad)} of {n} samples disagree"
    )


def _ratio(apart: Array, allowed: Array) -> Array:
    off = np.where(apart > 0, np.inf, apart)
    return np.divide(apart, allowed, out=off, where=allowed > 0)


def _between(given: Array, left: Array, right: Array, allowed: Array) -> Array:
    slack = allowed[:, None] / math.sqrt(given.shape[1])
    low, high = np.minimum(left, right) - slack, np.maximum(left, right) + slack
    return np.all((given >= low) & (given <= high), axis=1)


def _rows(array: Array) -> Array:
    return array.reshape(len(array), -1).astype(np.float64)
