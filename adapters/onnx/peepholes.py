"""Nodes that need not be: what an identity, an idle cast or a reshape of a reshape shortens to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pertcore.adapters.onnx.graph import Graph
    from pertcore.adapters.onnx.nodes import Node


# Idle where the shape that they make is there already.
RESHAPING = frozenset(("Reshape", "Expand", "Squeeze", "Flatten"))


def shorten(graph: Graph, node: Node) -> tuple[str, ...] | None:
    """Names that stand for the node's outputs without it; None where the node is needed."""
    rule = RULES.get(node.op)
    return rule(graph, node) if rule is not None else None


def _identity(_: Graph, node: Node) -> tuple[str, ...] | None:
    return node.inputs[:1]


def _dropout(graph: Graph, node: Node) -> tuple[str, ...] | None:
    training = graph.value(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.False_
    idle = training is not None and not training and len(node.outputs) == 1
    return node.inputs[:1] if idle else None


def _cast(graph: Graph, node: Node) -> tuple[str, ...] | None:
    from onnx import helper

    same = graph.types[node.inputs[0]].dtype == helper.tensor_dtype_to_np_dtype(node.attrs["to"])
    return node.inputs[:1] if same else None


def _transpose(graph: Graph, node: Node) -> tuple[str, ...] | None:
    perm = node.attrs.get("perm")
    if perm is not None and list(perm) == list(range(len(perm))):
        return node.inputs[:1]
    inner = graph.makers.get(node.inputs[0])
    if perm is None or inner is None or inner.op != "Transpose" or "perm" not in inner.attrs:
        return None
    return graph.emit("Transpose", inner.inputs, {"perm": [inner.attrs["perm"][p] for p in perm]})


def _neutral(number: float) -> Callable[[Graph, Node], tuple[str, ...] | None]:
    def shorten_neutral(graph: Graph, node: Node) -> tuple[str, ...] | None:
        for kept, other in ((0, 1), (1, 0))[: 2 if node.op in ("Mul", "Add") else 1]:
            value = graph.value(node.inputs[other])
            kind = graph.types[node.inputs[kept]]
            small = value is not None and value.ndim <= len(kind.shape or ()) and value.size == 1
            if value is not None and small and value.dtype.kind == "f" and np.all(value == number):
                return (node.inputs[kept],)
        return None

    return shorten_neutral


def _pad(graph: Graph, node: Node) -> tuple[str, ...] | None:
    pads = graph.value(node.inputs[1])
    return node.inputs[:1] if pads is not None and not np.any(pads) else None


def _max_pool(graph: Graph, node: Node) -> tuple[str, ...] | None:
    """max pool(relu x) = relu(max pool x): the mask of the gradient is a window's size smaller."""
    inner = graph.makers.get(node.inputs[0])
    if inner is None or inner.op != "Relu" or len(node.outputs) != 1:
        return None
    return graph.emit("Relu", graph.emit("MaxPool", inner.inputs, node.attrs, label=node.label))


RULES: dict[str, Callable[[Graph, Node], tuple[str, ...] | None]] = {
    "Identity": _identity,
    "Dropout": _dropout,
    "Cast": _cast,
    "MaxPool": _max_pool,
    "Transpose": _transpose,
    "Mul": _neutral(1.0),
    "Div": _neutral(1.0),
    "Add": _neutral(0.0),
    "Sub": _neutral(0.0),
    "Pad": _pad,
}
