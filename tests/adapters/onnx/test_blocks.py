"""Residuals that stay in the blocked layout: the same numbers, whatever the products need."""

import numpy as np
import onnx
import pytest
from onnx import helper

from pertcore.adapters.onnx import blocks, kept
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.differentiate import differentiate
from tests.adapters.onnx.models import model, value, weight


def conv(x, made, name, **attrs):
    return helper.make_node("Conv", [x, name, f"{name}.b"], [made], **attrs)


def network(tail):
    """Two convolutions of 16 channels with a skip around the second, then `tail` on 8 x 8."""
    rng = np.random.default_rng(0)
    shapes = {"k0": (16, 3, 3, 3), "k1": (16, 16, 3, 3)}
    weights = [weight(n, rng.standard_normal(s).astype(np.float32) / 4) for n, s in shapes.items()]
    biases = [weight(f"{n}.b", rng.standard_normal(16).astype(np.float32)) for n in shapes]
    nodes = [
        conv("x", "c0", "k0", pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"]),
        conv("r0", "c1", "k1", pads=[1] * 4),
        helper.make_node("Add", ["c1", "r0"], ["s"]),
        helper.make_node("Relu", ["s"], ["r1"]),
        *tail,
    ]
    return model(nodes, [value("x", ["N", 3, 8, 8])], [value("y", None)], [*weights, *biases])


TAILS = {
    "average": [helper.make_node("GlobalAveragePool", ["r1"], ["y"])],
    "plain order": [helper.make_node("Softmax", ["r1"], ["y"], axis=-1)],
    "squares": [helper.make_node("Mul", ["r1", "r1"], ["y"])],
    "largest": [helper.make_node("MaxPool", ["r1"], ["y"], kernel_shape=[2, 2], strides=[2, 2])],
    "itself": [helper.make_node("Identity", ["r1"], ["y"])],
}


def blocked_layout_exists():
    made = blocks.optimised(network(TAILS["average"]))
    return any(node.domain == blocks.DOMAIN for node in made.graph.node)


needs_blocks = pytest.mark.skipif(
    not blocked_layout_exists(), reason="ONNX Runtime has no blocked layout on this processor"
)


def joint(network_model, x, v):
    import onnxruntime

    made = differentiate(network_model, mode="value_and_vjp").model
    session = onnxruntime.InferenceSession(made.SerializeToString())
    return session.run(None, {"x": x, "ct_y": v})


@pytest.mark.parametrize("tail", TAILS)
def test_products_are_those_of_the_joint_graph(tail):
    made = network(TAILS[tail])
    oracle = from_onnx(made, threads=1)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((5, 3, 8, 8)).astype(np.float32)
    v = rng.standard_normal((5, *oracle.output_shape)).astype(np.float32)
    u = rng.standard_normal(x.shape).astype(np.float32)
    lin = oracle.linearize(x)
    y, g = joint(made, x, v)
    np.testing.assert_allclose(lin.value, y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(lin.vjp(v), g, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(lin.vjp(np.stack([v, -v]))[1], -g, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.sum(lin.jvp(u) * v), np.sum(u * g), rtol=1e-3, atol=1e-3)
    chosen = lin.take(np.array([3, 1]))
    np.testing.assert_allclose(chosen.vjp(v[[3, 1]]), g[[3, 1]], rtol=1e-4, atol=1e-4)


@needs_blocks
def test_nothing_is_converted_between_forward_and_pullback(monkeypatch):
    seen = []

    def note(given):
        def noted(self, optimised):
            seen.append(given(self, optimised))
            return seen[-1]

        return noted

    kept.forget()
    monkeypatch.setattr(blocks.Handover, "give", note(blocks.Handover.give))
    monkeypatch.setattr(blocks.Handover, "take", note(blocks.Handover.take))
    oracle = from_onnx(network(TAILS["average"]), threads=1)
    x = np.ones((2, 3, 8, 8), np.float32)
    oracle.linearize(x).vjp(np.ones((2, *oracle.output_shape), np.float32))
    forward, pullback = ([n.op_type for n in m.graph.node] for m in seen)
    assert forward.count("ReorderOutput") == 1  # the output's
    assert pullback.count("ReorderInput") == 1  # the cotangent's
    assert pullback.count("ReorderOutput") <= 1  # before the ConvTranspose of the first layer
    assert len(oracle._engine._handover.blocked) == 2


def test_a_residual_in_plain_order_is_no_output_in_blocks():
    handover = blocks.Handover()
    made = helper.make_node("ReorderOutput", ["b"], ["r"], domain=blocks.DOMAIN, channels=12)
    source = helper.make_node("Conv", ["x"], ["b"], domain=blocks.DOMAIN)
    graph = helper.make_graph(
        [source, made], "g", [], [value("y", None), value("r", ["N", 12, 4, 4])]
    )
    before = onnx.GraphProto()
    before.CopyFrom(graph)
    given = handover.give(helper.make_model(graph))
    assert not handover.blocked
    assert given.graph == before
