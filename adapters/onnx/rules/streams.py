"""Gates and streams of ONNX Runtime (com.microsoft), in standard operators: normalisations that are
gated, and hyper-connections, which mix several streams of one width."""

from __future__ import annotations

import math

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.adapters.onnx.rules.attention import MICROSOFT, refused

# Below this a score of an Engram gate is as large as this.
FAINT = 1e-6


def _root_mean_square(op: Op, x: Tensor, epsilon: float) -> Tensor:
    """x / sqrt(mean x^2 + epsilon) along the last axis."""
    return x / op.Sqrt(op.ReduceMean(x * x, [-1], keepdims=1) + epsilon)


@lower("SampleOp", domain=MICROSOFT)
def sample(op: Op, n: View) -> Tensor:
    return op.Identity(n.x)


@lower("ScaledSiLU", domain=MICROSOFT)
def scaled_silu(op: Op, n: View) -> Tensor:
    """z sigmoid(z), z = scale x."""
    scale = n.input(1)
    z = n.x * (n.attr("alpha", 1.0) if scale is None else op.Reshape(scale, [1]))
    return z * op.Sigmoid(z)


@lower("GatedAdd", domain=MICROSOFT)
def gated_add(op: Op, n: View) -> Tensor:
    """x + gate y."""
    x, y, gate = n.i[:3]
    if n.input(3) is not None or x is None or y is None or gate is None:
        raise refused(n, "gate_weight")
    return x + y * gate


@lower("GatedRMSNorm", domain=MICROSOFT)
def gated_root_mean_square(op: Op, n: View) -> Tensor:
    """rms(x) scale activation(gate), for each run of as many entries as scale has."""
    scale, gate = n.b, n.i[2]
    if gate is None:
        raise refused(n, "no gate")
    size = scale.shape[0]
    runs = [*n.x.shape[:-1], n.x.shape[-1] // size, size]
    normal = _root_mean_square(op, op.resized(n.x, runs), n.attr("epsilon", 1e-5)) * scale
    opened = op.Sigmoid(gate)
    opened = opened if n.attr("activation", "silu") == "sigmoid" else gate * opened
    return op.resized(normal, [*n.x.shape]) * opened


@lower("BranchwiseRMSNorm", domain=MICROSOFT)
def branchwise_root_mean_square(op: Op, n: View) -> Tensor:
    """rms(x) scale for every branch."""
    x = _streams(op, n, n.x)
    normal = _root_mean_square(op, x, n.attr("epsilon", 1e-5))
    scale = n.input(1)
    if scale is not None:
        whole = scale.rank == 2 or scale.shape[0] == x.shape[-1]
        normal = normal * (scale if whole else op.Reshape(scale, [x.shape[-2], x.shape[-1]]))
    return op.resized(normal, [*n.x.shape])


def _streams(op: Op, n: View, x: Tensor) -> Tensor:
    """(..., c, h), also where the file keeps it as (..., c h)."""
    count = n.attr("num_branches", 0)
    if not count:
        return x
    return op.resized(x, [*x.shape[:-1], count, x.shape[-1] // count])


def _gate(op: Op, gate: Tensor, streams: Tensor) -> Tensor:
    """A gate of shape (..., c), (..., c, 1), (..., c, h) or (..., c h), with axes c and h."""
    if gate.rank == streams.rank:
        return gate
    if gate.shape[-1] == streams.shape[-2]:
        return op.Unsqueeze(gate, [-1])
    return op.resized(gate, [*streams.shape])


@lower("HyperConnectionPreMix", domain=MICROSOFT)
def pre_mix(op: Op, n: View) -> Tensor:
    """scale sum_c gate_c x_c."""
    x = _streams(op, n, n.x)
    mixed = op.ReduceSum(x * _gate(op, n.b, x), [-2], keepdims=0)
    return mixed * n.attr("reduction_scale", 1.0)


@lower("HyperConnectionPostMix", domain=MICROSOFT)
def post_mix(op: Op, n: View) -> Tensor:
    """sum_c mix_ck x_c + gate_k y."""
    gate, mix = n.i[2], n.input(3)
    if gate is None:
        raise refused(n, "no gate")
    x = _streams(op, n, n.x)
    last = list(range(x.rank))
    turned = [*last[:-2], last[-1], last[-2]]
    mixed = x if mix is None else op.Transpose(mix, perm=turned) @ x
    return op.resized(mixed + _gate(op, gate, x) * op.Unsqueeze(n.b, [-2]), [*n.x.shape])


@lower("LinearAttentionGate", domain=MICROSOFT)
def linear_attention_gate(op: Op, n: View) -> list[Tensor]:
    """scale softplus(a + bias), sigmoid(b)."""
    bias, scale, b = n.i[1], n.i[2], n.input(3)
    decay = op.Softplus(n.a + bias) * scale
    return [decay] if b is None else [decay, op.Sigmoid(b)]


@lower("EngramGate", domain=MICROSOFT)
def engram_gate(op: Op, n: View) -> list[Tensor]:
    """sigmoid(sign(s) sqrt max(|s|, 1e-6)) v, s = rms(key) . rms(query) / sqrt h."""
    key, query, value, first, second = n.i[:5]
    if key is None or query is None or value is None:
        raise refused(n, "no keys")
    epsilon = n.attr("epsilon", 1e-5)
    products = _root_mean_square(op, key, epsilon) * first
    products = products * (_root_mean_square(op, query, epsilon) * second)
    root = math.sqrt(int(key.shape[-1]))  # type: ignore[arg-type]
    score = op.ReduceSum(products, [-1], keepdims=1) / root
    size = op.Sqrt(op.Max(op.Abs(score), FAINT))
    made = op.Sigmoid(op.Sign(score) * size) * op.Unsqueeze(value, [2])
    last = n.input(5)
    return [made] if last is None else [made, _root_mean_square(op, made, epsilon) * last]
