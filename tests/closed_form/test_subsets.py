"""Single-subset choices and steps against enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pertcore.closed_form.subsets import best_subset, subset_step, top_subsets
from pertcore.constraints import Partition, parse_partition


@pytest.fixture(autouse=True, params=["numba", "numpy"])
def backend(request, monkeypatch):
    monkeypatch.setenv("PERTCORE_BACKEND", request.param)
    return request.param


def partition_of(kind, rng):
    if kind == "channels first":
        return parse_partition("pixels", (3, 4, 5))
    if kind == "channels last":
        return parse_partition("pixels", (5, 4, 3))
    if kind == "coordinates":
        return parse_partition("pixels", (60,))
    if kind == "one":
        return Partition(np.zeros(60, dtype=np.int64), 1)
    return parse_partition(np.append(rng.integers(-1, 9, size=59), 8), (60,))


KINDS = ["channels first", "channels last", "coordinates", "one", "labels"]


def fields(rng, dtype, n=12, d=60):
    x = rng.uniform(0, 1, size=(n, d)).astype(dtype)
    x[:, ::4], x[:, 1::7] = 0, 1
    g = rng.normal(size=(n, d)).astype(dtype)
    g[:, 2::9] = 0
    return x, g, rng.uniform(0.01, 0.5, size=n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("box", [(0.0, 1.0), (-math.inf, math.inf), "arrays"])
def test_the_best_subset_has_the_largest_decrease_of_all_steps(dtype, kind, box):
    rng = np.random.default_rng(11)
    x, g, eps = fields(rng, dtype)
    if box == "arrays":
        box = x.min(axis=0) - dtype(0.05), x.max(axis=0)
    partition = partition_of(kind, rng)
    taken = rng.random((len(x), partition.count)) < 0.3
    chosen = best_subset(g, x, partition, eps, *box, taken)
    assert chosen.dtype == np.int64
    gain = np.full(taken.shape, -np.inf)
    for s in range(partition.count):
        each = np.full(len(x), s)
        moved = subset_step(x, g, partition, each, eps, *box).astype(np.float64) - x
        gain[:, s] = -(moved * g).sum(axis=1)
    gain[taken] = -np.inf
    for i in range(len(x)):
        if taken[i].all():
            assert chosen[i] == -1
        else:
            assert not taken[i, chosen[i]]
            assert gain[i, chosen[i]] == pytest.approx(gain[i].max(), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("box", [(0.0, 1.0), (-math.inf, math.inf)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_top_subsets_are_the_best_one_after_another(kind, box):
    rng = np.random.default_rng(12)
    x, g, eps = fields(rng, np.float32)
    g[::3] = np.round(g[::3])
    partition = partition_of(kind, rng)
    taken = rng.random((len(x), partition.count)) < 0.3
    for count in (0, 1, 5, partition.count + 1):
        found = top_subsets(g, x, partition, eps, *box, taken, count)
        assert found.shape == (len(x), count) and found.dtype == np.int64
        left = taken.copy()
        for t in range(count):
            best = best_subset(g, x, partition, eps, *box, left)
            assert np.array_equal(found[:, t], best)
            left[np.flatnonzero(best >= 0), best[best >= 0]] = True


@pytest.mark.parametrize("kind", KINDS)
def test_equal_subsets_go_to_the_first_and_none_is_minus_one(kind):
    partition = partition_of(kind, np.random.default_rng(2))
    x, g, eps = np.zeros((1, 60)), np.zeros((1, 60)), np.ones(1)
    for taken_below in range(partition.count + 1):
        taken = (np.arange(partition.count) < taken_below)[None]
        expected = taken_below if taken_below < partition.count else -1
        assert best_subset(g, x, partition, eps, -1.0, 1.0, taken)[0] == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_moves_its_subset_alone_and_exactly(dtype, kind):
    rng = np.random.default_rng(4)
    x, g, eps = fields(rng, dtype)
    partition = partition_of(kind, rng)
    chosen = rng.integers(-1, partition.count, size=len(x))
    moved = subset_step(x, g, partition, chosen, eps, 0.0, 1.0)
    inside = (partition.labels == chosen[:, None]) & (chosen[:, None] >= 0)
    np.testing.assert_array_equal(moved[~inside], x[~inside])
    assert moved.dtype == dtype and (moved >= 0).all() and (moved <= 1).all()
    change = moved.astype(np.float64) - x
    assert (np.abs(change) <= eps[:, None]).all()
    wanted = np.clip(x - eps[:, None] * np.sign(g), 0, 1)
    np.testing.assert_allclose(moved[inside], wanted[inside], atol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("eps", [0.0, 1e-12, 1e-6, 8 / 255, 0.1, 1e6])
def test_no_entry_leaves_its_interval_or_stops_short(dtype, eps):
    """The step is the farthest float within eps: one more unit in the last place is too far."""
    rng = np.random.default_rng(8)
    x = (rng.normal(size=(1, 20_000)) * 10.0 ** rng.integers(-8, 3, size=20_000)).astype(dtype)
    g = rng.choice([-1, 1], size=x.shape).astype(dtype)
    whole = Partition(np.zeros(20_000, dtype=np.int64), 1)
    moved = subset_step(x, g, whole, np.array([0]), np.array([eps]), -math.inf, math.inf)
    assert (np.abs(moved.astype(np.float64) - x) <= eps).all()
    if dtype == np.float32:
        beyond = np.nextafter(moved, (-g * np.float32(math.inf)))
        assert (np.abs(beyond.astype(np.float64) - x) > eps).all()


def test_nan_moves_nothing_and_counts_nothing():
    x = np.full((1, 4), 0.5)
    g = np.array([[np.nan, 1.0, 3.0, np.nan]])
    partition = Partition(np.array([0, 0, 1, 1]), 2)
    taken = np.zeros((1, 2), dtype=bool)
    assert best_subset(g, x, partition, np.array([0.1]), 0.0, 1.0, taken)[0] == 1
    moved = subset_step(x, g, partition, np.array([1]), np.array([0.1]), 0.0, 1.0)
    assert np.array_equal(moved, [[0.5, 0.5, 0.4, 0.5]])


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_does_not_see_its_batch(kind):
    rng = np.random.default_rng(6)
    x, g, eps = fields(rng, np.float32)
    x.flags.writeable = g.flags.writeable = eps.flags.writeable = False
    partition = partition_of(kind, rng)
    taken = np.zeros((len(x), partition.count), dtype=bool)
    chosen = best_subset(g, x, partition, eps, 0.0, 1.0, taken)
    moved = subset_step(x, g, partition, chosen, eps, 0.0, 1.0)
    for i in range(len(x)):
        one = slice(i, i + 1)
        alone = best_subset(g[one], x[one], partition, eps[one], 0.0, 1.0, taken[one])
        assert alone[0] == chosen[i]
        step = subset_step(x[one], g[one], partition, alone, eps[one], 0.0, 1.0)
        np.testing.assert_array_equal(step[0], moved[i])
    none = best_subset(g[:0], x[:0], partition, eps[:0], 0.0, 1.0, taken[:0])
    assert none.shape == (0,)
