"""Operators that move entries without looking at them; each is the transpose of its inverse move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper

from pertcore.adapters.onnx.layout import enters, led_in
from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, lower, refusal, vjp
from pertcore.adapters.onnx.symbolic import Poly


@vjp("Reshape Flatten Squeeze Unsqueeze", still=(1,))
def reshape_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    g = op.reshape(g, n.x.shape)
    return [op.batched(lambda s: led_in(op, s), g) if enters(op, n.x) else g]


@jvp("Reshape Flatten Squeeze Unsqueeze")
def reshape_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return op.reshape(t, n.y.shape)


@vjp("Transpose")
def transpose_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    return [op.transpose(g, np.argsort(_perm(n)).tolist())]


@jvp("Transpose")
def transpose_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return op.transpose(t, _perm(n))


def _perm(n: View) -> list[int]:
    return list(n.attr("perm") or range(n.x.rank)[::-1])


@vjp("Cast")
def cast_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    return [op.Cast(g, to=helper.np_dtype_to_tensor_dtype(n.x.dtype))]


@lower("CastLike")
def cast_like(op: Op, n: View) -> Tensor:
    made: Tensor = op.Cast(n.x, to=helper.np_dtype_to_tensor_dtype(n.b.dtype))
    return made


@jvp("Cast")
def cast_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return op.Cast(t, to=helper.np_dtype_to_tensor_dtype(n.y.dtype))


@vjp("Concat")
def concat_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    axis = n.axis()
    sizes = [x.shape[axis] for x in n.i if x is not None]
    parts = op.Split(g, op.sizes(sizes), axis=axis, outputs=len(sizes)) if len(sizes) > 1 else g
    return list(parts) if isinstance(parts, tuple) else [parts]


@jvp("Concat")
def concat_jvp(op: Op, n: View, *tangents: Tensor | None) -> Tensor:
    pairs = [(x, t) for x, t in zip(n.i, tangents, strict=True) if x is not None]
    whole = [op.zeros(x.shape, x.dtype) if t is None else t for x, t in pairs]
    return op.Concat(*whole, axis=n.axis())


@vjp("Split", still=(1,))
def split_vjp(op: Op, n: View, *cotangents: Tensor | None) -> list[Tensor | None]:
    pairs = list(zip(n.o, cotangents, strict=True))
    whole = [op.zeros(y.shape, y.dtype) if g is None else g for y, g in pairs]
    return [op.Concat(*whole, axis=n.axis()) if len(whole) > 1 else whole[0]]


@jvp("Split")
def split_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Sequence[Tensor]:
    axis = n.axis()
    sizes = op.sizes([y.shape[axis] for y in n.o])
    parts = op.Split(t, sizes, axis=axis, outputs=len(n.o))
    return parts if isinstance(parts, tuple) else (parts,)


@vjp("Slice", still=(1, 2, 3, 4))
def slice_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """Zeros between the entries, then zeros around them."""
    shape, rank = list(n.x.shape), n.x.rank
    begins: list[Any] = [0] * rank
    steps = [1] * rank
    made = list(n.y.shape)
    for place, (axis, start, step) in enumerate(_slices(n)):
        if _may_be_cut(n, place, axis):
            g = op.scatter(g, axis - rank, _picked(op, n, place, axis), shape[axis])
            made[axis] = shape[axis]
        else:
            begins[axis], steps[axis] = start, step
    backwards = [axis - rank for axis, step in enumerate(steps) if step < 0]
    if backwards:
        count = len(backwards)
        least = [np.iinfo(np.int64).min] * count
        g = op.Slice(g, [-1] * count, least, backwards, [-1] * count)
        begins = [
            b + s * (m - 1) if s < 0 else b for b, s, m in zip(begins, steps, made, strict=True)
        ]
    apart = [abs(step) for step in steps]
    g = _spread(op, g, made, apart)
    ends = [
        full - begin - size * step
        for full, begin, size, step in zip(shape, begins, made, apart, strict=True)
    ]
    return [op.pad(g, begins, ends)]


def _may_be_cut(n: View, place: int, axis: int) -> bool:
    """Whether a start counted from the end may lie before the first entry of an open axis."""
    low = n.b.ints()[place]  # type: ignore[index]
    return isinstance(n.x.shape[axis], Poly) and isinstance(low, int) and low < -1


def _picked(op: Op, n: View, place: int, axis: int) -> Tensor:
    """Positions that the slice takes along an axis."""
    one = [op.Slice(t, [place], [place + 1], [0]) for t in n.i[1:3]]
    steps = n.input(4)
    stride = op.Slice(steps, [place], [place + 1], [0]) if steps is not None else [1]
    return op.Slice(op.positions(n.x.shape[axis]), *one, [0], stride)


def _spread(op: Op, g: Tensor, shape: list[Any], steps: list[int]) -> Tensor:
    """step - 1 zeros after every entry of each axis."""
    if all(step == 1 for step in steps):
        return g
    split = [
        d
        for size, step in zip(shape, steps, strict=True)
        for d in ((size, 1) if step > 1 else (size,))
    ]
    more = [d for step in steps for d in ((0, step - 1) if step > 1 else (0,))]
    g = op.pad(op.reshape(g, split), [0] * len(split), more)
    return op.reshape(g, [size * step for size, step in zip(shape, steps, strict=True)])


@jvp("Slice")
def slice_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    axes = n.i[3].ints() if len(n.i) > 3 and n.i[3] is not None else None
    starts = n.i[1]
    axes = axes or list(range(starts.shape[0]))  # type: ignore[union-attr,arg-type]
    negative = [a - n.x.rank if a >= 0 else a for a in axes]
    return op.Slice(t, n.i[1], n.i[2], negative, n.input(4))


def _slices(n: View) -> list[tuple[int, Any, int]]:
    """Axis, first position and step of every sliced axis."""
    starts, ends, axes, steps = (n.input(i) for i in (1, 2, 3, 4))
    lows = starts.ints() if starts is not None else None
    strides = steps.ints() if steps is not None else None
    names = axes.ints() if axes is not None else None
    if lows is None or ends is None or (steps is not None and strides is None):
        raise refusal(n, 0)
    found = []
    for place, low in enumerate(lows):
        axis = (names[place] if names else place) % n.x.rank
        step = strides[place] if strides else 1
        size = n.x.shape[axis]
        first = low + size if isinstance(low, int) and low < 0 else low
        if isinstance(first, int) and isinstance(size, int):
            first = min(max(first, 0), size if step > 0 else size - 1)
        found.append((axis, first, step))
    return found


@vjp("Pad", still=(1, 3))
def pad_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """Constant: cut the pads off. Other modes: every padded entry goes back where it came from."""
    begins, ends = _pads(n)
    if n.attr("mode", "constant") == "constant":
        inside = op.pad(g, [-b for b in begins], [-e for e in ends]) if n.wants(0) else None
        return [inside, None, _border_sum(op, n, g) if n.wants(2) else None]
    rank = n.x.rank
    for axis in range(rank):
        if begins[axis] != 0 or ends[axis] != 0:
            g = op.scatter(g, axis - rank, _padded(op, n, axis), n.x.shape[axis])
    return [g]


@jvp("Pad")
def pad_jvp(op: Op, n: View, *tangents: Tensor | None) -> Tensor | None:
    begins, ends = _pads(n)
    t, _, value = (*tangents, None)[:3]
    if n.attr("mode", "constant") == "constant":
        moved = None if t is None else op.pad(t, begins, ends)
        if value is None:
            return moved
        whole = op.expand(op.reshape(value, [1] * n.x.rank) * _border(n), n.y.shape)
        return whole if moved is None else moved + whole
    if t is None:
        return None
    rank = n.x.rank
    for axis in range(rank):
        if begins[axis] != 0 or ends[axis] != 0:
            t = op.Gather(t, _padded(op, n, axis), axis=axis - rank)
    return t


def _border(n: View) -> Tensor:
    """1 at the entries that the padding value fills."""
    op = Op(n.op.graph)
    made: Tensor = op.Pad(op.zeros(n.x.shape, n.x.dtype), n.b, 1.0, *n.i[3:])
    return op.reshaped_type(made, n.y.shape)


def _border_sum(op: Op, n: View, g: Tensor) -> Tensor:
    total = op.reduce_sum(g * _border(n), list(range(-n.x.rank, 0)))
    return op.reshape(total, n.i[2].shape)  # type: ignore[union-attr]


def _pads(n: View) -> tuple[list[Any], list[Any]]:
    pads = n.b.ints()
    axes = n.i[3].ints() if len(n.i) > 3 and n.i[3] is not None else list(range(n.x.rank))
    if pads is None or axes is None:
        raise refusal(n, 0)
    begins: list[Any] = [0] * n.x.rank
    ends: list[Any] = [0] * n.x.rank
    for place, axis in enumerate(axes):
        begins[axis % n.x.rank], ends[axis % n.x.rank] = pads[place], pads[place + len(axes)]
    return begins, ends


def _padded(op: Op, n: View, axis: int) -> Tensor:
    """Where each entry of a padded axis comes from: the same padding of 0, 1, 2, ..."""
    begins, ends = _pads(n)
    pads = op.const([begins[axis], ends[axis]], np.int64)
    return op.Pad(op.positions(n.x.shape[axis]), pads, mode=n.attr("mode"))


@vjp("Expand", still=(1,))
def expand_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    return [op.sum_to(g, n.x.shape)]


@jvp("Expand")
def expand_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return op.expand(op.align(t, n.x.shape, n.y.rank), n.y.shape)


@vjp("Tile", still=(1,))
def tile_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    repeats = n.b.ints()
    if repeats is None:
        raise refusal(n, 0)
    split = [d for pair in zip(repeats, n.x.shape, strict=True) for d in pair]
    rank = len(split)
    axes = [i - rank for i in range(0, rank, 2) if split[i] != 1]
    return [op.reshape(op.reduce_sum(op.reshape(g, split), axes, keep=0), n.x.shape)]


@jvp("Tile")
def tile_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    lead = [op.const([1], np.int64)] if op.lead is not None else []
    return op.Tile(t, op.Concat(*lead, n.b, axis=0) if lead else n.b)


@vjp("DepthToSpace")
def depth_to_space_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """The blocks taken apart again: DCR splits channels as (b, b, c), CRD as (c, b, b)."""
    size = n.attr("blocksize")
    batch, channels, high, wide = n.x.shape
    g = op.reshape(g, [batch, channels // (size * size), high, size, wide, size])
    perm = [0, 3, 5, 1, 2, 4] if n.attr("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
    return [op.reshape(op.transpose(g, perm), n.x.shape)]


@jvp("DepthToSpace")
def depth_to_space_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return op.batched(lambda s: op.DepthToSpace(s, **n.node.attrs), t)


@vjp("SpaceToDepth")
def space_to_depth_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    size, mode = n.attr("blocksize"), n.attr("mode", "DCR")
    return [op.batched(lambda s: op.DepthToSpace(s, blocksize=size, mode=mode), g)]


@jvp("SpaceToDepth")
def space_to_depth_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return op.batched(lambda s: op.SpaceToDepth(s, **n.node.attrs), t)


@vjp("Trilu", still=(1,))
def trilu_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    return [op.Trilu(g, n.input(1), upper=n.attr("upper", 1))]


@jvp("Trilu")
def trilu_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return op.Trilu(t, n.input(1), upper=n.attr("upper", 1))


@vjp("CumSum", still=(1,))
def cumsum_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    return [_cumsum(op, n, g, 1 - n.attr("reverse", 0))]


@jvp("CumSum")
def cumsum_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return _cumsum(op, n, t, n.attr("reverse", 0))


def _cumsum(op: Op, n: View, t: Tensor, backwards: int) -> Tensor:
    axis = n.b.ints()
    if axis is None:
        raise refusal(n, 0)
    negative = axis[0] - n.x.rank if axis[0] >= 0 else axis[0]
    place = op.const(negative, np.int64)
    return op.CumSum(t, place, exclusive=n.attr("exclusive", 0), reverse=backwards)
