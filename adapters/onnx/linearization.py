"""An ONNX model at one batch of points: it ran once, its residuals stay with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pertcore.adapters.onnx.engine import Engine
from pertcore.adapters.onnx.sessions import place
from pertcore.adapters.onnx.symbolic import evaluate, symbol, symbols
from pertcore.errors import CapabilityError, InputError
from pertcore.oracle import Array, Calls, Linearization

BATCH = "N"


@dataclass
class OnnxLinearization:
    """f near x: `value`, J^T v and J u from the residuals of one forward run.

    `picked` holds samples of a larger linearisation this one was taken from; its residuals are
    gathered when the first product is asked for.
    """

    engine: Engine
    calls: Calls
    value: Array
    residuals: dict[str, Any]
    picked: Array | None = None

    def vjp(self, cotangent: Array) -> Array:
        """J^T v: (n, *out) or (c, n, *out) -> (n, *in) or (c, n, *in)."""
        return self._product("vjp", cotangent, self.engine.output_shape, self.engine.input_shape)

    def jvp(self, tangent: Array) -> Array:
        """J u: (n, *in) or (c, n, *in) -> (n, *out) or (c, n, *out)."""
        return self._product("jvp", tangent, self.engine.input_shape, self.engine.output_shape)

    def take(self, index: Array) -> Linearization:
        """The samples `index` (integers or Booleans) of this one, without a run of the model."""
        chosen = np.arange(len(self.value))[index]
        earlier = chosen if self.picked is None else self.picked[chosen]
        return OnnxLinearization(
            self.engine, self.calls, self.value[index], self.residuals, earlier
        )

    def _product(self, kind: str, v: Array, given: tuple[int, ...], made: tuple[int, ...]) -> Array:
        n = len(self.value)
        v = np.asarray(v, dtype=self.engine.dtype)
        many = v.ndim == len(given) + 2
        if v.shape[-len(given) - 1 :] != (n, *given) or v.ndim > len(given) + 2:
            raise InputError(
                f"{kind}: got shape {v.shape}, expected ({n}, *{given}) or (c, {n}, *{given})"
            )
        count = v.shape[0] if many else 1
        setattr(self.calls, kind, getattr(self.calls, kind) + count * n)
        if v.size == 0:
            return np.zeros((*v.shape[: v.ndim - len(given)], *made), self.engine.dtype)
        return self.engine.product(kind, v, self._gathered(), many=many)

    def _gathered(self) -> dict[str, Any]:
        if self.picked is not None:
            self.residuals = gather(self.engine, self.residuals, self.picked)
            self.picked = None
        return self.residuals


@dataclass
class LoopedLinearization:
    """A model that only carries one sample at a time: one linearisation a sample."""

    parts: list[OnnxLinearization]
    shapes: tuple[tuple[int, ...], tuple[int, ...], Any]

    @cached_property
    def value(self) -> Array:
        if not self.parts:
            return np.zeros((0, *self.shapes[1]), self.shapes[2])
        return np.concatenate([part.value for part in self.parts])

    def vjp(self, cotangent: Array) -> Array:
        return self._each("vjp", cotangent, self.shapes[1], self.shapes[0])

    def jvp(self, tangent: Array) -> Array:
        return self._each("jvp", tangent, self.shapes[0], self.shapes[1])

    def take(self, index: Array) -> Linearization:
        chosen = np.arange(len(self.parts))[index]
        return LoopedLinearization([self.parts[i] for i in chosen], self.shapes)

    def _each(self, kind: str, v: Array, given: tuple[int, ...], made: tuple[int, ...]) -> Array:
        axis = v.ndim - len(given) - 1
        if axis not in (0, 1) or v.shape[axis:] != (len(self.parts), *given):
            raise InputError(f"{kind}: got shape {v.shape}, expected ({len(self.parts)}, *{given})")
        if v.size == 0:
            return np.zeros((*v.shape[: axis + 1], *made), self.shapes[2])
        slices = np.split(v, len(self.parts), axis=axis)
        found = [getattr(part, kind)(s) for part, s in zip(self.parts, slices, strict=True)]
        return np.concatenate(found, axis=axis)


def gather(engine: Engine, residuals: dict[str, Any], index: Array) -> dict[str, Any]:
    """Residuals of the samples `index`: a copy along the batch axis of each."""
    return {name: _gathered(engine, name, value, index) for name, value in residuals.items()}


def _gathered(engine: Engine, name: str, value: Any, index: Array) -> Any:
    place_of_batch = engine.batch_axes[name]
    if place_of_batch is None:
        return value
    if isinstance(place_of_batch, list):
        sizes = [evaluate(dim, {BATCH: len(index)}) for dim in place_of_batch]
        return place(np.array(sizes, np.int64), engine.providers)
    axis, repeat = place_of_batch
    array = value.numpy()
    shape = array.shape
    split = array.reshape(*shape[:axis], -1, repeat, *shape[axis + 1 :]) if repeat > 1 else array
    taken = np.take(split, index, axis=axis)
    return place(taken.reshape(*shape[:axis], -1, *shape[axis + 1 :]), engine.providers)


def batch_axes(graph: Any, residuals: Sequence[str]) -> dict[str, Any]:
    """Where the batch sits in each residual: (axis, entries a sample has there), None where it
    does not depend on the batch, a list of dimensions for a shape vector that names it.

    Raises CapabilityError for a residual that mixes samples.
    """
    return {name: _batch_axis(graph, name) for name in residuals}


def _batch_axis(graph: Any, name: str) -> Any:
    known = graph.known.get(name)
    if known is not None and any(BATCH in symbols(d) for d in known.flat):
        if all(symbols(d) <= {BATCH} for d in known.flat):
            return list(known.flat)
        raise CapabilityError(f"take: the residual {name!r} holds sizes that are not known")
    shape = graph.types[name].shape
    axes = [i for i, dim in enumerate(shape or ()) if BATCH in symbols(dim)]
    if shape is not None and not axes and not any(map(symbols, shape)):
        return None
    repeat = shape[axes[0]] // symbol(BATCH) if shape is not None and len(axes) == 1 else None
    if not isinstance(repeat, int):
        raise CapabilityError(f"take: the residual {name!r} has no batch axis of its own")
    return axes[0], repeat
