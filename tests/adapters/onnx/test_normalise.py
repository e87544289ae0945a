"""Which opset a model is brought to: 18, or the first that has every operator as it is used."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pertcore.adapters.onnx.normalise import main_opset, normalise
from pertcore.errors import ModelError
from tests.adapters.onnx.models import value, weight


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
