"""Models in the shapes that exporters leave: batches fixed at several, sizes free everywhere,
several inputs and outputs, weights among the inputs, every opset, integers beside the floats."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pertcore.adapters.onnx import build, kept
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.differentiate import differentiate
from pertcore.errors import CapabilityError
from tests.adapters.onnx.judging import judge, relative
from tests.adapters.onnx.models import model, small_net, value, weight

RNG = np.random.default_rng(0)


def points(oracle, count):
    return RNG.standard_normal((count, *oracle.input_shape)).astype(oracle.dtype)


def several(batch, nodes, shape, *weights, output=None):
    return model(nodes, [value("x", [batch, *shape])], [value("y", output)], weights)


@pytest.mark.parametrize("batch", [2, 4, 5])
def test_a_batch_fixed_at_several_is_lifted(batch):
    net = small_net(batch="N")
    net.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    flat = next(t for t in net.graph.initializer if t.name == "flat")
    flat.CopyFrom(weight("flat", np.array([batch, 64])))
    net.graph.output[0].CopyFrom(value("y", [batch, 3]))
    oracle, free = from_onnx(net, threads=1), from_onnx(small_net(), threads=1)
    assert oracle.batch == "lifted" and f"batch of {batch}" in oracle.remarks[0]
    for count in (1, 3, 64):
        x = points(oracle, count)
        judge(oracle, x)
        np.testing.assert_allclose(oracle(x), free(x), rtol=1e-4, atol=1e-5)


def in_halves(batch=4):
    """A reshape that only fits four samples: each half of the batch is a row, and back."""
    nodes = [
        helper.make_node("Reshape", ["x", "two"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Reshape", ["t", "four"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    weights = [
        weight("two", np.array([2, 12])),
        weight("four", np.array([4, 6])),
        weight("w", np.random.default_rng(1).standard_normal((6, 3)).astype(np.float32)),
    ]
    return several(batch, nodes, [6], *weights)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_a_batch_of_four_that_cannot_be_lifted_runs_by_fours(count):
    oracle = from_onnx(in_halves(), threads=1)
    assert oracle.batch == "looped" and "4 at a time" in oracle.remarks[0]
    x = points(oracle, count)
    w = np.random.default_rng(1).standard_normal((6, 3)).astype(np.float32)
    lin = oracle.linearize(x)
    np.testing.assert_allclose(lin.value, np.tanh(x) @ w, rtol=1e-5, atol=1e-6)
    v = RNG.standard_normal((2, count, 3)).astype(np.float32)
    exact = (v @ w.T) * (1 - np.tanh(x) ** 2)
    np.testing.assert_allclose(lin.vjp(v), exact, rtol=1e-4, atol=1e-5)
    assert oracle.calls.f == count and oracle.calls.vjp == 2 * count
    if count:
        judge(oracle, x)
        index = np.array([count - 1, 0, count - 1])
        part = lin.take(index)
        np.testing.assert_allclose(part.vjp(v[0][index]), exact[0][index], rtol=1e-4, atol=1e-5)
        doubled = np.stack([v[0][0], 2 * v[0][0], -v[0][0]])
        np.testing.assert_allclose(
            lin.take(np.zeros(3, int)).vjp(doubled),
            exact[0][0] * np.array([[1], [2], [-1]]),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("batch", [4, 5])
def test_a_first_axis_that_is_no_batch_is_refused(batch):
    mixes = helper.make_node("Softmax", ["x"], ["y"], axis=0)
    with pytest.raises(CapabilityError, match=f"fixed at {batch}, is no batch"):
        from_onnx(several(batch, [mixes], [3]))
    by_place = helper.make_node("Mul", ["x", "w"], ["y"])
    rows = weight("w", np.arange(1, 3 * batch + 1, dtype=np.float32).reshape(batch, 3))
    with pytest.raises(CapabilityError, match="is no batch"):
        from_onnx(several(batch, [by_place], [3], rows))


def free_everywhere():
    """conv, relu, a shape computed at run time, pooled, flattened by that shape, mixed."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Shape", ["g"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Concat", ["n", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["g", "to"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["y"]),
    ]
    weights = [
        weight("k", rng.standard_normal((4, 2, 3, 3)).astype(np.float32)),
        weight("m", rng.standard_normal((4, 3)).astype(np.float32)),
        weight("zero", np.array([0])),
        weight("rest", np.array([-1])),
    ]
    given = value("x", ["batch", "channels", "height", "width"])
    return model(nodes, [given], [value("y", ["batch", "classes"])], weights)


