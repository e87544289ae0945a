"""Curves of regressions: the exact loss on linear models, monotone and never below an attack."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import pertcore as pc
from pertcore.constraints import dual_order
from pertcore.demo import AUTOENCODER, digits
from pertcore.errors import InputError

RNG = np.random.default_rng(0)
A = RNG.normal(size=(1, 6))
X = RNG.normal(size=(9, 6))
BUDGETS = np.array([0, 0.05, 0.2, 0.7])

pytestmark = pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")


def linear():
    return pc.from_matrix(A, np.zeros(1))


def images(n=20):
    x, _ = digits()
    return pc.from_onnx(AUTOENCODER, threads=1), x[:n]


@pytest.mark.parametrize("norm", [1, 2, 3, math.inf])
def test_on_one_linear_output_it_is_exact(norm):
    """Of one linear output the worst squared error is (eps norm_q(a))^2 for every attack."""
    c = pc.curve(linear(), X, eps=BUDGETS, norm=norm, attack="quadratic", task="regression")
    exact = (BUDGETS * np.linalg.norm(A[0], dual_order(norm))) ** 2
    np.testing.assert_allclose(c.loss, np.broadcast_to(exact[:, None], c.loss.shape), rtol=1e-8)
    np.testing.assert_allclose(c.metrics["mse"], c.loss, rtol=1e-8)
    np.testing.assert_allclose(c.psnr[1:], -10 * np.log10(exact[1:]), rtol=1e-8)
    assert math.isnan(c.psnr[0]) and np.all(c.metrics["psnr_out"][0] == np.inf)
    np.testing.assert_array_equal(c.fooling_ratio, [0, 1, 1, 1])


@pytest.mark.parametrize("attack", ["quadratic", "pgd", "random"])
def test_the_loss_never_falls_and_is_never_below_a_separate_attack(attack):
    model, x = images()
    options = {"attack": attack, "bounds": (0, 1), "norm": 2}
    grid = [1.0, 0.3, 0.31, 0.0, 0.32]
    c = pc.curve(model, x, eps=grid, **options)
    np.testing.assert_array_equal(c.eps, np.unique(grid))
    assert np.all(np.diff(c.loss, axis=0) >= 0)
    for eps, loss, norms in zip(c.eps, c.loss, c.norms, strict=True):
        alone = pc.attack(model, x, eps=eps, **options)
        assert np.all(loss >= alone.loss_after) and np.all(norms <= eps)
        assert np.all((loss > alone.loss_after) | (norms == alone.norms))


def test_what_it_returns_is_verified():
    model, x = images()
    c = pc.curve(model, x, eps=[0.1, 0.5], bounds=(0, 1), norm=2, attack="random")
    error = np.mean((model(c.x_adv).astype(float) - model(x)).reshape(len(x), -1) ** 2, axis=1)
    np.testing.assert_allclose(c.metrics["mse"][-1], error, rtol=1e-5)
    moved = np.linalg.norm((c.x_adv.astype(float) - x).reshape(len(x), -1), axis=1)
    np.testing.assert_allclose(moved, c.norms[-1], rtol=1e-12)


def fallible(eps_seen):
    """An attack that finds nothing at every second budget: what is known must stay."""

    def recipe(problem, lin):
        eps_seen.append(problem.ball.eps[0])
        away = np.zeros_like(problem.x)
        if len(eps_seen) % 2:
            away[:, 0] = problem.ball.eps
        return problem.x + away, np.zeros(len(away), np.int8)

    return recipe


def test_a_point_is_kept_where_the_attack_finds_none_worse():
    seen = []
    row = replace(pc.attacks.ATTACKS["linear"], recipe=fallible(seen), options={})
    c = pc.curve(linear(), X, eps=[0.1, 0.2, 0.3], attack=row, norm=2, task="regression")
    assert len(seen) == 3
    np.testing.assert_allclose(c.loss.T, [(A[0, 0] * np.array([0.1, 0.1, 0.3])) ** 2] * len(X))
    np.testing.assert_array_equal(c.carried, [0, len(X), 0])
    np.testing.assert_allclose(c.norms[1], 0.1)


def test_metrics_may_have_any_name_and_a_band_holds_the_mean():
    model, x = images()
    metrics = {"norms": lambda f, y: np.abs(f - y).max(axis=1)}
    c = pc.curve(model, x, eps=[0.0, 0.2], bounds=(0, 1), norm=2, metrics=metrics, attack="linear")
    assert np.all(c.norms[1] <= 0.2) and np.all(c.metrics["norms"][0] == 0)
    low, high = c.band("mse")
    assert np.all(low <= c.mean("mse")) and np.all(c.mean("mse") <= high)
    mean, error = c.mean("mse")[1], stats.sem(c.metrics["mse"][1])
    wanted = stats.t.interval(0.9, len(x) - 1, loc=mean, scale=error)
    np.testing.assert_allclose(np.array(c.band("mse", 0.9))[:, 1], wanted)
    with pytest.raises(InputError, match="ssim"):
        c.mean("ssim")
    with pytest.raises(InputError, match="level"):
        c.band(level=1)


def test_print_names_what_it_counts():
    model, x = images(3)
    text = str(pc.curve(model, x, eps=[0.1, 0.2], bounds=(0, 1), attack="linear"))
    assert "output PSNR, dB" in text and "3 samples" in text
