"""Files that ask for too much, or for what cannot be: refused with the reason, at once."""

import time
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pertcore.adapters.onnx import build as building
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.derive import Product
from pertcore.adapters.onnx.load import load
from pertcore.errors import CapabilityError, ModelError
from tests.adapters.onnx.models import model, small_net, value, weight

BYTES, SECONDS = 100 << 20, 5


def refused(net, match, error=ModelError, **options):
    """Refuses with these words, within 100 MB and 5 s."""
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(error, match=match):
        from_onnx(net, threads=1, **options)
    assert time.monotonic() - began < SECONDS
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BYTES


def bomb(nodes, weights, *, shape=("N", 4)):
    """y = x + what the nodes call `big`."""
    nodes = [*nodes, helper.make_node("Add", ["x", "big"], ["y"])]
    return model(nodes, [value("x", shape)], [value("y", None)], weights)


def node(op, inputs, **attrs):
    return helper.make_node(op, inputs, ["big"], op.lower(), **attrs)


@pytest.mark.parametrize("side", [10**6, 2**31 - 1, 2**40, 2**62])
def test_constant_of_shape(side):
    shape = weight("s", np.array([side, side]))
    refused(bomb([node("ConstantOfShape", ["s"])], [shape]), r"ConstantOfShape.*at most 2\^28")


def test_expand_and_tile():
    one, shape = weight("o", np.ones((1, 1), np.float32)), weight("s", np.array([2**20, 2**20]))
    for op in ("Expand", "Tile"):
        refused(bomb([node(op, ["o", "s"])], [one, shape]), rf"{op}.*at most 2\^28")
        spread = [helper.make_node(op, ["x", "s"], ["y"])]
        refused(
            model(spread, [value("x", ["N", 1])], [value("y", None)], [shape]), r"at most 2\^28"
        )


def test_range():
    ends = [weight(n, np.array(v)) for n, v in (("a", 0), ("b", 10**12), ("c", 1))]
    whole = node("Range", ["a", "b", "c"])
    whole.output[0] = "whole"
    cast = helper.make_node("Cast", ["whole"], ["big"], to=TensorProto.FLOAT)
    refused(bomb([whole, cast], ends), r"Range.*at most 2\^28")


def test_resize_and_pad():
    scales = weight("s", np.array([1, 1, 1e6, 1e6], np.float32))
    big = helper.make_node("Resize", ["x", "", "s"], ["y"])
    x, y = value("x", ["N", 1, 4, 4]), value("y", None)
    refused(model([big], [x], [y], [scales]), r"Resize.*at most 2\^28")
    pads = weight("p", np.array([0, 0, 0, 0, 0, 0, 2**40, 0]))
    refused(model([helper.make_node("Pad", ["x", "p"], ["y"])], [x], [y], [pads]), r"Pad.*2\^28")


def test_many_constants_that_are_small_one_by_one():
    nodes, weights, last = [], [], "x"
    for i in range(40):
        weights.append(weight(f"s{i}", np.array([2**24 - i])))
        nodes.append(helper.make_node("ConstantOfShape", [f"s{i}"], [f"b{i}"]))
        nodes.append(helper.make_node("ReduceSum", [f"b{i}"], [f"r{i}"]))
        nodes.append(helper.make_node("Add", [last, f"r{i}"], [f"y{i}"]))
        last = f"y{i}"
    net = model(nodes, [value("x", ["N", 1])], [value(last, None)], weights)
    with pytest.raises(ModelError, match="before it has seen an input"):
        from_onnx(net, threads=1)


def test_sizes_that_are_squared_again_and_again():
    nodes = [helper.make_node("Shape", ["x"], ["s0"])]
    for i in range(60):
        nodes.append(helper.make_node("Add", [f"s{i}", f"s{i}"], [f"a{i}"]))
        nodes.append(helper.make_node("Mul", [f"s{i}", f"a{i}"], [f"s{i + 1}"]))
    nodes += [node("ConstantOfShape", ["s60"])]
    began = time.monotonic()
    with pytest.raises((ModelError, CapabilityError)):
        from_onnx(bomb(nodes, []), threads=1)
    assert time.monotonic() - began < SECONDS


