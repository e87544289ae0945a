"""Small models whose Jacobians are known to be local, of low rank, or of uneven columns."""

from __future__ import annotations

import numpy as np
from onnx import helper

import pertcore as pc
from pertcore.oracle import Array, Oracle
from pertcore.solvers.products import Products
from tests.adapters.onnx.models import model, value, weight


def convolutions(
    shape: tuple[int, ...], layers: list[tuple[str, int, dict]], seed: int = 0
) -> Oracle:
    """Convolutions with Relu between them, for samples `shape` (C, H, W).

    A layer is (operator, channels made, attributes); operators without weights make 0 channels.
    """
    rng = np.random.default_rng(seed)
    nodes, weights, x, channels = [], [], "x", shape[0]
    for place, (op, made, attrs) in enumerate(layers):
        y = f"v{place}"
        inputs = [x]
        if made:
            sides = attrs.get("kernel_shape", [3, 3])
            groups = attrs.get("group", 1)
            size = (channels, made) if op == "ConvTranspose" else (made, channels // groups)
            kernel = rng.standard_normal((*size, *sides)).astype(np.float32)
            kernel /= np.sqrt(size[1] * np.prod(sides))
            bias = 0.2 * rng.standard_normal(made).astype(np.float32)
            weights += [weight(f"k{place}", kernel), weight(f"b{place}", bias)]
            inputs += [f"k{place}", f"b{place}"]
            channels = made
        nodes.append(helper.make_node(op, inputs, [y], **attrs))
        x = y
        if made and place < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [y], [f"r{place}"]))
            x = f"r{place}"
    nodes[-1].output[0] = "y"
    made_shape = ["N", channels, *([None] * (len(shape) - 1))]
    graph = model(nodes, [value("x", ["N", *shape])], [value("y", made_shape)], weights)
    return pc.from_onnx(graph)


SAME = {"pads": [1, 1, 1, 1]}
HALF = {"strides": [2, 2], **SAME}
TWICE = {"strides": [2, 2], "output_padding": [1, 1], **SAME}

# name -> (sample shape, layers, combs that hold all columns)
LOCAL: dict[str, tuple[tuple[int, ...], list[tuple[str, int, dict]], int]] = {
    "denoiser": ((3, 32, 32), [("Conv", 8, SAME), ("Conv", 8, SAME), ("Conv", 3, SAME)], 147),
    "unpadded": ((1, 30, 26), [("Conv", 6, {}), ("Conv", 2, {"kernel_shape": [5, 5]})], 49),
    "stride": ((1, 28, 28), [("Conv", 8, HALF), ("Conv", 6, SAME)], 49),
    "pool": (
        (1, 28, 28),
        [("Conv", 8, SAME), ("MaxPool", 0, {"kernel_shape": [2, 2], "strides": [2, 2]}),
         ("Conv", 6, SAME)],
        64,
    ),
    "autoencoder": ((1, 28, 28), [("Conv", 8, HALF), ("ConvTranspose", 1, TWICE)], 25),
    "larger": ((2, 12, 14), [("ConvTranspose", 4, TWICE), ("Conv", 2, SAME)], 18),
    "by channel": ((4, 16, 16), [("Conv", 4, {"group": 4, **SAME})] * 2, 25),
    "signal": (
        (2, 200),
        [("Conv", 5, {"kernel_shape": [5], "pads": [2, 2]}),
         ("Conv", 2, {"kernel_shape": [3], "pads": [1, 1]})],
        14,
    ),
}  # fmt: skip


def local(name: str, n: int = 2) -> Products:
    """A model of `LOCAL` at n random points."""
    shape, layers, _ = LOCAL[name]
    return at(convolutions(shape, layers), n)


def at(model: Oracle, n: int = 2, seed: int = 0) -> Products:
    """Products of the model at n random points."""
    x = np.random.default_rng(seed).random((n, *model.input_shape)).astype(model.dtype)
    return Products.at(model, model.linearize(x))


def bottleneck(d: int, rank: int, *, dtype: type = np.float32, seed: int = 0) -> Products:
    """d - rank - d with tanh between: every Jacobian has that rank."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((rank, d)) / np.sqrt(d), rng.standard_normal((d, rank))]
    biases = [np.zeros(rank), np.zeros(d)]
    return at(pc.from_network(weights, biases, activation="tanh", dtype=dtype))


def of_matrix(a: Array, n: int = 2) -> Products:
    return at(pc.from_matrix(a), n)
