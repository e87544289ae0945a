"""Resize: linear and separable, so its transpose is a matrix product along each axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, refusal, vjp


@vjp("Resize", still=(1, 2, 3))
def resize_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    factor = _whole_nearest(op, n)
    if factor is not None:
        return [_block_sums(op, n, g, factor)]
    for axis in _changed(n):
        g = op.along(g, _matrix(op, n, axis), axis - n.x.rank)
    return [g]


@jvp("Resize")
def resize_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    for axis in _changed(n):
        t = op.along(t, op.Transpose(_matrix(op, n, axis), perm=[1, 0]), axis - n.x.rank)
    return t


def _changed(n: View) -> list[int]:
    return [i for i in range(n.x.rank) if n.x.shape[i] != n.y.shape[i]]


def _whole_nearest(op: Op, n: View) -> list[int] | None:
    """Factors of a nearest upsampling that repeats each entry, None for any other Resize."""
    scales = n.input(2)
    asymmetric = n.attr("coordinate_transformation_mode", "half_pixel") == "asymmetric"
    floors = n.attr("nearest_mode", "round_prefer_floor") == "floor"
    if n.attr("mode", "nearest") != "nearest" or not (asymmetric and floors) or n.attr("axes"):
        return None
    if scales is None or scales.value is None or any(s < 1 or s % 1 for s in scales.value):
        return None
    return [int(s) for s in scales.value]


def _block_sums(op: Op, n: View, g: Tensor, factor: list[int]) -> Tensor:
    split = [d for pair in zip(n.x.shape, factor, strict=True) for d in pair]
    rank = len(split)
    axes = [i - rank for i in range(1, rank, 2) if split[i] != 1]
    return op.reshape(op.reduce_sum(op.reshape(g, split), axes, keep=0), n.x.shape)


def _matrix(op: Op, n: View, axis: int) -> Tensor:
    """The (in, out) matrix of one axis, transposed of what the operator does to an identity."""
    size = n.x.shape[axis]
    if (
        not isinstance(size, int)
        or n.attr("coordinate_transformation_mode") == "tf_crop_and_resize"
    ):
        raise refusal(n, 0)
    attrs = {k: v for k, v in n.node.attrs.items() if k != "axes"}
    eye = op.const(np.eye(size, dtype=n.x.dtype).reshape(1, 1, size, size))
    order = list(n.attr("axes") or range(n.x.rank))
    if axis not in order:
        raise refusal(n, 0)
    place = order.index(axis)
    # The identity's rows are samples: only its last axis is resized.
    scales, sizes = n.input(2), n.input(3)
    wanted = sizes.ints() if sizes is not None else None
    stretch = n.attr("keep_aspect_ratio_policy", "stretch") == "stretch"
    if scales is not None and scales.value is not None and scales.value.size:
        scale = float(scales.value[place])
        grown = op.Resize(eye, None, np.array([1, 1, 1, scale], np.float32), **attrs)
    elif wanted is not None and stretch:
        grown = op.Resize(eye, None, None, [1, 1, size, wanted[place]], **attrs)
    else:
        raise refusal(n, 0)
    return op.Transpose(op.resized(grown, [size, n.y.shape[axis]]), perm=[1, 0])
