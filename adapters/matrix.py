"""An affine model x -> A x + b as an oracle: the smallest one whose exact answers are known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.adapters.shapes import as_batch, as_many, checked_dtype, checked_shape
from pertcore.errors import InputError
from pertcore.oracle import Array, Calls


def from_matrix(
    a: Any,
    b: Any = None,
    *,
    dtype: Any = None,
    input_shape: int | tuple[int, ...] | None = None,
) -> MatrixOracle:
    """Oracle of x -> A x + b with A (K, d), b (K,) or None; x is flattened to d entries.

    `dtype` None keeps float32 or float64 of A, else float64. `input_shape` None means (d,).
    Raises InputError where the shapes do not fit.
    """
    matrix = np.asarray(a)
    if dtype is None:
        dtype = matrix.dtype if matrix.dtype == np.float32 else np.float64
    kind = checked_dtype(dtype)
    if matrix.ndim != 2:
        raise InputError(f"a has shape {matrix.shape}: expected (K, d)")
    shift = np.zeros(len(matrix)) if b is None else np.asarray(b)
    shape = checked_shape(matrix.shape[1] if input_shape is None else input_shape, "input_shape")
    if shift.shape != matrix.shape[:1] or math.prod(shape) != matrix.shape[1]:
        raise InputError(
            f"a {matrix.shape}, b {shift.shape}, input_shape {shape}: expected (K, d), (K,) and "
            "a shape of d entries"
        )
    return MatrixOracle(np.ascontiguousarray(matrix, kind), shift.astype(kind), shape)


@dataclass(eq=False)
class MatrixOracle:
    """What `from_matrix` returns."""

    a: Array
    b: Array
    input_shape: tuple[int, ...]
    calls: Calls = field(default_factory=Calls)
    capabilities: frozenset[str] = frozenset({"vjp", "jvp", "take", "exact"})

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.b.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.a.dtype

    def __call__(self, x: Array) -> Array:
        batch = as_batch(x, self.input_shape, self.dtype)
        self.calls.f += len(batch)
        return batch.reshape(len(batch), math.prod(self.input_shape)) @ self.a.T + self.b

    def linearize(self, x: Array) -> MatrixPoint:
        return MatrixPoint(self, self(x))


@dataclass(frozen=True, eq=False)
class MatrixPoint:
    """An affine model at n points: J = A everywhere, J^T v = A^T v, J u = A u."""

    oracle: MatrixOracle
    value: Array

    def take(self, index: Array) -> MatrixPoint:
        return MatrixPoint(self.oracle, self.value[index])

    def vjp(self, cotangent: Array) -> Array:
        oracle = self.oracle
        flat = as_many(cotangent, len(self.value), oracle.output_shape, oracle.dtype)
        oracle.calls.vjp += math.prod(flat.shape[:-1])
        return (flat @ oracle.a).reshape(*flat.shape[:-1], *oracle.input_shape)

    def jvp(self, tangent: Array) -> Array:
        oracle = self.oracle
        flat = as_many(tangent, len(self.value), oracle.input_shape, oracle.dtype)
        oracle.calls.jvp += math.prod(flat.shape[:-1])
        return flat @ oracle.a.T