def test_negative_and_overflowing_dimensions():
    for dims in ([-3, 64], [2**62, 2**62], [3, 65]):
        net = small_net()
        net.graph.initializer[2].dims[:] = dims
        refused(net, "negative|bytes")
    net = small_net()
    net.graph.initializer[2].ClearField("raw_data")
    net.graph.initializer[2].dims[:] = [2**40, 2**20]
    refused(net, "incomplete")


def test_an_input_beyond_all_bounds():
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    net = model(relu, [value("x", ["N", 2**31, 2**31])], [value("y", None)])
    refused(net, r"numbers a sample: at most 2\^25", CapabilityError)


def test_a_batch_beyond_all_bounds():
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    net = model(relu, [value("x", [2**40, 3])], [value("y", None)])
    refused(net, "in its fixed batch of 1099511627776: at most", CapabilityError)


@pytest.mark.parametrize("batch", ["N", 1])
def test_tensors_within_bounds_that_are_many(batch):
    """A thousand inputs explain millions of numbers, not hundreds of millions."""

    def padded(width):
        pads = weight("p", np.array([0, 0, 0, width, 0, 0, 0, width]))
        nodes = [helper.make_node("Pad", ["x", "p"], ["y"])]
        return model(nodes, [value("x", [batch, 1, 32, 32])], [value("y", None)], [pads])

    assert from_onnx(padded(40), threads=1).output_shape == (1, 32, 112)
    refused(padded(10**6), r"numbers a sample, most of them by Pad.*for 1024 inputs and 8 weights")


def test_products_that_are_many():
    """A square of 64 is padded to one of 4096, times itself: 2^36 products."""
    pads = weight("p", np.array([0, 0, 0, 0, 4032, 4032]))
    nodes = [
        helper.make_node("Pad", ["x", "p"], ["a"]),
        helper.make_node("MatMul", ["a", "a"], ["y"]),
    ]
    net = model(nodes, [value("x", ["N", 64, 64])], [value("y", None)], [pads])
    refused(net, "products a sample, most of them by MatMul.*for 4096 inputs")


def test_cycles_and_order():
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    refused(model(nodes, [value("x", ["N", 2])], [value("b", None)]), "cyclic")


def test_a_name_given_twice():
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])]
    refused(model(nodes, [value("x", ["N", 2])], [value("y", None)]), "two tensors.*'y'")
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    refused(model(relu, [value("x", ["N", 2])] * 2, [value("y", None)]), "two tensors.*'x'")


def test_graphs_inside_graphs():
    inner = helper.make_graph([], "inner", [], [value("x", None)])
    for _ in range(20):
        both = {"then_branch": inner, "else_branch": inner}
        branch = helper.make_node("If", ["c"], ["y"], **both)
        inner = helper.make_graph([branch], "inner", [], [value("y", None)])
        if inner.ByteSize() > 1 << 20:
            break
    chain = helper.make_graph([], "inner", [], [value("x", None)])
    for _ in range(25):
        loop = helper.make_node("Loop", ["", "c", "x"], ["y"], body=chain)
        chain = helper.make_graph([loop], "inner", [], [value("y", None)])
    net = model(chain.node, [value("x", ["N", 2])], [value("y", None)])
    refused(net, "16 deep|cut off|not an ONNX model")


