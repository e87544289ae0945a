"""What a shape rule may ask about a node, and how shapes combine."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pertcore.adapters.onnx.nodes import Node
from pertcore.adapters.onnx.symbolic import Poly, Shape, symbol

if TYPE_CHECKING:
    from pertcore.adapters.onnx.graph import Graph


class Known:
    """What a shape rule may ask about a node: types, shapes and integer values of its inputs."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node, self.attrs = graph, node, node.attrs

    def __len__(self) -> int:
        return len(self.node.inputs)

    def has(self, index: int) -> bool:
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def dtype(self, index: int = 0) -> np.dtype[Any]:
        return self.graph.types[self.node.inputs[index]].dtype

    def shape(self, index: int = 0) -> Shape:
        shape = self.graph.types[self.node.inputs[index]].shape
        if shape is None:
            raise Unknown
        return shape

    def ints(self, index: int) -> list[Any]:
        value = self.graph.known_value(self.node.inputs[index])
        if value is None:
            raise Unknown
        return list(value.flat)

    def fresh(self) -> Poly:
        return symbol(f"?{next(self.graph.numbers)}")


class Unknown(Exception):  # noqa: N818
    """This rule cannot tell; ONNX's own inference is asked."""


@lru_cache(maxsize=4096)
def broadcast(*shapes: Shape) -> Shape:
    """NumPy's broadcast shape; a symbol that meets another one is taken to equal it."""
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    result: list[int | Poly] = []
    for dims in zip(*padded, strict=True):
        real = [d for d in dims if d != 1]
        fixed = [d for d in real if isinstance(d, int)]
        if len(set(fixed)) > 1:
            raise ValueError(f"cannot broadcast {dims}")
        result.append((fixed or real or [1])[0])
    return tuple(result)


def normal_axis(axis: int, rank: int) -> int:
    if not -rank <= axis < max(rank, 1):
        raise IndexError(f"axis {axis} of rank {rank}")
    return axis + rank if axis < 0 else axis
