"""Balls of every order at every scale: where powers leave the range of numbers, norms do not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pertcore.closed_form.exact import finish
from pertcore.closed_form.norms import row_norms
from pertcore.closed_form.projections import project_ball, project_ball_box
from pertcore.closed_form.steps import ball_step, lmo_ball_box, pgd_step
from pertcore.oracle import Array

CASES = [
    (p, scale, np.float64)
    for p, scales in {
        1.0: (1e-300, 1e-40, 1e160, 1e290),
        1.01: (1e-300, 1e-40, 1.0, 1e160, 1e290),
        2.0: (1e-300, 1e-160, 1e-40, 1e160, 1e290),
        3.0: (1e-300, 1e-110, 1e110, 1e290),
        10.0: (1e-300, 1e-40, 1e35, 1e290),
        200.0: (1e-300, 1e-3, 1.0, 30.0, 1e290),
        1000.0: (1e-300, 1e-3, 1.0, 2.0, 1e290),
        math.inf: (1e-300, 1e290),
    }.items()
    for scale in scales
] + [
    (p, scale, np.float32)
    for p in (1.0, 1.01, 2.0, 3.0, 200.0, 1000.0, math.inf)
    for scale in (1e-30, 1e-3, 1.0, 1e33)
]


@pytest.fixture(autouse=True, params=["numba", "numpy"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERTCORE_BACKEND", request.param)


def _check(delta: Array, eps: Array, p: float, least: float, what: str) -> None:
    assert np.all(np.isfinite(delta)), f"{what}: not finite"
    norms = row_norms(delta, p) / eps
    assert np.all(norms <= 1), f"{what}: {norms.max()} eps"
    assert np.all(norms >= least), f"{what}: only {norms.min()} eps"


@pytest.mark.parametrize(("p", "scale", "dtype"), CASES)
def test_points_end_on_the_sphere(p: float, scale: float, dtype: Any) -> None:
    rng = np.random.default_rng(5)
    x = (rng.uniform(-1, 1, size=(4, 21)) * scale).astype(dtype)
    g = rng.normal(size=x.shape).astype(dtype)
    z = (x + 4 * scale * rng.uniform(0.5, 1, size=x.shape) * np.sign(g)).astype(dtype)
    eps = scale * rng.uniform(0.2, 1, size=4)
    lo, hi = -100 * scale, 100 * scale
    least = 1 - 1e-5
    for name, found in (
        ("finish", finish(x, z, eps, p, lo, hi)),
        ("project_ball_box", project_ball_box(x, z, eps, p, lo, hi)),
        ("ball_step", ball_step(x, x, g, 3 * eps, eps, p, lo, hi)),
        ("pgd_step", pgd_step(x, x, g, 3 * eps, eps, p, lo, hi)),
    ):
        _check(found.astype(np.float64) - x.astype(np.float64), eps, p, least, name)
    _check(project_ball(z, eps, p), eps, p, least, "project_ball")
    step = lmo_ball_box(g, x, eps, p, lo, hi)
    _check(step, eps * (1 + 1e-5), p, 1 - 2e-5, "lmo_ball_box")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1.5, 2.0, 3.0, 1000.0])
def test_a_point_far_beyond_a_small_ball_is_drawn_onto_its_sphere(p: float, dtype: Any) -> None:
    far, small = (1e30, 1e-12) if dtype == np.float32 else (1e200, 1e-100)
    x = np.zeros((2, 9), dtype)
    z = (far * np.random.default_rng(1).normal(size=x.shape)).astype(dtype)
    eps = np.array([small, 3 * small])
    for found in (
        finish(x, z, eps, p, -math.inf, math.inf),
        project_ball_box(x, z, eps, p, -math.inf, math.inf),
        project_ball(z, eps, p),
    ):
        _check(found, eps, p, 1 - 1e-5, "far")


@pytest.mark.parametrize("p", [1.5, 2.0, 1000.0])
def test_what_is_inside_a_ball_of_any_scale_stays(p: float) -> None:
    rng = np.random.default_rng(2)
    for scale in (1e-200, 1e-3, 1e200):
        x = rng.normal(size=(3, 8)) * scale
        z = x + scale * 0.01 * rng.normal(size=x.shape)
        eps = np.full(3, scale)
        for function in (finish, project_ball_box):
            np.testing.assert_array_equal(function(x, z, eps, p, -math.inf, math.inf), z)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_a_displacement_beyond_the_range_of_numbers_gives_a_point_inside(p: float) -> None:
    for dtype in (np.float32, np.float64):
        most = np.finfo(dtype).max
        x = np.array([[most, -most, 0.0]], dtype)
        z = -x + dtype(1)
        eps = np.array([1.0])
        for function in (finish, project_ball_box):
            found = function(x, z, eps, p, -math.inf, math.inf)
            _check(found.astype(np.float64) - x, eps, p, 0.0, "beyond")
