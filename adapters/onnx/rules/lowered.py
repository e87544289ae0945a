"""Operators written in others that have rules, when the model is emitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower, refusal
from pertcore.adapters.onnx.symbolic import Poly, product
from pertcore.adapters.onnx.windows import explicit_pads, output_sizes, spatial
from pertcore.errors import CapabilityError

# Entries of an index that is made when the model is emitted.
LARGEST = 1 << 24


def constant_ints(n: View, index: int) -> list[int]:
    """Integers of an input that must be known. Raises CapabilityError where they are not."""
    given = n.input(index)
    known = given.ints() if given is not None else None
    if known is None or any(isinstance(k, Poly) for k in known):
        raise refusal(n, index)
    return known


# Sums of powers


@lower("LpPool")
def lp_pool(op: Op, n: View) -> Tensor:
    """(sum over the window of |x|^p)^(1/p)."""
    return _root(op, _window_sums(op, n, _power(op, n)), n.attr("p", 2))


@lower("GlobalLpPool")
def global_lp_pool(op: Op, n: View) -> Tensor:
    total = op.ReduceSum(_power(op, n), list(range(2, n.x.rank)), keepdims=1)
    return _root(op, total, n.attr("p", 2))


@lower("LpNormalization")
def lp_normalization(op: Op, n: View) -> Tensor:
    """x / ||x||_p along the axis, 0 where the norm is 0."""
    total = op.ReduceSum(_power(op, n), [n.axis(default=-1)], keepdims=1)
    empty = op.Equal(total, 0.0)
    return n.x / op.Where(empty, op.const(1.0, n.x.dtype), _root(op, total, n.attr("p", 2)))


def _power(op: Op, n: View) -> Tensor:
    p = n.attr("p", 2)
    return {1: lambda: op.Abs(n.x), 2: lambda: n.x * n.x}.get(
        p, lambda: op.Pow(op.Abs(n.x), float(p))
    )()


def _root(op: Op, total: Tensor, p: int) -> Tensor:
    """total^(1/p), flat where total is 0: the slope of a norm at 0 is taken as 0."""
    if p == 1:
        return total
    empty = op.Equal(total, 0.0)
    safe = op.Where(empty, op.const(1.0, total.dtype), total)
    root = op.Sqrt(safe) if p == 2 else op.Pow(safe, 1.0 / p)
    return op.Where(empty, op.const(0.0, total.dtype), root)


def _window_sums(op: Op, n: View, x: Tensor) -> Tensor:
    """Sums over sliding windows: a convolution of each channel with ones."""
    kernel, sizes = n.attr("kernel_shape"), n.x.shape[2:]
    strides, dilations, extents = spatial(n.node.attrs, kernel)
    pads, rank = explicit_pads(n.node.attrs, sizes, kernel), len(kernel)
    made = output_sizes(n.node.attrs, sizes, kernel)
    if n.attr("ceil_mode", 0):
        if any(isinstance(size, Poly) for size in sizes):
            raise refusal(n, 0)
        ends = [(m - 1) * s + e for m, s, e in zip(made, strides, extents, strict=True)]
        reached = [e - s - p for e, s, p in zip(ends, sizes, pads[:rank], strict=True)]
        pads = [*pads[:rank], *[max(r, 0) for r in reached]]
    folded = op.resized(x, [n.x.shape[0] * n.x.shape[1], 1, *sizes])
    ones = np.ones((1, 1, *kernel), n.x.dtype)
    summed = op.Conv(folded, ones, strides=strides, dilations=dilations, pads=pads)
    return op.resized(summed, [*n.x.shape[:2], *made])


@lower("LRN")
def local_response(op: Op, n: View) -> Tensor:
    """x / (bias + alpha/size sum over neighbouring channels of x^2)^beta (Krizhevsky 2012)."""
    size = n.attr("size")
    batch, channels, *rest = n.x.shape
    flat = op.resized(n.x * n.x, [batch, 1, channels, product(rest)])
    ones = np.ones((1, 1, size, 1), n.x.dtype)
    low = (size - 1) // 2
    summed = op.Conv(flat, ones, pads=[low, 0, size - 1 - low, 0])
    scale = op.resized(summed, n.x.shape) * (n.attr("alpha", 1e-4) / size) + n.attr("bias", 1.0)
    return n.x / op.Pow(scale, n.attr("beta", 0.75))


@lower("BatchNormalization")
def batch_norm_training(op: Op, n: View) -> Sequence[Tensor] | None:
    """In training mode: statistics of the batch itself, and the running ones updated."""
    if not n.attr("training_mode", 0):
        return None
    scale, bias, mean, variance = n.i[1:5]
    axes = [0, *range(2, n.x.rank)]
    column = [n.x.shape[1], *[1] * (n.x.rank - 2)]
    average = op.ReduceMean(n.x, axes, keepdims=1)
    centred = n.x - average
    spread = op.ReduceMean(centred * centred, axes, keepdims=1)
    z = centred / op.Sqrt(spread + n.attr("epsilon", 1e-5))
    y = z * op.resized(scale, column) + op.resized(bias, column)  # type: ignore[arg-type]
    old = n.attr("momentum", 0.9)
    flat = [n.x.shape[1]]
    running = mean * old + op.resized(average, flat) * (1 - old)
    deviation = variance * old + op.resized(spread, flat) * (1 - old)
    return [y, running, deviation]


# Products and indicators


@lower("CumProd")
def cumulative_product(op: Op, n: View) -> Tensor:
    """y_i = product of x_j over j <= i, each a row of a triangle, so that zeros stay exact."""
    axis = constant_ints(n, 1)[0]
    axis = axis - n.x.rank if axis >= 0 else axis
    order = list(range(n.x.rank))
    order[axis], order[-1] = order[-1], order[axis]
    x = op.Transpose(n.x, perm=order)
    places = op.positions(x.shape[-1])
    rows, columns = op.Unsqueeze(places, [1]), op.Unsqueeze(places, [0])
    first, second = (columns, rows) if n.attr("reverse", 0) else (rows, columns)
    inside = op.Greater if n.attr("exclusive", 0) else op.GreaterOrEqual
    triangle = op.Where(inside(first, second), op.Unsqueeze(x, [-2]), op.const(1.0, x.dtype))
    return op.Transpose(op.ReduceProd(triangle, [-1], keepdims=0), perm=order)


@lower("OneHot")
def one_hot(op: Op, n: View) -> Tensor:
    """off + (on - off) [index == position]; an index below 0 counts from the end."""
    rank = n.x.rank + 1
    axis = n.attr("axis", -1)
    index = op.Cast(n.x, to=7)
    depth = op.Cast(op.resized(n.b, [1]), to=7)
    known = n.b.value
    if known is not None and known.reshape(-1)[0] <= LARGEST:
        places = op.const(np.arange(int(known.reshape(-1)[0])))
    else:
        places = op.Range(op.const(0), op.Squeeze(depth, [0]), op.const(1))
    index = op.Unsqueeze(op.Where(op.Less(index, 0), index + depth, index), [axis])
    row = [1] * rank
    row[axis] = -1
    hits = op.Equal(index, op.Reshape(places, row))
    off, on = op.Split(n.i[2], [1, 1], axis=0, outputs=2)
    return off + (on - off) * op.indicator(hits, on)


# Picks, as looked-up indices


@lower("Compress")
def compress(op: Op, n: View) -> Tensor:
    x = n.x if "axis" in n.node.attrs else op.Reshape(n.x, [-1])
    known = n.b.value
    index = op.Squeeze(op.NonZero(n.b), [0]) if known is None else np.flatnonzero(known)
    return op.Gather(x, index, axis=n.attr("axis", 0))


@lower("Unique")
def unique(op: Op, n: View) -> Sequence[Tensor]:
    """The values are those at the indices, which the operator itself finds."""
    found = op.Unique(n.x, outputs=4, **n.node.attrs)
    x = n.x if "axis" in n.node.attrs else op.Reshape(n.x, [-1])
    return [op.Gather(x, found[1], axis=n.attr("axis", 0)), *found[1:]]


@lower("TensorScatter")
def tensor_scatter(op: Op, n: View) -> Tensor:
    """Rows of a cache written from a position of their own on, around its end if circular."""
    cache, update, starts = n.i[0], n.i[1], n.input(2)
    if cache is None or update is None:
        raise refusal(n, 1)
    axis = n.attr("axis", -2) % cache.rank
    column = [1] * cache.rank
    column[axis] = update.shape[axis]
    index = op.resized(op.positions(update.shape[axis]), column)
    if starts is not None:
        index = index + op.resized(starts, [cache.shape[0], *[1] * (cache.rank - 1)])
    if n.attr("mode", "linear") == "circular":
        index = op.Mod(index, op.size(cache.shape[axis]))
    return op.ScatterElements(cache, op.expand(index, update.shape), update, axis=axis)


@lower("MaxUnpool")
def max_unpool(op: Op, n: View) -> Tensor:
    """Every entry goes to its index in the flattened output, the last of several to the same (as
    windows that overlap have them); the rest is zero."""
    kernel, sizes = n.attr("kernel_shape"), n.x.shape[2:]
    strides, _, _ = spatial(n.node.attrs, kernel)
    pads, rank = n.attr("pads") or [0] * (2 * len(kernel)), len(kernel)
    inferred = [
        (sizes[i] - 1) * strides[i] + kernel[i] - pads[i] - pads[i + rank] for i in range(rank)
    ]
    shape: list[Any] = [*n.x.shape[:2], *inferred]
    wanted = constant_ints(n, 2) if n.input(2) is not None else shape
    count = product(n.x.shape)
    nowhere, places = op.zeros([product(wanted)], np.dtype(np.int64)), op.positions(count) + 1
    origin = op.ScatterElements(nowhere, op.resized(n.b, [count]), places, axis=0)
    entries = op.Concat(op.zeros([1], n.x.dtype), op.resized(n.x, [count]), axis=0)
    return op.resized(op.Gather(entries, origin, axis=0), wanted)


@lower("Col2Im")
def col2im(op: Op, n: View) -> Tensor:
    """Columns of patches added where they lie in the image; what falls on the pads is dropped."""
    image, block = constant_ints(n, 1), constant_ints(n, 2)
    rank = len(image)
    if max(math.prod(image), math.prod(block)) > LARGEST:
        raise CapabilityError(f"Col2Im {n.node.label!r}: an image {image} of blocks {block}")
    strides, dilations, extents = spatial(n.node.attrs, block)
    pads = n.attr("pads") or [0] * (2 * rank)
    index, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
    for i in range(rank):
        room = image[i] + pads[i] + pads[i + rank] - extents[i]
        steps = np.arange(room // strides[i] + 1) * strides[i] - pads[i]
        places = np.arange(block[i])[:, None] * dilations[i] + steps
        index = _crossed(index * image[i], places, np.add)
        inside = _crossed(inside, (places >= 0) & (places < image[i]), np.logical_and)
    batch, columns, _ = n.x.shape
    channels = columns // int(np.prod(block))
    flat = op.resized(n.x, [batch, channels, index.size])
    total = int(np.prod(image))
    target = op.const(np.where(inside, index, total).reshape(-1))
    added = op.scatter(flat, -1, target, total + 1)
    return op.resized(op.Slice(added, [0], [total], [-1]), [batch, channels, *image])


def _crossed(a: Any, b: Any, combine: Any) -> Any:
    """(A, S) with (B, T) to (A B, S T)."""
    made = combine(a[:, None, :, None], b[None, :, None, :])
    return made.reshape(a.shape[0] * b.shape[0], -1)


@lower("Range")
def number_range(op: Op, n: View) -> Tensor:
    """start + i delta; how many there are is a step function."""
    start, limit, delta = (op.resized(t, []) for t in n.i if t is not None)
    if n.x.dtype.kind != "f":
        return op.Range(start, limit, delta)
    count = op.Max(op.Cast(op.Ceil((limit - start) / delta), to=7), op.const(0, np.int64))
    places = op.Range(op.const(0, np.int64), count, op.const(1, np.int64))
    return start + op.indicator(places, start) * delta
