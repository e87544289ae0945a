"""An ONNX model at one batch of points: it ran once, its residuals stay with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pertcore.adapters.onnx.device import read
from pertcore.adapters.onnx.engine import Engine
from pertcore.adapters.onnx.pieces import side_by_side
from pertcore.adapters.onnx.sessions import place
from pertcore.adapters.onnx.slots import Lease
from pertcore.adapters.onnx.symbolic import BATCH, evaluate, symbol, symbols
from pertcore.arrays import contiguous, library, on_device
from pertcore.errors import CapabilityError, InputError
from pertcore.oracle import Array, Calls, Linearization


@dataclass(slots=True)
class Piece:
    """Samples `places` of a linearisation, in order, which one run of the model holds.

    `picked` are their rows in it, None: all; what they need of the residuals is gathered when the
    first product is asked for.
    """

    residuals: dict[str, Any]
    places: slice | Array
    picked: Array | None = None
    # What owns the memory of the residuals, where they do not: a slot's lease, gathered arrays.
    keeps: Lease | Sequence[Array] | None = None

    def take(self, chosen: Array) -> Piece:
        """What this one holds of the samples `chosen`."""
        own = self.places
        made = library(chosen).arange(own.start, own.stop) if isinstance(own, slice) else own
        places = library(chosen).asarray(made)
        at = np.searchsorted(places, chosen)
        held = np.flatnonzero(places[np.minimum(at, len(places) - 1)] == chosen)
        rows = at[held]
        rows = rows if self.picked is None else self.picked[rows]
        return Piece(self.residuals, held, rows, self.keeps)

    def gathered(self, engine: Engine, like: Array) -> dict[str, Any]:
        if self.picked is not None:
            self.residuals, self.keeps = gather(engine, self.residuals, self.picked, like)
            self.picked = None
        return self.residuals


@dataclass(slots=True)
class OnnxLinearization:
    """f near x: `value`, J^T v and J u from the residuals of one forward run a piece."""

    engine: Engine
    calls: Calls
    value: Array
    held: list[Piece]

    def vjp(self, cotangent: Array) -> Array:
        """J^T v: (n, *out) or (c, n, *out) -> (n, *in) or (c, n, *in)."""
        return self._product("vjp", cotangent, self.engine.output_shape, self.engine.input_shape)

    def jvp(self, tangent: Array) -> Array:
        """J u: (n, *in) or (c, n, *in) -> (n, *out) or (c, n, *out)."""
        return self._product("jvp", tangent, self.engine.input_shape, self.engine.output_shape)

    def take(self, index: Array) -> Linearization:
        """The samples `index` (integers or Booleans) of this one, without a run of the model."""
        chosen = library(index).arange(len(self.value))[index]
        taken = [piece.take(chosen) for piece in self.held]
        held = [piece for piece in taken if len(piece.places)]  # type: ignore[arg-type]
        value = self.value[library(self.value).asarray(chosen)]
        return OnnxLinearization(self.engine, self.calls, value, held)

    def _product(self, kind: str, v: Array, given: tuple[int, ...], made: tuple[int, ...]) -> Array:
        v, lead = counted(self.calls, kind, v, self.value, given, self.engine.dtype)
        n = len(self.value)
        if v.size == 0:
            return library(v).zeros((*lead, n, *made), self.engine.dtype)
        if len(self.held) == 1:
            piece = self.held[0]
            if isinstance(piece.keeps, Lease) and piece.picked is None and not lead:
                return self.engine.product_at(piece.keeps.slot, kind, v)
            residuals = piece.gathered(self.engine, v)
            return self.engine.product(kind, v, residuals, many=bool(lead))
        return self._of_pieces(kind, v, np.empty((*lead, n, *made), self.engine.dtype), bool(lead))

    def _of_pieces(self, kind: str, v: Array, out: Array, many: bool) -> Array:
        every: tuple[Any, ...] = (slice(None),) if many else ()

        def one(piece: Piece) -> None:
            rows = (*every, piece.places)
            residuals = piece.gathered(self.engine, v)
            out[rows] = self.engine.product(kind, v[rows], residuals, many=many)

        self.engine.open(kind, many=many)
        side_by_side(self.engine.threads, one, self.held)
        return out


@dataclass
class LoopedLinearization:
    """f near x for a model that only runs `width` samples at a time.

    `runs` holds the residuals of every run, `places` (n,) where each sample lies in them: the
    run times the width, plus the row.
    """

    engine: Engine
    calls: Calls
    value: Array
    runs: list[dict[str, Any]]
    places: Array
    width: int

    def vjp(self, cotangent: Array) -> Array:
        """J^T v: (n, *out) or (c, n, *out) -> (n, *in) or (c, n, *in)."""
        return self._product("vjp", cotangent, self.engine.output_shape, self.engine.input_shape)

    def jvp(self, tangent: Array) -> Array:
        """J u: (n, *in) or (c, n, *in) -> (n, *out) or (c, n, *out)."""
        return self._product("jvp", tangent, self.engine.input_shape, self.engine.output_shape)

    def take(self, index: Array) -> Linearization:
        """The samples `index` (integers or Booleans) of this one, without a run of the model."""
        places = self.places[index]
        return replace(self, value=self.value[index], places=places)

    def _product(self, kind: str, v: Array, given: tuple[int, ...], made: tuple[int, ...]) -> Array:
        v, lead = counted(self.calls, kind, v, self.value, given, self.engine.dtype)
        found = np.zeros((*lead, len(self.places), *made), self.engine.dtype)
        every: tuple[Any, ...] = (slice(None),) * len(lead)
        for run, samples in self._turns() if v.size else ():
            rows = self.places[samples] % self.width
            seeds = np.zeros((*lead, self.width, *given), self.engine.dtype)
            seeds[(*every, rows)] = v[(*every, samples)]
            product = self.engine.product(kind, seeds, self.runs[run], many=bool(lead))
            found[(*every, samples)] = product[(*every, rows)]
        return found

    def _turns(self) -> Iterator[tuple[int, Array]]:
        """Runs and the samples of them to go through at once, no row of a run twice."""
        left = np.arange(len(self.places))
        while len(left):
            _, first = np.unique(self.places[left], return_index=True)
            chosen = left[first]
            of_run = self.places[chosen] // self.width
            for run in np.unique(of_run):
                yield int(run), chosen[of_run == run]
            left = np.delete(left, first)


def counted(
    calls: Calls, kind: str, v: Array, value: Array, given: tuple[int, ...], dtype: Any
) -> tuple[Array, tuple[int, ...]]:
    """(Co)tangents in the model's type, each counted as one call a sample; and the axis before the
    batch, (c,) or (). `value` is f(x), (n, *out). Raises InputError for another shape than
    (n, *given), or (c, n, *given), and for an array on another device than the value.
    """
    if type(v) is not type(value):
        if on_device(v) != on_device(value):
            raise InputError(
                f"{kind}: the (co)tangent is a {_kind(v)} and the model was linearised at a "
                f"{_kind(value)}: give the same kind"
            )
        v = library(value).asarray(v)
    v, shape, lead = contiguous(v, dtype), (len(value), *given), ()
    if v.shape != shape:
        lead = v.shape[:1]
        if v.shape != (*lead, *shape):
            raise InputError(
                f"{kind}: got shape {v.shape}, expected ({len(value)}, *{given}) or "
                f"(c, {len(value)}, *{given})"
            )
    setattr(calls, kind, getattr(calls, kind) + (lead[0] if lead else 1) * shape[0])
    return v, lead


def _kind(array: Any) -> str:
    return "CuPy array" if on_device(array) else "NumPy array"


def gather(
    engine: Engine, residuals: dict[str, Any], index: Array, like: Array
) -> tuple[dict[str, Any], list[Array]]:
    """Residuals of the samples `index`, a copy along the batch axis of each by the library of
    `like`; and the arrays whose memory they read."""
    found, arrays = dict(residuals), []
    for name, value in residuals.items():
        array = _gathered(engine.batch_axes[name], value, index, like)
        if array is not None:
            arrays.append(array)
            found[name] = place(array, engine.providers)
    return found, arrays


def _gathered(place_of_batch: Any, value: Any, index: Array, like: Array) -> Array | None:
    """What is held of the samples; None for all of it."""
    if place_of_batch is None:
        return None
    if isinstance(place_of_batch, list):
        sizes = [evaluate(dim, {BATCH: len(index)}) for dim in place_of_batch]
        return np.array(sizes, np.int64)
    axis, repeat = place_of_batch
    array, arrays = read(value, like), library(like)
    shape = array.shape
    split = array.reshape(*shape[:axis], -1, repeat, *shape[axis + 1 :]) if repeat > 1 else array
    taken = arrays.take(split, arrays.asarray(index), axis=axis)
    return contiguous(taken.reshape(*shape[:axis], -1, *shape[axis + 1 :]))


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
