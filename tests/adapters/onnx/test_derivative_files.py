"""Derivative files beyond the plain case: pruned, described, of derivatives, used without us."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.differentiate import differentiate
from pertcore.cli.app import main
from pertcore.demo import CLASSIFIER, DATA
from tests.adapters.onnx.models import model, value, weight

RNG = np.random.default_rng(0)
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "fgsm.py"


def run(graph, *feeds):
    session = onnxruntime.InferenceSession(graph.model.SerializeToString())
    return session.run(None, dict(zip(graph.inputs, feeds, strict=True)))


def gaussian(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def two_heads():
    """a -> tanh -> q; b -> unknown operator -> r: two halves that share nothing."""
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["m"]),
        helper.make_node("Tanh", ["m"], ["q"]),
        helper.make_node("Mystery", ["b"], ["r"], domain="somewhere"),
    ]
    inputs = [value("a", ["N", 3]), value("b", ["N", 3])]
    outputs = [value("q", ["N", 3]), value("r", ["N", 3])]
    net = model(nodes, inputs, outputs, [weight("w", gaussian(3, 3))])
    net.opset_import.append(helper.make_opsetid("somewhere", 1))
    return net


@pytest.mark.parametrize("mode", ["vjp", "jvp", "value_and_vjp"])
def test_what_the_chosen_outputs_do_not_need_is_left_out(mode):
    net = two_heads()
    made = differentiate(net, mode=mode, wrt=["a"], outputs=["q"])
    assert made.inputs == ("a", "tan_a" if mode == "jvp" else "ct_q")
    kinds = {node.op_type for node in made.model.graph.node}
    assert "Mystery" not in kinds
    x, v = gaussian(2, 3), gaussian(2, 3)
    given = {"input": "a", "output": "q", "freeze": {"b": gaussian(1, 3)}}
    lin = from_onnx(net, threads=1, **given).linearize(x)
    exact = lin.jvp(v) if mode == "jvp" else lin.vjp(v)
    found = run(made, x, v)
    np.testing.assert_allclose(found[-1], exact, rtol=1e-5, atol=1e-6)
    if mode == "value_and_vjp":
        assert made.outputs == ("q", "grad_a")
        np.testing.assert_allclose(found[0], lin.value, rtol=1e-5)


def test_inputs_and_outputs_are_described_in_the_file(tmp_path):
    path = differentiate(CLASSIFIER, mode="value_and_vjp").save(tmp_path / "d.onnx")
    graph = onnx.load(path).graph
    texts = {v.name: v.doc_string for v in [*graph.input, *graph.output]}
    assert texts == {
        "image": "input of the model",
        "ct_logits": "cotangent of the output logits, in its shape",
        "logits": "output of the model",
        "grad_image": "(d logits/d image)^T . ct_logits, in the shape of image",
    }
    assert "value_and_vjp" in onnx.load(path).doc_string
    pushed = differentiate(CLASSIFIER, mode="jvp").model.graph
    assert pushed.output[0].doc_string.startswith("d logits/d image . tan_image")


def test_a_misplaced_normalisation_is_adopted():
    node = helper.make_node("LayerNormalization", ["x", "s"], ["y"], axis=-1)
    net = model(
        [node], [value("x", ["N", 4])], [value("y", ["N", 4])], [weight("s", gaussian(4))], opset=13
    )
    x, v = gaussian(2, 4), gaussian(2, 4)
    (found,) = run(differentiate(net), x, v)
    np.testing.assert_allclose(
        found, from_onnx(net, threads=1).linearize(x).vjp(v), rtol=1e-4, atol=1e-5
    )


def smooth_mlp():
    weights = [weight("w", gaussian(5, 6)), weight("v", gaussian(6, 4)), weight("b", gaussian(6))]
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("MatMul", ["t", "v"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], axis=1),
    ]
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N", 4])], weights), (5,)


def smooth_conv():
    weights = [
        weight("k", gaussian(3, 2, 3, 3)),
        weight("m", gaussian(12, 4)),
        weight("to", np.array([-1, 12])),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Softplus", ["c"], ["s"]),
        helper.make_node("AveragePool", ["s"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["p", "to"], ["f"]),
        helper.make_node("Sigmoid", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "m"], ["y"]),
    ]
    return model(nodes, [value("x", ["N", 2, 4, 4])], [value("y", ["N", 4])], weights), (2, 4, 4)


@pytest.mark.parametrize("net", [smooth_mlp, smooth_conv])
@pytest.mark.parametrize("mode", ["vjp", "jvp"])
def test_the_derivative_of_a_derivative_is_its_difference_quotient(net, mode):
    """H = d(J^T c)/dx: H u by the quotient of J^T c along u, and w^T H u both ways."""
    source, shape = net()
    first = differentiate(source, mode="vjp")
    second = differentiate(first.model, mode=mode, wrt=["x"], outputs=["grad_x"])
    x, c = gaussian(2, *shape), gaussian(2, 4)
    u, w = gaussian(2, *shape), gaussian(2, *shape)
    h = 1e-2
    ahead, behind = (run(first, x + np.float32(s * h) * u, c)[0] for s in (1, -1))
    slope = np.sum(w * (ahead - behind) / (2 * h), axis=tuple(range(1, x.ndim)))
    (found,) = run(second, x, c, w if mode == "vjp" else u)
    pairing = np.sum(found * (u if mode == "vjp" else w), axis=tuple(range(1, x.ndim)))
    np.testing.assert_allclose(pairing, slope, rtol=2e-2, atol=2e-3 * np.abs(slope).max())
    seed = "ct_grad_x" if mode == "vjp" else "tan_x"
    assert second.inputs == ("x", "ct_y", seed)


def test_the_third_derivative_of_a_sine():
    """Differentiated three times, sin is -cos."""
    net = model([helper.make_node("Sin", ["x"], ["y"])], [value("x", ["N"])], [value("y", ["N"])])
    first = differentiate(net)
    second = differentiate(first.model, wrt=["x"])
    third = differentiate(second.model, wrt=["x"], outputs=[second.outputs[0]])
    x, ones = gaussian(5), np.ones(5, np.float32)
    (found,) = run(third, x, ones, ones, ones)
    np.testing.assert_allclose(found, -np.cos(x), rtol=1e-5, atol=1e-6)


def test_labels_beside_the_scores_are_left_out():
    nodes = [
        helper.make_node("Tanh", ["x"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["k"], axis=1),
    ]
    outputs = [value("y", ["N", 3]), value("k", None, TensorProto.INT64)]
    made = differentiate(model(nodes, [value("x", ["N", 3])], outputs))
    assert made.inputs == ("x", "ct_y") and made.outputs == ("grad_x",)


def test_the_example_attacks_with_onnxruntime_and_numpy_alone(tmp_path):
    derivative, found = tmp_path / "derivative.onnx", tmp_path / "adversarial.npy"
    written = ["differentiate", str(CLASSIFIER), "--mode", "value_and_vjp", "-o", str(derivative)]
    assert main(written) == 0
    alone = (
        "import runpy, sys; sys.modules.update(pertcore=None, onnx=None);"
        f"sys.argv = ['fgsm.py', {str(derivative)!r}, {str(DATA)!r}, '0.1', {str(found)!r}];"
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", alone], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = map(float, re.findall(r"([\d.]+)%", done.stdout))
    x, y = (np.load(DATA)[key] for key in ("x", "y"))
    moved = np.load(found)
    oracle = from_onnx(CLASSIFIER, threads=1)
    assert after == pytest.approx(100 * np.mean(oracle(moved).argmax(axis=1) == y), abs=0.06)
    assert after < before - 20 and np.max(np.abs(moved - x)) <= 0.1 + 1e-6
