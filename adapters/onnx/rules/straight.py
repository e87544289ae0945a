"""Straight-through estimates (Bengio, Leonard & Courville 2013), used on request alone: roundings
count as the identity, signs as a ramp, and integers of a quantised model are kept as floats.

The rules stand in a domain of their own, which is ONNX's in all but the derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import STRAIGHT, jvp, lower, vjp, zero
from pertcore.errors import CapabilityError

FLOAT = 1

zero("Identity", domain=STRAIGHT)


@vjp("Round", domain=STRAIGHT)
def round_vjp(_: Op, n: View, g: Tensor) -> list[Tensor | None]:
    return [g]


@jvp("Round", domain=STRAIGHT)
def round_jvp(_: Op, n: View, t: Tensor) -> Tensor:
    return t


@vjp("Sign", domain=STRAIGHT)
def sign_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """1 where |x| <= 1 (Courbariaux et al. 2016)."""
    return [g * op.indicator(op.LessOrEqual(op.Abs(n.x), 1.0), n.x)]


@jvp("Sign", domain=STRAIGHT)
def sign_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return t * op.indicator(op.LessOrEqual(op.Abs(n.x), 1.0), n.x)


def _estimated(op: Op, kind: str, x: Tensor) -> Tensor:
    return op.tensor(op.graph.emit(kind, [x.name], domain=STRAIGHT)[0])


@lower("Round Sign", domain=STRAIGHT)
def rounded(op: Op, n: View) -> Tensor | None:
    return _estimated(op, n.kind, n.x) if op.graph.types[n.x.name].floating else None


@lower("Floor", domain=STRAIGHT)
def floor(op: Op, n: View) -> Tensor:
    """Beside x - floor(x), which does not move, floor(x) moves as x."""
    return n.x - _estimated(op, "Identity", n.x - op.Floor(n.x))


@lower("Ceil", domain=STRAIGHT)
def ceil(op: Op, n: View) -> Tensor:
    return n.x + _estimated(op, "Identity", op.Ceil(n.x) - n.x)


# Quantised models: every integer a float of the same value


@lower("QuantizeLinear", domain=STRAIGHT)
def quantize(op: Op, n: View) -> Tensor:
    """clip(round(x / scale) + zero point) to the range of the type."""
    _plain(n)
    return _quantized(op, n, n.x, n.i[1], n.input(2), n.attr("axis", 1))


@lower("DequantizeLinear", domain=STRAIGHT)
def dequantize(op: Op, n: View) -> Tensor:
    """(q - zero point) scale."""
    _plain(n)
    return _real(op, n.x, n.i[1], n.input(2), axis=n.attr("axis", 1))


@lower("QLinearConv", domain=STRAIGHT)
def qlinear_conv(op: Op, n: View) -> Tensor:
    """The convolution of the real values, quantised."""
    x, w = _real(op, *n.i[:3], axis=0), _real(op, *n.i[3:6], axis=0)
    bias = n.input(8)
    whole = []
    if bias is not None:
        whole = [op.Cast(bias, to=FLOAT) * (n.i[1] * op.Reshape(n.i[4], [-1]))]
    y = op.Conv(x, w, *whole, **n.node.attrs)
    return _quantized(op, n, y, n.i[6], n.i[7], 1)


@lower("QLinearMatMul", domain=STRAIGHT)
def qlinear_matmul(op: Op, n: View) -> Tensor:
    if any(t is not None and t.rank and t.shape != (1,) for t in n.i[1:3] + n.i[4:8]):
        raise _refused(n, "a scale of its own for every row or column")
    y = _real(op, *n.i[:3], axis=0) @ _real(op, *n.i[3:6], axis=0)
    return _quantized(op, n, y, n.i[6], n.i[7], 0)


@lower("MatMulInteger", domain=STRAIGHT)
def matmul_integer(op: Op, n: View) -> Tensor:
    return _moved(op, n.a, n.input(2)) @ _moved(op, n.b, n.input(3))


@lower("ConvInteger", domain=STRAIGHT)
def conv_integer(op: Op, n: View) -> Tensor:
    return op.Conv(_moved(op, n.a, n.input(2)), _moved(op, n.b, n.input(3)), **n.node.attrs)


@lower("DynamicQuantizeLinear", domain=STRAIGHT)
def dynamic_quantize(op: Op, n: View) -> list[Tensor]:
    """To 0 ... 255 over the range of x; the range counts as fixed."""
    high = op.Max(op.ReduceMax(n.x, keepdims=0), 0.0)
    low = op.Min(op.ReduceMin(n.x, keepdims=0), 0.0)
    spread = (high - low) / 255.0
    scale = _estimated(op, "Identity", spread)
    point = _estimated(op, "Identity", op.Clip(op.Round(-low / spread), 0.0, 255.0))
    whole = _estimated(op, "Round", n.x / scale) + point
    return [op.Clip(whole, 0.0, 255.0), scale, point]


def _plain(n: View) -> None:
    if n.attr("block_size", 0):
        raise _refused(n, "blocks")


def _refused(n: View, what: str) -> CapabilityError:
    return CapabilityError(f"{n.kind} {n.node.label!r}: no straight-through rule with {what}")


def _float(op: Op, x: Tensor) -> Tensor:
    return x if op.graph.types[x.name].floating else op.Cast(x, to=FLOAT)


def _moved(op: Op, x: Tensor, point: Tensor | None) -> Tensor:
    return _float(op, x) if point is None else _float(op, x) - _float(op, point)


def _real(op: Op, x: Any, scale: Any, point: Any, *, axis: int) -> Tensor:
    """(x - point) scale, with one scale for all or one for every entry of an axis."""
    shape = _along(op, x, scale, axis)
    moved = _float(op, x)
    if point is not None:
        moved = moved - op.Reshape(_float(op, point), shape)
    return moved * op.Reshape(scale, shape)


def _along(op: Op, x: Tensor, scale: Tensor, axis: int) -> Sequence[int]:
    if scale.rank == 0 or scale.shape == (1,):
        return [1] * min(x.rank, 1)
    return [-1 if i == axis % x.rank else 1 for i in range(x.rank)]


def _quantized(op: Op, n: View, y: Tensor, scale: Any, point: Tensor | None, axis: int) -> Tensor:
    shape = _along(op, y, scale, axis)
    whole = _estimated(op, "Round", y / op.Reshape(scale, shape))
    if point is not None:
        whole = whole + op.Reshape(_float(op, point), shape)
    kind = np.dtype(np.uint8) if point is None else point.dtype
    if point is None and n.attr("output_dtype", 0):
        raise _refused(n, "output_dtype in the place of a zero point")
    if kind.kind not in "iu":
        raise _refused(n, f"the type {kind}")
    limits = np.iinfo(kind)
    return op.Clip(whole, float(limits.min), float(limits.max))
