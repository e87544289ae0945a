"""ONNX Runtime's own operators beside its fusions: as it runs them, and exact derivatives."""

import numpy as np
import pytest
from onnx import helper

from pertcore.adapters.onnx import registry
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import CapabilityError
from tests.adapters.onnx import test_attention, test_contrib
from tests.adapters.onnx.foreign_rows import built, check, foreign, numbers
from tests.adapters.onnx.models import model, value, weight
from tests.adapters.onnx.rows import X

MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(29)


def own(op, *arguments, **more):
    return foreign(MICROSOFT, op, *arguments, **more)


def words(*more, **attrs):
    """Every word is the only one there is: x, (1, 6)."""
    ids, tables = np.zeros((1, 3), np.int32), (numbers(4, 6), numbers(2, 6))
    given = (ids, more[0], X, tables[0], more[1], numbers(6), numbers(6), *more[2:])
    attrs = {"outputs": 2, **attrs}
    return own("EmbedLayerNormalization", *given, shape=(6,), n=1, **attrs)


def few_bits(bits, *more, width=37, block=16, **attrs):
    blocks = -(-width // block)
    packed = RNG.integers(0, 256, (5, blocks, block * bits // 8)).astype(np.uint8)
    scales = RNG.uniform(0.01, 0.1, (5, blocks)).astype(np.float32)
    sizes = {"N": 5, "K": width, "block_size": block, "bits": bits}
    return own("MatMulNBits", X, packed, scales, *more, shape=(3, width), **sizes, **attrs)


def four_bits(kind, **attrs):
    packed = RNG.integers(0, 256, 5 * 32 // 2).astype(np.uint8)
    scales = RNG.uniform(0.1, 1.0, 5 * 32 // 16).astype(np.float32)
    sizes = {"N": 5, "K": 32, "block_size": 16, "quant_type": kind}
    return own("MatMulBnb4", X, packed, scales, **{"shape": (3, 32), **sizes, **attrs})


def grouped(*caches, seen=2, total=3, tables=(), bias=(), packed=False, **attrs):
    """Four queries on two keys of width 16, three new entries."""
    angles = np.outer(np.arange(12), 0.7 ** np.arange(8)).astype(np.float32)
    tables = tables or (None, None)
    if attrs.get("do_rotary"):
        tables = (np.cos(angles), np.sin(angles))
    keys = (None, None) if packed else (numbers(1, 3, 32), numbers(1, 3, 32))
    given = (X, *keys, *(caches or (None, None)), np.array([seen], np.int32))
    more = (np.array(total, np.int32), *tables, *bias)
    sizes = {"num_heads": 4, "kv_num_heads": 2, "n": 1, "outputs": 3}
    shape = (3, 128 if packed else 64)
    return own("GroupQueryAttention", *given, *more, shape=shape, **sizes, **attrs)


CACHE = numbers(2, 1, 2, 5, 16)
GROUPED = [
    grouped(),
    grouped(packed=True),
    grouped(packed=True, output="y1"),
    grouped(packed=True, do_rotary=1),
    grouped(packed=True, do_rotary=1, rotary_interleaved=1),
    grouped(scale=0.2, softcap=1.5),
    grouped(local_window_size=1),
    grouped(local_window_size=2),
    grouped(causal=0),
    grouped(smooth_softmax=1),
    grouped(bias=(None, None, numbers(4))),
    grouped(bias=(None, numbers(1, 4, 3, 3))),
    grouped(*CACHE, seen=7, total=8),
    grouped(*CACHE, seen=7, total=8, packed=True, do_rotary=1),
    grouped(*CACHE, seen=7, total=8, packed=True, local_window_size=3),
    grouped(*CACHE, seen=7, total=8, bias=(None, numbers(1, 1, 3, 8))),
]


def experts(*more, inter=5, fused=1, third=False, **attrs):
    """Three experts, two of which answer, for four tokens of width 4."""
    scores = numbers(4, 3)
    w1, w2 = numbers(3, inter * fused, 4), numbers(3, 4, inter)
    biases = (numbers(3, inter * fused), numbers(3, 4))
    given = (X, scores, w1, biases[0], w2, biases[1])
    given += (numbers(3, inter, 4), numbers(3, inter)) if third else ()
    return own("MoE", *given, **{"k": 2, "n": 1, "shape": (4, 4), **attrs})


def streaming(rule, *, queries=2, heads=2, decay=0, beta=0, past=False, **attrs):
    """Keys of width 2 and values of width 3, four steps."""
    given = [X, numbers(1, 4, heads * 2) / 2, numbers(1, 4, heads * 3)]
    given.append(numbers(1, heads, 2, 3) if past else None)
    given.append(-np.abs(numbers(1, 4, decay)) if decay else None)
    given.append(RNG.random((1, 4, beta), np.float32) if beta else None)
    sizes = {"q_num_heads": queries, "kv_num_heads": heads, "update_rule": rule, "outputs": 2}
    return own("LinearAttention", *given, n=1, shape=(4, queries * 2), **sizes, **attrs)


EXPERTS = [
    *[experts(activation_type=kind) for kind in ("relu", "gelu", "silu", "identity")],
    experts(normalize_routing_weights=1, activation_type="silu"),
    experts(activation_type="swiglu", fused=2, swiglu_fusion=1, activation_beta=1.0),
    experts(activation_type="swiglu", fused=2, swiglu_fusion=1, swiglu_limit=2.0),
]
STREAMS = [
    streaming("linear"),
    streaming("gated", decay=4, past=True, scale=0.3),
    streaming("gated", decay=2, queries=4),
    streaming("delta", beta=2),
    streaming("gated_delta", decay=2, beta=2, past=True),
    streaming("gated_delta", decay=2, beta=2, queries=1),
]
ROWS = [
    *EXPERTS,
    *STREAMS,
    own(
        "LinearAttention",
        *(X, X, X),
        q_num_heads=2,
        kv_num_heads=2,
        update_rule="linear",
        outputs=2,
        shape=(4, 6),
    ),
    own(
        "LinearAttention",
        *(numbers(1, 4, 4), X, X),
        q_num_heads=2,
        kv_num_heads=2,
        n=1,
        update_rule="linear",
        outputs=2,
        output="y1",
        shape=(4, 4),
    ),
    own("Trilu", shape=(3, 4)),
    own("Trilu", X, np.array(1), upper=0, shape=(3, 4)),
    own("ExpandDims", X, np.array(1, np.int32)),
    own("ExpandDims", X, np.array(-1, np.int32)),
    own("GatherND", X, np.array([[0, 1]]), n=1),
    own("Pad", X, np.array([0, 1, 0, 0, 2, 1])),
    own("Pad", X, np.array([0, 1, 0, 0, 2, 1]), np.array([0.5], np.float32)),
    own("Pad", X, np.array([0, 1, 2, 0, 2, 1]), mode="reflect"),
    own("Pad", X, np.array([0, 1, 2, 0, 2, 1]), mode="edge"),
    own("UnfoldTensor", size=2, step=2),
    own("UnfoldTensor", size=3, dim=1, shape=(7, 2)),
    own("SampleOp"),
    *[
        own("GridSample", X, RNG.uniform(-0.9, 0.9, (1, 3, 2, 2)).astype(np.float32), **more)
        for more in (
            {"shape": (2, 5, 4), "n": 1},
            {"shape": (2, 5, 4), "n": 1, "mode": "bicubic", "align_corners": 1},
            {"shape": (2, 5, 4), "n": 1, "mode": "nearest", "padding_mode": "border"},
        )
    ],
    own("CDist", X, numbers(5, 4), shape=(4,)),
    own("CDist", X, numbers(5, 4), shape=(4,), metric="euclidean"),
    own(
        "ConvTransposeWithDynamicPads",
        X,
        numbers(3, 2, 3, 3),
        np.array([1, 0, 0, 1]),
        strides=[2, 2],
        shape=(3, 4, 5),
    ),
    own("CausalConvWithState", X, numbers(3, 1, 4), numbers(3), shape=(3, 7), outputs=2),
    own("CausalConvWithState", X, numbers(3, 1, 2), shape=(3, 7), outputs=2, activation="silu"),
    own(
        "CausalConvWithState",
        *(X, numbers(3, 1, 3), None, numbers(1, 3, 4)),
        shape=(3, 7),
        outputs=2,
        n=1,
        dilation=2,
        output="y1",
    ),
    words(None, None),
    words(np.ones((1, 3), np.int32), numbers(2, 6), epsilon=0.1),
    words(None, None, None, np.array([[2, 0, 1]], np.int32)),
    words(None, None, outputs=3, output="y2"),
    *[few_bits(bits) for bits in (2, 4, 8)],
    few_bits(4, RNG.integers(0, 256, (5, 2)).astype(np.uint8)),
    few_bits(4, RNG.uniform(6, 9, (5, 3)).astype(np.float32)),
    few_bits(4, None, None, numbers(5), width=32, block=32),
    *[four_bits(kind) for kind in (0, 1)],
    own("ScaledSiLU", alpha=0.7),
    own("ScaledSiLU", X, np.array(1.3, np.float32)),
    own("GatedAdd", X, numbers(1, 3, 4), numbers(1, 3, 1), n=1),
    own("GatedAdd", numbers(1, 3, 1), numbers(1, 3, 1), X, n=1, shape=(3, 1)),
    own("GatedRMSNorm", X, numbers(4), X),
    own("GatedRMSNorm", X, numbers(2), X, activation="sigmoid", epsilon=0.1),
    own("BranchwiseRMSNorm", X, numbers(4)),
    own("BranchwiseRMSNorm", X, numbers(3, 4)),
    own("BranchwiseRMSNorm", X, numbers(12), num_branches=3, shape=(2, 12), epsilon=0.1),
    own("BranchwiseRMSNorm"),
    own("HyperConnectionPreMix", X, numbers(1, 3), n=1, reduction_scale=0.5),
    own("HyperConnectionPreMix", X, X),
    own("HyperConnectionPreMix", X, numbers(1, 12), n=1, num_branches=3, shape=(12,)),
    own("HyperConnectionPostMix", X, numbers(1, 4), numbers(1, 3), numbers(1, 3, 3), n=1),
    own("HyperConnectionPostMix", X, numbers(1, 4), numbers(1, 3, 1), n=1),
    own("LinearAttentionGate", X, numbers(4), numbers(4), X, outputs=2),
    own("LinearAttentionGate", X, numbers(4), numbers(4), X, outputs=2, output="y1"),
    own(
        "EngramGate",
        X,
        numbers(1, 2, 3, 4),
        numbers(1, 2, 4),
        *numbers(2, 3, 4),
        n=1,
        shape=(2, 3, 4),
    ),
    own(
        "EngramGate",
        *numbers(2, 1, 2, 3, 4),
        X,
        *numbers(3, 3, 4),
        n=1,
        outputs=2,
        output="y1",
        shape=(2, 4),
    ),
    *GROUPED,
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_as_onnx_runtime_runs_it(row):
    check(row, -1.0, 1.0)


def test_every_operator_has_a_row():
    elsewhere = {"Inverse", "DequantizeLinear", "Range"}
    tested = {row.op for row in (*ROWS, *test_attention.ROWS, *test_contrib.ROWS)} | elsewhere
    known = {name for domain, name in (*registry.LOWERED, *registry.RULES) if domain == MICROSOFT}
    assert sorted(known - tested) == []


def test_stored_weights_and_ranges():
    """y = (x w) + (0, 1, 2), w from integers with a scale a column."""
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], domain=MICROSOFT, axis=1),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Range", ["a", "b", "c"], ["r"], domain=MICROSOFT),
        helper.make_node("Add", ["h", "r"], ["y"]),
    ]
    q, s = RNG.integers(-9, 9, (4, 3)), np.array([0.1, 0.2, 0.3], np.float32)
    weights = [
        *(weight("q", q.astype(np.int8)), weight("s", s), weight("z", np.zeros(3, np.int8))),
        *(weight(n, np.array(v, np.float32)) for n, v in (("a", 0), ("b", 3), ("c", 1))),
    ]
    net = model(nodes, [value("x", ["N", 4])], [value("y", ["N", 3])], weights)
    net.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    oracle = from_onnx(net, threads=1)
    x, v = numbers(2, 4), numbers(2, 3)
    lin = oracle.linearize(x)
    # ONNX Runtime's fusion of the two rounds x to eight bits as well.
    np.testing.assert_allclose(oracle(x), x @ (q * s) + np.arange(3), atol=0.1)
    np.testing.assert_allclose(lin.vjp(v), v @ (q * s).T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", ["N", 1])
def test_inverse(batch):
    """Of x + 3, which is far from singular."""
    nodes = [
        helper.make_node("Add", ["x", "w"], ["a"]),
        helper.make_node("Inverse", ["a"], ["y"], domain=MICROSOFT),
    ]
    three = weight("w", 3 * np.eye(3, dtype=np.float32))
    net = model(nodes, [value("x", [batch, 3, 3])], [value("y", [batch, 3, 3])], [three])
    net.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    oracle = from_onnx(net, threads=1)
    x = RNG.uniform(-1, 1, (2, 3, 3)).astype(np.float32)
    made = np.linalg.inv(x.astype(np.float64) + 3 * np.eye(3))
    lin = oracle.linearize(x)
    np.testing.assert_allclose(lin.value, made, rtol=1e-4, atol=1e-6)
    u, v = RNG.standard_normal((2, 2, 2, 3, 3)).astype(np.float32)
    np.testing.assert_allclose(lin.jvp(u), -(made @ u @ made), rtol=1e-3, atol=1e-5)
    turned = made.transpose(0, 2, 1)
    np.testing.assert_allclose(lin.vjp(v), -(turned @ v @ turned), rtol=1e-3, atol=1e-5)


def test_what_is_not_written_out_is_refused():
    rows = (
        own("CDist", X, numbers(5, 4), shape=(4,), metric="cityblock"),
        few_bits(4, None, np.zeros(37, np.int32)),
        grouped(qk_output=1),
    )
    for row in rows:
        with pytest.raises(CapabilityError, match="no derivative rule with"):
            from_onnx(built(row))
