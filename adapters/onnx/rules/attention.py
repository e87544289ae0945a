"""ONNX Runtime's attention operators (com.microsoft), written in standard ones.
Definitions: ContribOperators.md of ONNX Runtime."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.errors import CapabilityError

MICROSOFT = "com.microsoft"
MASKED = -10000.0
# What a key that comes after its query gets, beside any sum of scores.
LATER = float(np.finfo(np.float32).min / 4)


def refused(n: View, what: str) -> CapabilityError:
    """The error of an attention that is not written out here."""
    return CapabilityError(f"{n.kind} {n.node.label!r}: no derivative rule with {what}")


def only(n: View, inputs: int, outputs: int, attrs: str) -> None:
    """Refuses inputs, outputs and attributes that are not written out here."""
    more = [str(i) for i in range(inputs, len(n.i)) if n.i[i] is not None]
    if more:
        raise refused(n, f"its input {', '.join(more)}")
    if len([name for name in n.node.outputs[outputs:] if name]):
        raise refused(n, f"its output {outputs}")
    known = set(attrs.split())
    more = [name for name, value in n.node.attrs.items() if value and name not in known]
    if more:
        raise refused(n, f"attribute {', '.join(more)}")


@lower("Attention", domain=MICROSOFT)
def attention(op: Op, n: View) -> list[Tensor]:
    """softmax(q k^T scale + mask) v of (q, k, v) = x w + b, x (n, s, d), w (d, 3 h), earlier keys
    and values before those; and all keys and values, stacked."""
    only(n, 6, 2, "num_heads scale unidirectional mask_filter_value qkv_hidden_sizes")
    bias, past, heads = n.input(2), n.input(4), n.attr("num_heads")
    joined = n.a @ n.b
    joined = joined if bias is None else joined + bias
    width = joined.shape[-1]
    if not isinstance(width, int):
        raise refused(n, "a width that is not fixed")
    sizes = n.attr("qkv_hidden_sizes") or [width // 3] * 3
    parts = op.Split(joined, list(sizes), axis=2, outputs=3)
    q, k, v = (split_heads(op, t, heads) for t in parts)
    if past is not None:
        earlier = op.Split(past, [1, 1], axis=0, outputs=2)
        k, v = (
            op.Concat(op.Squeeze(t, [0]), new, axis=2)
            for t, new in zip(earlier, (k, v), strict=True)
        )
    made = _attend(op, n, q, k, v, _key_mask(op, n, q, k, n.input(3)), n.input(5))
    if len(n.node.outputs) < 2:
        return [made]
    return [made, op.Concat(op.Unsqueeze(k, [0]), op.Unsqueeze(v, [0]), axis=0)]


@lower("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(op: Op, n: View) -> list[Tensor]:
    """The same for q (n, s, h), k (n, l, h) and v (n, l, h') that are given, plus a bias."""
    only(n, 8, 3, "num_heads scale unidirectional mask_filter_value")
    q, k, v = _biased(op, n)
    earlier = n.input(6), n.input(7)
    if earlier[0] is not None and earlier[1] is not None:
        k, v = op.Concat(earlier[0], k, axis=2), op.Concat(earlier[1], v, axis=2)
    return [_attend(op, n, q, k, v, _key_mask(op, n, q, k, n.input(4)), n.input(5)), k, v]


@lower("DecoderMaskedMultiHeadAttention", domain=MICROSOFT)
def decoder_attention(op: Op, n: View) -> list[Tensor]:
    """The same for one query on the keys of an encoder, its inputs in another order."""
    shared = [str(i) for i in range(5, 10) if n.input(i) is not None]
    if shared or n.attr("past_present_share_buffer", 0):
        raise refused(n, "a cache that is written over, or beams")
    order = (0, 1, 2, 10, 3, 4, 5, 6)
    names = tuple(n.node.inputs[i] if i < len(n.node.inputs) else "" for i in order)
    attrs = {k: v for k, v in n.node.attrs.items() if k != "past_present_share_buffer"}
    return multi_head_attention(op, View(op, replace(n.node, inputs=names, attrs=attrs), set()))


def _biased(op: Op, n: View) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values with their bias, (n, heads, length, width)."""
    q, k, v = n.x, n.input(1), n.input(2)
    heads = n.attr("num_heads")
    if k is None or v is None or q.rank != 3 or k.rank != v.rank:
        raise refused(n, "packed queries, keys and values")
    bias = n.input(3)
    widths = [int(q.shape[-1])] * 2  # type: ignore[arg-type]
    widths.append(int(v.shape[-1]) if v.rank == 3 else widths[0])  # type: ignore[arg-type]
    parts = [None] * 3 if bias is None else op.Split(bias, widths, axis=0, outputs=3)
    given = [
        # Keys and values that lie in heads are those of an encoder, with their bias.
        t if t.rank == 4 else split_heads(op, t if b is None else t + b, heads)
        for t, b in zip((q, k, v), parts, strict=True)
    ]
    return given[0], given[1], given[2]


def _key_mask(op: Op, n: View, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor | None:
    """A number to be added to the scores (n, heads, s, l): zero for keys that count."""
    if mask is None:
        return None
    if mask.rank == 1:
        kept, axes = _counted(op, n, q, k, mask), [1, 2]
    elif mask.rank in (2, 3):
        kept, axes = op.Cast(mask, to=1), [1, 2] if mask.rank == 2 else [1]
    else:
        raise refused(n, f"a mask of {mask.rank} axes")
    return op.Unsqueeze((1.0 - kept) * n.attr("mask_filter_value", MASKED), axes)


def _counted(op: Op, n: View, q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """1 for the keys before an end and, where starts follow the ends, from a start on, (n, l)."""
    batch, count = q.shape[0], mask.shape[0]
    places = op.Unsqueeze(op.Cast(op.positions(k.shape[2]), to=1), [0])
    ends = op.Cast(mask, to=1)
    if count == batch or count == 1:
        return op.indicator(op.Less(places, op.Unsqueeze(ends, [1])), places)
    if count != batch * 2:
        # Of a free batch, two numbers may be two ends, or an end and a start.
        raise refused(n, f"a mask of shape ({count},)")
    # All ends, then all starts.
    last, first = op.Split(op.Reshape(ends, [2, -1, 1]), [1, 1], axis=0, outputs=2)
    before = op.Less(places, op.Squeeze(last, [0]))
    after = op.GreaterOrEqual(places, op.Squeeze(first, [0]))
    return op.indicator(op.And(before, after), places)


def _attend(
    op: Op, n: View, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None
) -> Tensor:
    scores = scaled_products(op, n, q, k)
    scores = scores if bias is None else scores + bias
    scores = scores if mask is None else scores + mask
    if n.attr("unidirectional", 0):
        scores = scores + _causal(op, q, k)
    return joined_heads(op, op.Softmax(scores, axis=-1) @ v)


def scaled_products(op: Op, n: View, q: Tensor, k: Tensor) -> Tensor:
    """q k^T scale, (n, heads, s, l)."""
    scale = n.attr("scale") or 1.0 / math.sqrt(int(q.shape[-1]))  # type: ignore[arg-type]
    return (q @ op.Transpose(k, perm=[0, 1, 3, 2])) * scale


def split_heads(op: Op, t: Tensor, heads: int) -> Tensor:
    """(n, s, heads * d) -> (n, heads, s, d)."""
    batch, length, width = t.shape
    parts = op.resized(t, [batch, length, heads, width // heads])
    return op.Transpose(parts, perm=[0, 2, 1, 3])


def joined_heads(op: Op, t: Tensor) -> Tensor:
    """(n, heads, s, d) -> (n, s, heads * d)."""
    mixed = op.Transpose(t, perm=[0, 2, 1, 3])
    batch, length, heads, width = mixed.shape
    return op.resized(mixed, [batch, length, heads * width])


def _causal(op: Op, q: Tensor, k: Tensor) -> Tensor:
    """A number to be added for keys that come after the query; the last of both agree."""
    rows, columns = op.positions(q.shape[2]), op.positions(k.shape[2])
    reach = op.Unsqueeze(rows + (op.size(k.shape[2]) - op.size(q.shape[2])), [1])
    later = op.Greater(op.Unsqueeze(columns, [0]), reach)
    return op.Cast(later, to=1) * LATER
