"""Derivative graphs as files: plain ONNX, run by onnxruntime alone."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.differentiate import _check, differentiate
from pertcore.errors import CapabilityError, InputError, ModelError
from tests.adapters.onnx.models import model, small_net, value, weight

RNG = np.random.default_rng(0)


def run(path, feeds):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))


def test_round_trip_by_onnxruntime_alone(tmp_path):
    oracle = from_onnx(small_net(), threads=1)
    x = RNG.standard_normal((3, 1, 8, 8)).astype(np.float32)
    v = RNG.standard_normal((3, 3)).astype(np.float32)
    lin = oracle.linearize(x)
    pull = differentiate(small_net(), mode="vjp").save(tmp_path / "vjp.onnx")
    found = run(pull, {"x": x, "ct_y": v})
    assert list(found) == ["grad_x"]
    np.testing.assert_allclose(found["grad_x"], lin.vjp(v), rtol=1e-5, atol=1e-5)
    push = differentiate(small_net(), mode="jvp").save(tmp_path / "jvp.onnx")
    found = run(push, {"x": x, "tan_x": x})
    np.testing.assert_allclose(found["tanout_y"], lin.jvp(x), rtol=1e-5, atol=1e-5)
    both = differentiate(small_net(), mode="value_and_vjp").save(tmp_path / "both.onnx")
    found = run(both, {"x": x, "ct_y": v})
    np.testing.assert_allclose(found["y"], lin.value, rtol=1e-5)
    np.testing.assert_allclose(found["grad_x"], lin.vjp(v), rtol=1e-5, atol=1e-5)


def test_what_is_written_is_ordinary_onnx(tmp_path):
    graph = differentiate(small_net())
    path = graph.save(tmp_path / "d.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["d.onnx"]
    written = onnx.load(path)
    onnx.checker.check_model(written, full_check=True)
    assert [(o.domain, o.version) for o in written.opset_import] == [("", 18)]
    assert written.ir_version <= 10
    assert graph.inputs == ("x", "ct_y") and graph.outputs == ("grad_x",)
    assert written.graph.input[1].type.tensor_type.shape.dim[0].dim_param == "N"


def test_a_graph_that_is_not_valid_is_refused_whatever_the_size_of_its_weights():
    for size in (3, 5000):
        made = model(
            [helper.make_node("Gemm", ["x"], ["y"])], [value("x", ["N", size])],
            [value("y", ["N", 2])], [weight("w", np.ones((size, 2), np.float32))],
        )  # fmt: skip
        with pytest.raises(ModelError, match=r"the derivative graph is not valid ONNX.*Gemm"):
            _check(made)


def test_the_checker_reads_no_large_weight(monkeypatch):
    seen = []
    monkeypatch.setattr(onnx.checker, "check_model", lambda made: seen.append(made.ByteSize()))
    net = model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 900])],
        [value("y", ["N", 900])], [weight("w", np.ones((900, 900), np.float32))],
    )  # fmt: skip
    assert differentiate(net).model.ByteSize() > 3_000_000 and 0 < seen[0] < 10_000


def two_in_two_out():
    nodes = [
        helper.make_node("Mul", ["a", "b"], ["p"]),
        helper.make_node("Tanh", ["p"], ["q"]),
        helper.make_node("Sub", ["a", "w"], ["r"]),
        helper.make_node("ArgMax", ["a"], ["k"], axis=1),
    ]
    inputs = [value("a", ["N", 3]), value("b", ["N", 3])]
    outputs = [
        value("q", ["N", 3]),
        value("r", ["N", 3]),
        value("k", ["N", 1], onnx.TensorProto.INT64),
    ]
    return model(nodes, inputs, outputs, [weight("w", np.ones(3, np.float32))])


def test_several_inputs_and_outputs(tmp_path):
    a, b, u, v = RNG.standard_normal((4, 2, 3)).astype(np.float32)
    slope = 1 - np.tanh(a * b) ** 2
    path = differentiate(two_in_two_out()).save(tmp_path / "d.onnx")
    found = run(path, {"a": a, "b": b, "ct_q": u, "ct_r": v})
    np.testing.assert_allclose(found["grad_a"], u * slope * b + v, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["grad_b"], u * slope * a, rtol=1e-4, atol=1e-5)
    one = differentiate(two_in_two_out(), mode="jvp", wrt=["b"], outputs=["q"])
    found = run(one.save(tmp_path / "one.onnx"), {"a": a, "b": b, "tan_b": u})
    np.testing.assert_allclose(found["tanout_q"], u * slope * a, rtol=1e-4, atol=1e-5)


def test_the_derivative_of_a_derivative(tmp_path):
    """d/da of J^T ct for q = tanh(a b): -2 tanh slope b^2, the second derivative of tanh."""
    first = differentiate(two_in_two_out(), wrt=["a"], outputs=["q"]).model
    second = differentiate(first, mode="jvp", wrt=["a"]).save(tmp_path / "second.onnx")
    a, b, u, v = RNG.standard_normal((4, 2, 3)).astype(np.float32)
    found = run(second, {"a": a, "b": b, "ct_q": u, "tan_a": v})
    t = np.tanh(a * b)
    np.testing.assert_allclose(
        found["tanout_grad_a"], u * -2 * t * (1 - t**2) * b**2 * v, rtol=1e-3, atol=1e-4
    )


def test_wrong_calls():
    with pytest.raises(InputError, match=r"mode='grad'"):
        differentiate(small_net(), mode="grad")
    with pytest.raises(InputError, match=r"wrt=\['z'\]"):
        differentiate(small_net(), wrt=["z"])
    with pytest.raises(InputError, match=r"outputs=\['k'\]"):
        differentiate(two_in_two_out(), outputs=["k"])
    with pytest.raises(CapabilityError, match=r"does not depend"):
        differentiate(two_in_two_out(), wrt=["b"], outputs=["r"])


def test_an_unwritable_place(tmp_path):
    with pytest.raises(InputError, match=r"cannot be written"):
        differentiate(small_net()).save(tmp_path / "absent" / "d.onnx")
