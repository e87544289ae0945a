"""Weights apart from the model: the path that models above two gigabytes take, with small ones,
and one such model under PERTCORE_FULL."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data

from pertcore.adapters.onnx import apart, kept
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.differentiate import differentiate
from pertcore.adapters.onnx.load import load
from pertcore.adapters.onnx.rules import linalg
from pertcore.errors import ModelError
from tests.adapters.onnx.judging import judge
from tests.adapters.onnx.models import model, small_net, value, weight

RNG = np.random.default_rng(0)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def little(monkeypatch):
    """As if five hundred bytes of weights were too many for protobuf."""
    monkeypatch.setattr(apart, "MOST_INSIDE", 500)
    monkeypatch.setattr(apart, "LEAST_APART", 64)
    kept.forget()


def saved(net, folder, name="net.onnx"):
    """The model with its weights in a file beside it."""
    made = onnx.ModelProto()
    made.CopyFrom(net)
    convert_model_to_external_data(made, location=f"{name}.weights", size_threshold=0)
    onnx.save_model(made, folder / name)
    return folder / name


def stubs(net):
    return [tensor.name for tensor in net.graph.initializer if apart.is_apart(tensor)]


@pytest.fixture(params=["path", "proto", "bytes"])
def source(request, tmp_path):
    given = {
        "path": lambda: saved(small_net(), tmp_path),
        "proto": small_net,
        "bytes": lambda: small_net().SerializeToString(),
    }
    return request.param, given[request.param]()


@pytest.mark.usefixtures("little")
def test_the_derivatives_are_those_of_the_model_with_its_weights_inside(source):
    kind, given = source
    loaded = load(given)
    assert stubs(loaded) == ([] if kind == "bytes" else ["k", "m"])
    oracle, plain = from_onnx(given, threads=1), PLAIN
    x = RNG.standard_normal((5, 1, 8, 8)).astype(np.float32)
    v, u = RNG.standard_normal((5, 3)).astype(np.float32), x[::-1]
    judge(oracle, x)
    np.testing.assert_allclose(oracle(x), plain(x), rtol=1e-5, atol=1e-6)
    lin, expected = oracle.linearize(x), plain.linearize(x)
    np.testing.assert_allclose(lin.vjp(v), expected.vjp(v), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(lin.jvp(u), expected.jvp(u), rtol=1e-4, atol=1e-5)
    assert "exact" in oracle.capabilities
    constants = oracle._engine.graph.constants.values()
    mapped = any(isinstance(array.base, np.memmap) for array in constants)
    assert mapped == (kind != "bytes")


PLAIN = from_onnx(small_net(), threads=1)


@pytest.mark.usefixtures("little")
def test_it_may_be_loaded_before_and_batches_of_one_are_lifted(tmp_path):
    path = saved(small_net(batch=1), tmp_path)
    oracle = from_onnx(load(path), threads=1)
    x = RNG.standard_normal((3, 1, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(oracle(x), PLAIN(x), rtol=1e-5, atol=1e-6)
    assert oracle.batch == "lifted"
    np.testing.assert_array_equal(oracle.deterministic()(x), oracle(x))


@pytest.mark.usefixtures("little")
def test_an_old_opset_and_half_weights(tmp_path):
    half = small_net(opset=11)
    for tensor in half.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(weight(tensor.name, array.astype(np.float16)))
    for given in [*half.graph.input, *half.graph.output]:
        given.type.tensor_type.elem_type = TensorProto.FLOAT16
    x = RNG.standard_normal((3, 1, 8, 8)).astype(np.float32)
    oracle = from_onnx(saved(half, tmp_path), threads=1)
    judge(oracle, x)
    np.testing.assert_allclose(oracle(x), PLAIN(x), rtol=2e-2, atol=2e-2)


@pytest.mark.usefixtures("little")
def test_the_derivative_file_has_its_weights_beside_it(tmp_path):
    made = differentiate(saved(small_net(), tmp_path), mode="value_and_vjp")
    assert made.weights
    path = made.save(tmp_path / "d.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "d.onnx", "d.onnx.data", "net.onnx", "net.onnx.weights",
    ]  # fmt: skip
    onnx.checker.check_model(str(path), full_check=True)
    x, v = RNG.standard_normal((2, 1, 8, 8)).astype(np.float32), np.ones((2, 3), np.float32)
    y, gradient = onnxruntime.InferenceSession(str(path)).run(None, {"x": x, "ct_y": v})
    np.testing.assert_allclose(y, PLAIN(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, PLAIN.linearize(x).vjp(v), rtol=1e-4, atol=1e-5)
    again = differentiate(path, mode="jvp", wrt=["ct_y"], outputs=["grad_x"])
    assert again.outputs == ("tanout_grad_x",)


@pytest.mark.usefixtures("little")
def test_weights_that_changed_since_loading(tmp_path):
    path = saved(small_net(), tmp_path)
    loaded = load(path)
    with (tmp_path / "net.onnx.weights").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ModelError, match=r"net\.onnx\.weights' has changed"):
        from_onnx(loaded, threads=1)


@pytest.mark.usefixtures("little")
def test_a_token_in_a_file_opens_nothing(tmp_path):
    loaded = load(saved(small_net(), tmp_path))
    (tmp_path / "thief.onnx").write_bytes(loaded.SerializeToString())
    with pytest.raises(ModelError, match="no file"):
        load(tmp_path / "thief.onnx")


SIDE, LAYERS = 11_600, 4


def giant(folder):
    """Four layers of 11,600 x 11,600: 2.15 GB of weights, written layer by layer."""
    nodes, tensors = [], []
    rng = np.random.default_rng(0)
    with (folder / "giant.weights").open("wb") as file:
        for i in range(LAYERS):
            rows = (rng.standard_normal((SIDE, SIDE), np.float32) / SIDE**0.5).astype(np.float32)
            tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[SIDE, SIDE])
            tensor.data_location = TensorProto.EXTERNAL
            for key, entry in (
                ("location", "giant.weights"), ("offset", file.tell()), ("length", rows.nbytes)
            ):  # fmt: skip
                tensor.external_data.add(key=key, value=str(entry))
            file.write(rows.data)
            tensors.append(tensor)
            given, made = f"h{i}" if i else "x", f"h{i + 1}" if i < LAYERS - 1 else "y"
            flip = {"transB": i % 2}
            nodes += [
                helper.make_node("Gemm", [given, f"w{i}"], [f"a{i}"], **flip),
                helper.make_node("Tanh", [f"a{i}"], [made]),
            ]
    net = model(nodes, [value("x", ["N", SIDE])], [value("y", ["N", SIDE])], tensors)
    (folder / "giant.onnx").write_bytes(net.SerializeToString())
    return folder / "giant.onnx"


def judge_giant(path, kind):
    """Run in a process of its own: what it prints are bytes, at their peak."""
    source = onnx.load(path) if kind == "proto" else path
    oracle = from_onnx(source, threads=1)
    x = np.random.default_rng(1).standard_normal((1, SIDE)).astype(np.float32)
    v, u = np.random.default_rng(2).standard_normal((2, 1, SIDE)).astype(np.float32)
    lin = oracle.linearize(x)
    pulled, pushed = lin.vjp(v), lin.jvp(u)
    h = {"x": x[0].astype(np.float64)}
    exact, state = u[0].astype(np.float64), h["x"]
    for i in range(LAYERS):
        w = np.memmap(path.parent / "giant.weights", np.float32, "r", i * SIDE * SIDE * 4,
                      (SIDE, SIDE))  # fmt: skip
        w = w.T if i % 2 else w
        state = np.tanh(state.astype(np.float32) @ w).astype(np.float64)
        exact = (exact.astype(np.float32) @ w) * (1 - state**2)
    assert np.linalg.norm(pushed[0] - exact) <= 1e-4 * np.linalg.norm(exact)
    left, right = np.sum(pushed * v, dtype=np.float64), np.sum(pulled * u, dtype=np.float64)
    assert abs(left - right) <= 1e-4 * abs(left) + 1e-6 * SIDE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.skipif(not os.environ.get("PERTCORE_FULL"), reason="4 GB of disk: PERTCORE_FULL=1")
@pytest.mark.parametrize("kind", ["path", "proto"])
def test_more_than_two_gigabytes(kind, tmp_path):
    path = giant(tmp_path)
    assert (tmp_path / "giant.weights").stat().st_size > 2**31
    code = (
        "from pathlib import Path; from tests.adapters.onnx.test_large import judge_giant;"
        f"print(judge_giant(Path({str(path)!r}), {kind!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 10 * 2**30


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_a_large_matrix_is_never_copied_turned(op, monkeypatch):
    monkeypatch.setattr(linalg, "LARGE", 64)
    kept.forget()
    w = RNG.standard_normal((5, 7)).astype(np.float32)
    node = helper.make_node(op, ["x", "w"], ["y"])
    shape = ["N", 5] if op == "Gemm" else ["N", 3, 5]
    net = model([node], [value("x", shape)], [value("y", [*shape[:-1], 7])], [weight("w", w)])
    oracle = from_onnx(net, threads=1)
    for many in (False, True):
        nodes = oracle._engine.plan("vjp", many=many).nodes
        assert "Transpose" not in {node.op for node in nodes}
        assert all(array.shape != (7, 5) for array in oracle._engine.graph.constants.values())
    x = RNG.standard_normal((4, *oracle.input_shape)).astype(np.float32)
    judge(oracle, x)
    v = RNG.standard_normal((2, 4, *oracle.output_shape)).astype(np.float32)
    np.testing.assert_allclose(oracle.linearize(x).vjp(v), v @ w.T, rtol=1e-4, atol=1e-5)
    kept.forget()
