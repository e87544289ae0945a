"""Several models attacked as one: their losses averaged by the core, or their logits here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.adapters.shapes import as_batch
from pertcore.errors import InputError
from pertcore.oracle import Array, Calls, Linearization, Oracle

REDUCTIONS = ("losses", "logits")


def ensemble(oracles: Sequence[Oracle], *, reduce: str = "losses") -> EnsembleOracle:
    """One oracle of m models with equal input, output shape and dtype.

    reduce="losses": the value is (n, m, *out), and the loss is the mean of the members' losses
    (Balda et al., Table II, row Ensemble); a sample is fooled when every member is.
    reduce="logits": the value is the members' mean (n, *out), one model that votes. A forward
    run counts m model runs per sample. Raises InputError where the members differ.
    """
    members = tuple(oracles)
    if reduce not in REDUCTIONS:
        raise InputError(f"reduce={reduce!r}: allowed are {', '.join(REDUCTIONS)}")
    kinds = {(o.input_shape, o.output_shape, np.dtype(o.dtype)) for o in members}
    if len(kinds) != 1:
        raise InputError(
            f"an ensemble needs members of one input shape, output shape and dtype, got {kinds}"
        )
    return EnsembleOracle(members, reduce == "losses")


@dataclass(frozen=True, eq=False)
class EnsembleOracle:
    """What `ensemble` returns; `calls` sums the members' model runs made through it."""

    members: tuple[Oracle, ...]
    stacked: bool
    calls: Calls = field(default_factory=Calls)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.members[0].input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        out = self.members[0].output_shape
        return (len(self.members), *out) if self.stacked else out

    @property
    def ensemble_size(self) -> int | None:
        """m where the value is (n, m, *out), which an attack must judge by member; else None."""
        return len(self.members) if self.stacked else None

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.members[0].dtype

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset.intersection(*(m.capabilities for m in self.members)) - {"device"}

    @property
    def prices(self) -> tuple[float, float]:
        each = [getattr(m, "prices", (1.0, 1.0)) for m in self.members]
        return max(push for push, _ in each), max(pull for _, pull in each)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for m in self.members for note in getattr(m, "notes", ()))

    def deterministic(self) -> EnsembleOracle:
        """The same ensemble with every member on one thread, where members offer it."""
        quiet = (getattr(m, "deterministic", lambda m=m: m)() for m in self.members)
        return EnsembleOracle(tuple(quiet), self.stacked)

    def __call__(self, x: Array) -> Array:
        batch = as_batch(x, self.input_shape, self.dtype)
        with self.counted():
            return self.join([member(batch) for member in self.members])

    def linearize(self, x: Array) -> EnsemblePoint:
        batch = as_batch(x, self.input_shape, self.dtype)
        with self.counted():
            return EnsemblePoint(self, tuple(m.linearize(batch) for m in self.members))

    def join(self, values: list[Array]) -> Array:
        """Members' outputs (..., *out) as one: a new axis before *out, or their mean."""
        axis = values[0].ndim - len(self.members[0].output_shape)
        if self.stacked:
            return np.stack(values, axis=axis)
        return np.mean(values, axis=0, dtype=self.dtype)

    def split(self, cotangent: Array) -> list[Array]:
        """What each member's vjp is given so that their sum is the ensemble's."""
        if not self.stacked:
            return [cotangent / self.dtype.type(len(self.members))] * len(self.members)
        axis = np.ndim(cotangent) - len(self.output_shape)
        return [np.take(cotangent, i, axis=axis) for i in range(len(self.members))]

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Adds what the members count inside the block to this oracle's own calls."""
        distinct = {id(m.calls): m.calls for m in self.members}.values()
        before = [calls.copy() for calls in distinct]
        yield
        for now, was in zip(distinct, before):
            made = now - was
            self.calls.f += made.f
            self.calls.vjp += made.vjp
            self.calls.jvp += made.jvp


@dataclass(frozen=True, eq=False)
class EnsemblePoint:
    """The members at one batch: J^T v sums the members' J_i^T v_i, J u joins their J_i u."""

    oracle: EnsembleOracle
    points: tuple[Linearization, ...]

    @property
    def value(self) -> Array:
        return self.oracle.join([p.value for p in self.points])

    def vjp(self, cotangent: Array) -> Array:
        shares = self.oracle.split(np.asarray(cotangent, self.oracle.dtype))
        with self.oracle.counted():
            terms = [p.vjp(v) for p, v in zip(self.points, shares)]
        return np.sum(terms, axis=0, dtype=self.oracle.dtype)

    def jvp(self, tangent: Array) -> Array:
        with self.oracle.counted():
            return self.oracle.join([p.jvp(tangent) for p in self.points])

    def take(self, index: Array) -> EnsemblePoint:
        with self.oracle.counted():
            return EnsemblePoint(self.oracle, tuple(p.take(index) for p in self.points))
