"""Straight-through estimates: zero without the request, the real values' derivative with it."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.differentiate import differentiate
from pertcore.errors import CapabilityError
from tests.adapters.onnx.models import model, value, weight

RNG = np.random.default_rng(5)


def single(op):
    return model([helper.make_node(op, ["x"], ["y"])], [value("x", ["N", 4])], [value("y", None)])


def scalar(name, number, kind=np.float32):
    return weight(name, np.array(number, kind))


def quantize(x, y, scale="s", point="z"):
    return helper.make_node("QuantizeLinear", [x, scale, point], [y], y)


def dequantize(x, y, scale="s", point="z"):
    return helper.make_node("DequantizeLinear", [x, scale, point], [y], y)


def qdq():
    """gemm(relu(gemm(x))) with quantised tensors between, 4 -> 5 -> 3."""
    w = RNG.integers(-100, 100, (4, 5)).astype(np.int8)
    v = RNG.integers(-100, 100, (5, 3)).astype(np.int8)
    weights = [
        *(weight("w", w), weight("v", v), scalar("s", 0.02), scalar("z", 128, np.uint8)),
        *(scalar("ws", 0.01), scalar("wz", 0, np.int8), scalar("hs", 0.03)),
    ]
    nodes = [
        *(quantize("x", "xq"), dequantize("xq", "xr"), dequantize("w", "wr", "ws", "wz")),
        *(helper.make_node("MatMul", ["xr", "wr"], ["h"]), helper.make_node("Relu", ["h"], ["r"])),
        *(quantize("r", "rq", "hs"), dequantize("rq", "rr", "hs")),
        *(dequantize("v", "vr", "ws", "wz"), helper.make_node("MatMul", ["rr", "vr"], ["y"])),
    ]
    net = model(nodes, [value("x", ["N", 4])], [value("y", ["N", 3])], weights)
    return net, w.astype(np.float32) * np.float32(0.01), v.astype(np.float32) * np.float32(0.01)


def qlinear():
    """A quantised convolution with a scale for every channel."""
    w = RNG.integers(-60, 60, (2, 3, 3, 3)).astype(np.int8)
    weights = [
        *(weight("w", w), scalar("s", 0.02), scalar("z", 128, np.uint8), scalar("ys", 0.05)),
        *(weight("ws", np.array([0.01, 0.02], np.float32)), weight("wz", np.zeros(2, np.int8))),
        weight("b", np.array([40, -30], np.int32)),
    ]
    given = ["xq", "s", "z", "w", "ws", "wz", "ys", "z", "b"]
    nodes = [
        quantize("x", "xq"),
        helper.make_node("QLinearConv", given, ["c"], pads=[1, 1, 1, 1]),
        dequantize("c", "y", "ys"),
    ]
    return model(nodes, [value("x", ["N", 3, 4, 4])], [value("y", None)], weights)


def dynamic():
    """As onnxruntime.quantization.quantize_dynamic writes a MatMul."""
    w = RNG.integers(-100, 100, (4, 3)).astype(np.int8)
    weights = [weight("w", w), scalar("ws", 0.01), scalar("wz", 3, np.int8)]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "ws"], ["t"]),
        helper.make_node("Mul", ["f", "t"], ["y"]),
    ]
    net = model(nodes, [value("x", [1, 4])], [value("y", [1, 3])], weights)
    return net, (w.astype(np.float32) - 3) * np.float32(0.01)


@pytest.mark.parametrize("op", ["Round", "Floor", "Ceil", "Sign"])
def test_steps(op):
    with pytest.raises(CapabilityError, match=r"identically zero.*straight_through=True"):
        from_onnx(single(op))
    oracle = from_onnx(single(op), threads=1, straight_through=True)
    x = np.array([[-1.3, -0.4, 0.6, 2.7]], np.float32)
    lin = oracle.linearize(x)
    np.testing.assert_allclose(lin.value, oracle(x), atol=1e-6)
    one = np.ones_like(x)
    wanted = np.abs(x) <= 1 if op == "Sign" else one
    np.testing.assert_allclose(lin.vjp(one), wanted)
    np.testing.assert_allclose(lin.jvp(one), wanted)


def test_the_estimate_is_named():
    oracle = from_onnx(single("Round"), threads=1, straight_through=True)
    assert "exact" not in oracle.capabilities and "straight-through" in oracle.notes[0]
    assert "exact" not in oracle.deterministic().capabilities
    smooth = from_onnx(single("Tanh"), threads=1, straight_through=True)
    assert "exact" in smooth.capabilities and not smooth.notes


def test_quantised_models_are_zero_unless_asked():
    for net in (qdq()[0], qlinear(), dynamic()[0]):
        with pytest.raises(CapabilityError, match="identically zero"):
            from_onnx(net)


def test_a_quantised_network():
    """The derivative of the network of real values, at its own masks."""
    net, w, v = qdq()
    oracle = from_onnx(net, threads=1, straight_through=True)
    x = RNG.uniform(-1, 1, (6, 4)).astype(np.float32)
    lin = oracle.linearize(x)
    np.testing.assert_allclose(lin.value, oracle(x), atol=1e-4)
    hidden = (np.round(x / 0.02) * 0.02) @ w
    inside = (hidden > 0) & (hidden / 0.03 < 127)
    c = RNG.standard_normal((6, 3)).astype(np.float32)
    np.testing.assert_allclose(lin.vjp(c), ((c @ v.T) * inside) @ w.T, rtol=1e-3, atol=1e-5)
    far = np.full((1, 4), 10.0, np.float32)
    np.testing.assert_array_equal(oracle.linearize(far).vjp(c[:1]), 0)


def test_a_quantised_convolution():
    oracle = from_onnx(qlinear(), threads=1, straight_through=True)
    x = RNG.uniform(-1, 1, (2, 3, 4, 4)).astype(np.float32)
    lin = oracle.linearize(x)
    assert np.mean(np.abs(lin.value - oracle(x)) > 1e-4) < 0.05
    u, c = (RNG.standard_normal(s).astype(np.float32) for s in (x.shape, lin.value.shape))
    assert np.vdot(lin.vjp(c), u) == pytest.approx(np.vdot(c, lin.jvp(u)), rel=1e-4)
    step = 0.2
    moved = (oracle(x + step * u) - oracle(x - step * u)) / (2 * step)
    assert np.corrcoef(moved.ravel(), lin.jvp(u).ravel())[0, 1] > 0.9


def test_dynamic_quantisation():
    net, w = dynamic()
    oracle = from_onnx(net, threads=1, straight_through=True)
    x = RNG.uniform(-1, 1, (1, 4)).astype(np.float32)
    lin = oracle.linearize(x)
    np.testing.assert_allclose(lin.value, oracle(x), atol=1e-4)
    c = RNG.standard_normal((1, 3)).astype(np.float32)
    found, whole = lin.vjp(c), c @ w.T
    ends = (x == x.max()) | (x == x.min())
    np.testing.assert_allclose(found[~ends], whole[~ends], rtol=1e-3)


SIXTH = RNG.uniform(0.05, 0.3, (6,)).astype(np.float32)
BLOCKS = {
    "axis": ({"axis": 1}, SIXTH, np.arange(6), TensorProto.INT8),
    "negative axis": ({"axis": -1}, SIXTH, np.arange(6), TensorProto.UINT8),
    "blocks": ({"axis": 1, "block_size": 4}, SIXTH.reshape(3, 2), np.arange(6), TensorProto.UINT8),
    "four bits": ({"axis": 1, "block_size": 2}, SIXTH.reshape(2, 3), None, TensorProto.INT4),
    "sixteen bits": ({"axis": 0}, SIXTH[:1], np.arange(1), TensorProto.INT16),
}


@pytest.mark.parametrize("case", BLOCKS.values(), ids=BLOCKS)
def test_scales_by_axis_and_by_block(case):
    """y = dequantised(quantised(x)), (rows, 6) with a scale an entry or a block."""
    attrs, scales, points, kind = case
    rows = len(scales) if scales.ndim == 2 else 3
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    zeros = np.zeros(scales.size) if points is None else points
    weights = [weight("s", scales), weight("z", zeros.reshape(scales.shape).astype(dtype))]
    if scales.shape == (1,):
        weights = [weight("s", scales[0]), weight("z", zeros[0].astype(dtype))]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attrs),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attrs),
    ]
    net = model(nodes, [value("x", [rows, 6])], [value("y", [rows, 6])], weights, 21, 10)
    made = differentiate(net, mode="value_and_vjp", straight_through=True)
    session = onnxruntime.InferenceSession(made.model.SerializeToString())
    plain = onnxruntime.InferenceSession(net.SerializeToString())
    x = RNG.uniform(-3, 3, (rows, 6)).astype(np.float32)
    c = RNG.standard_normal((rows, 6)).astype(np.float32)
    y, g = session.run(["y", "grad_x"], {"x": x, "ct_y": c})
    np.testing.assert_allclose(y, plain.run(None, {"x": x})[0], atol=1e-6)
    block = attrs.get("block_size", 1)
    inside = np.abs(y - x) <= 0.5001 * np.repeat(scales, block, axis=-1)[..., :6]
    assert inside.sum() > 0 and (kind != TensorProto.INT4 or inside.sum() < inside.size)
    np.testing.assert_allclose(g, c * inside, rtol=1e-5)
