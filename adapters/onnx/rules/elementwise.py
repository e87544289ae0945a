# ruff: noqa: ARG005
"""Operators that act entry by entry. Each line: the partial derivative times t, for each input.

Kinks as PyTorch has them: Relu and Abs 0 at 0, Clip 0 at its bounds, ties of Max and Min shared.
"""

from __future__ import annotations

import math
from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import elementwise, elementwise_each
from pertcore.adapters.onnx.rules.pooling import masks_relu


def _dropout(op: Op, n: View, t: Tensor) -> Tensor:
    """In training, the mask that the model itself drew."""
    training, ratio = n.input(2), n.input(1)
    if training is None or (training.value is not None and not training.value.any()):
        return t
    kept = op.indicator(n.second_output(), t)
    scale = 2.0 if ratio is None else 1.0 / (1.0 - ratio)
    drawn = t * kept * scale
    if training.value is None:
        return op.Where(training, drawn, t)
    return drawn


def _relu(op: Op, n: View, t: Tensor) -> Tensor:
    pool = n.made_by("MaxPool")
    if pool is not None and masks_relu(pool):
        return t
    return t * op.above(n.y if pool is None else n.x, 0.0)


def _leaky(op: Op, n: View, t: Tensor, slope: Any, x: Tensor) -> Tensor:
    mask = op.above(x, 0.0)
    return t * (mask * (1.0 - slope) + slope)


def _elu(op: Op, n: View, t: Tensor) -> Tensor:
    alpha = n.attr("alpha", 1.0)
    slope = op.Exp(op.Min(n.x, 0.0)) * alpha
    return t * op.Where(op.Less(n.x, 0.0), slope, op.const(1.0, n.x.dtype))


def _celu(op: Op, n: View, t: Tensor) -> Tensor:
    return t * op.Exp(op.Min(n.x, 0.0) / n.attr("alpha", 1.0))


def _selu(op: Op, n: View, t: Tensor) -> Tensor:
    gamma = n.attr("gamma", 1.0507009873554804934193349852946)
    alpha = n.attr("alpha", 1.6732632423543772848170429916717)
    slope = op.Exp(op.Min(n.x, 0.0)) * (alpha * gamma)
    return t * op.Where(op.Greater(n.x, 0.0), op.const(gamma, n.x.dtype), slope)


def _hard_sigmoid(op: Op, n: View, t: Tensor) -> Tensor:
    inside = op.above(n.y, 0.0) * op.below(n.y, 1.0)
    return t * inside * n.attr("alpha", 0.2)


def _hard_swish(op: Op, n: View, t: Tensor) -> Tensor:
    middle = (n.x * 2.0 + 3.0) / 6.0
    above = op.Where(op.GreaterOrEqual(n.x, 3.0), op.const(1.0, n.x.dtype), middle)
    return t * op.Where(op.LessOrEqual(n.x, -3.0), op.const(0.0, n.x.dtype), above)


def _softplus(op: Op, n: View, t: Tensor) -> Tensor:
    return t * op.Sigmoid(n.x)


def _mish(op: Op, n: View, t: Tensor) -> Tensor:
    squashed = op.Tanh(op.Softplus(n.x))
    return t * (squashed + n.x * (1.0 - squashed * squashed) * op.Sigmoid(n.x))


def _softsign(op: Op, n: View, t: Tensor) -> Tensor:
    scale = op.Abs(n.x) + 1.0
    return t / (scale * scale)


def _clip(op: Op, n: View, t: Tensor) -> Tensor:
    """Inside lo < x < hi, read off the output, which is a residual already."""
    for place, side in ((1, "above"), (2, "below")):
        bound = n.input(place)
        if bound is None:
            continue
        if bound.value is not None:
            limit = float(bound.value.reshape(()))
            if math.isfinite(limit) and abs(limit) < 1e30:
                t = t * getattr(op, side)(n.y, limit)
        else:
            inside = op.Greater(n.y, bound) if side == "above" else op.Less(n.y, bound)
            t = t * op.indicator(inside, t)
    return t


def _clip_low(op: Op, n: View, t: Tensor) -> Tensor:
    """Entries held at the lower bound; where the bounds meet or cross, the upper one counts."""
    low, high = n.b, n.input(2)
    held = op.indicator(op.LessOrEqual(n.y, low), t)
    return t * held if high is None else t * held * op.indicator(op.Less(n.y, high), t)


def _clip_high(op: Op, n: View, t: Tensor) -> Tensor:
    return t * op.indicator(op.GreaterOrEqual(n.y, n.i[2]), t)


def _shrink(op: Op, n: View, t: Tensor) -> Tensor:
    return t * op.indicator(op.Greater(op.Abs(n.x), n.attr("lambd", 0.5)), t)


def _thresholded(op: Op, n: View, t: Tensor) -> Tensor:
    return t * op.indicator(op.Greater(n.x, n.attr("alpha", 1.0)), t)


def _erf(op: Op, n: View, t: Tensor) -> Tensor:
    return t * (op.Exp(-(n.x * n.x)) * (2.0 / math.sqrt(math.pi)))


def _gelu(op: Op, n: View, t: Tensor) -> Tensor:
    if n.attr("approximate", "none") == "tanh":
        root = math.sqrt(2.0 / math.pi)
        cube = n.x * n.x
        squashed = op.Tanh(n.x * (cube * (0.044715 * root) + root))
        inner = cube * (3 * 0.044715 * root) + root
        return t * ((squashed + 1.0) * 0.5 + n.x * (1.0 - squashed * squashed) * inner * 0.5)
    below = (op.Erf(n.x * math.sqrt(0.5)) + 1.0) * 0.5
    return t * (below + n.x * op.Exp(n.x * n.x * -0.5) * (1.0 / math.sqrt(2 * math.pi)))


