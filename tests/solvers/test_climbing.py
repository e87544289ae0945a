"""What the two starts of a climb tell each other."""

from __future__ import annotations

import math

import numpy as np

from pertcore.solvers import climbing
from tests.solvers.test_restricted import D, N, farthest, problem


def test_each_start_steps_with_what_the_other_saw_last(monkeypatch):
    given, j = problem(math.inf, outputs=6)
    pairs, points = [], []

    def spy(now, older, **settings):
        pairs.append((now.direction.copy(), older.direction.copy()))
        return climbing_orthonormal(now, older, **settings)

    climbing_orthonormal, linearize = climbing.orthonormal, given.oracle.linearize

    def noted(x):
        points.append(x.reshape(-1, D).copy())
        return linearize(x)

    monkeypatch.setattr(climbing, "orthonormal", spy)
    monkeypatch.setattr(given.oracle, "linearize", noted)
    along = np.random.default_rng(7).normal(size=(2, N, D))
    starts = np.stack([given.x + farthest(given, direction) for direction in along])
    climbing.climb(given, starts, loss="squared_error", units=12, spent=0.5)
    residuals = [(at - given.x) @ j.T for at in (*starts, points[1])]
    for pair, expected in zip(pairs[:2], ((0, 1), (1, 2)), strict=True):
        for direction, which in zip(pair, expected, strict=True):
            cosine = (direction * residuals[which]).sum(axis=1) / (
                np.linalg.norm(direction, axis=1) * np.linalg.norm(residuals[which], axis=1)
            )
            np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-9)


def test_a_start_whose_gradient_broke_tells_nothing():
    given, _ = problem(math.inf)
    seen = climbing.Seen(np.ones((N, 2)), np.ones((N, D)))
    seen.pulled[0], seen.pulled[1] = np.nan, 0
    start = given.x[None] + 0.1
    state = climbing._begun(given, start, "squared_error", 12, 0.5, None)
    climbing._beside(state, np.arange(N), seen)
    assert state.known.tolist() == [False, False, True, True, True]
