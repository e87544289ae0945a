"""Steps along a gradient: what each kernel of `steps` and `fused` means, in plain NumPy."""

from __future__ import annotations

import math

import numpy as np

from pertcore.kernels.definitions.directions import clean, fill, room, saturate, weights
from pertcore.kernels.definitions.exact import Bound, finish, finish_inf, round_down
from pertcore.kernels.definitions.projections import project_box_2
from pertcore.oracle import Array

FILLED = 1 - 1e-5
"""A ball this full, in norm_p^p, is not filled again."""

REFILLS = 64


def dual_step_inf(g: Array, eps: Array, out: Array) -> None:
    """out = -eps sign(g), eps rounded down to the dtype."""
    out[...] = -round_down(eps, g.dtype) * np.sign(np.nan_to_num(g))


def dual_step_1(g: Array, eps: Array, out: Array) -> None:
    """out = -eps sign(g_k) e_k, k the first of the largest |g_k|."""
    lmo_box_1(g, np.zeros_like(g), eps, -math.inf, math.inf, out)


def dual_step_2(g: Array, eps: Array, out: Array) -> None:
    """out = -eps g / norm_2(g)."""
    dual_step_p(g, eps, 2.0, out)


def dual_step_p(g: Array, eps: Array, p: float, out: Array) -> None:
    """out = -eps w sign(g) / norm_p(w), w = |g|^(q-1)."""
    step = clean(g)
    w = weights(np.abs(step), p)
    norm = np.sum(w**p, axis=1, keepdims=True) ** (1 / p)
    out[...] = -eps[:, None] * w / np.where(norm > 0, norm, 1) * np.sign(step)


def lmo_box_1(g: Array, x: Array, eps: Array, lo: Bound, hi: Bound, out: Array) -> None:
    """Fractional knapsack: the room of the largest |g_i| first, eps in all."""
    step = clean(g)
    out[...] = -np.sign(step) * fill(np.abs(step), room(step, x, lo, hi), eps[:, None])


def lmo_box_inf(g: Array, x: Array, eps: Array, lo: Bound, hi: Bound, out: Array) -> None:
    """out = -sign(g) min(eps, room)."""
    step = clean(g)
    reach = np.minimum(round_down(eps, g.dtype), room(step, x, lo, hi))
    out[...] = -np.sign(step) * reach


def lmo_box_2(g: Array, x: Array, eps: Array, lo: Bound, hi: Bound, out: Array) -> None:
    """`lmo_box_p` at p = 2."""
    lmo_box_p(g, x, eps, 2.0, lo, hi, out)


def lmo_box_p(g: Array, x: Array, eps: Array, p: float, lo: Bound, hi: Bound, out: Array) -> None:
    """out = -sign(g) min(t w, room), w = |g|^(q-1), t so large that norm_p(out) = eps.

    The breakpoints room/w are sorted; between two of them norm_p^p is S + t^p W. Where w has lost
    small |g| to underflow and the rest does not fill the ball, the rest is full, and w is taken
    again among those left.
    """
    step = clean(g)
    a, unit = np.abs(step), np.where(eps > 0, eps, 1)[:, None]
    reach = np.minimum(room(step, x, lo, hi), eps[:, None])
    r = reach / unit
    full = np.zeros_like(a, dtype=bool)
    for _ in range(REFILLS):
        w = weights(np.where(full, 0, a), p)
        rate = w**p
        w = np.where(rate > 0, w, 0)
        left = 1 - np.sum(np.where(full, r**p, 0), axis=1, keepdims=True)
        t = _level(w, r, r**p, rate, np.maximum(left, 0), 1 / p)
        taken = np.where(full, r, saturate(w, r, t))
        open_rows = np.sum(taken**p, axis=1, keepdims=True) < FILLED
        more = open_rows & (w > 0) & (taken >= r)
        if not np.any(more):
            break
        full |= more
    out[...] = -np.sign(step) * np.minimum(unit * taken, reach)