def _pow_base(op: Op, n: View, t: Tensor) -> Tensor:
    power = n.b if n.b.dtype == n.a.dtype else op.indicator(n.b, n.a)
    if power.value is not None and power.value.size == 1 and float(power.value.reshape(())) == 2:
        return t * (n.a * 2.0)
    return t * op.Where(
        op.Equal(power, 0.0), op.const(0.0, t.dtype), power * op.Pow(n.a, power - 1.0)
    )


def _pow_exponent(op: Op, n: View, t: Tensor) -> Tensor:
    logarithm = op.Log(op.Where(op.Greater(n.a, 0.0), n.a, op.const(1.0, t.dtype)))
    return t * (n.y * logarithm)


def _prelu_slope(op: Op, n: View, t: Tensor) -> Tensor:
    return t * op.Min(n.a, 0.0)


def _prelu(op: Op, n: View, t: Tensor) -> Tensor:
    mask = op.above(n.a, 0.0)
    return t * (mask + (1.0 - mask) * n.b)


def _atan_like(op: Op, n: View, t: Tensor) -> Tensor:
    return t / (n.x * n.x + 1.0)


def _modulus(op: Op, n: View, t: Tensor) -> Tensor:
    """a mod b = a - b trunc(a / b) for fmod, with a floor for the other."""
    ratio = n.a / n.b
    whole = op.Floor(op.Abs(ratio)) * op.Sign(ratio) if n.attr("fmod", 0) else op.Floor(ratio)
    return -(t * whole)


def _where(op: Op, t: Tensor, first: bool, condition: Tensor) -> Tensor:
    nothing = op.const(0.0, t.dtype)
    return op.Where(condition, t, nothing) if first else op.Where(condition, nothing, t)


def _extreme(op: Op, n: View, t: Tensor, index: int) -> Tensor:
    """Ties of k inputs get 1/k each."""
    if len(n.i) == 1:
        return t
    hits = [op.indicator(op.Equal(x, n.y), t) for x in n.i]
    if len(n.i) == 2:
        other = n.i[1 - index]
        wins = op.Greater if n.kind == "Max" else op.Less
        half = op.indicator(op.Equal(n.i[index], other), t) * 0.5
        return t * (op.indicator(wins(n.i[index], other), t) + half)
    count = hits[0]
    for hit in hits[1:]:
        count = count + hit
    return t * (hits[index] / count)


elementwise(
    {
        "Identity": lambda op, n, t: t,
        "Dropout": (_dropout, None, None),
        "Neg": lambda op, n, t: -t,
        "Abs": lambda op, n, t: t * op.Sign(n.x),
        "Relu": _relu,
        "LeakyRelu": lambda op, n, t: _leaky(op, n, t, n.attr("alpha", 0.01), n.x),
        "PRelu": (_prelu, _prelu_slope),
        "Elu": _elu,
        "Celu": _celu,
        "Selu": _selu,
        "ThresholdedRelu": _thresholded,
        "Shrink": _shrink,
        "Clip": (_clip, _clip_low, _clip_high),
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _hard_swish,
        "Sigmoid": lambda op, n, t: t * (n.y * (1.0 - n.y)),
        "Tanh": lambda op, n, t: t * (1.0 - n.y * n.y),
        "Softplus": _softplus,
        "Softsign": _softsign,
        "Mish": _mish,
        "Gelu": _gelu,
        "Erf": _erf,
        "Exp": lambda op, n, t: t * n.y,
        "Log": lambda op, n, t: t / n.x,
        "Sqrt": lambda op, n, t: t * 0.5 / n.y,
        "Reciprocal": lambda op, n, t: -(t * (n.y * n.y)),
        "Sin": lambda op, n, t: t * op.Cos(n.x),
        "Cos": lambda op, n, t: -(t * op.Sin(n.x)),
        "Tan": lambda op, n, t: t * (n.y * n.y + 1.0),
        "Sinh": lambda op, n, t: t * op.Cosh(n.x),
        "Cosh": lambda op, n, t: t * op.Sinh(n.x),
        "Asin": lambda op, n, t: t / op.Sqrt(1.0 - n.x * n.x),
        "Acos": lambda op, n, t: -(t / op.Sqrt(1.0 - n.x * n.x)),
        "Atan": _atan_like,
        "Asinh": lambda op, n, t: t / op.Sqrt(n.x * n.x + 1.0),
        "Acosh": lambda op, n, t: t / op.Sqrt(n.x * n.x - 1.0),
        "Atanh": lambda op, n, t: t / (1.0 - n.x * n.x),
        "Add": (lambda op, n, t: t, lambda op, n, t: t),
        "Sub": (lambda op, n, t: t, lambda op, n, t: -t),
        "Mul": (lambda op, n, t: t * n.b, lambda op, n, t: t * n.a),
        "Div": (lambda op, n, t: t / n.b, lambda op, n, t: -(t * (n.y / n.b))),
        "Pow": (_pow_base, _pow_exponent),
        "Mod": (lambda op, n, t: t, _modulus),
        "Where": (
            None,
            lambda op, n, t: _where(op, t, True, n.x),
            lambda op, n, t: _where(op, t, False, n.x),
        ),
    }
)

elementwise_each(
    {
        "Sum": lambda op, n, t, i: t,
        "Mean": lambda op, n, t, i: t * (1.0 / len(n.i)),
        "Max": _extreme,
        "Min": _extreme,
    }
)
