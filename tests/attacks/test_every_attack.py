"""What every registered attack must keep, whatever its recipe."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import pertcore as pc
from pertcore.attacks.registry import ATTACKS
from pertcore.errors import PertcoreWarning
from pertcore.testing import assert_in_ball
from tests.attacks.models import NORMS, network, run, samples

ALL = sorted(ATTACKS)
GRADIENT = [n for n in ALL if not ATTACKS[n].minimum_norm and not n.startswith("random")]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ALL)
def test_inside_ball_and_box_and_verified(name, norm):
    if ATTACKS[name].subset and not math.isinf(norm):
        with pytest.raises(pc.errors.InputError, match="linf"):
            pc.attack(network(), samples(), attack=name, norm=norm, eps=0.1)
        return
    for dtype in (np.float32, np.float64):
        model, x = network(dtype=dtype), samples(dtype=dtype)
        x[:3], x[3:6] = 0, 1
        eps = np.linspace(0, 0.4, len(x))
        result = run(name, model, x, norm=norm, eps=eps, bounds=(0, 1))
        assert_in_ball(x, result.x_adv, norm=norm, eps=eps, bounds=(0, 1))
        after = model(result.x_adv)
        assert np.array_equal(result.after, after.argmax(axis=1))
        y = model(x).argmax(axis=1)
        truth = np.take_along_axis(after, y[:, None], 1)[:, 0].astype(np.float64)
        others = np.where(np.arange(5) == y[:, None], -np.inf, after.astype(np.float64))
        np.testing.assert_array_equal(result.margin, truth - others.max(axis=1))
        assert np.array_equal(result.success, result.margin < 0)
        assert np.array_equal(result.delta, result.x_adv.astype(float) - x.astype(float))
        assert np.array_equal(result.success, result.status == pc.Status.OK)


@pytest.mark.parametrize("name", GRADIENT)
def test_beats_chance_and_fools_somebody(name):
    model, x = network(), samples(60)
    chance = run("random", model, x, eps=0.15, bounds=(0, 1))
    result = run(name, model, x, eps=0.15 if not ATTACKS[name].subset else 0.6, bounds=(0, 1))
    assert result.fooling_ratio > max(chance.fooling_ratio, 0.1)


@pytest.mark.parametrize("name", ALL)
def test_random_numbers_belong_to_the_sample(name):
    model, x = network(dtype=np.float64), samples(10, dtype=np.float64)
    whole = run(name, model, x, rng=5, deterministic=True)
    tail = run(name, model, x[4:], rng=5, first_index=4, deterministic=True)
    batches = run(name, model, x, rng=5, batch_size=3, deterministic=True)
    np.testing.assert_allclose(tail.x_adv, whole.x_adv[4:], atol=1e-9)
    np.testing.assert_allclose(batches.x_adv, whole.x_adv, atol=1e-9)
    again = run(name, model, x, rng=5, deterministic=True)
    assert np.array_equal(again.x_adv, whole.x_adv)


@pytest.mark.parametrize("name", ALL)
def test_frozen_features_do_not_move(name):
    model, x = network(), samples()
    mask = np.ones(12, dtype=bool)
    mask[:6] = False
    result = run(name, model, x, mask=mask)
    assert np.all(result.delta[:, :6] == 0)
    assert np.any(result.delta[:, 6:] != 0)
    own = np.random.default_rng(0).random(x.shape) < 0.5
    result = run(name, model, x, mask=own, batch_size=7)
    assert np.all(result.delta[~own] == 0)
    assert np.any(result.delta[own] != 0)


@pytest.mark.parametrize("name", [n for n in ALL if ATTACKS[n].aims])
def test_targets_are_reached_where_they_are_claimed(name):
    model, x = network(), samples(40)
    target = (model(x).argmax(axis=1) + 1) % 5
    result = run(name, model, x, target, targeted=True, eps=1.5)
    assert np.array_equal(result.success, model(result.x_adv).argmax(axis=1) == target)
    if name in GRADIENT and not ATTACKS[name].subset and "steps" in ATTACKS[name].options:
        assert result.fooling_ratio > 0.2


@pytest.mark.parametrize("name", ALL)
def test_a_clean_error_is_returned_as_it_is(name):
    model, x = network(), samples()
    y = model(x).argmax(axis=1)
    y[::3] = (y[::3] + 1) % 5
    result = run(name, model, x, y)
    wrong = np.zeros(len(x), dtype=bool)
    wrong[::3] = True
    assert np.array_equal(result.status == pc.Status.CLEAN_ERROR, wrong)
    assert np.all(result.delta[wrong] == 0) and not result.success[wrong].any()
    assert result.robust_accuracy <= 1 - wrong.mean()


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_attacked_with_no_budget(name):
    result = run(name, network(), samples(), eps=0.0)
    assert not result.success.any() and np.all(result.delta == 0)


@pytest.mark.parametrize("name", [n for n in ALL if ATTACKS[n].options.get("restarts")])
def test_restarts_never_lose_a_sample(name):
    model, x = network(), samples(60)
    once = run(name, model, x, eps=0.08)
    more = run(name, model, x, eps=0.08, restarts=4)
    assert np.all(more.success[once.success])
    kept = ~more.success
    assert np.all(more.margin[kept] <= once.margin[kept] + 1e-6)


@pytest.mark.parametrize("name", ALL)
def test_every_ensemble_member_is_fooled_where_success_is_claimed(name):
    members = [network(seed) for seed in (0, 1)]
    x = samples(40)
    same = members[0](x).argmax(axis=1) == members[1](x).argmax(axis=1)
    x = x[same]
    y = members[0](x).argmax(axis=1)
    reduce = "logits" if ATTACKS[name].minimum_norm else "losses"
    result = run(
        name, pc.ensemble(members, reduce=reduce), x, y, eps=None if reduce == "logits" else 0.2
    )
    if reduce == "losses":
        fooled = [member(result.x_adv).argmax(axis=1) != y for member in members]
        assert np.array_equal(result.success, np.all(fooled, axis=0))


def test_a_nan_model_is_reported_not_hidden():
    model = network()
    broken = pc.from_function(
        lambda x: np.where(x[:, :1] > 0.5, np.nan, model(x)).astype(np.float32),
        vjp=lambda x, v: model.linearize(x).vjp(v), jvp=lambda x, u: model.linearize(x).jvp(u),
        input_shape=(12,), output_shape=(5,), dtype=np.float32,
    )  # fmt: skip
    x = samples()
    with pytest.warns(PertcoreWarning, match="NaN"):
        result = pc.attack(broken, x, eps=0.01)
    assert np.array_equal(result.status == pc.Status.NONFINITE, x[:, 0] > 0.5)
    assert np.isnan(result.margin[x[:, 0] > 0.5]).all() and not result.success[x[:, 0] > 0.5].any()


def test_a_zero_gradient_is_reported_not_hidden():
    weights = [np.eye(4, dtype=np.float32) * 50, np.ones((2, 4), dtype=np.float32)]
    weights[1][0] = -1
    model = pc.from_network(weights, [np.full(4, -100.0), np.zeros(2)], activation="relu")
    x = np.full((3, 4), 0.5, dtype=np.float32)
    x[0] = 3
    with pytest.warns(PertcoreWarning, match="exactly zero"):
        result = pc.attack(model, x, y=np.array([1, 0, 0]), eps=0.1)
    assert (result.status[1:] == pc.Status.ZERO_GRADIENT).all()


def test_fooled_samples_leave_the_batch():
    model, x = network(), samples(100)
    result = pc.attack(model, x, eps=0.5, steps=20)
    assert result.fooling_ratio > 0.8
    assert result.calls.f < 0.5 * 20 * len(x)


def test_regression_without_labels_needs_the_dither_and_has_it():
    model = network(sizes=(12, 6, 12), activation="tanh")
    x = samples(20)
    result = pc.attack(model, x, norm=2, eps=0.3, loss="squared_error", steps=5)
    assert result.task == "regression" and result.success.all()
    chance = pc.attack(model, x, attack="random", norm=2, eps=0.3, task="regression")
    assert np.median(result.loss_after) > 2 * np.median(chance.loss_after)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)
        blind = pc.attack(model, x, norm=2, eps=0.3, loss="squared_error", steps=5, dither=0.0)
    assert (blind.status == pc.Status.ZERO_GRADIENT).all()


def test_a_callable_loss_counts_like_a_named_one():
    model, x = network(), samples()
    y = model(x).argmax(axis=1)

    def score(f, labels):
        cotangent = np.zeros_like(f)
        cotangent[np.arange(len(f)), labels] = 1
        return f[np.arange(len(f)), labels], cotangent

    own = pc.attack(model, x, y, eps=0.1, loss=score)
    named = pc.attack(model, x, y, eps=0.1, loss="score")
    assert np.array_equal(own.x_adv, named.x_adv)


def test_progress_is_told_and_an_interrupt_passes_through():
    told = []
    pc.attack(network(), samples(), eps=0.01, steps=4, batch_size=10, callback=told.append)
    assert {p.step for p in told} == {1, 2, 3, 4}
    assert told[-1].total == 24 and all(0 <= p.done <= 24 for p in told)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pc.attack(network(), samples(), eps=0.01, callback=stop)


def test_what_comes_in_goes_out():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = torch.tensor(samples())
    result = pc.attack(network(), x, eps=0.1)
    assert isinstance(result.x_adv, torch.Tensor)
    assert_in_ball(x.numpy(), result.x_adv.numpy(), norm=math.inf, eps=0.1, bounds=None)


def test_the_table_names_status_and_warnings():
    text = str(pc.attack(network(), samples(), eps=0.1))
    assert "fooling ratio" in text and "status" in text and "exact" in text
