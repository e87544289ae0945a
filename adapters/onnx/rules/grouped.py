"""GroupQueryAttention of ONNX Runtime (com.microsoft; Ainslie et al. 2023), in standard
operators."""

from __future__ import annotations

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.adapters.onnx.rules.attention import (
    LATER,
    MICROSOFT,
    joined_heads,
    only,
    refused,
    scaled_products,
    split_heads,
)
from pertcore.adapters.onnx.rules.rotary import turned

ATTRS = (
    "num_heads kv_num_heads do_rotary rotary_interleaved local_window_size scale softcap causal "
    "smooth_softmax qk_norm_epsilon k_quant_type v_quant_type"
)


@lower("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(op: Op, n: View) -> list[Tensor | None]:
    """softmax(q k^T scale) v, several queries a key. Of sample b, the keys 0 ... seqlens_k[b]
    count; those before the given ones come from the cache. That cache, continued, is given out
    where nothing was in it before."""
    only(n, 12, 3, ATTRS)
    if any(n.attr(name, "NONE") != "NONE" for name in ("k_quant_type", "v_quant_type")):
        raise refused(n, "a quantised cache")
    q, k, v = _given(op, n)
    before = _before(op, n, q)
    if n.attr("do_rotary", 0):
        q, k = _rotated(op, n, q, k, before)
    cached = n.input(3)
    empty = cached is None or cached.shape[2] == 0
    made = [None, None] if not empty else [k, v]
    if not empty:
        k, v = (_continued(op, t, n.i[i], before) for t, i in ((k, 3), (v, 4)))  # type: ignore
    groups = n.attr("num_heads") // n.attr("kv_num_heads")
    keys, values = (_repeated(op, t, groups) for t in (k, v))
    scores = scaled_products(op, n, q, keys)
    cap = n.attr("softcap", 0.0)
    scores = op.Tanh(scores / cap) * cap if cap else scores
    bias = n.input(10)
    scores = scores if bias is None else scores + bias
    scores = scores + _away(op, n, q, keys, before)
    return [joined_heads(op, _softmax(op, n, scores) @ values), *made]


def _given(op: Op, n: View) -> tuple[Tensor, Tensor, Tensor]:
    heads, others = n.attr("num_heads"), n.attr("kv_num_heads")
    key, value = n.input(1), n.input(2)
    if key is not None and value is not None:
        parts = [n.x, key, value]
    else:
        width = n.x.shape[-1] // (heads + 2 * others)
        sizes = [heads * width, others * width, others * width]
        parts = list(op.Split(n.x, op.sizes(sizes), axis=2, outputs=3))
    q, k, v = (split_heads(op, t, h) for t, h in zip(parts, (heads, others, others), strict=True))
    return q, k, v


def _before(op: Op, n: View, q: Tensor) -> Tensor:
    """How many keys of each sample were there before, (n, 1): none where all keys are given."""
    ends, total = op.Cast(n.i[5], to=7), op.Cast(op.Reshape(n.i[6], [1]), to=7)
    length = op.size(q.shape[2])
    count = op.Reshape(ends, [-1, 1]) + 1 - length
    return op.Where(op.Equal(total, length), count * 0, op.Max(count, 0))


def _continued(op: Op, new: Tensor, past: Tensor, before: Tensor) -> Tensor:
    """The cache up to `before`, then the new keys, then what does not count."""
    whole = op.Concat(past, new, axis=2)
    places = op.Unsqueeze(op.positions(whole.shape[2]), [0])
    behind = op.Min(places - before + op.size(past.shape[2]), op.size(whole.shape[2]) - 1)
    index = op.Where(op.Less(places, before), places, behind)
    shaped = op.Unsqueeze(index, [1, 3])
    return op.GatherElements(whole, op.Expand(shaped, op.Shape(whole)), axis=2)


def _rotated(op: Op, n: View, q: Tensor, k: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    tables = n.input(7), n.input(8)
    places = n.input(9)
    if places is None:
        places = op.Unsqueeze(op.positions(q.shape[2]), [0]) + before
    angles = [op.Unsqueeze(op.Gather(t, places, axis=0), [1]) for t in tables]
    apart = bool(n.attr("rotary_interleaved", 0))
    return (
        turned(op, q, *angles, interleaved=apart),
        turned(op, k, *angles, interleaved=apart),
    )


def _repeated(op: Op, t: Tensor, groups: int) -> Tensor:
    """Every head `groups` times."""
    batch, heads, length, width = t.shape
    wide = op.expand(op.Unsqueeze(t, [2]), [batch, heads, groups, length, width])
    return op.resized(wide, [batch, heads * groups, length, width])


def _away(op: Op, n: View, q: Tensor, k: Tensor, before: Tensor) -> Tensor:
    """A number to be added for keys that do not count, (n, 1, s, l)."""
    rows = op.Unsqueeze(op.positions(q.shape[2]), [0]) + before
    reach = op.Unsqueeze(rows, [1, 3])
    places = op.Unsqueeze(op.positions(k.shape[2]), [0, 1, 2])
    ends = op.Reshape(op.Cast(n.i[5], to=7), [-1, 1, 1, 1])
    away = op.Greater(places, reach if n.attr("causal", 1) else ends)
    window = n.attr("local_window_size", -1)
    if window > 0:
        away = op.Or(away, op.LessOrEqual(places, reach - int(window)))
    return op.Cast(away, to=1) * LATER


def _softmax(op: Op, n: View, scores: Tensor) -> Tensor:
    """Along the keys, beside a score of its own for every head, or zero, that has no value."""
    sink = n.input(11)
    if sink is None and n.attr("smooth_softmax", -1) <= 0:
        return op.Softmax(scores, axis=-1)
    batch, heads, length, _ = scores.shape
    one = op.const(np.zeros((1, 1, 1, 1)), scores.dtype)
    if sink is not None:
        one = op.Reshape(sink, [1, -1, 1, 1])
    beside = op.expand(one, [batch, heads, length, 1])
    whole = op.Softmax(op.Concat(scores, beside, axis=3), axis=-1)
    return op.Slice(whole, [0], [-1], [3])
