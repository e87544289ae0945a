"""ONNX Runtime's operators on eight-bit integers (com.microsoft): zero by nature, since they round,
and on request with straight-through estimates, every integer a float of the same value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import STRAIGHT, lower, zero
from pertcore.adapters.onnx.rules.attention import MICROSOFT, attention
from pertcore.adapters.onnx.rules.straight import (
    dequantize,
    moved,
    quantize,
    quantized,
    ranged,
    real,
    requantized,
    single,
)

ESTIMATED = f"{STRAIGHT}.{MICROSOFT}"

zero(
    "QuantizeLinear QGemm MatMulIntegerToFloat DynamicQuantizeMatMul QAttention "
    "QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu QLinearSoftmax QLinearConcat "
    "QLinearAveragePool QLinearGlobalAveragePool QLinearConv QLinearWhere NhwcMaxPool "
    "DynamicQuantizeLSTM QEmbedLayerNormalization MatMulInteger16",
    domain=MICROSOFT,
)
# What is made of integers or text alone.
zero(
    "Tokenizer MurmurHash3 BifurcationDetector DynamicTimeWarping NGramHashMapping "
    "VarlenNGramHashMapping",
    domain=MICROSOFT,
)

lower("QuantizeLinear", domain=ESTIMATED)(quantize)
lower("DequantizeLinear", domain=ESTIMATED)(dequantize)


# Entry by entry


def _pair(op: Op, n: View, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    a, b = real(op, *n.i[:3]), real(op, *n.i[3:6])
    return quantized(op, n, combine(a, b), n.i[6], n.input(7))


@lower("QLinearAdd", domain=ESTIMATED)
def add(op: Op, n: View) -> Tensor:
    return _pair(op, n, lambda a, b: a + b)


@lower("QLinearMul", domain=ESTIMATED)
def multiply(op: Op, n: View) -> Tensor:
    return _pair(op, n, lambda a, b: a * b)


def _single(op: Op, n: View, function: Callable[[Tensor], Tensor]) -> Tensor:
    x = real(op, n.x, n.b, n.input(2))
    return quantized(op, n, function(x), n.i[3], n.input(4))


@lower("QLinearSigmoid", domain=ESTIMATED)
def sigmoid(op: Op, n: View) -> Tensor:
    return _single(op, n, lambda x: op.Sigmoid(x))


@lower("QLinearLeakyRelu", domain=ESTIMATED)
def leaky_relu(op: Op, n: View) -> Tensor:
    return _single(op, n, lambda x: op.LeakyRelu(x, alpha=n.attr("alpha", 0.01)))


@lower("QLinearWhere", domain=ESTIMATED)
def where(op: Op, n: View) -> Tensor:
    condition, x, y = n.x, real(op, *n.i[1:4]), real(op, *n.i[4:7])
    return quantized(op, n, op.Where(condition, x, y), n.i[7], n.i[8])


@lower("QLinearConcat", domain=ESTIMATED)
def concatenate(op: Op, n: View) -> Tensor:
    parts = [real(op, *n.i[k : k + 3]) for k in range(2, len(n.i), 3)]
    return quantized(op, n, op.Concat(*parts, axis=n.attr("axis")), n.i[0], n.i[1])


@lower("QLinearSoftmax", domain=ESTIMATED)
def softmax(op: Op, n: View) -> Tensor:
    """Along an axis; before opset 13 along all axes from that one on."""

    def along(x: Tensor) -> Tensor:
        axis = n.axis(default=-1)
        if n.attr("opset", 13) >= 13 or axis == -1:
            return op.Softmax(x, axis=axis)
        rows = op.Flatten(x, axis=axis + x.rank)
        return op.resized(op.Softmax(rows, axis=-1), [*x.shape])

    return _single(op, n, along)


# Windows


@lower("QLinearAveragePool", domain=ESTIMATED)
def average_pool(op: Op, n: View) -> Tensor:
    attrs = {k: v for k, v in n.node.attrs.items() if k != "channels_last"}
    return _single(op, n, lambda x: _inner(op, n, x, lambda t: op.AveragePool(t, **attrs)))


@lower("QLinearGlobalAveragePool", domain=ESTIMATED)
def global_average_pool(op: Op, n: View) -> Tensor:
    return _single(op, n, lambda x: _inner(op, n, x, lambda t: op.GlobalAveragePool(t)))


@lower("NhwcMaxPool", domain=ESTIMATED)
def max_pool(op: Op, n: View) -> Tensor:
    x = single(op, n.x)
    return _channels_inside(op, x, lambda t: op.MaxPool(t, **n.node.attrs))


@lower("QLinearConv", domain=ESTIMATED)
def convolve(op: Op, n: View) -> Tensor:
    attrs = {k: v for k, v in n.node.attrs.items() if k != "channels_last"}
    bias = n.input(8)
    whole = [] if bias is None else [single(op, bias)]
    w = moved(op, n.i[3], n.i[5])
    x = moved(op, n.x, n.i[2])
    y = _inner(op, n, x, lambda t: op.Conv(t, w, *whole, **attrs))
    axis = -1 if n.attr("channels_last", 0) else 1
    return requantized(op, n, y, (n.b, n.i[4], n.i[6]), n.i[7], axis=axis)


def _inner(op: Op, n: View, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    return _channels_inside(op, x, function) if n.attr("channels_last", 0) else function(x)


def _channels_inside(op: Op, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of (n, c, ...) on (n, ..., c)."""
    made = function(op.Transpose(x, perm=[0, x.rank - 1, *range(1, x.rank - 1)]))
    return op.Transpose(made, perm=[0, *range(2, x.rank), 1])


