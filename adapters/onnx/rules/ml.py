"""ONNX-ML's linear, kernel and scaling operators, written in standard ones, with the scores as
ONNX Runtime computes them; labels are no output that has a derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.errors import CapabilityError, ModelError

ML = "ai.onnx.ml"
# Below this a score counts as zero in SOFTMAX_ZERO.
FAINT = 1e-7


def _floats(n: View, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(n.attr(name) or [], np.float32)


def _single(op: Op, x: Tensor) -> Tensor:
    """As float32, the type these operators answer in."""
    return op.Cast(x, to=1)


def _refused(n: View, reason: str) -> CapabilityError:
    return CapabilityError(f"{n.kind} {n.node.label!r}: {reason}")


# Linear models


@lower("LinearRegressor", domain=ML)
def linear_regressor(op: Op, n: View) -> Tensor:
    """x W^T + b."""
    targets = n.attr("targets", 1)
    scores = _affine(op, n, targets)
    return scores if targets == 1 and not _is_probit(n) else _transformed(op, n, scores)


@lower("LinearClassifier", domain=ML)
def linear_classifier(op: Op, n: View) -> list[Tensor | None]:
    """x W^T + b; of one row w, that score s stands beside 1 - s."""
    intercepts = len(n.attr("intercepts") or [])
    classes = intercepts or len(_labels(n))
    scores = _affine(op, n, classes)
    if classes > 1:
        return [None, _transformed(op, n, scores)]
    if _is_probit(n):
        raise _refused(n, "no derivative rule for PROBIT")
    second = op.Sigmoid(scores) if n.attr("post_transform") == "LOGISTIC" else scores
    return [None, op.Concat(1.0 - second, second, axis=1)]


def _affine(op: Op, n: View, rows: int) -> Tensor:
    weights = _floats(n, "coefficients").reshape(rows, -1)
    y = _single(op, n.x) @ op.const(np.ascontiguousarray(weights.T))
    bias = _floats(n, "intercepts")
    return y + op.const(bias) if bias.size else y


def _labels(n: View) -> list[object]:
    given = (n.attr(name) for name in ("classlabels_ints", "classlabels_int64s"))
    whole = next((labels for labels in given if labels), None)
    return list(whole or n.attr("classlabels_strings") or [])


def _is_probit(n: View) -> bool:
    return n.attr("post_transform", "NONE") == "PROBIT"


def _transformed(op: Op, n: View, scores: Tensor) -> Tensor:
    kind = n.attr("post_transform", "NONE")
    if kind == "NONE":
        return scores
    if kind == "LOGISTIC":
        return op.Sigmoid(scores)
    if kind == "SOFTMAX":
        return op.Softmax(scores, axis=-1)
    if kind == "SOFTMAX_ZERO":
        return _softmax_zero(op, scores)
    raise _refused(n, f"no derivative rule for post_transform {kind!r}")


def _softmax_zero(op: Op, scores: Tensor) -> Tensor:
    """Softmax that leaves scores of zero at zero."""
    top = op.ReduceMax(scores, [-1], keepdims=1)
    whole = op.Exp(scores - top)
    parts = op.Where(op.Greater(op.Abs(scores), FAINT), whole, scores * op.Exp(-top))
    return parts / op.ReduceSum(parts, [-1], keepdims=1)


# Support vector machines


@lower("SVMRegressor", domain=ML)
def svm_regressor(op: Op, n: View) -> Tensor:
    """sum_i c_i k(x, v_i) + rho, or x c + rho without support vectors."""
    if n.attr("one_class", 0):
        raise _refused(n, "the gradient of a one-class answer is identically zero")
    if _is_probit(n):
        raise _refused(n, "no derivative rule for PROBIT")
    weights = _floats(n, "coefficients").reshape(-1, 1)
    x = _single(op, n.x)
    values = _kernel(op, n, x, n.attr("n_supports", 0)) if n.attr("n_supports", 0) else x
    return values @ op.const(weights) + op.const(_floats(n, "rho")[:1])


@lower("SVMClassifier", domain=ML)
def svm_classifier(op: Op, n: View) -> list[Tensor | None]:
    """A score a pair of classes from the kernel, or a score a class of a linear machine."""
    if n.attr("prob_a"):
        raise _refused(
            n,
            "its probabilities come out of an iteration without a derivative rule: export the "
            "scores (probability=False)",
        )
    counts = [int(count) for count in n.attr("vectors_per_class") or []]
    x = _single(op, n.x)
    if not sum(counts):
        weights = _floats(n, "coefficients").reshape(max(len(_labels(n)), 1), -1)
        scores = x @ op.const(np.ascontiguousarray(weights.T)) + op.const(_floats(n, "rho")[:1])
        return [None, _transformed(op, n, scores)]
    pairs = _pairs(_floats(n, "coefficients").reshape(-1, sum(counts)), counts)
    rho = _floats(n, "rho")
    if len(rho) != pairs.shape[1]:
        raise ModelError(f"{n.kind} {n.node.label!r}: {len(rho)} rho for {len(counts)} classes")
    scores = _kernel(op, n, x, sum(counts)) @ op.const(pairs) + op.const(rho)
    if len(rho) > 1:
        return [None, _transformed(op, n, scores)]
    kind = n.attr("post_transform", "NONE")
    if kind == "PROBIT":
        raise _refused(n, "no derivative rule for PROBIT")
    first = 1.0 - scores if kind.startswith("SOFTMAX") else -scores
    both = op.Concat(first, scores, axis=1)
    return [None, op.Sigmoid(both) if kind == "LOGISTIC" else both]


def _pairs(dual: np.ndarray[Any, Any], counts: list[int]) -> np.ndarray[Any, Any]:
    """Weights (vectors, pairs): the pair i < j takes row j - 1 for the vectors of class i and
    row i for those of class j (libsvm's layout)."""
    starts = np.cumsum([0, *counts])
    columns = []
    for i in range(len(counts)):
        for j in range(i + 1, len(counts)):
            column = np.zeros(dual.shape[1], np.float32)
            first, second = slice(*starts[i : i + 2]), slice(*starts[j : j + 2])
            column[first], column[second] = dual[j - 1, first], dual[i, second]
            columns.append(column)
    return np.stack(columns, axis=1)


def _kernel(op: Op, n: View, x: Tensor, count: int) -> Tensor:
    """k(x, v) for every support vector v: x.v, (g x.v + r)^d, exp(-g |x - v|^2), tanh(g x.v + r)."""
    vectors = _floats(n, "support_vectors").reshape(count, -1)
    gamma, shift, degree = (float(p) for p in n.attr("kernel_params") or (0.0, 0.0, 0.0))
    kind = n.attr("kernel_type", "LINEAR")
    products = x @ op.const(np.ascontiguousarray(vectors.T))
    if kind == "LINEAR":
        return products
    if kind == "POLY":
        return op.Pow(products * gamma + shift, degree)
    if kind == "SIGMOID":
        return op.Tanh(products * gamma + shift)
    if kind == "RBF":
        # Differences, not the expanded square, which cancels near a support vector.
        apart = op.Unsqueeze(x, [1]) - op.const(vectors)
        return op.Exp(op.ReduceSum(apart * apart, [2], keepdims=0) * -gamma)
    raise _refused(n, f"no derivative rule for kernel_type {kind!r}")


# Preparation of features


@lower("Normalizer", domain=ML)
def normalizer(op: Op, n: View) -> Tensor:
    """x / max x, x / sum |x| or x / |x|_2 along the last axis, zero where that is zero."""
    x = _single(op, n.x)
    kind = n.attr("norm", "MAX")
    if kind == "MAX":
        size = op.ReduceMax(x, [-1], keepdims=1)
    elif kind in ("L1", "L2"):
        size = (op.ReduceL1 if kind == "L1" else op.ReduceL2)(x, [-1], keepdims=1)
    else:
        raise _refused(n, f"no derivative rule for norm {kind!r}")
    return x / op.Where(op.Equal(size, 0.0), op.const(1.0, np.float32), size)


@lower("Scaler", domain=ML)
def scaler(op: Op, n: View) -> Tensor:
    """(x - offset) scale."""
    return (_single(op, n.x) - _floats(n, "offset")) * _floats(n, "scale")


@lower("Imputer", domain=ML)
def imputer(op: Op, n: View) -> Tensor:
    """The imputed value where x is the value to replace, x elsewhere."""
    values = _floats(n, "imputed_value_floats")
    if not values.size:
        raise _refused(n, "integers have no derivative")
    replaced = n.attr("replaced_value_float", 0.0)
    hit = op.IsNaN(n.x) if np.isnan(replaced) else op.Equal(n.x, float(replaced))
    return op.Where(hit, op.const(values, n.x.dtype), n.x)


@lower("FeatureVectorizer", domain=ML)
def feature_vectorizer(op: Op, n: View) -> Tensor:
    """The inputs side by side, (n, sum of their widths)."""
    columns = [_single(op, x) for x in n.i if x is not None]
    widths = n.attr("inputdimensions") or []
    flat = [op.resized(x, [x.shape[0], width]) for x, width in zip(columns, widths, strict=True)]
    return op.Concat(*flat, axis=1)


@lower("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(op: Op, n: View) -> Tensor:
    """Columns of the last axis by index; a vector counts as one row."""
    x = op.Unsqueeze(n.x, [0]) if n.x.rank == 1 else n.x
    return op.Gather(x, op.Reshape(n.b, [-1]), axis=-1)
