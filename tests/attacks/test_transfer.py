"""Crafted on surrogates, judged on a model that the attack never saw."""

from __future__ import annotations

import numpy as np
import pytest

import pertcore as pc
from pertcore.errors import InputError
from pertcore.evaluation.stream import joined, selected
from tests.attacks.models import network, samples


def near(seed, spread=0.05):
    """A network close to network(0), another for each seed."""
    rng = np.random.default_rng(seed)
    base = np.random.default_rng(0)
    weights = [(base.normal(size=(b, a)) * 2 / np.sqrt(a)) for a, b in ((12, 20), (20, 5))]
    weights = [(w + spread * rng.normal(size=w.shape)).astype(np.float32) for w in weights]
    return pc.from_network(weights, [np.zeros(20), np.zeros(5)], dtype=np.float32)


def test_the_other_model_has_the_last_word():
    surrogates, target, x = [near(1), near(2)], near(3), samples(80)
    y = target(x).argmax(axis=1)
    y[:5] = (y[:5] + 1) % 5
    before = target.calls.copy()
    result = pc.attack(
        pc.ensemble(surrogates), x, y, eps=0.2, evaluate_on=target, batch_size=30
    )  # fmt: skip
    seen = result.transfer
    assert target.calls.vjp == before.vjp and target.calls.f - before.f == 160
    assert not seen.attackable[:5].any() and seen.attackable[5:].all()
    after = target(result.x_adv).argmax(axis=1)
    assert np.array_equal(seen.after, after)
    assert np.array_equal(seen.success, (after != y) & seen.attackable)
    assert np.array_equal(seen.margin < 0, after != y)
    assert 0.3 < seen.fooling_ratio <= 1 and "of the other model" in str(result)


def test_its_success_is_not_that_of_the_attacked_model():
    model, x = network(), samples(60)
    result = pc.attack(model, x, eps=0.1, evaluate_on=network(seed=9))
    assert result.fooling_ratio > result.transfer.fooling_ratio
    assert pc.attack(model, x, eps=0.1).transfer is None
    same = pc.attack(model, x, eps=0.1, evaluate_on=model)
    assert np.array_equal(same.transfer.success, same.success)


def test_targets_and_parts_of_a_result_keep_it():
    model, other, x = near(1), near(2), samples(40)
    target = (other(x).argmax(axis=1) + 1) % 5
    result = pc.attack(model, x, target, targeted=True, eps=1.0, evaluate_on=other)
    reached = other(result.x_adv).argmax(axis=1) == target
    assert np.array_equal(result.transfer.success, reached) and reached.any()
    both = joined([result, result]).transfer
    assert len(both.success) == 80
    part = selected(result, reached).transfer
    assert part.success.all() and len(part.after) == reached.sum()


def test_another_kind_of_model_is_refused_before_any_run():
    model = network()
    for wrong, message in ((network(sizes=(12, 4, 3)), r"gives \(3,\)"), ("b.onnx", "is a str")):
        with pytest.raises(InputError, match=message):
            pc.attack(model, samples(), eps=0.1, evaluate_on=wrong)
    assert model.calls.f == 0
