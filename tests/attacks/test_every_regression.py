"""What every attack that takes a regression must keep there, with y and without."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

import pertcore as pc
from pertcore.attacks.registry import ATTACKS
from pertcore.errors import InputError
from pertcore.testing import assert_in_ball
from tests.attacks.models import network, run, samples

ALL = sorted(n for n, row in ATTACKS.items() if not row.minimum_norm and not row.own_loss)
SEEING = [n for n in ALL if not ATTACKS[n].blind]
# The dither of these is their own, or they begin at a random point: y = f(x) is no trouble.
DITHERED = [n for n in SEEING if n not in ("fgsm", "bim")]
ORDERS = (1.0, 2.0, 3.0, math.inf)


def autoencoder(dtype=np.float64):
    return network(sizes=(12, 6, 12), activation="tanh", dtype=dtype)


def attacked(name, model, x, y=None, **settings):
    return run(name, model, x, y, task="regression", **settings)


def squared(model, x, y):
    return ((model(x).astype(float) - y.astype(float)) ** 2).sum(axis=1)


@pytest.mark.parametrize("name", ALL)
def test_inside_ball_and_box_and_verified(name):
    orders = (math.inf,) if ATTACKS[name].subset else ORDERS
    for norm, dtype in product(orders, (np.float32, np.float64)):
        model, x = autoencoder(dtype), samples(dtype=dtype)
        x[:3], x[3:6] = 0, 1
        eps = np.linspace(0, 0.4, len(x))
        y = (model(x) + 0.1).astype(dtype)
        result = attacked(name, model, x, y, norm=norm, eps=eps, bounds=(0, 1))
        assert_in_ball(x, result.x_adv, norm=norm, eps=eps, bounds=(0, 1))
        rounding = 1e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(result.loss_after, squared(model, result.x_adv, y), rounding)
        np.testing.assert_allclose(result.loss_before, squared(model, x, y), rounding)
        assert np.array_equal(result.success, result.loss_after > result.loss_before)
        assert np.all(np.isnan(result.margin)) and np.all(result.after == -1)


@pytest.mark.parametrize("name", DITHERED)
def test_without_y_the_output_is_driven_further_than_by_chance(name):
    model, x = autoencoder(), samples(40, dtype=np.float64)
    subset = ATTACKS[name].subset
    norm, eps = (math.inf, 1.0) if subset else (2, 0.5)
    steps = {"steps": 3} if name == "pixel" else {}
    result = attacked(name, model, x, norm=norm, eps=eps, **steps)
    other = {"steps": steps.get("steps", 1)} if subset else {}
    blind = "random-pixel" if subset else "random"
    chance = attacked(blind, model, x, norm=norm, eps=eps, **other)
    assert result.success.all() and not result.loss_before.any()
    assert np.mean(result.loss_after) > 1.3 * np.mean(chance.loss_after)


@pytest.mark.parametrize("name", ALL)
def test_random_numbers_belong_to_the_sample(name):
    model, x = autoencoder(), samples(10, dtype=np.float64)
    y = None if name in DITHERED else model(x) + 0.1
    tail_y = y if y is None else y[4:]
    whole = attacked(name, model, x, y, rng=5, deterministic=True)
    tail = attacked(name, model, x[4:], tail_y, rng=5, first_index=4, deterministic=True)
    batches = attacked(name, model, x, y, rng=5, batch_size=3, deterministic=True)
    np.testing.assert_allclose(tail.x_adv, whole.x_adv[4:], atol=1e-9)
    np.testing.assert_allclose(batches.x_adv, whole.x_adv, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_frozen_features_do_not_move(name):
    model, x = autoencoder(), samples(dtype=np.float64)
    mask = np.ones(12, dtype=bool)
    mask[:6] = False
    result = attacked(name, model, x, None if name in DITHERED else model(x) + 0.1, mask=mask)
    assert np.all(result.delta[:, :6] == 0) and np.any(result.delta[:, 6:] != 0)


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_attacked_with_no_budget(name):
    model, x = autoencoder(), samples(dtype=np.float64)
    result = attacked(name, model, x, model(x) + 0.1, eps=0.0)
    assert not result.success.any() and np.all(result.delta == 0)


def test_pixels_change_whole_subsets_and_each_once():
    model, x = autoencoder(), samples(20, dtype=np.float64)
    groups = np.arange(12) // 3
    groups[-1] = -1
    result = pc.attack(
        model, x, attack="pixel", steps=2, eps=0.2, partition=groups, task="regression"
    )
    moved = result.delta != 0
    assert not moved[:, -1].any() and np.all(np.isclose(np.abs(result.delta[moved]), 0.2))
    touched = np.stack([moved[:, groups == s].any(axis=1) for s in range(4)], axis=1)
    assert np.all(touched.sum(axis=1) == 2)
    one = pc.attack(model, x, attack="subset", eps=0.2, partition=groups, task="regression")
    touched = np.stack([(one.delta != 0)[:, groups == s].any(axis=1) for s in range(4)], axis=1)
    assert np.all(touched.sum(axis=1) == 1)


def test_linear_is_algorithm_1_and_needs_no_word_about_the_task():
    model = network(sizes=(12, 6, 1), activation="tanh", dtype=np.float64)
    x = samples(20, dtype=np.float64)
    one = pc.attack(model, x, attack="linear", eps=0.1, steps=7)
    two = pc.attack(model, x, attack="alg1", eps=0.1, steps=7, task="regression")
    assert one.task == "regression" and np.array_equal(one.x_adv, two.x_adv)
    assert one.success.all()


def test_metrics_are_taken_at_x_adv_and_shown():
    model, x = autoencoder(np.float32), samples(15)
    own = {"worst": lambda f, y: np.abs(f - y).max(axis=1)}
    y = model(x) + np.float32(0.1)
    result = pc.attack(
        model, x, y, attack="linear", eps=0.1, metrics=own, peak=2.0, batch_size=4, norm=2
    )
    apart = model(result.x_adv).astype(float) - y
    found = result.metrics
    np.testing.assert_allclose(found["mse"], (apart**2).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found["worst"], np.abs(apart).max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found["psnr_out"], 10 * np.log10(4 / found["mse"]))
    np.testing.assert_allclose(found["psnr_in"], 10 * np.log10(4 * 12 / result.norms**2))
    np.testing.assert_allclose(
        result.summary()["mean output PSNR (dB, peak 2)"], found["psnr_out"].mean()
    )
    assert result.summary()["mean worst"] == found["worst"].mean()
    assert "mean worst" in str(result)


def test_a_classifier_has_no_squared_error_but_the_users_metrics():
    model, x = network(), samples()
    right = {"score": lambda f, y: f[np.arange(len(f)), y]}
    result = pc.attack(model, x, eps=0.1, metrics=right)
    assert list(result.metrics) == ["score"]
    np.testing.assert_array_equal(
        result.metrics["score"], model(result.x_adv)[np.arange(len(x)), result.before]
    )


@pytest.mark.parametrize("metrics", [[1], {"mse": lambda f, y: f}, {"a": 3}, {"a": lambda f, y: f}])
def test_a_wrong_metric_is_refused(metrics):
    with pytest.raises(InputError, match="metrics"):
        pc.attack(autoencoder(), samples(dtype=np.float64), eps=0.1, metrics=metrics)
