"""Operators that look entries up by index; going back adds where an index was used twice."""

from __future__ import annotations

from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, vjp


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
