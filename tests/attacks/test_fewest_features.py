"""fmn with norm=0: the smallest number of changed features, against brute force in a small box."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

import pertcore as pc
from pertcore.attacks.registry import ATTACKS
from pertcore.closed_form.sparse import fewest
from pertcore.errors import InputError
from pertcore.testing import assert_in_ball
from tests.attacks.models import network, samples, two_classes

UNIT = {"norm": 0, "bounds": (0, 1)}


def test_on_a_linear_model_it_is_the_closed_form():
    model, w, b = two_classes(3, d=20)
    x = samples(50, 20, dtype=np.float64)
    level = x @ w + b
    slope = np.sign(level)[:, None] * w
    needed = fewest(slope, np.abs(level), x, 0.0, 1.0)
    result = pc.attack(model, x, attack="fmn", **UNIT, steps=20)
    reachable = np.array([(s * (v - (s < 0))).sum() for s, v in zip(slope, x)]) > np.abs(level)
    assert np.array_equal(result.success, reachable) and reachable.any()
    np.testing.assert_array_equal(result.norms[reachable], needed[reachable])


def test_on_a_network_it_is_rarely_more_than_the_best_corner():
    model, x = network(4, sizes=(6, 20, 4), dtype=np.float64), samples(40, 6, dtype=np.float64)
    y = model(x).argmax(axis=1)
    choices = np.array(list(product((math.nan, 0.0, 1.0), repeat=6)))
    counts = np.count_nonzero(~np.isnan(choices), axis=1)
    best = np.full(len(x), np.inf)
    for i, point in enumerate(x):
        over = model(np.where(np.isnan(choices), point, choices)).argmax(axis=1) != y[i]
        best[i] = counts[over].min(initial=7)
    result = pc.attack(model, x, y, attack="fmn", **UNIT)
    found = np.where(result.success, result.norms, 7)
    assert np.all(found >= best)
    assert np.mean(found == best) >= 0.9 and np.ptp(best) > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_verified_and_inside_the_box(dtype):
    model, x = network(dtype=dtype), samples(40, dtype=dtype)
    x[:3], x[3:6] = 0.25, 1
    lo, hi = (np.linspace(*ends, 12).astype(dtype) for ends in ((-0.1, 0.25), (1.0, 1.4)))
    x = np.clip(x, lo, hi)
    result = pc.attack(model, x, attack="fmn", norm="l0", bounds=(lo, hi))
    assert_in_ball(x, result.x_adv, norm=0, eps=result.norms, bounds=(lo, hi))
    changed = np.count_nonzero(result.x_adv != x, axis=1)
    np.testing.assert_array_equal(result.norms, changed)
    assert np.array_equal(result.success, result.after != result.before)
    assert result.success.all()


def test_targets_masks_batches_and_budgets():
    model, x = network(dtype=np.float64), samples(30, dtype=np.float64)
    target = (model(x).argmax(axis=1) + 1) % 5
    mask = np.arange(12) % 3 > 0
    settings = {**UNIT, "targeted": True, "mask": mask}
    whole = pc.attacks.fmn(model, x, target, **settings, deterministic=True)
    parts = pc.attacks.fmn(model, x, target, **settings, batch_size=7, deterministic=True)
    np.testing.assert_array_equal(whole.x_adv, parts.x_adv)
    assert np.all(whole.delta[:, ~mask] == 0) and 0 < whole.success.mean() < 1
    assert np.array_equal(model(whole.x_adv).argmax(axis=1)[whole.success], target[whole.success])
    few = pc.attacks.fmn(model, x, target, **settings, eps=2)
    assert_in_ball(x, few.x_adv, norm=0, eps=2, bounds=(0, 1))
    assert np.array_equal(few.success, whole.success & (whole.norms <= 2))


@pytest.mark.parametrize("name", [name for name, row in ATTACKS.items() if not row.counts])
def test_no_other_attack_counts(name):
    model = network()
    with pytest.raises(InputError, match=r"norm=0.*'fmn'"):
        pc.attack(model, samples(), attack=name, eps=0.1, **UNIT)
    assert model.calls.f == 0


@pytest.mark.parametrize("bounds", [None, (0, math.inf), (-math.inf, 1)])
def test_a_box_without_ends_is_refused(bounds):
    with pytest.raises(InputError, match="norm=0 needs finite bounds"):
        pc.attacks.fmn(network(), samples(), norm=0, bounds=bounds)


def test_features_that_are_steep_but_soon_used_up_do_not_hide_the_few_that_matter():
    """Each of 30 decoys is worth min(10 x, 0.05), each of 4 features x: 3 of these are enough, and
    corners alone, which see the slopes of decoys at 0, try those one after the other."""
    few, decoys = 4, 30
    steep = 10 * np.eye(decoys, few + decoys, few)
    weights = np.concatenate([np.eye(few, few + decoys), steep, steep])
    offsets = np.concatenate([np.zeros(few + decoys), np.full(decoys, -0.05)])
    signs = np.concatenate([-np.ones(few + decoys), np.ones(decoys)])
    model = pc.from_network(
        [weights, np.stack([signs, np.zeros_like(signs)])], [offsets, np.array([4.5, 2.0])],
        activation="relu", dtype=np.float64,
    )  # fmt: skip
    x = np.full((1, few + decoys), 1e-3)
    result = pc.attack(model, x, attack="fmn", **UNIT, steps=60)
    assert result.success.all() and result.norms[0] == 3
