"""Small networks and properties, written to files."""

from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.adapters.onnx.models import ELEMENTS, model, value, weight


def saved(path, net):
    path.write_bytes(net.SerializeToString())
    return path


def written(path, text):
    path.write_text(text)
    return path


def linear(path, matrix, bias=0.0, dtype=np.float32, batch="N"):
    """y = matrix x + bias: (batch, n) -> (batch, m)."""
    matrix = np.atleast_2d(np.asarray(matrix, dtype))
    bias = np.broadcast_to(np.asarray(bias, dtype), len(matrix))
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)]
    given = value("x", [batch, matrix.shape[1]], ELEMENTS[dtype])
    made = value("y", [batch, len(matrix)], ELEMENTS[dtype])
    return saved(path, model(nodes, [given], [made], [weight("w", matrix), weight("b", bias)]))


def mlp(path, sizes, seed=0, middle="Relu"):
    """Layers of these sizes at random, with `middle` between them."""
    rng = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for place, (n, m) in enumerate(pairwise(sizes)):
        scale = np.sqrt(2 / n)
        weights += [
            weight(f"w{place}", (scale * rng.standard_normal((n, m))).astype(np.float32)),
            weight(f"b{place}", (0.1 * rng.standard_normal(m)).astype(np.float32)),
        ]
        nodes.append(helper.make_node("Gemm", [last, f"w{place}", f"b{place}"], [f"a{place}"]))
        last = f"a{place}"
        if place < len(sizes) - 2:
            nodes.append(helper.make_node(middle, [last], [f"h{place}"]))
            last = f"h{place}"
    nodes[-1].output[0] = "y"
    return saved(
        path, model(nodes, [value("x", ["N", sizes[0]])], [value("y", ["N", sizes[-1]])], weights)
    )


def dead_unit(path, width):
    """y = -1 + 10 max(0, sum of x - (width - 1)): all but a corner of the box [0, 1]^width is
    constant."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["h"]),
        helper.make_node("Gemm", ["h", "v", "c"], ["y"], transB=1),
    ]
    values = {"w": np.ones((1, width)), "b": [1 - width], "v": [[10]], "c": [-1]}
    weights = [weight(name, np.array(array, np.float32)) for name, array in values.items()]
    return saved(path, model(nodes, [value("x", ["N", width])], [value("y", ["N", 1])], weights))


def endless(path):
    """A model that runs for ages: a loop of 2^62 turns."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Mul", ["z", "z"], ["next"]),
        ],
        "body",
        [
            value("turn", [], TensorProto.INT64),
            value("go", [], TensorProto.BOOL),
            value("z", [1, 2]),
        ],
        [value("on", [], TensorProto.BOOL), value("next", [1, 2])],
    )
    nodes = [helper.make_node("Loop", ["turns", "true", "x"], ["y"], body=body)]
    weights = [weight("turns", np.array(2**62)), weight("true", np.array(True))]
    net = model(nodes, [value("x", [1, 2])], [value("y", [1, 2])], weights)
    onnx.checker.check_model(net)
    return saved(path, net)


def spec(inputs, outputs, *conditions):
    """A property: inputs is a list of (lo, hi) as they are to be written."""
    lines = [f"(declare-const X_{i} Real)" for i in range(len(inputs))]
    lines += [f"(declare-const Y_{i} Real)" for i in range(outputs)]
    for i, (lo, hi) in enumerate(inputs):
        lines += [f"(assert (>= X_{i} {lo}))", f"(assert (<= X_{i} {hi}))"]
    return "\n".join([*lines, *(f"(assert {condition})" for condition in conditions)]) + "\n"
