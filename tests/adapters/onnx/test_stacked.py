"""Several outputs as one oracle: values, places, weights and derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pertcore as pc
from pertcore.errors import InputError
from pertcore.testing import assert_oracle

MATRIX = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def model(batch="n"):
    """x (n, 6) -> a = x M (n, 4), b = tanh(x) as (n, 2, 3), and c, labels."""
    nodes = [
        helper.make_node("MatMul", ["x", "m"], ["a"]),
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Reshape", ["t", "s"], ["b"]),
        helper.make_node("ArgMax", ["a"], ["c"], axis=1),
    ]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "two heads",
        [helper.make_tensor_value_info("x", floats, [batch, 6])],
        [
            helper.make_tensor_value_info("a", floats, [batch, 4]),
            helper.make_tensor_value_info("b", floats, [batch, 2, 3]),
            helper.make_tensor_value_info("c", TensorProto.INT64, None),
        ],
        [
            numpy_helper.from_array(MATRIX, "m"),
            numpy_helper.from_array(np.array([-1, 2, 3]), "s"),
        ],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def samples(n=5):
    return np.random.default_rng(1).normal(size=(n, 6)).astype(np.float32)


@pytest.mark.parametrize("batch", ["n", 1])
def test_values_lie_side_by_side_and_are_found_again(batch):
    oracle = pc.from_onnx(model(batch), output=["b", "a"], threads=1)
    x = samples()
    value = oracle(x)
    assert value.shape == (5, 10) and list(oracle.outputs) == ["b", "a"]
    assert oracle.outputs["b"].shape == (2, 3) and oracle.outputs["a"].place == slice(6, 10)
    np.testing.assert_allclose(oracle.outputs["a"].read(value), x @ MATRIX, rtol=1e-5)
    b = oracle.outputs["b"].read(value)
    np.testing.assert_allclose(b, np.tanh(x).reshape(5, 2, 3), rtol=1e-5)
    assert_oracle(oracle, x)


@pytest.mark.parametrize("weights", [{"a": 4.0}, (4.0, 1.0)])
def test_weights_scale_squared_terms(weights):
    plain = pc.from_onnx(model(), output=["a", "b"], threads=1)
    heavy = pc.from_onnx(model(), output=["a", "b"], weights=weights, threads=1)
    x, other = samples(), samples()[::-1]
    apart = {name: part.read(plain(x) - plain(other)) for name, part in plain.outputs.items()}
    squares = {name: (d**2).reshape(5, -1).sum(axis=1) for name, d in apart.items()}
    weighted = ((heavy(x) - heavy(other)) ** 2).sum(axis=1)
    np.testing.assert_allclose(weighted, 4 * squares["a"] + squares["b"], rtol=1e-4)
    for name, part in heavy.outputs.items():
        there = plain.outputs[name].read(plain(x))
        np.testing.assert_allclose(part.read(heavy(x)), there, rtol=1e-5)
    assert_oracle(heavy, x)


def test_an_attack_raises_the_weighted_error():
    oracle = pc.from_onnx(model(), output=["a", "b"], weights=(1.0, 9.0), threads=1)
    x = samples()
    result = pc.attack(oracle, x, attack="linear", eps=0.1)
    raised = ((oracle(result.x_adv) - oracle(x)) ** 2).sum(axis=1)
    np.testing.assert_allclose(result.loss_after, raised, rtol=1e-4)


@pytest.mark.parametrize(
    ("output", "weights", "words"),
    [
        (["a", "z"], None, "'z'.*outputs of floats: a, b"),
        (["a", "c"], None, "'c'"),
        (["a", "a"], None, "each once"),
        ([], None, "each once"),
        (["a", "b"], (1.0,), "as many weights"),
        (["a", "b"], {"c": 1.0}, "'c' is not among"),
        (["a", "b"], (1.0, 0.0), "number > 0"),
        ("a", (1.0,), "list of outputs"),
    ],
)
def test_a_wrong_choice_is_named(output, weights, words):
    with pytest.raises(InputError, match=words):
        pc.from_onnx(model(), output=output, weights=weights)


def test_a_wrapper_keeps_the_places_and_the_task():
    inner = pc.from_onnx(model(), output=["a", "b"], threads=1)
    oracle = pc.normalized(inner, 0.5, 2.0)
    assert oracle.outputs == inner.outputs and pc.normalized(pc.from_onnx(
        model(), output="a", threads=1), 0.5, 2.0).outputs == {}  # fmt: skip
    with pytest.warns(pc.PertcoreWarning, match="attacked as regression"):
        result = pc.attack(oracle, samples(), eps=0.1, deterministic=True)
    assert result.task == "regression" and result.success.all()
