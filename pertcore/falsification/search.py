"""The search for a counterexample: rounds of screening, climbing and moving single coordinates.

Every round looks at cases not seen yet, climbs from many starts towards many cases at once (in the
first from the middles of their boxes, then from their best points, random points and corners), and
tries single coordinates where inputs are few. Which work is done depends on the seed and the sizes
alone; the clock only ends it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pertcore.falsification.cases import MOST_LISTED, Case, Cases
from pertcore.falsification.climb import Best, Field, climb
from pertcore.falsification.clock import Clock
from pertcore.falsification.margins import Margins
from pertcore.falsification.model import Model
from pertcore.falsification.vnnlib import Property
from pertcore.falsification.witness import Witness, judged
from pertcore.oracle import Array

STEPS = (10, 25, 50, 100)
MOST_ROWS, LEAST_ROWS, FIRST_ROWS = 256, 8, 32
MOST_NUMBERS, MOST_SLACKS = 1 << 16, 1 << 22
KEPT_CASES = 1024
FEW_INPUTS = 32
# A margin of this share of its atoms' spread is not lost by another machine's rounding.
CLEAR = 1e-3
WEAK_ROUNDS = 2


class Found(Exception):  # noqa: N818  (the end of a search, no error)
    """A counterexample that needs no better one."""


@dataclass
class Known:
    """A case, its best point so far and that point's margin in spreads."""

    case: Case
    x: Array
    score: float


