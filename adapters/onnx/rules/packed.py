"""ONNX Runtime's products with weights of few bits (com.microsoft): the weights are unpacked when
the model is read, so that the derivative with respect to the input is exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.adapters.onnx.rules.attention import MICROSOFT, refused

Array = np.ndarray[Any, Any]
# bitsandbytes' four-bit floats: sign, exponent and mantissa (FP4); quantiles of a normal (NF4,
# Dettmers et al. 2023).
FP4 = np.array([0, 0.0052083333, 0.6666667, 1, 0.3333333, 0.5, 0.16666667, 0.25], np.float32)
NF4 = np.array(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ],
    np.float32,
)


def _constant(n: View, index: int, name: str) -> Array:
    tensor = n.input(index)
    value = None if tensor is None else tensor.value
    if value is None:
        raise refused(n, f"{name} that are no constants")
    return value


def _unpacked(content: Array, bits: int, count: int) -> Array:
    """Numbers of a few bits out of bytes along the last axis, the low bits first."""
    planes = np.unpackbits(content.astype(np.uint8), axis=-1, bitorder="little")
    whole = planes[..., : planes.shape[-1] // bits * bits]
    numbers = whole.reshape(*content.shape[:-1], -1, bits).astype(np.int64)
    return (numbers @ (1 << np.arange(bits)))[..., :count]


@lower("MatMulNBits", domain=MICROSOFT)
def matmul_of_few_bits(op: Op, n: View) -> Tensor:
    """a w^T + bias, w = (q - zero point) scale for every block of a row, w (N, K)."""
    if n.input(4) is not None or n.attr("weight_prepacked", 0):
        raise refused(n, "groups by index, or weights that are laid out for one machine")
    rows, width, block, bits = (n.attr(k, 4) for k in ("N", "K", "block_size", "bits"))
    blocks = -(-width // block)
    packed = _constant(n, 1, "weights").reshape(rows, blocks, -1)
    scales = _constant(n, 2, "scales").reshape(rows, blocks, 1)
    q = _unpacked(packed, bits, block)
    points: Any = 1 << (bits - 1)
    if n.input(3) is not None:
        given = _constant(n, 3, "zero points")
        if given.dtype == np.uint8:
            given = _unpacked(given.reshape(rows, -1), bits, blocks)
        points = given.reshape(rows, blocks, 1)
    weights = ((q - points).astype(scales.dtype) * scales).reshape(rows, -1)[:, :width]
    y = n.a @ op.const(np.ascontiguousarray(weights.T))
    bias = n.input(5)
    return y if bias is None else y + bias


@lower("MatMulBnb4", domain=MICROSOFT)
def matmul_of_four_bits(op: Op, n: View) -> Tensor:
    """a w^T, w = table[q] absmax for every block, w (N, K) row after row, high bits first."""
    rows, width, block = n.attr("N"), n.attr("K"), n.attr("block_size")
    content = _constant(n, 1, "weights").ravel()
    scales = _constant(n, 2, "scales").ravel()
    q = np.stack([content >> 4, content & 15], axis=-1).ravel()[: rows * width]
    table = NF4 if n.attr("quant_type") else np.concatenate([FP4, -FP4])
    weights = table[q] * np.repeat(scales, block)[: rows * width]
    whole = weights.reshape(rows, width)
    return n.a @ op.const(np.ascontiguousarray(whole.T if n.attr("transB", 1) else whole))
