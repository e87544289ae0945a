"""Square Attack: random search over squares of an image, with values of the model alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.closed_form import exact, sampling
from pertcore.constraints import CHANNELS
from pertcore.oracle import Array
from pertcore.result import Status
from pertcore.solvers.problem import Front, Problem

# Andriushchenko et al. 2020, section 3: the share of pixels a square covers, halved after so many
# of ten thousand queries.
FIRST_SHARE, SCHEDULE = 0.8, (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
TILES = 5


@dataclass(frozen=True)
class Plane:
    """How samples (d,) are seen: `channels` planes of height by width, channels last or first."""

    channels: int
    height: int
    width: int
    last: bool

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Plane:
        """That of a sample of this shape; what is no image of three axes is one row."""
        if len(shape) != 3:
            return cls(1, 1, math.prod(shape), last=False)
        if shape[2] in CHANNELS and shape[0] not in CHANNELS:
            return cls(shape[2], shape[0], shape[1], last=True)
        return cls(*shape, last=False)

    def unfold(self, flat: Array) -> Array:
        """(n, d) as (n, channels, height, width), a view."""
        if not self.last:
            return flat.reshape(-1, self.channels, self.height, self.width)
        return flat.reshape(-1, self.height, self.width, self.channels).transpose(0, 3, 1, 2)

    def fold(self, images: Array) -> Array:
        """The way back, (n, d) contiguous."""
        seen = images.transpose(0, 2, 3, 1) if self.last else images
        return np.ascontiguousarray(seen.reshape(len(images), -1))

    def window(self, share: float) -> tuple[int, int]:
        """Height and width of the square that covers this share of the plane."""
        if self.height == 1:
            return 1, max(1, round(share * self.width))
        side = max(1, round(math.sqrt(share * self.height * self.width)))
        return min(side, self.height), min(side, self.width)


def share_at(query: int, queries: int) -> float:
    """The share of pixels changed at a query, the schedule stretched to the number of queries."""
    passed = query * 10_000 / queries
    return FIRST_SHARE / 2 ** sum(passed > limit for limit in SCHEDULE)


def search_squares(
    problem: Problem, *, loss: str | Callable[..., Any], queries: int, draw: int,
    start: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """The best points (n, d) of `queries` runs a sample, and status (n,); no derivative is asked.

    Andriushchenko et al. 2020: p = inf sets a square to eps times a sign a channel; p < inf moves
    the budget of one square into another with a peaked pattern (their Algorithm 3 with p for 2).
    Kept where the loss falls. Every point asked is inside ball and box. `start` (n, d): points
    inside both to begin at, in place of their stripes or tiles.
    """
    plane = Plane.of(problem.oracle.input_shape)
    propose = _signed_square if math.isinf(problem.norm) else _moved_budget
    begin = _stripes if math.isinf(problem.norm) else _tiles
    if start is None:
        start = _inside(problem, plane, begin(problem, plane, draw))
    front = Front.start(problem, start)
    front.moved[:] = True
    best = np.full(len(problem), np.inf)
    for query in range(queries):
        part, held = front.problem, front.points
        asked = held
        if query:
            window = plane.window(share_at(query, queries))
            asked = _inside(part, plane, propose(part, plane, held, window, draw + query))
        value = part.oracle(part.shaped(asked))
        rows = part.losses(loss, value)
        better = rows.value < best[front.rows]
        best[front.rows[better]] = rows.value[better]
        front.points = np.where(better[:, None], asked, held)
        fooled = part.goal.reached(rows, value)
        front.points[fooled] = asked[fooled]
        front.leave(fooled, Status.OK)
        front.compact(~fooled)
        problem.report(query + 1, queries, len(front.rows))
        if not len(front.rows):
            break
    return front.finish()


def _inside(problem: Problem, plane: Plane, delta: Array) -> Array:
    moved = plane.fold(delta) if problem.free is None else plane.fold(delta) * problem.free
    box, z = problem.box, problem.x + moved.astype(problem.x.dtype)
    return exact.finish(problem.x, z, problem.eps, problem.norm, box.lo, box.hi)


def _uniform(problem: Problem, draw: int, count: int) -> Array:
    ones = np.ones(len(problem))
    drawn = sampling.random_in_ball(problem.keys, draw, ones, math.inf, count, np.float64)
    return (drawn + 1) / 2


def _signs(uniform: Array) -> Array:
    return np.where(uniform < 0.5, -1.0, 1.0)


def _stripes(problem: Problem, plane: Plane, draw: int) -> Array:
    columns = _signs(_uniform(problem, draw, plane.channels * plane.width))
    columns = columns.reshape(-1, plane.channels, 1, plane.width)
    shape = (len(problem), plane.channels, plane.height, plane.width)
    return np.broadcast_to(columns * problem.eps[:, None, None, None], shape)


def _signed_square(
    problem: Problem, plane: Plane, points: Array, window: tuple[int, int], draw: int
) -> Array:
    drawn = _uniform(problem, draw, 2 + plane.channels)
    rows, columns = _corners(drawn[:, :2], plane, window)
    inside = _spans(rows, window[0], plane.height)[:, None, :, None]
    inside = inside & _spans(columns, window[1], plane.width)[:, None, None, :]
    signs = _signs(drawn[:, 2:])[:, :, None, None] * problem.eps[:, None, None, None]
    return np.where(inside, signs, plane.unfold(points - problem.x))


def _corners(drawn: Array, plane: Plane, window: tuple[int, int]) -> tuple[Array, Array]:
    free = np.array([plane.height - window[0] + 1, plane.width - window[1] + 1])
    corner = np.minimum((drawn * free).astype(np.int64), free - 1)
    return corner[:, 0], corner[:, 1]


def _spans(begin: Array, length: int, size: int) -> Array:
    place = np.arange(size)
    return (place >= begin[:, None]) & (place < begin[:, None] + length)


def _moved_budget(
    problem: Problem, plane: Plane, points: Array, window: tuple[int, int], draw: int
) -> Array:
    p, channels = problem.norm, plane.channels
    drawn = _uniform(problem, draw, 5 + channels)
    scale = np.maximum(problem.eps, np.finfo(np.float64).tiny)[:, None, None, None]
    delta = plane.unfold((points - problem.x).astype(np.float64)) / scale
    to, source = (
        _window(*_corners(c, plane, window), window) for c in (drawn[:, :2], drawn[:, 2:4])
    )
    everyone, every_channel = np.arange(len(problem))[:, None, None, None], np.arange(channels)
    where = [
        (everyone, every_channel[:, None, None], rows[:, None], columns[:, None])
        for rows, columns in (to, source)
    ]
    held = delta[where[0]]
    rest = np.array(delta)
    rest[where[0]] = rest[where[1]] = 0
    before, after = (np.sum(np.abs(part) ** p, axis=(2, 3)) for part in (delta, rest))
    unused = np.maximum(1 - before.sum(axis=1, keepdims=True), 0) / channels
    budget = np.maximum(before - after + unused, 0) ** (1 / p)
    pattern = _halves(window, p, drawn[:, 4] < 0.5)[:, None]
    mixed = _signs(drawn[:, 5:])[:, :, None, None] * pattern + _normed(held, p)
    rest[where[0]] = _normed(mixed, p) * budget[:, :, None, None]
    return rest * scale


def _window(rows: Array, columns: Array, window: tuple[int, int]) -> tuple[Array, Array]:
    return (
        rows[:, None, None] + np.arange(window[0])[:, None],
        columns[:, None, None] + np.arange(window[1]),
    )


def _normed(parts: Array, p: float) -> Array:
    length = np.sum(np.abs(parts) ** p, axis=(-2, -1), keepdims=True) ** (1 / p)
    return parts / np.where(length > 0, length, 1)


def _peak(height: int, width: int) -> Array:
    """sum over k >= r of 1 / (k + 1)^2, r the Chebyshev distance to the middle (their eq. 2)."""
    down = np.abs(np.arange(height) - height // 2)[:, None]
    distance = np.maximum(down, np.abs(np.arange(width) - width // 2))
    terms = 1 / (np.arange(max(height, width) // 2 + 1) + 1.0) ** 2
    return np.cumsum(terms[::-1])[::-1][distance]


def _halves(window: tuple[int, int], p: float, turned: Array) -> Array:
    """Two peaks of opposite sign beside each other (n, h, w); `turned` where one is above."""
    height, width = window
    beside = np.hstack([_peak(height, width // 2), -_peak(height, width - width // 2)])
    above = beside.T if height == width else beside
    return _normed(np.where(turned[:, None, None], above, beside), p)


def _tiles(problem: Problem, plane: Plane, draw: int) -> Array:
    height, width = max(1, plane.height // TILES), max(1, plane.width // TILES)
    down, along = -(-plane.height // height), -(-plane.width // width)
    signs = _signs(_uniform(problem, draw, plane.channels * down * along))
    signs = signs.reshape(-1, plane.channels, down, along)
    grid = np.kron(signs, np.ones((height, width))) * np.tile(_peak(height, width), (down, along))
    grid = grid[:, :, : plane.height, : plane.width]
    length = np.sum(np.abs(grid) ** problem.norm, axis=(1, 2, 3), keepdims=True)
    return grid / length ** (1 / problem.norm) * problem.eps[:, None, None, None]
