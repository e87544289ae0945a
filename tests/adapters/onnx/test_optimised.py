"""Files that ONNX Runtime's own optimiser has rewritten give the derivative of the files as they
were; the layout of one machine is refused."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import CapabilityError
from tests.adapters.onnx.models import model, small_net, value, weight

LEVEL = onnxruntime.GraphOptimizationLevel


class Net:
    """Nodes in a row: `net("Relu", x)` gives the name of what it makes."""

    def __init__(self, *shape, seed=0):
        self.shape, self.rng = shape, np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def __call__(self, op, *given, **attrs):
        names = [g if isinstance(g, str) else self.stored(g) for g in given]
        made = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [made], made, **attrs))
        return made

    def stored(self, array):
        self.weights.append(weight(f"w{len(self.weights)}", array))
        return self.weights[-1].name

    def random(self, *shape, scale=0.4):
        return (scale * self.rng.standard_normal(shape)).astype(np.float32)

    def model(self, last, opset=17):
        self.nodes.append(helper.make_node("Identity", [last], ["y"]))
        given = [value("x", ["N", *self.shape])]
        return model(self.nodes, given, [value("y", None)], self.weights, opset)


def numbers(*values):
    return np.array(values, np.float32) if len(values) > 1 else np.array(values[0], np.float32)


def conv(net, x, channels, out, **attrs):
    return net("Conv", x, net.random(out, channels, 3, 3), net.random(out), pads=[1] * 4, **attrs)


def batch_normalised():
    net = Net(3, 8, 8)
    given = [net.random(4) ** 2 + 0.5 for _ in range(4)]
    x = net("BatchNormalization", conv(net, "x", 3, 4), *given)
    return net.model(net("GlobalAveragePool", net("Relu", x)))


def residual():
    net = Net(3, 8, 8)
    x = net("Relu", conv(net, "x", 3, 4))
    y = net("Relu", conv(net, x, 4, 4))
    return net.model(net("Relu", net("Add", conv(net, y, 4, 4), x)))


def activated(op, **attrs):
    net = Net(3, 8, 8)
    x = net(op, conv(net, "x", 3, 4), **attrs)
    return net.model(net(op, conv(net, x, 4, 2, strides=[2, 2]), **attrs))


def clipped():
    net = Net(3, 8, 8)
    x = net("Clip", conv(net, "x", 3, 4), numbers(0.0), numbers(0.9))
    return net.model(net("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2]))


def swish():
    net = Net(3, 8, 8)
    x = conv(net, "x", 3, 4)
    x = net("Mul", x, net("HardSigmoid", x, alpha=1 / 6, beta=0.5))
    x = conv(net, x, 4, 4, group=1)
    return net.model(net("Mul", x, net("Sigmoid", x)))


def perceptron():
    net = Net(6)
    x = net("Relu", net("Gemm", "x", net.random(6, 8), net.random(8)))
    x = net("Add", net("MatMul", x, net.random(8, 8)), net.random(8))
    return net.model(net("Tanh", net("Gemm", x, net.random(5, 8), net.random(5), transB=1)))


def error_gelu():
    net = Net(4, 6)
    x = net("Add", net("MatMul", "x", net.random(6, 8)), net.random(8))
    inner = net("Add", net("Erf", net("Div", x, numbers(2**0.5))), numbers(1.0))
    x = net("Mul", net("Mul", x, inner), numbers(0.5))
    return net.model(net("MatMul", x, net.random(8, 3)))


def tanh_gelu():
    net = Net(4, 6)
    x = net("Add", net("MatMul", "x", net.random(6, 8)), net.random(8))
    cubic = net("Mul", net("Pow", x, numbers(3.0)), numbers(0.044715))
    inner = net("Mul", net("Add", x, cubic), numbers((2 / np.pi) ** 0.5))
    gate = net("Add", net("Tanh", inner), numbers(1.0))
    return net.model(net("Mul", net("Mul", x, numbers(0.5)), gate))


def quick_gelu():
    net = Net(4, 6)
    x = net("MatMul", "x", net.random(6, 8))
    return net.model(net("Mul", x, net("Sigmoid", net("Mul", x, numbers(1.702)))))


def normalised(net, x, width, *, centred=True):
    """Layer or root-mean-square normalisation as exporters spell it."""
    moved = net("Sub", x, net("ReduceMean", x, axes=[-1])) if centred else x
    mean = net("ReduceMean", net("Pow", moved, numbers(2.0)), axes=[-1])
    made = net("Div", moved, net("Sqrt", net("Add", mean, numbers(1e-5))))
    made = net("Mul", made, net.random(width) + 1)
    return net("Add", made, net.random(width)) if centred else made


def layer_normalised():
    net = Net(4, 6)
    x = net("Add", net("MatMul", "x", net.random(6, 6)), net.random(6))
    x = normalised(net, net("Add", x, "x"), 6)
    return net.model(net("MatMul", x, net.random(6, 3)))


def mean_square_normalised():
    net = Net(4, 6)
    x = normalised(net, net("MatMul", "x", net.random(6, 6)), 6, centred=False)
    return net.model(net("MatMul", x, net.random(6, 3)))


def scaled_products():
    net = Net(4, 6)
    turned = net("Transpose", "x", perm=[0, 2, 1])
    scores = net("Div", net("MatMul", "x", turned), numbers(2.5))
    return net.model(net("MatMul", net("Softmax", scores, axis=-1), "x"))


def heads(net, x, width, count):
    y = net("Add", net("MatMul", x, net.random(width, width)), net.random(width))
    return net("Reshape", y, np.array([0, 0, count, width // count]))


def transformer():
    """One layer as BERT is exported: attention, and two products with Gelu between."""
    net = Net(4, 8)
    x = normalised(net, "x", 8)
    q, k, v = (heads(net, x, 8, 2) for _ in range(3))
    q, v = (net("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
    scores = net("MatMul", q, net("Transpose", k, perm=[0, 2, 3, 1]))
    mixed = net("MatMul", net("Softmax", net("Div", scores, numbers(2.0)), axis=-1), v)
    mixed = net("Reshape", net("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, 0, 8]))
    mixed = net("Add", net("MatMul", mixed, net.random(8, 8)), net.random(8))
    x = normalised(net, net("Add", mixed, x), 8)
    y = net("Add", net("MatMul", x, net.random(8, 16)), net.random(16))
    inner = net("Add", net("Erf", net("Div", y, numbers(2**0.5))), numbers(1.0))
    y = net("Mul", net("Mul", y, inner), numbers(0.5))
    y = net("Add", net("MatMul", y, net.random(16, 8)), net.random(8))
    return net.model(normalised(net, net("Add", y, x), 8))


def recurrent():
    net = Net(3, 5, seed=2)
    rows = net("Transpose", "x", perm=[1, 0, 2])
    states = net("LSTM", rows, net.random(1, 16, 5), net.random(1, 16, 4), hidden_size=4)
    return net.model(net("Transpose", net("Squeeze", states, np.array([1])), perm=[1, 0, 2]))


NETS = {
    "small": small_net,
    "batch_normalised": batch_normalised,
    "residual": residual,
    "leaky": lambda: activated("LeakyRelu", alpha=0.2),
    "sigmoid": lambda: activated("Sigmoid"),
    "tanh": lambda: activated("Tanh"),
    "hard_sigmoid": lambda: activated("HardSigmoid", alpha=0.3, beta=0.4),
    "clipped": clipped,
    "swish": swish,
    "perceptron": perceptron,
    "error_gelu": error_gelu,
    "tanh_gelu": tanh_gelu,
    "quick_gelu": quick_gelu,
    "layer_normalised": layer_normalised,
    "mean_square_normalised": mean_square_normalised,
    "scaled_products": scaled_products,
    "transformer": transformer,
    "recurrent": recurrent,
}
# What the optimiser makes of some, so that the test is about fusions at all.
FUSED = {
    "residual": "FusedConv",
    "leaky": "FusedConv",
    "error_gelu": "BiasGelu",
    "quick_gelu": "QuickGelu",
    "layer_normalised": "SkipLayerNormalization",
    "mean_square_normalised": "SimplifiedLayerNormalization",
    "scaled_products": "FusedMatMul",
    "perceptron": "FusedGemm",
    "transformer": "SkipLayerNormalization",
}


def optimised(net, path, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(net.SerializeToString(), options)
    return onnx.load(path)


def foreign(net):
    return {node.domain for node in net.graph.node} - {"", "ai.onnx"}


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED", "ALL"])
@pytest.mark.parametrize("name", NETS)
def test_the_derivative_is_that_of_the_file_before(name, level, tmp_path):
    net = NETS[name]()
    fused = optimised(net, tmp_path / "fused.onnx", getattr(LEVEL, f"ORT_ENABLE_{level}"))
    if level == "EXTENDED" and name in FUSED:
        assert FUSED[name] in {node.op_type for node in fused.graph.node}
    if "com.microsoft.nchwc" in foreign(fused):
        assert level == "ALL"
        with pytest.raises(CapabilityError, match="ORT_ENABLE_EXTENDED or lower"):
            from_onnx(fused)
        return
    one, other = (from_onnx(m, threads=1) for m in (fused, net))
    assert one.capabilities >= {"exact", "vjp", "jvp", "take"}
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, *one.input_shape)).astype(np.float32)
    here, there = one.linearize(x), other.linearize(x)
    np.testing.assert_allclose(here.value, there.value, rtol=1e-4, atol=1e-5)
    v = rng.standard_normal((2, *here.value.shape)).astype(np.float32)
    u = rng.standard_normal((2, *x.shape)).astype(np.float32)
    np.testing.assert_allclose(here.vjp(v), there.vjp(v), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(here.jvp(u), there.jvp(u), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(here.vjp(v[0]), here.vjp(v)[0], rtol=1e-4, atol=1e-5)
