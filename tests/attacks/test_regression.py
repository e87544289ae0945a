"""Regression: the user's own loss decides, is shown as written, and restarts help."""

from __future__ import annotations

import numpy as np
import pytest

import pertcore as pc
from pertcore.errors import InputError
from tests.attacks.models import network, samples


def autoencoder():
    return network(sizes=(12, 6, 12), activation="tanh", dtype=np.float64)


def squared(f, y):
    return ((f - y) ** 2).sum(axis=1), 2 * (f - y)


@pytest.mark.parametrize("name", ["random", "alg1", "pgd", "rfgsm"])
def test_restarts_help_in_regression(name):
    model, x = autoencoder(), samples(20, dtype=np.float64)
    y = model(x) + 0.1
    once, more = (
        pc.attack(model, x, y, attack=name, norm=2, eps=0.3, restarts=count) for count in (1, 6)
    )
    assert np.all(more.loss_after >= once.loss_after * (1 - 1e-12))
    assert more.loss_after.mean() > once.loss_after.mean() * (1 + 1e-6)


def test_a_callable_counts_like_the_squared_error_it_is():
    model, x = autoencoder(), samples(20, dtype=np.float64)
    y = model(x) + 0.1
    settings = {"norm": 2, "eps": 0.3, "threshold": 0.5}
    named = pc.attack(model, x, y, **settings)
    own = pc.attack(model, x, y, loss=squared, goal="maximise", **settings)
    np.testing.assert_allclose(own.x_adv, named.x_adv, atol=1e-12)
    assert np.array_equal(own.success, named.success) and named.success.any()
    assert np.all(own.loss_after > own.loss_before) and np.all(own.loss_before > 0)
    np.testing.assert_allclose(own.loss_after, named.loss_after)
    np.testing.assert_allclose(named.loss_after, squared(model(named.x_adv), y)[0])


def test_a_target_is_approached_until_the_threshold():
    model, x = autoencoder(), samples(20, dtype=np.float64)
    y = model(x[::-1])
    result = pc.attack(model, x, y, targeted=True, eps=0.4, steps=30, threshold=0.5)
    assert np.array_equal(result.success, result.loss_after <= 0.5) and result.success.any()
    assert np.all(result.loss_after[result.success] < result.loss_before[result.success])


def test_labels_need_no_dither_so_the_seed_changes_nothing():
    model, x = autoencoder(), samples(20, dtype=np.float64)
    one, two = (pc.attack(model, x, model(x) + 0.5, eps=0.1, rng=seed) for seed in (1, 2))
    assert np.array_equal(one.x_adv, two.x_adv)


def test_gradient_attacks_take_the_loss_of_the_task():
    model, x = autoencoder(), samples(8, dtype=np.float64)
    for name in ("fgsm", "bim", "pgd"):
        result = pc.attack(model, x, model(x) + 0.1, attack=name, eps=0.1)
        assert result.success.all() and result.settings["loss"] == "squared_error"
    for name in ("alg2", "deepfool"):
        with pytest.raises(InputError, match="classifiers"):
            pc.attack(model, x, model(x) + 0.1, attack=name, eps=0.1)


def test_the_summary_speaks_of_losses():
    model, x = autoencoder(), samples(8, dtype=np.float64)
    summary = pc.attack(model, x, model(x) + 0.1, eps=0.1).summary()
    assert summary["mean loss after"] > summary["mean loss before"] > 0
    assert "fooling ratio" not in summary
