"""DeformConv: a convolution whose kernel reads its entries where offsets have moved them
(Dai et al. 2017, Zhu et al. 2019)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower, refusal
from pertcore.adapters.onnx.rules.sampling import Tap, linear, read
from pertcore.adapters.onnx.symbolic import product
from pertcore.adapters.onnx.windows import spatial
from pertcore.errors import ModelError


@lower("DeformConv")
def deform_conv(op: Op, n: View) -> Tensor:
    """sum over the kernel of w(k) mask(k) x(stride o + dilation k - pad + offset(k)) + bias; x is
    linear between its entries and zero outside."""
    kernel: list[Any] = list(n.attr("kernel_shape") or n.b.shape[2:])
    offset, bias, mask = n.i[2], n.input(3), n.input(4)
    if offset is None:
        raise refusal(n, 2)
    batch, channels, *sizes = n.x.shape
    made, count, rank = list(offset.shape[2:]), math.prod(kernel), len(kernel)
    parts, groups = n.attr("offset_group", 1), n.attr("group", 1)
    points = product(made)
    if offset.shape[1] != parts * count * rank or rank != n.x.rank - 2:
        raise ModelError(
            f"DeformConv {n.node.label!r}: {offset.shape[1]} offsets for {parts} groups of a kernel "
            f"{kernel}"
        )
    # Groups of offsets are samples of their own here: (batch parts, 1, kernel, points).
    moves = op.resized(offset, [batch * parts, count, rank, points])
    taps = [_taps(op, n, kernel, made, moves, axis) for axis in range(rank)]
    data = op.resized(n.x, [batch * parts, channels // parts, product(sizes)])
    columns = read(op, data, sizes, taps)
    if mask is not None:
        columns = columns * op.resized(mask, [batch * parts, 1, count * points])
    rows = channels // groups * count
    columns = op.resized(columns, [batch, groups, rows, points])
    filters = n.b.shape[0]
    summed = op.resized(n.b, [groups, filters // groups, rows]) @ columns
    y = op.resized(summed, [batch, filters, *made])
    return y if bias is None else y + op.resized(bias, [filters, *[1] * rank])


def _taps(
    op: Op, n: View, kernel: list[int], made: list[Any], moves: Tensor, axis: int
) -> list[Tap]:
    """Of one axis, for every entry of the kernel at every point: (batch parts, 1, kernel points)."""
    strides, dilations, _ = spatial(n.node.attrs, kernel)
    pads, rank = n.attr("pads") or [0] * (2 * len(kernel)), len(kernel)
    column = [1] * rank
    column[axis] = made[axis]
    start = op.Cast(op.positions(made[axis]), to=1) * float(strides[axis]) - float(pads[axis])
    grid = op.resized(op.expand(op.resized(start, column), made), [1, product(made)])
    entries = np.indices(kernel).reshape(rank, -1)[axis] * dilations[axis]
    places = grid + op.const(entries[:, None], np.float32)
    picked = op.Squeeze(op.Slice(moves, [axis], [axis + 1], [2]), [2])
    if n.x.dtype != np.float32:
        places = op.indicator(places, n.x)
    flat = [moves.shape[0], 1, moves.shape[1] * moves.shape[3]]
    return linear(
        op, op.resized(picked + places, flat), op.indicator(op.size(n.x.shape[2 + axis]), n.x)
    )