def test_functions_that_call_themselves_or_too_often():
    def function(name, calls):
        parts, last = [], "a"
        for i, call in enumerate(calls):
            parts.append(helper.make_node(call, [last], [f"t{i}"], domain="own"))
            last = f"t{i}"
        parts.append(helper.make_node("Relu", [last], ["b"]))
        imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        return helper.make_function("own", name, ["a"], ["b"], parts, imports)

    def net(*functions):
        call = helper.make_node("F0", ["x"], ["y"], domain="own")
        made = model([call], [value("x", ["N", 2])], [value("y", None)], functions=functions)
        made.opset_import.append(helper.make_opsetid("own", 1))
        return made

    refused(net(function("F0", ["F1"]), function("F1", ["F0"])), "calls itself")
    tower = [function(f"F{i}", [f"F{i + 1}"] * 2) for i in range(40)]
    refused(net(*tower, function("F40", [])), "write out more than")


def test_operators_of_others_are_named():
    for domain in ("own", "com.nobody"):
        net = model(
            [helper.make_node("Twist", ["x"], ["y"], domain=domain)],
            [value("x", ["N", 2])],
            [value("y", None)],
        )
        net.opset_import.append(helper.make_opsetid(domain, 1))
        refused(net, f"{domain}::Twist", CapabilityError)


def test_nodes_that_are_not_valid():
    x, y = [value("x", ["N", 2])], [value("y", None)]
    refused(model([helper.make_node("Nothing", ["x"], ["y"])], x, y), "Nothing")
    refused(model([helper.make_node("MatMul", ["x"], ["y"])], x, y), "MatMul.*input")
    refused(model([helper.make_node("MatMul", ["x", ""], ["y"])], x, y), "MatMul.*empty")
    refused(model([helper.make_node("Relu", ["x"], ["y"], axis=1)], x, y), "axis")
    refused(model([helper.make_node("Concat", ["x", "x"], ["y"], axis=1.5)], x, y), "axis")


def test_opsets_of_the_future():
    net = small_net()
    net.opset_import[0].version = 999
    refused(net, "opset 999")


def test_an_input_that_is_no_tensor():
    net = small_net()
    net.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(onnx.TypeProto()))
    refused(net, "not a tensor")


def test_weights_inside_a_node():
    constant = helper.make_node("Constant", [], ["big"], value=weight("", np.ones(4, np.float32)))
    constant.attribute[0].t.dims[0] = 2**50
    refused(bomb([constant], []), "bytes")
    constant.attribute[0].t.data_location = TensorProto.EXTERNAL
    entry = constant.attribute[0].t.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    with pytest.raises(ModelError, match="outside the model"):
        load(bomb([constant], []))


def test_external_data_of_another_size(tmp_path):
    net = small_net()
    tensor = net.graph.initializer[2]
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(1 << 40)
    onnx.external_data_helper.set_external_data(tensor, "w.bin")
    tensor.ClearField("raw_data")
    (tmp_path / "net.onnx").write_bytes(net.SerializeToString())
    refused(tmp_path / "net.onnx", "needs 768")


def test_external_data_that_is_a_device(tmp_path):
    net = small_net()
    tensor = net.graph.initializer[2]
    onnx.external_data_helper.set_external_data(tensor, ".")
    tensor.ClearField("raw_data")
    (tmp_path / "net.onnx").write_bytes(net.SerializeToString())
    refused(tmp_path / "net.onnx", "no file")


def test_an_input_left_out_among_many():
    """ONNX Runtime crashes on it."""
    nodes = [helper.make_node("Max", ["x", "", "x"], ["y"])]
    refused(model(nodes, [value("x", ["N", 2])], [value("y", None)]), "leaves out an input")


def test_an_input_left_out_at_the_end():
    """It is legal, and ONNX Runtime 1.32 crashes on it."""
    scale = weight("s", np.ones(3, np.float32))
    nodes = [helper.make_node("LayerNormalization", ["x", "s", ""], ["y"])]
    oracle = from_onnx(model(nodes, [value("x", ["N", 3])], [value("y", None)], [scale]), threads=1)
    np.testing.assert_allclose(oracle(np.eye(1, 3, dtype=np.float32)).sum(), 0, atol=1e-6)


