"""DequantizeLinear y = (x - zero point) scale: linear in its scale, the one input that moves."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, vjp


@vjp("DequantizeLinear", still=(0, 2))
def dequantize_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """The entries that share a scale are added."""
    t = _as(op, g * _moved(n.of_model()), n.b)
    scale, size = n.b.shape, n.attr("block_size", 0)
    every = list(range(-n.x.rank, 0))
    if n.b.rank == 0 or (scale == (1,) and not size):
        return [None, op.reshape(op.reduce_sum(t, every), scale)]
    axis = n.axis(default=1)
    if not size:
        rest = [a for a in every if a != axis]
        return [None, op.reduce_sum(t, rest, keep=0)]
    wide, cut = _blocks(n, axis)
    ends = [0] * n.x.rank
    ends[axis] = cut
    parts = op.reshape(op.pad(t, [0] * n.x.rank, ends), wide)
    return [None, op.reduce_sum(parts, [axis], keep=0)]


@jvp("DequantizeLinear")
def dequantize_jvp(op: Op, n: View, *tangents: Tensor | None) -> Tensor | None:
    """The same map of the scale's tangent."""
    t: Any = tangents[1]
    scale, size = n.b.shape, n.attr("block_size", 0)
    ones: list[Any] = [1] * n.x.rank
    axis = n.axis(default=1)
    if n.b.rank == 0 or (scale == (1,) and not size):
        t = op.reshape(t, ones)
    elif not size:
        ones[axis] = scale[0]
        t = op.reshape(t, ones)
    else:
        wide, _ = _blocks(n, axis)
        column = [*wide]
        column[axis] = 1
        t = op.expand(op.reshape(t, column), wide)
        whole = list(scale)
        whole[axis] = scale[axis] * size
        t = op.Slice(op.reshape(t, whole), [0], op.size(n.x.shape[axis]), [axis])
    return op.expand(_as(op, t, n.y) * _moved(n.of_model()), n.y.shape)


def _moved(n: View) -> Tensor:
    """x - zero point, by the operator itself with scales of one."""
    op = n.op
    if n.b.value is not None:
        ones = op.const(np.ones(n.b.value.shape, n.b.dtype))
    else:
        ones = op.expand(op.const(np.ones([1] * n.b.rank, n.b.dtype)), n.b.shape)
    return op.DequantizeLinear(n.x, ones, *n.i[2:], **n.node.attrs)


def _blocks(n: View, axis: int) -> tuple[list[Any], Any]:
    """The shape of x with the axis split in (blocks, block), and what the last block lacks."""
    shape, size = list(n.x.shape), n.attr("block_size")
    count, place = n.b.shape[axis], n.x.rank + axis
    return [*shape[:place], count, size, *shape[place + 1 :]], count * size - shape[place]


def _as(op: Op, t: Tensor, like: Tensor) -> Tensor:
    return op.Cast(t, to=helper.np_dtype_to_tensor_dtype(like.dtype))
