"""fmn and ddn on linear models, whose smallest perturbations are closed forms, and on networks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pertcore as pc
from pertcore.closed_form import steps as closed
from pertcore.constraints import dual_order
from pertcore.solvers.shrinking import Hunt
from tests.attacks.models import NORMS, network, samples, two_classes

BOTH = ("fmn", "ddn")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", BOTH)
def test_within_two_percent_of_margin_over_dual_norm(name, norm):
    model, w, b = two_classes()
    x = np.random.default_rng(1).normal(size=(30, 8))
    exact = np.abs(x @ w + b) / np.linalg.norm(w, dual_order(norm))
    result = pc.attack(model, x, attack=name, norm=norm)
    assert result.success.all()
    assert np.all(result.norms >= exact * (1 - 1e-9)) and np.all(result.norms <= 1.02 * exact)


@pytest.mark.parametrize("norm", NORMS)
def test_fmn_finds_the_smallest_inside_a_box_that_binds(norm):
    rng = np.random.default_rng(2)
    w = rng.normal(size=(2, 12))
    model = pc.from_matrix(w, np.array([0.6, 0.0]), dtype=np.float64)
    x = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], size=(40, 12))
    f = model(x)
    y = f.argmax(axis=1)
    g = (w[0] - w[1]) * np.where(y == 0, 1, -1)[:, None]
    level = np.abs(f[:, 0] - f[:, 1])
    eta, feasible = closed.hyperplane_step(g, level, norm, x=x, lo=0.0, hi=1.0)
    exact = np.linalg.norm(eta, norm, axis=1)
    assert feasible.sum() > 25
    result = pc.attack(model, x, attack="fmn", norm=norm, bounds=(0, 1), steps=200)
    assert result.success[feasible].mean() > 0.95 and not result.success[~feasible].any()
    ratio = (result.norms / exact)[feasible & result.success]
    assert np.all(ratio > 1 - 1e-9) and np.median(ratio) < 1.02


def test_ddn_does_not_stall_on_the_box():
    rng = np.random.default_rng(4)
    w = rng.normal(size=(2, 40)) * np.linspace(0.2, 3, 40)
    model = pc.from_matrix(w, np.zeros(2), dtype=np.float64)
    x = rng.choice([0.0, 1.0], size=(40, 40), p=[0.5, 0.5]) * 0.98 + 0.01
    for norm in (1, 2):
        result = pc.attack(model, x, attack="ddn", norm=norm, bounds=(0, 1))
        nearest = pc.attack(model, x, attack="minnorm", norm=norm, bounds=(0, 1))
        assert result.success[nearest.success].all()


@pytest.mark.parametrize(("name", "ratio"), [("fmn", 1.02), ("ddn", 1.05)])
def test_a_network_is_crossed_about_as_near_as_by_deepfool(name, ratio):
    model, x = network(), samples(60)
    settings = {"norm": 2, "bounds": (0, 1)}
    found = pc.attack(model, x, attack=name, **settings)
    known = pc.attack(model, x, attack="deepfool", **settings)
    assert found.success.all()
    assert np.median(found.norms) < ratio * np.median(known.norms)


@pytest.mark.parametrize("name", BOTH)
def test_a_target_is_reached_and_more_steps_come_nearer(name):
    model, x = network(), samples(40)
    target = (model(x).argmax(axis=1) + 2) % 5
    few, many = (
        pc.attack(model, x, target, attack=name, norm=2, targeted=True, steps=steps)
        for steps in (10, 100)
    )
    assert many.success.all()
    assert np.median(many.norms) < np.median(few.norms[few.success])


def test_the_radius_follows_the_boundary():
    hunt = Hunt(np.ones(3), np.zeros((3, 2)), np.array([np.inf, 0.7, 2.0]), np.ones(3))
    rows = np.arange(3)
    hunt.follow(rows, np.array([False, True, False]), np.array([5.0, 5, 5]), 0.1)
    np.testing.assert_allclose(hunt.radius, [5.5, 0.7, 1.1])


def test_the_radius_shrinks_to_a_boundary_that_is_near_but_not_at_once():
    hunt = Hunt(np.ones(3), np.zeros((3, 2)), np.full(3, 0.95), np.ones(3))
    rows, fooled = np.arange(3), np.full(3, True)
    hunt.follow(rows, fooled, np.array([0.6, 0.1, 2.0]), 0.04)
    np.testing.assert_allclose(hunt.radius, [0.6, 0.3, 0.95])
    hunt.follow(rows, fooled, np.zeros(3), 0.001)
    np.testing.assert_allclose(hunt.radius, [0.6 * 0.98, 0.3 * 0.98, 0.95 * 0.98])


def test_no_more_features_are_tried_than_are_known_to_be_enough():
    hunt = Hunt(np.full(3, 4.0), np.zeros((3, 9)), np.array([5.0, 9.0, np.inf]), np.ones(3))
    hunt.count(np.arange(3), np.full(3, False), np.full(3, 9.0), 0.05)
    np.testing.assert_array_equal(hunt.radius, [4, 5, 5])


def test_a_flat_model_ends_as_zero_gradient():
    weights = [np.eye(4, dtype=np.float32) * 50, np.ones((2, 4), dtype=np.float32)]
    model = pc.from_network(weights, [np.full(4, -100.0), np.zeros(2)], activation="relu")
    x = np.full((3, 4), 0.5, dtype=np.float32)
    x[0] = 3
    with pytest.warns(pc.errors.PertcoreWarning, match="exactly zero"):
        result = pc.attack(model, x, y=np.zeros(3, int), attack="fmn")
    assert (result.status == pc.Status.ZERO_GRADIENT)[1:].all() and not math.isnan(result.norms[1])


@pytest.mark.parametrize(("norm", "ratio"), [(2, 1.15), (np.inf, 1.001)])
def test_fmn_spends_no_step_on_entries_that_the_box_holds(norm, ratio):
    rng = np.random.default_rng(7)
    g = rng.normal(size=200)
    g[:20] *= 0.05
    x = np.where(g > 0, 0.0, 1.0)  # whither the gradient points, nothing can move
    x[:20], x[20:30] = 0.5, np.where(g[20:30] > 0, 0.02, 0.98)
    model = pc.from_matrix(
        np.stack([g, np.zeros(200)]), np.array([0.15 - x @ g, 0.0]), dtype=np.float64
    )
    x = x[None].repeat(3, axis=0)
    level = model(x)[:, 0]
    eta, feasible = closed.hyperplane_step(g[None].repeat(3, 0), level, norm, x=x, lo=0.0, hi=1.0)
    assert feasible.all()
    result = pc.attack(model, x, np.zeros(3, int), attack="fmn", norm=norm, bounds=(0, 1))
    assert result.success.all()
    assert np.all(result.norms < ratio * np.linalg.norm(eta, norm, axis=1))


def test_fmn_goes_far_where_the_slope_at_x_promises_a_near_boundary():
    """The margin falls as max(1 - 10 s, 0.9 - 0.1 s): at x its boundary seems 90 times as near."""
    w = np.array([1.0, 0.5, 0.3, 0.2])
    hidden = np.stack([-9.9 * w, -0.1 * w, 0.1 * w])
    model = pc.from_network(
        [hidden, np.array([[1.0, 1.0, -1.0], [0.0, 0.0, 0.0]])],
        [np.array([0.1, 0.9, -0.9]), np.full(2, 3.0)], activation="relu", dtype=np.float64,
    )  # fmt: skip
    x = np.zeros((2, 4))
    result = pc.attack(model, x, np.zeros(2, int), attack="fmn", norm=1, bounds=(0, 20))
    assert result.success.all()
    assert np.all((result.norms > 9) & (result.norms < 9.1))
