"""Refining a minimum-norm answer only ever shortens it, and reaches what is known."""

from __future__ import annotations

import numpy as np
import pytest

import pertcore as pc
from tests.attacks.models import NORMS, network, samples


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["deepfool", "minnorm"])
def test_refined_points_are_fooled_inside_the_box_and_never_longer(name, norm):
    model, x = network(), samples(60)
    settings = {"attack": name, "norm": norm, "bounds": (0, 1)}
    plain = pc.attack(model, x, refine=0, **settings)
    finer = pc.attack(model, x, refine=20, **settings)
    assert np.array_equal(finer.success[plain.success], plain.success[plain.success])
    assert finer.x_adv.min() >= 0 and finer.x_adv.max() <= 1
    both = plain.success & finer.success
    assert np.median(finer.norms[both]) <= np.median(plain.norms[both])


def test_the_nearest_boundary_of_a_curved_model_is_reached():
    """f = (r^2 - |x|^2, 0): the nearest point of the circle lies along x, whatever the start."""
    model = pc.from_function(
        lambda x: np.stack([1 - (x**2).sum(axis=1), 0 * x[:, 0]], axis=1),
        vjp=lambda x, v: -2 * x * v[..., :1], jvp=lambda x, u: u,
        input_shape=(3,), output_shape=(2,), dtype=np.float64,
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(40, 3))
    x *= np.linspace(0.2, 0.95, 40)[:, None] / np.linalg.norm(x, axis=1, keepdims=True)
    truth = 1 - np.linalg.norm(x, axis=1)
    result = pc.attack(model, x, attack="deepfool", norm=2, refine=20)
    assert result.success.all()
    assert np.all(result.norms >= truth)
    assert np.all(result.norms <= 1.05 * truth)


def test_a_budget_ends_the_refinement_early():
    model, x = network(), samples(60)
    free = pc.attack(model, x, attack="deepfool", refine=20)
    bound = pc.attack(model, x, attack="deepfool", refine=20, eps=float(free.norms.max()) * 2)
    assert bound.success.sum() == free.success.sum()
    assert bound.calls.f < 0.5 * free.calls.f


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_whom_plain_deepfool_fools_the_refined_one_fools_too(norm, steps):
    model, x = network(), samples(300)
    settings = {"attack": "deepfool", "norm": norm, "bounds": (0, 1), "steps": steps}
    plain, refined = (pc.attack(model, x, **settings, refine=refine) for refine in (0, 20))
    assert not np.any(plain.success & ~refined.success)
    if steps > 1:
        assert np.median(refined.norms[plain.success]) <= np.median(plain.norms[plain.success])
