"""Output sizes of sliding windows, slices and resizes, for dimensions that may be symbols."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.adapters.onnx.known import Unknown
from pertcore.adapters.onnx.symbolic import Poly

END = 2**31 - 1


def slice_length(k: Any, size: int | Poly, start: Any, end: Any, step: Any) -> int | Poly:
    """Length of size[start:end:step]; a fresh symbol where the bounds are not known."""
    if isinstance(size, int) and all(isinstance(v, int) for v in (start, end, step)):
        low, high, by = slice(start, None if step < 0 and end < -size else end, step).indices(size)
        return len(range(low, high, by))
    if not isinstance(start, int) or not isinstance(step, int):
        return k.fresh()
    if step == 1 and start >= 0 and isinstance(end, int) and (end >= END or end < 0):
        return size - start if end >= END else size + end - start
    if step == 1 and start < 0 and isinstance(end, int) and end >= END:
        return -start
    if step == 1 and start >= 0 and end == size:
        return size - start
    if step == -1 and start in (-1, END) and isinstance(end, int) and end <= -END:
        return size
    return k.fresh()


def spatial(attrs: Any, kernel: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations and extents of the window, with ONNX's defaults filled in."""
    rank = len(kernel)
    strides = list(attrs.get("strides") or [1] * rank)
    dilations = list(attrs.get("dilations") or [1] * rank)
    extents = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    return strides, dilations, extents


def explicit_pads(attrs: Any, sizes: Sequence[Any], kernel: Sequence[int]) -> list[Any]:
    """Pads, begins then ends, with auto_pad resolved (SAME: out = ceil(size / stride))."""
    mode = attrs.get("auto_pad", "NOTSET")
    rank = len(kernel)
    if mode in ("NOTSET", ""):
        return list(attrs.get("pads") or [0] * (2 * rank))
    if mode == "VALID":
        return [0] * (2 * rank)
    strides, _, extents = spatial(attrs, kernel)
    totals = [_same_pad(*window) for window in zip(sizes, strides, extents, strict=True)]
    small = [t // 2 for t in totals]
    large = [t - s for t, s in zip(totals, small, strict=True)]
    return small + large if mode == "SAME_UPPER" else large + small


def _same_pad(size: Any, stride: int, extent: int) -> int:
    if stride == 1:
        return extent - 1
    if not isinstance(size, int):
        raise ValueError("auto_pad SAME with a stride needs a fixed size")
    return max((-(-size // stride) - 1) * stride + extent - size, 0)


def output_sizes(attrs: Any, sizes: Sequence[Any], kernel: Sequence[int]) -> list[Any]:
    """floor((size + pads - extent) / stride) + 1 for each axis, or its ceil_mode form."""
    strides, _, extents = spatial(attrs, kernel)
    pads = explicit_pads(attrs, sizes, kernel)
    rank = len(kernel)
    result: list[Any] = []
    for i, (size, stride, extent) in enumerate(zip(sizes, strides, extents, strict=True)):
        span = size + pads[i] + pads[i + rank] - extent
        count = (
            (span + stride - 1) // stride + 1 if attrs.get("ceil_mode", 0) else span // stride + 1
        )
        if attrs.get("ceil_mode", 0) and isinstance(size, int):
            count -= int((count - 1) * stride >= size + pads[i])
        if isinstance(count, int) and count < 0:
            raise ValueError(f"window {extent} exceeds size {size}")
        result.append(count)
    return result


def kernel_of(k: Any) -> list[int]:
    return list(k.attrs.get("kernel_shape") or k.shape(1)[2:])


def conv(k: Any) -> Any:
    n, c, *sizes = k.shape(0)
    weight = k.shape(1)
    if (
        isinstance(c, int)
        and isinstance(weight[1], int)
        and c != weight[1] * k.attrs.get("group", 1)
    ):
        raise ValueError(f"{c} channels for weights {weight}")
    return [(k.dtype(), (n, weight[0], *output_sizes(k.attrs, sizes, kernel_of(k))))]


def pool(k: Any) -> Any:
    n, c, *sizes = k.shape(0)
    shape = (n, c, *output_sizes(k.attrs, sizes, k.attrs["kernel_shape"]))
    return [(k.dtype(), shape), (np.int64, shape)]


def conv_transpose(k: Any) -> Any:
    n, _, *sizes = k.shape(0)
    kernel = kernel_of(k)
    rank = len(kernel)
    channels = k.shape(1)[1] * k.attrs.get("group", 1)
    if k.attrs.get("output_shape"):
        return [(k.dtype(), (n, channels, *k.attrs["output_shape"]))]
    strides, _, extents = spatial(k.attrs, kernel)
    if k.attrs.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return [(k.dtype(), (n, channels, *[s * t for s, t in zip(sizes, strides, strict=True)]))]
    pads = explicit_pads(k.attrs, sizes, kernel)
    extra = k.attrs.get("output_padding") or [0] * rank
    out = [
        (sizes[i] - 1) * strides[i] + extents[i] + extra[i] - pads[i] - pads[i + rank]
        for i in range(rank)
    ]
    return [(k.dtype(), (n, channels, *out))]


def resize(k: Any) -> Any:
    shape = list(k.shape())
    axes = k.attrs.get("axes") or range(len(shape))
    if k.has(3):
        if k.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise Unknown
        for axis, size in zip(axes, k.ints(3), strict=True):
            shape[axis] = size
        return [(k.dtype(), shape)]
    scales = k.graph.value(k.node.inputs[2])
    if scales is None:
        raise Unknown
    for axis, scale in zip(axes, scales.tolist(), strict=True):
        shape[axis] = _scaled(k, shape[axis], scale)
    return [(k.dtype(), shape)]


def _scaled(k: Any, size: int | Poly, scale: float) -> int | Poly:
    if isinstance(size, int):
        return math.floor(size * scale)
    return size * int(scale) if float(scale).is_integer() else k.fresh()
