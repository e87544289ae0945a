"""A model run only in padded chunks of one fixed size, so that its bits do not depend on who left.

ONNX Runtime and BLAS choose other code for other batch sizes; a model that always sees the same
shape gives a sample the same bits however many samples around it are still being attacked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array, Calls, Linearization, Oracle


def chunked(oracle: Oracle, size: int) -> ChunkedOracle:
    """The same model, run on exactly `size` samples at a time and on one thread where it can.

    The last chunk is padded with its last sample; (co)tangents run one at a time, so that
    c of them never change a batch. `take` only keeps books: it runs no model and works where the
    model's own take does not, but a chunk costs its full size until none of its samples is left.
    `calls` counts the samples asked for, without padding. Raises InputError for size < 1.
    """
    if size < 1:
        raise InputError(f"size={size}: a chunk holds at least one sample")
    quiet = getattr(oracle, "deterministic", None)
    return ChunkedOracle(oracle if quiet is None else quiet(), size)


@dataclass(frozen=True, eq=False)
class ChunkedOracle:
    """What `chunked` returns."""

    inner: Oracle
    size: int
    calls: Calls = field(default_factory=Calls)

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
        return (self.inner.capabilities | {"take"}) - {"device"}

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

    def __call__(self, x: Array) -> Array:
        values = [self.counted(self.inner, c, used)[:used] for c, used in self._chunks(x)]
        return self._joined(values)

    def linearize(self, x: Array) -> ChunkedPoint:
        points, values = [], []
        for chunk, used in self._chunks(x):
            point = self.counted(self.inner.linearize, chunk, used)
            points.append(point)
            values.append(point.value[:used])
        return ChunkedPoint(self, tuple(points), np.arange(len(x)), self._joined(values))

    def counted(self, run: Callable[[Array], Any], padded: Array, used: int) -> Any:
        """run(padded), `size` samples for the inner model, counted here as `used` samples."""
        before = self.inner.calls.copy()
        result = run(padded)
        made = self.inner.calls - before
        self.calls.f += made.f * used // self.size
        self.calls.vjp += made.vjp * used // self.size
        self.calls.jvp += made.jvp * used // self.size
        return result

    def _chunks(self, x: Array) -> list[tuple[Array, int]]:
        pieces = [x[start : start + self.size] for start in range(0, len(x), self.size)]
        return [
            (np.concatenate([p, np.repeat(p[-1:], self.size - len(p), axis=0)]), len(p))
            for p in pieces
        ]

    def _joined(self, values: list[Array]) -> Array:
        empty = np.empty((0, *self.output_shape), self.dtype)
        return np.concatenate([empty, *values])


@dataclass(frozen=True, eq=False)
class ChunkedPoint:
    """Chunks at their points; sample i of this batch is row `place[i]` of the padded chunks."""

    oracle: ChunkedOracle
    points: tuple[Linearization, ...]
    place: Array
    value: Array

    def take(self, index: Array) -> ChunkedPoint:
        place = self.place[index]
        if len(np.unique(place)) != len(place):
            raise InputError("take: an index may name a sample once")
        return ChunkedPoint(self.oracle, self.points, place, self.value[index])

    def vjp(self, cotangent: Array) -> Array:
        return self._products("vjp", cotangent, self.oracle.output_shape, self.oracle.input_shape)

    def jvp(self, tangent: Array) -> Array:
        return self._products("jvp", tangent, self.oracle.input_shape, self.oracle.output_shape)

    def _products(
        self, name: str, vectors: Array, source: tuple[int, ...], target: tuple[int, ...]
    ) -> Array:
        array, n = np.asarray(vectors, self.oracle.dtype), len(self.place)
        lead = array.shape[: array.ndim - len(source)]
        if len(lead) not in (1, 2) or lead[-1] != n or array.shape[len(lead) :] != source:
            raise InputError(
                f"a (co)tangent has shape {array.shape}: expected {(n, *source)} or (c, ...)"
            )
        many = array if len(lead) == 2 else array[None]
        out = np.empty((len(many), n, *target), self.oracle.dtype)
        for number in np.unique(self.place // self.oracle.size):
            here = np.flatnonzero(self.place // self.oracle.size == number)
            rows = self.place[here] % self.oracle.size
            for c in range(len(many)):
                out[c, here] = self._chunk_product(name, number, rows, many[c, here])
        return out.reshape(*lead, *target)

    def _chunk_product(self, name: str, number: int, rows: Array, vectors: Array) -> Array:
        padded = np.zeros((self.oracle.size, *vectors.shape[1:]), self.oracle.dtype)
        padded[rows] = vectors
        product = getattr(self.points[number], name)
        return self.oracle.counted(product, padded, len(rows))[rows]
