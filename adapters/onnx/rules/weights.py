"""Convolutions by their weights and biases: the weights' gradient is a convolution of the image
with the cotangent, strides and dilations swapped (Goodfellow 2010, for all (co)tangents at once)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.windows import explicit_pads, spatial


def pulled(op: Op, n: View, g: Tensor, kernel: Sequence[int]) -> list[Tensor | None]:
    """Cotangents of the weights and, where there is one, of the bias."""
    weights = _correlated(op, n, g, kernel) if n.wants(1) else None
    bias = None
    if n.wants(2):
        rest = [a for a in range(-n.y.rank, 0) if a != 1 - n.y.rank]
        bias = op.reduce_sum(g, rest, keep=0)
    return [weights, bias]


def pushed(op: Op, n: View, t: Tensor | None, bias: Tensor | None) -> Tensor | None:
    """The tangent of the output for those of the weights and of the bias."""
    total = None if t is None else _moved(op, n, t)
    if bias is not None:
        column = [1, n.y.shape[1], *[1] * (n.y.rank - 2)]
        more = op.expand(op.reshape(bias, column), n.y.shape)
        total = more if total is None else total + more
    return total


def _many(op: Op, t: Tensor) -> Tensor:
    """With a leading axis, of one where there is none."""
    whole: Tensor = op.Unsqueeze(t, [0]) if op.lead is None else t
    return whole


def _correlated(op: Op, n: View, g: Tensor, kernel: Sequence[int]) -> Tensor:
    """sum over samples and places of image(stride place + dilation k - pad) seen(place)."""
    group, rank = n.attr("group", 1), len(kernel)
    strides, dilations, _ = spatial(n.node.attrs, kernel)
    pads = explicit_pads(n.node.attrs, n.x.shape[2:], kernel)
    if n.kind == "Conv":
        image, seen = op.Unsqueeze(n.x, [0]), _many(op, g)
    else:
        image, seen = _many(op, g), op.Unsqueeze(n.x, [0])
    (many, batch, channels, *sizes), (copies, _, made, *places) = image.shape, seen.shape
    each, out, axes = channels // group, made // group, range(4, 4 + rank)
    # Samples are channels to sum over: (channels, samples) against (filters, samples).
    image = op.resized(image, [many, batch, group, each, *sizes])
    image = op.Transpose(image, perm=[0, 3, 2, 1, *axes])
    image = op.resized(image, [many * each, group * batch, *sizes])
    seen = op.resized(seen, [copies, batch, group, out, *places])
    seen = op.Transpose(seen, perm=[2, 0, 3, 1, *axes])
    seen = op.resized(seen, [group * copies * out, batch, *places])
    attrs = {"strides": dilations, "dilations": strides, "pads": pads, "group": group}
    found = op.Conv(image, seen, **attrs)
    found = op.Slice(found, [0] * rank, list(kernel), list(range(2, 2 + rank)))
    found = op.reshaped_type(found, [many * each, group * copies * out, *kernel])
    found = op.resized(found, [many, each, group, copies, out, *kernel])
    found = op.Transpose(found, perm=[0, 3, 2, 4, 1, *range(5, 5 + rank)])
    return op.resized(found, op.full(n.b.shape))


def _moved(op: Op, n: View, t: Tensor) -> Tensor:
    """The same convolution with the weights' tangents, all of them as filters more."""
    group, rank = n.attr("group", 1), n.b.rank - 2
    t = _many(op, t)
    many, first, second, *kernel = t.shape
    if n.kind == "Conv":
        each: Any = first // group
        t = op.resized(t, [many, group, each, second, *kernel])
        t = op.Transpose(t, perm=[1, 0, 2, 3, *range(4, 4 + rank)])
        made = op.Conv(n.x, op.resized(t, [many * first, second, *kernel]), **n.node.attrs)
    else:
        each = second
        t = op.Transpose(t, perm=[1, 0, 2, *range(3, 3 + rank)])
        t = op.resized(t, [first, many * second, *kernel])
        made = op.ConvTranspose(n.x, t, **n.node.attrs)
    batch, _, *sizes = n.y.shape
    made = op.resized(made, [batch, group, many, each, *sizes])
    made = op.Transpose(made, perm=[2, 0, 1, 3, *range(4, 4 + rank)])
    return op.resized(made, op.full(n.y.shape))
