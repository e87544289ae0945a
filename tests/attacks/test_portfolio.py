"""The portfolio hands on survivors alone, loses nobody, and sees a masked gradient."""

from __future__ import annotations

import numpy as np
import pytest

import pertcore as pc
from pertcore.errors import PertcoreWarning
from tests.attacks.models import network, samples

STAGES = ["alg1", "apgd-dlr", "apgd-margin", "apgd-ce", "apgd-t", "square"]


def masked(model):
    """The same answers, with a gradient that has nothing to do with them."""

    def lie(x, v):
        return np.cos(40 * x) * np.sign(v.sum(axis=1, keepdims=True) + 1e-3).astype(x.dtype)

    return pc.from_function(
        model, vjp=lie, jvp=lambda x, u: model.linearize(x).jvp(u), input_shape=(12,),
        output_shape=(5,), dtype=np.float32,
    )  # fmt: skip


def test_survivors_alone_go_on_and_every_run_is_counted():
    model, x = network(), samples(80)
    result = pc.attack(model, x, attack="portfolio", eps=0.06, batch_size=30, steps=5)
    assert [stage.name for stage in result.stages] == STAGES
    left = 80
    for stage in result.stages:
        assert stage.entered == left
        left -= stage.fooled
    assert left == np.count_nonzero(~result.success)
    # One clean pass, one repeated for eight samples, one that verifies; the slopes of four.
    assert sum(stage.calls.f for stage in result.stages) == result.calls.f - 2 * 80 - 8 - 3 * 4
    assert sum(stage.calls.vjp for stage in result.stages) == result.calls.vjp - 4
    assert "stage apgd-t" in str(result)


@pytest.mark.parametrize("norm", [2, np.inf])
def test_it_is_at_least_as_strong_as_each_of_its_parts(norm):
    model, x = network(), samples(150)
    eps = 0.05 if norm == np.inf else 0.12
    whole = pc.attack(model, x, attack="portfolio", eps=eps, norm=norm, bounds=(0, 1))
    first = pc.attack(model, x, attack="alg1", eps=eps, norm=norm, bounds=(0, 1))
    assert np.all(whole.success[first.success]) and 0.1 < whole.fooling_ratio < 0.95
    for name in ("apgd", "apgd-t", "pgd"):
        part = pc.attack(model, x, attack=name, eps=eps, norm=norm, bounds=(0, 1), steps=100)
        assert whole.success.sum() >= part.success.sum()


def test_a_masked_gradient_is_told_by_the_black_box():
    model, x = network(), samples(60)
    y = model(x).argmax(axis=1)
    honest = pc.attack(model, x, y, attack="portfolio", eps=0.2)
    assert not any("black-box" in text for text in honest.warnings)
    with pytest.warns(PertcoreWarning, match=r"black-box beat white-box|gradient disagrees"):
        result = pc.attack(masked(model), x, y, attack="portfolio", eps=0.2)
    assert any(text.startswith("black-box beat white-box: square") for text in result.warnings)
    assert result.stages[-1].fooled > 0 and result.fooling_ratio > 0.5


def test_an_unused_budget_is_told_and_a_used_one_is_not():
    model, x = network(), samples(60)
    with pytest.warns(PertcoreWarning, match="budget not used: .* raise steps or step_size"):
        pc.attack(model, x, attack="bim", eps=0.1, steps=3, step_size=0.01)
    for name in ("bim", "pgd", "alg1", "apgd", "portfolio"):
        for norm in (1, 2, np.inf):
            result = pc.attack(model, x, attack=name, eps=0.05, norm=norm, bounds=(0, 1))
            assert not any("budget" in text for text in result.warnings)
    # The box, not the attack, keeps these from going far.
    tight = pc.attack(model, x * 0 + 0.5, eps=5.0, norm=2, bounds=(0.49, 0.51))
    assert not any("budget" in text for text in tight.warnings)