@pytest.mark.parametrize("shape", [(2, 9, 7), (2, 8, 16)])
def test_free_sizes_everywhere(shape, tmp_path):
    oracle = from_onnx(free_everywhere(), input_shape=shape, threads=1)
    assert oracle.batch == "free" and oracle.output_shape == (3,)
    for count in (1, 64):
        judge(oracle, points(oracle, count))
    x = points(oracle, 2)
    v = RNG.standard_normal((2, 3)).astype(np.float32)
    file = differentiate(free_everywhere()).save(tmp_path / "d.onnx")
    (found,) = onnxruntime.InferenceSession(file).run(None, {"x": x, "ct_y": v})
    assert np.all(relative(found, oracle.linearize(x).vjp(v)) <= 1e-4)


def test_several_inputs_and_outputs_one_at_a_time():
    nodes = [
        helper.make_node("Mul", ["a", "b"], ["p"]),
        helper.make_node("Tanh", ["p"], ["q"]),
        helper.make_node("Sub", ["a", "b"], ["r"]),
    ]
    inputs = [value("a", ["N", 3]), value("b", ["N", 3])]
    net = model(nodes, inputs, [value("q", ["N", 3]), value("r", ["N", 3])])
    other = RNG.standard_normal((1, 3)).astype(np.float32)
    for moving, frozen in (("a", "b"), ("b", "a")):
        for output in ("q", "r"):
            given = {"input": moving, "output": output, "freeze": {frozen: other}}
            oracle = from_onnx(net, threads=1, **given)
            x = points(oracle, 64)
            judge(oracle, x)
            slope = {"q": other * (1 - np.tanh(x * other) ** 2), "r": 1 if moving == "a" else -1}
            np.testing.assert_allclose(
                oracle.linearize(x).vjp(np.ones_like(x)),
                np.broadcast_to(slope[output], x.shape),
                rtol=1e-4,
                atol=1e-5,
            )


@pytest.mark.parametrize("batch", ["N", 1])
def test_weights_listed_as_inputs(batch):
    net = small_net(batch=batch)
    net.ir_version = 3
    for tensor in net.graph.initializer:
        net.graph.input.insert(0, value(tensor.name, tensor.dims, tensor.data_type))
    oracle = from_onnx(net, threads=1)
    assert oracle.input_shape == (1, 8, 8)
    x = points(oracle, 64)
    judge(oracle, x)
    plain = from_onnx(small_net(), threads=1)
    np.testing.assert_allclose(oracle(x), plain(x), rtol=1e-4, atol=1e-5)
    assert differentiate(net).inputs == ("x", "ct_y")


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("opset", range(6, onnx.defs.onnx_opset_version() + 1))
def test_every_opset(opset, batch):
    net = small_net(batch=batch, opset=opset)
    gemm = net.graph.node[-1]
    gemm.input.append("z")
    bias = np.array([0.5, -1.0, 2.0], np.float32)
    net.graph.initializer.append(weight("z", bias))
    if opset < 7:
        gemm.attribute.append(helper.make_attribute("broadcast", 1))
    oracle, plain = from_onnx(net, threads=1), from_onnx(small_net(), threads=1)
    for count in (1, 64):
        x = points(oracle, count)
        judge(oracle, x)
        np.testing.assert_allclose(oracle(x), plain(x) + bias, rtol=1e-4, atol=1e-4)


