"""Rounding: errors against torch in float64 beside those of torch in float32, and of the very
derivative graph in float64."""

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.differentiate import differentiate
from tests.adapters.onnx.judging import relative
from tests.adapters.onnx.networks import in_float64

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
networks = pytest.importorskip("bench.networks", reason="the networks of the bench need PyTorch")

SAMPLES, FEW = 24, 2
named = pytest.mark.parametrize("name", networks.NETWORKS)


def drawn(shape, made, count):
    rng = np.random.default_rng(5)
    x, u = rng.random((count, *shape)), rng.standard_normal((count, *shape))
    return x.astype(np.float32), u.astype(np.float32), made(rng, count)


def cotangents(module, shape):
    with torch.no_grad():
        out = module(torch.zeros(1, *shape)).shape[1:]
    return lambda rng, count: rng.standard_normal((count, *out)).astype(np.float32)


def by_torch(module, x, u, v, dtype):
    """J^T v and J u by autograd, in the type, as float64."""
    module = module.to(dtype)
    point, tangent, cotangent = (torch.from_numpy(a).to(dtype) for a in (x, u, v))
    _, pull = torch.func.vjp(module, point)
    (pulled,) = pull(cotangent)
    _, pushed = torch.func.jvp(module, (point,), (tangent,))
    module.to(torch.float32)
    return [made.double().numpy() for made in (pulled, pushed)]


@named
@pytest.mark.filterwarnings("ignore")
def test_errors_are_at_most_twice_those_of_torch(name):
    """At quantiles: rounding puts a unit on the other side of its kink for either, now and then."""
    module, model, shape = networks.network(name)
    x, u, v = drawn(shape, cotangents(module, shape), SAMPLES)
    exact = by_torch(module, x, u, v, torch.float64)
    single = by_torch(module, x, u, v, torch.float32)
    lin = from_onnx(model, threads=1).linearize(x)
    many = [lin.vjp(v[None])[0], lin.jvp(u[None])[0]]
    for ours in ([lin.vjp(v), lin.jvp(u)], many):
        for mine, theirs, right in zip(ours, single, exact):
            error, allowed = relative(mine, right), relative(theirs, right)
            for share in (0.25, 0.5, 0.75):
                assert np.quantile(error, share) <= 2 * np.quantile(allowed, share)


@named
@pytest.mark.filterwarnings("ignore")
def test_the_graph_itself_is_exact_in_float64(name):
    module, model, shape = networks.network(name)
    x, u, v = drawn(shape, cotangents(module, shape), FEW)
    exact = dict(zip(("vjp", "jvp"), by_torch(module, x, u, v, torch.float64)))
    for mode, seed in (("vjp", v), ("jvp", u)):
        made = differentiate(model, mode=mode)
        wide = ReferenceEvaluator(in_float64(made.model))
        feeds = dict(zip(made.inputs, (x.astype(np.float64), seed.astype(np.float64))))
        (found,) = wide.run(None, feeds)
        assert found.dtype == np.float64
        assert np.all(relative(found, exact[mode]) <= 1e-12)
