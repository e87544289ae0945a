"""One shape rule an operator: types and dimensions of its outputs from those of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pertcore.adapters.onnx import control_shapes, windows
from pertcore.adapters.onnx.known import Known, Unknown, broadcast, normal_axis
from pertcore.adapters.onnx.symbolic import Poly, product


def _same(k: Known) -> Any:
    return [(k.dtype(), k.shape())]


def _nary(k: Known) -> Any:
    return [(k.dtype(), broadcast(*(k.shape(i) for i in range(len(k)))))]


def _compare(k: Known) -> Any:
    return [(np.bool_, broadcast(*(k.shape(i) for i in range(len(k)))))]


def _where(k: Known) -> Any:
    return [(k.dtype(1), broadcast(k.shape(0), k.shape(1), k.shape(2)))]


def _cast(k: Known) -> Any:
    import onnx

    return [(onnx.helper.tensor_dtype_to_np_dtype(k.attrs["to"]), k.shape())]


def _shape_of(k: Known) -> Any:
    return [(np.int64, (len(k.shape()[slice(k.attrs.get("start", 0), k.attrs.get("end"))]),))]


def _reshape(k: Known) -> Any:
    source, target = k.shape(), k.ints(1)
    dims: list[Any] = [
        source[i] if d == 0 and not k.attrs.get("allowzero", 0) else d for i, d in enumerate(target)
    ]
    if -1 in dims:
        rest = product(d for d in dims if not (isinstance(d, int) and d == -1))
        dims[dims.index(-1)] = product(source) // rest if rest != 0 else 0
    have, want = product(source), product(dims)
    if isinstance(have, int) and isinstance(want, int) and have != want:
        raise ValueError(f"{source} into {tuple(target)}")
    return [(k.dtype(), dims)]


def _flatten(k: Known) -> Any:
    shape, axis = k.shape(), k.attrs.get("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return [(k.dtype(), (product(shape[:axis]), product(shape[axis:])))]


def _transpose(k: Known) -> Any:
    shape = k.shape()
    perm = k.attrs.get("perm", range(len(shape))[::-1])
    if sorted(perm) != list(range(len(shape))):
        raise ValueError(f"perm {perm} of rank {len(shape)}")
    return [(k.dtype(), [shape[p] for p in perm])]


def _squeeze(k: Known) -> Any:
    shape = k.shape()
    if not k.has(1):
        if any(isinstance(d, Poly) for d in shape):
            raise Unknown
        return [(k.dtype(), [d for d in shape if d != 1])]
    axes = {normal_axis(a, len(shape)) for a in k.ints(1)}
    return [(k.dtype(), [d for i, d in enumerate(shape) if i not in axes])]


def _unsqueeze(k: Known) -> Any:
    shape, axes = list(k.shape()), k.ints(1)
    rank = len(shape) + len(axes)
    for axis in sorted(normal_axis(a, rank) for a in axes):
        shape.insert(axis, 1)
    return [(k.dtype(), shape)]


def _concat(k: Known) -> Any:
    shapes = [k.shape(i) for i in range(len(k))]
    axis = normal_axis(k.attrs["axis"], len(shapes[0]))
    total: int | Poly = 0
    for shape in shapes:
        total = total + shape[axis]
    merged = [_agree(dims) for dims in zip(*shapes, strict=True)]
    return [(k.dtype(), [*merged[:axis], total, *merged[axis + 1 :]])]


def _agree(dims: Sequence[int | Poly]) -> int | Poly:
    return next((d for d in dims if isinstance(d, int)), dims[0])


def _split(k: Known) -> Any:
    shape, count = k.shape(), len(k.node.outputs)
    axis = normal_axis(k.attrs.get("axis", 0), len(shape))
    if k.has(1):
        parts = k.ints(1)
    elif isinstance(shape[axis], int):
        each = -(-shape[axis] // count)
        parts = [each] * (count - 1) + [shape[axis] - each * (count - 1)]
    else:
        parts = [shape[axis] // count] * count
    return [(k.dtype(), [*shape[:axis], part, *shape[axis + 1 :]]) for part in parts]


def _slice(k: Known) -> Any:
    shape = list(k.shape())
    starts, ends = k.ints(1), k.ints(2)
    axes = k.ints(3) if k.has(3) else list(range(len(starts)))
    steps = k.ints(4) if k.has(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = normal_axis(axis, len(shape))
        shape[at] = windows.slice_length(k, shape[at], start, end, step)
    return [(k.dtype(), shape)]


def _pad(k: Known) -> Any:
    shape, pads = list(k.shape()), k.ints(1)
    axes = k.ints(3) if k.has(3) else range(len(shape))
    for place, axis in enumerate(axes):
        at = normal_axis(axis, len(shape))
        shape[at] = shape[at] + pads[place] + pads[place + len(pads) // 2]
    return [(k.dtype(), shape)]


def _expand(k: Known) -> Any:
    return [(k.dtype(), broadcast(k.shape(), tuple(k.ints(1))))]


def _tile(k: Known) -> Any:
    return [(k.dtype(), [d * r for d, r in zip(k.shape(), k.ints(1), strict=True)])]


def _gather(k: Known) -> Any:
    shape = k.shape()
    axis = normal_axis(k.attrs.get("axis", 0), len(shape))
    return [(k.dtype(), [*shape[:axis], *k.shape(1), *shape[axis + 1 :]])]


def _constant_of_shape(k: Known) -> Any:
    value = k.attrs.get("value")
    return [(np.float32 if value is None else value.dtype, k.ints(0))]


def _reduce(k: Known) -> Any:
    shape, keep = k.shape(), k.attrs.get("keepdims", 1)
    axes = set(range(len(shape)))
    if k.has(1):
        given = {normal_axis(a, len(shape)) for a in k.ints(1)}
        axes = given or (set() if k.attrs.get("noop_with_empty_axes", 0) else axes)
    return [
        (k.dtype(), [1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes])
    ]


def _arg(k: Known) -> Any:
    shape = k.shape()
    axis = normal_axis(k.attrs.get("axis", 0), len(shape))
    middle = [1] if k.attrs.get("keepdims", 1) else []
    return [(np.int64, [*shape[:axis], *middle, *shape[axis + 1 :]])]


def _matmul(k: Known) -> Any:
    a, b = k.shape(0), k.shape(1)
    if len(a) < 2 or len(b) < 2:
        raise Unknown
    if isinstance(a[-1], int) and isinstance(b[-2], int) and a[-1] != b[-2]:
        raise ValueError(f"{a} times {b}")
    return [(k.dtype(), [*broadcast(a[:-2], b[:-2]), a[-2], b[-1]])]


def _gemm(k: Known) -> Any:
    a, b = k.shape(0), k.shape(1)
    rows = a[1] if k.attrs.get("transA", 0) else a[0]
    return [(k.dtype(), (rows, b[0] if k.attrs.get("transB", 0) else b[1]))]


def _depth_to_space(k: Known) -> Any:
    (n, c, h, w), b = k.shape(), k.attrs["blocksize"]
    return [(k.dtype(), (n, c // (b * b), h * b, w * b))]


def _space_to_depth(k: Known) -> Any:
    (n, c, h, w), b = k.shape(), k.attrs["blocksize"]
    return [(k.dtype(), (n, c * b * b, h // b, w // b))]


def _global_pool(k: Known) -> Any:
    n, c, *rest = k.shape()
    return [(k.dtype(), (n, c, *[1] * len(rest)))]


def _rows(rule: Callable[[Known], Any], names: str) -> dict[str, Callable[[Known], Any]]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Callable[[Known], Any]] = {
    **dict.fromkeys(
        [
            "Abs",
            "Acos",
            "Acosh",
            "Asin",
            "Asinh",
            "Atan",
            "Atanh",
            "BatchNormalization",
            "Ceil",
            "Celu",
            "Clip",
            "Cos",
            "Cosh",
            "CumSum",
            "Elu",
            "Erf",
            "Exp",
            "Floor",
            "HardSigmoid",
            "HardSwish",
            "Hardmax",
            "Identity",
            "InstanceNormalization",
            "LRN",
            "LeakyRelu",
            "Log",
            "LogSoftmax",
            "LpNormalization",
            "Mish",
            "Neg",
            "PRelu",
            "Reciprocal",
            "Relu",
            "Round",
            "ScatterElements",
            "ScatterND",
            "Selu",
            "Shrink",
            "Sigmoid",
            "Sign",
            "Sin",
            "Sinh",
            "Softmax",
            "Softplus",
            "Softsign",
            "Sqrt",
            "Tan",
            "Tanh",
            "ThresholdedRelu",
            "Trilu",
            "Not",
            "BitwiseNot",
        ],
        _same,
    ),
    **dict.fromkeys(
        ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Mod", "And", "Or", "Xor"],
        _nary,
    ),
    **dict.fromkeys(["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"], _compare),
    **dict.fromkeys(
        [
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceSumSquare",
        ],
        _reduce,
    ),
    **dict.fromkeys(["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"], _global_pool),
    **dict.fromkeys(["ArgMax", "ArgMin"], _arg),
    **dict.fromkeys(["AveragePool", "MaxPool", "LpPool"], windows.pool),
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "Resize": windows.resize,
    "Where": _where,
    "Scan": control_shapes.scan,
    "Loop": control_shapes.loop,
    "If": control_shapes.branch,
    "Cast": _cast,
    "Shape": _shape_of,
    "Size": lambda _: [(np.int64, ())],
    "IsNaN": lambda k: [(np.bool_, k.shape())],
    "IsInf": lambda k: [(np.bool_, k.shape())],
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Expand": _expand,
    "Tile": _tile,
    "Gather": _gather,
    "GatherElements": lambda k: [(k.dtype(), k.shape(1))],
    "ConstantOfShape": _constant_of_shape,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