def test_an_attribute_that_onnx_runtime_reads_otherwise():
    """A hundred is no truth value: ONNX's types keep the axis, ONNX Runtime does not."""
    parts = [helper.make_node("ReduceLogSum", ["x", "one"], ["y"], keepdims=100)]
    one = weight("one", np.array([1]))
    net = model(parts, [value("x", [1, 3, 4])], [value("y", None)], [one])
    oracle = from_onnx(net, threads=1)
    with pytest.raises(ModelError, match="contradicts itself"):
        oracle.linearize(np.ones((2, 3, 4), np.float32))


def test_a_model_for_which_memory_is_short(monkeypatch):
    def short(*_, **__):
        raise MemoryError("no 9 GB")

    oracle = from_onnx(small_net(), threads=1)
    lin = oracle.linearize(np.ones((2, 1, 8, 8), np.float32))
    monkeypatch.setattr(Product, "model", short)
    with pytest.raises(ModelError, match="more memory than there is: no 9 GB"):
        lin.vjp(np.ones((2, 3), np.float32))
    monkeypatch.setattr(building, "build", short)
    refused(small_net(seed=5), "more memory than there is: no 9 GB")


@pytest.mark.parametrize("left", [["", "y"], ["y", ""]])
def test_an_output_left_out_among_many(left):
    """It is legal, and ONNX Runtime 1.32 crashes on it. One left out counts: halves, no whole."""
    net = model(
        [helper.make_node("Split", ["x"], left, axis=1, num_outputs=2)],
        [value("x", ["N", 4])],
        [value("y", None)],
    )
    oracle, x = from_onnx(net, threads=1), np.arange(4, dtype=np.float32)[None]
    half = slice(0, 2) if left[0] else slice(2, 4)
    np.testing.assert_array_equal(oracle(x), x[:, half])
    pulled = oracle.linearize(x).vjp(np.ones((1, 2), np.float32))
    assert pulled[0, half].all() and pulled.sum() == 2


def test_what_the_output_does_not_need_is_not_run():
    """A bomb beside the path neither goes off nor stands in the way."""
    sides = weight("s", np.array([2**31, 2**31]))
    nodes = [helper.make_node("Relu", ["x"], ["y"]), node("ConstantOfShape", ["s"])]
    outputs = [value("y", None), value("big", None)]
    net = model(nodes, [value("x", ["N", 2])], outputs, [sides])
    oracle = from_onnx(net, output="y", threads=1)
    np.testing.assert_array_equal(oracle(np.array([[-1.0, 2.0]], np.float32)), [[0, 2]])


@pytest.mark.parametrize("turns", [2**40, None])
def test_a_loop_without_an_end(turns):
    truth = TensorProto.BOOL
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Sin", ["h"], ["k"])],
        "body",
        [value("i", [], TensorProto.INT64), value("c", [], truth), value("h", ["N", 2])],
        [value("d", [], truth), value("k", ["N", 2])],
    )
    given = ["" if turns is None else "m", "go", "x"]
    weights = [weight("go", np.array(True))]
    weights += [] if turns is None else [weight("m", np.array(turns))]
    net = model(
        [helper.make_node("Loop", given, ["y"], body=body)],
        [value("x", ["N", 2])],
        [value("y", ["N", 2])],
        weights,
    )
    refused(net, "Loop.*2^20 turns".replace("^", r"\^"))


@pytest.mark.parametrize("name", [b"image", b"width", b"score", b"scale"])
def test_the_names_of_inputs_outputs_and_weights_are_text(name):
    given, made = [value("image", ["N", "width"])], [value("score", None)]
    scale = weight("scale", np.float32(2))
    net = model([helper.make_node("Mul", ["image", "scale"], ["score"])], given, made, [scale])
    with pytest.raises(ModelError, match="no text"):
        from_onnx(net.SerializeToString().replace(name, b"\xb8" * 5), input_shape=(3,))
