"""Random points: uniform where they say so, inside, and the same for a sample in any batch."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from scipy import stats

from pertcore.closed_form import sampling
from pertcore.errors import InputError

FULL = bool(os.environ.get("PERTCORE_FULL"))
COUNT = 200_000 if FULL else 20_000
NORMS = [1.0, 1.2, 1.5, 2.0, 3.0, 17.0, math.inf]
# 200 looks in all: a sound generator fails one of them once in 10^4 seeds, and the seed is fixed.
RARE = 5e-7


@pytest.fixture(params=["numba", "numpy"])
def backend(request, monkeypatch):
    monkeypatch.setenv("PERTCORE_BACKEND", request.param)
    return request.param


def keys(n, seed=0):
    return sampling.sample_keys(seed, np.arange(n))


def ball(norm, d, n=COUNT, draw=0, seed=0, dtype=np.float64, eps=1.0):
    return sampling.random_in_ball(keys(n, seed), draw, np.full(n, eps), norm, d, dtype)


def order_norms(points, norm):
    return np.linalg.norm(points.astype(np.float64), ord=norm, axis=1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("d", [1, 2, 3, 10])
def test_the_radius_of_a_uniform_point(norm, d):
    share = order_norms(ball(norm, d), norm) ** d
    assert stats.kstest(share, "uniform").pvalue > RARE


@pytest.mark.parametrize("norm", NORMS)
def test_a_half_space_and_a_slab_get_their_share(norm):
    """A uniform point of the planar ball, against the areas of pieces of the ball itself."""
    points = ball(norm, 2)
    side = np.linspace(-1, 1, 4001)
    height = (1 - np.abs(side) ** norm) ** (1 / norm) if norm < math.inf else np.ones_like(side)
    area = np.concatenate([[0.0], np.cumsum((height[1:] + height[:-1]) / 2)])
    for column in points.T:
        found = stats.ks_1samp(column, lambda t: np.interp(t, side, area / area[-1]))
        assert found.pvalue > RARE
    inside = order_norms(points - np.array([0.3, -0.2]), norm) < 0.45
    assert stats.binomtest(int(inside.sum()), len(points), 0.45**2).pvalue > RARE


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("draw_point", [sampling.random_in_ball, sampling.random_on_sphere])
def test_coordinates_are_symmetric_and_uncorrelated(norm, draw_point):
    points = draw_point(keys(COUNT), 4, np.ones(COUNT), norm, 5, np.float64)
    for column in points.T:
        positive = int((column > 0).sum())
        assert stats.binomtest(positive, COUNT, 0.5).pvalue > RARE
        assert norm == math.inf or stats.ks_2samp(column, -points[:, 0]).pvalue > RARE
    signs = np.sign(points)
    products = (signs[:, :, None] * signs[:, None, :]).sum(axis=0)[np.triu_indices(5, 1)]
    assert np.abs(products).max() < 6 * math.sqrt(COUNT)


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, 3.0])
def test_the_generalised_gaussian_behind_a_sphere_point(norm):
    """abs(t_i)^p / sum abs(t)^p is Beta(1/p, (d-1)/p) under the cone measure."""
    d = 4
    points = sampling.random_on_sphere(keys(COUNT), 0, np.ones(COUNT), norm, d, np.float64)
    for column in points.T:
        found = stats.kstest(np.abs(column) ** norm, stats.beta(1 / norm, (d - 1) / norm).cdf)
        assert found.pvalue > RARE


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("eps", [0.0, 1e-6, 8 / 255, 0.1, 300.0])
def test_no_point_leaves_its_ball(dtype, norm, eps, backend):
    n, d = 200, 101
    budgets = np.full(n, eps)
    inside = sampling.random_in_ball(keys(n), 0, budgets, norm, d, dtype)
    on_it = sampling.random_on_sphere(keys(n), 0, budgets, norm, d, dtype)
    assert inside.dtype == on_it.dtype == dtype and np.isfinite(inside).all()
    assert (order_norms(inside, norm) <= eps).all() and (order_norms(on_it, norm) <= eps).all()
    np.testing.assert_allclose(order_norms(on_it, norm), eps, rtol=1e-6)


@pytest.mark.parametrize("norm", [200.0, 1e4, 1e8])
@pytest.mark.parametrize("d", [1, 2, 7])
def test_huge_orders_neither_vanish_nor_overflow(norm, d, backend):
    n = 500
    for draw_point in (sampling.random_in_ball, sampling.random_on_sphere):
        points = draw_point(keys(n), 0, np.ones(n), norm, d, np.float64)
        largest = np.abs(points).max(axis=1)
        assert np.isfinite(points).all() and (points != 0).all() and (largest <= 1).all()
    assert (largest >= 0.99 * d ** (-1 / norm)).all()


def test_random_signs_use_the_whole_budget():
    points = sampling.random_on_sphere(keys(3), 0, np.full(3, 0.1), math.inf, 50, np.float32)
    largest = np.float32(0.1) if float(np.float32(0.1)) <= 0.1 else np.nextafter(np.float32(0.1), 0)
    assert np.array_equal(np.abs(points), np.full((3, 50), largest))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("draw_point", [sampling.random_in_ball, sampling.random_on_sphere])
def test_a_sample_does_not_see_its_batch(norm, draw_point, backend):
    everyone, budgets = keys(40), np.linspace(0.1, 1, 40)
    whole = draw_point(everyone, 2, budgets, norm, 33, np.float32)
    some = np.array([39, 3, 17])
    np.testing.assert_array_equal(
        draw_point(everyone[some], 2, budgets[some], norm, 33, np.float32), whole[some]
    )
    assert draw_point(everyone[:0], 2, budgets[:0], norm, 33, np.float32).shape == (0, 33)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("draw_point", [sampling.random_in_ball, sampling.random_on_sphere])
def test_backends_draw_the_same_points(dtype, norm, draw_point, monkeypatch):
    drawn = []
    for name in ("numba", "numpy"):
        monkeypatch.setenv("PERTCORE_BACKEND", name)
        drawn.append(draw_point(keys(50), 9, np.full(50, 0.3), norm, 77, dtype))
    if math.isinf(norm):
        np.testing.assert_array_equal(*drawn)
    np.testing.assert_allclose(*drawn, rtol=1e-5 if dtype == np.float32 else 1e-10)


def test_draws_seeds_samples_and_purposes_differ():
    points = [ball(2.0, 8, n=4), ball(2.0, 8, n=4, draw=1), ball(2.0, 8, n=4, seed=1)]
    points.append(sampling.random_on_sphere(keys(4), 0, np.ones(4), 2.0, 8, np.float64))
    directions = np.concatenate([p / order_norms(p, 2)[:, None] for p in points])
    overlap = np.abs(directions @ directions.T - np.eye(len(directions)))
    assert overlap.max() < 0.99
    np.testing.assert_array_equal(ball(2.0, 8, n=4), ball(2.0, 8, n=4))


def test_keys_depend_on_seed_and_index_alone():
    some = sampling.sample_keys(5, np.array([7, 3]))
    assert some.dtype == np.uint64 and np.array_equal(some, keys(8, seed=5)[[7, 3]])
    many = np.concatenate([keys(20_000, seed=s) for s in (-1, 0, 1, 2**64, 2**80)])
    assert len(np.unique(many)) == 100_000
    assert len(np.unique(keys(100_000) >> np.uint64(32))) > 99_990


def test_bits_of_the_hash_are_balanced():
    """Every bit of every word is a fair coin, and flipping one bit of a key flips half of them."""
    n = COUNT
    words = keys(n)
    flipped = sampling.mix(words ^ np.uint64(1)) ^ sampling.mix(words)
    for drawn in (words, flipped):
        heads = np.array([int(((drawn >> np.uint64(b)) & np.uint64(1)).sum()) for b in range(64)])
        assert np.abs(heads - n / 2).max() < 6 * math.sqrt(n) / 2


def test_out_is_written_and_returned():
    out = np.full((3, 7), np.nan, dtype=np.float32)
    assert (
        sampling.random_in_ball(keys(3), 0, np.ones(3), 2.0, 7, np.float32, out=out) is out
    ) and np.isfinite(out).all()


@pytest.mark.parametrize(("count", "k"), [(1, 1), (5, 5), (50, 7), (1000, 1000), (9, 0)])
def test_an_order_holds_distinct_numbers(count, k, backend):
    order = sampling.random_order(keys(30), 0, count, k)
    assert order.shape == (30, k) and order.dtype == np.int64
    assert all(len(set(row)) == k and set(row) <= set(range(count)) for row in order.tolist())
    np.testing.assert_array_equal(sampling.random_order(keys(30)[4:6], 0, count, k), order[4:6])


def test_all_orders_are_equally_likely():
    order = sampling.random_order(keys(COUNT), 1, 4, 3)
    _, seen = np.unique(order @ np.array([16, 4, 1]), return_counts=True)
    assert len(seen) == 24 and stats.chisquare(seen).pvalue > RARE


def test_an_order_longer_than_its_deck_is_refused():
    with pytest.raises(InputError, match="k=4: expected a number from 0 to count=3"):
        sampling.random_order(keys(2), 0, 3, 4)
