"""Rotary position embeddings of ONNX Runtime (com.microsoft; Su et al. 2021), in standard
operators."""

from __future__ import annotations

import numpy as np

from pertcore.adapters.onnx.op import Op, Tensor, View
from pertcore.adapters.onnx.registry import lower
from pertcore.adapters.onnx.rules.attention import MICROSOFT, only, refused

ATTRS = "num_heads interleaved rotary_embedding_dim scale"


def turned(op: Op, x: Tensor, cosine: Tensor, sine: Tensor, *, interleaved: bool) -> Tensor:
    """x (n, heads, s, d) with pairs (a, b) of its first 2 h entries turned to (a c - b s,
    b c + a s); c and s are (n or 1, 1, s, h)."""
    half, width = cosine.shape[-1], x.shape[-1]
    rest = width - half * 2
    if rest != 0:
        x, left = op.Split(x, [half * 2, rest], axis=3, outputs=2)
    axis = 4 if interleaved else 3
    shape = [*x.shape[:3], *([half, 2] if interleaved else [2, half])]
    first, second = op.Split(op.resized(x, shape), [1, 1], axis=axis, outputs=2)
    a, b = op.Squeeze(first, [axis]), op.Squeeze(second, [axis])
    pair = [op.Unsqueeze(t, [axis]) for t in (a * cosine - b * sine, b * cosine + a * sine)]
    made = op.resized(op.Concat(*pair, axis=axis), [*x.shape])
    return made if rest == 0 else op.Concat(made, left, axis=3)


@lower("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(op: Op, n: View) -> Tensor:
    """Pairs of every head turned by the angle of their position, x (n, s, h) or
    (n, heads, s, d)."""
    only(n, 4, 1, ATTRS)
    positions, cosines, sines = n.i[1:4]
    if n.attr("scale", 1.0) != 1.0 or positions is None or cosines is None or sines is None:
        raise refused(n, "a scale, or without its tables")
    heads, places = _in_heads(op, n, cosines), positions
    if positions.rank == 1:
        places = op.Unsqueeze(op.positions(heads.shape[2]) + positions, [0])
    angles = [op.Unsqueeze(op.Gather(t, places, axis=0), [1]) for t in (cosines, sines)]
    return _as_given(op, n, turned(op, heads, *angles, interleaved=_interleaved(n)))


def _interleaved(n: View) -> bool:
    return bool(n.attr("interleaved", 0))


def _in_heads(op: Op, n: View, cosines: Tensor) -> Tensor:
    """x as (n, heads, s, d)."""
    if n.x.rank == 4:
        return n.x
    batch, length, width = n.x.shape
    partial = n.attr("rotary_embedding_dim", 0)
    heads = n.attr("num_heads", 0) if partial else width // (cosines.shape[-1] * 2)
    shape = [batch, length, heads, width // heads]
    return op.Transpose(op.resized(n.x, shape), perm=[0, 2, 1, 3])


def _as_given(op: Op, n: View, made: Tensor) -> Tensor:
    if n.x.rank == 4:
        return made
    return op.resized(op.Transpose(made, perm=[0, 2, 1, 3]), [*n.x.shape])


@lower("MRotaryEmbedding", domain=MICROSOFT)
def multimodal_rotary_embedding(op: Op, n: View) -> Tensor:
    """The same with three positions (3, n, s), each of which serves its own entries of a head:
    consecutive ones, or every third."""
    only(n, 4, 1, f"{ATTRS} mrope_section mrope_layout")
    positions, cosines, sines = n.i[1:4]
    if n.attr("scale", 1.0) != 1.0 or positions is None or cosines is None or sines is None:
        raise refused(n, "a scale, or without its tables")
    serves = op.const(_served(n), cosines.dtype)
    angles = []
    for table in (cosines, sines):
        each = op.Gather(table, positions, axis=0) * op.Unsqueeze(serves, [1, 2])
        angles.append(op.Unsqueeze(op.ReduceSum(each, [0], keepdims=0), [1]))
    heads = _in_heads(op, n, cosines)
    return _as_given(op, n, turned(op, heads, *angles, interleaved=_interleaved(n)))


def _served(n: View) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """1 where an entry of a head takes its angle from a position, (3, h)."""
    sections = list(n.attr("mrope_section"))
    chosen = np.repeat(np.arange(3), sections)
    if n.attr("mrope_layout", 0):
        places = np.arange(sum(sections))
        chosen = np.zeros_like(places)
        for stream in (1, 2):
            chosen[(places % 3 == stream) & (places < 3 * sections[stream])] = stream
    return (chosen == np.arange(3)[:, None]).astype(np.float32)