def test_integers_beside_the_floats():
    """An index, a pad width and a mask are frozen; the floats move."""
    nodes = [
        helper.make_node("Gather", ["table", "token"], ["e"], axis=0),
        helper.make_node("Pad", ["x", "width"], ["p"]),
        helper.make_node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["p", "m"], ["q"]),
        helper.make_node("Mul", ["q", "e"], ["y"]),
    ]
    inputs = [
        value("token", [1], TensorProto.INT64),
        value("width", [4], TensorProto.INT64),
        value("x", ["N", 3]),
        value("mask", [1, 5], TensorProto.BOOL),
    ]
    table = RNG.standard_normal((4, 5)).astype(np.float32)
    net = model(nodes, inputs, [value("y", ["N", 5])], [weight("table", table)])
    mask = np.array([[1, 1, 0, 1, 1]], bool)
    freeze = {"token": [2], "width": [0, 1, 0, 1], "mask": mask}
    oracle = from_onnx(net, freeze=freeze, threads=1)
    judge(oracle, points(oracle, 64))
    gradient = oracle.linearize(points(oracle, 1)).vjp(np.ones((1, 5), np.float32))
    np.testing.assert_allclose(gradient, (table[2] * mask)[:, 1:4], rtol=1e-6)


def u_net(*, whole):
    """Down, up, the skipped map beside it, one map of it over its largest entry.

    With `whole`, that is the largest of everything, which for a batch of one is the sample's; the
    shapes are right for any batch, the values are not.
    """
    rng = np.random.default_rng(3)
    axes = np.array([0, 1, 2, 3] if whole else [1, 2, 3])
    weights = [
        weight("d", rng.standard_normal((4, 1, 3, 3)).astype(np.float32)),
        weight("u", rng.standard_normal((4, 2, 2, 2)).astype(np.float32)),
        weight("o", rng.standard_normal((1, 3, 1, 1)).astype(np.float32)),
        weight("axes", axes),
        weight("to", np.array([1, 64])),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "d"], ["down"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["down"], ["r"]),
        helper.make_node("ConvTranspose", ["r", "u"], ["up"], strides=[2, 2]),
        helper.make_node("Concat", ["up", "x"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "o"], ["mask"]),
        helper.make_node("Softplus", ["mask"], ["s"]),
        helper.make_node("ReduceMax", ["s", "axes"], ["top"], keepdims=1),
        helper.make_node("Div", ["s", "top"], ["shares"]),
        helper.make_node("Reshape", ["shares", "to"], ["y"]),
    ]
    return several(1, nodes, [1, 8, 8], *weights, output=[1, 64])


def test_lifting_that_would_be_silently_wrong_is_found_out(monkeypatch):
    net = u_net(whole=True)
    oracle = from_onnx(net, threads=1)
    x = points(oracle, 5)
    assert oracle.batch == "looped" and "differs from single runs" in oracle.remarks[0]
    single = np.concatenate([oracle(row[None]) for row in x])
    judge(oracle, x)
    np.testing.assert_allclose(oracle(x), single, rtol=1e-6)
    apart = from_onnx(u_net(whole=False), threads=1)
    assert apart.batch == "lifted"
    v = RNG.standard_normal((5, 64)).astype(np.float32)
    products = [model.linearize(x).vjp(v) for model in (oracle, apart)]
    np.testing.assert_allclose(*products, rtol=1e-4, atol=1e-5)
    # Unchecked, it would have the right shapes and the wrong values.
    monkeypatch.setattr(build, "_difference", lambda *_: "")
    kept.forget()
    naive = from_onnx(net, threads=1)
    assert naive.batch == "lifted" and naive(x).shape == single.shape
    assert np.median(relative(naive(x), single)) > 1e-1
    kept.forget()
