"""Operators that look entries up by index; going back adds where an index was used twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, refusal, vjp


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


@vjp("ScatterElements", still=(1,))
def scatter_elements_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """Overwritten entries of the data get nothing; what was written gets theirs."""
    index, axis = op.lead_index(n.b), n.axis()
    back = op.GatherElements(g, index, axis=axis)
    if _adds(n):
        return [g, None, back]
    nothing = op.zeros(n.b.shape, g.dtype)
    return [op.ScatterElements(g, index, nothing, axis=axis), None, back]


@jvp("ScatterElements")
def scatter_elements_jvp(op: Op, n: View, *tangents: Tensor | None) -> Tensor:
    data, updates = _both(op, n, tangents)
    mode = n.attr("reduction", "none")
    index = op.lead_index(n.b)
    _adds(n)
    return op.ScatterElements(data, index, updates, axis=n.axis(), reduction=mode)


@vjp("ScatterND", still=(1,))
def scatter_nd_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    last = op.lead_last(g)
    back = op.lead_first(op.GatherND(last, n.b))
    if _adds(n):
        return [g, None, back]
    nothing = op.lead_last(op.zeros(n.i[2].shape, g.dtype))  # type: ignore[union-attr]
    return [op.lead_first(op.ScatterND(last, n.b, nothing)), None, back]


@jvp("ScatterND")
def scatter_nd_jvp(op: Op, n: View, *tangents: Tensor | None) -> Tensor:
    data, updates = (op.lead_last(t) for t in _both(op, n, tangents))
    _adds(n)
    made = op.ScatterND(data, n.b, updates, reduction=n.attr("reduction", "none"))
    return op.lead_first(made)


@vjp("GatherND", still=(1,))
def gather_nd_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    if n.attr("batch_dims", 0):
        raise refusal(n, 0)
    nothing = op.lead_last(op.zeros(n.x.shape, g.dtype))
    return [op.lead_first(op.ScatterND(nothing, n.b, op.lead_last(g), reduction="add"))]


@jvp("GatherND")
def gather_nd_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    depth = n.attr("batch_dims", 0)
    return op.lead_first(op.GatherND(op.lead_last(t), n.b, batch_dims=depth))


def _both(op: Op, n: View, tangents: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    """Tangents of the data and of what is written into it, zeros for one that is missing."""
    data, _, updates = (*tangents, None)[:3]
    first = op.zeros(n.x.shape, n.x.dtype) if data is None else data
    second = op.zeros(n.i[2].shape, n.x.dtype) if updates is None else updates  # type: ignore[union-attr]
    return first, second


def _adds(n: View) -> bool:
    """Whether the node adds; else it overwrites. Other reductions have no rule."""
    mode = n.attr("reduction", "none")
    if mode not in ("none", "add"):
        raise refusal(n, 2)
    return mode == "add"
