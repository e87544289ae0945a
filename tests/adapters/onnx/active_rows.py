"""Operators alone, every float input of which moves: their weights, bounds and coordinates too."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.adapters.onnx.models import model, value
from tests.adapters.onnx.node_cases import Case

RNG = np.random.default_rng(11)


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape):
    return (0.3 + RNG.random(shape)).astype(np.float32)


def case(op, *arguments, opset=18, outputs=1, fixed=(), domain="", **attrs):
    """The operator alone: its floats move but for the places in `fixed`, its integers are weights,
    None is left out. ONNX Runtime tells what is expected, or ONNX's reference for another domain.
    """
    names = ["" if array is None else f"x{i}" for i, array in enumerate(arguments)]
    given = {name: np.asarray(a) for name, a in zip(names, arguments) if a is not None}
    still = {f"x{i}" for i in fixed}
    moving = {k: a for k, a in given.items() if a.dtype == np.float32 and k not in still}
    weights = [numpy_helper.from_array(a, name) for name, a in given.items() if name not in moving]
    made = [f"y{i}" for i in range(outputs)]
    whole = model(
        [helper.make_node(op, names, made, domain=domain, **attrs)],
        [value(name, list(a.shape)) for name, a in moving.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made],
        weights,
        opset=opset,
    )
    if domain:
        whole.opset_import.append(helper.make_opsetid(domain, 1))
        expected = ReferenceEvaluator(whole).run(None, moving)
    else:
        expected = onnxruntime.InferenceSession(whole.SerializeToString()).run(None, moving)
    return Case(op, whole, tuple(moving.values()), tuple(made), tuple(expected))


IMAGE, LINE = numbers(2, 4, 7, 6), numbers(2, 4, 9)
INDEX = np.array([[[0, 1], [1, 0]], [[1, 1], [1, 1]]])
WEIGHTED = [
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


def grid(*shape):
    """Points of a grid, some of them outside."""
    return RNG.uniform(-1.3, 1.3, shape).astype(np.float32)


PLANE, SPACE = numbers(2, 3, 4, 5), numbers(1, 2, 3, 4, 3)
POINTS = grid(2, 3, 4, 2)
GRIDS = [
    *[
        case(
            "GridSample", PLANE, grid(2, 3, 4, 2), mode=m, padding_mode=p, align_corners=a, opset=20
        )
        for m in ("linear", "cubic")
        for p in ("zeros", "border", "reflection")
        for a in (0, 1)
    ],
    case("GridSample", PLANE, POINTS, mode="nearest", opset=20),
    case("GridSample", SPACE, grid(1, 2, 3, 2, 3), mode="linear", opset=20),
    case("GridSample", SPACE, grid(1, 2, 3, 2, 3), padding_mode="reflection", opset=20),
]
REGIONS = np.array([[0.3, 0.4, 3.1, 2.6], [-0.9, 1.1, 4.3, 3.7], [1.2, 0.7, 1.9, 1.4]], np.float32)
IMAGES = np.array([1, 0, 1])
BINS = {"output_height": 2, "output_width": 3}
CORNERS = {"coordinate_transformation_mode": "output_half_pixel"}
ALIGNED = [
    case("RoiAlign", PLANE, REGIONS, IMAGES, sampling_ratio=2, **BINS),
    case(
        "RoiAlign", PLANE, REGIONS, IMAGES, sampling_ratio=3, spatial_scale=0.6, **BINS, **CORNERS
    ),
    case("RoiAlign", PLANE, REGIONS, IMAGES, sampling_ratio=2, mode="max", **BINS),
    case("RoiAlign", PLANE, REGIONS, IMAGES, fixed=(1,)),
    case("RoiAlign", PLANE, REGIONS, IMAGES, fixed=(1,), **BINS, **CORNERS),
    case("RoiAlign", PLANE, REGIONS[:1], IMAGES[:1], fixed=(1,), mode="max", **BINS),
]
DEFORMED = [
    case("DeformConv", PLANE, numbers(2, 3, 2, 2), numbers(2, 8, 3, 4), opset=19),
    case(
        "DeformConv",
        numbers(2, 4, 6, 5),
        numbers(6, 2, 3, 3),
        numbers(2, 36, 3, 3),
        numbers(6),
        positive(2, 18, 3, 3),
        opset=19,
        group=2,
        offset_group=2,
        strides=[2, 1],
        pads=[1, 0, 1, 0],
    ),
    case(
        "DeformConv",
        PLANE,
        numbers(1, 3, 2, 2),
        numbers(2, 8, 5, 6),
        None,
        positive(2, 4, 5, 6),
        opset=22,
        pads=[1, 1, 2, 1],
        dilations=[2, 1],
    ),
]
SIGNAL = numbers(2, 12, 1)
SPECTRA = [
    *[case("DFT", numbers(2, 5, c), axis=1, inverse=i, opset=19) for c in (1, 2) for i in (0, 1)],
    case("DFT", numbers(2, 6, 3, 1), axis=1, onesided=1, opset=19),
    case("DFT", numbers(2, 6, 2), np.array(4), np.array(1), opset=20),
    case("DFT", numbers(2, 6, 1), np.array(9), np.array(-2), onesided=1, opset=20),
    case("STFT", SIGNAL, np.array(3), positive(5)),
    case("STFT", SIGNAL, np.array(4), positive(6), np.array(6), onesided=0),
    case("STFT", SIGNAL, np.array(2), None, np.array(4)),
]
PICKED = [
    case("OneHot", np.array([[0, 2], [-1, 5]]), np.array(4), numbers(2)),
    case("OneHot", np.array([1, 0, 3]), np.array([4]), numbers(2), axis=0),
    case("Unique", np.array([2.0, 1.0, 1.0, 3.0, 4.0, 3.0], np.float32)),
    case("Unique", np.array([2.0, 1.0, 1.0, 3.0], np.float32), sorted=0),
    case("Unique", np.float32([[1, 0, 0], [1, 0, 0], [2, 3, 4]]), axis=0),
    case("TensorScatter", numbers(2, 3, 5, 2), numbers(2, 3, 2, 2), np.array([1, 3]), opset=24),
    case(
        "TensorScatter",
        numbers(2, 4, 3),
        numbers(2, 2, 3),
        np.array([3, 1]),
        opset=24,
        axis=1,
        mode="circular",
    ),
    case("TensorScatter", numbers(2, 4, 3), numbers(2, 2, 3), opset=24),
    case(
        "MaxUnpool",
        numbers(1, 2, 2, 2),
        np.array([[[[0, 3], [10, 9]], [[17, 18], [28, 31]]]]),
        kernel_shape=[2, 2],
        strides=[2, 2],
    ),
    case(
        "MaxUnpool",
        numbers(1, 1, 3),
        np.array([[[1, 2, 6]]]),
        np.array([1, 1, 8]),
        kernel_shape=[2],
        strides=[2],
    ),
    case(
        "MaxUnpool",
        numbers(1, 1, 5),
        np.array([[[1, 2, 2, 6, 1]]]),
        np.array([1, 1, 8]),
        kernel_shape=[3],
        strides=[1],
    ),
    case("Range", np.float32(0.3), np.float32(5.1), np.float32(0.7)),
    case("Range", np.float32(4), np.float32(-2.2), np.float32(-1.3)),
    case("ReverseSequence", numbers(4, 3, 2), np.array([4, 1, 3]), batch_axis=1, time_axis=0),
    case("ReverseSequence", numbers(3, 4), np.array([2, 4, 1]), batch_axis=0, time_axis=1),
    case("MaxPool", numbers(1, 2, 5, 4), kernel_shape=[2, 2], storage_order=1, outputs=1),
    case("Mod", numbers(3, 4), positive(4), fmod=1),
    case("GatherElements", numbers(3, 4), np.array([[1, 0, 2, 0]]), axis=0),
    case("ScatterElements", numbers(3, 4), np.array([[1, 0, 2, 0]]), numbers(1, 4), axis=0),
]
HEADS = (numbers(1, 4, 3, 5), numbers(1, 2, 6, 5), numbers(1, 2, 6, 3))


def modifier(op, number):
    """scores -> op(scores, number)."""
    return helper.make_graph(
        [helper.make_node(op, ["s", "c"], ["t"])],
        op,
        [value("s", [1, 4, 3, 6])],
        [value("t", [1, 4, 3, 6])],
        [numpy_helper.from_array(np.float32(number), "c")],
    )


FLEXIBLE = [
    case("FlexAttention", *HEADS, opset=26, domain="ai.onnx.preview"),
    case(
        "FlexAttention",
        *HEADS,
        opset=26,
        domain="ai.onnx.preview",
        scale=0.4,
        score_mod=modifier("PRelu", 0.3),
        prob_mod=modifier("Pow", 1.5),
    ),
]
CASES = [*WEIGHTED, *GRIDS, *ALIGNED, *DEFORMED, *SPECTRA, *PICKED, *FLEXIBLE]
