"""Upper bounds against brute force and known norms; the search against brute force."""

from __future__ import annotations

import importlib.util
import math
import os
from pathlib import Path

import numpy as np
import pytest

from pertcore.closed_form import quadratic_bounds
from pertcore.closed_form.quadratic import (
    best_signs,
    certified_signs,
    dual_bound,
    dual_weights,
    greedy_signs,
    mixing,
    one_opt,
)
from pertcore.errors import InputError

spec = importlib.util.spec_from_file_location(
    "quadratic_cases", Path(__file__).with_name("quadratic_cases.py")
)
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)

DTYPES = [np.float32, np.float64]
CASES = 10_000 if os.environ.get("PERTCORE_FULL") else 500
MOST = 20 if os.environ.get("PERTCORE_FULL") else 12


def random_columns(rng):
    d = int(rng.integers(1, MOST + 1))
    if d > 13 and rng.random() < 0.9:
        d -= 8
    width = int(rng.integers(1, 25))
    every = cases.sorts(rng, d, width)
    name = cases.NAMES[rng.integers(len(cases.NAMES))]
    dtype = DTYPES[rng.integers(2)]
    return (every[name] * 2.0 ** rng.integers(-40, 40)).astype(dtype)


def exact_maximum(columns):
    """The maximum over all signs in float64, by halves so that 2^20 signs fit."""
    wide = columns.astype(np.float64)
    if len(wide) < 2:
        return cases.brute_force(wide)
    first, second = wide[: len(wide) // 2], wide[len(wide) // 2 :]
    left = cases.every_sign(len(first)) @ first
    right = cases.every_sign(len(second)) @ second
    squares = (left * left).sum(axis=1)[:, None] + (right * right).sum(axis=1)
    return (squares + 2 * left @ right.T).max()


def test_no_bound_lies_below_brute_force():
    rng = np.random.default_rng(2026)
    for _ in range(CASES):
        columns = random_columns(rng)
        top = exact_maximum(columns)
        sweeps = int(rng.integers(0, 12))
        _, image = mixing(columns, rank=int(rng.integers(1, 6)), sweeps=sweeps)
        weights = dual_weights(columns, image)
        if rng.random() < 0.3 or not np.any(weights > 0):
            weights = rng.exponential(size=len(columns)) + 1e-3
        upper = dual_bound(columns, weights)
        assert upper >= top * (1 - 1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bound_and_search_meet_where_the_relaxation_is_exact(dtype):
    rng = np.random.default_rng(1)
    single = (rng.normal(size=(40, 1)) * np.ones((1, 3))).astype(dtype)
    for columns in (np.eye(7, dtype=dtype), np.ones((9, 4), dtype), single):
        signs, value, upper, _ = certified_signs(columns)
        assert value == pytest.approx(cases.value_of(columns, signs), rel=1e-6)
        assert value <= upper <= value * (1 + 1e-3)


@pytest.mark.parametrize("shape", [(8, 300), (300, 8), (250, 250), (700, 210)])
def test_bound_is_the_largest_eigenvalue_times_the_weights(shape):
    rng = np.random.default_rng(sum(shape))
    columns, weights = rng.normal(size=shape), rng.uniform(0.5, 2, size=shape[0])
    frame = columns / np.sqrt(weights)[:, None]
    theta = np.linalg.norm(frame, 2) ** 2
    for p, size in (
        (math.inf, weights.sum()),
        (2.0, weights.max()),
        (3.0, np.linalg.norm(weights, 3)),
        (8.0, np.linalg.norm(weights, 8 / 6)),
    ):
        upper = dual_bound(columns, weights, p=p)
        assert theta * size <= upper <= theta * size * (1 + 2e-4)
    gram = columns @ columns.T
    assert dual_bound(columns, weights, gram=gram) == pytest.approx(theta * weights.sum(), rel=2e-4)


@pytest.mark.parametrize("p", [2.0, 2.5, 4.0, 20.0])
def test_bound_holds_for_every_p(p):
    rng = np.random.default_rng(3)
    for _ in range(30):
        columns = rng.normal(size=(6, 4))
        upper = dual_bound(columns, rng.exponential(size=6) + 0.1, p=p)
        eta = rng.normal(size=(3000, 6))
        eta /= np.linalg.norm(eta, ord=p, axis=1)[:, None]
        assert upper >= cases.value_of(columns, eta).max()


def test_a_guess_that_is_too_low_is_found_out(monkeypatch):
    """The proof, not the estimate, makes the bound: half the eigenvalue is refused."""
    rng = np.random.default_rng(4)
    columns, weights = rng.normal(size=(60, 30)), np.ones(60)
    theta = np.linalg.norm(columns, 2) ** 2
    honest = quadratic_bounds.largest_eigenvalue
    for share in (0.5, 0.999):
        monkeypatch.setattr(
            quadratic_bounds, "largest_eigenvalue", lambda gram, share=share: share * honest(gram)
        )
        assert dual_bound(columns, weights) >= theta * 60


def test_bounds_of_zeros_and_of_what_is_not_a_number():
    assert dual_bound(np.zeros((4, 3)), np.zeros(4)) == 0
    columns = np.ones((4, 3))
    columns[1] = 0
    assert dual_bound(columns, np.array([1.0, 0, 1, 1])) == pytest.approx(27, rel=1e-6)
    assert dual_bound(columns * 1e200, np.ones(4)) == math.inf
    assert dual_bound(columns * 1e140, np.ones(4)) == pytest.approx(27e280, rel=1e-6)
    columns[2, 1] = math.nan
    assert dual_bound(columns, np.ones(4)) == math.inf


def test_refusals():
    columns = np.ones((3, 2))
    with pytest.raises(InputError, match=r"p=1\.5: the dual bound holds for p >= 2"):
        dual_bound(columns, np.ones(3), p=1.5)
    for weights in (np.zeros(3), -np.ones(3), np.array([1.0, math.nan, 1])):
        with pytest.raises(InputError, match="weights of a dual bound"):
            dual_bound(columns, weights)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", cases.NAMES)
def test_the_search_finds_the_maximum_of_small_problems(name, dtype):
    rng = np.random.default_rng(5)
    for d, width in ((1, 2), (2, 1), (11, 6), (13, 30)):
        columns = cases.sorts(rng, d, width)[name].astype(dtype)
        signs, value = best_signs(columns)
        assert value == pytest.approx(cases.value_of(columns, signs), rel=1e-6)
        assert value == pytest.approx(cases.brute_force(columns), rel=1e-6, abs=1e-300)
        again, same = best_signs(columns)
        assert np.array_equal(signs, again) and same == value


@pytest.mark.parametrize("limit", [0, quadratic_bounds.DENSE, 10_000])
def test_the_search_beats_the_greedy_signs_with_and_without_a_gram_matrix(limit, monkeypatch):
    monkeypatch.setattr("pertcore.closed_form.quadratic_search.GRAM", limit)
    rng = np.random.default_rng(6)
    for shape in ((120, 300), (300, 12)):
        columns = rng.normal(size=shape).astype(np.float32)
        _, greedy = one_opt(columns, greedy_signs(columns), max_sweeps=0)
        values, rows = np.linalg.svd(columns.T, full_matrices=False)[1:]
        for options in ({}, {"singular": values[:6, None] * rows[:6]}):
            signs, value, upper, _ = certified_signs(columns, **options)
            assert value == pytest.approx(cases.value_of(columns, signs), rel=1e-6)
            assert greedy * 1.02 < value <= upper < value * 1.6
            assert one_opt(columns, signs)[1] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_scale_goes_through(scale):
    rng = np.random.default_rng(7)
    columns = rng.normal(size=(30, 8))
    signs, value, upper, _ = certified_signs((columns * scale).astype(np.float32))
    assert value == pytest.approx(cases.value_of(columns, signs) * scale**2, rel=1e-5)
    assert upper >= value and upper == pytest.approx(
        certified_signs(columns)[2] * scale**2, rel=0.2
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_gets_greedy_signs_and_no_bound(bad):
    columns = np.random.default_rng(8).normal(size=(30, 8))
    columns[3, 2] = bad
    signs, value, upper, _ = certified_signs(columns)
    assert set(np.unique(signs)) <= {-1, 1} and math.isnan(value) and upper == math.inf
    signs, value = best_signs(columns)
    assert set(np.unique(signs)) <= {-1, 1} and math.isnan(value)


def test_any_integer_is_a_seed():
    columns = np.random.default_rng(9).normal(size=(40, 30))
    found = [best_signs(columns, seed=seed)[0] for seed in (0, -1, 2**64 + 5, 2**63)]
    assert all(signs.shape == (40,) for signs in found)


def test_no_columns_have_no_signs():
    signs, value, upper, _ = certified_signs(np.zeros((0, 4), np.float32))
    assert signs.shape == (0,) and value == 0 and upper == 0
