"""Square Attack: its schedule, its windows, and that no query leaves ball or box."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pertcore as pc
from pertcore.solvers.squares import Plane, _halves, _peak, share_at
from pertcore.testing import assert_in_ball


def test_the_schedule_is_the_papers_stretched():
    assert [share_at(q, 10_000) for q in (0, 10, 11, 51, 201, 8001)] == [
        0.8, 0.8, 0.4, 0.2, 0.1, 0.8 / 512,
    ]  # fmt: skip
    assert share_at(2, 1000) == 0.4 and share_at(999, 1000) == 0.8 / 512


def test_images_are_seen_as_planes_and_come_back():
    for shape in ((3, 6, 5), (6, 5, 3), (7,), (4, 5)):
        plane = Plane.of(shape)
        flat = np.arange(2.0 * math.prod(shape)).reshape(2, -1)
        assert np.array_equal(plane.fold(plane.unfold(flat)), flat)
    assert Plane.of((6, 5, 3)).unfold(np.arange(90.0)[None])[0, 1, 0, 0] == 1
    assert Plane.of((3, 32, 32)).window(0.8) == (29, 29)
    assert Plane.of((3, 32, 32)).window(0) == (1, 1) and Plane.of((10,)).window(0.3) == (1, 3)


def test_the_pattern_peaks_in_the_middle_and_has_two_signs():
    peak = _peak(5, 5)
    assert peak[2, 2] == peak.max() == pytest.approx(1 + 1 / 4 + 1 / 9)
    assert peak[0, 3] == pytest.approx(1 / 9) and peak[1, 2] == pytest.approx(1 / 4 + 1 / 9)
    beside, above = _halves((6, 6), 2.0, np.array([False, True]))
    assert np.all(beside[:, :3] > 0) and np.all(beside[:, 3:] < 0)
    np.testing.assert_allclose(above, beside.T)
    assert np.sum(beside**2) == pytest.approx(1)


@pytest.mark.parametrize("norm", [1.0, 1.5, 2.0, math.inf])
@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 3), (20,)])
def test_every_query_is_inside_and_the_search_descends(norm, shape):
    rng = np.random.default_rng(0)
    d = math.prod(shape)
    w = rng.normal(size=(2, d))
    x = rng.uniform(0, 1, (5, *shape)).astype(np.float32)
    eps = {math.inf: 0.1, 2.0: 0.8, 1.5: 1.2, 1.0: 2.0}[norm]
    asked = []

    def f(points):
        asked.append(np.array(points))
        return points.reshape(len(points), -1) @ w.T.astype(np.float32) + np.float32([99, 0])

    model = pc.from_function(
        f, vjp=lambda points, v: (v @ w.astype(np.float32)).reshape(points.shape),
        jvp=lambda _points, u: u.reshape(len(u), -1) @ w.T.astype(np.float32),
        input_shape=shape, output_shape=(2,), dtype=np.float32,
    )  # fmt: skip
    y = np.zeros(5, dtype=np.int64)
    results = [
        pc.attack(
            model, x, y, attack="square", steps=steps, eps=eps, norm=norm, bounds=(0, 1)
        ).margin
        for steps in (1, 300)
    ]  # fmt: skip
    for points in asked:
        if len(points) == len(x) and not np.array_equal(points, x):
            assert_in_ball(x, points, norm=norm, eps=eps, bounds=(0, 1))
    clean = f(x) @ [1, -1]
    reach = np.abs(w[0] - w[1])
    ideal = eps * (
        reach.sum() if math.isinf(norm) else np.sum(reach ** _dual(norm)) ** (1 / _dual(norm))
    )
    assert np.all(results[1] < results[0])
    assert np.all(results[1] < clean - (0.4 if norm >= 2 else 0.15) * ideal)


def _dual(norm):
    return 99.0 if norm == 1 else norm / (norm - 1)
