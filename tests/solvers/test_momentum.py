"""Auto-PGD against its paper's schedule, and on models whose strongest point is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pertcore as pc
from pertcore.attacks.adaptive import best_others
from pertcore.closed_form import steps as closed
from pertcore.solvers.momentum import _Memory, checkpoints
from tests.attacks.models import network, samples


def test_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]
    assert all(checkpoints(n)[-1] < n for n in range(1, 300))


def test_the_step_halves_when_few_steps_help_or_the_best_stands():
    memory = _Memory.begin(np.zeros((3, 2)), np.ones(3))
    rows = np.arange(3)
    for t in range(5):
        # Sample 0 falls always, 1 never after the first, 2 falls every second step.
        memory.note(rows, np.full((3, 2), float(t)), np.array([-t, 0.0, -t if t % 2 else 9.0]))
    assert memory.stalled(rows, 4).tolist() == [False, True, True]
    assert memory.best[:, 0].tolist() == [4, 0, 3]
    for _ in range(4):
        memory.note(rows[:1], np.zeros((1, 2)), memory.last[:1] + np.array([-0.0]))
    assert memory.stalled(rows[:1], 0).tolist() == [True]  # condition 2 alone: the best stood


@pytest.mark.parametrize("norm", [1.0, 2.0, math.inf])
def test_it_ends_at_the_optimum_of_a_linear_model(norm):
    rng = np.random.default_rng(3)
    w = rng.normal(size=(2, 10))
    model = pc.from_matrix(w, np.array([0.0, -50.0]), dtype=np.float64)
    x = rng.uniform(0, 1, (20, 10))
    eps = np.full(20, 0.3)
    result = pc.attack(
        model, x, attack="apgd", loss="margin", steps=60, norm=norm, eps=eps, bounds=(0, 1)
    )
    g = np.broadcast_to(w[0] - w[1], x.shape).copy()
    eta = closed.lmo_ball_box(g, x, eps, norm, 0.0, 1.0)
    best = ((x + eta) @ w.T + [0, -50]) @ [1, -1]
    gain = (x @ w.T + [0, -50]) @ [1, -1] - best
    assert not result.success.any()
    np.testing.assert_array_less(result.margin - best, 0.01 * gain)


def test_it_keeps_the_best_point_and_more_steps_do_not_lose():
    model, x = network(), samples(60)
    margins = [
        pc.attack(model, x, attack="apgd", loss="margin", steps=n, eps=0.03).margin
        for n in (2, 20, 100)
    ]
    fooled = [m < 0 for m in margins]
    assert fooled[0].sum() <= fooled[1].sum() <= fooled[2].sum()
    kept = ~fooled[0] & ~fooled[2]
    assert np.mean(margins[2][kept]) < np.mean(margins[0][kept])


def test_every_other_class_is_a_target_in_turn():
    model, x = network(), samples(80)
    one, all_of_them = (
        pc.attack(model, x, attack="apgd-t", steps=10, eps=0.05, classes=count) for count in (1, 9)
    )
    assert np.all(all_of_them.success[one.success])

    class Asked:
        class goal:  # noqa: N801  (stands for an object)
            targeted, members, decision = False, None, 0.0
            scores = staticmethod(lambda value: value)

        index, y = np.array([4, 1]), np.array([0, 2])
        x, shaped = np.zeros((2, 3)), staticmethod(lambda flat: flat)
        oracle = staticmethod(lambda _x: np.array([[3.0, 1, 2, 0], [5, 7, 9, 6]]))

    table = best_others(Asked, 2)
    assert table[:, Asked.index].T.tolist() == [[2, 1], [1, 3]]


def test_a_single_logit_and_two_classes_have_one_target():
    rng = np.random.default_rng(0)
    w = rng.normal(size=(1, 6))
    model = pc.from_matrix(w, np.zeros(1), dtype=np.float64)
    x = rng.normal(size=(30, 6))
    eps = np.abs(x @ w[0]) / np.abs(w).sum()
    for name in ("apgd", "apgd-t"):
        assert pc.attack(model, x, attack=name, eps=1.001 * eps, steps=20).success.all()
        assert not pc.attack(model, x, attack=name, eps=0.999 * eps, steps=20).success.any()
