"""An operator without a rule, of few inputs: its own central differences stand for its derivative.

y = f(x) is emitted as f(s) + sum_i D_i (x_i - s_i), where s equals x but does not move and D_i is
the difference of f along the i-th entry at s. The value is that of f, the derivative is D, and
every rule that there is applies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.adapters.onnx.graph import Graph
from pertcore.adapters.onnx.nodes import Node
from pertcore.adapters.onnx.op import Op, Tensor
from pertcore.adapters.onnx.registry import STRAIGHT
from pertcore.adapters.onnx.symbolic import BATCH, Poly, symbol
from pertcore.errors import CapabilityError

# Entries of one sample along which an operator is differenced, at two runs each.
MOST = 64


def written(graph: Graph, node: Node) -> Sequence[str]:
    """The outputs of a node, which move by central differences.

    Raises CapabilityError where more than 64 entries of a sample move, or their number is open.
    """
    op = Op(graph)
    places = [i for i, name in enumerate(node.inputs) if name and _moves(graph, name)]
    names = list(node.inputs)
    for place in places:
        (names[place],) = graph.emit("Identity", [names[place]], domain=STRAIGHT)
    made = _run(op, node, names)
    if not places or not any(graph.types[name].floating for name in made):
        return made
    batched = _batched(op, node, [*(names[i] for i in places), *made])
    sizes = [_entries(op.tensor(names[i]), batched) for i in places]
    if sum(sizes) > MOST:
        raise CapabilityError(
            f"{node.op} {node.label!r} has no rule and {sum(sizes)} entries that move: differences "
            f"of it alone are taken of at most {MOST}"
        )
    graph.differences[node.label or node.outputs[0]] = (node.op, sum(sizes))
    results = []
    for k, name in enumerate(made):
        y = op.tensor(name)
        if graph.types[name].floating:
            for place in places:
                moved = op.tensor(node.inputs[place]) - op.tensor(names[place])
                slopes = _slopes(op, node, names, place, k, batched)
                y = y + _along(op, slopes, moved, batched)
        results.append(op.reshaped_type(y, graph.types[name].shape or ()).name)
    return results


def _moves(graph: Graph, name: str) -> bool:
    fixed = name in graph.constants or name in graph.fixed
    return graph.types[name].floating and not fixed


def _run(op: Op, node: Node, names: Sequence[str]) -> tuple[str, ...]:
    count = len(node.outputs)
    return op.graph.emit(
        node.op, names, node.attrs, outputs=count, domain=node.domain, label=node.label
    )


def _batched(op: Op, node: Node, names: Sequence[str]) -> bool:
    """Whether the first axis is the batch N, of all or of none."""
    shapes = [op.tensor(name).shape for name in names if op.graph.types[name].floating]
    first = [bool(shape) and shape[0] == symbol(BATCH) for shape in shapes]
    rest = [dim for shape, is_batch in zip(shapes, first, strict=True) for dim in shape[is_batch:]]
    if len(set(first)) > 1 or any(isinstance(dim, Poly) for dim in rest):
        raise CapabilityError(
            f"{node.op} {node.label!r} has no rule, and sizes that are not known: no differences "
            "of it alone can be taken"
        )
    return first[0]


def _entries(x: Tensor, batched: bool) -> int:
    return math.prod(x.shape[batched:])  # type: ignore[arg-type]


def _slopes(
    op: Op, node: Node, names: Sequence[str], place: int, output: int, batched: bool
) -> Tensor:
    """(f(x + h e_i) - f(x - h e_i)) / 2 h of an output for every entry i of an input, (m, *y).

    h = cbrt(machine eps) max(|x_i|, rms(x)), where all of x are zero cbrt(machine eps); the
    divisor is the step as it was rounded.
    """
    x = op.tensor(names[place])
    axes = list(range(-x.rank + batched, 0))
    step = float(np.cbrt(np.finfo(x.dtype).eps))
    size = op.Sqrt(op.ReduceMean(x * x, axes, keepdims=1) if axes else x * x)
    unit = op.Where(op.Equal(size, 0.0), op.const(1.0, x.dtype), size)
    h = op.Max(op.Abs(x), unit) * step
    count = _entries(x, batched)
    sample = [1] * batched + [int(dim) for dim in x.shape[batched:]]  # type: ignore[arg-type]
    basis = op.const(np.eye(count).reshape(count, *sample), x.dtype)

    def slope(inner: Op, e: Tensor) -> Sequence[Tensor]:
        ends = []
        for sign in (1.0, -1.0):
            point = inner.tensor(x.name) + inner.tensor(h.name) * e * sign
            given = [point.name if i == place else name for i, name in enumerate(names)]
            ends.append((point, inner.tensor(_run(inner, node, given)[output])))
        width = inner.reduce_sum(ends[0][0] - ends[1][0], axes)
        difference = ends[0][1] - ends[1][1]
        one = [*x.shape[:batched], *[1] * (difference.rank - batched)]
        # ONNX Runtime wants to know the shape that leaves a Scan: a Reshape says it.
        return [inner.resized(difference / inner.resized(width, one), [*difference.shape, 1])]

    return op.Squeeze(op.scan(slope, [], [basis], 0)[0], [-1])


def _along(op: Op, slopes: Tensor, moved: Tensor, batched: bool) -> Tensor:
    """sum_i D_i u_i."""
    rest: list[Any] = [1] * (slopes.rank - 1 - batched)
    count = slopes.shape[0]
    if not batched:
        u = op.resized(moved, [count, *rest])
    else:
        rows = op.resized(moved, [moved.shape[0], count])
        u = op.resized(op.Transpose(rows, perm=[1, 0]), [count, moved.shape[0], *rest])
    return op.ReduceSum(slopes * u, [0], keepdims=0)


def notes(graph: Graph) -> tuple[str, ...]:
    """A sentence an operator that is differenced."""
    return tuple(
        f"{kind} {label!r} has no rule: its derivative is its own central difference, from "
        f"{2 * count} runs of it alone at every point; everything else is exact"
        for label, (kind, count) in graph.differences.items()
    )
