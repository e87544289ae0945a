"""Theorem 1: the smallest budget that the linearised model admits."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pertcore.attacks.prepare import Given
from pertcore.attacks.verify import clean_answer
from pertcore.closed_form.norms import row_norms
from pertcore.constraints import dual_order
from pertcore.oracle import Array, Oracle


@dataclass(frozen=True)
class LinearEstimate:
    """Of n samples: margin L (n,) at x; eps (n,) = L / norm_q(g), 0 where the sample is wrong
    already and inf where the gradient is zero; size (n,) = norm_p(x)."""

    margin: Array
    eps: Array
    size: Array


def linear_estimate(oracle: Oracle, given: Given, batch_size: int | None = None) -> LinearEstimate:
    """The budgets below which min L + g.eta over norm_p(eta) <= eps stays positive (Balda et al.,
    Theorem 1), L the margin: a bound for the linear model, for the model itself an estimate.

    Nothing is known, NaN, of a model without J^T v and for p = 0, which has no dual norm.
    """
    n = len(given.x)
    if "vjp" not in oracle.capabilities or given.ball.norm == 0:
        unknown = np.full(n, np.nan)
        return LinearEstimate(unknown, unknown, _sizes(given, slice(None)))
    step = batch_size or n
    parts = [_of_batch(oracle, given, slice(i, i + step)) for i in range(0, n, step)]
    return LinearEstimate(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(LinearEstimate))
    )


def _of_batch(oracle: Oracle, given: Given, rows: slice) -> LinearEstimate:
    goal, x = given.goal, given.x[rows]
    lin = oracle.linearize(x)
    clean = clean_answer(lin.value, None if given.y is None else given.y[rows], goal)
    seen = goal.rows("margin", lin.value, clean.y)
    slope = lin.vjp(seen.cotangent.reshape(lin.value.shape)).reshape(len(x), -1)
    if given.free is not None:
        slope = slope * (given.free if len(given.free) == 1 else given.free[rows])
    steep = row_norms(np.ascontiguousarray(slope), dual_order(given.ball.norm))
    margin = np.where(clean.error, 0.0, seen.margin)
    with np.errstate(divide="ignore", invalid="ignore"):
        eps = np.where(margin > 0, margin / steep, 0.0)
    return LinearEstimate(margin, eps, _sizes(given, rows))


def _sizes(given: Given, rows: slice) -> Array:
    return row_norms(given.x[rows].reshape(len(given.x[rows]), -1), given.ball.norm)


def diameter(given: Given) -> float:
    """norm_p of the way between opposite corners of the box, inf without one."""
    width = np.asarray(given.box.hi, np.float64) - np.asarray(given.box.lo, np.float64)
    across = np.broadcast_to(width, given.x[0].size)
    return float(row_norms(np.ascontiguousarray(across[None]), given.ball.norm)[0])
