"""ONNX Runtime's attention: as it runs it, and exact derivatives."""

import numpy as np
import pytest

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import CapabilityError
from tests.adapters.onnx.foreign_rows import built, check, foreign, numbers
from tests.adapters.onnx.rows import X

MICROSOFT = "com.microsoft"
MASK = np.array([[1, 1, 0]], np.int32)


def attention(*more, weights=(8, 24), **attrs):
    w, b = numbers(*weights) * np.float32(0.4), numbers(weights[1])
    return foreign(MICROSOFT, "Attention", X, w, b, *more, num_heads=2, shape=(3, 8), **attrs)


def heads(*more, **attrs):
    return foreign(MICROSOFT, "MultiHeadAttention", *more, num_heads=2, shape=(3, 8), **attrs)


def rotary(*, positions=None, **attrs):
    angles = np.outer(np.arange(5), [1.0, 0.3]).astype(np.float32)
    given = (X, positions, np.cos(angles), np.sin(angles))
    return foreign(MICROSOFT, "RotaryEmbedding", *given, shape=(3, 8), **attrs)


def partial(*positions, **attrs):
    """The first four of every six entries turn."""
    angles = np.outer(np.arange(5), [1.0, 0.3]).astype(np.float32)
    given = (X, *positions, np.cos(angles), np.sin(angles))
    attrs = {"num_heads": 2, "rotary_embedding_dim": 4, "shape": (3, 12), **attrs}
    return foreign(MICROSOFT, "RotaryEmbedding", *given, **attrs)


def multimodal(*, sections, half, **attrs):
    angles = np.outer(np.arange(7), 0.7 ** np.arange(half)).astype(np.float32)
    places = np.array([[[0, 1, 2]], [[0, 4, 6]], [[3, 5, 1]]])
    given = (X, places, np.cos(angles), np.sin(angles))
    attrs = {"mrope_section": sections, "num_heads": 2, "n": 1, "shape": (3, 4 * half), **attrs}
    return foreign(MICROSOFT, "MRotaryEmbedding", *given, **attrs)


def decoder(*more, **attrs):
    """One query on five keys that are given in heads."""
    name = "DecoderMaskedMultiHeadAttention"
    return foreign(MICROSOFT, name, *more, num_heads=2, shape=(1, 8), n=1, **attrs)


PAST = numbers(2, 1, 2, 3, 4)
ROWS = [
    attention(),
    attention(scale=0.3),
    attention(unidirectional=1),
    attention(weights=(8, 20), qkv_hidden_sizes=[8, 8, 4]),
    attention(MASK, n=1),
    attention(MASK, mask_filter_value=-3.0, n=1),
    attention(np.array([[[1, 1, 0], [0, 1, 1], [1, 0, 1]]], np.int32), n=1),
    attention(np.array([2], np.int32), n=1),
    attention(np.array([3, 1], np.int32), n=1),
    attention(None, None, numbers(1, 2, 3, 3)),
    attention(None, PAST, outputs=2, n=1),
    attention(None, PAST, outputs=2, unidirectional=1, n=1),
    attention(np.array([[1, 0, 1, 1, 1, 0]], np.int32), PAST, outputs=2, n=1),
    heads(X, X, X),
    heads(X, X, X, unidirectional=1),
    heads(X, X, X, numbers(24)),
    heads(X, X, X, None, None, numbers(1, 2, 3, 3)),
    heads(X, X, X, None, np.array([2], np.int32), n=1),
    heads(X, X, X, None, np.array([[1, 0, 1]], np.int32), n=1),
    heads(X, numbers(1, 5, 8), numbers(1, 5, 4), n=1),
    heads(X, numbers(1, 2, 5, 4), numbers(1, 2, 5, 4), n=1),
    heads(X, X, X, None, None, None, *numbers(2, 1, 2, 3, 4), outputs=3, n=1),
    heads(X, X, X, None, None, None, *numbers(2, 1, 2, 3, 4), outputs=3, output="y1", n=1),
    decoder(X, numbers(1, 2, 5, 4), numbers(1, 2, 5, 4)),
    decoder(X, *numbers(2, 1, 2, 5, 4), scale=0.3),
    decoder(X, *numbers(2, 1, 2, 5, 4), np.array([[1, 0, 1, 1, 0]], np.int32)),
    rotary(positions=np.array([1])),
    rotary(positions=np.array([[0, 4, 2]]), n=1),
    rotary(positions=np.array([0]), interleaved=1),
    partial(np.array([1])),
    partial(np.array([[0, 4, 2]]), n=1, interleaved=1),
    partial(np.array([1]), num_heads=2, shape=(2, 3, 6)),
    multimodal(sections=[2, 1, 1], half=4),
    multimodal(sections=[2, 1, 1], half=4, mrope_layout=1),
    multimodal(sections=[2, 2, 2], half=6, mrope_layout=1, interleaved=1),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_as_onnx_runtime_runs_it(row):
    check(row, -1.0, 1.0)


def test_what_is_not_written_out_is_refused():
    cached = decoder(X, X, X, None, None, *PAST, outputs=3)
    packed = foreign(MICROSOFT, "MultiHeadAttention", num_heads=2, shape=(3, 2, 3, 4))
    for row in (attention(do_rotary=1), attention(np.array([2, 3], np.int32), n=2), packed, cached):
        with pytest.raises(CapabilityError, match="no derivative rule with"):
            from_onnx(built(row))
