"""Operators whose indices name every axis, in models of one sample with no batch axis inside."""

import numpy as np
import pytest
from onnx import helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import CapabilityError
from pertcore.testing import assert_oracle
from tests.adapters.onnx.models import model, value, weight

RNG = np.random.default_rng(0)
PAIRS = np.array([[2, 1], [0, 3], [2, 2]])
ROWS = np.array([[2], [0]])
COLUMNS = np.array([[1, 0, 2, 2], [0, 1, 1, 0]])


def sample_model(nodes, **weights):
    """x (1, 3, 4) -> s (3, 4) -> nodes -> r -> y (1, ...)."""
    nodes = [
        helper.make_node("Squeeze", ["x", "zero"], ["s"]),
        *nodes,
        helper.make_node("Unsqueeze", ["r", "zero"], ["y"]),
    ]
    tensors = [weight("zero", np.array([0])), *(weight(k, v) for k, v in weights.items())]
    return model(nodes, [value("x", [1, 3, 4])], [value("y", None)], tensors)


def scatter(op, index, updates, **attrs):
    node = helper.make_node(op, ["s", "at", "w"], ["r"], **attrs)
    return sample_model([node], at=index, w=updates)


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def written(op, index, source, **attrs):
    """What is written depends on x, not what it is written into."""
    nodes = [
        helper.make_node("Slice", ["s", "low", "high"], ["u"]),
        helper.make_node("Reshape", ["u", "shape"], ["v"]),
        helper.make_node(op, ["into", "at", "v"], ["r"], **attrs),
    ]
    low, high = np.array([0, 0]), np.array(source[0])
    given = {"low": low, "high": high, "shape": np.array(source[1]), "into": numbers(3, 4)}
    return sample_model(nodes, at=index, **given)


MODELS = {
    "gather-nd-entries": sample_model([helper.make_node("GatherND", ["s", "at"], ["r"])], at=PAIRS),
    "gather-nd-rows": sample_model([helper.make_node("GatherND", ["s", "at"], ["r"])], at=ROWS),
    "scatter-nd-entries": scatter("ScatterND", PAIRS, numbers(3)),
    "scatter-nd-rows": scatter("ScatterND", ROWS, numbers(2, 4)),
    "scatter-nd-add": scatter("ScatterND", ROWS, numbers(2, 4), reduction="add"),
    "scatter-elements": scatter("ScatterElements", COLUMNS, numbers(2, 4), axis=0),
    "scatter-elements-add": scatter("ScatterElements", COLUMNS, numbers(2, 4), reduction="add"),
    **{
        f"scatter-{mode}-{op}": scatter(op, index, numbers(*shape), reduction=mode)
        for mode in ("mul", "max", "min")
        for op, index, shape in (("ScatterND", PAIRS, (3,)), ("ScatterElements", COLUMNS, (2, 4)))
    },
    "written-mul": written("ScatterND", PAIRS, ([1, 3], [3]), reduction="mul"),
    "written-max": written("ScatterElements", COLUMNS, ([2, 4], [2, 4]), reduction="max"),
    "written-nd": written("ScatterND", ROWS, ([2, 4], [2, 4])),
    "written-nd-add": written("ScatterND", PAIRS, ([1, 3], [3]), reduction="add"),
    "written-elements": written("ScatterElements", COLUMNS, ([2, 4], [2, 4]), axis=0),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_promises_hold(name):
    oracle = from_onnx(MODELS[name], threads=1)
    assert_oracle(oracle, numbers(2, 3, 4))


def test_an_output_without_a_batch_axis_is_refused():
    nodes = [helper.make_node("GatherND", ["x", "at"], ["y"])]
    at = weight("at", np.array([[0, 1], [0, 2]]))
    with pytest.raises(CapabilityError, match="first axis must be the batch"):
        from_onnx(model(nodes, [value("x", [1, 4])], [value("y", None)], [at]))
