"""The trained networks: J^T against J, J against float64 differences, J^T against autograd."""

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from pertcore.adapters.onnx.adapter import from_onnx
from tests.adapters.onnx.networks import NETWORKS, in_float64, points

every = pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n.name}-{n.output or 'only'}")


@pytest.fixture(scope="module")
def oracles():
    return {}


def oracle_of(network, oracles):
    if network not in oracles:
        oracles[network] = from_onnx(network.path, threads=1, **network.options)
    return oracles[network]


def relative(a, b):
    """Norm of the difference a - b of each sample, as a fraction of that of b."""
    rows, others = (
        a.reshape(len(a), -1).astype(np.float64),
        b.reshape(len(b), -1).astype(np.float64),
    )
    return np.linalg.norm(rows - others, axis=1) / np.linalg.norm(others, axis=1)


def directions(oracle, x, seed):
    rng = np.random.default_rng(seed)
    u = rng.standard_normal(x.shape).astype(np.float32)
    return u, rng.standard_normal((len(x), *oracle.output_shape)).astype(np.float32)


def least(errors):
    """The smallest error over a few points, the worst sample of each.

    Rounding puts a unit of these networks on the other side of its kink now and then, which
    changes the derivative there; a wrong rule is wrong at every point.
    """
    found = []
    for error in errors:
        found.append(float(np.max(error)))
        if found[-1] <= 1e-5:
            break
    return min(found)


@every
def test_the_two_products_are_adjoint(network, oracles):
    oracle = oracle_of(network, oracles)
    x = points(network, oracle)
    u, v = directions(oracle, x, 1)
    lin = oracle.linearize(x)
    pushed, pulled = lin.jvp(u).astype(np.float64), lin.vjp(v).astype(np.float64)
    left, right = np.sum(pushed * v), np.sum(pulled * u)
    scale = np.linalg.norm(pushed) * np.linalg.norm(v) + np.linalg.norm(pulled) * np.linalg.norm(u)
    assert abs(left - right) <= 1e-4 * abs(left) + 1e-7 * scale
    assert {"vjp", "jvp", "take", "exact"} == oracle.capabilities


@every
def test_the_derivative_is_the_float64_difference_quotient(network, oracles):
    oracle = oracle_of(network, oracles)
    model = in_float64(network.path)
    evaluator = ReferenceEvaluator(model)
    name = model.graph.input[0].name

    def run(z):
        rows = [z] if oracle.batch == "free" else np.split(z, len(z))
        outputs = [network.output] if network.output else None
        return np.concatenate([evaluator.run(outputs, {name: row})[0] for row in rows])

    def error(seed):
        x = points(network, oracle, seed)
        u, _ = directions(oracle, x, seed + 10)
        h = 1e-7 * network.scale
        ahead, behind = run(x + h * u.astype(np.float64)), run(x - h * u.astype(np.float64))
        assert np.all(relative(oracle(x), (ahead + behind) / 2) <= 1e-4)
        return relative(oracle.linearize(x).jvp(u), (ahead - behind) / (2 * h))

    assert least(map(error, range(3))) <= 1e-3


@every
def test_many_at_once_are_each_alone(network, oracles):
    oracle = oracle_of(network, oracles)
    x = points(network, oracle)
    u, v = directions(oracle, x, 3)
    for kind in ("vjp", "jvp"):
        assert {*oracle._engine.plan(kind, many=True).residuals} <= {*oracle._engine.residuals}
    lin = oracle.linearize(x)
    for many, alone in (
        (lin.jvp(np.stack([u, -2 * u])), lin.jvp(u)),
        (lin.vjp(np.stack([v, -2 * v])), lin.vjp(v)),
    ):
        assert np.all(relative(many[0], alone) <= 1e-4)
        assert np.all(relative(many[1], -2 * alone) <= 1e-4)


@every
def test_a_taken_sample_is_that_sample(network, oracles):
    oracle = oracle_of(network, oracles)
    x = points(network, oracle)
    _, v = directions(oracle, x, 4)
    lin = oracle.linearize(x)
    last = np.array([network.count - 1])
    assert np.all(relative(lin.take(last).vjp(v[last]), lin.vjp(v)[last]) <= 1e-4)


@pytest.fixture
def onnx2torch(monkeypatch):
    """The converter; torchvision, which two of its operators use, stays out where it is absent."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    if importlib.util.find_spec("torchvision") is None:
        stand_in, inner = ModuleType("torchvision"), ModuleType("torchvision.ops")
        inner.roi_align, stand_in.ops = None, inner
        monkeypatch.setitem(sys.modules, "torchvision", stand_in)
        monkeypatch.setitem(sys.modules, "torchvision.ops", inner)
    return pytest.importorskip("onnx2torch", reason="onnx2torch is not installed")


@every
@pytest.mark.filterwarnings("ignore")
def test_the_gradient_is_that_of_autograd(network, oracles, onnx2torch):
    oracle = oracle_of(network, oracles)
    try:
        module = onnx2torch.convert(str(network.path)).eval()
    except NotImplementedError as error:
        pytest.skip(f"onnx2torch: {error}")

    def error(seed):
        x = points(network, oracle, seed)
        _, v = directions(oracle, x, seed + 20)
        return relative(oracle.linearize(x).vjp(v), by_autograd(module, network, x, v))

    assert least(map(error, range(3))) <= 1e-4


def by_autograd(module, network, x, v):
    import torch

    gradients = []
    for row, cotangent in zip(x, v):
        leaf = torch.from_numpy(row[None]).requires_grad_()
        made = module(leaf)
        if isinstance(made, list | tuple):
            made = made[0 if network.output == "scores" else 1]
        made.backward(torch.from_numpy(cotangent[None]))
        gradients.append(leaf.grad.numpy())
    return np.concatenate(gradients)
