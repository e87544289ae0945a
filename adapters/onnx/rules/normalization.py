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
    readers = op.graph.readers
    casts = [n.outputs[0] for n in readers.get(y.name, []) if n.op == "Cast"]
    found = [n for name in (y.name, *casts) for n in readers.get(name, [])]
    guarded = any(n.op in ("Where", "IsNaN") for n in found)
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
    """y = (x - mean) r scale + bias, r = 1 / sqrt(var + epsilon): linear in all but the variance."""
    found: list[Tensor | None] = []
    rest = [-n.x.rank, *range(2 - n.x.rank, 0)]
    for place, factor in enumerate(_batch_factors(op, n)):
        whole = None if factor is None else g * factor
        found.append(whole if whole is None or not place else op.reduce_sum(whole, rest, keep=0))
    return found


@jvp("BatchNormalization")
def batch_norm_jvp(op: Op, n: View, *tangents: Tensor | None) -> Tensor | None:
    total: Tensor | None = None
    column = [1, n.x.shape[1], *[1] * (n.x.rank - 2)]
    for place, (t, factor) in enumerate(zip(tangents, _batch_factors(op, n), strict=True)):
        if t is not None and factor is not None:
            term = (op.reshape(t, column) if place else t) * factor
            total = term if total is None else total + term
    return None if total is None else op.expand(total, n.y.shape)


def _batch_factors(op: Op, n: View) -> list[Any]:
    """dy / d (x, scale, bias, mean, variance), None where it is not wanted."""
    scale, mean, variance = n.i[1], n.i[3], n.i[4]
    if n.attr("training_mode", 0) or scale is None or mean is None or variance is None:
        raise refusal(n, 0)
    column = [n.x.shape[1], *[1] * (n.x.rank - 2)]
    spread = variance + n.attr("epsilon", 1e-5)
    slope = op.resized(scale / op.Sqrt(spread), column)
    found: list[Any] = [slope if n.wants(0) else None, None, 1.0 if n.wants(2) else None]
    if n.wants(1):
        found[1] = (n.x - op.resized(mean, column)) / op.resized(op.Sqrt(spread), column)
    found.append(-slope if n.wants(3) else None)
    centred = n.x - op.resized(mean, column)
    found.append(centred * (slope * op.resized(-0.5 / spread, column)) if n.wants(4) else None)
    return found


@vjp("InstanceNormalization")
def instance_norm_vjp(op: Op, n: View, g: Tensor) -> list[Tensor | None]:
    """dx = r (g' - mean g' - z mean(g' z)), z = (x - mean x) r, g' = scale g; J is symmetric
    apart from the scale."""
    rest = [-n.x.rank, *range(2 - n.x.rank, 0)]
    return [
        _standardise(op, n, g * _column(op, n, n.b)) if n.wants(0) else None,
        op.reduce_sum(g * _standardised(n), rest, keep=0) if n.wants(1) else None,
        op.reduce_sum(g, rest, keep=0) if n.wants(2) else None,
    ]


@jvp("InstanceNormalization")
def instance_norm_jvp(
    op: Op, n: View, t: Tensor | None, scale: Tensor | None, bias: Tensor | None
) -> Tensor | None:
    column = [1, n.x.shape[1], *[1] * (n.x.rank - 2)]
    moved = None if t is None else _standardise(op, n, t) * _column(op, n, n.b)
    scaled = None if scale is None else op.reshape(scale, column) * _standardised(n)
    return _whole(op, n, moved, scaled, None if bias is None else op.reshape(bias, column))


def _column(op: Op, n: View, t: Tensor) -> Tensor:
    return op.resized(t, [n.x.shape[1], *[1] * (n.x.rank - 2)])


def _standardised(n: View) -> Tensor:
    return _scaled(n.op, n.x, list(range(2 - n.x.rank, 0)), n.attr("epsilon", 1e-5))[0]


def _whole(op: Op, n: View, *terms: Tensor | None) -> Tensor | None:
    total: Tensor | None = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    return None if total is None else op.expand(total, n.y.shape)


def _standardise(op: Op, n: View, t: Tensor) -> Tensor:
    axes = list(range(2 - n.x.rank, 0))
    return _centred_product(op, n.x, t, axes, n.attr("epsilon", 1e-5))


def _scaled(op: Op, x: Tensor, axes: list[int], epsilon: float) -> tuple[Tensor, Tensor]:
    """z = (x - mean x) r and r = 1 / sqrt(var x + epsilon)."""
    centred = x - op.ReduceMean(x, axes, keepdims=1)
    inverse = 1.0 / op.Sqrt(op.ReduceMean(centred * centred, axes, keepdims=1) + epsilon)
    return centred * inverse, inverse


def _centred_product(op: Op, x: Tensor, t: Tensor, axes: list[int], epsilon: float) -> Tensor:
    """(I - 1 1^T/m - z z^T/m) t * r."""
    z, inverse = _scaled(op, x, axes, epsilon)
    correlation = op.ReduceMean(t * z, axes, keepdims=1)
    return (t - op.ReduceMean(t, axes, keepdims=1) - z * correlation) * inverse


@vjp("LayerNormalization")
def layer_norm_vjp(op: Op, n: View, g: Tensor | None, *more: Tensor | None) -> list[Tensor | None]:
    """Mean and inverse deviation, its other outputs, add mean' = 1/m and r' = -r^3 (x - mean)/m."""
    axes, epsilon = _layer_axes(n), n.attr("epsilon", 1e-5)
    found: list[Tensor | None] = [None] * len(n.i)
    if g is not None and n.wants(0):
        found[0] = _centred_product(op, n.x, g * n.b, axes, epsilon)
    if g is not None and n.wants(1):
        found[1] = op.sum_to(g * _scaled(op, n.x, axes, epsilon)[0], n.b.shape)
    if g is not None and n.wants(2):
        found[2] = op.sum_to(g, n.i[2].shape)  # type: ignore[union-attr]
    for cotangent, slope in zip(more, _statistics(op, n, axes), strict=False):
        if cotangent is not None and n.wants(0):
            term = op.expand(cotangent * slope, n.x.shape)
            found[0] = term if found[0] is None else found[0] + term
    return found


@jvp("LayerNormalization")
def layer_norm_jvp(op: Op, n: View, *tangents: Tensor | None) -> list[Tensor | None]:
    axes, epsilon = _layer_axes(n), n.attr("epsilon", 1e-5)
    t, scale, bias = (*tangents, None)[:3]
    terms: list[Tensor | None] = []
    if t is not None:
        terms.append(_centred_product(op, n.x, t, axes, epsilon) * n.b)
    if scale is not None:
        wide = op.align(scale, n.b.shape, n.x.rank)
        terms.append(wide * _scaled(op, n.x, axes, epsilon)[0])
    if bias is not None:
        terms.append(op.align(bias, n.i[2].shape, n.x.rank))  # type: ignore[union-attr]
    slopes = [] if t is None else _statistics(op, n, axes)[: len(n.o) - 1]
    return [_whole(op, n, *terms), *[op.reduce_sum(t * slope, axes) for slope in slopes]]


def _layer_axes(n: View) -> list[int]:
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
