"""Operators that look entries up by index; going back adds where an index was used twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, lower, refusal, vjp


@vjp("Gather", still=(1,))
def gather_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """The looked-up axes become one, then every slice is added where it came from."""
    axis = n.axis()
    shape = list(n.x.shape)
    index = n.b
    count: Any = 1
    for dim in index.shape:
        count = count * dim
    g = op.reshape(g, [*shape[:axis], count, *shape[len(shape) + axis + 1 :]])
    return [op.scatter(g, axis, op.resized(index, [count]), shape[axis])]


@jvp("Gather")
def gather_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return op.Gather(t, n.b, axis=n.axis())


@vjp("GatherElements", still=(1,))
def gather_elements_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    nothing = op.zeros(n.x.shape, n.x.dtype)
    index = op.lead_index(n.b)
    return [op.ScatterElements(nothing, index, g, axis=n.axis(), reduction="add")]


@jvp("GatherElements")
def gather_elements_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return op.GatherElements(t, op.lead_index(n.b), axis=n.axis())


@vjp("TopK", still=(1,))
def topk_vjp(op: Op, n: View, g: Tensor | None, *_: Any) -> list[Tensor | None]:
    nothing = op.zeros(n.x.shape, n.x.dtype)
    index = op.lead_index(n.o[1])
    axis = n.axis(default=-1)
    return [
        None if g is None else op.ScatterElements(nothing, index, g, axis=axis, reduction="add")
    ]


@jvp("TopK")
def topk_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return op.GatherElements(t, op.lead_index(n.o[1]), axis=n.axis(default=-1))


@vjp("ScatterElements ScatterND", still=(1,))
def scatter_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """Overwritten entries of the data get nothing; what was written gets theirs."""
    if n.attr("reduction", "none") == "none":
        nothing = op.zeros(n.i[2].shape, g.dtype)  # type: ignore[union-attr]
        return [_written(op, n, g, nothing, "none"), None, _looked_up(op, n, g)]
    data, updates = _shares(n)
    return [_scaled(g, data), None, _scaled(_looked_up(op, n, g), updates)]


@jvp("ScatterElements ScatterND")
def scatter_jvp(op: Op, n: View, *tangents: Tensor | None) -> Tensor:
    data, updates = _both(op, n, tangents)
    if n.attr("reduction", "none") == "none":
        return _written(op, n, data, updates, "none")
    first, second = _shares(n)
    return _written(op, n, _scaled(data, first), _scaled(updates, second), "add")


def _written(op: Op, n: View, data: Tensor, updates: Tensor, reduction: str) -> Tensor:
    if n.kind == "ScatterElements":
        index = op.lead_index(n.b)
        return op.ScatterElements(data, index, updates, axis=n.axis(), reduction=reduction)
    last = (op.lead_last(data), op.lead_last(updates))
    return op.lead_first(op.ScatterND(last[0], n.b, last[1], reduction=reduction))


def _looked_up(op: Op, n: View, t: Tensor) -> Tensor:
    if n.kind == "ScatterElements":
        return op.GatherElements(t, op.lead_index(n.b), axis=n.axis())
    return op.lead_first(op.GatherND(op.lead_last(t), n.b))


def _scaled(t: Tensor, factor: Tensor | None) -> Tensor:
    return t if factor is None else t * factor


def _shares(n: View) -> tuple[Tensor | None, Tensor | None]:
    """dy / d data and dy / d updates, None for one: extremes share ties, products leave one out."""
    mode = n.attr("reduction")
    if mode == "add":
        return None, None
    op, data, updates = Op(n.op.graph), n.i[0], n.i[2]
    if data is None or updates is None:
        raise refusal(n, 2)
    if mode == "mul":
        none, no = (
            op.indicator(op.Equal(data, 0.0), data),
            op.indicator(op.Equal(updates, 0.0), data),
        )
        zeros = _written(op, n, none, no, "add")
        whole = _written(op, n, data + none, updates + no, "mul")
        others = _looked_up(op, n, whole) / (updates + no)
        alone = op.indicator(op.Equal(_looked_up(op, n, zeros), no), data)
        return whole / (data + none) * op.indicator(op.Equal(zeros, none), data), others * alone
    kept = op.indicator(op.Equal(data, n.y), data)
    came = op.indicator(op.Equal(updates, _looked_up(op, n, n.y)), data)
    ties = _written(op, n, kept, came, "add")
    return kept / ties, came / _looked_up(op, n, ties)


@lower("GatherND")
def gather_nd_flat(op: Op, n: View) -> Tensor | None:
    """Without batch axes: the place in each is a part of the index like any other."""
    depth = n.attr("batch_dims", 0)
    if not depth:
        return None
    shape = [*n.b.shape[:-1], 1]
    columns = []
    for axis in range(depth):
        column: list[Any] = [1] * len(shape)
        column[axis] = n.b.shape[axis]
        columns.append(op.expand(op.resized(op.positions(n.b.shape[axis]), column), shape))
    whole: Tensor = op.GatherND(n.x, op.Concat(*columns, n.b, axis=-1))
    return whole


@vjp("GatherND", still=(1,))
def gather_nd_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    nothing = op.lead_last(op.zeros(n.x.shape, g.dtype))
    return [op.lead_first(op.ScatterND(nothing, n.b, op.lead_last(g), reduction="add"))]


@jvp("GatherND")
def gather_nd_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return op.lead_first(op.GatherND(op.lead_last(t), n.b))


def _both(op: Op, n: View, tangents: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    """Tangents of the data and of what is written into it, zeros for one that is missing."""
    data, _, updates = (*tangents, None)[:3]
    first = op.zeros(n.x.shape, n.x.dtype) if data is None else data
    second = op.zeros(n.i[2].shape, n.x.dtype) if updates is None else updates  # type: ignore[union-attr]
    return first, second


@vjp("ReverseSequence", still=(1,))
def reverse_sequence_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """A permutation that is its own inverse."""
    return [op.lead_first(op.ReverseSequence(op.lead_last(g), n.b, **n.node.attrs))]


@jvp("ReverseSequence")
def reverse_sequence_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return op.lead_first(op.ReverseSequence(op.lead_last(t), n.b, **n.node.attrs))
