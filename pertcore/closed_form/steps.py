"""Steps along a gradient: the answers of the linearised problems, with and without a box.

Everywhere g, x, x_t are (n, d) of one dtype, C-contiguous; eps, step, radius, level (n,) float64;
lo, hi scalars or (d,) in the same dtype, with lo <= x <= hi; results (n, d) in that dtype. A NaN in
g moves nothing at its entry; an infinity counts as the largest number; `out` overlaps no input.
"""

from __future__ import annotations

import math

import numpy as np

from pertcore.arrays import library
from pertcore.closed_form.exact import Bound, finish, limits
from pertcore.closed_form.projections import project_ball_box
from pertcore.kernels.catalogue import kernel
from pertcore.oracle import Array


def dual_norm_step(g: Array, eps: Array, norm: float, *, out: Array | None = None) -> Array:
    """argmin_eta g.eta with norm_p(eta) <= eps: -eps sign(g) |g|^(q-1) / norm_q(g)^(q-1).

    Balda et al. (5), (6). p = 1 spends eps on the first of the largest |g_k|; p = inf is
    -eps sign(g) with sign(0) = 0. A zero gradient gives a zero step.
    """
    out = np.empty_like(g) if out is None else out
    if norm in (1, 2) or math.isinf(norm):
        kernel(f"dual_step_{norm:g}")(g, eps, out)
    else:
        kernel("dual_step_p")(g, eps, norm, out)
    return out


def hyperplane_step(
    g: Array,
    level: Array,
    norm: float,
    *,
    x: Array | None = None,
    lo: Bound = -math.inf,
    hi: Bound = math.inf,
    out: Array | None = None,
) -> tuple[Array, Array]:
    """The smallest eta, in norm_p, with level + g.eta <= 0 and lo <= x + eta <= hi.

    Balda et al. (7), (8), the denominator corrected to norm_q(g)^q:
    -level sign(g) |g|^(q-1) / norm_q(g)^q where no bound is met. With a box each entry stops at
    its room: eta = -sign(g) min(t |g|^(q-1), room) with the smallest t; p = 1 takes the entries
    by falling |g|. Returns eta (n, d) and feasible (n,) bool; an infeasible row holds the
    point of the box farthest along -g (or 0 where g = 0). level <= 0 gives 0.
    """
    out = np.empty_like(g) if out is None else out
    feasible = library(g).empty(len(g), dtype=np.bool_)
    lo, hi = (-math.inf, math.inf) if x is None else (lo, hi)
    base = g if x is None else x
    if norm == 1:
        kernel("hyperplane_1")(g, level, base, lo, hi, out, feasible)
    else:
        kernel("hyperplane_p")(g, level, norm, base, lo, hi, out, feasible)
    return out, feasible


def lmo_ball_box(
    g: Array, x: Array, eps: Array, norm: float, lo: Bound, hi: Bound, *, out: Array | None = None
) -> Array:
    """argmin_eta g.eta with norm_p(eta) <= eps and lo <= x + eta <= hi.

    eta = -sign(g) min(t |g|^(q-1), room), the largest t inside the ball (p = inf: min(eps, room);
    p = 1: a fractional knapsack, room of the largest |g| first). Entries with g = 0 stay.
    """
    out = np.empty_like(g) if out is None else out
    if norm in (1, 2) or math.isinf(norm):
        kernel(f"lmo_box_{norm:g}")(g, x, eps, lo, hi, out)
    else:
        kernel("lmo_box_p")(g, x, eps, norm, lo, hi, out)
    return out


def ball_step(
    x: Array,
    x_t: Array,
    g: Array,
    radius: Array,
    eps: Array,
    norm: float,
    lo: Bound,
    hi: Bound,
    *,
    out: Array | None = None,
) -> Array:
    """Algorithm 1's step: x_t + lmo of the ball of `radius` within the box around x_t.

    Balda et al., algorithm 1; the sum of the steps is then finished exactly inside the ball of
    eps around x and the box (see `exact.finish`). Returns x_{t+1}.
    """
    if math.isinf(norm):
        out = np.empty_like(x) if out is None else out
        lo, hi = limits(lo, hi, x.dtype)
        kernel("ball_step_inf")(x, x_t, g, radius, eps, lo, hi, out)
        return out
    moved = lmo_ball_box(g, x_t, radius, norm, lo, hi)
    np.add(moved, x_t, out=moved)
    return finish(x, moved, eps, norm, lo, hi, out=out)


def pgd_step(
    x: Array,
    x_t: Array,
    g: Array,
    step: Array,
    eps: Array,
    norm: float,
    lo: Bound,
    hi: Bound,
    *,
    out: Array | None = None,
) -> Array:
    """x_t and its steepest step, projected on ball and box (Madry et al. 2018, section 2.1).

    p = 2, inf: the step is dual_norm_step(g, step), as Madry et al. have it. Other p: it is the
    steepest inside the box, lmo_ball_box(g, x_t, step), since a step that puts (nearly) all of its
    length on the largest |g_k| goes nowhere once that entry is on its bound. The projection is
    Euclidean on the intersection, and exact in float. x_t lies in the box. Returns x_{t+1}.
    """
    if norm == 2 or math.isinf(norm):
        out = np.empty_like(x) if out is None else out
        lo, hi = limits(lo, hi, x.dtype)
        kernel(f"pgd_{norm:g}")(x, x_t, g, step, eps, lo, hi, out)
        return out
    moved = lmo_ball_box(g, x_t, step, norm, lo, hi)
    np.add(moved, x_t, out=moved)
    return project_ball_box(x, moved, eps, norm, lo, hi, out=out)
