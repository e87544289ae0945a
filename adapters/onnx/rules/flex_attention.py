"""FlexAttention of ONNX's preview domain: attention with graphs that change its scores."""

from __future__ import annotations

import math

from onnx import helper

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower, refusal

PREVIEW = "ai.onnx.preview"
FLOAT, DOUBLE = 1, 11


@lower("FlexAttention", domain=PREVIEW)
def flex_attention(op: Op, n: View) -> Tensor:
    """prob_mod(softmax(score_mod(q k^T scale))) v, with q (n, heads, l, d), k and v (n, h, s, d);
    every head of k and v serves heads / h neighbouring ones of q."""
    q, k, v = n.i[:3]
    if q is None or k is None or v is None or any(t.dtype.kind == "O" for t in (q, k, v)):
        raise refusal(n, 0)
    k, v = (_shared(op, t, q) for t in (k, v))
    width = q.shape[-1]
    if not isinstance(width, int):
        raise refusal(n, 0)
    scale = n.attr("scale") or 1.0 / math.sqrt(width)
    # Each factor takes a root of the scale, so that neither the one nor the product overflows.
    root = math.sqrt(scale) if scale > 0 else 1.0
    scores = (q * (scale / root)) @ op.Transpose(k * root, perm=[0, 1, 3, 2])
    wide = DOUBLE if q.dtype.itemsize == 8 else FLOAT
    scores = op.Cast(scores, to=n.attr("softmax_precision") or wide)
    weights = _changed(op, n, "prob_mod", op.Softmax(_changed(op, n, "score_mod", scores), axis=-1))
    return op.Cast(weights, to=helper.np_dtype_to_tensor_dtype(v.dtype)) @ v


def _shared(op: Op, t: Tensor, q: Tensor) -> Tensor:
    """Heads repeated, each next to its copies, until there are as many as in q."""
    batch, heads, length, width = t.shape
    if heads == q.shape[1]:
        return t
    copies = q.shape[1] // heads
    wide = op.expand(op.Unsqueeze(t, [2]), [batch, heads, copies, length, width])
    return op.resized(wide, [batch, q.shape[1], length, width])


def _changed(op: Op, n: View, name: str, scores: Tensor) -> Tensor:
    write = n.attr(name)
    return scores if write is None else op.tensor(write(op.graph, [scores.name])[0])
