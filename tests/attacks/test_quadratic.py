"""The quadratic attacks on the bundled autoencoder and on linear models with known answers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import pertcore as pc
from pertcore.testing import assert_in_ball

DEMO = Path(pc.__file__).parent / "demo"
UNBOUNDED = (-math.inf, math.inf)
BUDGETS = {2.0: 0.5, math.inf: 0.1}


@pytest.fixture(scope="module")
def autoencoder():
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    model = pc.from_onnx(DEMO / "digits_autoencoder.onnx", threads=1)
    with np.load(DEMO / "digits.npz") as held:
        return model, held["x"][:32].astype(np.float32).reshape(32, *model.input_shape)


def units(result):
    calls = result.calls
    return (calls.f + calls.vjp + calls.jvp) / 2 / len(result.success)


@pytest.mark.parametrize("bounds", [UNBOUNDED, (0, 1)])
@pytest.mark.parametrize("norm", sorted(BUDGETS))
def test_the_iterated_attack_beats_algorithm_1_and_pgd_at_equal_units(autoencoder, norm, bounds):
    model, x = autoencoder
    settings = {"norm": norm, "eps": BUDGETS[norm], "bounds": bounds, "task": "regression"}
    ours = pc.attack(model, x, attack="iterated-quadratic", steps=12, **settings)
    assert_in_ball(x, ours.x_adv, norm=norm, eps=BUDGETS[norm], bounds=bounds)
    # The verdict is another forward run, and the model is checked on a few samples.
    assert units(ours) <= 12.75
    for name in ("linear", "pgd"):
        other = pc.attack(model, x, attack=name, steps=12, **settings)
        assert ours.loss_after.mean() > 1.05 * other.loss_after.mean()
    more = pc.attack(model, x, attack="iterated-quadratic", steps=12, restarts=3, **settings)
    assert np.all(more.loss_after >= ours.loss_after * (1 - 1e-5))


@pytest.mark.parametrize("steps", [2, 3, 4, 5, 6, 8, 24])
@pytest.mark.parametrize("labelled", [False, True])
def test_no_more_units_are_spent_than_were_given(autoencoder, steps, labelled):
    model, x = autoencoder
    y = np.roll(model(x), 1, axis=0) if labelled else None
    result = pc.attack(
        model, x, y, attack="iterated-quadratic", eps=0.1, steps=steps, bounds=(0, 1)
    )
    assert steps / 2 <= units(result) <= steps + 0.75


@pytest.mark.parametrize("norm", [1, 2, 3, math.inf])
def test_on_a_linear_model_the_certificate_is_the_truth(norm):
    rng = np.random.default_rng(0)
    model = pc.from_matrix(rng.normal(size=(5, 8)), rng.normal(size=5))
    x, y = rng.normal(size=(4, 8)), rng.normal(size=(4, 5))
    for labels in (None, y):
        result = pc.attack(model, x, labels, attack="quadratic", norm=norm, eps=0.4)
        certificate = result.certificate
        np.testing.assert_allclose(result.loss_after, certificate.value, rtol=1e-6)
        strong = pc.attack(
            model, x, labels, attack="iterated-quadratic", norm=norm, eps=0.4, steps=60, restarts=4,
            task="regression",
        )  # fmt: skip
        assert np.all(strong.loss_after <= certificate.upper * (1 + 1e-9))
        assert np.all(result.loss_after >= strong.loss_after * (1 - 1e-3))
        assert "of the linear optimum" in str(result)


def test_both_signs_are_tried_on_the_model(autoencoder):
    model, x = autoencoder
    result = pc.attack(model, x, attack="quadratic", norm=2, eps=0.5, bounds=UNBOUNDED)
    turned, clean = (model(point).reshape(len(x), -1) for point in (2 * x - result.x_adv, x))
    other = ((turned - clean) ** 2).sum(axis=1)
    assert np.all(result.loss_after >= other * (1 - 1e-4))
    assert np.any(result.loss_after > other * 1.05)


@pytest.mark.parametrize("method", ["best", "paper"])
def test_one_subset_moves_and_the_best_one(method):
    rng = np.random.default_rng(3)
    j = rng.normal(size=(4, 12))
    model, x = pc.from_matrix(j), np.zeros((2, 12))
    groups = np.repeat(np.arange(4), 3)
    result = pc.attack(
        model, x, attack="quadratic-subset", eps=0.5, partition=groups, method=method
    )
    assert np.all(np.count_nonzero(result.delta, axis=1) == 3)
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    best = max(
        float(((0.5 * signs @ j[:, groups == g].T) ** 2).sum(axis=1).max()) for g in range(4)
    )
    assert np.all(result.loss_after <= best * (1 + 1e-9))
    if method == "best":
        np.testing.assert_allclose(result.loss_after, best)


@pytest.mark.parametrize("norm", sorted(BUDGETS))
def test_a_target_is_approached_like_by_pgd(autoencoder, norm):
    model, x = autoencoder
    y = np.roll(model(x), 1, axis=0)
    settings = {"norm": norm, "eps": 2 * BUDGETS[norm], "bounds": (0, 1), "targeted": True}
    ours = pc.attack(model, x, y, attack="iterated-quadratic", steps=12, **settings)
    other = pc.attack(model, x, y, attack="pgd", steps=12, task="regression", **settings)
    assert ours.success.all()
    assert ours.loss_after.mean() <= 1.05 * other.loss_after.mean()
    assert ours.loss_after.mean() < 0.8 * ours.loss_before.mean()


def test_an_ensemble_of_one_model_twice_is_that_model(autoencoder):
    model, x = autoencoder
    settings = {"attack": "iterated-quadratic", "eps": 0.1, "bounds": (0, 1), "steps": 12}
    both = pc.attack(pc.ensemble([model, model]), x, **settings)
    alone = pc.attack(model, x, **settings)
    assert both.success.all() and np.all(both.loss_after >= 0.7 * alone.loss_after)


def test_wrong_options_are_named():
    model, x = pc.from_matrix(np.eye(3)), np.zeros((1, 3))
    with pytest.raises(pc.errors.InputError, match=r"method='fast'.*'best', 'paper'"):
        pc.attack(model, x, attack="quadratic", eps=1, method="fast")
    with pytest.raises(pc.errors.InputError, match="max_memory"):
        pc.attack(model, x, attack="quadratic", eps=1, max_memory="much")


@pytest.mark.parametrize("name", ["quadratic", "quadratic-subset", "iterated-quadratic"])
def test_an_oracle_without_tangents_is_refused_before_it_runs(name):
    model = pc.from_matrix(np.eye(3))
    model.capabilities = frozenset({"vjp", "take", "exact"})
    with pytest.raises(pc.errors.CapabilityError, match="J u"):
        pc.attack(model, np.zeros((1, 3)), attack=name, eps=1)
    assert model.calls.f == 0
