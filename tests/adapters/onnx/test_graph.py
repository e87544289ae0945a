"""The emitter: shapes with symbols, known shape values, folding within bounds, duplicates."""

import ml_dtypes
import numpy as np
import pytest
from onnx import numpy_helper

from pertcore.adapters.onnx import folding
from pertcore.adapters.onnx.export import export
from pertcore.adapters.onnx.graph import Graph
from pertcore.adapters.onnx.op import Op
from pertcore.adapters.onnx.symbolic import symbol
from pertcore.errors import ModelError

N, H = symbol("N"), symbol("H")


@pytest.fixture
def op():
    graph = Graph()
    graph.input("x", np.float32, (N, 3, H, 8))
    return Op(graph)


def test_windows_keep_symbols(op):
    x, w = op.tensor("x"), np.zeros((4, 3, 3, 3), np.float32)
    assert op.Conv(x, w, pads=[1, 1, 1, 1]).shape == (N, 4, H, 8)
    assert op.Conv(x, w, strides=[2, 2]).shape == (N, 4, (H - 3) // 2 + 1, 3)
    assert op.MaxPool(x, kernel_shape=[2, 2], strides=[2, 2]).shape == (N, 3, (H - 2) // 2 + 1, 4)
    up = op.ConvTranspose(x, np.zeros((3, 2, 2, 2), np.float32), strides=[2, 2])
    assert up.shape == (N, 2, 2 * H, 16)


def test_shape_arithmetic_is_followed(op):
    x = op.tensor("x")
    sizes = op.Shape(x)
    batch = op.Gather(sizes, op.const([0]), axis=0)
    rest = op.ReduceProd(op.Slice(sizes, [1], [4]), keepdims=1)
    flat = op.Reshape(x, op.Concat(batch, rest, axis=0))
    assert flat.shape == (N, 24 * H)
    assert op.Reshape(x, [0, -1]).shape == (N, 24 * H)
    assert op.Shape(x, start=1, end=2).value.tolist() == [3]


def test_equal_nodes_are_one_and_idle_ones_none(op):
    x = op.tensor("x")
    assert op.Exp(x).name == op.Exp(x).name
    for idle in (op.Identity(x), x * 1.0, x + 0.0, op.Reshape(x, [0, 3, 0, 8]), op.Pad(x, [0] * 8)):
        assert idle.name == "x"
    assert op.transpose(op.transpose(x, [0, 2, 1, 3]), [0, 2, 1, 3]).name == "x"
    assert len(op.graph.nodes) == 2


def test_constants_are_folded_and_shared(op):
    a = op.const(np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal((op.Transpose(a, perm=[1, 0]) * 2.0).value, 2 * a.value.T)
    assert op.const(np.ones(3)).name == op.const(np.ones(3)).name
    assert op.const(np.ones(3)).name != op.const(np.ones(3, np.float32)).name


def test_folding_is_bounded(op, monkeypatch):
    monkeypatch.setattr(folding, "LARGEST", 100)
    bomb = op.ConstantOfShape(op.const([10**3, 10**3]))
    assert bomb.value is None and bomb.shape == (10**3, 10**3)
    assert op.Expand(op.const(np.float32(1)), [11, 11]).value is None
    assert op.Expand(op.const(np.float32(1)), [9, 11]).value is not None


def test_impossible_shapes_are_a_model_error(op):
    x = op.tensor("x")
    for wrong in (
        lambda: op.Conv(x, np.zeros((4, 2, 3, 3), np.float32)),
        lambda: x + np.zeros(7, np.float32),
        lambda: op.Transpose(x, perm=[0, 0, 1, 2]),
        lambda: op.Concat(x, x, axis=9),
        lambda: op.Reshape(op.const(np.zeros(6, np.float32)), [4]),
    ):
        with pytest.raises(ModelError, match=r"impossible shapes|types"):
            wrong()


def test_a_child_uses_its_parents_values_and_not_the_other_way(op):
    child = Op(op.graph.child())
    made = op.Exp(op.tensor("x"))
    product = child.tensor("x") * child.tensor(made.name)
    assert [node.op for node in child.graph.nodes] == ["Mul"]
    small = child.ReduceMean(child.tensor("x"), [1], keepdims=1)
    assert small.name in op.graph.local
    with pytest.raises(ValueError, match="no value of this graph"):
        op.Exp(op.tensor(product.name))


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i4", "i8", "u1", "u2", "?", "bfloat16"])
@pytest.mark.parametrize("count", [6, 6000])
def test_weights_of_every_type_are_written_whole_and_equal_ones_once(kind, count):
    dtype = ml_dtypes.bfloat16 if kind == "bfloat16" else np.dtype(kind)
    wide = (np.arange(4 * count).reshape(count, 4) % 101).astype(dtype)
    graph = Graph()
    graph.input("x", np.float32, (N,))
    given = [graph.constant(array) for array in (wide[:, ::2], wide[:, ::2].copy(), wide[:, 1::2])]
    assert given[0] == given[1] != given[2]
    made = export(graph, [], ["x"], [("a", given[0]), ("b", given[2])])
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    for name, array in ((given[0], wide[:, ::2]), (given[2], wide[:, 1::2])):
        assert held[name].dtype == array.dtype
        np.testing.assert_array_equal(held[name], array)
