"""A model that expects standardised inputs, seen in the raw units of x, eps and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.adapters.shapes import as_batch
from pertcore.errors import InputError
from pertcore.oracle import Array, Calls, Linearization, Oracle


def normalized(oracle: Oracle, mean: Any, std: Any, *, channel_axis: int = 0) -> NormalizedOracle:
    """Oracle of x -> f((x - mean) / std), so that x, eps and bounds stay in raw units.

    `mean` and `std` are numbers, one number a channel along `channel_axis` of the sample (0 for
    (channel, row, column), -1 for (row, column, channel)), or arrays of the sample's shape.
    Raises InputError for other shapes, and where a std is not > 0 and finite.
    """
    shift = _spread(mean, oracle, channel_axis, "mean")
    scale = _spread(std, oracle, channel_axis, "std")
    if not np.all((scale > 0) & np.isfinite(scale)):
        raise InputError(f"std={std!r}: every entry must be finite and > 0")
    return NormalizedOracle(oracle, shift, scale)


def _spread(values: Any, oracle: Oracle, channel_axis: int, name: str) -> Array:
    array, shape = np.asarray(values, dtype=np.float64), oracle.input_shape
    if array.ndim == 1 and array.size > 1 and -len(shape) <= channel_axis < len(shape):
        along = [1] * len(shape)
        along[channel_axis] = array.size
        array = array.reshape(along)
    try:
        np.broadcast_to(array, shape)
    except ValueError:
        raise InputError(
            f"{name} has shape {np.shape(values)}: expected one number, one a channel (axis "
            f"{channel_axis} of {shape}), or the sample's shape"
        ) from None
    return array.astype(oracle.dtype)


@dataclass(frozen=True, eq=False)
class NormalizedOracle:
    """What `normalized` returns; everything but the units is the inner oracle's."""

    inner: Oracle
    mean: Array
    std: Array

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.inner.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.inner.output_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.inner.dtype

    @property
    def capabilities(self) -> frozenset[str]:
        return self.inner.capabilities - {"device"}

    @property
    def calls(self) -> Calls:
        return self.inner.calls

    @property
    def prices(self) -> tuple[float, float]:
        return getattr(self.inner, "prices", (1.0, 1.0))

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(getattr(self.inner, "notes", ()))

    @property
    def outputs(self) -> dict[str, Any]:
        """Where several outputs lie in the one that is attacked; empty for a single output."""
        return dict(getattr(self.inner, "outputs", {}))

    @property
    def ensemble_size(self) -> int | None:
        """How many members speak in one output, None for one model."""
        return getattr(self.inner, "ensemble_size", None)

    def deterministic(self) -> NormalizedOracle:
        """The same model on one thread, where the inner oracle offers it."""
        quiet = getattr(self.inner, "deterministic", None)
        return self if quiet is None else NormalizedOracle(quiet(), self.mean, self.std)

    def __call__(self, x: Array) -> Array:
        return self.inner(self._inward(x))

    def linearize(self, x: Array) -> NormalizedPoint:
        return NormalizedPoint(self.inner.linearize(self._inward(x)), self.std)

    def _inward(self, x: Array) -> Array:
        return (as_batch(x, self.input_shape, self.dtype) - self.mean) / self.std


@dataclass(frozen=True, eq=False)
class NormalizedPoint:
    """By the chain rule J = J_inner diag(1 / std), at the inner oracle's point."""

    inner: Linearization
    std: Array

    @property
    def value(self) -> Array:
        return self.inner.value

    def vjp(self, cotangent: Array) -> Array:
        return self.inner.vjp(cotangent) / self.std

    def jvp(self, tangent: Array) -> Array:
        return self.inner.jvp(tangent / self.std)

    def take(self, index: Array) -> NormalizedPoint:
        return NormalizedPoint(self.inner.take(index), self.std)
