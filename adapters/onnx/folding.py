"""Constant folding of cheap operators, within a bound on the size of what is made."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pertcore.adapters.onnx import bounds, shapes
from pertcore.oracle import Array

if TYPE_CHECKING:
    from pertcore.adapters.onnx.graph import Graph
    from pertcore.adapters.onnx.nodes import Node

LARGEST = 1 << 24
NAMES = (
    "Add Sub Mul Div Neg Sqrt Reciprocal Exp Log Abs Pow Floor Ceil Cast Transpose Reshape Slice "
    "Concat Gather Unsqueeze Squeeze Flatten Pad Expand ConstantOfShape Range Tile ReduceSum "
    "ReduceMean ReduceProd ReduceMax ReduceMin MatMul Where Equal Greater Less GreaterOrEqual "
    "LessOrEqual And Or Not Mod Split Identity Shape Size Min Max ScatterND Trilu EyeLike"
)
FOLDED = frozenset(NAMES.split())


def fold(graph: Graph, node: Node) -> list[Array] | None:
    """Values of a node whose inputs are all constants; None where it is left to the runtime."""
    if node.op not in FOLDED or not all(n in graph.constants for n in node.inputs if n):
        return None
    if node.op == "Pad" and (graph.constants[node.inputs[1]] < 0).any():
        return None  # ONNX's reference only adds.
    kinds = shapes.infer(graph, node)
    sizes = [_size(kind.shape) for kind in kinds]
    if any(size is None or size > LARGEST for size in sizes):
        return None
    bounds.spend(graph, node, kinds)
    arrays = [graph.constants[name] if name else None for name in node.inputs]
    direct = DIRECT.get(node.op)
    results = [direct(node.attrs, *arrays)] if direct else _reference(graph, node, arrays)
    return [np.asarray(r, dtype=kind.dtype) for r, kind in zip(results, kinds, strict=True)]


def _size(shape: Any) -> int | None:
    if shape is None or not all(isinstance(dim, int) for dim in shape):
        return None
    return math.prod(shape)


def _reference(graph: Graph, node: Node, arrays: list[Array | None]) -> list[Array]:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    from pertcore.adapters.onnx.export import node_proto

    feeds = {name: array for name, array in zip(node.inputs, arrays) if name}
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
        if a is not None
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.outputs]
    body = helper.make_graph([node_proto(node)], "fold", inputs, outputs)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", graph.opset)])
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model).run(None, feeds)  # type: ignore[return-value]


def _quiet(function: Any) -> Any:
    def apply(_attrs: Any, *arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return function(*arrays)

    return apply


DIRECT: dict[str, Any] = {
    "Add": _quiet(np.add),
    "Sub": _quiet(np.subtract),
    "Mul": _quiet(np.multiply),
    "Neg": _quiet(np.negative),
    "Sqrt": _quiet(np.sqrt),
    "Identity": lambda _, x: x,
    "Transpose": lambda attrs, x: x.transpose(attrs.get("perm")),
    "Concat": lambda attrs, *xs: np.concatenate(xs, axis=attrs["axis"]),
    "Unsqueeze": lambda _, x, axes: np.expand_dims(x, tuple(axes.reshape(-1).tolist())),
}
