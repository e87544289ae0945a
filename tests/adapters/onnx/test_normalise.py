"""Which opset a model is brought to: 18, or the first that has every operator as it is used."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.normalise import main_opset, normalise
from pertcore.errors import ModelError
from tests.adapters.onnx.models import value, weight
from tests.adapters.onnx.node_cases import Case, check


def lone(node, inputs, *, opset, weights=(), domain=""):
    graph = helper.make_graph([node], "g", inputs, [value("y", None)], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)])


def dequantized(element, opset=28):
    node = helper.make_node("DequantizeLinear", ["x", "s"], ["y"])
    whole = helper.make_tensor("x", element, [2], [1, 2])
    return lone(node, [value("s", [])], opset=opset, weights=[whole])


@pytest.mark.parametrize(
    "element, opset",
    [
        (TensorProto.INT8, 18),
        (TensorProto.FLOAT8E5M2, 19),
        (TensorProto.INT16, 21),
        (TensorProto.FLOAT4E2M1, 23),
    ],
)
def test_a_type_that_opset_18_lacks_gets_the_first_that_has_it(element, opset):
    assert normalise(dequantized(element))[1] == opset


def test_an_attribute_that_opset_18_lacks_gets_the_first_that_has_it():
    plain = {"kernel_shape": [2], "strides": [1]}
    inputs = [value("x", [1, 1, 5])]
    node = helper.make_node("AveragePool", ["x"], ["y"], **plain)
    assert normalise(lone(node, inputs, opset=22))[1] == 18
    node = helper.make_node("AveragePool", ["x"], ["y"], dilations=[2], **plain)
    assert normalise(lone(node, inputs, opset=22))[1] == 19


def test_a_model_of_another_domain_needs_no_standard_opset():
    node = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", scale=[2.0], offset=[0.0])
    made = lone(node, [value("x", [1, 1])], opset=3, domain="ai.onnx.ml")
    assert main_opset(made) == 18
    standard = lone(
        helper.make_node("Relu", ["x"], ["y"]), [value("x", [1])], opset=3, domain="ai.onnx.ml"
    )
    with pytest.raises(ModelError, match=r"no opset of the standard"):
        main_opset(standard)
    with pytest.raises(ModelError, match=r"no opset of the standard"):
        main_opset(onnx.ModelProto())


def test_weights_play_no_part_in_the_choice():
    node = helper.make_node("Identity", ["w"], ["y"])
    big = weight("w", np.ones((64, 64), np.float32))
    assert normalise(lone(node, [], opset=25, weights=[big]))[1] == 18


def test_slopes_by_channel_of_opset_6_stay_with_their_channels():
    slopes = np.array([0.1, 0.2, 0.3], np.float32)
    node = helper.make_node("PRelu", ["x", "s"], ["y"])
    inputs = [value("x", [2, 3, 2, 2])]
    made = lone(node, inputs, opset=6, weights=[weight("s", slopes)])
    made.graph.input.append(value("s", [3]))
    x = -np.ones((2, 3, 2, 2), np.float32)
    expected = x * slopes[:, None, None]
    np.testing.assert_allclose(from_onnx(made, threads=1)(x), expected, rtol=1e-6)


def sums(batch):
    """Scan of opset 8: running sums of every sample, from the end on."""
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "v"], ["t"]), helper.make_node("Mul", ["t", "t"], ["o"])],
        "body",
        [value("s", [2]), value("v", [2])],
        [value("t", [2]), value("o", [2])],
    )
    attrs = {"body": body, "num_scan_inputs": 1, "directions": [1]}
    node = helper.make_node("Scan", ["", "s0", "x"], ["last", "y"], **attrs)
    start = weight("s0", np.zeros((batch, 2), np.float32))
    made = lone(node, [value("x", [batch, 4, 2])], opset=8, weights=[start])
    del made.graph.output[:]
    made.graph.output.extend([value("last", [batch, 2]), value("y", [batch, 4, 2])])
    return made


def test_the_scan_of_opset_8_runs_over_samples():
    x = np.random.default_rng(3).standard_normal((3, 4, 2)).astype(np.float32)
    running = np.cumsum(x[:, ::-1], axis=1)
    case = Case("Scan", sums(3), (x,), ("last", "y"), (running[:, -1], running**2))
    outcome = check(case)
    assert outcome.kind == "passed", outcome.reason


def test_a_scan_of_opset_8_that_cannot_be_brought_up():
    ragged = sums(3)
    ragged.graph.node[0].input[0] = "lengths"
    ragged.graph.initializer.append(weight("lengths", np.array([4, 2, 3])))
    with pytest.raises(ModelError, match=r"Scan .* reads sequences of different lengths"):
        normalise(ragged)
    beside = sums(3)
    beside.graph.node.append(helper.make_node("Upsample", ["y"], ["z"], scales=[1.0, 1.0, 2.0]))
    with pytest.raises(ModelError, match=r"a Scan beside Upsample .* export it with a newer opset"):
        normalise(beside)
