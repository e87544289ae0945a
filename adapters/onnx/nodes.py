"""What a graph is made of: operators and the types of the tensors between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.adapters.onnx.symbolic import Poly


@dataclass(frozen=True)
class Type:
    """Element type and dimensions of a tensor; `shape` is None where even the rank is unknown."""

    dtype: np.dtype[Any]
    shape: tuple[int | Poly, ...] | None

    @property
    def floating(self) -> bool:
        return self.dtype.kind == "f"


@dataclass
class Node:
    """One operator; an absent input is the empty string, attributes are plain Python values."""

    op: str
    inputs: tuple[str, ...]
    outputs: list[str]
    attrs: dict[str, Any]
    domain: str = ""
    label: str = ""

    @property
    def bodies(self) -> list[Body]:
        if not self.attrs:
            return []
        return [value for value in self.attrs.values() if isinstance(value, Body)]

    @property
    def captures(self) -> tuple[str, ...]:
        """What its inner graphs use of the values around them."""
        return tuple(dict.fromkeys(name for body in self.bodies for name in body.captures))

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.inputs, *self.captures) if self.bodies else self.inputs


@dataclass
class Body:
    """An inner graph of Scan, Loop or If. `trace(graph, inputs)` emits it anew, into any graph
    that sees what it captures, and returns its outputs; `graph` is one that was emitted so."""

    trace: Callable[[Any, Sequence[str]], Sequence[str]]
    graph: Any
    outputs: list[str]
    width: int = 0
    stacks: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.width = len(self.outputs)
        self.graph.nodes = live_nodes(self.graph.nodes, self.outputs)

    @property
    def captures(self) -> tuple[str, ...]:
        """Values from around the graph; constants are no values."""
        used = [name for node in self.graph.nodes for name in node.reads] + self.outputs
        inner, constants = self.graph.local, self.graph.constants
        return tuple(
            name
            for name in dict.fromkeys(used)
            if name and name not in inner and name not in constants
        )


def every_node(nodes: Sequence[Node]) -> Iterator[Node]:
    """The nodes and those of their inner graphs."""
    for node in nodes:
        yield node
        for body in node.bodies:
            yield from every_node(body.graph.nodes)


def live_nodes(nodes: Sequence[Node], wanted: Sequence[str]) -> list[Node]:
    """The nodes that some wanted value depends on, in order."""
    needed = set(wanted)
    kept = []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.reads)
            kept.append(node)
    return kept[::-1]
