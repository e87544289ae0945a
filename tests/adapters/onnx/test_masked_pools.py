"""A max pool whose mask is its Relu's, too: torch's slopes at ties and zeros, whoever reads."""

import numpy as np
import pytest
from onnx import helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.differentiate import differentiate
from tests.adapters.onnx.models import model, value

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
RNG = np.random.default_rng(0)
SHAPE, POOLED = (3, 4, 6), (3, 2, 3)
TILES = {"kernel_shape": [2, 2], "strides": [2, 2]}
# Whole numbers: windows of ties, of zeros alone, and of nothing above zero.
X = RNG.integers(-2, 3, size=(50, *SHAPE)).astype(np.float32)
V = RNG.standard_normal((50, *POOLED)).astype(np.float32)
U = RNG.standard_normal(X.shape).astype(np.float32)


def network(*nodes, outputs=("y",)):
    made = [value(name, ["N", *POOLED]) for name in outputs]
    return model(list(nodes), [value("x", ["N", *SHAPE])], made)


def pooled(before, after, **attrs):
    return helper.make_node("MaxPool", [before], [after], **{**TILES, **attrs})


def node(op, *names):
    return helper.make_node(op, list(names[:-1]), [names[-1]])


RELU_FIRST = network(node("Relu", "x", "r"), pooled("r", "y"))
NETWORKS = {
    "relu, pool": (RELU_FIRST, lambda x: F.max_pool2d(F.relu(x), 2)),
    "pool, relu": (
        network(pooled("x", "p"), node("Relu", "p", "y")), lambda x: F.relu(F.max_pool2d(x, 2)),
    ),
    "the pool is read again": (
        network(pooled("x", "p"), node("Relu", "p", "r"), node("Add", "p", "r", "y")),
        lambda x: F.max_pool2d(x, 2) + F.relu(F.max_pool2d(x, 2)),
    ),
    "by another pool's Relu": (
        network(
            node("Relu", "x", "r"), pooled("r", "a"), pooled("x", "b"), node("Add", "a", "b", "y")
        ),
        lambda x: F.max_pool2d(F.relu(x), 2) + F.max_pool2d(x, 2),
    ),
    "two Relus": (
        network(
            pooled("x", "p"), node("Relu", "p", "a"), node("Relu", "p", "b"),
            node("Mul", "a", "b", "y"),
        ),
        lambda x: F.relu(F.max_pool2d(x, 2)) ** 2,
    ),
    "not a Relu": (
        network(pooled("x", "p"), node("Tanh", "p", "y")), lambda x: torch.tanh(F.max_pool2d(x, 2)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_slopes_are_those_of_torch(name):
    built, function = NETWORKS[name]
    lin = from_onnx(built, threads=1).linearize(X)
    x = torch.from_numpy(X).requires_grad_()
    y = function(x)
    (wanted,) = torch.autograd.grad(y, x, torch.from_numpy(V))
    np.testing.assert_allclose(lin.value, y.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(lin.vjp(V), wanted.numpy(), rtol=1e-6)
    np.testing.assert_allclose(lin.vjp(np.stack([V, -V]))[1], -wanted.numpy(), rtol=1e-6)
    paired = np.sum(lin.jvp(U) * V, dtype=np.float64)
    np.testing.assert_allclose(paired, np.sum(U * wanted.numpy(), dtype=np.float64), rtol=1e-4)


def test_the_least_number_above_zero_is_above_zero():
    tiny = np.nextafter(np.float32(0), np.float32(1))
    x = np.zeros((2, *SHAPE), np.float32)
    x[0, 0, 1, 1] = tiny
    slope = from_onnx(RELU_FIRST, threads=1).linearize(x).vjp(np.ones((2, *POOLED), np.float32))
    assert slope[0, 0, 1, 1] == 1 and np.count_nonzero(slope) == 1


def test_the_mask_of_the_relu_is_neither_kept_nor_computed():
    engine = from_onnx(RELU_FIRST, threads=1)._engine
    assert len(engine.residuals) == 1
    backward = [n.op_type for n in engine.plan("vjp", many=False).model(["g"]).graph.node]
    assert backward.count("Mul") == 1 and "HardSigmoid" not in backward


def test_a_pool_that_is_asked_for_itself_is_not_masked():
    """As an output beside its Relu."""
    both = network(pooled("x", "p"), node("Relu", "p", "y"), outputs=("p", "y"))
    found = _run(differentiate(both, outputs=["p", "y"]), x=X, ct_p=V, ct_y=2 * V)
    x = torch.from_numpy(X).requires_grad_()
    p = F.max_pool2d(x, 2)
    (wanted,) = torch.autograd.grad(
        [p, F.relu(p)], x, [torch.from_numpy(V), 2 * torch.from_numpy(V)]
    )
    np.testing.assert_allclose(found[0], wanted.numpy(), rtol=1e-6)


def _run(derivative, **feeds):
    session = onnxruntime.InferenceSession(derivative.model.SerializeToString())
    names = [entry.name for entry in session.get_inputs()]
    return session.run(None, {name: feeds[name] for name in names})
