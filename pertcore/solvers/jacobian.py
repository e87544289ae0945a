"""The Jacobian of a model at a point for whoever computes with it: an operator, never a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from pertcore.arrays import as_numpy
from pertcore.errors import InputError
from pertcore.oracle import Array, Oracle
from pertcore.solvers.columns import MAX_MEMORY, vectors_at_once
from pertcore.solvers.products import Products


def jacobian(model: Oracle, x: Any) -> Jacobian:
    """J of the model at one sample x as a scipy.sparse.linalg.LinearOperator of shape (K, d).

    x: (*sample) or (1, *sample). d and K are the entries of a sample and of its output, flattened
    in C order; the dtype is the model's. The model runs once, here. A product with a matrix is
    one batched call. Raises InputError for another x, CapabilityError where the model lacks J u
    or J^T v.
    """
    products, value, _ = linearized(model, x)
    if len(products) != 1:
        raise InputError(
            f"x holds {len(products)} samples: a Jacobian is taken at one; give x[i], or call "
            "pertcore.singular_vectors and pertcore.spectral_norm, which take batches"
        )
    return Jacobian(products, value[0])


class Jacobian(LinearOperator):
    """What `jacobian` returns: matvec J v, rmatvec J^T u, matmat, rmatmat and all that SciPy adds.

    value: f(x), (*output). jvps, vjps: vectors multiplied so far.
    """

    def __init__(self, products: Products, value: Array) -> None:
        super().__init__(products.dtype, (products.outputs, products.d))
        self.products, self.value = products, value
        self.jvps = self.vjps = 0

    def _matmat(self, x: Array) -> Array:
        self.jvps += x.shape[1]
        return self._blocks(self.products.push, x, self.shape[0])

    def _rmatmat(self, x: Array) -> Array:
        self.vjps += x.shape[1]
        return self._blocks(self.products.pull, x, self.shape[1])

    def _matvec(self, x: Array) -> Array:
        return self._matmat(x.reshape(-1, 1))[:, 0]

    def _rmatvec(self, x: Array) -> Array:
        return self._rmatmat(x.reshape(-1, 1))[:, 0]

    def _blocks(self, multiply: Callable[[Array], Array], x: Array, rows: int) -> Array:
        if np.iscomplexobj(x):
            real, imaginary = (self._blocks(multiply, part, rows) for part in (x.real, x.imag))
            return real + 1j * imaginary
        step = vectors_at_once(self.products, MAX_MEMORY)
        parts = [
            multiply(np.ascontiguousarray(x[:, begin : begin + step].T)[:, None])[:, 0]
            for begin in range(0, x.shape[1], step)
        ]
        return np.concatenate(parts).T if parts else np.zeros((rows, 0), self.dtype)

    def __repr__(self) -> str:
        outputs, d = self.shape
        return (
            f"<Jacobian of {outputs} outputs by {d} inputs, {self.dtype}, never stored: "
            f"{self.jvps} products J v and {self.vjps} products J^T u so far>"
        )


def linearized(model: Oracle, x: Any) -> tuple[Products, Array, bool]:
    """The products of a model at x (n, *sample) or (*sample), f there (n, *output), and whether
    x was a batch. Raises InputError for another x, or for something that is no model."""
    if not hasattr(model, "linearize"):
        raise InputError(
            f"model is a {type(model).__name__}: give pertcore.from_onnx(path), another adapter, "
            "or an object that follows pertcore.oracle.Oracle"
        )
    points, _ = as_numpy(x, "x")
    shape = tuple(model.input_shape)
    batched = points.ndim == len(shape) + 1
    if points.shape[-len(shape) :] != shape or points.ndim > len(shape) + 1 or not len(points):
        raise InputError(
            f"x has shape {points.shape}: expected one sample {shape} or a batch (n, "
            f"{', '.join(map(str, shape))})"
        )
    if points.dtype.kind != "f":
        raise InputError(
            f"x has dtype {points.dtype}: expected floats in the units of the model; divide "
            "integers by their scale first, such as x / 255"
        )
    if not np.all(np.isfinite(points)):
        raise InputError("x holds NaN or infinite values: expected finite numbers")
    stored = np.ascontiguousarray(points, dtype=model.dtype).reshape(-1, *shape)
    lin = model.linearize(stored)
    return Products.at(model, lin), np.asarray(lin.value), batched


def shaped(flat: Array, shape: tuple[int, ...], batched: bool) -> Array:
    """Vectors (n, ..., prod(shape)) in the sample's shape; the first axis goes with one sample."""
    full = flat.reshape(*flat.shape[:-1], *shape) if math.prod(shape) else flat
    return full if batched else full[0]
