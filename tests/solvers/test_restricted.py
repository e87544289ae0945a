"""(11) restricted to two directions of the output, against its definition and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import pertcore as pc
from pertcore.constraints import Ball, Box
from pertcore.solvers import restricted
from pertcore.solvers.problem import Goal, Problem
from pertcore.solvers.restricted import Seen, ascend, farthest, orthonormal

N, K, D = 5, 2, 7


def problem(norm, *, bounds=(-math.inf, math.inf), outputs=K):
    """N samples of a linear model in float64, and its J (outputs, D)."""
    rng = np.random.default_rng(4)
    j, x = rng.normal(size=(outputs, D)), rng.uniform(0, 1, (N, D))
    return Problem(
        pc.from_matrix(j, dtype=np.float64), x, x @ j.T, Ball(norm, np.full(N, 0.4)), Box(*bounds),
        Goal("regression", "squared_error", own_answer=True), np.arange(N, dtype=np.uint64),
        np.arange(N), lambda *_: None,
    ), j  # fmt: skip


def seen(j, seed):
    direction = np.random.default_rng(seed).normal(size=(N, len(j)))
    return Seen(direction, direction @ j)


def test_the_basis_is_orthonormal_and_its_rows_are_those_of_j():
    _, j = problem(2.0, outputs=6)
    now, older = seen(j, 0), seen(j, 1)
    basis, factor = orthonormal(now, older)
    np.testing.assert_allclose(basis @ basis.transpose(0, 2, 1), [np.eye(2)] * N, atol=1e-12)
    np.testing.assert_allclose(factor, basis @ j, atol=1e-12)
    for part in (now, older):
        left = part.direction - np.einsum("nak,nal,nl->nk", basis, basis, part.direction)
        np.testing.assert_allclose(left, 0, atol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_direction_along_the_present_one_counts_for_nothing(share):
    _, j = problem(2.0, outputs=6)
    now, other = seen(j, 0), seen(j, 1)
    older = Seen(-3 * now.direction + share * other.direction, np.full((N, D), np.nan))
    basis, factor = orthonormal(now, older)
    assert not basis[:, 1].any() and not factor[:, 1].any()
    np.testing.assert_allclose(factor[:, 0], basis[:, 0] @ j, atol=1e-12)
    kept = orthonormal(now, older, parallel=1e-4)[0][:, 1]
    assert kept.any() == (share > 0)


@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (0.0, 1.0)])
@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0, math.inf])
def test_the_value_is_that_of_the_definition_and_never_falls(norm, bounds, monkeypatch):
    given, j = problem(norm, bounds=bounds, outputs=6)
    basis, factor = orthonormal(seen(j, 0), seen(j, 1))
    rng = np.random.default_rng(2)
    e, here = rng.normal(size=(N, 6)), rng.normal(size=(N, D))
    level = np.einsum("nak,nk->na", basis, e)
    start, before = farthest(given, rng.normal(size=(N, D))), np.zeros(N)
    for steps in range(1, 8):
        monkeypatch.setattr(restricted, "INNER", steps)
        eta, value = ascend(given, level, factor, here, start)
        image = np.einsum("nak,nk->na", basis, e + (eta - here) @ j.T)
        np.testing.assert_allclose(value, (image**2).sum(axis=1), rtol=1e-9)
        assert np.all(np.linalg.norm(eta, norm, axis=1) <= 0.4 * (1 + 1e-9))
        assert np.all((given.x + eta >= bounds[0] - 1e-12) & (given.x + eta <= bounds[1] + 1e-12))
        assert np.all(value >= before * (1 - 1e-12))
        before = value


def test_with_two_outputs_it_is_the_whole_problem():
    """Climbed from every vertex it ends at the best of them, and from none above it."""
    given, j = problem(math.inf)
    basis, factor = orthonormal(seen(j, 0), seen(j, 1))
    c = np.random.default_rng(5).normal(size=(N, K))
    level, zero = np.einsum("nak,nk->na", basis, c), np.zeros((N, D))
    vertices = 0.4 * np.array(list(itertools.product([-1.0, 1.0], repeat=D)))
    best = (((vertices @ j.T)[:, None] + c) ** 2).sum(axis=2).max(axis=0)
    found = [
        ascend(given, level, factor, zero, np.tile(vertex, (N, 1)))[1] for vertex in vertices[::9]
    ]
    np.testing.assert_allclose(np.max(found, axis=0), best)
    assert np.all(np.min(found, axis=0) < 0.99 * best)


def test_two_outputs_are_solved_by_the_first_two_products():
    """p = 2: the two powers span all of J^T, so the start is the top singular vector (13)."""
    given, j = problem(2.0)
    result = pc.attack(
        given.oracle, given.x, attack="iterated-quadratic", norm=2, eps=0.4, steps=12
    )
    top = np.linalg.svd(j, compute_uv=False)[0]
    np.testing.assert_allclose(result.loss_after, (0.4 * top) ** 2, rtol=1e-4)
