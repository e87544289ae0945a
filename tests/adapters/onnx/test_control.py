"""Scan, Loop and If: what their inner graphs carry, read, write and capture has a derivative."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import CapabilityError
from pertcore.testing import assert_oracle
from tests.adapters.onnx.models import model, value, weight

RNG = np.random.default_rng(5)


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def whole(name, element=TensorProto.INT64):
    return helper.make_tensor_value_info(name, element, [])


def recurrence():
    """h' = tanh(h w + x_t + c), c from x itself: states, slices and captures all move."""
    return [
        helper.make_node("MatMul", ["h", "w"], ["a"]),
        helper.make_node("Add", ["a", "xt"], ["b"]),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Tanh", ["d"], ["next"]),
        helper.make_node("Mul", ["next", "xt"], ["out"]),
    ]


def scan(**attrs):
    body = helper.make_graph(
        recurrence(),
        "body",
        [value("h", ["N", 3]), value("xt", ["N", 3])],
        [value("next", ["N", 3]), value("out", ["N", 3])],
    )
    nodes = [
        helper.make_node("ReduceMean", ["x", "one"], ["c"], keepdims=0),
        helper.make_node("Mul", ["c", "c"], ["h0"]),
        helper.make_node(
            "Scan",
            ["h0", "x"],
            ["last", "all"],
            body=body,
            num_scan_inputs=1,
            scan_input_axes=[1],
            **attrs,
        ),
        helper.make_node("Unsqueeze", ["last", "one"], ["more"]),
        helper.make_node("Add", ["all", "more"], ["y"]),
    ]
    weights = [weight("w", numbers(3, 3)), weight("one", np.array([1]))]
    return model(nodes, [value("x", ["N", 4, 3])], [value("y", ["N", 4, 3])], weights)


def loop():
    """Four turns; the slice is looked up by the turn's number, the state leaves early."""
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "i"], ["xt"], axis=1),
            *recurrence(),
            helper.make_node("Identity", ["going"], ["still"]),
        ],
        "body",
        [whole("i"), whole("going", TensorProto.BOOL), value("h", ["N", 3])],
        [whole("still", TensorProto.BOOL), value("next", ["N", 3]), value("out", ["N", 3])],
    )
    nodes = [
        helper.make_node("ReduceMean", ["x", "one"], ["c"], keepdims=0),
        helper.make_node("Loop", ["turns", "", "c"], ["last", "all"], body=body),
        helper.make_node("Transpose", ["all"], ["y"], perm=[1, 0, 2]),
    ]
    weights = [
        weight("w", numbers(3, 3)),
        weight("one", np.array([1])),
        weight("turns", np.array(4)),
    ]
    return model(nodes, [value("x", ["N", 4, 3])], [value("y", ["N", 4, 3])], weights)


def branches(way):
    """The branch hangs on the sign of a sum, which the inputs of the test do not cross."""

    def branch(op, name):
        return helper.make_graph(
            [helper.make_node(op, ["s"], [name])], name, [], [value(name, ["N", 3])]
        )

    nodes = [
        helper.make_node("Sin", ["x"], ["s"]),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node(way, ["total", "far"], ["is"]),
        helper.make_node(
            "If", ["is"], ["y"], then_branch=branch("Exp", "t"), else_branch=branch("Neg", "e")
        ),
    ]
    weights = [weight("far", np.float32(1e6))]
    return model(nodes, [value("x", ["N", 3])], [value("y", ["N", 3])], weights)


MODELS = {
    "scan": scan(scan_output_axes=[1]),
    "scan-backwards": scan(
        scan_output_axes=[1], scan_input_directions=[1], scan_output_directions=[1]
    ),
    "loop": loop(),
    "then": branches("Less"),
    "else": branches("Greater"),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_promises_hold(name):
    oracle = from_onnx(MODELS[name], threads=1)
    assert_oracle(oracle, numbers(3, *oracle.input_shape))


def test_an_unknown_operator_inside_is_named():
    broken = scan(scan_output_axes=[1])
    body = next(a.g for n in broken.graph.node for a in n.attribute if a.name == "body")
    body.node[3].op_type, body.node[3].domain = "Own", "elsewhere"
    broken.opset_import.append(helper.make_opsetid("elsewhere", 1))
    with pytest.raises(CapabilityError, match=r"Own|Scan"):
        from_onnx(broken)
