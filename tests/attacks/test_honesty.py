"""What may mislead is found and named, and what is sound is not refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import pertcore as pc
from pertcore.attacks.registry import ATTACKS, Attack
from pertcore.errors import InputError, PertcoreWarning
from tests.attacks.models import network, run, samples


def test_every_attack_is_a_function():
    assert {name.replace("_", "-") for name in dir(pc.attacks)} == set(ATTACKS)
    for name in dir(pc.attacks):
        assert isinstance(getattr(pc.attacks, name), Attack)


def with_nans(model, bad):
    def f(x):
        out = np.array(model(x))
        out[bad(x)] = np.nan
        return out

    return pc.from_function(
        f, vjp=lambda x, v: model.linearize(x).vjp(v),
        jvp=lambda x, u: model.linearize(x).jvp(u), input_shape=(12,), output_shape=(5,),
        dtype=np.float32,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_a_broken_answer_is_neither_an_error_nor_robust(name):
    x = samples()
    model = network()
    broken = with_nans(model, lambda x: x[:, 0] > 0.5)
    bad = x[:, 0] > 0.5
    for y in (None, np.full(len(x), 3)):
        with pytest.warns(PertcoreWarning, match="NaN"):
            result = run(name, broken, x, y, eps=0.01)
        assert np.all(result.status[bad] == pc.Status.NONFINITE)
        assert np.all(result.before[bad] == -1) and not result.success[bad].any()
        assert np.all(result.delta[bad] == 0)
        assert result.robust_accuracy <= 1 - bad.mean()


def test_a_saturated_model_is_not_taken_for_a_constant_one():
    weights = [np.eye(2, 12, dtype=np.float32) * 500]
    linear = pc.from_network(weights, [np.zeros(2, np.float32)])

    def f(x):
        z = linear(x)
        return (z[:, ::-1] < z).astype(np.float32)

    soft = pc.from_function(
        f, vjp=lambda x, v: np.zeros_like(x), jvp=lambda x, u: u, input_shape=(12,),
        output_shape=(2,), dtype=np.float32,
    )  # fmt: skip
    x = samples()
    x[:, 0] = 2
    for few in (x, x[:1]):
        with pytest.warns(PertcoreWarning, match="softmax|zero"):
            result = pc.attack(soft, few, eps=0.1)
        assert np.all(result.status == pc.Status.ZERO_GRADIENT)


def test_a_later_batch_of_a_data_set_is_not_checked_again():
    constant = pc.from_matrix(np.zeros((3, 12)), np.array([1.0, 2.0, 3.0]), dtype=np.float32)
    with pytest.warns(PertcoreWarning, match="zero"):
        pc.attack(constant, samples(), eps=0.1, first_index=24)


def test_a_flat_draw_does_not_end_a_dithered_sample():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(6, 12)), rng.normal(size=(3, 6))]
    model = pc.from_network(weights, [np.full(6, -3.0), np.zeros(3)], activation="relu")
    x = samples(200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)
        few, many = (
            pc.attack(model, x, eps=0.6, steps=steps, dither=0.3, rng=0) for steps in (1, 10)
        )
    assert 0 < np.count_nonzero(few.norms) < np.count_nonzero(many.norms)
    assert np.all((many.norms == 0) == (many.status == pc.Status.ZERO_GRADIENT))


def test_an_ensemble_judges_before_and_after_by_one_rule():
    members = [network(seed) for seed in (0, 1)]
    x = samples(60)
    y = pc.ensemble(members)(x).mean(axis=1).argmax(axis=1)
    result = pc.attack(pc.ensemble(members), x, y, eps=1e-9)
    assert not result.success.any()


def test_random_spends_the_whole_budget_under_a_mask():
    x = samples(dtype=np.float64)
    mask = np.zeros(12, dtype=bool)
    mask[:4] = True
    result = run("random", network(dtype=np.float64), x, norm=2, eps=0.3, mask=mask)
    np.testing.assert_allclose(result.norms, 0.3, rtol=1e-6)


def test_a_single_logit_leaves_an_exact_tie():
    model = pc.from_matrix(np.ones((1, 3)), np.zeros(1), dtype=np.float64)
    x = np.array([[0.0, 0.5, -0.5], [1.0, 1.0, 1.0]])
    for name in ("deepfool", "minnorm"):
        assert pc.attack(model, x, attack=name, norm=2).success.all()


def test_deterministic_and_random_report_progress():
    for name in ("random", "random-pixel", "alg1"):
        told = []
        run(name, network(), samples(), callback=told.append)
        assert told


def test_a_named_loss_has_its_own_direction():
    with pytest.raises(InputError, match="callable"):
        pc.attack(network(), samples(), eps=0.1, goal="maximise")


def made(f, vjp, d=12, k=3, dtype=np.float32):
    return pc.from_function(
        f, vjp=vjp, jvp=lambda x, u: np.zeros((len(x), k), dtype), input_shape=(d,),
        output_shape=(k,), dtype=dtype,
    )  # fmt: skip


def warned(model, x, **settings):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = pc.attack(model, x, eps=0.1, **settings)
    texts = [str(w.message) for w in seen if issubclass(w.category, PertcoreWarning)]
    assert set(texts) == set(result.warnings)
    return [text.split(":")[0] for text in texts]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_an_honest_gradient_is_not_doubted(dtype, activation):
    for scale in (1e-3, 1, 255):
        x = samples(40, dtype=dtype) * dtype(scale)
        inner = network(7, dtype=dtype, activation=activation)
        assert warned(pc.normalized(inner, 0.0, scale), x) == []


def test_a_stand_in_for_a_step_is_named():
    inner, x = network(3), samples(40)

    def stepped(points):
        return inner(np.round(points * 4) / 4)

    model = made(stepped, lambda p, v: inner.linearize(p).vjp(v), k=5)
    assert "gradient disagrees" in warned(model, x)
    assert "gradient disagrees" not in warned(model, x, attack="random")
    opposite = made(inner, lambda p, v: -inner.linearize(p).vjp(v), k=5)
    assert "gradient disagrees" in warned(opposite, x)


def test_a_saturated_gradient_is_named():
    inner, x = network(3), samples(40)

    def soft(points):
        z = 60 * inner(points)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def back(points, v):
        p = soft(points)
        return inner.linearize(points).vjp(60 * p * (v - (p * v).sum(axis=1, keepdims=True)))

    names = warned(made(soft, back, k=5), x)
    assert {"vanishing gradient", "softmax outputs"} <= set(names)


def test_a_random_model_is_named():
    inner, rng = network(3), np.random.default_rng(0)
    noisy = made(
        lambda x: inner(x) + rng.normal(size=(len(x), 5)).astype(np.float32),
        lambda p, v: inner.linearize(p).vjp(v), k=5,
    )  # fmt: skip
    assert "random model" in warned(noisy, samples(40))


def test_a_probability_of_one_logit_is_named():
    model = pc.from_network(
        [np.ones((1, 12)), np.ones((1, 1))], [np.full(1, -6.0), np.zeros(1)], activation="sigmoid"
    )
    assert "probability output" in warned(model, samples(40))
    assert "probability output" not in warned(model, samples(40), decision=0.5)


def test_results_that_contradict_each_other_are_named():
    model, x = network(), samples(80)
    y = model(x).argmax(axis=1)
    with pytest.warns(PertcoreWarning, match="budget not used"):
        weak = pc.attack(model, x, y, eps=0.3, attack="bim", step_size=1e-4)
    strong = pc.attack(model, x, y, eps=0.1, attack="bim")
    chance = pc.attack(model, x, y, attack="random", eps=0.2, restarts=50)
    assert pc.doubts([strong, pc.attack(model, x, y, eps=0.3, attack="bim")]) == []
    texts = pc.doubts([weak, strong, chance])
    assert [text.split(":")[0] for text in texts] == [
        "accuracy not monotone in eps", "black-box beat white-box",
    ]  # fmt: skip
    assert f"bim fools {strong.success.sum()} samples at eps=0.1" in texts[0]
    alone = np.count_nonzero(chance.success & ~weak.success)
    assert f"random at eps=0.2 fools {alone} samples" in texts[1]
    assert pc.doubts([chance]) == pc.doubts([]) == []
    with pytest.raises(InputError, match=r"\[40, 80\] samples"):
        pc.doubts([strong, pc.attack(model, x[:40], y[:40], eps=0.1)])
