"""`from_sklearn`: a fitted model in closed form where that is trivial, else by ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.adapters.matrix import MatrixOracle, from_matrix
from pertcore.adapters.network import NetworkOracle, from_network
from pertcore.adapters.normalized import normalized
from pertcore.errors import BackendError, InputError, ModelError
from pertcore.oracle import Oracle

# Those whose decision function, or prediction, is coef_ x + intercept_.
LINEAR = (
    "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV",
    "SGDRegressor", "LinearSVR", "HuberRegressor", "BayesianRidge", "LogisticRegression",
    "LogisticRegressionCV", "LinearSVC", "SGDClassifier", "Perceptron", "RidgeClassifier",
    "RidgeClassifierCV", "LinearDiscriminantAnalysis",
)  # fmt: skip
ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}


def from_sklearn(model: Any, *, dtype: Any = np.float32) -> Oracle:
    """Oracle of a fitted scikit-learn model or pipeline of samples (d,).

    Linear models and multilayer perceptrons are taken from their coefficients, with StandardScaler
    or MinMaxScaler before them: a classifier gives its decision function, so logits (K,), or one
    logit (1,) for two classes, and a regressor its prediction. Everything else goes through
    skl2onnx and `from_onnx`, float32; a classifier gives probabilities there. Labels y are places
    in `model.classes_`.

    Raises InputError for what is not fitted or no model of scikit-learn, BackendError where
    skl2onnx is needed and missing, ModelError where it has no conversion, CapabilityError where
    what it makes has no derivative (trees are steps).
    """
    if not hasattr(model, "n_features_in_") or not hasattr(model, "predict"):
        raise InputError(
            f"model is a {type(model).__name__}: expected a fitted classifier, regressor or "
            "pipeline of scikit-learn"
        )
    steps = [step for _, step in getattr(model, "steps", [("", model)])]
    found = _closed(steps[-1], dtype)
    scalings = [_scaling(step) for step in steps[:-1] if step not in (None, "passthrough")]
    if found is None or None in scalings:
        return _converted(model)
    oracle: Oracle = found
    for mean, std in filter(None, reversed(scalings)):
        oracle = normalized(oracle, mean, std)
    return oracle


def _closed(model: Any, dtype: Any) -> MatrixOracle | NetworkOracle | None:
    name = type(model).__name__
    if name in LINEAR:
        rows = np.atleast_2d(model.coef_)
        return from_matrix(rows, np.broadcast_to(model.intercept_, len(rows)), dtype=dtype)
    if name in ("MLPClassifier", "MLPRegressor"):
        return from_network(
            [w.T for w in model.coefs_], model.intercepts_,
            activation=ACTIVATIONS[model.activation], dtype=dtype,
        )  # fmt: skip
    return None


def _scaling(step: Any) -> tuple[Any, Any] | None:
    """(mean, std) of a step that does (x - mean) / std, else None."""
    name = type(step).__name__
    if name == "StandardScaler":
        mean = step.mean_ if step.with_mean else np.zeros(step.n_features_in_)
        return mean, step.scale_ if step.with_std else np.ones(step.n_features_in_)
    if name == "MinMaxScaler" and not step.clip:
        return -step.min_ / step.scale_, 1 / step.scale_
    return None


def _converted(model: Any) -> Oracle:
    try:
        import skl2onnx
    except ModuleNotFoundError as error:
        raise BackendError(
            f"{type(model).__name__} goes through ONNX, and {error.name} is not installed: "
            "pip install 'pertcore[sklearn]'"
        ) from error
    from pertcore.adapters.onnx.adapter import from_onnx

    classifies = hasattr(model, "classes_")
    kind = skl2onnx.common.data_types.FloatTensorType([None, model.n_features_in_])
    try:
        made = skl2onnx.convert_sklearn(
            model, initial_types=[("x", kind)],
            options={"zipmap": False} if classifies else None,
        )  # fmt: skip
    except (RuntimeError, NotImplementedError, NameError) as error:
        raise ModelError(f"skl2onnx cannot convert {type(model).__name__}: {error}") from error
    return from_onnx(
        made, output="probabilities" if classifies else None, input_shape=(model.n_features_in_,)
    )
