# ruff: noqa: ARG001, ARG005
"""Values of shape tensors, symbols included: NumPy's own functions on arrays of objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pertcore.adapters.onnx.symbolic import Poly, product
from pertcore.oracle import Array

if TYPE_CHECKING:
    from pertcore.adapters.onnx.graph import Graph
    from pertcore.adapters.onnx.nodes import Node

LONGEST, WIDEST = 256, 2**63


def evaluate(graph: Graph, node: Node) -> Array | None:
    """Objects (integers or symbols) of the node's integer output, None where they are unknown."""
    if node.op in ("Shape", "Size"):
        return _shape(graph, node)
    rule = RULES.get(node.op)
    if rule is None or graph.types[node.outputs[0]].dtype.kind not in "iu":
        return None
    inputs = [graph.known_value(name) if name else None for name in node.inputs]
    if any(value is None for value, name in zip(inputs, node.inputs) if name):
        return None
    try:
        result = np.asarray(rule(node.attrs, *inputs), dtype=object)
    except (LookupError, ValueError, ArithmeticError, TypeError):
        return None
    unknown = any(dim is None or abs(_largest(dim)) >= WIDEST for dim in result.flat)
    return None if unknown or result.size > LONGEST else result


def _largest(dim: Any) -> int:
    return max((abs(c) for _, c in dim.terms), default=0) if isinstance(dim, Poly) else dim


def _shape(graph: Graph, node: Node) -> Array | None:
    shape = graph.types[node.inputs[0]].shape
    if shape is None:
        return None
    if node.op == "Size":
        return np.array(product(shape), dtype=object)
    window = shape[slice(node.attrs.get("start", 0), node.attrs.get("end"))]
    result = np.empty(len(window), dtype=object)
    result[:] = window
    return result


def _slice(
    attrs: Any, x: Array, starts: Array, ends: Array, axes: Any = None, steps: Any = None
) -> Any:
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    picks: list[slice] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        if any(isinstance(v, Poly) for v in (start, end, step)):
            return None
        low = None if step < 0 and end < -x.shape[axis] else end
        picks[axis] = slice(start, low, step)
    return x[tuple(picks)]


def _reshape(attrs: Any, x: Array, shape: Array) -> Any:
    if any(isinstance(dim, Poly) for dim in shape.flat):
        return None
    target = [x.shape[i] if dim == 0 else dim for i, dim in enumerate(shape)]
    return x.reshape(target)


def _unsqueeze(attrs: Any, x: Array, axes: Array) -> Any:
    return np.expand_dims(x, tuple(int(a) for a in axes.flat))


def _squeeze(attrs: Any, x: Array, axes: Array | None = None) -> Any:
    return np.squeeze(x, None if axes is None else tuple(int(a) for a in axes.flat))


def _gather(attrs: Any, x: Array, index: Array) -> Any:
    if any(isinstance(i, Poly) for i in index.flat):
        return None
    return np.take(x, index.astype(np.int64), axis=attrs.get("axis", 0))


def _divide(attrs: Any, a: Array, b: Array) -> Any:
    if any(dim == 0 for dim in b.flat):
        return None
    return np.vectorize(lambda x, y: x // y, otypes=[object])(a, b)


def _reduce_prod(attrs: Any, x: Array, axes: Array | None = None) -> Any:
    if x.ndim != 1:
        return None
    result = np.array(product(x), dtype=object)
    return result.reshape(1) if attrs.get("keepdims", 1) else result


RULES: dict[str, Callable[..., Any]] = {
    "Identity": lambda attrs, x: x,
    "Cast": lambda attrs, x: x,
    "Concat": lambda attrs, *xs: np.concatenate(xs, axis=attrs["axis"]),
    "Gather": _gather,
    "Slice": _slice,
    "Reshape": _reshape,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Transpose": lambda attrs, x: x.transpose(attrs.get("perm")),
    "Add": lambda attrs, a, b: a + b,
    "Sub": lambda attrs, a, b: a - b,
    "Mul": lambda attrs, a, b: a * b,
    "Neg": lambda attrs, x: -x,
    "Div": _divide,
    "ReduceProd": _reduce_prod,
}
