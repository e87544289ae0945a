"""Few changed features against brute force over all subsets of few entries."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from pertcore.closed_form import exact, sparse
from pertcore.closed_form.norms import row_norms


def problem(seed, n=12, d=7, dtype=np.float64):
    rng = np.random.default_rng(seed)
    lo, hi = -rng.random(d).astype(dtype), rng.random(d).astype(dtype) + 1
    x = (lo + (hi - lo) * rng.random((n, d))).astype(dtype)
    x[:2], x[2:4] = lo, hi
    g = rng.normal(size=(n, d)).astype(dtype)
    g[:, 3] = 0
    return x, g, lo, hi


def best_gain(x, g, lo, hi, count):
    """The most that `count` entries lower g.z, over every subset, for one sample."""
    gains = [g[i] * (x[i] - (lo[i] if g[i] > 0 else hi[i])) for i in range(len(x))]
    return max(sum(gains[i] for i in subset) for subset in combinations(range(len(x)), count))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_few_corners_are_the_best_of_all_subsets(seed, count):
    x, g, lo, hi = problem(seed)
    z = sparse.few_corners(g, x, np.full(len(x), float(count)), lo, hi)
    assert np.all(np.count_nonzero(z != x, axis=1) <= count)
    assert np.all((z >= lo) & (z <= hi)) and np.all(z[:, 3] == x[:, 3])
    found = np.sum(g * (x - z), axis=1)
    best = [best_gain(*rows, lo, hi, count) for rows in zip(x, g)]
    np.testing.assert_allclose(found, best, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_fewest_is_the_smallest_subset_that_crosses(seed):
    x, g, lo, hi = problem(seed)
    level = np.linspace(-0.5, 4, len(x))
    found = sparse.fewest(g, level, x, lo, hi)
    for i, row in enumerate(zip(x, g)):
        crossing = [c for c in range(1, 8) if best_gain(*row, lo, hi, c) >= level[i]]
        assert found[i] == (0 if level[i] <= 0 else min([*crossing, 7]))


def test_ties_go_to_the_first_and_rows_do_not_mix():
    x, g = np.zeros((2, 4)), np.array([[1.0, -1, 1, 1], [0, 0, 0, 2]])
    z = sparse.few_corners(g, x, np.array([2.0, 3.0]), -1.0, 1.0)
    np.testing.assert_array_equal(z, [[-1, 1, 0, 0], [0, 0, 0, -1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ball_of_p_0_keeps_what_is_farthest(dtype):
    x = np.zeros((2, 4), dtype)
    z = np.array([[0.1, 5, -0.2, 0.3], [1, 1, 1, 1]], dtype)
    out = exact.finish(x, z, np.array([2.9, 0.0]), 0.0, -1.0, 0.25)
    np.testing.assert_array_equal(out, np.array([[0, 0.25, 0, 0.25], [0, 0, 0, 0]], dtype))
    assert out.dtype == dtype


def test_the_norm_of_p_0_counts_and_keeps_nan():
    rows = np.array([[0.0, -0.0, 1e-300], [np.nan, 0, 0], [np.inf, 1, 0]])
    np.testing.assert_array_equal(row_norms(rows, 0.0), [1, np.nan, 2])
