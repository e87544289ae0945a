"""Derivatives by every float input of an operator at once, its weights and bounds among them."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pertcore.adapters.onnx.differentiate import differentiate
from tests.adapters.onnx.models import model, value
from tests.adapters.onnx.node_cases import Case, check

RNG = np.random.default_rng(11)


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape):
    return (0.3 + RNG.random(shape)).astype(np.float32)


def case(op, *arguments, opset=18, outputs=1, **attrs):
    """The operator alone: its floats move, its integers are weights, None is left out."""
    names = ["" if array is None else f"x{i}" for i, array in enumerate(arguments)]
    given = {name: np.asarray(a) for name, a in zip(names, arguments) if a is not None}
    moving = {name: a for name, a in given.items() if a.dtype == np.float32}
    fixed = [numpy_helper.from_array(a, name) for name, a in given.items() if name not in moving]
    made = [f"y{i}" for i in range(outputs)]
    whole = model(
        [helper.make_node(op, names, made, **attrs)],
        [value(name, list(a.shape)) for name, a in moving.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made],
        fixed,
        opset=opset,
    )
    expected = onnxruntime.InferenceSession(whole.SerializeToString()).run(None, moving)
    return Case(op, whole, tuple(moving.values()), tuple(made), tuple(expected))


IMAGE, LINE = numbers(2, 4, 7, 6), numbers(2, 4, 9)
INDEX = np.array([[[0, 1], [1, 0]], [[1, 1], [1, 1]]])
CASES = [
    case("Conv", IMAGE, numbers(3, 4, 3, 2), numbers(3)),
    case("Conv", IMAGE, numbers(6, 2, 3, 3), numbers(6), group=2, pads=[1, 0, 2, 1]),
    case("Conv", IMAGE, numbers(4, 1, 3, 3), group=4, strides=[2, 2], dilations=[2, 1]),
    case("Conv", IMAGE, numbers(3, 4, 3, 3), strides=[2, 3], auto_pad="SAME_LOWER"),
    case("Conv", LINE, numbers(3, 4, 3), numbers(3), strides=[2], dilations=[3], pads=[2, 2]),
    case("ConvTranspose", IMAGE, numbers(4, 3, 3, 2), numbers(3), strides=[2, 3]),
    case("ConvTranspose", IMAGE, numbers(4, 2, 3, 3), group=2, pads=[1, 1, 0, 1]),
    case(
        "ConvTranspose",
        LINE,
        numbers(4, 3, 3),
        numbers(3),
        strides=[3],
        dilations=[2],
        output_padding=[2],
    ),
    case(
        "BatchNormalization", IMAGE, numbers(4), numbers(4), numbers(4), positive(4), epsilon=0.01
    ),
    case("InstanceNormalization", IMAGE, numbers(4), numbers(4)),
    case("LayerNormalization", IMAGE, numbers(6), numbers(6)),
    case("LayerNormalization", IMAGE, numbers(7, 6), axis=2, epsilon=0.1, outputs=3),
    case("GroupNormalization", IMAGE, numbers(4), numbers(4), num_groups=2, opset=21),
    case("RMSNormalization", numbers(3, 5), numbers(5), opset=23),
    case("PRelu", IMAGE, numbers(4, 1, 1)),
    case("Clip", numbers(3, 5), np.float32(-0.6), np.float32(0.7)),
    case("Clip", numbers(3, 5), None, np.float32(0.1)),
    case("Clip", numbers(3, 5), np.float32(0.5), np.float32(-0.5)),
    case("Pad", numbers(3, 4), np.array([1, 0, 2, 3]), np.float32(0.4)),
    case("Pad", numbers(3, 4), np.array([2, -1]), np.float32(0.4), np.array([-1])),
    case("Gemm", numbers(3, 4), numbers(5, 4), numbers(5), transB=1, alpha=0.3, beta=2.0),
    case("Einsum", numbers(2, 3, 4), numbers(3, 4, 2), equation="ijk,jkl->li"),
    case("Einsum", numbers(4, 4), equation="ii->i"),
    case("Einsum", numbers(3, 3), equation="ii"),
    case("Einsum", numbers(2, 4, 4), numbers(4), equation="bii,i->b"),
    case("Einsum", numbers(3, 2, 3, 3), equation="iaii->a"),
    case("Einsum", numbers(2, 3, 4), numbers(2, 4, 5), equation="...ij,...jk->...ik"),
    case("Einsum", numbers(2, 1, 3, 4), numbers(5, 4, 2), equation="a...ij,...jk->a...ik"),
    case("Einsum", numbers(2, 3), numbers(2, 3), equation=" ...i, ...i "),
    case("Einsum", numbers(1, 3), numbers(3, 2), equation="...i,ij->...j"),
    case("Einsum", numbers(2, 3, 3), equation="...ii->...i"),
    case("GatherND", numbers(2, 3, 4), np.array([[1], [2]]), batch_dims=1),
    case("GatherND", numbers(2, 2, 3, 2), INDEX[..., None], batch_dims=2),
    case(
        "GatherND", numbers(2, 3, 2), np.array([[[0, 1], [0, 1]], [[2, 0], [1, 1]]]), batch_dims=1
    ),
    case("ScatterND", numbers(3, 2), np.array([[2], [0]]), numbers(2, 2), reduction="mul"),
    case("Where", np.array([[True], [False]]), numbers(2, 3), numbers(3)),
    case("DequantizeLinear", np.array([[3, -4], [5, 7]], np.int8), np.float32(0.3)),
    case(
        "DequantizeLinear",
        np.array([[3, -4], [5, 7], [1, 2]], np.int8),
        positive(3),
        np.array([1, 2, -1], np.int8),
        axis=0,
    ),
    case(
        "DequantizeLinear",
        RNG.integers(-9, 9, (2, 5, 3)).astype(np.int8),
        positive(2, 3, 3),
        axis=1,
        block_size=2,
        opset=21,
    ),
]


@pytest.mark.parametrize("one", CASES, ids=lambda c: c.name)
def test_all_inputs_at_once(one):
    outcome = check(one)
    assert outcome.kind == "passed", outcome.reason


def test_wrt_takes_in_weights():
    whole = case("Conv", IMAGE, numbers(3, 4, 3, 2), numbers(3)).model
    graph = differentiate(whole, wrt=["x1", "x2"])
    assert graph.outputs == ("grad_x1", "grad_x2")
    made = [v.type.tensor_type.shape.dim for v in graph.model.graph.output]
    assert [[d.dim_value for d in dims] for dims in made] == [[3, 4, 3, 2], [3]]


@pytest.mark.parametrize(
    "x, factors",
    [([2, 3, 4], [12, 8, 6]), ([2, 0, 4], [0, 8, 0]), ([0, 0, 4], [0, 0, 0])],
)
@pytest.mark.parametrize("op", ["ReduceProd", "CumProd"])
def test_products_with_zeros(op, x, factors):
    """d prod / d x_i is the product of the others, zeros or not."""
    row = np.array([x], np.float32)
    axis, shape = (np.array([1]), [1, 1]) if op == "ReduceProd" else (np.array(1), [1, 3])
    cotangent = np.zeros(shape, np.float32)
    cotangent[0, -1] = 1
    graph = differentiate(case(op, row, axis, opset=26).model)
    session = onnxruntime.InferenceSession(graph.model.SerializeToString())
    found = session.run(None, {"x0": row, "ct_y0": cotangent})[0]
    np.testing.assert_allclose(found, [factors], atol=1e-6)
