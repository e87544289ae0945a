"""Convolutions. The transpose of a convolution is emitted in the form that is fastest on
ONNX Runtime: at stride 1 a convolution with flipped weights, else a ConvTranspose."""

from __future__ import annotations

import numpy as np

from pertcore.adapters.onnx.layout import enters, led_in
from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, lower, refusal, vjp
from pertcore.adapters.onnx.rules import weights
from pertcore.adapters.onnx.symbolic import Poly
from pertcore.adapters.onnx.windows import explicit_pads, spatial

# Below this many channels ConvTranspose's matrix form beats a convolution with flipped weights.
FEW_CHANNELS = 8


@vjp("Conv")
def conv_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    back = op.batched(lambda s: _transposed_conv(op, n, s), g) if n.wants(0) else None
    return [back, *weights.pulled(op, n, g, _kernel(n))]


@jvp("Conv ConvTranspose")
def conv_jvp(op: Op, n: View, t: Tensor | None, *more: Tensor | None) -> Tensor | None:
    emit = op.Conv if n.kind == "Conv" else op.ConvTranspose
    moved = None if t is None else op.batched(lambda s: emit(s, n.b, **n.node.attrs), t)
    other = weights.pushed(op, n, *(*more, None, None)[:2])
    return other if moved is None else moved if other is None else moved + other


@lower("ConvTranspose")
def conv_transpose_pads(op: Op, n: View) -> Tensor | None:
    """A wanted output size, or SAME, as the pads it stands for."""
    mode, wanted = n.attr("auto_pad", "NOTSET"), n.attr("output_shape")
    if not wanted and mode not in ("SAME_UPPER", "SAME_LOWER"):
        return None
    kernel, sizes = _kernel(n), n.x.shape[2:]
    strides, _, extents = spatial(n.node.attrs, kernel)
    rank = len(kernel)
    if any(isinstance(size, Poly) for size in sizes):
        raise refusal(n, 0)
    goal = list(wanted or [s * t for s, t in zip(sizes, strides, strict=True)])[-rank:]
    extra = list(n.attr("output_padding") or [0] * rank)
    total = [strides[i] * (sizes[i] - 1) + extra[i] + extents[i] - goal[i] for i in range(rank)]
    grown = [max(-t, 0) for t in total]
    total = [max(t, 0) for t in total]
    low = [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in total]
    high = [t - b for t, b in zip(total, low, strict=True)]
    attrs = {k: v for k, v in n.node.attrs.items() if k not in ("auto_pad", "output_shape")}
    attrs["pads"] = [*low, *high]
    attrs["output_padding"] = [e + m for e, m in zip(extra, grown, strict=True)]
    return op.ConvTranspose(*n.i, **attrs)


@vjp("ConvTranspose")
def conv_transpose_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """The convolution with the same weights; sizes match since output_padding < stride."""
    strides, dilations, _ = spatial(n.node.attrs, _kernel(n))
    sizes, rank = n.x.shape[2:], n.x.rank - 2
    pads = explicit_pads(n.node.attrs, sizes, _kernel(n))
    attrs = {"strides": strides, "dilations": dilations, "group": n.attr("group", 1)}

    def back(s: Tensor) -> Tensor:
        made = op.Conv(s, n.b, pads=pads, **attrs)
        return op.reshaped_type(made, [s.shape[0], n.x.shape[1], *sizes])

    extra = n.attr("output_padding") or [0] * rank
    if any(e >= s for e, s in zip(extra, strides, strict=True)):
        raise refusal(n, 0)
    return [op.batched(back, g) if n.wants(0) else None, *weights.pulled(op, n, g, _kernel(n))]


def _kernel(n: View) -> list[int]:
    kernel = n.attr("kernel_shape") or n.b.shape[2:]
    if any(isinstance(k, Poly) for k in kernel):
        raise refusal(n, 1)
    return list(kernel)


def _transposed_conv(op: Op, n: View, g: Tensor) -> Tensor:
    kernel, sizes = _kernel(n), n.x.shape[2:]
    strides, dilations, extents = spatial(n.node.attrs, kernel)
    pads = explicit_pads(n.node.attrs, sizes, kernel)
    rank = len(kernel)
    mirrored = [extents[i % rank] - 1 - pad for i, pad in enumerate(pads)]
    channels = n.x.shape[1]
    many = isinstance(channels, int) and channels >= FEW_CHANNELS
    if many and all(s == 1 for s in strides) and min(mirrored, default=0) >= 0:
        turned = _flipped(op, n, channels)  # type: ignore[arg-type]
        group = n.attr("group", 1)
        made = op.Conv(g, turned, pads=mirrored, dilations=dilations, group=group)
    else:
        made = _conv_transpose(op, n, g, pads)
        made = op.reshaped_type(made, [g.shape[0], channels, *sizes])
        return led_in(op, made) if enters(op, n.x) else made
    return op.reshaped_type(made, [g.shape[0], channels, *sizes])


def _flipped(op: Op, n: View, channels: int) -> Tensor:
    """Weights (M, C/group, k...) as (C, M/group, k...) with every kernel axis reversed."""
    group, rank = n.attr("group", 1), n.b.rank - 2
    made, each = n.b.shape[0], channels // group
    kernel = list(n.b.shape[2:])
    split = op.resized(n.b, [group, made // group, each, *kernel])
    turned = op.Transpose(split, perm=[0, 2, 1, *range(3, 3 + rank)])
    whole = op.resized(turned, [channels, made // group, *kernel])
    if all(k == 1 for k in kernel):
        return whole
    ends = [np.iinfo(np.int64).min] * rank
    return op.Slice(whole, [-1] * rank, ends, list(range(2, 2 + rank)), [-1] * rank)


def _conv_transpose(op: Op, n: View, g: Tensor, pads: list[int]) -> Tensor:
    """With fixed sizes the lost remainder is output_padding; else zeros are added at run time."""
    kernel, sizes = _kernel(n), n.x.shape[2:]
    strides, dilations, extents = spatial(n.node.attrs, kernel)
    rank = len(kernel)
    attrs = {"strides": strides, "dilations": dilations, "group": n.attr("group", 1)}
    reached = [(g.shape[2 + i] - 1) * strides[i] + extents[i] for i in range(rank)]
    missing = [sizes[i] - (reached[i] - pads[i] - pads[i + rank]) for i in range(rank)]
    fits = all(isinstance(m, int) and 0 <= m < s for m, s in zip(missing, strides, strict=True))
    if fits:
        return op.ConvTranspose(g, n.b, pads=pads, output_padding=missing, **attrs)
    full = op.ConvTranspose(g, n.b, pads=[0] * (2 * rank), **attrs)
    begins = [0, 0, *[-pads[i] for i in range(rank)]]
    ends = [0, 0, *[sizes[i] - reached[i] + pads[i] for i in range(rank)]]
    return op.Pad(full, op.sizes([*begins, *ends]), mode="constant")
