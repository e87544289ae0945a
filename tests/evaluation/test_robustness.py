"""Measures of robustness, exact on linear models, where every attack finds the smallest."""

import math

import numpy as np
import pytest

import pertcore as pc
from pertcore.constraints import dual_order
from pertcore.demo import CLASSIFIER, digits
from pertcore.errors import InputError

RNG = np.random.default_rng(1)
A, B = RNG.normal(size=(2, 6)), RNG.normal(size=2)
X = RNG.normal(size=(50, 6))

pytestmark = pytest.mark.filterwarnings("ignore::pertcore.PertcoreWarning")


def exact(norm):
    scores = X @ A.T + B
    slope = np.linalg.norm(A[0] - A[1], dual_order(norm))
    return np.abs(scores[:, 0] - scores[:, 1]) / slope


@pytest.mark.parametrize("norm", [1, 2, math.inf])
@pytest.mark.parametrize(("attack", "close"), [("deepfool", 0.03), ("alg1", 0.06)])
def test_on_a_linear_model_all_measures_are_known(norm, attack, close):
    r = pc.robustness(pc.from_matrix(A, B), X, norm=norm, attack=attack)
    wanted = exact(norm)
    np.testing.assert_allclose(r.linear, wanted, rtol=1e-9)
    assert np.all(r.norms >= wanted) and np.all(r.norms <= (1 + close) * wanted)
    assert r.rho2 == pytest.approx(np.mean(wanted))
    assert r.rho1 == pytest.approx(np.mean(wanted / np.linalg.norm(X, norm, axis=1)), rel=close)
    assert r.eps99 == pytest.approx(np.sort(wanted)[49], rel=close)
    np.testing.assert_allclose(r.quantiles([0.5, 1]), np.sort(wanted)[[24, 49]], rtol=close)


def test_quantiles_are_where_the_fooling_ratio_gets_there():
    x, y = (part[:60] for part in digits())
    r = pc.robustness(pc.from_onnx(CLASSIFIER, threads=1), x, y, bounds=(0, 1))
    right = r.norms[r.attackable]
    for level, eps in zip((0.1, 0.5, 0.77, 1.0), r.quantiles([0.1, 0.5, 0.77, 1.0])):
        assert np.mean(right <= eps) >= level > np.mean(right < eps)


def test_a_search_never_finds_less_than_there_is_and_stays_near_deepfool():
    x, y = (part[:40] for part in digits())
    model = pc.from_onnx(CLASSIFIER, threads=1)
    both = [pc.robustness(model, x, y, bounds=(0, 1), attack=a) for a in ("deepfool", "alg1")]
    assert both[1].rho1 == pytest.approx(both[0].rho1, rel=0.15)
    assert both[0].rho2 == both[1].rho2


def test_who_is_wrong_and_who_is_never_fooled():
    y = (X @ A.T + B).argmax(axis=1)
    y[:5] = 1 - y[:5]
    r = pc.robustness(pc.from_matrix(A, B), X, y, norm=2, attack="alg1", largest=0.3)
    assert not r.attackable[:5].any() and not r.norms[:5].any() and not r.linear[:5].any()
    beyond = r.attackable & (exact(2) > 0.3)
    assert beyond.any() and np.all(np.isinf(r.norms[beyond]))
    assert math.isinf(r.eps99) and "never fooled" in str(r)


def test_the_zero_input_is_left_out_of_the_relative_measure():
    x = np.vstack([np.zeros(6), X])
    r = pc.robustness(pc.from_matrix(A, B), x, norm=2)
    assert math.isfinite(r.rho1)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"tolerance": 0}, "tolerance"), ({"largest": -1}, "largest"), ({"eps": 1}, "eps"),
     ({"task": "regression"}, "regression|classif")],
)  # fmt: skip
def test_wrong_calls_are_refused_before_the_model_runs(wrong, named):
    model = pc.from_matrix(A, B)
    with pytest.raises((InputError, TypeError), match=named):
        pc.robustness(model, X, **wrong)
    assert model.calls.f == 0


def test_wrong_levels_are_refused():
    with pytest.raises(InputError, match="levels"):
        pc.robustness(pc.from_matrix(A, B), X, norm=2).quantiles([0.5, 1.5])


def test_the_number_of_features_has_no_linear_estimate():
    r = pc.robustness(pc.from_matrix(A, B), X, norm=0, attack="fmn", bounds=(-5, 5))
    assert math.isnan(r.rho2) and math.isfinite(r.rho1)
    assert np.all(r.norms == np.floor(r.norms)) and r.norms.max() <= 6
