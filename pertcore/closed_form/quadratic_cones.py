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
# Multiplications that may be spent on a bound: some seconds at most.
WORK = 1 << 34
# With more outputs a cone costs more than the relaxation, and there are too many of them.
OUTPUTS = 64
# Of a cone's relaxation: its rank at first, its steps in a round and rounds at most, the change of
# a step that ends it, and how near the bound may be to what it reaches.
RANK, STEPS, ROUNDS, SETTLED, NEAR = 4, 120, 4, 1e-4, 1.01
# What one more rank begins with, and the size that a rank has to have to be kept for that.
AWAY, LEAST = 0.2, 0.02
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
    least = 2 * _cost(columns.shape, rank)
    if not 1 < columns.shape[1] <= OUTPUTS or work < least or enough * upper <= value:
        return upper, 1
    turned, sizes, _ = np.linalg.svd(image.astype(np.float64), full_matrices=False)
    start = (turned * sizes / np.linalg.norm(sizes))[:, :rank]
    whole = Cone(upper, turned[:, :1].T, start, np.zeros((1, 1)))
    cones, count, root = [(-upper, 0, whole)], 1, math.sqrt(value)
    wide = columns[np.any(columns != 0, axis=1)].astype(np.float64)
    planes = np.ascontiguousarray(wide.T / root, dtype=np.float32)
    problem = (wide, planes, root, value / enough)
    while work >= least and enough * -cones[0][0] > value:
        parent = heapq.heappop(cones)[2]
        for normals, prices in _halves(parent):
            part, spent = _bounded(problem, parent, normals, prices)
            heapq.heappush(cones, (-part.upper, count, part))
            count += 1
            work -= spent
    return -cones[0][0], len(cones)


def _cost(shape: tuple[int, ...], rank: int) -> int:
    """Multiplications of one round and its bound for columns of this shape."""
    return math.prod(shape) * (2 * STEPS * rank + shape[1])


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
    """The cone of these normals inside `parent`, by the relaxation there, and the multiplications.

    Another round follows while the bound is neither low enough nor near what the image reaches:
    that image is the best of its rank but not of all, and gets another (Boumal 2015).
    """
    columns, planes, root, goal = problem
    rates = np.linalg.norm(np.linalg.pinv(normals), axis=0).astype(np.float32)
    narrow, upper = normals.astype(np.float32), parent.upper
    first, costs = parent.image.astype(np.float32), prices.astype(np.float32)
    spent = 0
    for _ in range(ROUNDS):
        spent += _cost(columns.shape, first.shape[1])
        image, found = np.empty_like(first), np.empty_like(costs)
        kernel("cone_ascent")(planes, narrow, rates, first, costs, STEPS, SETTLED, image, found)
        y = np.linalg.norm(columns @ image.astype(np.float64), axis=1)
        bound, top = _upper(columns, y, normals, found.astype(np.float64) * root)
        upper = min(upper, bound)
        if upper <= max(goal, NEAR * float(y.sum()) ** 2):
            break
        first, costs = _wider(image, top), found
    return Cone(upper, normals, image.astype(np.float64), found.astype(np.float64)), spent


def _wider(image: Array, top: Array) -> Array:
    """The image with a rank more that begins along `top` (K,), turned so that small ranks go."""
    turned, sizes, _ = np.linalg.svd(image.astype(np.float64), full_matrices=False)
    kept = max(min(RANK, len(sizes)), int(np.count_nonzero(sizes > LEAST)))
    found = np.column_stack([turned[:, :kept] * sizes[:kept], AWAY * top])
    return np.ascontiguousarray(found / np.linalg.norm(found), dtype=np.float32)


def _upper(columns: Array, y: Array, normals: Array, prices: Array) -> tuple[float, Array]:
    """sum y lambda_max(M) from above, M = J diag(y)^-1 J^T + P^T C P and C = prices made
    symmetric; and the eigenvector (K,), along which the Lagrange function rises the most."""
    weights, lengths = raised(y), np.linalg.norm(normals, axis=1)
    costs = (prices + prices.T) * (0.5 * y.max())
    square = weighted_square(columns, weights)
    size = float(np.trace(square)) + float(lengths @ costs @ lengths)
    square += normals.T @ (costs @ normals)
    top = proved_top(square, len(columns), size)
    upper = max(top, 0.0) * float(weights.sum()) * grown(len(weights))
    return upper, np.linalg.eigh(square)[1][:, -1]
