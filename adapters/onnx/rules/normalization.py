"""Softmax and the normalisations."""

from __future__ import annotations

from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, refusal, vjp


@vjp("Softmax")
def softmax_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """J = diag(y) - y y^T, its own transpose."""
    return [_softmax(op, n, g)]


@jvp("Softmax")
def softmax_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return _softmax(op, n, t)


def _softmax(op: Op, n: View, t: Tensor) -> Tensor:
    scaled = t * n.y
    return scaled - n.y * op.reduce_sum(scaled, [n.axis(default=-1)])


@vjp("LogSoftmax")
def log_softmax_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """y = x - log sum exp x: g - softmax(x) * sum g."""
    return [g - op.Exp(n.y) * op.reduce_sum(g, [n.axis(default=-1)])]


@jvp("LogSoftmax")
def log_softmax_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return t - op.reduce_sum(op.Exp(n.y) * t, [n.axis(default=-1)])


@vjp("BatchNormalization")
def batch_norm_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    return [g * _channel_scale(op, n)]


@jvp("BatchNormalization")
def batch_norm_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return t * _channel_scale(op, n)


def _channel_scale(op: Op, n: View) -> Tensor:
    """scale / sqrt(var + epsilon), one number a channel, in the shape of the rest."""
    fixed = [i for i in range(1, 5) if n.wants(i)]
    if fixed or n.attr("training_mode", 0):
        raise refusal(n, fixed[0] if fixed else 0)
    scale, variance = n.i[1], n.i[4]
    factor = scale / op.Sqrt(variance + n.attr("epsilon", 1e-5))
    return op.resized(factor, [n.x.shape[1], *[1] * (n.x.rank - 2)])


@vjp("InstanceNormalization")
def instance_norm_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """dx = r (g' - mean g' - z mean(g' z)), z = (x - mean x) r, g' = scale g; J is symmetric
    apart from the scale."""
    return [_standardise(op, n, g * _instance_scale(op, n))]


@jvp("InstanceNormalization")
def instance_norm_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return _standardise(op, n, t) * _instance_scale(op, n)


def _instance_scale(op: Op, n: View) -> Tensor:
    if n.wants(1) or n.wants(2):
        raise refusal(n, 1)
    return op.resized(n.b, [n.x.shape[1], *[1] * (n.x.rank - 2)])


def _standardise(op: Op, n: View, t: Tensor) -> Tensor:
    axes = list(range(2 - n.x.rank, 0))
    return _centred_product(op, n.x, t, axes, n.attr("epsilon", 1e-5))


def _centred_product(op: Op, x: Tensor, t: Tensor, axes: list[int], epsilon: float) -> Tensor:
    """(I - 1 1^T/m - z z^T/m) t * r for z = (x - mean x) r, r = 1 / sqrt(var x + epsilon)."""
    centred = x - op.ReduceMean(x, axes, keepdims=1)
    inverse = 1.0 / op.Sqrt(op.ReduceMean(centred * centred, axes, keepdims=1) + epsilon)
    z = centred * inverse
    correlation = op.ReduceMean(t * z, axes, keepdims=1)
    return (t - op.ReduceMean(t, axes, keepdims=1) - z * correlation) * inverse


@vjp("LayerNormalization")
def layer_norm_vjp(op: Op, n: View, g: Tensor | None, *_: Any) -> list[Tensor | None]:
    axes = _layer_axes(n)
    scaled = g * n.b if g is not None else None
    return [
        None if scaled is None else _centred_product(op, n.x, scaled, axes, n.attr("epsilon", 1e-5))
    ]


@jvp("LayerNormalization")
def layer_norm_jvp(op: Op, n: View, t: Tensor, *_: Any) -> Tensor:
    return _centred_product(op, n.x, t, _layer_axes(n), n.attr("epsilon", 1e-5)) * n.b


def _layer_axes(n: View) -> list[int]:
    if n.wants(1) or n.wants(2):
        raise refusal(n, 1)
    return list(range(n.axis(default=-1), 0))
