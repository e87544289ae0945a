"""Softmax and the normalisations."""

from __future__ import annotations

from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import jvp, refusal, vjp
from pertcore.adapters.onnx.symbolic import product


@vjp("Softmax")
def softmax_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """J = diag(y) - y y^T, its own transpose."""
    return [_softmax(op, n, g)]


@jvp("Softmax")
def softmax_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return _softmax(op, n, t)


def _softmax(op: Op, n: View, t: Tensor) -> Tensor:
    y = _without_nan(op, n.y)
    scaled = t * y
    return scaled - y * op.reduce_sum(scaled, [n.axis(default=-1)])


def _without_nan(op: Op, y: Tensor) -> Tensor:
    """Where the model itself picks what to keep of y, rows that are masked throughout are NaN:
    nothing flows through them."""
    made = list(op.graph.makers.values())
    names = {y.name}
    names.update(n.outputs[0] for n in made if n.op == "Cast" and y.name in n.inputs)
    guarded = any(names & {*n.inputs} for n in made if n.op in ("Where", "IsNaN"))
    return op.Where(op.IsNaN(y), op.const(0.0, y.dtype), y) if guarded else y


@vjp("LogSoftmax")
def log_softmax_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """y = x - log sum exp x: g - softmax(x) * sum g."""
    return [g - op.Exp(n.y) * op.reduce_sum(g, [n.axis(default=-1)])]


@jvp("LogSoftmax")
def log_softmax_jvp(op: Op, n: View, t: Tensor) -> Tensor:
    return t - op.reduce_sum(op.Exp(n.y) * t, [n.axis(default=-1)])


@vjp("BatchNormalization")
def batch_norm_vjp(op: Op, n: View, g: Tensor, *_: Any) -> list[Tensor | None]:
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
def layer_norm_vjp(op: Op, n: View, g: Tensor | None, *more: Tensor | None) -> list[Tensor | None]:
    """Mean and inverse deviation, its other outputs, add mean' = 1/m and r' = -r^3 (x - mean)/m."""
    axes = _layer_axes(n)
    total = None
    if g is not None:
        total = _centred_product(op, n.x, g * n.b, axes, n.attr("epsilon", 1e-5))
    for cotangent, slope in zip(more, _statistics(op, n, axes), strict=False):
        if cotangent is not None:
            term = op.expand(cotangent * slope, n.x.shape)
            total = term if total is None else total + term
    return [total]


@jvp("LayerNormalization")
def layer_norm_jvp(op: Op, n: View, t: Tensor, *_: Any) -> list[Tensor]:
    axes = _layer_axes(n)
    whole = _centred_product(op, n.x, t, axes, n.attr("epsilon", 1e-5)) * n.b
    slopes = _statistics(op, n, axes)[: len(n.o) - 1]
    return [whole, *[op.reduce_sum(t * slope, axes) for slope in slopes]]


def _layer_axes(n: View) -> list[int]:
    if n.wants(1) or n.wants(2):
        raise refusal(n, 1)
    return list(range(n.axis(default=-1), 0))


def _statistics(op: Op, n: View, axes: list[int]) -> list[Tensor]:
    """Derivatives of the mean and of r = 1 / sqrt(var + epsilon) by each entry of x."""
    if len(n.o) == 1:
        return []
    size = product(n.x.shape[a] for a in axes)
    count = op.indicator(op.size(size), n.x)
    centred = n.x - op.ReduceMean(n.x, axes, keepdims=1)
    deviation = op.ReduceMean(centred * centred, axes, keepdims=1) + n.attr("epsilon", 1e-5)
    return [1.0 / count, -(centred / (count * deviation * op.Sqrt(deviation)))]
