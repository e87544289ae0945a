"""Steps of many points at once towards the cases they are meant to satisfy.

A point takes the step of Algorithm 1 (Balda, Behboodi & Mathar): the maximiser of the linearised
aim over a ball, here of the norm inf or 2 in units of the box's widths, inside the box. Step
sizes are halved as in APGD (Croce & Hein 2020): where the aim no longer grows, the point goes back
to its best place and takes half the step. Where the slope is zero, a difference over random
directions stands in, which sees across plateaus of rounding and signs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.falsification.cases import Case
from pertcore.falsification.clock import Clock
from pertcore.falsification.margins import Margins
from pertcore.falsification.model import Model
from pertcore.falsification.terms import to_float
from pertcore.falsification.vnnlib import Property
from pertcore.oracle import Array

MOMENTUM = 0.75
GROWING = 0.75
SMOOTHED, SMOOTHING = 8, 0.1
# Of zero slopes at most so many rows a step are smoothed: each costs 2 * SMOOTHED runs.
MOST_SMOOTHED = 8


class Field:
    """Points (n, inputs) with a case each: their boxes, aims and slopes.

    `scale` (atoms,) divides slacks. `offer` is given every batch that was run: points, and the
    margins of their cases, as they are and scaled.
    """

    def __init__(
        self,
        prop: Property,
        model: Model,
        cases: Sequence[Case],
        clock: Clock,
        offer: Callable[[Sequence[Case], Array, Array, Array], None],
    ) -> None:
        self.model, self.cases, self._clock, self._offer = model, cases, clock, offer
        self.margins = Margins(prop, cases)
        self.lo = np.stack([case.box.lo for case in cases])
        self.hi = np.stack([case.box.hi for case in cases])
        self.width = self.hi.astype(np.float64) - self.lo.astype(np.float64)
        self._decimal = _decimals(cases, self.lo.shape)
        self.scale: Array = np.ones(self.margins.mask.shape[1])

    def inside(self, x: Array) -> Array:
        """The points (n, inputs) in float64, moved into their boxes, in the model's dtype."""
        with np.errstate(over="ignore"):
            return np.clip(x.astype(self.model.dtype), self.lo, self.hi)

    def wide(self, x: Array) -> Array:
        """The numbers that the points (n, inputs) stand for, in float64."""
        wide = x.astype(np.float64)
        return (
            wide
            if self._decimal is None
            else np.where(np.isnan(self._decimal), wide, self._decimal)
        )

    def slacks(self, x: Array, keep: bool = False) -> tuple[Array, Array, Any]:
        """Slacks (n, atoms) at x, the outputs, and the linearised model where `keep`."""
        self._clock.check(len(x))
        started = time.perf_counter()
        y, point = self.model.linearize(x) if keep else (self.model(x), None)
        slacks = self.margins.slacks(self.wide(x), y)
        self._clock.took(len(x), (1 + 2 * keep) * (time.perf_counter() - started))
        least, scaled = (self.margins.least(part) for part in (slacks, slacks / self.scale))
        self._offer(self.cases, x, least, scaled)
        return slacks, y, point

    def aim(self, slacks: Array, summed: Array) -> Array:
        """(n,) what is climbed: the sum of what is missing where `summed`, else the margin."""
        scaled = slacks / self.scale
        return np.where(summed, self.margins.missing(scaled), self.margins.least(scaled))

    def slope(self, x: Array, slacks: Array, y: Array, point: Any, summed: Array) -> Array:
        """(n, inputs) gradient of the aim; zero where nothing differentiates the model."""
        weights = self.margins.weights(slacks / self.scale, summed) / self.scale
        by_x, by_y = self.margins.pull(weights, self.wide(x), y)
        return by_x + self.model.pull(point, by_y) if point is not None else by_x

    def taken(self, rows: Array) -> Field:
        """The same for some of the points."""
        other = copy(self)
        other.cases = [self.cases[row] for row in rows]
        other.margins = self.margins.taken(rows)
        other.lo, other.hi, other.width = self.lo[rows], self.hi[rows], self.width[rows]
        other._decimal = None if self._decimal is None else self._decimal[rows]
        return other

    def on(self, model: Model) -> Field:
        """The same on a model that stands in: what is found there is not offered."""
        other = copy(self)
        other.model, other._offer = model, _keep_nothing
        return other


