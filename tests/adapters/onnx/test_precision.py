"""float16 and float64 models: what is computed in which type, and what ONNX Runtime cannot run."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.describe import describe
from pertcore.adapters.onnx.differentiate import differentiate
from pertcore.errors import CapabilityError, ModelError
from tests.adapters.onnx.judging import judge, relative
from tests.adapters.onnx.models import model, one_node, small_net, value, weight
from tests.adapters.onnx.rows import ROWS

RNG = np.random.default_rng(0)
HALF = TensorProto.FLOAT16


def in_half(net):
    """The model with float16 weights, inputs and outputs."""
    made = onnx.ModelProto()
    made.CopyFrom(net)
    for tensor in made.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(weight(tensor.name, array.astype(np.float16)))
    for given in [*made.graph.input, *made.graph.output]:
        given.type.tensor_type.elem_type = HALF
    return made


def rounded(net):
    """The float32 model whose weights are those of `in_half`."""
    made = onnx.ModelProto()
    made.CopyFrom(net)
    for tensor in made.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            narrow = array.astype(np.float16).astype(np.float32)
            tensor.CopyFrom(weight(tensor.name, narrow))
    return made


@pytest.mark.parametrize("batch", ["N", 1])
def test_a_half_model_is_single_outside_and_its_derivative_single_inside(batch):
    net = small_net(batch=batch)
    oracle, single = from_onnx(in_half(net), threads=1), from_onnx(rounded(net), threads=1)
    assert oracle.dtype == np.float32 and "float16" in oracle.notes[0]
    assert "exact" in oracle.capabilities and oracle.batch == single.batch
    x = RNG.standard_normal((5, 1, 8, 8)).astype(np.float32)
    v = RNG.standard_normal((5, 3)).astype(np.float32)
    judge(oracle, x)
    found = oracle.linearize(x).vjp(v)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, single.linearize(x).vjp(v), rtol=1e-6, atol=1e-6)
    value_by_file = run(in_half(net), x)
    assert oracle(x).dtype == np.float32
    np.testing.assert_array_equal(oracle(x), value_by_file.astype(np.float32))


def run(net, x):
    session = onnxruntime.InferenceSession(net.SerializeToString())
    fixed = net.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    parts = np.split(x, len(x)) if fixed else [x]
    feeds = [{net.graph.input[0].name: part.astype(np.float16)} for part in parts]
    return np.concatenate([session.run(None, feed)[0] for feed in feeds])


def test_half_inside_a_single_model():
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=HALF),
        helper.make_node("MatMul", ["h", "w"], ["m"]),
        helper.make_node("Tanh", ["m"], ["t"]),
        helper.make_node("Cast", ["t"], ["y"], to=TensorProto.FLOAT),
    ]
    w = RNG.standard_normal((4, 3)).astype(np.float16)
    net = model(nodes, [value("x", ["N", 4])], [value("y", ["N", 3])], [weight("w", w)])
    oracle = from_onnx(net, threads=1)
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    wide = w.astype(np.float32)
    exact = (1 - np.tanh(x @ wide) ** 2) @ wide.T
    gradient = oracle.linearize(x).vjp(np.ones((3, 3), np.float32))
    np.testing.assert_allclose(gradient, exact, rtol=1e-4, atol=1e-5)


def test_gradients_that_half_could_not_hold():
    """A slope of 1e6 overflows float16; it is exact in float32."""
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["a"]),
        helper.make_node("Mul", ["a", "k"], ["y"]),
    ]
    k = weight("k", np.array([1000.0], np.float16))
    net = model(nodes, [value("x", ["N", 2], HALF)], [value("y", ["N", 2], HALF)], [k])
    lin = from_onnx(net, threads=1).linearize(np.full((1, 2), 1e-3, np.float32))
    np.testing.assert_allclose(lin.vjp(np.ones((1, 2), np.float32)), 1e6)


def test_frozen_half_inputs():
    node = helper.make_node("Mul", ["x", "z"], ["y"])
    inputs = [value("x", ["N", 2], HALF), value("z", ["N", 2], HALF)]
    net = model([node], inputs, [value("y", ["N", 2], HALF)])
    z = np.array([[2.0, -0.5]])
    oracle = from_onnx(net, input="x", freeze={"z": z}, threads=1)
    ones = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(oracle(ones), z)
    np.testing.assert_array_equal(oracle.linearize(ones).vjp(ones), z)


def test_half_models_are_described():
    info = describe(in_half(small_net()))
    assert info.exact and info.inputs[0].dtype == "float16"
    assert any("float16" in note for note in info.notes)


@pytest.mark.parametrize("mode", ["vjp", "jvp", "value_and_vjp"])
def test_the_derivative_file_of_a_half_model_keeps_its_types(mode, tmp_path):
    net = in_half(small_net())
    made = differentiate(net, mode=mode)
    kinds = {v.type.tensor_type.elem_type for v in [*made.model.graph.input]}
    kinds |= {v.type.tensor_type.elem_type for v in made.model.graph.output}
    assert kinds == {HALF}
    x = RNG.standard_normal((2, 1, 8, 8)).astype(np.float16)
    seed = RNG.standard_normal((2, 3) if "vjp" in mode else x.shape).astype(np.float16)
    session = onnxruntime.InferenceSession(str(made.save(tmp_path / "d.onnx")))
    found = session.run(None, dict(zip(made.inputs, (x, seed))))[-1]
    lin = from_onnx(net, threads=1).linearize(x.astype(np.float32))
    exact = lin.jvp(seed) if mode == "jvp" else lin.vjp(seed)
    assert np.all(relative(found, exact) <= 1e-3)


def test_bfloat16_is_refused_with_advice():
    node = helper.make_node("Relu", ["x"], ["y"])
    kind = TensorProto.BFLOAT16
    net = model([node], [value("x", ["N", 2], kind)], [value("y", ["N", 2], kind)])
    with pytest.raises(CapabilityError, match=r"bfloat16.*convert the model to float32"):
        from_onnx(net)


def in_double(net):
    made = in_half(net)
    for tensor, narrow in zip(made.graph.initializer, net.graph.initializer):
        array = numpy_helper.to_array(narrow)
        if array.dtype == np.float32:
            tensor.CopyFrom(weight(tensor.name, array.astype(np.float64)))
    for given in [*made.graph.input, *made.graph.output]:
        given.type.tensor_type.elem_type = TensorProto.DOUBLE
    return made


def test_a_missing_double_kernel_is_named_with_the_cure():
    with pytest.raises(CapabilityError, match=r"no float64 kernel for Conv.*to float32"):
        from_onnx(in_double(small_net()), threads=1)
    with pytest.raises(CapabilityError, match=r"no float64 kernel for Conv"):
        from_onnx(in_double(small_net(batch=1)), threads=1, finite_differences=True)
    assert any("Conv" in note for note in describe(in_double(small_net())).notes)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pooling_in_double(stride):
    """ONNX Runtime resizes nothing in float64, so the windows are routed by index."""
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[stride] * 2)
    given = value("x", ["N", 2, 6, 6], TensorProto.DOUBLE)
    net = model([pool], [given], [value("y", None, TensorProto.DOUBLE)])
    oracle = from_onnx(net, threads=1)
    x = RNG.standard_normal((3, 2, 6, 6))
    assert oracle.dtype == np.float64
    judge(oracle, x)
    u = RNG.standard_normal(x.shape)
    h = 1e-6
    quotient = (oracle(x + h * u) - oracle(x - h * u)) / (2 * h)
    np.testing.assert_allclose(oracle.linearize(x).jvp(u), quotient, atol=1e-7)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.op)
def test_every_operator_in_double_runs_or_says_why(row):
    """Where ONNX Runtime has a float64 kernel for the model, it has those of the derivative."""
    try:
        oracle = from_onnx(one_node(row, np.float64), output=row.output, threads=1)
    except CapabilityError as error:
        assert "no float64 kernel for" in str(error)
        return
    except ModelError as error:
        assert re.search("bound to different types|Type 'tensor.double.'", str(error))
        return
    x = np.random.default_rng(0).random((2, *oracle.input_shape))
    lin = oracle.linearize(x)
    u = RNG.standard_normal((2, *x.shape))
    v = RNG.standard_normal((2, 2, *oracle.output_shape))
    if {"vjp", "jvp"} <= oracle.capabilities:
        pushed, pulled = lin.jvp(u), lin.vjp(v)
        assert pushed.dtype == pulled.dtype == np.float64
        # The standard has these compute their statistics in float32.
        close = 1e-5 if row.op in ("GroupNormalization", "RMSNormalization") else 1e-9
        ahead, behind = np.sum(pushed[0] * v[0]), np.sum(pulled[0] * u[0])
        scale = np.linalg.norm(pulled[0]) * np.linalg.norm(u[0])
        np.testing.assert_allclose(ahead, behind, rtol=close, atol=close * scale)
        np.testing.assert_allclose(lin.vjp(v[0]), pulled[0], rtol=close, atol=close * scale)
