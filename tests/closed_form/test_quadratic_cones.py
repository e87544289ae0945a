"""The bound by branch and bound over cones, against brute force and sampled directions."""

from __future__ import annotations

import importlib.util
import math
import os
from pathlib import Path

import numpy as np
import pytest

from pertcore.closed_form import quadratic_cones
from pertcore.closed_form.quadratic import (
    best_signs,
    certified_signs,
    cone_bound,
    dual_bound,
    dual_weights,
    mixing,
)

spec = importlib.util.spec_from_file_location(
    "quadratic_cases", Path(__file__).with_name("quadratic_cases.py")
)
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)

CASES = 10_000 if os.environ.get("PERTCORE_FULL") else 150
MOST = 20 if os.environ.get("PERTCORE_FULL") else 12


def prepared(columns, sweeps=12):
    """Value, image and dual bound that `cone_bound` starts from."""
    _, image = mixing(columns, sweeps=sweeps)
    return best_signs(columns)[1], image, dual_bound(columns, dual_weights(columns, image))


def made(rng):
    d, width = int(rng.integers(1, MOST + 1)), int(rng.integers(1, 13))
    if d > 13 and rng.random() < 0.9:
        d -= 8
    name = cases.NAMES[rng.integers(len(cases.NAMES))]
    dtype = (np.float32, np.float64)[rng.integers(2)]
    return (cases.sorts(rng, d, width)[name] * 2.0 ** rng.integers(-20, 20)).astype(dtype)


@pytest.mark.parametrize("honest", [True, False])
def test_no_bound_lies_below_brute_force(honest, monkeypatch):
    """Also where the relaxation answers at random: the proof makes the bound, not its answer."""
    rng = np.random.default_rng(2027)

    def anything(planes, normals, rates, start, first, steps, settled, image, prices):
        image[:], prices[:] = rng.normal(size=image.shape), rng.exponential(size=prices.shape)
        np.fill_diagonal(prices, 0)

    if not honest:
        monkeypatch.setattr(quadratic_cones, "kernel", lambda name: anything)
    parted = 0
    for _ in range(CASES):
        columns = made(rng)
        value, image, upper = prepared(columns, sweeps=int(rng.integers(1, 12)))
        if not value > 0:
            continue
        work = columns.size * 600 * int(rng.integers(2, 40))
        bound, cones = cone_bound(columns, value, image, upper, enough=1.0, work=work)
        assert cases.brute_force(columns) * (1 - 1e-14) <= bound <= upper
        parted += cones > 2
    assert parted > CASES / 3


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gap_closes_where_the_relaxation_alone_leaves_one(width, dtype):
    rng = np.random.default_rng(width)
    for d in (13, 300):
        columns = rng.normal(size=(d, width)).astype(dtype)
        value, image, upper = prepared(columns)
        bound, cones = cone_bound(columns, value, image, upper, enough=0.995)
        assert value < 0.995 * upper and value >= 0.995 * bound and cones > 2
        if d == 13:
            assert bound >= cases.brute_force(columns)
    assert value < 0.9 * upper


def test_two_halves_cover_their_cone_to_the_bit():
    """A child keeps normals of its parent, and what one child adds the other has negated."""
    rng = np.random.default_rng(5)
    columns = rng.normal(size=(60, 6))
    _, image, _ = prepared(columns)
    turned, sizes, _ = np.linalg.svd(image, full_matrices=False)
    start = turned[:, :4] * sizes[:4] / np.linalg.norm(sizes)
    cone = quadratic_cones.Cone(1.0, turned[:, :1].T, start, np.zeros((1, 1)))
    sizes = []
    for step in range(12):
        before = {tuple(normal) for normal in cone.normals}
        (first, prices), (second, _) = quadratic_cones._halves(cone)
        added = [{tuple(n) for n in part} - before for part in (first, second)]
        assert [len(new) for new in added] == [1, 1]
        assert added[0] == {tuple(-v for v in normal) for normal in added[1]}
        image = start + 0.3 * rng.normal(size=start.shape)
        cone = quadratic_cones.Cone(1.0, (first, second)[step % 2], image, prices)
        sizes.append(len(first))
    assert sizes[0] == 2 and max(sizes) > 2 and len(set(sizes)) < len(sizes)


def test_a_direction_of_a_cone_stays_below_its_bound():
    rng = np.random.default_rng(6)
    columns = rng.normal(size=(80, 4))
    for _ in range(20):
        normals, image = rng.normal(size=(3, 4)), rng.normal(size=(4, 4))
        prices = rng.exponential(size=(3, 3)) * (1 - np.eye(3))
        y = np.linalg.norm(columns @ image, axis=1)
        upper, _ = quadratic_cones._upper(columns, y, normals, prices)
        w = rng.normal(size=(20_000, 4))
        w = w[np.all(w @ normals.T >= 0, axis=1)]
        reached = np.abs(w @ columns.T).sum(axis=1) / np.linalg.norm(w, axis=1)
        assert len(w) and upper >= reached.max() ** 2


def test_an_image_that_is_best_of_its_rank_alone_gets_another():
    """Heavy columns whose cones need a rank of five: with four, no bound falls below the first."""
    rng = np.random.default_rng(5)
    columns = rng.normal(size=(150, 10)) * rng.exponential(size=(150, 1))
    columns = (columns - columns.mean(axis=1, keepdims=True)).astype(np.float32)
    value, image, upper = prepared(columns)
    bound, _ = cone_bound(columns, value, image, upper, enough=0.98, work=1 << 30)
    assert value < 0.91 * upper and value > 0.93 * bound


def test_work_and_what_is_enough_decide_and_results_repeat():
    columns = np.random.default_rng(7).normal(size=(200, 3)).astype(np.float32)
    value, image, upper = prepared(columns)
    assert cone_bound(columns, value, image, upper, work=0) == (upper, 1)
    assert cone_bound(columns, value, image, upper, enough=0.5) == (upper, 1)
    few, more = (
        cone_bound(columns, value, image, upper, enough=1.0, work=columns.size * 500 * k)
        for k in (8, 80)
    )
    assert more[0] < few[0] < upper and more[1] > few[1] > 1
    assert few == cone_bound(columns, value, image, upper, enough=1.0, work=columns.size * 4000)
    _, found, bound, cones = certified_signs(columns)
    assert cones > 1 and found / bound >= quadratic_cones.ENOUGH
    assert certified_signs(columns, enough=0)[3] == 1


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_goes_through(scale):
    columns = np.random.default_rng(8).normal(size=(100, 3))
    _, value, bound, cones = certified_signs((columns * scale).astype(np.float32))
    assert cones > 1 and 0.95 <= value / bound <= 1
    assert math.isclose(bound, certified_signs(columns)[2] * scale**2, rel_tol=0.02)
