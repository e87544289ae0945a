"""Resize: linear and separable, so its transpose is a matrix product along each axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, refusal, vjp
from pertcore.adapters.onnx.symbolic import product

# Entries of a matrix that keeps an aspect ratio, where axes are not independent.
LARGEST = 1 << 20


@vjp("Resize", still=(1, 2, 3))
def resize_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    factor = _whole_nearest(op, n)
    if factor is not None:
        return [_block_sums(op, n, g, factor)]
    if n.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        whole = _whole_matrix(op, n)
        flat = op.reshape(g, [product(n.y.shape)])
        return [op.reshape(flat @ op.Transpose(whole, perm=[1, 0]), n.x.shape)]
    for axis in _changed(n):
        g = op.along(g, _matrix(op, n, axis), axis - n.x.rank)
    return [g]


@jvp("Resize")
def resize_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    if n.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        flat = op.reshape(t, [product(n.x.shape)])
        return op.reshape(flat @ _whole_matrix(op, n), n.y.shape)
    for axis in _changed(n):
        t = op.along(t, op.Transpose(_matrix(op, n, axis), perm=[1, 0]), axis - n.x.rank)
    return t


def _whole_matrix(op: Op, n: View) -> Tensor:
    """(entries of x, entries of y): what the operator does to each entry of x alone."""
    source = [d for d in n.x.shape if isinstance(d, int)]
    made = [d for d in n.y.shape if isinstance(d, int)]
    count, width = math.prod(source), math.prod(made)
    if len(source) < n.x.rank or len(made) < n.x.rank or count * width > LARGEST:
        raise refusal(n, 0)
    ones = np.eye(count, dtype=n.x.dtype).reshape(count, *source)
    rows = [op.Resize(row, *n.i[1:], **n.node.attrs) for row in ones]
    return op.Concat(*[op.resized(row, [1, width]) for row in rows], axis=0)


def _changed(n: View) -> list[int]:
    if n.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        order = list(n.attr("axes") or range(n.x.rank))
        whole = [0.0] * len(order) + [1.0] * len(order)
        given = n.input(1)
        region = whole if given is None or given.value is None else given.value.tolist()
        parts = zip(order, region, region[len(order) :], strict=False)
        cut = {axis % n.x.rank for axis, low, high in parts if (low, high) != (0.0, 1.0)}
        return sorted(cut | {i for i in range(n.x.rank) if n.x.shape[i] != n.y.shape[i]})
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
    if not isinstance(size, int):
        raise refusal(n, 0)
    # What comes from outside is a constant, without a part in the derivative.
    attrs = {k: v for k, v in n.node.attrs.items() if k not in ("axes", "extrapolation_value")}
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
        grown = op.Resize(
            eye, _part(op, n, place, len(order)), np.array([1, 1, 1, scale], np.float32), **attrs
        )
    elif wanted is not None and stretch:
        grown = op.Resize(
            eye, _part(op, n, place, len(order)), None, [1, 1, size, wanted[place]], **attrs
        )
    else:
        raise refusal(n, 0)
    return op.Transpose(op.resized(grown, [size, n.y.shape[axis]]), perm=[1, 0])


def _part(op: Op, n: View, place: int, count: int) -> Any:
    """The region of one axis, where the operator crops."""
    region = n.input(1)
    if region is None or n.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return None
    if region.value is None:
        raise refusal(n, 1)
    low, high = region.value[place], region.value[place + count]
    return np.array([0, 0, 0, low, 1, 1, 1, high], region.dtype)
