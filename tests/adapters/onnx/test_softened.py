"""A model whose units leak: the same above zero, a slope everywhere."""

import numpy as np
from onnx import helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.softened import LEAK, softened
from tests.adapters.onnx.models import model, small_net, value


def relu(operator="Relu"):
    node = helper.make_node(operator, ["x"], ["y"])
    return model([node], [value("x", ["N", 3])], [value("y", ["N", 3])])


def test_below_zero_a_unit_leaks():
    x = np.array([[-2, 0.5, 3]], np.float32)
    net = relu()
    soft = from_onnx(softened(net))
    np.testing.assert_allclose(soft(x), np.where(x > 0, x, LEAK * x), rtol=1e-6)
    slopes = soft.linearize(x).vjp(np.ones((1, 3), np.float32))
    np.testing.assert_allclose(slopes, [[LEAK, 1, 1]], rtol=1e-6)
    assert net.graph.node[0].op_type == "Relu"  # the caller's model stays


def test_a_network_keeps_its_shapes_and_its_other_operators():
    net = small_net()
    soft, hard = softened(net), from_onnx(net)
    kinds = [node.op_type for node in soft.graph.node]
    assert kinds == [n.op_type.replace("Relu", "LeakyRelu") for n in net.graph.node]
    assert from_onnx(soft).output_shape == hard.output_shape


def test_nothing_to_soften():
    assert softened(relu("Tanh")) is None
    old = relu()
    old.opset_import[0].version = 5
    assert softened(old) is None
