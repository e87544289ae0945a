"""ONNX Runtime's attention operators (com.microsoft), written in standard ones, without caches of
earlier keys and values. Definitions: ContribOperators.md of ONNX Runtime."""

from __future__ import annotations

import math

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.errors import CapabilityError

MICROSOFT = "com.microsoft"
MASKED = -10000.0


def _refused(n: View, what: str) -> CapabilityError:
    return CapabilityError(f"{n.kind} {n.node.label!r}: no derivative rule with {what}")


def _only(n: View, inputs: int, attrs: str) -> None:
    """Refuses inputs and attributes that are not written out here."""
    more = [str(i) for i in range(inputs, len(n.i)) if n.i[i] is not None]
    if more:
        raise _refused(n, f"its input {', '.join(more)}")
    if len([name for name in n.node.outputs if name]) > 1:
        raise _refused(n, "a cache of keys and values as an output")
    known = set(attrs.split())
    more = [name for name, value in n.node.attrs.items() if value and name not in known]
    if more:
        raise _refused(n, f"attribute {', '.join(more)}")


@lower("Attention", domain=MICROSOFT)
def attention(op: Op, n: View) -> Tensor:
    """softmax(q k^T scale + mask) v of (q, k, v) = x w + b, x (n, s, d), w (d, 3 h)."""
    _only(n, 6, "num_heads scale unidirectional mask_filter_value qkv_hidden_sizes")
    if n.input(4) is not None:
        raise _refused(n, "a cache of keys and values")
    bias, mask = n.input(2), n.input(3)
    joined = n.a @ n.b
    joined = joined if bias is None else joined + bias
    width = joined.shape[-1]
    if not isinstance(width, int):
        raise _refused(n, "a width that is not fixed")
    sizes = n.attr("qkv_hidden_sizes") or [width // 3] * 3
    q, k, v = op.Split(joined, list(sizes), axis=2, outputs=3)
    return _attend(op, n, q, k, v, _key_mask(op, n, mask), n.input(5))


@lower("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(op: Op, n: View) -> Tensor:
    """The same for q (n, s, h), k (n, l, h) and v (n, l, h') that are given, plus a bias."""
    _only(n, 6, "num_heads scale unidirectional mask_filter_value")
    q, k, v = n.x, n.input(1), n.input(2)
    if k is None or v is None or {q.rank, k.rank, v.rank} != {3}:
        raise _refused(n, "packed queries, keys and values")
    bias = n.input(3)
    if bias is not None:
        widths = [int(t.shape[-1]) for t in (q, k, v)]  # type: ignore[arg-type]
        parts = op.Split(bias, widths, axis=0, outputs=3)
        q, k, v = (t + b for t, b in zip((q, k, v), parts, strict=True))
    return _attend(op, n, q, k, v, _key_mask(op, n, n.input(4)), n.input(5))


def _key_mask(op: Op, n: View, mask: Tensor | None) -> Tensor | None:
    """1 for keys that count, 0 for padding (n, l), as a number to be added."""
    if mask is None:
        return None
    if mask.rank != 2:
        raise _refused(n, f"a mask of {mask.rank} axes")
    away = 1.0 - op.Cast(mask, to=1)
    return op.Unsqueeze(away * n.attr("mask_filter_value", MASKED), [1, 2])


def _attend(
    op: Op, n: View, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None
) -> Tensor:
    heads = n.attr("num_heads")
    q, k, v = (_split_heads(op, t, heads) for t in (q, k, v))
    scale = n.attr("scale") or 1.0 / math.sqrt(int(q.shape[-1]))  # type: ignore[arg-type]
    scores = (q @ op.Transpose(k, perm=[0, 1, 3, 2])) * scale
    scores = scores if bias is None else scores + bias
    scores = scores if mask is None else scores + mask
    if n.attr("unidirectional", 0):
        scores = scores + _causal(op, n, q, k)
    mixed = op.Transpose(op.Softmax(scores, axis=-1) @ v, perm=[0, 2, 1, 3])
    batch, length, _, width = mixed.shape
    return op.resized(mixed, [batch, length, heads * width])


def _split_heads(op: Op, t: Tensor, heads: int) -> Tensor:
    batch, length, width = t.shape
    parts = op.resized(t, [batch, length, heads, width // heads])
    return op.Transpose(parts, perm=[0, 2, 1, 3])


def _causal(op: Op, n: View, q: Tensor, k: Tensor) -> Tensor:
    """The filter value for keys that come after the query."""
    rows, columns = q.shape[-2], k.shape[-2]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise _refused(n, "unidirectional=1 and a length that is not fixed")
    later = np.triu(np.ones((rows, columns), np.float32), columns - rows + 1)
    return op.const(later * np.float32(np.finfo(np.float32).min / 4))


@lower("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(op: Op, n: View) -> Tensor:
    """Pairs (a, b) of a head turned by the angle of their position: (a c - b s, b c + a s)."""
    _only(n, 4, "num_heads interleaved rotary_embedding_dim scale")
    if n.attr("rotary_embedding_dim", 0) or n.attr("scale", 1.0) != 1.0:
        raise _refused(n, "a part of the head, or a scale")
    positions, cosines, sines = n.i[1:4]
    if n.x.rank != 3 or positions is None or cosines is None or sines is None:
        raise _refused(n, f"an input of {n.x.rank} axes")
    batch, length, width = n.x.shape
    half = cosines.shape[-1]
    heads = width // (half * 2)
    places = positions
    if positions.rank == 1:
        if positions.shape != (1,) or not isinstance(length, int):
            raise _refused(n, "an offset and a length that is not fixed")
        places = op.Unsqueeze(op.const(np.arange(length)) + positions, [0])
    cosine, sine = (op.Unsqueeze(op.Gather(t, places, axis=0), [2]) for t in (cosines, sines))
    interleaved = bool(n.attr("interleaved", 0))
    shape = [batch, length, heads, *([half, 2] if interleaved else [2, half])]
    first, second = op.Split(
        op.resized(n.x, shape), [1, 1], axis=4 if interleaved else 3, outputs=2
    )
    axis = [4 if interleaved else 3]
    a, b = op.Squeeze(first, axis), op.Squeeze(second, axis)
    turned = [op.Unsqueeze(t, axis) for t in (a * cosine - b * sine, b * cosine + a * sine)]
    return op.resized(op.Concat(*turned, axis=axis[0]), [batch, length, width])
