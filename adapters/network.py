"""A multilayer perceptron in NumPy with exact derivatives: an example, and an oracle for tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pertcore.adapters.shapes import as_batch, as_many, checked_dtype, checked_shape
from pertcore.errors import InputError
from pertcore.oracle import Array, Calls


def _logistic(z: Array) -> Array:
    return (0.5 * (1 + np.tanh(0.5 * z))).astype(z.dtype, copy=False)


# name -> (activation of z, its derivative from z and the activation a)
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]] = {
    "identity": (lambda z: z, lambda z, _: np.ones_like(z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z, _: (z > 0).astype(z.dtype)),
    "tanh": (np.tanh, lambda _, a: 1 - a * a),
    "sigmoid": (_logistic, lambda _, a: a * (1 - a)),
    "softplus": (lambda z: np.logaddexp(z, z.dtype.type(0)), lambda z, _: _logistic(z)),
}


def from_network(
    weights: Sequence[Any],
    biases: Sequence[Any],
    *,
    activation: str = "relu",
    dtype: Any = np.float32,
    input_shape: int | tuple[int, ...] | None = None,
) -> NetworkOracle:
    """Oracle of a perceptron: a_0 = x, a_l = phi(W_l a_{l-1} + b_l), no phi after the last layer.

    W_l is (h_l, h_{l-1}), b_l (h_l,); phi is "relu" (derivative 0 at 0), "tanh", "sigmoid",
    "softplus" or "identity". `input_shape` None means (h_0,). Raises InputError where the
    layers do not fit.
    """
    kind = checked_dtype(dtype)
    if activation not in ACTIVATIONS:
        raise InputError(f"activation={activation!r}: allowed are {', '.join(ACTIVATIONS)}")
    w = tuple(np.ascontiguousarray(layer, kind) for layer in weights)
    b = tuple(np.asarray(layer, kind) for layer in biases)
    fits = len(w) == len(b) > 0 and all(
        m.ndim == 2 and v.shape == m.shape[:1] for m, v in zip(w, b)
    )
    if not fits or any(m.shape[1] != v.shape[0] for m, v in zip(w[1:], b)):
        raise InputError(
            f"weights {[m.shape for m in w]} and biases {[v.shape for v in b]}: expected "
            "(h_l, h_{l-1}) and (h_l,) for each layer"
        )
    shape = checked_shape(w[0].shape[1] if input_shape is None else input_shape, "input_shape")
    if math.prod(shape) != w[0].shape[1]:
        raise InputError(f"input_shape={shape}: the first layer takes {w[0].shape[1]} entries")
    return NetworkOracle(w, b, activation, shape)


@dataclass(eq=False)
class NetworkOracle:
    """What `from_network` returns."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    activation: str
    input_shape: tuple[int, ...]
    calls: Calls = field(default_factory=Calls)
    capabilities: frozenset[str] = frozenset({"vjp", "jvp", "take", "exact"})

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.biases[-1].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.weights[0].dtype

    def __call__(self, x: Array) -> Array:
        return self.linearize(x).value

    def linearize(self, x: Array) -> NetworkPoint:
        batch = as_batch(x, self.input_shape, self.dtype)
        self.calls.f += len(batch)
        activate, derivative = ACTIVATIONS[self.activation]
        a, slopes = batch.reshape(len(batch), math.prod(self.input_shape)), []
        for w, b in zip(self.weights[:-1], self.biases[:-1]):
            z = a @ w.T + b
            a = activate(z)
            slopes.append(derivative(z, a))
        return NetworkPoint(self, a @ self.weights[-1].T + self.biases[-1], tuple(slopes))


@dataclass(frozen=True, eq=False)
class NetworkPoint:
    """A perceptron at n points, J = W_L D_{L-1} ... D_1 W_1; `slopes` holds the diagonals D_l."""

    oracle: NetworkOracle
    value: Array
    slopes: tuple[Array, ...]

    def take(self, index: Array) -> NetworkPoint:
        slopes = tuple(slope[index] for slope in self.slopes)
        return replace(self, value=self.value[index], slopes=slopes)

    def vjp(self, cotangent: Array) -> Array:
        oracle = self.oracle
        v = as_many(cotangent, len(self.value), oracle.output_shape, oracle.dtype)
        oracle.calls.vjp += math.prod(v.shape[:-1])
        for w, slope in zip(oracle.weights[:0:-1], self.slopes[::-1]):
            v = (v @ w) * slope
        return (v @ oracle.weights[0]).reshape(*v.shape[:-1], *oracle.input_shape)

    def jvp(self, tangent: Array) -> Array:
        oracle = self.oracle
        u = as_many(tangent, len(self.value), oracle.input_shape, oracle.dtype)
        oracle.calls.jvp += math.prod(u.shape[:-1])
        for w, slope in zip(oracle.weights[:-1], self.slopes):
            u = (u @ w.T) * slope
        return u @ oracle.weights[-1].T
