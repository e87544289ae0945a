"""Straight-through estimates (Bengio, Leonard & Courville 2013), used on request alone: roundings
count as the identity, signs as a ramp, and integers of a quantised model are kept as floats.

The rules stand in a domain of their own, which is ONNX's in all but the derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper

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


@vjp("Clip", still=(1, 2), domain=STRAIGHT)
def clip_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """1 where x is within the range, its ends included: the black of an image is no saturation."""
    return [g * op.indicator(op.Equal(n.x, n.y), n.x)]


@jvp("Clip", domain=STRAIGHT)
def clip_jvp(op: Op, n: View, t: Tensor, *_: Tensor | None) -> Tensor:
    return t * op.indicator(op.Equal(n.x, n.y), n.x)


def _estimated(op: Op, kind: str, x: Tensor, *more: float) -> Tensor:
    names = [x.name, *(op.const(number, x.dtype).name for number in more)]
    return op.tensor(op.graph.emit(kind, names, domain=STRAIGHT)[0])


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
    block = n.attr("block_size", 0)
    scale, point = n.b, n.input(2)
    kind = _stored(n, point)
    return quantized(op, n, n.x, scale, point, axis=n.attr("axis", 1), block=block, kind=kind)


@lower("DequantizeLinear", domain=STRAIGHT)
def dequantize(op: Op, n: View) -> Tensor:
    """(q - zero point) scale."""
    block = n.attr("block_size", 0)
    return real(op, n.x, n.b, n.input(2), axis=n.attr("axis", 1), block=block)


@lower("QLinearConv", domain=STRAIGHT)
def qlinear_conv(op: Op, n: View) -> Tensor:
    """The convolution of the integers, which floats hold exactly, times the scales."""
    bias = n.input(8)
    whole = [] if bias is None else [single(op, bias)]
    x, w = moved(op, n.x, n.i[2], axis=0), moved(op, n.i[3], n.i[5], axis=0)
    y = op.Conv(x, w, *whole, **n.node.attrs)
    return requantized(op, n, y, (n.i[1], n.i[4], n.i[6]), n.i[7], axis=1)


@lower("QLinearMatMul", domain=STRAIGHT)
def qlinear_matmul(op: Op, n: View) -> Tensor:
    """The product of the integers times the scales; a scale a row of a, a column of b."""
    y = moved(op, n.x, n.i[2], axis=-2) @ moved(op, n.i[3], n.i[5], axis=-1)
    rows = _along(op, y, n.b, -2)
    scales = (op.Reshape(n.b, rows), n.i[4], n.i[6])
    return requantized(op, n, y, scales, n.i[7], axis=-1)


@lower("MatMulInteger", domain=STRAIGHT)
def matmul_integer(op: Op, n: View) -> Tensor:
    return moved(op, n.a, n.input(2), axis=-2) @ moved(op, n.b, n.input(3), axis=-1)


@lower("ConvInteger", domain=STRAIGHT)
def conv_integer(op: Op, n: View) -> Tensor:
    x, w = moved(op, n.a, n.input(2), axis=0), moved(op, n.b, n.input(3), axis=0)
    return op.Conv(x, w, **n.node.attrs)


@lower("DynamicQuantizeLinear", domain=STRAIGHT)
def dynamic_quantize(op: Op, n: View) -> list[Tensor]:
    """To 0 ... 255 over the range of x; the range counts as fixed."""
    return list(ranged(op, n.x))


def ranged(op: Op, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x in 255 steps over its range, the step, and where zero lies."""
    high = op.Max(op.ReduceMax(x, keepdims=0), 0.0)
    low = op.Min(op.ReduceMin(x, keepdims=0), 0.0)
    spread = (high - low) / 255.0
    scale = _estimated(op, "Identity", spread)
    point = _estimated(op, "Identity", op.Clip(op.Round(-low / spread), 0.0, 255.0))
    whole = _estimated(op, "Round", x / scale) + point
    return _estimated(op, "Clip", whole, 0.0, 255.0), scale, point


