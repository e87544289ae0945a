"""Golub-Kahan-Lanczos against dense singular values, and against full reorthogonalisation."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pertcore as pc
from pertcore.solvers.lanczos import singular
from pertcore.solvers.products import Products
from pertcore.solvers.stored import Stored

SPECTRA = {
    "fast": lambda k: np.exp(-np.arange(k) / 4),
    "slow": lambda k: 1 / (1 + np.arange(k)),
    "flat": lambda k: np.linspace(1, 0.5, k),
    "cluster": lambda k: np.where(np.arange(k) < 5, 1 - 1e-3 * np.arange(k), 0.4),
    "low rank": lambda k: np.where(np.arange(k) < 7, 1.0 / (1 + np.arange(k)), 0),
}


def matrix(name, outputs, d, seed=0):
    rng = np.random.default_rng(seed)
    k = min(outputs, d)
    left, right = (np.linalg.qr(rng.normal(size=(size, k)))[0] for size in (outputs, d))
    return (left * SPECTRA[name](k)) @ right.T


def stored(j, n=1, dtype=np.float64):
    return Stored(np.ascontiguousarray(np.broadcast_to(j.T, (n, *j.T.shape)), dtype=dtype))


def starts(n, d, seed=5, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (300, 300)])
@pytest.mark.parametrize("name", sorted(SPECTRA))
def test_triplets_are_those_of_the_dense_decomposition(name, shape):
    j = matrix(name, *shape)
    found = singular(
        stored(j, 2), starts(2, shape[1]), count=3, tolerance=1e-4, max_pairs=400, longest=40
    )
    wanted = np.linalg.svd(j)[1][:3]
    np.testing.assert_allclose(found.values, [wanted] * 2, rtol=1e-5)
    images = np.einsum("kd,nrd->nrk", j, found.right)
    np.testing.assert_allclose(images, found.values[..., None] * found.left, atol=1e-9)
    gram = np.einsum("nrd,nsd->nrs", found.right, found.right)
    np.testing.assert_allclose(gram, [np.eye(3)] * 2, atol=1e-10)
    assert np.all(found.upper >= wanted[0])


def pairs_of_full_reorthogonalisation(j, start, accuracy):
    """Pairs until the largest Ritz value is that accurate, float64, both sides kept orthogonal."""
    top = np.linalg.svd(j)[1][0]
    right, left = [start / np.linalg.norm(start)], []
    for pair in range(1, 200):
        u = j @ right[-1]
        for _ in range(2):
            for other in left:
                u -= (other @ u) * other
        left.append(u / np.linalg.norm(u))
        ritz = np.linalg.svd(np.array(left) @ j @ np.array(right).T)[1][0]
        if ritz >= top * (1 - accuracy):
            return pair
        w = j.T @ left[-1]
        for _ in range(2):
            for other in right:
                w -= (other @ w) * other
        right.append(w / np.linalg.norm(w))
    return 200


@pytest.mark.parametrize("name", ["fast", "slow", "flat", "cluster"])
def test_float32_on_one_side_needs_no_more_pairs_than_float64_on_both(name):
    j, accuracy = matrix(name, 200, 240), 1e-5
    ours, theirs = 0, 0
    for seed in range(4):
        start = starts(1, 240, seed)
        needed = pairs_of_full_reorthogonalisation(j, start[0], accuracy)
        theirs += needed
        top = np.linalg.svd(j)[1][0]
        for pairs in range(max(needed - 1, 1), 2 * needed):
            found = singular(
                stored(j, dtype=np.float32), start.astype(np.float32), tolerance=0, max_pairs=pairs
            )
            if found.values[0, 0] >= top * (1 - accuracy):
                break
        ours += pairs
    assert ours <= 1.15 * theirs


def test_samples_stop_on_their_own_and_do_not_see_each_other():
    rng = np.random.default_rng(1)
    columns = np.stack([matrix(name, 80, 80).T for name in ("fast", "flat", "low rank")])
    start = rng.normal(size=(3, 80))
    together = singular(Stored(columns), start, tolerance=1e-3)
    assert len(set(together.pairs)) > 1
    for i in range(3):
        alone = singular(Stored(columns[i : i + 1]), start[i : i + 1], tolerance=1e-3)
        assert alone.pairs[0] == together.pairs[i]
        np.testing.assert_allclose(alone.values[0], together.values[i], rtol=1e-10)
        np.testing.assert_allclose(np.abs(alone.right[0]), np.abs(together.right[i]), atol=1e-6)


def test_an_exhausted_space_says_that_it_is_exact():
    j = matrix("low rank", 60, 70)
    found = singular(stored(j), starts(1, 70), tolerance=0, count=7)
    assert found.exhausted.all() and found.pairs[0] <= 9
    np.testing.assert_allclose(found.values[0], np.linalg.svd(j)[1][:7], rtol=1e-9)
    np.testing.assert_allclose(found.upper, found.values[:, 0], rtol=1e-9)


def test_the_bound_of_few_pairs_holds_over_random_starts():
    j = matrix("flat", 120, 120)
    seeds = 50
    for pairs in (12, 20):
        found = singular(stored(j, seeds), starts(seeds, 120), tolerance=0, max_pairs=pairs)
        assert np.all(found.upper >= 1) and np.all(found.upper < 3)
        assert np.all(found.values[:, 0] <= 1 + 1e-12)


def test_zero_and_broken_jacobians_end_at_once():
    columns = np.zeros((3, 20, 10))
    columns[1] = np.nan
    columns[2] = np.random.default_rng(0).normal(size=(20, 10))
    found = singular(Stored(columns), starts(3, 20), tolerance=1e-6)
    assert found.pairs[0] == 1 and np.all(found.values[:2] == 0) and found.values[2, 0] > 0
    assert np.all(np.isfinite(found.right))


def test_an_oracle_that_cannot_leave_samples_out_gives_the_same():
    j = matrix("slow", 30, 40).astype(np.float64)
    oracle = pc.from_matrix(j)
    x = np.random.default_rng(0).normal(size=(4, 40))
    whole = Products.at(oracle, oracle.linearize(x))
    fixed = pc.from_matrix(j)
    fixed.capabilities = frozenset({"vjp", "jvp", "exact"})
    stiff = Products.at(fixed, fixed.linearize(x))
    some = np.array([3, 1])
    v, u = starts(2, 40), starts(2, 30)
    np.testing.assert_allclose(stiff.take(some).push(v), whole.take(some).push(v))
    np.testing.assert_allclose(stiff.take(some).pull(u), v * 0 + u @ j)
    many = np.stack([v, -v, 2 * v])
    np.testing.assert_allclose(stiff.take(some).push(many), many @ j.T)


def test_frozen_features_have_no_part_in_it():
    j = matrix("slow", 30, 40)
    oracle = pc.from_matrix(j)
    free = np.ones((1, 40))
    free[:, ::2] = 0
    products = Products.at(oracle, oracle.linearize(np.zeros((1, 40))), free)
    found = singular(products, starts(1, 40) * free, tolerance=1e-6)
    wanted = np.linalg.svd(j * free)[1][0]
    assert math.isclose(found.values[0, 0], wanted, rel_tol=1e-9)
    assert np.all(found.right[0, 0, ::2] == 0)