# Products


@lower("QGemm", domain=ESTIMATED)
def gemm(op: Op, n: View) -> Tensor:
    """alpha a' b' + c of the scale alpha a b, given as it is or quantised."""
    flips = {k: n.attr(k, 0) for k in ("transA", "transB")}
    columns = -2 if flips["transB"] else -1
    a, b = moved(op, n.x, n.i[2]), moved(op, n.i[3], n.i[5], axis=columns)
    c = n.input(6)
    y = op.Gemm(a, b, *([] if c is None else [single(op, c)]), **flips)
    scale: Any = op.Reshape(n.b, [1]) * n.attr("alpha", 1.0)
    scales: Any = n.i[4]
    if n.input(7) is None:
        return y * (scale * op.Reshape(scales, [-1]))
    return requantized(op, n, y, (scale, scales, n.i[7]), n.i[8], axis=-1)


@lower("MatMulIntegerToFloat", domain=ESTIMATED)
def matmul_to_float(op: Op, n: View) -> Tensor:
    y = moved(op, n.a, n.input(4), axis=-2) @ moved(op, n.b, n.input(5), axis=-1)
    y = y * (op.Reshape(n.i[2], [-1]) * op.Reshape(n.i[3], [-1]))
    bias = n.input(6)
    return y if bias is None else y + bias


@lower("DynamicQuantizeMatMul", domain=ESTIMATED)
def dynamic_matmul(op: Op, n: View) -> Tensor:
    """The input in 255 steps over its range, which counts as fixed."""
    q, step, point = ranged(op, n.a)
    y = (q - point) @ moved(op, n.b, n.input(3), axis=-1)
    y = y * (op.Reshape(n.i[2], [-1]) * step)
    bias = n.input(4)
    return y if bias is None else y + bias


@lower("QAttention", domain=ESTIMATED)
def quantized_attention(op: Op, n: View) -> Any:
    """Attention of the real values."""
    x = real(op, n.x, n.i[3], n.input(6))
    w = real(op, n.b, n.i[4], n.input(7), axis=1)
    given = [x, w, n.i[2], n.input(5), n.input(8)]
    names = tuple(t.name if t is not None else "" for t in given)
    return attention(op, View(op, replace(n.node, inputs=names), set()))