class Search:
    """One search; `witness` is the best counterexample replayed so far, `rounds` those ended."""

    def __init__(
        self, prop: Property, model: Model, cases: Cases, clock: Clock, rng: np.random.Generator
    ) -> None:
        self._property, self._model, self._cases = prop, model, cases
        self._clock, self._rng = clock, rng
        self._unseen = self._taken()
        self._known: list[Known] = []
        self._sample: tuple[Array, Array] | None = None
        self._failed = -1.0
        self._all_seen, self._still = False, True
        self._case: Case | None = None
        self.witness: Witness | None = None
        self.rounds = 0

    def run(self, rounds: int | None) -> None:
        """Searches until a clear counterexample is found or the rounds are done. Raises TimeIsUp
        when the clock says so; what was found until then is in `witness`."""
        weak = 0
        try:
            for number in itertools.count() if rounds is None else range(rounds):
                self._round(number)
                self.rounds += 1
                weak += self.witness is not None
                if weak > WEAK_ROUNDS or (self._still and self._all_seen):
                    return
        except Found:
            return

    def note(self) -> str | None:
        """What of the inputs could not be taken as written, of the witness's case or the first."""
        if self._case is None:
            return "the property leaves no input: every box that it describes is empty"
        count = len(self._case.box.nearest)
        if not count:
            return None
        return (
            f"{count} of {self._property.inputs} inputs are bounded so closely that no "
            f"{self._model.dtype} lies between: each takes the nearest"
        )

    def _round(self, number: int) -> None:
        self._screen(FIRST_ROWS if number == 0 else MOST_ROWS)
        if not self._known:
            return
        rows = self._rows()
        if number == 0:
            rows = min(rows, max(FIRST_ROWS, len(self._known)))
        chosen = self._chosen(rows, number)
        field = self._field([self._known[place].case for place in chosen])
        few = (field.width > 0).sum(axis=1).max() <= FEW_INPUTS
        flat = self._rng.random(rows) < (0.5 if few else 0.75)
        summed = self._rng.random(rows) < 0.5
        step = np.exp(self._rng.uniform(np.log(0.02), 0.0, rows))
        if number == 0:
            flat[:], step[:] = True, 1.0
        x = self._starts(field, chosen, number)
        steps = STEPS[min(number, len(STEPS) - 1)]
        if number % 2 and self._model.soft is not None:
            soft = field.on(self._model.soft)
            x = climb(soft, x, step, flat, summed, steps, self._rng).x
        self._remember(field, chosen, climb(field, x, step, flat, summed, steps, self._rng))
        if few:
            self._coordinates()
        if self.witness is not None and self.witness.strict:
            raise Found

    def _rows(self) -> int:
        atoms = max(len(known.case.atoms) for known in self._known)
        numbers = max(self._property.inputs, self._property.outputs)
        fitting = min(MOST_NUMBERS // numbers, MOST_SLACKS // max(atoms, 1), MOST_ROWS)
        return max(fitting, LEAST_ROWS)

    def _field(self, cases: Sequence[Case]) -> Field:
        field = Field(self._property, self._model, cases, self._clock, self._offer)
        if self._sample is not None:
            field.scale = _spread(field.margins.slacks(*self._sample))
        return field

    def _screen(self, count: int) -> None:
        """Takes in the next cases, each at the middle of its box and at random points."""
        wanted = min(count, MOST_ROWS)
        cases = list(itertools.islice(self._unseen, wanted))
        self._all_seen |= len(cases) < wanted
        if not cases:
            return
        self._case = self._case or cases[0]
        copies = max(min(count, self._fitting()) // len(cases), 2)
        field = self._field([case for case in cases for _ in range(copies)])
        self._still &= not field.width.any()
        share = self._rng.random(field.lo.shape)
        share[1::2] = np.round(share[1::2])  # corners
        share[::copies] = 0.5
        x = field.inside(field.lo + share * field.width)
        slacks, y, _ = field.slacks(x)
        if self._sample is None:
            self._sample = (x.astype(np.float64), y)
            field.scale = _spread(slacks)
        scores = field.margins.least(slacks / field.scale).reshape(len(cases), copies)
        for place, case in enumerate(cases):
            top = int(scores[place].argmax())
            self._known.append(Known(case, x[place * copies + top], float(scores[place, top])))
        self._known.sort(key=lambda known: -known.score)
        del self._known[KEPT_CASES:]

    def _fitting(self) -> int:
        return max(MOST_NUMBERS // max(self._property.inputs, self._property.outputs), LEAST_ROWS)

    def _chosen(self, rows: int, number: int) -> Array:
        """Places of the cases to climb towards, which are sorted: half of the rows for all of them,
        in turn or drawn, half the more for a case the better it is."""
        count = len(self._known)
        if number == 0:
            return np.arange(rows) % count
        half = rows // 2
        others = np.arange(half) if count <= half else self._rng.integers(count, size=half)
        best = np.floor(count * self._rng.random(rows - half) ** 3).astype(int)
        return np.concatenate([others % count, best])

    def _starts(self, field: Field, chosen: Array, number: int) -> Array:
        share = self._rng.random(field.lo.shape)
        kind = np.arange(len(chosen)) // max(len(self._known), 1) % 4
        if len(self._known) > len(chosen):
            kind = self._rng.integers(4, size=len(chosen))
        share[kind == 1] = np.round(share[kind == 1])
        if number == 0:
            share[kind == 0] = 0.5
        x = field.lo + share * field.width
        near = (kind == 2) | ((kind == 0) & (number > 0))
        best = np.stack([self._known[place].x for place in chosen]).astype(np.float64)
        noise = self._rng.standard_normal(x.shape) * 0.1 * self._rng.random((len(x), 1))
        x[near] = (best + noise * field.width * (kind == 2)[:, None])[near]
        return field.inside(x)

    def _remember(self, field: Field, chosen: Array, best: Best) -> None:
        slacks, _, _ = field.slacks(best.x)
        scores = field.margins.least(slacks / field.scale)
        for row, place in enumerate(chosen):
            known = self._known[place]
            if scores[row] > known.score:
                known.x, known.score = best.x[row].copy(), float(scores[row])

    def _coordinates(self, sweeps: int = 4, tops: int = 4) -> None:
        """Moves one coordinate at a time of the best points, to its ends, anywhere, or nearby."""
        order = sorted(range(len(self._known)), key=lambda place: -self._known[place].score)
        for place in order[:tops]:
            known = self._known[place]
            free = np.flatnonzero(known.case.box.hi > known.case.box.lo)
            if len(free) == 0:
                continue
            field = self._field([known.case] * (6 * len(free)))
            for _ in range(sweeps):
                x = np.tile(known.x.astype(np.float64), (6 * len(free), 1))
                rows = np.arange(len(x))
                columns, width = free[rows % len(free)], field.width[rows, free[rows % len(free)]]
                kind = rows // len(free)
                near = x[rows, columns] + self._rng.standard_normal(len(x)) * width * np.choose(
                    kind, [0, 0, 0, 0.1, 0.01, 0.001]
                )
                share = np.choose(kind, [0.0, 1.0, self._rng.random(len(x)), 0.0, 0.0, 0.0])
                x[rows, columns] = np.where(kind < 3, field.lo[rows, columns] + share * width, near)
                inside = field.inside(x)
                slacks, _, _ = field.slacks(inside)
                scores = field.margins.least(slacks / field.scale)
                top = int(scores.argmax())
                if scores[top] > known.score:
                    known.x, known.score = inside[top], float(scores[top])

    def _offer(self, cases: Sequence[Case], x: Array, margins: Array, scaled: Array) -> None:
        """Replays the best point of a batch where its margin promises a counterexample."""
        row = int(margins.argmax())
        if margins[row] < 0 or margins[row] <= 2 * self._failed:
            return
        if self.witness is not None and margins[row] <= self.witness.margin:
            return
        found = judged(self._property, cases[row], x[row], self._model.replay)
        if found is None:
            self._failed = float(margins[row])
            return
        if self.witness is None or found.margin > self.witness.margin:
            self.witness, self._case = found, cases[row]
        if found.strict and scaled[row] >= CLEAR:
            raise Found

    def _taken(self) -> Iterator[Case]:
        """The cases whose boxes hold something, while there is time."""
        few = self._cases.count <= MOST_LISTED
        for case in self._cases.listed() if few else self._drawn():
            self._clock.check()
            if case is not None:
                yield case

    def _drawn(self) -> Iterator[Case | None]:
        """Cases at random, of every pair the second the best at the best point known."""
        every = None
        for _ in range(MOST_LISTED):
            yield self._cases.drawn(self._rng)
            if self._known:
                known = self._known[int(self._rng.integers(min(len(self._known), 8)))]
                if every is None:
                    atoms = tuple(range(len(self._property.atoms)))
                    every = Margins(self._property, [Case(known.case.box, atoms)])
                x = known.x[None]
                slacks = every.slacks(x.astype(np.float64), self._model(x))[0]
                yield self._cases.greedy(slacks)


def _spread(slacks: Array) -> Array:
    """(atoms,) the standard deviation over points, or the size where it hardly changes."""
    with np.errstate(all="ignore"):
        spread, size = slacks.std(axis=0), np.abs(slacks).mean(axis=0)
        spread = np.where(spread > 1e-6 * size, spread, size)
    return np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)
