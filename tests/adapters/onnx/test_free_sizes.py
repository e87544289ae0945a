"""Sizes that the file leaves open: the derivative files give what those of fixed sizes give."""

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from pertcore.adapters.onnx.differentiate import differentiate
from tests.adapters.onnx.models import model, value, weight

RNG = np.random.default_rng(21)
X = RNG.standard_normal((2, 4, 5, 8)).astype(np.float32)
OPEN, LINES, FIXED = ["N", 4, "H", "W"], ["N", 4, "L", 8], [2, 4, 5, 8]


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def node(op, inputs, output="y", **attrs):
    return helper.make_node(op, inputs.split(), [output], **attrs)


def as_many(name, *shape):
    """`name`, repeated for as many samples as x has."""
    return [
        helper.make_node("Shape", ["x"], ["n"], start=0, end=1),
        node("Concat", f"n {name}.rest", "whole", axis=0),
        node("Expand", f"{name} whole", f"{name}.all"),
    ], [weight(name, numbers(1, *shape)), weight(f"{name}.rest", np.array(shape))]


GRID, GRIDS = as_many("g", 3, 3, 2)
MOVED, MOVES = as_many("o", 8, 4, 7)
ENDS = [weight(name, np.array([k])) for name, k in (("zero", 0), ("one", 1), ("two", 2))]
SHARED = [node("Slice", "x zero two one", "k"), node("Attention", "x k k")]
FILTERS = [
    node("ReduceMean", "x axes", "mean"),
    node("Tile", "mean times", "w"),
    node("Conv", "x w", strides=[2, 2], pads=[1, 1, 1, 1]),
]
CASES = {
    "attention": (LINES, 23, [node("Attention", "x x x")], []),
    "attention-causal": (LINES, 24, [node("Attention", "x x x", is_causal=1)], []),
    "attention-shared-heads": (LINES, 24, SHARED, ENDS),
    "flex-attention": (LINES, 26, [node("FlexAttention", "x x x", domain="ai.onnx.preview")], []),
    "swish": (LINES, 24, [node("Swish", "x")], []),
    "einsum": (
        LINES,
        18,
        [node("Einsum", "x v", equation="n...il,l->n...i")],
        [weight("v", numbers(8))],
    ),
    "grid-sample": (OPEN, 20, [*GRID, node("GridSample", "x g.all", mode="linear")], GRIDS),
    "deform-conv": (
        OPEN,
        22,
        [*MOVED, node("DeformConv", "x w o.all")],
        [*MOVES, weight("w", numbers(3, 4, 2, 2))],
    ),
    "roi-align": (
        OPEN,
        16,
        [node("RoiAlign", "x r b", output_height=2, output_width=2, sampling_ratio=2)],
        [
            weight("r", np.array([[0, 0, 3, 3], [1, 1, 6, 4]], np.float32)),
            weight("b", np.array([0, 1])),
        ],
    ),
    "filters-that-move": (
        OPEN,
        18,
        FILTERS,
        [weight("axes", np.array([0, 2, 3])), weight("times", np.array([3, 1, 3, 3]))],
    ),
}


def products(shape, opset, nodes, weights):
    """y, J^T ct and J x for a ct that tells entries apart."""
    whole = model(nodes, [value("x", shape)], [value("y", None)], weights, opset=opset)
    whole.opset_import.append(helper.make_opsetid("ai.onnx.preview", 1))
    pushed = run(differentiate(whole, mode="jvp").model, {"x": X, "tan_x": X})[0]
    ct = np.arange(pushed.size, dtype=np.float32).reshape(pushed.shape) / pushed.size
    pull = differentiate(whole, mode="value_and_vjp").model
    return [*run(pull, {"x": X, "ct_y": ct}), pushed, ct]


def run(made, feeds):
    return onnxruntime.InferenceSession(made.SerializeToString()).run(None, feeds)


@pytest.mark.parametrize("name", CASES)
def test_open_sizes_give_what_fixed_ones_give(name):
    shape, *rest = CASES[name]
    free, fixed = products(shape, *rest), products(FIXED, *rest)
    for a, b in zip(free, fixed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    _, pulled, pushed, ct = (array.astype(np.float64) for array in free)
    left, right = np.sum(pulled * X), np.sum(ct * pushed)
    assert abs(left - right) <= 1e-4 * (np.abs(pulled * X).sum() + np.abs(ct * pushed).sum())
