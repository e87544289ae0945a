"""Pools: averages are separable linear maps, maxima route to the first largest entry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.adapters.onnx.layout import BLOCK, enters, led_in
from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, refusal, vjp
from pertcore.adapters.onnx.symbolic import Poly
from pertcore.adapters.onnx.windows import explicit_pads, spatial

# Entries of a sample up to which fewer operators are faster than the blocked layout.
FEW_ENTRIES = 2048
# The least float32 above 0.
LEAST = float(np.nextafter(np.float32(0), np.float32(1)))


@vjp("GlobalAveragePool")
def global_average_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    g = g * _inverse_count(op, n)
    sides = n.x.shape[2:]
    if enters(op, n.x) and all(isinstance(side, int) for side in sides):
        return [op.batched(lambda s: _repeated(op, led_in(op, s), sides), g)]
    return [op.expand(g, n.x.shape)]


@jvp("GlobalAveragePool")
def global_average_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return op.batched(op.GlobalAveragePool, t)


def _inverse_count(op: Op, n: View) -> Any:
    count: Any = 1
    for size in n.x.shape[2:]:
        count = count * size
    return 1.0 / count if isinstance(count, int) else 1.0 / op.indicator(op.size(count), n.x)


@vjp("AveragePool")
def average_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    kernel = n.attr("kernel_shape")
    if _tiles(n):
        g = g * (1.0 / math.prod(kernel))
        if all(size == 1 for size in n.y.shape[2:]):
            return [op.expand(g, n.x.shape)]
        return [op.batched(lambda s: _repeated(op, s, kernel), g)]
    rank = len(kernel)
    for axis in range(rank):
        g = op.along(g, op.const(_averaging(n, axis).T), axis - rank)
    return [g]


@jvp("AveragePool")
def average_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return op.batched(lambda s: op.AveragePool(s, **n.node.attrs), t)


def _tiles(n: View) -> bool:
    """Whether the windows lie side by side and cover everything."""
    kernel = n.attr("kernel_shape")
    strides, dilations, _ = spatial(n.node.attrs, kernel)
    sizes = n.x.shape[2:]
    fixed = all(isinstance(s, int) and s % k == 0 for s, k in zip(sizes, kernel, strict=True))
    plain = list(kernel) == strides and all(d == 1 for d in dilations)
    return fixed and plain and not any(explicit_pads(n.node.attrs, sizes, kernel))


def _repeated(op: Op, s: Tensor, kernel: Any) -> Tensor:
    """Every entry repeated over its window: a Resize, which keeps the blocked layout."""
    scales = np.array([1, 1, *kernel], np.float32)
    mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    return op.Resize(s, None, scales, nearest_mode="floor", **mode)


def _averaging(n: View, axis: int) -> np.ndarray[Any, Any]:
    """(in, out) weights of one axis: 1 / (entries counted) inside the window."""
    kernel = n.attr("kernel_shape")
    sizes, rank = n.x.shape[2:], len(kernel)
    size, made = sizes[axis], n.y.shape[2 + axis]
    if isinstance(size, Poly) or isinstance(made, Poly):
        raise refusal(n, 0)
    strides, dilations, _ = spatial(n.node.attrs, kernel)
    pads = explicit_pads(n.node.attrs, sizes, kernel)
    low, high = pads[axis], pads[axis + rank]
    weights = np.zeros((size, made), dtype=n.x.dtype)
    for column in range(made):
        places = column * strides[axis] - low + dilations[axis] * np.arange(kernel[axis])
        inside = places[(places >= 0) & (places < size)]
        counted = inside
        if n.attr("count_include_pad", 0):
            counted = places[(places >= -low) & (places < size + high)]
        weights[inside, column] = 1.0 / max(len(counted), 1)
    return weights


@vjp("MaxPool")
def max_vjp(op: Op, n: View, g: Tensor, *_: Any) -> list[Tensor | None]:
    kernel = n.attr("kernel_shape")
    if _routed_by_mask(n):
        return [op.batched(lambda s: _repeated(op, s, kernel), g) * _first_largest(op, n)]
    index, flat = _positions(op, n)
    nothing = op.zeros([n.x.shape[0], flat], g.dtype)
    g = op.reshape(g, [n.x.shape[0], index.shape[1]])
    found = op.ScatterElements(nothing, op.lead_index(index), g, axis=-1, reduction="add")
    return [op.reshape(found, n.x.shape)]


@jvp("MaxPool")
def max_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    kernel = n.attr("kernel_shape")
    if _routed_by_mask(n):
        routed = t * _first_largest(op, n)
        pool = {"kernel_shape": list(kernel), "strides": list(kernel)}
        return op.batched(lambda s: op.AveragePool(s, **pool), routed) * float(math.prod(kernel))
    index, flat = _positions(op, n)
    t = op.reshape(t, [n.x.shape[0], flat])
    return op.reshape(op.GatherElements(t, op.lead_index(index), axis=-1), n.y.shape)


def _routed_by_mask(n: View) -> bool:
    """Whether windows lie side by side in the plane, in the type that ONNX Runtime can resize."""
    plane = len(n.attr("kernel_shape")) == 2 and n.x.dtype == np.float32
    return plane and _tiles(n)


def masks_relu(n: View) -> bool:
    """Whether the mask of this pool is that of the Relu behind it, too: 0 where nothing is above 0.

    Relu then passes its (co)tangent on, and what masks it need not be kept.
    """
    return n.passes_to("Relu") and _routed_by_mask(n) and not _in_blocks(n)


def _in_blocks(n: View) -> bool:
    """Whether the mask is found by operators that have a blocked layout."""
    channels = n.x.shape[1]
    blocked = isinstance(channels, int) and channels % BLOCK == 0 and n.x.dtype == np.float32
    large = blocked and math.prod(n.x.shape[1:]) > FEW_ENTRIES  # type: ignore[operator]
    return large and list(n.attr("kernel_shape")) == [2, 2]


def _first_largest(op: Op, n: View) -> Tensor:
    """1 at the first largest entry of each window, without the slow Indices of MaxPool.

    Every window has a code, k for its first entry down to 1 for its last, or one less in blocks:
    that of the first entry that equals the maximum. It is found with the model's own run, being
    smaller than x.
    """
    kernel, blocks = n.attr("kernel_shape"), _in_blocks(n)
    code = np.arange(math.prod(kernel) - blocks, -blocks, -1, dtype=n.x.dtype).reshape(kernel)
    repeats = (n.x.shape[2] // kernel[0], n.x.shape[3] // kernel[1])
    codes = np.tile(code, repeats)[None, None]
    best = _code_of_four(n.of_model()) if blocks else _code_by_maximum(n.of_model(), codes)
    return op.indicator(op.Equal(_repeated(op, best, kernel), op.const(codes)), n.x)


def _code_by_maximum(n: View, codes: Any) -> Tensor:
    """The largest code among the entries that equal the maximum; 0, which is no entry's, where it
    is to mask for a Relu and is not above 0: no entry equals the least number that is."""
    op, kernel = n.op, n.attr("kernel_shape")
    largest = op.Max(n.y, LEAST) if masks_relu(n) else n.y
    ties = op.indicator(op.Equal(n.x, _repeated(op, largest, kernel)), n.x)
    return op.MaxPool(ties * op.const(codes), kernel_shape=list(kernel), strides=list(kernel))


def _code_of_four(n: View) -> Tensor:
    """The code of a 2 x 2 window, in operators that ONNX Runtime runs in its blocked layout.

    3 where the corner is the maximum, else 2 where the top row has it, else 1 where the left
    column has it, else 0: corner, row and column are maxima of smaller windows.
    """
    op, channels = n.op, n.x.shape[1]
    lowered = op.Conv(n.y, np.full((channels, 1, 1, 1), -1, np.float32), group=channels)

    def reaches(kernel: list[int]) -> Tensor:
        part = op.MaxPool(n.x, kernel_shape=kernel, strides=[2, 2])
        return op.HardSigmoid(part + lowered, alpha=2.0**126, beta=1.0)

    corner, row, column = reaches([1, 1]), reaches([1, 2]), reaches([2, 1])
    either = op.HardSigmoid(row + column, alpha=1.0, beta=0.0)
    return either + row + corner


def _positions(op: Op, n: View) -> tuple[Tensor, Any]:
    """Where each maximum sits in its own flattened sample, (batch, outputs), and its length."""
    flat: Any = 1
    for size in n.x.shape[1:]:
        flat = flat * size
    made: Any = 1
    for size in n.y.shape[1:]:
        made = made * size
    inside = op.Mod(_row_major(op, n), op.size(flat))
    return op.resized(inside, [n.x.shape[0], made]), flat


def _row_major(op: Op, n: View) -> Tensor:
    """The indices of the maxima; a pool that gives them column by column gets a second one."""
    if not n.attr("storage_order", 0):
        return n.second_output()
    attrs = {k: v for k, v in n.node.attrs.items() if k != "storage_order"}
    found: Tensor = op.model.MaxPool(n.x, outputs=2, **attrs)[1]
    return found


@vjp("GlobalMaxPool")
def global_max_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    rows, flat, index = _largest(op, n)
    found = op.ScatterElements(
        op.zeros([*rows, flat], g.dtype),
        op.lead_index(index),
        op.reshape(g, [*rows, 1]),
        axis=-1,
        reduction="add",
    )
    return [op.reshape(found, n.x.shape)]


@jvp("GlobalMaxPool")
def global_max_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    rows, flat, index = _largest(op, n)
    picked = op.GatherElements(op.reshape(t, [*rows, flat]), op.lead_index(index), axis=-1)
    return op.reshape(picked, n.y.shape)


def _largest(op: Op, n: View) -> tuple[list[Any], Any, Tensor]:
    rows = list(n.x.shape[:2])
    flat: Any = 1
    for size in n.x.shape[2:]:
        flat = flat * size
    index = op.ArgMax(op.resized(n.x, [*rows, flat]), axis=-1, keepdims=1)
    return rows, flat, index