def _decimals(cases: Sequence[Case], shape: tuple[int, ...]) -> Array | None:
    """(n, inputs) the numbers that stand behind floats which only come near; else not a number."""
    if not any(case.box.nearest for case in cases):
        return None
    found = np.full(shape, np.nan)
    for row, case in enumerate(cases):
        found[row, list(case.box.nearest)] = [to_float(v) for v in case.box.nearest.values()]
    return found


def _keep_nothing(cases: Sequence[Case], x: Array, margins: Array, scaled: Array) -> None:
    """Takes the place of `offer`."""


@dataclass
class Best:
    """The best place of each point so far."""

    x: Array
    aim: Array

    def update(self, x: Array, aim: Array) -> Array:
        """(n,) whether each is better than before."""
        better = aim > self.aim
        self.x[better], self.aim[better] = x[better], aim[better]
        return better


def climb(
    field: Field, x: Array, step: Array, flat: Array, summed: Array, steps: int,
    rng: np.random.Generator,
) -> Best:  # fmt: skip
    """`steps` steps from x (n, inputs); `step` (n,) in box widths, `flat` (n,) the norm inf, else
    2; `summed` (n,) as in `Field.aim`."""
    best = Best(x.copy(), np.full(len(x), -np.inf))
    step, before = step.copy(), x.astype(np.float64)
    window = max(steps // 5, 3)
    grown = np.zeros(len(x))
    for k in range(steps):
        slacks, y, point = field.slacks(x, keep=True)
        grown += best.update(x, field.aim(slacks, summed))
        slope = field.slope(x, slacks, y, point, summed)
        _smooth(field, x, slope, summed, rng)
        if k % window == window - 1:
            stuck = grown < GROWING * window
            step[stuck] /= 2
            x = np.where(stuck[:, None], best.x, x)
            before[stuck] = x[stuck]
            grown[:] = 0
        now = x.astype(np.float64)
        ahead = now + step[:, None] * _direction(field, slope, flat)
        ahead = np.clip(ahead, field.lo, field.hi)
        kept = now + MOMENTUM * (ahead - now) + (1 - MOMENTUM) * (now - before) if k else ahead
        x, before = field.inside(kept), now
    slacks, _, _ = field.slacks(x)
    best.update(x, field.aim(slacks, summed))
    return best


def _direction(field: Field, slope: Array, flat: Array) -> Array:
    """Steps of size one, in units of half the box: signs, or slopes as long as signs are."""
    half = field.width / 2
    scaled = slope * half
    largest = np.abs(scaled).max(axis=1, keepdims=True, initial=0.0)
    scaled /= np.where(largest > 0, largest, 1.0)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    free = np.sqrt(np.maximum((field.width > 0).sum(axis=1, keepdims=True), 1))
    ball = scaled / np.where(length > 0, length, 1.0) * free
    return half * np.where(flat[:, None], np.sign(scaled), ball)


def _smooth(field: Field, x: Array, slope: Array, summed: Array, rng: np.random.Generator) -> None:
    """Fills slopes that are zero with differences over random directions, for some points a step,
    in turn drawn by `rng`."""
    blind = np.flatnonzero(~slope.any(axis=1) & (field.width > 0).any(axis=1))
    if len(blind) > MOST_SMOOTHED:
        blind = rng.permutation(blind)[:MOST_SMOOTHED]
    if len(blind) == 0:
        return
    ways = rng.standard_normal((SMOOTHED, len(blind), x.shape[1]))
    part = field.taken(np.tile(blind, 2 * SMOOTHED))
    reach = SMOOTHING * field.width[blind]
    middle = x[blind].astype(np.float64)
    tried = np.concatenate([middle + reach * ways, middle - reach * ways]).reshape(-1, x.shape[1])
    slacks, _, _ = part.slacks(part.inside(tried))
    aims = part.aim(slacks, np.tile(summed[blind], 2 * SMOOTHED)).reshape(2, SMOOTHED, -1)
    with np.errstate(invalid="ignore"):
        rise = np.nan_to_num(aims[0] - aims[1], posinf=0.0, neginf=0.0)
    width = np.where(field.width[blind] > 0, field.width[blind], 1.0)
    slope[blind] = np.einsum("kn,knd->nd", rise, ways) / width
