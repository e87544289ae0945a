"""Projections against their definition: no feasible direction leads nearer to the point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from pertcore.closed_form.projections import project_ball, project_ball_box
from pertcore.closed_form.steps import lmo_ball_box, pgd_step
from pertcore.oracle import Array

ORDERS = (1.0, 1.2, 1.5, 2.0, 3.0, 7.0, math.inf)
DTYPES = (np.float32, np.float64)


def norm(v: Array, p: float) -> Array:
    return np.linalg.norm(np.asarray(v, dtype=np.float64), ord=p, axis=-1)


def problem(seed: int, n: int, d: int, dtype: Any = np.float64) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    x = np.clip(rng.uniform(-0.3, 1.3, size=(n, d)), 0, 1)
    z = x + rng.normal(size=(n, d)) * rng.choice([0.01, 0.3, 10], size=(n, 1))
    return x.astype(dtype), z.astype(dtype), rng.uniform(0.1, 1, size=n) * math.sqrt(d) / 3


def duality_gap(x: Array, z: Array, u: Array, eps: Array, p: float, lo: Any, hi: Any) -> Array:
    """max over the feasible v of (z - u).(v - u): zero for the projection, else positive."""
    away = (z - u).astype(np.float64)
    best = x + lmo_ball_box(-away, x.astype(np.float64), eps, p, lo, hi)
    return np.sum(away * (best - u), axis=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", ORDERS)
def test_nothing_feasible_is_nearer(p: float, dtype: Any) -> None:
    for d in (1, 2, 10, 700):
        x, z, eps = problem(d, 8, d, dtype)
        for lo, hi in ((0.0, 1.0), (-math.inf, math.inf), (-0.01, 1.01)):
            u = project_ball_box(x, z, eps, p, lo, hi)
            size = norm(z - u, 2) * (1 + eps)
            gap = duality_gap(x, z, u, eps, p, lo, hi)
            tolerance = 3e-5 if dtype == np.float32 else 1e-8
            assert np.all(gap <= tolerance * size + 1e-12), (d, lo, gap)
            assert np.all(norm(u.astype(np.float64) - x, p) <= eps)


def test_the_gap_finds_a_rescaled_point() -> None:
    x, z, eps = problem(3, 8, 10)
    delta = (z - x) * np.minimum(1, eps / norm(z - x, 1))[:, None]
    gap = duality_gap(x, z, x + delta, eps, 1.0, -math.inf, math.inf)
    assert gap.max() > 1e-3


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0])
def test_a_general_solver_finds_the_same_point(p: float) -> None:
    for seed in range(8):
        x, z, eps = problem(40 + seed, 1, 1 + seed % 5)
        found = minimize(
            lambda u, z=z: np.sum((u - z[0]) ** 2), x[0], method="SLSQP",
            bounds=[(0, 1)] * x.size,
            constraints=[{
                "type": "ineq",
                "fun": lambda u, x=x, eps=eps: eps[0] ** p - np.sum(np.abs(u - x[0]) ** p),
            }],
            options={"ftol": 1e-15, "maxiter": 500},
        )  # fmt: skip
        u = project_ball_box(x, z, eps, p, 0.0, 1.0)[0]
        best = np.sum((np.clip(found.x, 0, 1) - z[0]) ** 2)
        assert np.sum((u - z[0]) ** 2) <= best + 1e-6 * (1 + best)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", ORDERS)
def test_points_inside_stay_and_a_second_projection_changes_nothing(p: float, dtype: Any) -> None:
    x, z, eps = problem(5, 6, 60, dtype)
    inside = (x + (0.4 - x) * dtype(1e-4)).astype(dtype)
    kept = project_ball_box(x, inside, eps, p, 0.0, 1.0)
    np.testing.assert_array_equal(kept, inside)
    once = project_ball_box(x, z, eps, p, 0.0, 1.0)
    np.testing.assert_array_equal(project_ball_box(x, once, eps, p, 0.0, 1.0), once)
    delta = project_ball(z - x, eps, p)
    assert np.all(norm(delta, p) <= eps)
    np.testing.assert_array_equal(project_ball(delta, eps, p), delta)


@pytest.mark.parametrize("p", ORDERS)
def test_the_ball_alone_is_the_ball_in_an_infinite_box(p: float) -> None:
    x, z, eps = problem(6, 6, 60)
    both = project_ball_box(np.zeros_like(x), z - x, eps, p, -math.inf, math.inf)
    np.testing.assert_allclose(project_ball(z - x, eps, p), both, rtol=1e-6, atol=1e-8)


@given(st.sampled_from(ORDERS), st.integers(0, 10**6), st.integers(1, 40))
def test_projections_follow_permutations_signs_and_scale(p: float, seed: int, d: int) -> None:
    x, z, eps = problem(seed, 2, d)
    order = np.random.default_rng(seed).permutation(d)
    u = project_ball_box(x, z, eps, p, 0.0, 1.0)
    permuted = project_ball_box(x[:, order], z[:, order], eps, p, 0.0, 1.0)
    np.testing.assert_allclose(permuted, u[:, order], rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(project_ball_box(-x, -z, eps, p, -1.0, 0.0), -u)
    scaled = project_ball_box(4 * x, 4 * z, 4 * eps, p, 0.0, 4.0)
    np.testing.assert_allclose(scaled, 4 * u, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("p", ORDERS)
def test_edges(p: float) -> None:
    x, z, eps = problem(7, 4, 9, np.float32)
    np.testing.assert_array_equal(project_ball_box(x, z, 0 * eps, p, 0.0, 1.0), x)
    assert not project_ball(z, 0 * eps, p).any()
    np.testing.assert_array_equal(project_ball_box(x, z, eps + 1e6, p, 0.0, 1.0), np.clip(z, 0, 1))
    assert project_ball(z[:0], eps[:0], p).shape == (0, 9)
    ties = np.ones((1, 4))
    u = project_ball(ties, np.array([1.0]), p)
    assert np.ptp(u) == 0
    np.testing.assert_allclose(norm(u, p), 1.0, rtol=1e-8)
    lo, hi = np.zeros(9, np.float32), np.ones(9, np.float32)
    np.testing.assert_array_equal(
        project_ball_box(x, z, eps, p, lo, hi), project_ball_box(x, z, eps, p, 0.0, 1.0)
    )
    for k in range(4):
        one = slice(k, k + 1)
        np.testing.assert_array_equal(
            project_ball_box(x[one], z[one], eps[one], p, 0.0, 1.0),
            project_ball_box(x, z, eps, p, 0.0, 1.0)[one],
        )


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_the_fused_step_is_step_and_projection(p: float) -> None:
    x, z, eps = problem(8, 5, 200)
    x_t = project_ball_box(x, z, eps, p, 0.0, 1.0)
    g = np.random.default_rng(1).normal(size=x.shape)
    move = np.sign(g) if math.isinf(p) else g / norm(g, 2)[:, None]
    wanted = project_ball_box(x, x_t - 0.3 * move, eps, p, 0.0, 1.0)
    found = pgd_step(x, x_t, g, np.full(5, 0.3), eps, p, 0.0, 1.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
