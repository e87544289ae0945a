"""One row or more for every operator with a rule: the node, its constants, where x goes in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

X = ...
RNG = np.random.default_rng(7)


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def positive(*shape):
    return (0.2 + RNG.random(shape)).astype(np.float32)


@dataclass(frozen=True)
class Row:
    """y = op(arguments); X among them is the input (n, *shape), drawn from [low, high]."""

    op: str
    shape: tuple[int, ...] = (3, 4)
    arguments: Sequence[Any] = (X,)
    attrs: dict[str, Any] = field(default_factory=dict)
    low: float = -2.0
    high: float = 2.0
    outputs: int = 1
    output: str = "y0"
    opset: int = 18
    judge: str = "reference"
    fixed: tuple[int, ...] = ()

    def keeps(self, place):
        """Whether the constant at a place is float32 whatever the model's type."""
        return place in self.fixed

    def __str__(self):
        return "-".join([self.op, *(f"{k}={v}" for k, v in self.attrs.items() if k != "value")])[
            :70
        ]


def plain(names, **more):
    return [Row(op, **more) for op in names.split()]


UNARY = [
    *plain("Identity Neg Abs Relu LeakyRelu Elu Celu Selu ThresholdedRelu HardSwish Sigmoid Tanh"),
    *plain("Softplus Softsign Mish Exp Sin Cos Sinh Cosh Atan Asinh Shrink"),
    *plain("Tan Asin Acos Atanh", low=-0.9, high=0.9),
    *plain("Log Sqrt Reciprocal", low=0.2, high=3.0),
    *plain("Acosh", low=1.2, high=3.0),
    Row("Erf", judge="ort"),
    Row("HardSigmoid", attrs={"alpha": 0.4, "beta": 0.3}),
    Row("LeakyRelu", attrs={"alpha": -0.3}),
    Row("Elu", attrs={"alpha": 0.7}),
    Row("Celu", attrs={"alpha": 0.7}),
    Row("Shrink", attrs={"lambd": 0.8, "bias": 0.3}),
    Row("ThresholdedRelu", attrs={"alpha": 0.4}),
    Row("Gelu", opset=20, judge="ort"),
    Row("Gelu", attrs={"approximate": "tanh"}, opset=20),
    Row("Clip", arguments=(X, np.float32(-0.7), np.float32(1.3))),
    Row("Clip", arguments=(X, None, np.float32(0.3))),
    Row("Clip", arguments=(X, np.float32(0.1))),
    Row("PRelu", arguments=(X, positive(3, 1))),
    Row("PRelu", arguments=(X, X)),
    Row("Dropout"),
]
NARY = [
    *[
        Row(op, arguments=(X, numbers(3, 4)))
        for op in ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean")
    ],
    *[Row(op, arguments=(numbers(4), X)) for op in ("Add", "Sub", "Mul", "Max", "Min", "Sum")],
    Row("Mean", arguments=(numbers(4), X), judge="ort"),
    Row("Mean", shape=(1, 4), arguments=(X, numbers(3, 1)), judge="ort"),
    *[Row(op, shape=(1, 4), arguments=(X, numbers(3, 1))) for op in ("Add", "Mul", "Sub")],
    Row("Add", arguments=(X, X)),
    Row("Mul", arguments=(X, X)),
    Row("Max", arguments=(X, numbers(3, 4), numbers(4))),
    Row("Div", arguments=(X, positive(4))),
    Row("Div", arguments=(numbers(3, 4), X), low=0.3),
    Row("Pow", arguments=(X, np.float32(2))),
    Row("Pow", arguments=(X, np.float32(3))),
    Row("Pow", arguments=(X, numbers(3, 4)), low=0.2),
    Row("Pow", arguments=(positive(4), X)),
    Row("Mod", arguments=(X, positive(4)), attrs={"fmod": 1}),
    Row("Mod", arguments=(numbers(3, 4), X), attrs={"fmod": 1}, low=0.4),
    Row("Where", arguments=(np.array([True, False, True, True]), X, numbers(3, 4))),
    Row("Where", arguments=(np.array([True, False, True, True]), numbers(3, 1), X)),
]
REDUCED = (
    "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum "
    "ReduceLogSumExp ReduceSumSquare"
)
REDUCTIONS = [
    *[
        Row(op, (3, 4), (X, np.array(axes)), {"keepdims": keep}, low=0.2)
        for op in REDUCED.split()
        for axes, keep in (([1], 1), ([-1, 1], 0))
    ],
    Row("ReduceSum", (3, 4), (X, np.array([2])), {"keepdims": 0}),
    Row("ReduceMax", (3, 4), (X, np.array([-1])), {"keepdims": 0}),
]
LINEAR = [
    Row("Gemm", (4,), (X, numbers(4, 3), numbers(3)), {"alpha": 0.7, "beta": 1.3}),
    Row("Gemm", (4,), (X, numbers(3, 4)), {"transB": 1}),
    Row("Det", (3, 3), judge="ort"),
    Row("Det", (2, 4, 4), judge="ort"),
    Row("MatMul", (3, 4), (X, numbers(4, 5))),
    Row("MatMul", (3, 4), (numbers(2, 3), X)),
    Row("MatMul", (3, 4), (X, numbers(4))),
    Row("MatMul", (3, 4), (numbers(3), X)),
    Row("MatMul", (2, 3, 4), (X, numbers(2, 4, 5))),
    Row("MatMul", (4,), (X, numbers(4, 5))),
    Row("MatMul", (1, 3, 4), (X, numbers(2, 4, 2))),
    Row("Einsum", (3, 4), (X, numbers(5, 4)), {"equation": "nij,kj->nki"}),
    Row("Einsum", (3, 4), (numbers(3, 2), X), {"equation": "ik, nij -> nk"}),
    Row("Einsum", (3, 4), (X, X), {"equation": "nij,nkj->nik"}),
]
MOVEMENT = [
    Row("Reshape", (3, 4), (X, np.array([0, -1]))),
    Row("Reshape", (3, 4), (X, np.array([-1, 2, 6]))),
    Row("Flatten", (3, 4)),
    Row("Squeeze", (3, 1), (X, np.array([2]))),
    Row("Unsqueeze", (3,), (X, np.array([1, -1]))),
    Row("Transpose", (3, 4), attrs={"perm": [0, 2, 1]}),
    Row("Transpose", (2, 3, 4), attrs={"perm": [0, 3, 1, 2]}),
    Row("Cast", attrs={"to": 0}),
    Row("CastLike", arguments=(X, np.float32(1))),
    Row("Concat", (3, 4), (X, X), {"axis": 1}),
    Row("Concat", (3, 4), (X, X, X), {"axis": -1}),
    *[
        Row("Split", (3, 4), (X, np.array([1, 2])), {"axis": 1}, outputs=2, output=f"y{i}")
        for i in (0, 1)
    ],
    Row("Split", (5,), (X,), {"axis": 1, "num_outputs": 2}, outputs=2, output="y1"),
    Row("Slice", (5, 4), (X, np.array([1]), np.array([4]), np.array([1]))),
    Row("Slice", (5, 4), (X, np.array([-3, 0]), np.array([9, -1]), np.array([1, 2]))),
    Row(
        "Slice", (6, 7), (X, np.array([1, 0]), np.array([6, 7]), np.array([1, 2]), np.array([2, 3]))
    ),
    Row("Slice", (5,), (X, np.array([-1]), np.array([-9]), np.array([1]), np.array([-1]))),
    Row("Slice", (7,), (X, np.array([5]), np.array([0]), np.array([1]), np.array([-2]))),
    Row("Pad", (3, 4), (X, np.array([0, 1, 2, 0, 3, 0]), np.float32(0.5))),
    Row("Pad", (3, 4), (X, np.array([0, -1, 2, 0, 0, -1])), judge="ort"),
    Row("Pad", (3, 4), (X, np.array([1, 2]), None, np.array([2]))),
    *[
        Row("Pad", (3, 4), (X, np.array([0, 1, 2, 0, 2, 3])), {"mode": mode})
        for mode in ("reflect", "edge")
    ],
    Row("Expand", (1, 4), (X, np.array([3, 1]))),
    Row("Expand", (3, 1), (X, np.array([1, 1, 5]))),
    Row("Tile", (3, 2), (X, np.array([1, 2, 3]))),
    Row("DepthToSpace", (8, 2, 3), attrs={"blocksize": 2}),
    Row("DepthToSpace", (8, 2, 3), attrs={"blocksize": 2, "mode": "CRD"}),
    Row("SpaceToDepth", (2, 4, 6), attrs={"blocksize": 2}, judge="ort"),
    Row("Trilu", (3, 4), attrs={"upper": 0}),
    Row("Trilu", (3, 4), (X, np.array(1))),
    Row("CumSum", (3, 4), (X, np.array(1))),
    Row("CumSum", (3, 4), (X, np.array(-1)), {"reverse": 1, "exclusive": 1}),
    Row("Gather", (3, 4), (X, np.array([2, 0, 2])), {"axis": 1}),
    Row("Gather", (3, 4), (X, np.array(1)), {"axis": 2}),
    Row("Gather", (3, 4), (X, np.array([[0, -1], [1, 1]])), {"axis": -1}),
    Row("TopK", (5,), (X, np.array([2])), {"axis": 1}, outputs=2),
    Row("TopK", (3, 5), (X, np.array([2])), {"axis": -1, "largest": 0}, outputs=2),
]
# No rule of their own: written out by the function body of their schema.
EXPANDED = [
    Row("MeanVarianceNormalization", (3, 4, 2), attrs={"axes": [2, 3]}, judge="ort"),
    Row(
        "GroupNormalization",
        (4, 3, 2),
        (X, numbers(4), numbers(4)),
        {"num_groups": 2},
        opset=21,
        judge="ort",
    ),
    Row("RMSNormalization", (3, 4), (X, numbers(4)), opset=23),
]
NORMALISED = [
    *plain("Softmax LogSoftmax"),
    Row("Softmax", (3, 4), attrs={"axis": 1}),
    Row("LogSoftmax", (3, 4), attrs={"axis": 1}),
    Row("BatchNormalization", (3, 4), (X, positive(3), numbers(3), numbers(3), positive(3))),
    Row("InstanceNormalization", (3, 4, 2), (X, numbers(3), numbers(3)), judge="ort"),
    Row("LayerNormalization", (3, 4), (X, numbers(4), numbers(4))),
    Row("LayerNormalization", (3, 4), (X, numbers(3, 4)), {"axis": 1, "epsilon": 0.1}),
]


