"""Mixture of experts and linear attention of ONNX Runtime (com.microsoft), in standard
operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.adapters.onnx.rules.attention import MICROSOFT, only, refused
from pertcore.adapters.onnx.rules.contrib import tanh_gelu

ATTRS = (
    "k activation_type normalize_routing_weights activation_alpha activation_beta swiglu_limit "
    "swiglu_fusion"
)


@lower("MoE", domain=MICROSOFT)
def mixture_of_experts(op: Op, n: View) -> Tensor:
    """sum_e gate_e (w2_e activation(w1_e x + b1_e) + b2_e) over the k experts of the largest
    scores; all experts are computed here, the others with a gate of zero."""
    only(n, 8, 1, ATTRS)
    x, width = n.x, n.x.shape[-1]
    tokens: Any = math.prod(x.shape[:-1])
    rows = op.Unsqueeze(op.resized(x, [tokens, width]), [0])
    wide = _product(op, rows, n.i[2], n.input(3))
    third = n.input(6)
    beside = None if third is None else _product(op, rows, third, n.input(7))
    made = _product(op, _active(op, n, wide, beside), n.i[4], n.input(5))
    gates = op.Unsqueeze(op.Transpose(_gates(op, n), perm=[1, 0]), [2])
    return op.resized(op.ReduceSum(made * gates, [0], keepdims=0), [*x.shape])


def _product(op: Op, x: Tensor, w: Any, bias: Tensor | None) -> Tensor:
    y = x @ op.Transpose(w, perm=[0, 2, 1])
    return y if bias is None else y + op.Unsqueeze(bias, [1])


def _gates(op: Op, n: View) -> Tensor:
    """Softmax of the scores at the k largest, zero elsewhere, (tokens, experts)."""
    count = n.attr("k", 1)
    experts = n.b.shape[-1]
    values, places = op.TopK(n.b, op.const([count], np.int64), axis=-1, outputs=2)
    if n.attr("normalize_routing_weights", 0):
        shares = op.Softmax(values, axis=-1)
    else:
        shares = op.GatherElements(op.Softmax(n.b, axis=-1), places, axis=-1)
    every = op.Unsqueeze(op.positions(experts), [0, 1])
    hit = op.indicator(op.Equal(op.Unsqueeze(places, [2]), every), n.b)
    return op.ReduceSum(op.Unsqueeze(shares, [2]) * hit, [1], keepdims=0)


def _active(op: Op, n: View, wide: Tensor, beside: Tensor | None) -> Tensor:
    kind = n.attr("activation_type", "relu")
    if kind == "swiglu":
        return _gated(op, n, wide, beside)
    made = {
        "identity": lambda: wide,
        "relu": lambda: op.Relu(wide),
        "silu": lambda: wide * op.Sigmoid(wide),
        "gelu": lambda: tanh_gelu(op, wide),
    }
    if kind not in made or beside is not None:
        raise refused(n, f"activation_type {kind!r}, or a third product")
    return made[kind]()


def _gated(op: Op, n: View, wide: Tensor, beside: Tensor | None) -> Tensor:
    """g sigmoid(alpha g) (l + beta), both within the limit."""
    layout = n.attr("swiglu_fusion", 0)
    if layout:
        half = int(wide.shape[-1]) // 2  # type: ignore[arg-type]
        apart = [half, 2] if layout == 1 else [2, half]
        axis = 3 if layout == 1 else 2
        parts = op.Split(op.resized(wide, [*wide.shape[:-1], *apart]), [1, 1], axis=axis, outputs=2)
        gate, linear = (op.Squeeze(part, [axis]) for part in parts)
    elif beside is not None:
        gate, linear = wide, beside
    else:
        raise refused(n, "swiglu of one product")
    limit = n.attr("swiglu_limit")
    if limit is not None:
        gate = op.Min(gate, float(limit))
        linear = op.Clip(linear, -float(limit), float(limit))
    opened = gate * op.Sigmoid(gate * n.attr("activation_alpha", 1.0))
    return opened * (linear + n.attr("activation_beta", 0.0))


@lower("LinearAttention", domain=MICROSOFT)
def linear_attention(op: Op, n: View) -> list[Tensor]:
    """o_t = scale q_t^T S_t, S_t = e^g S_{t-1} + beta k_t (v_t - e^g S_{t-1}^T k_t)^T; without the
    decay g, without the correction and beta, or without both, as `update_rule` says."""
    only(n, 6, 2, "q_num_heads kv_num_heads scale update_rule chunk_size")
    rule = n.attr("update_rule", "gated_delta")
    queries, heads = n.attr("q_num_heads"), n.attr("kv_num_heads")
    q, k, v = (_steps(op, t, h) for t, h in zip(n.i[:3], (queries, heads, heads), strict=True))
    width = int(k.shape[-1])  # type: ignore[arg-type]
    scale = n.attr("scale", 0.0) or 1.0 / math.sqrt(width)
    slices = [_grouped(op, q, queries, heads) * scale, op.Unsqueeze(k, [3]), op.Unsqueeze(v, [3])]
    gated, corrected = "gated" in rule, "delta" in rule
    slices += [_decay(op, n, heads)] if gated else []
    slices += [_rate(op, n)] if corrected else []

    def step(inner: Op, state: Tensor, *given: Tensor) -> Sequence[Tensor]:
        query, key, value, *more = given
        state = state * inner.Exp(more.pop(0)) if gated else state
        value = (value - key @ state) * more.pop(0) if corrected else value
        state = state + inner.Transpose(key, perm=[0, 1, 3, 2]) @ value
        return [state, query @ state]

    last, made = op.scan(step, [_start(op, n, k, v)], slices, 0)
    # (length, n, heads, queries a head, width) -> (n, length, all of them)
    length, batch, first, group, depth = made.shape
    y = op.resized(op.Transpose(made, perm=[1, 0, 2, 3, 4]), [batch, length, first * group * depth])
    return [y, last]


def _steps(op: Op, t: Any, heads: Any) -> Tensor:
    """(n, length, heads * d) -> (length, n, heads, d)."""
    batch, length, width = t.shape
    return op.Transpose(op.resized(t, [batch, length, heads, width // heads]), perm=[1, 0, 2, 3])


def _grouped(op: Op, q: Tensor, queries: int, heads: int) -> Tensor:
    """Queries by the head of their keys, (length, n, heads, queries a head, d)."""
    length, batch, _, width = q.shape
    if queries >= heads:
        return op.resized(q, [length, batch, heads, queries // heads, width])
    index = op.const(np.arange(heads) // (heads // queries), np.int64)
    return op.Unsqueeze(op.Gather(q, index, axis=2), [3])


def _decay(op: Op, n: View, heads: int) -> Tensor:
    """The logarithm of what is left of the state, for every entry of a key or for all of a head."""
    given = n.i[4]
    if given is None:
        raise refused(n, "no decay")
    return op.Unsqueeze(_steps(op, given, heads), [4])


def _rate(op: Op, n: View) -> Tensor:
    """How much of the correction is taken, for every head or for all."""
    given = n.input(5)
    if given is None:
        raise refused(n, "no beta")
    return op.Unsqueeze(_steps(op, given, given.shape[-1]), [3])


def _start(op: Op, n: View, k: Tensor, v: Tensor) -> Tensor:
    past = n.input(3)
    if past is not None:
        return past
    shape = [k.shape[1], k.shape[2], k.shape[3], v.shape[3]]
    return op.expand(op.const(np.zeros((1, 1, 1, 1)), k.dtype), shape)
