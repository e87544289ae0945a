"""Problems (11) and (12) against brute force over vertices, dense singular values, and bounds."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

import pertcore as pc
from pertcore.closed_form.norms import row_norms
from pertcore.closed_form.sampling import sample_keys
from pertcore.solvers import quadratic
from pertcore.solvers.products import Products


def question(j, *, norm, offset=None, eps=1.0, n=2, x=None, **settings):
    """The same matrix (K, d) at n samples."""
    oracle = pc.from_matrix(j, dtype=j.dtype)
    x = np.zeros((n, j.shape[1]), j.dtype) if x is None else x
    products = Products.at(oracle, oracle.linearize(x))
    level = None if offset is None else np.tile(offset, (n, 1)).astype(j.dtype)
    return quadratic.Question(
        products, level, np.full(n, float(eps)), float(norm), sample_keys(0, np.arange(n)), x,
        **settings,
    )  # fmt: skip


def value(j, eta, offset=None):
    image = eta @ j.T.astype(float) + (0 if offset is None else offset)
    return (image**2).sum(axis=1)


def vertices(d, norm):
    if norm == 1:
        return np.concatenate([np.eye(d), -np.eye(d)])
    return np.array(list(itertools.product((-1.0, 1.0), repeat=d)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("norm", [1, math.inf])
def test_vertices_equal_brute_force(norm, labelled, seed):
    rng = np.random.default_rng(seed)
    j = rng.normal(size=(rng.integers(1, 7), 9)) * rng.lognormal(size=9)
    offset = rng.normal(size=len(j)) * 3 if labelled else None
    eps = 0.7
    found = quadratic.largest(question(j, norm=norm, offset=offset, eps=eps))
    best = value(j, eps * vertices(9, norm), offset).max()
    np.testing.assert_allclose(found.value, best, rtol=1e-10)
    np.testing.assert_allclose(value(j, found.eta, offset), best, rtol=1e-10)
    assert np.all(row_norms(found.eta, norm) <= eps * (1 + 1e-12))
    assert np.all(found.upper >= best) and np.all(found.upper <= 1.6 * best)


@pytest.mark.parametrize("shape", [(9, 30), (30, 9), (80, 90)])
def test_the_euclidean_answer_is_the_top_singular_value(shape):
    rng = np.random.default_rng(1)
    j = rng.normal(size=shape)
    top = np.linalg.svd(j)[1][0]
    found = quadratic.largest(question(j, norm=2, eps=0.5))
    assert np.all(found.value <= 0.25 * top**2 * (1 + 1e-9))
    assert np.all(found.value >= 0.25 * top**2 * (1 - 1e-3))
    assert np.all(found.upper >= 0.25 * top**2)
    np.testing.assert_allclose(value(j, found.eta), found.value, rtol=1e-9)


@pytest.mark.parametrize("shape", [(9, 30), (30, 9), (80, 90)])
@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
def test_the_linear_term_is_optimal_for_the_euclidean_ball(shape, size):
    rng = np.random.default_rng(2)
    j, offset, eps = rng.normal(size=shape), rng.normal(size=shape[0]) * size, 0.8
    found = quadratic.largest(question(j, norm=2, eps=eps, offset=offset))
    np.testing.assert_allclose(value(j, found.eta, offset), found.value, rtol=1e-6)
    best = 0.0
    for start in rng.normal(size=(20, shape[1])):
        eta = start
        for _ in range(400):
            slope = j.T @ (offset + j @ eta)
            eta = eps * slope / np.linalg.norm(slope)
        best = max(best, float(value(j, eta[None], offset)[0]))
    assert np.all(found.value >= best * (1 - 2e-3)) and np.all(found.upper >= best * (1 - 1e-9))


def test_a_gradient_orthogonal_to_the_top_direction_is_the_hard_case():
    j = np.diag([3.0, 1.0, 0.5])
    found = quadratic.largest(question(j, norm=2, offset=np.array([0.0, 0.2, 0.0])))
    # (3 a)^2 + (0.2 + b)^2 with a^2 + b^2 = 1 is largest at b = 0.2 / 8.
    b = 0.2 / 8
    np.testing.assert_allclose(found.value, 9 * (1 - b**2) + (0.2 + b) ** 2, rtol=1e-9)


@pytest.mark.parametrize("norm", [1.2, 1.5, 3.0, 8.0])
def test_other_orders_are_bounded_and_no_worse_than_random_search(norm):
    rng = np.random.default_rng(3)
    j = rng.normal(size=(6, 8))
    found = quadratic.largest(question(j, norm=norm, eps=0.6))
    points = rng.normal(size=(20000, 8)) * np.exp(rng.normal(size=(20000, 8)))
    points *= 0.6 / row_norms(points, norm)[:, None]
    assert np.all(found.value >= value(j, points).max() * 0.999)
    assert np.all(row_norms(found.eta, norm) <= 0.6 * (1 + 1e-6))
    assert np.all(found.upper >= found.value) and np.all(found.upper <= 6 * found.value)


@pytest.mark.parametrize("norm", [1, 2, 3, math.inf])
def test_the_box_holds_and_the_bound_with_it(norm):
    rng = np.random.default_rng(4)
    j, x = rng.normal(size=(4, 7)), rng.uniform(size=(3, 7))
    asked = question(j, norm=norm, eps=0.5, n=3, x=x, lo=0.0, hi=1.0, offset=rng.normal(size=4))
    found = quadratic.largest(asked)
    inside = x + found.eta
    assert np.all((inside >= -1e-12) & (inside <= 1 + 1e-12))
    assert np.all(row_norms(found.eta, norm) <= 0.5 * (1 + 1e-9))
    assert np.all(found.upper >= found.value * (1 - 1e-12))
    np.testing.assert_allclose(value(j, found.eta, asked.offset[0]), found.value, rtol=1e-6)
    if math.isinf(norm):
        low, high = np.maximum(-0.5, -x), np.minimum(0.5, 1 - x)
        corners = vertices(7, norm)
        for i in range(3):
            every = np.where(corners < 0, low[i], high[i])
            best = value(j, every, asked.offset[0]).max()
            np.testing.assert_allclose(found.value[i], best, rtol=1e-9)


def test_the_paper_s_greedy_signs_are_greedy():
    rng = np.random.default_rng(5)
    j = rng.normal(size=(5, 9))
    order = np.argsort(-np.linalg.norm(j, axis=0), kind="stable")
    signs, image = np.zeros(9), np.zeros(5)
    for i in order:
        signs[i] = 1 if not image.any() or image @ j[:, i] >= 0 else -1
        image = image + signs[i] * j[:, i]
    found = quadratic.paper(question(j, norm=math.inf))
    np.testing.assert_array_equal(found.eta[0], signs)


def test_a_batch_too_large_for_the_memory_is_taken_in_parts():
    rng = np.random.default_rng(7)
    j = rng.normal(size=(70, 12))
    for norm in (2, 4, math.inf):
        whole = quadratic.largest(question(j, norm=norm, n=5))
        asked = question(j, norm=norm, n=5, max_memory=2 * 8 * 70 * 12)
        assert not asked.fits() and asked.at_once() == 2
        parts = quadratic.largest(asked)
        np.testing.assert_allclose(parts.value, whole.value, rtol=1e-9)
        np.testing.assert_allclose(parts.upper, whole.upper, rtol=1e-9)
        assert parts.proof == whole.proof


def test_the_paper_has_no_other_orders():
    with pytest.raises(pc.errors.InputError, match="norm=3"):
        quadratic.paper(question(np.eye(3), norm=3))


def test_beyond_the_memory_budget_nothing_is_stored():
    rng = np.random.default_rng(6)
    j = rng.normal(size=(70, 80)) * np.exp(-np.arange(80) / 8)
    stored = quadratic.largest(question(j, norm=math.inf))
    asked = question(j, norm=math.inf, max_memory=1000)
    assert not asked.fits()
    found = quadratic.largest(asked)
    np.testing.assert_allclose(value(j, found.eta), found.value, rtol=1e-9)
    assert np.all(found.value >= 0.85 * stored.value) and np.all(found.upper >= stored.value)
    assert "probabilistic" in found.proof


def test_a_model_without_jvp_is_told_so():
    j = np.eye(3)
    oracle = pc.from_matrix(j)
    blind = pc.from_matrix(j)
    blind.capabilities = frozenset({"vjp", "take", "exact"})
    with pytest.raises(pc.errors.CapabilityError, match="jvp"):
        Products.at(blind, oracle.linearize(np.zeros((1, 3))))


@pytest.mark.parametrize("norm", [1, 1.5, 2, 3, math.inf])
@pytest.mark.parametrize("few", [0, 64])
def test_the_bound_holds_for_every_kind_of_problem(norm, few, monkeypatch):
    """Random search, from inside the ball and up along the gradient, never passes `upper`."""
    monkeypatch.setattr(quadratic, "FEW", few)
    rng = np.random.default_rng((77, int(8 * min(norm, 99)), few))
    for trial in range(60):
        width, d = rng.integers(1, 9, 2)
        kind = np.float32 if trial % 2 else np.float64
        j = (np.round(rng.normal(size=(width, d)) * 2) * 10.0 ** rng.integers(-2, 3)).astype(kind)
        offset = (rng.normal(size=width) * rng.choice([0.01, 1, 100])).astype(kind)
        eps = float(rng.choice([0.0, 0.1, 3.0]))
        found = quadratic.largest(question(j, norm=norm, offset=offset, eps=eps, n=1))
        eta = rng.normal(size=(100, d))
        for _ in range(40):
            eta *= eps / np.maximum(row_norms(eta, norm), 1e-300)[:, None]
            assert np.all(value(j.astype(float), eta, offset) <= found.upper * (1 + 1e-13))
            slope = (offset + eta @ j.T.astype(float)) @ j.astype(float)
            power = min(1 / (norm - 1), 40) if norm > 1 else 40
            eta = np.sign(slope) * np.abs(slope / (np.abs(slope).max() or 1)) ** power
        assert np.all(found.value <= found.upper)
        reached = value(j.astype(float), found.eta, offset)
        np.testing.assert_allclose(found.value, reached, rtol=1e-5 if trial % 2 else 1e-9)


@pytest.mark.parametrize("norm", [1, 1.5, 2, 3, math.inf])
@pytest.mark.parametrize("few", [0, 64])
@pytest.mark.parametrize("memory", [1, 1 << 30])
def test_frozen_entries_stay_even_where_nothing_else_helps(norm, few, memory, monkeypatch):
    monkeypatch.setattr(quadratic, "FEW", few)
    j = np.array([[1.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    for free in ([0, 1, 1], [0, 0, 0]):
        for offset in (None, np.array([0.3, 0.1])):
            asked = question(j, norm=norm, offset=offset, max_memory=memory)
            given = replace(asked.given, free=np.array([free], float))
            found = quadratic.largest(replace(asked, given=given))
            assert np.all(found.eta[:, 0] == 0)
            level = 0 if offset is None else offset @ offset
            np.testing.assert_allclose(found.value, level, atol=1e-15)
            np.testing.assert_allclose(found.upper, level, rtol=1e-9)


@pytest.mark.parametrize("norm", [1, 1.5, 2, 3, math.inf])
@pytest.mark.parametrize("few", [0, 64])
def test_one_sample_that_is_not_finite_leaves_the_others_alone(norm, few, monkeypatch):
    monkeypatch.setattr(quadratic, "FEW", few)
    rng = np.random.default_rng(9)
    matrices = rng.normal(size=(3, 4, 5))
    whole = broken_at(matrices, None, norm)
    found = broken_at(matrices, 1, norm)
    assert np.isnan(found.value[1]) and np.isinf(found.upper[1])
    np.testing.assert_allclose(found.value[[0, 2]], whole.value[[0, 2]], rtol=1e-6)
    np.testing.assert_allclose(found.upper[[0, 2]], whole.upper[[0, 2]], rtol=1e-6)


def broken_at(matrices, place, norm):
    """The answer for three matrices, the one at `place` NaN, with a linear term."""
    held = np.array(matrices)
    if place is not None:
        held[place] = np.nan
    asked = question(matrices[0], norm=norm, offset=np.full(4, 0.3), n=3)
    return quadratic.largest(replace(asked, given=Held(held)))


@dataclass(frozen=True)
class Held:
    """Products of three different matrices (n, K, d)."""

    matrices: np.ndarray
    free = None
    dtype = np.dtype(np.float64)
    plain, by_rows, sweep = True, True, 4.0
    outputs = property(lambda self: self.matrices.shape[1])
    d = property(lambda self: self.matrices.shape[2])

    def __len__(self):
        return len(self.matrices)

    def push(self, v):
        return np.einsum("nkd,...nd->...nk", self.matrices, v)

    def pull(self, u):
        return np.einsum("nkd,...nk->...nd", self.matrices, u)

    def take(self, index):
        return Held(self.matrices[index])