def conv(op, shape, weights, *bias, judge="reference", **attrs):
    return Row(op, shape, (X, numbers(*weights), *bias), attrs, judge=judge)


WINDOWED = [
    conv("Conv", (8, 6, 7), (5, 8, 3, 3), numbers(5), pads=[1, 1, 1, 1]),
    conv("Conv", (2, 6, 7), (5, 2, 3, 3), pads=[1, 0, 1, 2]),
    conv("Conv", (8, 7, 8), (4, 8, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    conv("Conv", (8, 7, 8), (4, 8, 2, 3), strides=[3, 2]),
    conv("Conv", (8, 9, 8), (8, 1, 3, 3), group=8, pads=[2, 2, 2, 2], dilations=[2, 2]),
    conv("Conv", (8, 6, 6), (4, 4, 3, 3), group=2),
    conv("Conv", (8, 6, 6), (4, 8, 1, 1), pads=[1, 1, 1, 1]),
    conv("Conv", (8, 9), (4, 8, 3), strides=[2]),
    conv("Conv", (8, 4, 5, 4), (3, 8, 2, 2, 2)),
    conv("Conv", (8, 7, 8), (4, 8, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    conv("Conv", (8, 7, 8), (4, 8, 2, 2), auto_pad="SAME_LOWER"),
    conv("ConvTranspose", (4, 5, 6), (4, 3, 3, 3), numbers(3), strides=[2, 2]),
    conv("ConvTranspose", (4, 5, 6), (4, 2, 3, 3), group=2, pads=[1, 1, 1, 1], judge="ort"),
    conv("ConvTranspose", (4, 5, 6), (4, 3, 3, 3), strides=[2, 2], output_padding=[1, 1]),
    conv("ConvTranspose", (4, 5, 6), (4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    conv("ConvTranspose", (4, 5, 6), (4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    conv(
        "ConvTranspose", (4, 5, 6), (4, 3, 3, 3), strides=[2, 2], output_shape=[10, 12], judge="ort"
    ),
    Row("GlobalAveragePool", (3, 4, 5)),
    Row("GlobalMaxPool", (3, 4, 5)),
    Row("AveragePool", (3, 4, 6), attrs={"kernel_shape": [2, 3], "strides": [2, 3]}),
    Row("AveragePool", (3, 4, 4), attrs={"kernel_shape": [4, 4], "strides": [4, 4]}),
    Row("AveragePool", (3, 5, 6), attrs={"kernel_shape": [3, 3], "strides": [2, 2]}),
    Row(
        "AveragePool",
        (3, 5, 6),
        attrs={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ),
    Row("AveragePool", (3, 5, 6), attrs={"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    Row(
        "AveragePool",
        (3, 6),
        attrs={"kernel_shape": [3], "strides": [2], "ceil_mode": 1},
        judge="ort",
    ),
    Row("MaxPool", (3, 4, 6), attrs={"kernel_shape": [2, 3], "strides": [2, 3]}),
    Row(
        "MaxPool",
        (3, 5, 6),
        attrs={"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    ),
    Row("MaxPool", (3, 5, 6), attrs={"kernel_shape": [2, 2], "strides": [2, 2]}),
    Row("MaxPool", (16, 4, 6), attrs={"kernel_shape": [2, 2], "strides": [2, 2]}),
    Row("MaxPool", (3, 7), attrs={"kernel_shape": [3]}),
    Row("MaxPool", (3, 7, 7), attrs={"kernel_shape": [2, 2], "dilations": [2, 2]}),
]


def resize(scales=None, sizes=None, shape=(2, 4, 5), **attrs):
    scale = None if scales is None else np.array([1, 1, *scales], np.float32)
    size = (np.array(sizes),) if sizes is not None else ()
    if sizes is not None:
        attrs = {"axes": [2, 3], **attrs}
    return Row("Resize", shape, (X, None, scale, *size), attrs, judge="ort", fixed=(2,))


RESIZED = [
    resize((2, 3), coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    resize((2, 3)),
    resize((0.5, 0.6)),
    resize((2, 2), mode="linear"),
    resize((0.5, 0.6), mode="linear", antialias=1),
    resize(sizes=(7, 8), mode="linear", coordinate_transformation_mode="align_corners"),
    resize(sizes=(7, 8), mode="cubic", coordinate_transformation_mode="half_pixel"),
    resize((1.7, 1), mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1),
    resize(sizes=(3, 9), mode="nearest", coordinate_transformation_mode="pytorch_half_pixel"),
]
# Written in other operators when the model is emitted.
LOWERED = [
    Row("LpPool", (3, 5, 6), attrs={"kernel_shape": [3, 2], "p": 3, "pads": [1, 0, 1, 1]}),
    Row("LpPool", (3, 6), attrs={"kernel_shape": [3], "strides": [2]}),
    Row("GlobalLpPool", (3, 4, 5), judge="ort"),
    Row("LpNormalization", (3, 4), attrs={"axis": 1}),
    Row("LpNormalization", (3, 4), attrs={"p": 1}, low=0.2),
    Row("LRN", (5, 3, 4), attrs={"size": 3, "alpha": 0.4, "beta": 0.6}, judge="ort"),
    Row("LRN", (5, 3, 2), attrs={"size": 5, "bias": 2.0}, judge="ort"),
    Row("CumProd", (3, 4), (X, np.array(2)), opset=26, judge="ort"),
    Row("CumProd", (3, 4), (X, np.array(1)), {"exclusive": 1, "reverse": 1}, opset=26, judge="ort"),
    Row("Compress", (3, 4), (X, np.array([True, False, True])), {"axis": 1}),
    Row("Col2Im", (12, 6), (X, np.array([3, 4]), np.array([2, 2]))),
    Row(
        "Col2Im",
        (8, 6),
        (X, np.array([5, 6]), np.array([2, 2])),
        {"pads": [1, 0, 1, 1], "strides": [2, 3], "dilations": [2, 1]},
    ),
]
ROWS = [
    *UNARY,
    *NARY,
    *REDUCTIONS,
    *LINEAR,
    *MOVEMENT,
    *NORMALISED,
    *EXPANDED,
    *WINDOWED,
    *RESIZED,
    *LOWERED,
]
# With tests of their own, in test_recurrent, test_control, test_sequences.
ELSEWHERE = {"RNN", "GRU", "LSTM", "Scan", "Loop", "If"}
ELSEWHERE |= {f"Sequence{kind}" for kind in ("At", "Construct", "Empty", "Erase", "Insert")}
ELSEWHERE |= {"SequenceLength", "SequenceMap", "SplitToSequence", "ConcatFromSequence"}
ELSEWHERE |= {"Optional", "OptionalGetElement", "OptionalHasElement"}
