"""What is refused when a model is read, and with which words."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.load import load
from pertcore.errors import InputError, ModelError
from tests.adapters.onnx.models import model, small_net, value, weight


def add(elements=TensorProto.FLOAT, inputs=("x", "z")):
    node = helper.make_node("Add", ["x", "z"], ["y"])
    given = [value(name, ["N", 2], elements) for name in inputs]
    return model([node], given, [value("y", ["N", 2], elements)])


def external(folder, location, *, make=True):
    net = small_net()
    tensor = net.graph.initializer[2]
    if make:
        (folder / "w.bin").write_bytes(tensor.raw_data)
    size = len(tensor.raw_data)
    set_external_data(tensor, location, offset=0, length=size)
    tensor.ClearField("raw_data")
    path = folder / "net.onnx"
    path.write_bytes(net.SerializeToString())
    return path


def test_a_path_bytes_and_a_proto_are_the_same_model(tmp_path):
    net = small_net()
    path = tmp_path / "net.onnx"
    path.write_bytes(net.SerializeToString())
    x = np.random.default_rng(0).random((2, 1, 8, 8)).astype(np.float32)
    values = [
        from_onnx(source, threads=1)(x) for source in (path, str(path), path.read_bytes(), net)
    ]
    for other in values[1:]:
        np.testing.assert_array_equal(other, values[0])


@pytest.mark.parametrize("keep", [0, 0.01, 0.2, 0.7, 0.95, 0.999])
def test_truncated(tmp_path, keep):
    path, content = tmp_path / "cut.onnx", small_net().SerializeToString()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ModelError, match=r"cut"):
        load(path)


@pytest.mark.parametrize("text", ["# a model\nlayers: 3\n", "hello", "{}"])
def test_text(text):
    with pytest.raises(ModelError, match="not an ONNX model"):
        load(text.encode())


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "absent.onnx")


def test_another_type():
    with pytest.raises(InputError, match="list"):
        load([1, 2])


def test_missing_weights():
    net = small_net()
    del net.graph.initializer[2]
    with pytest.raises(ModelError, match=r"'m'.*weights are missing"):
        load(net)


def test_weights_with_too_few_bytes():
    net = small_net()
    net.graph.initializer[2].raw_data = net.graph.initializer[2].raw_data[:-4]
    with pytest.raises(ModelError, match="'m' hold 764 bytes"):
        load(net)


def test_external_data_beside_the_model(tmp_path):
    path = external(tmp_path, "w.bin")
    x = np.ones((1, 1, 8, 8), np.float32)
    np.testing.assert_array_equal(
        from_onnx(path, threads=1)(x), from_onnx(small_net(), threads=1)(x)
    )


def test_external_data_outside_the_folder(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "w.bin").write_bytes(b"0" * 768)
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(external(inner, "../w.bin"))
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(external(inner, str(tmp_path / "w.bin")))


def test_external_data_behind_a_link(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"0" * 768)
    (inner / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(external(inner, "link.bin"))


def test_external_data_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match=r"no file 'w.bin'"):
        load(external(tmp_path, "w.bin", make=False))


def test_external_data_of_bytes(tmp_path):
    path = external(tmp_path, "w.bin")
    with pytest.raises(ModelError, match="give its path"):
        load(path.read_bytes())


def test_several_inputs_are_named():
    with pytest.raises(InputError, match=r"x, z.*input="):
        from_onnx(add())
    with pytest.raises(InputError, match=r"values for z with freeze="):
        from_onnx(add(), input="x")
    with pytest.raises(InputError, match="has x, z"):
        from_onnx(add(), freeze={"q": np.zeros((1, 2))})
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        from_onnx(add(), freeze={"z": np.zeros(3)})


def test_frozen_input():
    z = np.array([[2.0, -1.0]], np.float32)
    oracle = from_onnx(add(), input="x", freeze={"z": z}, threads=1)
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(oracle(x), x + z)
    np.testing.assert_array_equal(oracle.linearize(x).vjp(z), z)


def test_frozen_integers():
    nodes = [
        helper.make_node("Gather", ["w", "z"], ["r"]),
        helper.make_node("Mul", ["x", "r"], ["y"]),
    ]
    inputs = [value("x", ["N", 3]), value("z", [1], TensorProto.INT64)]
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    net = model(nodes, inputs, [value("y", ["N", 3])], [weight("w", table)])
    oracle = from_onnx(net, freeze={"z": np.array([1])}, threads=1)
    lin = oracle.linearize(np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(lin.vjp(np.ones((2, 3), np.float32)), [[3, 4, 5]] * 2)
    with pytest.raises(InputError, match="only a float input"):
        from_onnx(net, input="z", freeze={"x": np.ones((1, 3), np.float32)})


def test_an_initialiser_listed_as_input_is_no_input():
    net = small_net()
    net.graph.input.append(value("m", [3, 64]))
    assert from_onnx(net, threads=1).input_shape == (1, 8, 8)


def test_a_folder_is_called_one(tmp_path):
    with pytest.raises(InputError, match=r"is a folder: give the \.onnx file"):
        load(tmp_path)


def test_several_outputs_are_named():
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["q"])]
    net = model(nodes, [value("x", ["N", 2])], [value("y", ["N", 2]), value("q", ["N", 2])])
    with pytest.raises(InputError, match=r"y, q.*output="):
        from_onnx(net)
    np.testing.assert_array_equal(from_onnx(net, output="q", threads=1)(np.ones((1, 2))), -1)


def test_free_dimensions_ask_for_a_shape():
    net = model(
        [helper.make_node("Relu", ["x"], ["y"])], [value("x", ["N", "W"])], [value("y", None)]
    )
    with pytest.raises(InputError, match=r"free dimensions W.*input_shape=\(64,\)"):
        from_onnx(net)
    assert from_onnx(net, input_shape=(3,), threads=1).output_shape == (3,)


def test_a_model_local_function_is_inlined():
    twice = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )
    node = helper.make_node("Twice", ["x"], ["y"], domain="local")
    net = model([node], [value("x", ["N", 2])], [value("y", ["N", 2])], functions=[twice])
    net.opset_import.append(helper.make_opsetid("local", 1))
    lin = from_onnx(net, threads=1).linearize(np.ones((1, 2), np.float32))
    np.testing.assert_array_equal(lin.vjp(np.ones((1, 2), np.float32)), [[2, 2]])


def test_an_old_opset_is_converted():
    node = helper.make_node("Add", ["x", "b"], ["y"], broadcast=1, axis=1)
    bias = weight("b", np.array([1.0, 2.0], np.float32))
    inputs = [value("x", [1, 2, 3]), value("b", [2])]
    net = model([node], inputs, [value("y", [1, 2, 3])], [bias], opset=6, ir=3)
    lin = from_onnx(net, threads=1).linearize(np.zeros((2, 2, 3), np.float32))
    np.testing.assert_array_equal(lin.value[:, :, 0], [[1, 2]] * 2)
