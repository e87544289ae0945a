"""One perceptron in every framework: the same weights as a file, in NumPy, PyTorch and JAX."""

from functools import cache
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import pertcore as pc

SIZES = (20, 32, 16, 5)
OPERATORS = {"relu": "Relu", "tanh": "Tanh"}


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    pairs = list(pairwise(SIZES))
    weights = [rng.standard_normal((o, i)) / np.sqrt(i) for i, o in pairs]
    biases = [0.1 * rng.standard_normal(o) for o in SIZES[1:]]
    return [w.astype(np.float32) for w in weights], [b.astype(np.float32) for b in biases]


def in_onnx(activation):
    nodes, held, last = [], [], "x"
    layers = list(zip(*parameters()))
    for i, (w, b) in enumerate(layers):
        held += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
        made = "y" if i == len(layers) - 1 else f"z{i}"
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [made], transB=1))
        if made != "y":
            nodes.append(helper.make_node(OPERATORS[activation], [made], [f"a{i}"]))
        last = f"a{i}"
    given, found = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", SIZES[0]), ("y", SIZES[-1]))
    )
    graph = helper.make_graph(nodes, "perceptron", [given], [found], held)
    opset = [onnx.helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    return pc.from_onnx(model.SerializeToString(), threads=1)


def in_numpy(activation):
    return pc.from_network(*parameters(), activation=activation)


def in_torch(activation):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layers = []
    for w, b in zip(*parameters()):
        layer = torch.nn.Linear(w.shape[1], w.shape[0])
        layer.weight.data, layer.bias.data = torch.from_numpy(w), torch.from_numpy(b)
        layers += [layer, {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[activation]()]
    return pc.from_torch(torch.nn.Sequential(*layers[:-1]).eval(), input_shape=SIZES[0])


def in_jax(activation):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    phi = {"relu": jax.nn.relu, "tanh": jax.numpy.tanh}[activation]
    weights, biases = parameters()

    def network(x):
        for w, b in zip(weights[:-1], biases[:-1]):
            x = phi(x @ w.T + b)
        return x @ weights[-1].T + biases[-1]

    return pc.from_jax(network, input_shape=SIZES[0])


FRAMEWORKS = {"numpy": in_numpy, "torch": in_torch, "jax": in_jax, "onnx": in_onnx}


@cache
def perceptron(framework, activation):
    return FRAMEWORKS[framework](activation)


def samples(n):
    """x (n, 20) in the unit box, and targets (n, 5)."""
    rng = np.random.default_rng(7)
    return rng.random((n, SIZES[0]), np.float32), rng.standard_normal((n, 5)).astype(np.float32)
