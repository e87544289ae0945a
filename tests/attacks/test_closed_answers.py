"""Linear models, where the paper's formulas say exactly what an attack must reach."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pertcore as pc
from pertcore.constraints import dual_order
from tests.attacks.models import NORMS, network, run, samples, two_classes


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["deepfool", "minnorm"])
def test_minimum_norm_equals_margin_over_dual_norm(name, norm):
    model, w, b = two_classes()
    x = np.random.default_rng(3).normal(size=(40, 8))
    result = run(name, model, x, norm=norm)
    distance = np.abs(x @ w + b) / np.linalg.norm(w, ord=dual_order(norm))
    assert result.success.all()
    assert np.all(result.norms >= distance * (1 - 1e-9))
    assert np.all(result.norms <= distance * (1.021 if name == "deepfool" else 1.001))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["alg1", "fgsm", "alg2", "pgd", "bim"])
def test_theorem_1_decides_who_is_fooled(name, norm):
    model, w, b = two_classes(1)
    x = np.random.default_rng(4).normal(size=(60, 8))
    needed = np.abs(x @ w + b) / np.linalg.norm(w, ord=dual_order(norm))
    eps = np.median(needed)
    result = run(name, model, x, norm=norm, eps=eps)
    clear = np.abs(needed / eps - 1) > (0.05 if name == "pgd" else 1e-3)
    assert np.array_equal(result.success[clear], (needed < eps)[clear])


def test_two_class_logits_and_one_logit_agree():
    model, w, b = two_classes(2)
    single = pc.from_matrix(w[None], np.array([b]), dtype=np.float64)
    x = np.random.default_rng(5).normal(size=(30, 8))
    for name in ("alg1", "deepfool", "pgd"):
        settings = {} if name == "deepfool" else {"eps": 0.2}
        two, one = (run(name, m, x, norm=2, **settings) for m in (model, single))
        assert np.array_equal(two.success, one.success)
        assert np.array_equal(two.before, one.before)
        np.testing.assert_allclose(two.norms, one.norms, rtol=1e-6)


def test_decision_moves_the_boundary_of_one_logit():
    model = pc.from_matrix(np.ones((1, 2)), np.zeros(1), dtype=np.float64)
    x = np.array([[0.4, 0.4], [0.1, 0.1]])
    result = pc.attack(model, x, attack="deepfool", norm=2, decision=0.5)
    assert result.before.tolist() == [1, 0]
    np.testing.assert_allclose(result.norms, [0.3 / math.sqrt(2), 0.3 / math.sqrt(2)], rtol=0.021)


@pytest.mark.parametrize("norm", NORMS)
def test_special_cases_of_table_ii_are_the_same_numbers(norm):
    model, x = network(), samples()
    y = model(x).argmax(axis=1)
    common = {"norm": norm, "eps": 0.1, "bounds": (0, 1)}
    fgsm = pc.attacks.fgsm(model, x, y, **common)
    one_step = pc.attacks.alg1(model, x, y, loss="cross_entropy", steps=1, **common)
    bim = pc.attacks.bim(model, x, y, steps=5, **common)
    five = pc.attacks.alg1(model, x, y, loss="cross_entropy", steps=5, **common)
    score = pc.attacks.alg1(model, x, y, loss="score", steps=3, **common)
    alg2 = pc.attacks.alg2(model, x, y, steps=3, **common)
    for a, b in ((fgsm, one_step), (bim, five), (score, alg2)):
        assert np.array_equal(a.x_adv, b.x_adv)


def test_targeted_deepfool_reaches_the_wanted_class():
    rng = np.random.default_rng(0)
    model = pc.from_matrix(rng.normal(size=(4, 10)), rng.normal(size=4), dtype=np.float64)
    x, target = rng.normal(size=(30, 10)), rng.integers(0, 4, 30)
    for name in ("deepfool", "minnorm"):
        result = pc.attack(model, x, target, attack=name, norm=2, targeted=True)
        there = model(x).argmax(axis=1) == target
        assert np.array_equal(result.success, ~there)
        assert np.array_equal(model(result.x_adv).argmax(axis=1), target)
        assert np.all(result.norms[there] == 0)
        assert np.all(result.status[there] == pc.Status.CLEAN_ERROR)


def test_deepfool_crosses_although_most_features_sit_on_the_box():
    rng = np.random.default_rng(7)
    w = rng.normal(size=40)
    model = pc.from_matrix(np.stack([0 * w, w]), np.zeros(2), dtype=np.float64)
    x = np.where(rng.random((50, 40)) < 0.7, (w > 0).astype(float), rng.random((50, 40)))
    reachable = np.minimum(w, 0).sum() < 0 < np.maximum(w, 0).sum()
    assert reachable
    for norm in NORMS:
        result = pc.attack(model, x, attack="deepfool", norm=norm, bounds=(0, 1))
        assert result.success.all(), norm
        assert result.x_adv.min() >= 0 and result.x_adv.max() <= 1


def test_infeasible_is_said_when_the_box_has_no_way_out():
    model = pc.from_matrix(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0.0, 5.0]))
    x = np.array([[0.5, 0.5], [0.2, 0.9]], dtype=np.float32)
    result = pc.attack(model, x, attack="deepfool", norm=2, bounds=(0, 1))
    assert not result.success.any()
    assert set(result.status.tolist()) == {pc.Status.INFEASIBLE}


def test_pixel_changes_the_best_subset_by_the_whole_budget():
    w = np.array([0.1, 0.1, 1.0, -1.0, 0.3, 0.2])
    model = pc.from_matrix(np.stack([0 * w, w]), np.array([0.0, 9.0]))
    x = np.full((1, 6), 0.5, dtype=np.float32)
    groups = np.array([0, 0, 1, 1, 2, 2])
    one = pc.attack(model, x, attack="subset", eps=0.25, partition=groups, bounds=(0, 1))
    np.testing.assert_array_equal(one.delta[0], [0, 0, -0.25, 0.25, 0, 0])
    two = pc.attack(model, x, attack="pixel", eps=0.25, steps=2, partition=groups, bounds=(0, 1))
    np.testing.assert_array_equal(two.delta[0], [0, 0, -0.25, 0.25, -0.25, -0.25])
    frozen = np.where(groups == 1, -1, groups)
    third = pc.attack(model, x, attack="subset", eps=0.25, partition=frozen, bounds=(0, 1))
    np.testing.assert_array_equal(third.delta[0], [0, 0, 0, 0, -0.25, -0.25])
