"""From a primal graph to the graphs that run: forward with residuals, pullback, push-forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx

import pertcore.adapters.onnx.control
import pertcore.adapters.onnx.rules  # noqa: F401  both fill the registry
from pertcore.adapters.onnx import sweep
from pertcore.adapters.onnx.export import export
from pertcore.adapters.onnx.graph import Graph
from pertcore.adapters.onnx.nodes import Node, live_nodes
from pertcore.adapters.onnx.op import Op, Tensor
from pertcore.adapters.onnx.symbolic import symbol

LEAD = "K"
VALUE = "pc.value"


@dataclass(frozen=True)
class Product:
    """A graph linear in its `seeds`: J^T v or J u at the residuals of one point."""

    graph: Graph
    nodes: list[Node]
    seeds: tuple[str, ...]
    results: tuple[str, ...]
    residuals: tuple[str, ...]

    def model(self, names: Sequence[str]) -> onnx.ModelProto:
        """Residuals and seeds in, results called `names` out."""
        outputs = list(zip(names, self.results, strict=True))
        return export(self.graph, self.nodes, [*self.residuals, *self.seeds], outputs)


@dataclass
class Derivatives:
    """The derivative of some outputs of a primal graph with respect to some of its inputs."""

    graph: Graph
    wrt: tuple[str, ...]
    outputs: tuple[str, ...]
    activity: sweep.Activity = field(init=False)

    def __post_init__(self) -> None:
        self.activity = sweep.analyse(self.graph, self.wrt, self.outputs)

    def pullback(self, seeds: Sequence[str], *, lead: bool = False) -> Product:
        """v -> J^T v; with `lead`, v has a leading axis of many cotangents."""
        op, given = self._open(seeds, self.outputs, lead)
        found = sweep.reverse(op, self.activity, given, self.wrt)
        return self._close(op, seeds, found, self.wrt)

    def pushforward(self, seeds: Sequence[str], *, lead: bool = False) -> Product:
        """u -> J u; with `lead`, u has a leading axis of many tangents."""
        op, given = self._open(seeds, self.wrt, lead)
        found = sweep.forward(op, self.activity, given, self.outputs)
        return self._close(op, seeds, found, self.outputs)

    def _open(
        self, seeds: Sequence[str], likes: Sequence[str], lead: bool
    ) -> tuple[Op, dict[str, Tensor]]:
        op = Op(self.graph.child(), symbol(LEAD) if lead else None)
        given = {}
        for seed, like in zip(seeds, likes, strict=True):
            kind = self.graph.types[like]
            shape = op.full(op.tensor(like).shape)
            given[like] = op.tensor(op.graph.input(seed, kind.dtype, shape))
        return op, given

    def _close(
        self, op: Op, seeds: Sequence[str], found: Sequence[Tensor | None], likes: Sequence[str]
    ) -> Product:
        results = []
        for tensor, like in zip(found, likes, strict=True):
            shape = op.tensor(like).shape
            whole = tensor or op.zeros(shape, self.graph.types[like].dtype)
            results.append(op.expand(whole, shape).name)
        nodes = live_nodes(op.graph.nodes, results)
        used = dict.fromkeys(name for node in nodes for name in node.reads)
        used.update(dict.fromkeys(results))
        residuals = tuple(name for name in used if name in self.graph.local)
        return Product(op.graph, nodes, tuple(seeds), tuple(results), residuals)

    def forward(self, residuals: Sequence[str]) -> onnx.ModelProto:
        """The primal graph giving the one output as `value`, then the residuals it makes."""
        made = [name for name in residuals if name not in self.graph.inputs]
        outputs = [(VALUE, self.outputs[0]), *((name, name) for name in made)]
        inputs = list(self.graph.inputs)
        return export(self.graph, self.graph.nodes, inputs, outputs)