def _level(w: Array, r: Array, full: Array, rate: Array, goal: Array, power: float) -> Array:
    """(n, 1) smallest t with sum(full where t w >= r) + t^(1/power) sum(rate elsewhere) = goal.

    Infinite where even t = inf does not reach the goal.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.where(w > 0, r / w, np.inf)
        order = np.argsort(ends, axis=1, kind="stable")
        ends = np.take_along_axis(ends, order, axis=1)
        kept = np.take_along_axis(np.where((w > 0) & np.isfinite(full), full, 0.0), order, axis=1)
        spent = np.cumsum(kept, axis=1) - kept
        rates = np.take_along_axis(np.where(w > 0, rate, 0.0), order, axis=1)
        rest = np.cumsum(rates[:, ::-1], axis=1)[:, ::-1]
        t = (np.maximum(goal - spent, 0) / rest) ** power
    reached = (t <= ends) & (rest > 0)
    first = np.argmax(reached, axis=1)[:, None]
    found = np.take_along_axis(t, first, axis=1)
    return np.where(np.any(reached, axis=1, keepdims=True), found, np.inf)


def hyperplane_1(
    g: Array, level: Array, x: Array, lo: Bound, hi: Bound, out: Array, feasible: Array
) -> None:
    """The cheapest coordinates first: room by falling |g_i| until g.out = -level."""
    step = clean(g)
    a = np.abs(step)
    goal = np.maximum(level, 0)[:, None]
    gain = np.where(a > 0, a * np.where(a > 0, room(step, x, lo, hi), 0), 0)
    gained = fill(a, gain, goal)
    out[...] = -np.sign(step) * gained / np.where(a > 0, a, 1)
    feasible[...] = np.sum(np.minimum(gain, goal), axis=1) >= goal[:, 0] * (1 - 1e-12)


def hyperplane_p(
    g: Array, level: Array, p: float, x: Array, lo: Bound, hi: Bound, out: Array, feasible: Array
) -> None:
    """out = -sign(g) min(t w, room), w = |g|^(q-1), the smallest t with g.out <= -level."""
    step = clean(g)
    a = np.abs(step)
    w = weights(a, p)
    r = room(step, x, lo, hi)
    goal = np.maximum(level, 0)[:, None]
    full = np.where(a > 0, a * np.where(a > 0, r, 0), 0)
    t = _level(w, r, full, a * w, goal, 1.0)
    feasible[...] = np.isfinite(t[:, 0]) | (goal[:, 0] == 0)
    t = np.where(goal == 0, 0.0, t)
    out[...] = -np.sign(step) * saturate(w, r, t)


def pgd_inf(
    x: Array, x_t: Array, g: Array, step: Array, eps: Array, lo: Bound, hi: Bound, out: Array
) -> None:
    """x_t - step sign(g), clipped to the ball around x and the box."""
    move = step.astype(x.dtype)[:, None] * np.sign(np.nan_to_num(g))
    finish_inf(x, x_t - move, eps, lo, hi, out)


def pgd_2(
    x: Array, x_t: Array, g: Array, step: Array, eps: Array, lo: Bound, hi: Bound, out: Array
) -> None:
    """x_t - step g / norm_2(g), projected on the ball around x within the box."""
    move = np.empty_like(x)
    dual_step_2(g, step, move)
    project_box_2(x, x_t + move, eps, lo, hi, out)


def ball_step_inf(
    x: Array, x_t: Array, g: Array, radius: Array, eps: Array, lo: Bound, hi: Bound, out: Array
) -> None:
    """x_t - radius sign(g), inside the box around x_t, the ball around x and the box."""
    reach = round_down(radius, x.dtype) * np.sign(np.nan_to_num(g))
    finish(x, np.minimum(np.maximum(x_t - reach, lo), hi), eps, math.inf, lo, hi, out)
