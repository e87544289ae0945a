"""A model exported for a fixed batch, made to carry N samples: only reshapes need a hand.

Whether the result is right is not decided here: it is run against the untouched model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pertcore.adapters.onnx.graph import Graph
from pertcore.adapters.onnx.nodes import Node
from pertcore.adapters.onnx.op import Op
from pertcore.adapters.onnx.symbolic import BATCH, Poly, evaluate, product, symbol, symbols


def lifted(graph: Graph, node: Node, width: int) -> Node:
    """The node with its constant shape arguments, written for `width` samples, carrying N."""
    rule = {"Reshape": _reshape, "Concat": _concat, "Resize": _resize}.get(node.op)
    return rule(graph, node, width) if rule is not None else node


def _reshape(graph: Graph, node: Node, width: int) -> Node:
    """The batch stays where it is in row-major order: the target's axis after as many entries."""
    source = graph.types[node.inputs[0]].shape
    target = graph.known_value(node.inputs[1])
    if source is None or target is None or any(isinstance(d, Poly) for d in target.flat):
        return node
    place = _batch_axis(source)
    if place is None:
        return node
    fixed = [_of_file(dim, width) for dim in source]
    dims: list[Any] = [fixed[i] if d == 0 else d for i, d in enumerate(target.flat)]
    if -1 in dims:
        known = -product(dims)
        dims[dims.index(-1)] = product(fixed) // known if known else 0
    before, reached = product(fixed[:place]), 1
    for axis, dim in enumerate(dims):
        if reached == before:
            share = dim // width
            if share * width != dim:
                return node
            dims[axis] = share * symbol(BATCH)
            break
        reached *= dim
    op = Op(graph)
    shape = op.target(op.tensor(node.inputs[0]), dims)
    return replace(node, inputs=(node.inputs[0], shape.name))


def _batch_axis(shape: tuple[int | Poly, ...]) -> int | None:
    axes = [i for i, dim in enumerate(shape) if BATCH in symbols(dim)]
    return axes[0] if len(axes) == 1 else None


def _of_file(dim: int | Poly, width: int) -> int | Poly:
    if symbols(dim) <= {BATCH}:
        return evaluate(dim, {BATCH: width})
    return dim // symbol(BATCH) * width if BATCH in symbols(dim) else dim


def _concat(graph: Graph, node: Node, width: int) -> Node:
    """A constant of batch one beside a batch of N is repeated."""
    shapes = [graph.types[name].shape for name in node.inputs]
    if any(shape is None for shape in shapes):
        return node
    axis = node.attrs["axis"] % len(shapes[0])  # type: ignore[arg-type]
    rows = [shape[0] for shape in shapes if shape]
    if width > 1 or axis == 0 or symbol(BATCH) not in rows or 1 not in rows:
        return node
    op = Op(graph)
    names = []
    for name, shape in zip(node.inputs, shapes, strict=True):
        small = shape is not None and shape[0] == 1
        wanted = [symbol(BATCH), *shape[1:]] if shape is not None else []
        names.append(op.expand(op.tensor(name), wanted).name if small else name)
    return replace(node, inputs=tuple(names))


def _resize(graph: Graph, node: Node, width: int) -> Node:
    """A constant output size with the fixed batch takes the batch of its input."""
    source = graph.types[node.inputs[0]].shape
    sizes = graph.known_value(node.inputs[3]) if len(node.inputs) > 3 else None
    full = source is not None and sizes is not None and len(sizes) == len(source)
    if not full or source is None or sizes is None:
        return node
    if source[0] != symbol(BATCH) or sizes[0] != width:
        return node
    op = Op(graph)
    carried = op.sizes([source[0], *sizes[1:]])
    return replace(node, inputs=(*node.inputs[:3], carried.name))
