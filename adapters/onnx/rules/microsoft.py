"""Operators of ONNX Runtime (com.microsoft) that came before, or beside, one of the standard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, lower, lowering, vjp
from pertcore.adapters.onnx.rules.attention import MICROSOFT, refused


@lower("Trilu", domain=MICROSOFT)
def trilu(op: Op, n: View) -> Tensor:
    return op.Trilu(*n.i, upper=n.attr("upper", 1))


@lower("ExpandDims", domain=MICROSOFT)
def expand_dims(op: Op, n: View) -> Tensor:
    return op.Unsqueeze(n.x, op.Cast(op.Reshape(n.b, [1]), to=7))


@lower("GatherND", domain=MICROSOFT)
def gather_nd(op: Op, n: View) -> Tensor:
    return op.GatherND(n.a, op.Cast(n.b, to=7))


@lower("Pad", domain=MICROSOFT)
def pad(op: Op, n: View) -> Tensor:
    fill = n.input(2)
    more = [] if fill is None else [op.Reshape(fill, op.const([], np.int64))]
    return op.Pad(n.x, op.Reshape(n.b, [-1]), *more, mode=n.attr("mode", "constant"))


@lower("Range", domain=MICROSOFT)
def values_between(op: Op, n: View) -> Tensor:
    start, limit, *rest = (op.Reshape(t, op.const([], np.int64)) for t in n.i if t is not None)
    return op.Range(start, limit, rest[0] if rest else op.const(1, start.dtype))


@lower("GridSample", domain=MICROSOFT)
def grid_sample(op: Op, n: View) -> Any:
    """As the standard's, with the name of its cubic mode."""
    write = lowering("GridSample")
    mode = {"bicubic": "cubic", "bilinear": "linear"}.get(n.attr("mode", "bilinear"), "nearest")
    return write and write(
        op, View(op, replace(n.node, attrs=n.node.attrs | {"mode": mode}), set())
    )


@lower("UnfoldTensor", domain=MICROSOFT)
def unfold(op: Op, n: View) -> Tensor:
    """All windows of `size` entries along an axis, `step` apart, as a last axis."""
    axis, size, step = n.axis("dim", -1), n.attr("size"), n.attr("step", 1)
    count = (n.x.shape[axis] - size) // step + 1
    starts = op.Unsqueeze(op.positions(count) * step, [1])
    windows = op.Gather(n.x, starts + np.arange(size), axis=axis + n.x.rank)
    place = axis + n.x.rank
    last = [i for i in range(n.x.rank + 1) if i != place + 1]
    return op.Transpose(windows, perm=[*last, place + 1])


@lower("ConvTransposeWithDynamicPads", domain=MICROSOFT)
def transposed_convolution(op: Op, n: View) -> Tensor:
    pads = n.input(2)
    given = None if pads is None else pads.ints()
    if pads is not None and given is None:
        raise refused(n, "pads that are computed")
    attrs = dict(n.node.attrs) | ({} if given is None else {"pads": [int(p) for p in given]})
    return op.ConvTranspose(n.a, n.b, *n.i[3:], **attrs)


@lower("CausalConvWithState", domain=MICROSOFT)
def causal_convolution(op: Op, n: View) -> list[Tensor]:
    """Every channel with its own kernel over the entries before, a state that earlier calls left
    (or zeros) in front; and the state that this one leaves."""
    wide = [k for k in ("state_window", "state_update_capacity", "input_channels") if n.attr(k, 0)]
    if n.attr("ndim", 1) != 1 or n.attr("channels_last", 0) or wide:
        raise refused(n, "more than one axis, or another layout of the state")
    weight, bias, past = n.b, n.input(2), n.input(3)
    dilation = n.attr("dilation", 1)
    length = (int(weight.shape[-1]) - 1) * dilation  # type: ignore[arg-type]
    before = [n.x.shape[0], n.x.shape[1], length]
    nothing = op.const(np.zeros((1, 1, 1)), n.x.dtype)
    whole = op.Concat(op.expand(nothing, before) if past is None else past, n.x, axis=2)
    given = [weight] if bias is None else [weight, bias]
    y = op.Conv(whole, *given, group=weight.shape[0], dilations=[dilation])
    y = y if n.attr("activation", "none") == "none" else y * op.Sigmoid(y)
    return [y, op.Slice(whole, [-length], [2**31 - 1], [2])]


@lower("CDist", domain=MICROSOFT)
def distances(op: Op, n: View) -> Tensor:
    """|a_i - b_j|, or its square, for rows of (m, d) and (k, d)."""
    kind = n.attr("metric", "sqeuclidean")
    if kind not in ("sqeuclidean", "euclidean"):
        raise refused(n, f"metric {kind!r}")
    # Differences, not the expanded square, which cancels where rows are close.
    apart = op.Unsqueeze(n.a, [1]) - op.Unsqueeze(n.b, [0])
    if kind == "euclidean":
        return op.ReduceL2(apart, [2], keepdims=0)
    return op.ReduceSum(apart * apart, [2], keepdims=0)


@lower("EmbedLayerNormalization", domain=MICROSOFT)
def embedding(op: Op, n: View) -> list[Tensor | None]:
    """Normalised sum of the rows that words, places and segments have in their tables."""
    ids, segments, words, places, kinds, gamma, beta = n.i[:7]
    if words is None or places is None or ids is None:
        raise refused(n, "no tables")
    where = n.input(8)
    if where is None:
        where = op.Unsqueeze(op.positions(ids.shape[1]), [0])
    total = op.Gather(words, ids, axis=0) + op.Gather(places, where, axis=0)
    if segments is not None and kinds is not None:
        total = total + op.Gather(kinds, segments, axis=0)
    y = op.LayerNormalization(total, gamma, beta, axis=-1, epsilon=n.attr("epsilon", 1e-12))
    return [y, None, total]


@lower("DequantizeLinear", domain=MICROSOFT)
def dequantize(op: Op, n: View) -> Tensor:
    """The standard's, which this one came before."""
    return op.DequantizeLinear(*n.i, **n.node.attrs)


# The inverse of a matrix


@vjp("Inverse", domain=MICROSOFT)
def inverse_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """Y = X^-1: dX = -Y^T g Y^T."""
    turned = _turned(op, n.y)
    return [-(turned @ g @ turned)]


@jvp("Inverse", domain=MICROSOFT)
def inverse_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    """dY = -Y t Y."""
    return -(n.y @ t @ n.y)


def _turned(op: Op, matrix: Tensor) -> Tensor:
    last = list(range(matrix.rank))
    return op.Transpose(matrix, perm=[*last[:-2], last[-1], last[-2]])
