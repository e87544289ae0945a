"""A tighter bound of max norm_2(J s)^2 for few outputs: branch and bound over their directions."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np

from pertcore.closed_form.quadratic_bounds import grown, proved_top, raised, weighted_square
from pertcore.kernels.catalogue import kernel
from pertcore.oracle import Array

# The share of a bound from which a value counts as close to it.
ENOUGH = 0.95
# Multiplications that may be spent on a bound: a few seconds at most.
WORK = 1 << 33
# With more outputs a cone costs more than the relaxation, and there are too many of them.
OUTPUTS = 64
# Of a cone's relaxation: its rank, its steps in a round and rounds at most, the change of a step
# that ends it, and how near the bound may be to what it reaches.
RANK, STEPS, ROUNDS, SETTLED, NEAR = 4, 150, 6, 1e-4, 1.01
# Normals of a cone, as many as `proved_top` allows for.
MOST = 7

# columns (d, K) float64 without zeros, the same (K, d) float32 over the root of the value, that
# root, and the bound that is low enough.
Problem = tuple[Array, Array, float, float]


@dataclass(frozen=True)
class Cone:
    """The unit w with P w >= 0, P = `normals` (r, K), and `upper` >= (sum_i abs(w . J_i))^2 there.

    image (K, rank) and prices (r, r) are the relaxation's answer, from which that of parts starts.
    """

    upper: float
    normals: Array
    image: Array
    prices: Array


def cone_bound(
    columns: Array, value: float, image: Array, upper: float, *, enough: float = ENOUGH,
    work: int = WORK,
) -> tuple[float, int]:  # fmt: skip
    """A number >= norm_2(J s)^2 for all signs s, at most `upper`, which is one, and cones in all.

    The maximum is that of (sum_i abs(w . J_i))^2 over unit w in R^K, and w counts like -w. Half the
    sphere is parted into cones P w >= 0, always the one with the largest bound, until value >=
    enough * bound or `work` is spent. In a cone, for all y > 0 and C >= 0 with diagonal zero,
        2 sum_i abs(w . J_i) <= w^T (J diag(y)^-1 J^T + P^T C P) w + sum_i y_i,
    so that the square is at most sum_i y_i times lambda_max of that matrix, proved as in
    `dual_bound`. y and C are multipliers of the semidefinite relaxation with the products
    (p_a . w)(p_b . w) >= 0 as further constraints (after Sherali and Adams 1990). One output needs
    none of that, and more than OUTPUTS are left to the relaxation.
    columns (d, K) = J^T, finite; value > 0, reached by some signs; image W = J V of `mixing`.
    """
    rank = min(RANK, *image.shape)
    left = work // (columns.size * (2 * STEPS * rank + columns.shape[1]))
    if not 1 < columns.shape[1] <= OUTPUTS or left < 2 or enough * upper <= value:
        return upper, 1
    turned, sizes, _ = np.linalg.svd(image.astype(np.float64), full_matrices=False)
    start = (turned * sizes / np.linalg.norm(sizes))[:, :rank]
    whole = Cone(upper, turned[:, :1].T, start, np.zeros((1, 1)))
    cones, count, root = [(-upper, 0, whole)], 1, math.sqrt(value)
    wide = columns[np.any(columns != 0, axis=1)].astype(np.float64)
    planes = np.ascontiguousarray(wide.T / root, dtype=np.float32)
    problem = (wide, planes, root, value / enough)
    while left >= 2 and enough * -cones[0][0] > value:
        parent = heapq.heappop(cones)[2]
        for normals, prices in _halves(parent):
            part, rounds = _bounded(problem, parent, normals, prices)
            heapq.heappush(cones, (-part.upper, count, part))
            count += 1
            left -= rounds
    return -cones[0][0], len(cones)


def _halves(cone: Cone) -> list[tuple[Array, Array]]:
    """Normals and first prices of two cones that cover this one.

    With vertices v_k, p_a . v_b = 0 for a != b: either two vertices that the relaxation mixes are
    told apart by the plane between them, or a direction outside their span joins, with either
    sign. A child keeps its parent's normals to the bit, drops some, and gets n or -n for one more.
    """
    normals, prices = cone.normals, cone.prices
    vertices = np.linalg.pinv(normals)
    lengths = np.linalg.norm(vertices, axis=0)
    vertices, frame = vertices / lengths, normals * lengths[:, None]
    inner = frame @ cone.image
    weights = np.linalg.norm(inner, axis=1)
    apart = (1 - vertices.T @ vertices) * np.outer(weights, weights)
    apart[np.tril_indices(len(apart))] = -1
    a, b = np.unravel_index(int(apart.argmax()), apart.shape)
    outside, sizes, _ = np.linalg.svd(cone.image - vertices @ inner, full_matrices=False)
    if len(normals) < min(MOST, normals.shape[1]) and sizes[0] * weights.max() >= apart[a, b]:
        wider = np.pad(prices, (0, 1))
        return [(np.vstack([normals, side * outside[:, 0]]), wider) for side in (1, -1)]
    plane = frame[a] - frame[b]
    plane /= np.linalg.norm(plane)
    parts = [normals.copy(), normals.copy()]
    parts[0][a], parts[1][b] = plane, -plane
    return [(part, prices) for part in parts]


def _bounded(problem: Problem, parent: Cone, normals: Array, prices: Array) -> tuple[Cone, int]:
    """The cone of these normals inside `parent`, by the relaxation there, and the rounds it took.

    Another round follows while the bound is neither low enough nor near what the image reaches.
    """
    columns, planes, root, goal = problem
    rates = np.linalg.norm(np.linalg.pinv(normals), axis=0).astype(np.float32)
    narrow, upper = normals.astype(np.float32), parent.upper
    first, costs = parent.image.astype(np.float32), prices.astype(np.float32)
    rounds = 0
    while rounds < ROUNDS:
        rounds += 1
        image, found = np.empty_like(first), np.empty_like(costs)
        kernel("cone_ascent")(planes, narrow, rates, first, costs, STEPS, SETTLED, image, found)
        y = np.linalg.norm(columns @ image.astype(np.float64), axis=1)
        upper = min(upper, _upper(columns, y, normals, found.astype(np.float64) * root))
        if upper <= max(goal, NEAR * float(y.sum()) ** 2):
            break
        first, costs = image, found
    return Cone(upper, normals, image.astype(np.float64), found.astype(np.float64)), rounds


def _upper(columns: Array, y: Array, normals: Array, prices: Array) -> float:
    """sum y lambda_max(J diag(y)^-1 J^T + P^T C P) from above, C = prices made symmetric."""
    weights, lengths = raised(y), np.linalg.norm(normals, axis=1)
    costs = (prices + prices.T) * (0.5 * y.max())
    square = weighted_square(columns, weights)
    size = float(np.trace(square)) + float(lengths @ costs @ lengths)
    top = proved_top(square + normals.T @ (costs @ normals), len(columns), size)
    return max(top, 0.0) * float(weights.sum()) * grown(len(weights))
