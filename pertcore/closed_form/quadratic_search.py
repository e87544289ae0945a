"""The best signs that a short search finds for norm_2(J s)^2, and how far from the best at most."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.closed_form.quadratic_bounds import dual_bound, dual_weights
from pertcore.closed_form.quadratic_cones import ENOUGH, WORK, cone_bound
from pertcore.closed_form.quadratic_signs import (
    greedy_signs,
    hyperplane_round,
    mixing,
    one_opt,
    scaled,
    sign_ascent,
    signs_of,
)
from pertcore.closed_form.sampling import random_on_sphere, sample_keys
from pertcore.kernels.catalogue import kernel
from pertcore.oracle import Array

GRAM = 1536
"""Up to this many columns all starts share one Gram matrix, which costs as much as they do."""
LARGE = 1 << 25
"""Above this many entries every reading of J counts: a coarser relaxation, one start climbs."""
DIRECTIONS = 6
SAME = 1e-6
POLISHED = 4
RANK = 8
SWEEPS = 12
KICKS = 256


def best_signs(
    columns: Array,
    *,
    singular: Array | None = None,
    relaxed: tuple[Array, Array] | None = None,
    seed: int = 0,
    rank: int = RANK,
    count: int = 16,
    kicks: int = KICKS,
    gram: Array | None = None,
) -> tuple[Array, float]:
    """Signs (d,) with a large norm_2(J s)^2, and that value; columns (d, K) = J^T.

    Starts: the greedy signs, `count` roundings of the relaxation `relaxed` = (V, W) of `mixing`
    (computed where None), and the signs of `count` random combinations of the top right singular
    directions of J; `singular` (r, d) holds them as rows, each times its singular value (None:
    taken from W). Each climbs by single flips. Up to GRAM columns the best ones are then kicked:
    a random part of the signs turns, or a part that the relaxation holds together, climbs again
    and stays if it is better (iterated local search: Lourenco, Martin and Stutzle 2003), `kicks`
    times in all. `gram` (d, d) is J^T J where it is at hand. Deterministic for a seed. Where an
    entry is not finite: the greedy signs, and NaN for the value.
    """
    batch, exponents = scaled(columns)
    one = batch[0]
    if not np.all(np.isfinite(one)) or not one.size:
        signs = greedy_signs(one)
        return signs, math.nan if one.size else 0.0
    if len(one) > GRAM:
        gram = None
    elif gram is None or exponents[0]:
        gram = one @ one.T
    v, w = _relaxed(one, rank, seed, gram) if relaxed is None else relaxed
    directions = _leading(one, w) if singular is None else np.asarray(singular)[:DIRECTIONS]
    starts = np.concatenate(
        [
            greedy_signs(one)[None],
            hyperplane_round(v, count, _key(seed)).astype(one.dtype),
            _combinations(directions, count, seed).astype(one.dtype),
        ]
    )
    found = (
        _climbed(one, starts)
        if gram is None
        else _searched(gram, np.ascontiguousarray(v), starts, seed, kicks)
    )
    return one_opt(columns, found, max_sweeps=8 if one.size <= LARGE else 2)


def certified_signs(
    columns: Array, *, seed: int = 0, enough: float = ENOUGH, work: int = WORK, **options: Any
) -> tuple[Array, float, float, int]:
    """`best_signs` and a number >= the maximum: signs, value, bound, and cones it was taken over.

    The bound is the `dual_bound` of one relaxation, 1 cone; where value / bound is below `enough`
    and J has few rows, that of `cone_bound`, for at most `work` multiplications. `options` are
    those of `best_signs`.
    """
    batch, exponents = scaled(columns)
    one, gram = batch[0], None
    if not np.all(np.isfinite(one)):
        return greedy_signs(one), math.nan, math.inf, 1
    if len(one) <= min(GRAM, one.shape[1]):
        wide = one.astype(np.float64)
        gram = wide @ wide.T
        options = {**options, "gram": gram.astype(one.dtype)}
    v, w = _relaxed(one, RANK, seed, options.get("gram"))
    signs, value = best_signs(one, relaxed=(v, w), seed=seed, **options)
    upper, cones = 0.0, 1
    if np.any(w):
        upper = dual_bound(one, dual_weights(one, w), gram=gram)
        upper, cones = cone_bound(one, value, w, upper, enough=enough, work=work)
    with np.errstate(over="ignore"):
        value, upper = np.ldexp([value, max(upper, value)], 2 * exponents[0])
    return signs, float(value), float(upper), cones


def _relaxed(columns: Array, rank: int, seed: int, gram: Array | None) -> tuple[Array, Array]:
    # Rows of the Gram matrix are read instead of columns, which pays while they are no longer.
    short = gram if len(columns) <= 2 * columns.shape[1] else None
    rank, sweeps = (rank, SWEEPS) if columns.size <= LARGE else (min(rank, 4), SWEEPS // 2)
    return mixing(columns, rank=rank, sweeps=sweeps, keys=_key(seed), gram=short)


def _key(seed: int) -> Array:
    return sample_keys(seed, np.arange(1))


def _leading(columns: Array, image: Array) -> Array:
    """Estimates of the top right singular directions times their values, (r, d), from W = J V."""
    turned, _ = scaled(image)
    basis = np.linalg.qr(turned[0])[0]
    _, values, rows = np.linalg.svd((columns @ basis).T, full_matrices=False)
    return (values[:, None] * rows)[:DIRECTIONS]


def _combinations(directions: Array, count: int, seed: int) -> Array:
    """Signs (count, d) of Gaussian combinations of the directions (r, d)."""
    weights = random_on_sphere(_key(seed), 2, np.ones(1), 2.0, count * len(directions), np.float64)
    return signs_of(weights.reshape(count, -1) @ directions)


def _searched(gram: Array, rows: Array, starts: Array, seed: int, kicks: int) -> Array:
    keys = sample_keys(seed, np.arange(len(starts)))
    climbed, values = np.empty_like(starts), np.empty(len(starts))
    kernel("gram_search")(gram, rows, starts, keys, 0, climbed, values)
    best = climbed[_distinct(values)[:POLISHED]]
    kicked, values = np.empty_like(best), np.empty(len(best))
    kernel("gram_search")(gram, rows, best, keys[: len(best)], kicks // POLISHED, kicked, values)
    return kicked[int(np.argmax(values))]


def _distinct(values: Array) -> Array:
    """Indices by decreasing value, one for each value: starts often climb to the same signs."""
    order = np.argsort(-values, kind="stable")
    sorted_values = values[order]
    new = np.append(True, sorted_values[1:] < sorted_values[:-1] * (1 - SAME))
    return order[new]


def _climbed(columns: Array, starts: Array) -> Array:
    images = (starts @ columns).astype(np.float64)
    order = np.argsort(-(images * images).sum(axis=1), kind="stable")
    polished, steps = (POLISHED, 50) if columns.size <= LARGE else (1, 2)
    ended = [
        one_opt(columns, sign_ascent(columns, starts[i], max_steps=steps)[0])
        for i in order[:polished]
    ]
    return max(ended, key=lambda pair: pair[1])[0]
