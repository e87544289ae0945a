"""`from_sklearn`: the model's own decision function or prediction, with exact derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import pertcore as pc
from pertcore.errors import CapabilityError, InputError
from pertcore.testing import assert_oracle

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn import (
    discriminant_analysis,
    ensemble,
    linear_model,
    neural_network,
    pipeline,
    preprocessing,
    svm,
)

X = np.random.default_rng(0).normal(size=(90, 5)) * [1, 2, 0.5, 1, 3] + [0, 1, 0, -1, 2]
CLASSES = np.array([30, 10, 20])[(X[:, 0] > 0) + (X[:, 1] > 2).astype(int)]
TWO = np.where(X[:, 0] + X[:, 2] > 0, "yes", "no")
VALUES = np.stack([X @ [1, 0, 2, 0, 0.3], np.sin(X[:, 0])], axis=1)
SMALL = {"hidden_layer_sizes": (7, 4), "max_iter": 3000, "tol": 1e-3, "random_state": 0}

CLASSIFIERS = [
    linear_model.LogisticRegression(), linear_model.SGDClassifier(random_state=0),
    linear_model.Perceptron(), linear_model.RidgeClassifier(), svm.LinearSVC(),
    discriminant_analysis.LinearDiscriminantAnalysis(),
]  # fmt: skip
REGRESSORS = [
    linear_model.LinearRegression(), linear_model.LinearRegression(fit_intercept=False),
    linear_model.Ridge(), linear_model.Lasso(0.01), linear_model.ElasticNet(0.01),
    *(neural_network.MLPRegressor(activation=a, **SMALL) for a in ("relu", "tanh", "logistic")),
]  # fmt: skip
SCALERS = [
    preprocessing.StandardScaler(), preprocessing.StandardScaler(with_mean=False),
    preprocessing.StandardScaler(with_std=False), preprocessing.MinMaxScaler((-1, 2)),
]  # fmt: skip


def named(models):
    return [pytest.param(model, id=str(model)[:40]) for model in models]


@pytest.mark.parametrize("labels", [CLASSES, TWO], ids=["three", "two"])
@pytest.mark.parametrize("model", named(CLASSIFIERS))
def test_a_linear_classifier_gives_its_decision_function(model, labels):
    model.fit(X, labels)
    oracle = pc.from_sklearn(model, dtype=np.float64)
    own = model.decision_function(X).reshape(len(X), -1)
    np.testing.assert_allclose(oracle(X), own, rtol=1e-9, atol=1e-9)
    assert_oracle(oracle, X[:4])
    r = pc.attack(oracle, X, attack="deepfool", norm=2)
    assert r.success.all()
    assert np.array_equal(model.classes_[r.before], model.predict(X))
    assert np.array_equal(model.classes_[r.after], model.predict(r.x_adv))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("targets", [VALUES, VALUES[:, 0]], ids=["two", "one"])
@pytest.mark.parametrize("model", named(REGRESSORS))
def test_a_regressor_gives_its_prediction(model, targets):
    model.fit(X, targets)
    oracle = pc.from_sklearn(model, dtype=np.float64)
    own = model.predict(X).reshape(len(X), -1)
    np.testing.assert_allclose(oracle(X), own, rtol=1e-9, atol=1e-9)
    assert_oracle(oracle, X[:4])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("labels", [CLASSES, TWO], ids=["three", "two"])
def test_a_perceptron_gives_logits(labels):
    model = neural_network.MLPClassifier(**SMALL).fit(X, labels)
    z = pc.from_sklearn(model, dtype=np.float64)(X)
    if z.shape[1] == 1:
        shares = np.hstack([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))])
    else:
        shares = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, model.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("scaler", named(SCALERS))
def test_scalers_before_it_keep_the_units_of_x(scaler):
    model = pipeline.make_pipeline(
        scaler, preprocessing.MinMaxScaler(), "passthrough", linear_model.LogisticRegression()
    ).fit(X, CLASSES)
    oracle = pc.from_sklearn(model, dtype=np.float64)
    np.testing.assert_allclose(oracle(X), model.decision_function(X), rtol=1e-9, atol=1e-9)
    assert_oracle(oracle, X[:4])


def test_others_go_through_onnx():
    pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    x = X.astype(np.float32)
    regressor = pipeline.make_pipeline(preprocessing.StandardScaler(), svm.SVR()).fit(
        x, VALUES[:, 0]
    )
    oracle = pc.from_sklearn(regressor)
    np.testing.assert_allclose(oracle(x)[:, 0], regressor.predict(x), rtol=1e-3, atol=1e-4)
    assert_oracle(oracle, x[:4])
    chained = pipeline.make_pipeline(
        preprocessing.PolynomialFeatures(2), linear_model.LogisticRegression(max_iter=5000)
    ).fit(x, CLASSES)
    oracle = pc.from_sklearn(chained)
    np.testing.assert_allclose(oracle(x), chained.predict_proba(x), atol=1e-4)
    with pytest.raises(CapabilityError, match="TreeEnsemble"):
        trees = ensemble.RandomForestClassifier(3, random_state=0).fit(x, CLASSES)
        pc.attack(pc.from_sklearn(trees), x, eps=0.1)


def test_what_is_no_fitted_model_is_refused():
    for wrong in (3, linear_model.LogisticRegression(), preprocessing.StandardScaler().fit(X)):
        with pytest.raises(InputError, match=type(wrong).__name__):
            pc.from_sklearn(wrong)
