"""The graphs of one model and their sessions: forward once, then any number of products."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np

from pertcore.adapters.onnx.blocks import Handover, worthwhile
from pertcore.adapters.onnx.bounds import within_memory
from pertcore.adapters.onnx.derive import VALUE, Derivatives, Product
from pertcore.adapters.onnx.device import read
from pertcore.adapters.onnx.graph import Graph
from pertcore.adapters.onnx.pieces import TOGETHER, available, gains, pieces, side_by_side
from pertcore.adapters.onnx.sessions import CPU, Bound, Session, place, place_copy, shares_memory
from pertcore.adapters.onnx.slots import LARGEST, Lease, Slot, Slots
from pertcore.adapters.onnx.symbolic import BATCH, symbols
from pertcore.arrays import library
from pertcore.errors import CapabilityError, ModelError
from pertcore.oracle import Array

RESULT = "pc.result"
SEEDS = {
    ("vjp", False): "pc.cotangent",
    ("vjp", True): "pc.cotangents",
    ("jvp", False): "pc.tangent",
    ("jvp", True): "pc.tangents",
}


class Engine:
    """Runs y = f(x), J^T v and J u of a graph with one input and one output.

    The forward model gives out the residuals that either product needs. A product's model is
    built and loaded when it is first asked for; both exist with a leading axis of many, too.
    """

    def __init__(
        self,
        graph: Graph,
        input_name: str,
        output_value: str,
        *,
        threads: int | None,
        providers: Sequence[str] | None,
    ) -> None:
        self.providers = providers
        self._threads, self.threads = threads, threads or available()
        self._input = input_name
        if graph.types[output_value].shape is None:
            raise CapabilityError("the rank of the output is unknown: export with static ranks")
        self._derivatives = Derivatives(graph, (input_name,), (output_value,))
        self.graph, self.output_value = graph, output_value
        self.batch_axes: dict[str, Any] = {}
        self.dtype = graph.types[input_name].dtype
        self.input_shape: tuple[int, ...] = tuple(graph.types[input_name].shape[1:])  # type: ignore
        self.output_shape: tuple[int, ...] = tuple(graph.types[output_value].shape[1:])  # type: ignore
        self._plans: dict[tuple[str, bool], Product] = {}
        self._sessions: dict[tuple[str, bool], tuple[Session, Product] | None] = {}
        self.refusals: dict[str, str] = {}
        self.residuals = self._needed()
        self._handover, self._slots = Handover(), Slots()
        self.gains = tuple(providers or CPU) == CPU and gains(graph)

    def rested(self) -> Engine:
        """Another engine of the same graphs, without a session open.

        Linearisations stay with the one that made them: only its sessions read its residuals.
        """
        other = copy(self)
        for name in ("_forward", "_plain", "alone"):
            other.__dict__.pop(name, None)
        other._sessions, other._handover, other._slots = {}, Handover(), Slots()
        return other

    @cached_property
    def alone(self) -> Engine:
        """The engine for pieces of a batch, each of which runs on one thread."""
        if self._threads == 1:
            return self
        other = self.rested()
        other._threads = 1
        return other

    def _needed(self) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for kind in ("vjp", "jvp"):
            try:
                found.update(dict.fromkeys(self.plan(kind, many=False).residuals))
            except CapabilityError as error:
                self.refusals[kind] = str(error)
        if len(self.refusals) == 2:
            raise CapabilityError(self.refusals["vjp"])
        return tuple(found)

    def _made(self) -> list[str]:
        return [name for name in self.residuals if name not in (self._input, self.output_value)]

    def _open(self, model: Any, rewrite: Any = None) -> Session:
        return Session(model, threads=self._threads, providers=self.providers, rewrite=rewrite)

    @within_memory()
    def _open_product(self, plan: Product) -> Session:
        model = plan.model([RESULT])
        if not self._handover.blocked:
            return self._open(model)
        return self._open(self._handover.expect(model), self._handover.take)

    @cached_property
    def _forward(self) -> Session:
        model = self._derivatives.forward(self._made())
        gives = tuple(self.providers or CPU) == CPU and worthwhile(model)
        return self._open(model, self._handover.give if gives else None)

    @cached_property
    def _plain(self) -> Session:
        return self._open(self._derivatives.forward([]))

    def value(self, x: Array) -> Array:
        """f(x) alone."""
        return read(self._plain.run({self._input: place(x, self.providers)})[0], x)

    def run(self, x: Array) -> tuple[Array, dict[str, Any]]:
        """f(x), (n, *out), and the residuals by name (OrtValues)."""
        # The caller may write to x later, and to the value that it gets: a residual of either
        # needs memory of its own.
        kept = self._input in self.residuals
        point = (place_copy if kept else place)(x, self.providers)
        made = self._forward.run({self._input: point})
        residuals = dict(zip(self._forward.outputs, made, strict=True))
        result = residuals.pop(VALUE)
        value = read(result, x)
        self._check(value.shape)
        if kept:
            residuals[self._input] = point
        if self.output_value in self.residuals:
            residuals[self.output_value], value = result, value.copy()
        return value, residuals

    def run_again(self, x: Array) -> tuple[Array, dict[str, Any], Lease | None]:
        """`run`, in memory that stays where batches of one size follow each other; it is the
        residuals' as long as the lease is held."""
        n = len(x)
        lease = self._slots.take(n)
        if lease is not None:
            return lease.slot.linearize(x), lease.slot.values, lease
        value, residuals = self.run(x)
        if self._slots.again(n) and self._still:
            self._make_slot(x, value, residuals)
        return value, residuals, None

    @cached_property
    def _still(self) -> bool:
        """Whether all that is computed has a size that the batch alone decides, on the CPU."""
        every = [self.graph.types[name] for name in (*self.residuals, self.output_value)]
        return (
            tuple(self.providers or CPU) == CPU
            and shares_memory()
            and all(isinstance(self.batch_axes.get(name), tuple) for name in self.residuals)
            and all(kind.dtype.kind in "fiub" for kind in every)
            and all(symbols(dim) <= {BATCH} for kind in every for dim in kind.shape or ())
        )

    def _make_slot(self, x: Array, value: Array, residuals: dict[str, Any]) -> None:
        arrays = {name: residual.numpy() for name, residual in residuals.items()}
        arrays |= {VALUE: value, self._input: x}
        if sum(array.nbytes for array in arrays.values()) > LARGEST:
            return
        values = {name: place_copy(array, self.providers) for name, array in arrays.items()}
        values[self.output_value] = values[VALUE]
        forward = Bound(self._forward, {self._input: values[self._input]}, self._input, values)
        self._slots.put(len(x), Slot({name: values[name] for name in self.residuals}, forward))

    def product_at(self, slot: Slot, kind: str, v: Array) -> Array:
        """`product` for one (co)tangent a sample from the residuals in a slot."""
        bound = slot.products.pop(kind, None)
        made = self.product(kind, v, slot.values, many=False) if bound is None else bound(v)
        slot.products[kind] = bound or self._bind(slot, kind, v, made)
        return made

    def _bind(self, slot: Slot, kind: str, v: Array, made: Array) -> Bound:
        session, plan = self._sessions[kind, False]  # type: ignore[misc]
        feeds = {name: slot.values[name] for name in plan.residuals}
        feeds[plan.seeds[0]] = place_copy(v, self.providers)
        return Bound(session, feeds, plan.seeds[0], {RESULT: place_copy(made, self.providers)})

    def run_pieces(self, x: Array, parts: Sequence[slice]) -> list[tuple[Array, dict[str, Any]]]:
        """`run` of each part of x, side by side."""
        self._forward.load()
        return side_by_side(self.threads, lambda part: self.run(x[part]), parts)

    def _check(self, shape: tuple[int, ...]) -> None:
        """Raises ModelError where ONNX Runtime makes another shape than ONNX's types tell."""
        told = self.output_shape
        apart = len(shape) != len(told) + 1 or any(
            isinstance(dim, int) and dim != made for dim, made in zip(told, shape[1:], strict=True)
        )
        if apart:
            raise ModelError(
                f"ONNX Runtime gives an output of shape {shape}, by the types of the model it is "
                f"(N, {', '.join(map(str, told))}): the model contradicts itself"
            )

    def product(self, kind: str, v: Array, residuals: dict[str, Any], *, many: bool) -> Array:
        """J^T v ("vjp") or J u ("jvp"); with `many`, v has a leading axis, and a convolutional
        network takes some of it at a time."""
        opened = self.open(kind, many=many)
        if opened is None:
            # A rule that needs more of the model for many than for one: one after the other.
            rows = [self.product(kind, row, residuals, many=False) for row in v]
            return library(v).stack(rows)
        session, plan = opened
        feeds = {name: residuals[name] for name in plan.residuals}
        turns: tuple[slice, ...] = (slice(None),)
        if many and self.gains:
            turns = pieces(len(v), 1, max(TOGETHER // v.shape[1], 1))
        made = []
        for turn in turns:
            feeds[plan.seeds[0]] = place(v[turn], self.providers)
            made.append(read(session.run(feeds)[0], v))
        return made[0] if len(made) == 1 else np.concatenate(made)

    def open(self, kind: str, *, many: bool) -> tuple[Session, Product] | None:
        """Loads what `product` runs; None where many need more residuals than there are."""
        if (kind, many) not in self._sessions:
            plan = self.plan(kind, many=many)
            if set(plan.residuals) <= set(self.residuals):
                session = self._open_product(plan)
                session.load()
                self._sessions[kind, many] = session, plan
            else:
                self._sessions[kind, many] = None
                self.open(kind, many=False)
        return self._sessions[kind, many]

    def plan(self, kind: str, *, many: bool) -> Product:
        """The graph of a product, built when it is first asked for."""
        if kind in self.refusals:
            raise CapabilityError(self.refusals[kind])
        if (kind, many) not in self._plans:
            make = self._derivatives.pullback if kind == "vjp" else self._derivatives.pushforward
            self._plans[kind, many] = make([SEEDS[kind, many]], lead=many)
        return self._plans[kind, many]
