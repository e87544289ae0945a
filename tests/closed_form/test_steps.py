"""Steps against their definition: linear programs and solvers in few dimensions, bounds in many."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from pertcore.closed_form.steps import (
    ball_step,
    dual_norm_step,
    hyperplane_step,
    lmo_ball_box,
    pgd_step,
)
from pertcore.constraints import dual_order
from pertcore.oracle import Array

ORDERS = (1.0, 1.3, 1.5, 2.0, 3.0, 8.0, math.inf)
DTYPES = (np.float32, np.float64)
TOLERANCE = {np.float32: 3e-6, np.float64: 1e-9}


def norm(v: Array, p: float) -> Array:
    return np.linalg.norm(np.asarray(v, dtype=np.float64), ord=p, axis=-1)


def problem(seed: int, n: int, d: int, dtype: Any = np.float64) -> tuple[Array, Array, Array]:
    """A gradient, points of [0, 1] of which a third is on a bound, budgets."""
    rng = np.random.default_rng(seed)
    x = np.clip(rng.uniform(-0.3, 1.3, size=(n, d)), 0, 1)
    g = rng.normal(size=(n, d))
    return g.astype(dtype), x.astype(dtype), rng.uniform(0.05, 0.8, size=n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", ORDERS)
def test_the_dual_norm_is_attained(p: float, dtype: Any) -> None:
    for d in (1, 2, 33, 1000):
        g, _, eps = problem(d, 6, d, dtype)
        step = dual_norm_step(g, eps, p)
        assert step.dtype == dtype
        wanted = -eps * norm(g, dual_order(p))
        tolerance = TOLERANCE[dtype]
        gained = np.sum(step.astype(np.float64) * g, axis=1)
        np.testing.assert_allclose(gained, wanted, rtol=tolerance)
        np.testing.assert_allclose(norm(step, p), eps, rtol=tolerance)


@pytest.mark.parametrize("p", ORDERS)
def test_the_step_survives_any_scale_of_the_gradient(p: float) -> None:
    for dtype, scales in ((np.float32, (1e-36, 1e36)), (np.float64, (1e-300, 1e300))):
        g, _, eps = problem(3, 4, 40, dtype)
        plain = dual_norm_step(g, eps, p)
        for scale in scales:
            scaled = dual_norm_step((g * dtype(scale)).astype(dtype), eps, p)
            np.testing.assert_allclose(scaled, plain, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("p", ORDERS)
def test_zero_gradient_zero_budget_no_samples_one_dimension(p: float) -> None:
    x = np.full((2, 3), 0.5)
    zero, some = np.zeros((2, 3)), np.ones((2, 3))
    eps = np.array([0.3, 0.1])
    for step in (
        dual_norm_step(zero, eps, p),
        dual_norm_step(some, 0 * eps, p),
        lmo_ball_box(zero, x, eps, p, 0.0, 1.0),
        lmo_ball_box(some, x, 0 * eps, p, 0.0, 1.0),
    ):
        assert not step.any()
    none = np.empty((0, 3))
    assert dual_norm_step(none, np.empty(0), p).shape == (0, 3)
    assert lmo_ball_box(none, none, np.empty(0), p, 0.0, 1.0).shape == (0, 3)
    assert pgd_step(none, none, none, np.empty(0), np.empty(0), p, 0.0, 1.0).shape == (0, 3)
    assert hyperplane_step(none, np.empty(0), p)[1].shape == (0,)
    np.testing.assert_allclose(dual_norm_step(np.array([[-2.0]]), np.array([0.3]), p), 0.3)


@pytest.mark.parametrize("p", ORDERS)
def test_a_nan_in_the_gradient_moves_nothing_there(p: float) -> None:
    g, x, eps = problem(5, 3, 20)
    g[:, 4] = np.nan
    for step in (
        dual_norm_step(g, eps, p),
        lmo_ball_box(g, x, eps, p, 0.0, 1.0),
        hyperplane_step(g, eps, p)[0],
        pgd_step(x, x, g, eps, eps, p, 0.0, 1.0) - x,
        ball_step(x, x, g, eps / 3, eps, p, 0.0, 1.0) - x,
    ):
        assert np.all(np.isfinite(step))
        assert not step[:, 4].any()
        assert step.any()


def test_ties_at_p_1_go_to_the_first() -> None:
    g = np.array([[1.0, -2.0, 2.0, -2.0]])
    eps = np.array([0.5])
    np.testing.assert_array_equal(dual_norm_step(g, eps, 1.0), [[0, 0.5, 0, 0]])
    x = np.full((1, 4), 0.9)
    np.testing.assert_allclose(lmo_ball_box(g, x, eps, 1.0, 0.0, 1.0), [[0, 0.1, -0.4, 0]])


def as_linear_program(
    cost: Array, rows: list[Array], limits: list[float], box: list[tuple[float, float]]
) -> Array:
    found = linprog(cost, A_ub=np.array(rows), b_ub=np.array(limits), bounds=box, method="highs")
    assert found.status == 0
    return found.x


def smallest_product(g: Array, low: Array, high: Array, eps: float, p: float) -> float:
    """min g.eta over ball and box by a general solver."""
    d = len(g)
    if math.isinf(p):
        box = list(zip(np.maximum(low, -eps), np.minimum(high, eps), strict=True))
        return float(g @ as_linear_program(g, [np.zeros(d)], [0.0], box))
    if p == 1:
        split = [(0.0, max(v, 0.0)) for v in (*high, *-low)]
        both = np.concatenate([g, -g])
        return float(both @ as_linear_program(both, [np.ones(2 * d)], [eps], split))
    ball = {"type": "ineq", "fun": lambda v: eps**p - np.sum(np.abs(v) ** p)}
    start = np.clip(-g, low, high)
    start *= 0.9 * eps / max(norm(start, p), eps)
    found = minimize(
        lambda v: g @ v, start, jac=lambda v: g, method="SLSQP",
        bounds=list(zip(low, high, strict=True)), constraints=[ball],
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    return float(found.fun)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
def test_lmo_is_optimal_beside_general_solvers(p: float) -> None:
    for seed in range(12):
        d = 1 + seed % 6
        g, x, eps = problem(seed, 1, d)
        step = lmo_ball_box(g, x, eps, p, 0.0, 1.0)
        assert norm(step, p)[0] <= eps[0] * (1 + 1e-9)
        assert np.all(x + step >= -1e-12) and np.all(x + step <= 1 + 1e-12)
        best = smallest_product(g[0], -x[0], 1 - x[0], float(eps[0]), p)
        np.testing.assert_allclose(np.sum(g * step), best, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", ORDERS)
def test_lmo_in_many_dimensions_has_the_optimal_shape(p: float, dtype: Any) -> None:
    g, x, _ = problem(1, 5, 2000, dtype)
    eps = np.array([0.01, 0.5, 3.0, 30.0, 1e4])
    step = lmo_ball_box(g, x, eps, p, 0.0, 1.0).astype(np.float64)
    reach = np.where(g < 0, 1 - x, x).astype(np.float64)
    assert np.all(step * g <= 0)
    assert np.all(np.abs(step) <= reach)
    full = np.all(np.abs(step) >= reach * (1 - 1e-12), axis=1)
    on_sphere = np.abs(norm(step, p) - eps) <= 1e-6 * eps
    assert np.all(full | on_sphere | math.isinf(p))
    if p not in (1, math.inf):
        weight = np.abs(g.astype(np.float64)) ** (1 / (p - 1))
        free = (np.abs(step) < 0.999 * reach) & (np.abs(step) > 1e-6 * eps[:, None])
        for row in range(5):
            rate = np.abs(step[row])[free[row]] / weight[row][free[row]]
            assert rate.size == 0 or np.ptp(rate) <= 1e-4 * rate.max()


def smallest_norm(g: Array, level: float, low: Array, high: Array, p: float) -> float:
    """min norm_p(eta) with level + g.eta <= 0 in the box, by a general solver; inf if none."""
    d = len(g)
    if level + np.sum(np.minimum(g * low, g * high)) > 1e-9:
        return math.inf
    if p == 1:
        split = [(0.0, v) for v in (*high, *-low)]
        return float(as_linear_program(np.ones(2 * d), [np.r_[g, -g]], [-level], split).sum())
    if math.isinf(p):
        identity = np.eye(d)
        rows = [np.r_[g, 0.0]]
        rows += [np.r_[s * identity[i], -1.0] for i in range(d) for s in (1, -1)]
        box = [*zip(low, high, strict=True), (0.0, math.inf)]
        cost = np.r_[np.zeros(d), 1.0]
        return float(as_linear_program(cost, rows, [-level] + [0.0] * 2 * d, box)[-1])
    found = minimize(
        lambda v: np.sum(np.abs(v) ** p), np.where(g < 0, high, low), method="SLSQP",
        jac=lambda v: p * np.sign(v) * np.abs(v) ** (p - 1),
        bounds=list(zip(low, high, strict=True)),
        constraints=[{"type": "ineq", "fun": lambda v: -level - g @ v, "jac": lambda v: -g}],
        options={"ftol": 1e-15, "maxiter": 1000},
    )  # fmt: skip
    return float(norm(found.x, p))


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
def test_hyperplane_step_is_the_shortest_beside_general_solvers(p: float) -> None:
    infeasible = 0
    for seed in range(16):
        d = 1 + seed % 5
        g, x, eps = problem(100 + seed, 1, d)
        level = eps * d
        step, feasible = hyperplane_step(g, level, p, x=x, lo=0.0, hi=1.0)
        assert np.all(x + step >= -1e-12) and np.all(x + step <= 1 + 1e-12)
        wanted = smallest_norm(g[0], float(level[0]), -x[0], 1 - x[0], p)
        assert feasible[0] == math.isfinite(wanted)
        if not feasible[0]:
            infeasible += 1
            np.testing.assert_array_equal(x + step, np.where(g < 0, 1.0, 0.0))
            continue
        assert level[0] + np.sum(g * step) <= 1e-9
        np.testing.assert_allclose(norm(step, p)[0], wanted, rtol=2e-5, atol=1e-7)
    assert 0 < infeasible < 16


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", ORDERS)
def test_hyperplane_step_without_a_box_has_the_closed_form(p: float, dtype: Any) -> None:
    g, _, level = problem(9, 6, 300, dtype)
    level[2], level[3] = -0.5, 0.0
    g[4] = 0
    step, feasible = hyperplane_step(g, level, p)
    np.testing.assert_array_equal(feasible, [True, True, True, True, False, True])
    assert not step[2:5].any()
    live = [0, 1, 5]
    wanted = level[live] / norm(g[live], dual_order(p))
    np.testing.assert_allclose(norm(step[live], p), wanted, rtol=TOLERANCE[dtype])
    left = level[live] + np.sum(g[live] * step[live].astype(np.float64), axis=1)
    assert np.all(np.abs(left) <= TOLERANCE[dtype])


def every_step(g: Array, x: Array, eps: Array, p: float, lo: Any, hi: Any) -> list[Array]:
    x_t = np.clip(x + 0.3 * eps[:, None] * np.sign(g) / g.shape[1], lo, hi).astype(x.dtype)
    return [
        dual_norm_step(g, eps, p),
        lmo_ball_box(g, x, eps, p, lo, hi),
        hyperplane_step(g, eps, p)[0],
        hyperplane_step(g, eps, p, x=x, lo=lo, hi=hi)[0],
        ball_step(x, x_t, g, eps / 3, eps, p, lo, hi),
        pgd_step(x, x_t, g, eps / 3, eps, p, lo, hi),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", ORDERS)
def test_a_batch_is_its_samples_one_by_one_bit_for_bit(p: float, dtype: Any) -> None:
    g, x, eps = problem(11, 7, 130, dtype)
    lo, hi = np.zeros(130, dtype), np.ones(130, dtype)
    together = every_step(g, x, eps, p, 0.0, 1.0)
    with_arrays = every_step(g, x, eps, p, lo, hi)
    for a, b in zip(together, with_arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    for k in range(7):
        one = slice(k, k + 1)
        alone = every_step(g[one], x[one], eps[one], p, 0.0, 1.0)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[one], b)


@given(st.sampled_from(ORDERS), st.integers(0, 10**6), st.integers(1, 40))
def test_steps_follow_permutations_and_signs(p: float, seed: int, d: int) -> None:
    g, x, eps = problem(seed, 2, d)
    rng = np.random.default_rng(seed)
    order = rng.permutation(d)
    for a, b in zip(
        every_step(g, x, eps, p, 0.0, 1.0),
        every_step(g[:, order], x[:, order], eps, p, 0.0, 1.0),
        strict=True,
    ):
        np.testing.assert_allclose(a[:, order], b, rtol=1e-9, atol=1e-9)
    mirrored = every_step(-g, -x, eps, p, -1.0, 0.0)
    for a, b in zip(every_step(g, x, eps, p, 0.0, 1.0), mirrored, strict=True):
        np.testing.assert_array_equal(a, -b)


@given(st.sampled_from(ORDERS), st.integers(0, 10**6), st.integers(-20, 20))
def test_steps_follow_the_scale(p: float, seed: int, power: int) -> None:
    g, x, eps = problem(seed, 2, 17)
    factor = 2.0**power
    np.testing.assert_allclose(
        lmo_ball_box(g, factor * x, factor * eps, p, 0.0, factor),
        factor * lmo_ball_box(g, x, eps, p, 0.0, 1.0),
        rtol=1e-9, atol=1e-9 * factor,
    )  # fmt: skip
    np.testing.assert_allclose(
        lmo_ball_box(factor * g, x, eps, p, 0.0, 1.0),
        lmo_ball_box(g, x, eps, p, 0.0, 1.0),
        rtol=1e-9, atol=1e-9,
    )  # fmt: skip


@pytest.mark.parametrize("p", ORDERS)
def test_ball_step_adds_the_lmo_around_the_iterate(p: float) -> None:
    g, x, _ = problem(21, 4, 50)
    wide, radius = np.full(4, 1e3), np.full(4, 0.2)
    x_t = np.clip(x + 0.1 * np.random.default_rng(0).normal(size=x.shape), 0, 1)
    wanted = x_t + lmo_ball_box(g, x_t, radius, p, 0.0, 1.0)
    np.testing.assert_allclose(ball_step(x, x_t, g, radius, wide, p, 0.0, 1.0), wanted, atol=1e-15)


@pytest.mark.parametrize("p", ORDERS)
def test_the_sum_of_small_ball_steps_reaches_the_ball(p: float) -> None:
    g, x, eps = problem(22, 4, 50, np.float32)
    x_t = x.copy()
    for _ in range(10):
        x_t = ball_step(x, x_t, g, eps / 10, eps, p, -np.inf, np.inf)
    reached = norm(x_t.astype(np.float64) - x, p)
    assert np.all(reached <= eps) and np.all(reached >= eps * (1 - 1e-5))


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1.0, 1.01, 1.05, 1.2, 1.5])
def test_a_ball_is_filled_by_entries_whose_weight_underflows(
    p: float, dtype: Any, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERTCORE_BACKEND", backend)
    g = np.array([[1, -1e-3, 1e-7, -1e-12, 0]], dtype)
    x = np.array([[1e-6, 0.9, 0.5, 0.5, 0.5]], dtype)
    step = lmo_ball_box(g, x, np.array([0.3]), p, 0.0, 1.0)
    assert norm(step, p)[0] == pytest.approx(0.3, rel=1e-5)
    np.testing.assert_allclose(step[0, [0, 1]], [-x[0, 0], 1 - x[0, 1]], rtol=1e-5)
    assert step[0, 4] == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1.0, 1.01, 1.05, 1.5, 2.0, 3.0, math.inf])
def test_projected_steps_go_on_when_the_steepest_entry_is_on_its_bound(
    p: float, dtype: Any
) -> None:
    rng = np.random.default_rng(4)
    g = -rng.uniform(0.5, 1, size=(3, 40)).astype(dtype)
    g[:, 7] = -9
    x = np.full((3, 40), 0.5, dtype)
    x[:, 7] = 1
    eps = np.full(3, 2.0 * 40 ** (1 / p - 1))
    x_t = x
    for _ in range(40):
        x_t = pgd_step(x, x_t, g, eps / 10, eps, p, 0.0, 1.0)
    best = np.sum(g * lmo_ball_box(g, x, eps, p, 0.0, 1.0), axis=1)
    assert np.all(np.sum(g * (x_t - x), axis=1) <= 0.95 * best)


def test_out_is_written_and_inputs_are_left_alone() -> None:
    g, x, eps = problem(30, 3, 10)
    for array in (g, x, eps):
        array.flags.writeable = False
    for p in ORDERS:
        out = np.full_like(g, 7)
        assert pgd_step(x, x, g, eps, eps, p, 0.0, 1.0, out=out) is out
        np.testing.assert_array_equal(out, pgd_step(x, x, g, eps, eps, p, 0.0, 1.0))
