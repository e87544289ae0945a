# ruff: noqa: ARG005
"""Reductions over axes. Each line: dy/dx entry by entry, None for one; ties share evenly."""

from __future__ import annotations

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import reductions
from pertcore.adapters.onnx.symbolic import product


def _mean(op: Op, n: View, y: Tensor) -> Tensor:
    axes, _ = n.reduced()
    count = product(n.x.shape[a] for a in axes)
    if isinstance(count, int):
        return op.const(1.0 / count, n.x.dtype)
    return 1.0 / op.indicator(op.size(count), n.x)


def _extreme(op: Op, n: View, y: Tensor) -> Tensor:
    hits = op.indicator(op.Equal(n.x, y), n.x)
    axes, _ = n.reduced()
    return hits / op.ReduceSum(hits, axes, keepdims=1)


def _safe_ratio(op: Op, top: Tensor, bottom: Tensor) -> Tensor:
    """top / bottom, and 0 where bottom is 0."""
    nothing = op.Equal(bottom, 0.0)
    return op.Where(
        nothing, op.const(0.0, top.dtype), top / op.Where(nothing, op.const(1.0, top.dtype), bottom)
    )


def _product(op: Op, n: View, y: Tensor) -> Tensor:
    """Product of the others, exact where entries are zero."""
    axes, _ = n.reduced()
    is_zero = op.indicator(op.Equal(n.x, 0.0), n.x)
    zeros = op.ReduceSum(is_zero, axes, keepdims=1)
    others = op.ReduceProd(n.x + is_zero, axes, keepdims=1) / (n.x + is_zero)
    return others * op.indicator(op.Equal(zeros, is_zero), n.x)


reductions(
    {
        "ReduceSum": lambda op, n, y: None,
        "ReduceMean": _mean,
        "ReduceMax": _extreme,
        "ReduceMin": _extreme,
        "ReduceProd": _product,
        "ReduceL1": lambda op, n, y: op.Sign(n.x),
        "ReduceL2": lambda op, n, y: _safe_ratio(op, n.x, y),
        "ReduceLogSum": lambda op, n, y: op.Exp(-y),
        "ReduceLogSumExp": lambda op, n, y: op.Exp(n.x - y),
        "ReduceSumSquare": lambda op, n, y: n.x * 2.0,
    }
)