def refused(n: View, what: str) -> CapabilityError:
    """The error of a quantised operator that has no estimate."""
    return CapabilityError(f"{n.kind} {n.node.label!r}: no straight-through rule with {what}")


def single(op: Op, x: Any) -> Tensor:
    """As a float32 of the same value."""
    return x if op.graph.types[x.name].floating else op.Cast(x, to=FLOAT)


def moved(op: Op, x: Any, point: Any, *, axis: int = 0) -> Tensor:
    """x - point, with one point for all or one for every entry of an axis."""
    if point is None:
        return single(op, x)
    return single(op, x) - op.Reshape(single(op, point), _along(op, x, point, axis))


def real(op: Op, x: Any, scale: Any, point: Any, *, axis: int = 0, block: int = 0) -> Tensor:
    """(x - point) scale: one scale for all, for every entry of an axis, or for every block."""
    if block:
        whole = single(op, x)
        if point is not None:
            whole = whole - _spread(op, single(op, point), x, axis, block)
        return whole * _spread(op, scale, x, axis, block)
    return moved(op, x, point, axis=axis) * op.Reshape(scale, _along(op, x, scale, axis))


def _spread(op: Op, t: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """Every entry along the axis `block` times, up to the size of x."""
    place = axis % x.rank
    index = np.arange(int(x.shape[place])) // block  # type: ignore[arg-type]
    return op.Gather(t, op.const(index), axis=place)


def _along(op: Op, x: Tensor, scale: Tensor, axis: int) -> Sequence[int]:
    if scale.rank == 0 or scale.shape == (1,):
        return [1] * min(x.rank, 1)
    if scale.rank > 1:
        return [d if isinstance(d, int) else -1 for d in scale.shape]
    return [-1 if i == axis % x.rank else 1 for i in range(x.rank)]


def quantized(
    op: Op,
    n: View,
    y: Tensor,
    scale: Any,
    point: Tensor | None,
    *,
    axis: int = 0,
    block: int = 0,
    kind: Any = None,
) -> Tensor:
    """clip(round(y / scale) + point) to the range of the type, by default the point's."""
    if block:
        return _clipped(
            op,
            n,
            y / _spread(op, scale, y, axis, block),
            None if point is None else _spread(op, single(op, point), y, axis, block),
            kind,
        )
    shape = _along(op, y, scale, axis)
    shift = None if point is None else op.Reshape(single(op, point), shape)
    return _clipped(op, n, y / op.Reshape(scale, shape), shift, kind or _stored(n, point))


def requantized(op: Op, n: View, y: Tensor, scales: Any, point: Any, *, axis: int) -> Tensor:
    """Integers of the scale a b, as ONNX Runtime brings them to the scale c: times a b / c."""
    a, b, c = scales
    factor = a * op.Reshape(b, _along(op, y, b, axis)) / op.Reshape(c, [1])
    shift = None if point is None else op.Reshape(single(op, point), [1])
    return _clipped(op, n, y * factor, shift, _stored(n, point))


def _clipped(op: Op, n: View, steps: Tensor, point: Tensor | None, kind: Any) -> Tensor:
    whole = _estimated(op, "Round", steps)
    whole = whole if point is None else whole + point
    name = np.dtype(kind).name
    if not name.lstrip("u").startswith("int"):
        raise refused(n, f"the type {name}")
    signed, bits = name[0] == "i", int(name.lstrip("uint"))
    low = -(1 << (bits - 1)) if signed else 0
    return _estimated(op, "Clip", whole, low, low + (1 << bits) - 1)


def _stored(n: View, point: Tensor | None) -> np.dtype[Any]:
    """The type of the integers: the zero point's, or the one that is asked for."""
    if point is not None:
        return point.dtype
    asked = n.attr("output_dtype", 0)
    return np.dtype(helper.tensor_dtype_to_np_dtype(asked)) if asked else np.dtype(np.uint8)
