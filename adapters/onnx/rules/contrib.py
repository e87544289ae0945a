"""ONNX Runtime's own operators (com.microsoft), as its optimiser and exporters leave them behind,
written in standard ones. Definitions: ContribOperators.md of ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.errors import CapabilityError

MICROSOFT = "com.microsoft"
# x -> tanh(SQRT_2_OVER_PI (x + CUBIC x^3)), Hendrycks & Gimpel 2016.
SQRT_2_OVER_PI, CUBIC = math.sqrt(2 / math.pi), 0.044715


# Fused products


@lower("FusedConv", domain=MICROSOFT)
def fused_conv(op: Op, n: View) -> Tensor:
    """activation(conv(x, w) + bias + z)."""
    own = ("activation", "activation_params")
    attrs = {k: v for k, v in n.node.attrs.items() if k not in own}
    y = op.Conv(*n.i[:3], **attrs)
    z = n.input(3)
    return _activated(op, n, y if z is None else y + z, n.attr("activation_params") or [])


@lower("FusedGemm", domain=MICROSOFT)
def fused_gemm(op: Op, n: View) -> Tensor:
    """activation(alpha a' b' + beta c)."""
    standard = ("alpha", "beta", "transA", "transB")
    y = op.Gemm(*n.i, **{k: v for k, v in n.node.attrs.items() if k in standard})
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    return _activated(op, n, y, [n.attr(k) for k in names if n.attr(k) is not None])


def _activated(op: Op, n: View, y: Tensor, numbers: Sequence[float]) -> Tensor:
    """The activations ONNX Runtime fuses, with their parameters by position."""
    kind = n.attr("activation") or ""
    alpha = {"alpha": float(numbers[0])} if numbers else {}
    made = {
        "": lambda: y,
        "Relu": lambda: op.Relu(y),
        "Tanh": lambda: op.Tanh(y),
        "Sigmoid": lambda: op.Sigmoid(y),
        "HardSwish": lambda: op.HardSwish(y),
        "LeakyRelu": lambda: op.LeakyRelu(y, **alpha),
        "Elu": lambda: op.Elu(y, **alpha),
        "HardSigmoid": lambda: op.HardSigmoid(y, **dict(zip(("alpha", "beta"), numbers))),
        "Clip": lambda: op.Clip(y, *map(float, numbers)),
    }
    if kind not in made:
        raise CapabilityError(
            f"{n.kind} {n.node.label!r}: no derivative rule for its activation {kind!r}, only for "
            f"{', '.join(filter(None, made))}"
        )
    return made[kind]()


@lower("FusedMatMul TransposeMatMul", domain=MICROSOFT)
def fused_matmul(op: Op, n: View) -> Tensor:
    """alpha a' b', each transposed in its last two axes, or with the first axis moved there."""
    a = _turned(op, n.a, batch=n.attr("transBatchA", 0), last=n.attr("transA", 0))
    b = _turned(op, n.b, batch=n.attr("transBatchB", 0), last=n.attr("transB", 0))
    return (a @ b) * n.attr("alpha", 1.0)


def _turned(op: Op, x: Tensor, *, batch: int, last: int) -> Tensor:
    axes = list(range(x.rank))
    if batch:
        axes = [*axes[1:-1], axes[0], axes[-1]]
    if last and x.rank > 1:
        axes[-2:] = axes[:-3:-1]
    return op.Transpose(x, perm=axes)


# Activations


@lower("Gelu", domain=MICROSOFT)
def gelu(op: Op, n: View) -> Tensor:
    return _gelu(op, n.x)


@lower("BiasGelu", domain=MICROSOFT)
def bias_gelu(op: Op, n: View) -> Tensor:
    return _gelu(op, n.a + n.b)


def _gelu(op: Op, x: Tensor) -> Tensor:
    """x Phi(x) = x (1 + erf(x / sqrt 2)) / 2."""
    return x * ((op.Erf(x * math.sqrt(0.5)) + 1.0) * 0.5)


@lower("FastGelu", domain=MICROSOFT)
def fast_gelu(op: Op, n: View) -> Tensor:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    bias = n.input(1)
    return tanh_gelu(op, n.x if bias is None else n.x + bias)


def tanh_gelu(op: Op, x: Tensor) -> Tensor:
    """The approximation of x Phi(x) by tanh."""
    inner = op.Tanh((x + x * x * x * CUBIC) * SQRT_2_OVER_PI)
    return x * ((inner + 1.0) * 0.5)


@lower("QuickGelu", domain=MICROSOFT)
def quick_gelu(op: Op, n: View) -> Tensor:
    """x sigmoid(alpha x)."""
    return n.x * op.Sigmoid(n.x * n.attr("alpha", 1.702))


# Normalisations


@lower("LayerNormalization", domain=MICROSOFT)
def layer_norm(op: Op, n: View) -> Any:
    """The one that ONNX took over at opset 17."""
    return op.LayerNormalization(*n.i, outputs=len(n.node.outputs), **n.node.attrs)


@lower("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_norm(op: Op, n: View) -> list[Tensor | None]:
    """Layer normalisation of input + skip + bias; that sum is the fourth output."""
    total = _sum_of(n, 0, 1, 4)
    given = [total, *n.i[2:4]]
    y = op.LayerNormalization(*given, axis=-1, epsilon=n.attr("epsilon", 1e-12))
    return [y, None, None, total]


@lower("SimplifiedLayerNormalization", domain=MICROSOFT)
def simplified_layer_norm(op: Op, n: View) -> list[Tensor]:
    axes = list(range(n.axis(default=-1), 0))
    return list(_root_mean_square(op, n, n.a, n.b, axes))


@lower("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_norm(op: Op, n: View) -> list[Tensor | None]:
    total = _sum_of(n, 0, 1, 3)
    y, inverse = _root_mean_square(op, n, total, n.i[2], [-1])  # type: ignore[arg-type]
    return [y, None, inverse, total]


def _sum_of(n: View, *places: int) -> Tensor:
    given = [tensor for tensor in map(n.input, places) if tensor is not None]
    total = given[0]
    for tensor in given[1:]:
        total = total + tensor
    return total


def _root_mean_square(
    op: Op, n: View, x: Tensor, scale: Tensor, axes: list[int]
) -> tuple[Tensor, Tensor]:
    """x / sqrt(mean x^2 + epsilon) * scale (Zhang & Sennrich 2019), and the inverse root."""
    mean = op.ReduceMean(x * x, axes, keepdims=1)
    inverse = 1.0 / op.Sqrt(mean + n.attr("epsilon", 1e-5))
    return x * inverse * scale, inverse
