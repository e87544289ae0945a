"""The portfolio hands on survivors alone, loses nobody, and sees a masked gradient."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import pertcore as pc
from pertcore.attacks.registry import Attack
from pertcore.errors import PertcoreWarning
from tests.attacks.models import network, samples

STAGES = ["alg1", "apgd-dlr", "apgd-margin", "apgd-ce", "fmn", "apgd-blocks", "apgd-t", "square"]


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


def asleep(eps):
    """Class 1 of an 8 x 8 image wakes up once its mean has risen by more than eps / 2."""

    def slope(x):
        return np.maximum(x.mean(axis=(1, 2, 3)) - 0.5 - eps / 2, 0) * 100

    def values(x):
        return np.stack([np.ones(len(x)), slope(x)], axis=1).astype(x.dtype)

    def pull(x, v):
        share = v[:, 1] * (slope(x) > 0) * 100 / 64
        return np.broadcast_to(share[:, None, None, None], x.shape).astype(x.dtype)

    return pc.from_function(
        values, vjp=pull, input_shape=(1, 8, 8), output_shape=(2,), dtype=np.float64
    )


def test_patterns_of_blocks_wake_a_unit_that_no_gradient_sees():
    x, eps = np.full((12, 1, 8, 8), 0.5), 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)  # that the gradient is zero is told
        apart = pc.attack(asleep(eps), x, attack="apgd", loss="margin", eps=eps, restarts=10)
        whole = pc.attack(asleep(eps), x, attack="portfolio", eps=eps, steps=5)
    assert not apart.success.any()
    blocks = next(stage for stage in whole.stages if stage.name == "apgd-blocks")
    assert blocks.entered == 12 and blocks.fooled >= 10
    assert np.all(whole.norms <= eps)


@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_a_start_in_blocks_has_the_whole_budget_and_equal_entries_in_a_block(norm):
    from pertcore.attacks.starts import in_blocks

    taken = {}

    def seen(problem):
        taken["starts"] = [in_blocks(problem, restart) - problem.x for restart in range(7)]
        return problem.x, np.zeros(len(problem), np.int8)

    x = np.random.default_rng(0).uniform(0.4, 0.6, (5, 3, 8, 6))
    mask = np.ones((3, 8, 6), bool)
    mask[0, 0] = False
    row = Attack("seen", "", seen, {}, at_x=False, blind=True)
    matrix = np.random.default_rng(1).normal(size=(2, 144))
    model = pc.from_matrix(matrix, input_shape=(3, 8, 6))
    pc.attack(model, x, attack=row, eps=0.2, norm=norm, bounds=(0, 1), mask=mask)
    for restart, delta in enumerate(taken["starts"]):
        length = np.linalg.norm(delta, norm, axis=1)
        assert np.all(length <= 0.2) and np.all(length > 0.2 - 1e-6)
        side = 8 // 2 ** min(restart % 5, 3)
        image = delta.reshape(5, 3, 8, 6)
        assert np.all(image[:, 0, 0] == 0)
        corner = image[:, 1:, :side, : min(side, 6)]
        assert np.ptp(corner, axis=(2, 3)).max() < 1e-6
    assert not np.array_equal(taken["starts"][0], taken["starts"][5])
