"""Operators without a rule: differences of them alone, of the whole model, and hostile files."""

import time

import numpy as np
import pytest
from onnx import TensorProto, helper

from pertcore.adapters.function import FunctionOracle
from pertcore.adapters.onnx import kept, registry
from pertcore.adapters.onnx.adapter import OnnxOracle, from_onnx
from pertcore.errors import CapabilityError, ModelError, PertcoreWarning
from tests.adapters.onnx.models import model, small_net, value, weight
from tests.adapters.onnx.test_optimised import LEVEL, foreign, optimised

MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(41)


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture(autouse=True)
def forgetful():
    """What was built with other rules is no answer here."""
    kept.forget()
    yield
    kept.forget()


@pytest.fixture
def no_rule(monkeypatch):
    """Tanh and Gelu as operators that nobody has declared."""
    for place in ((registry.RULES, ("", "Tanh")), (registry.LOWERED, (MICROSOFT, "QuickGelu"))):
        monkeypatch.delitem(*place)


def network(batch="N", width=6, *, op="QuickGelu", domain=MICROSOFT, middle=()):
    """y = op(x w) v + x, (batch, width)."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node(op, ["h"], ["g"], "inner", domain=domain),
        *middle,
        helper.make_node("MatMul", ["m" if middle else "g", "v"], ["o"]),
        helper.make_node("Add", ["o", "x"], ["y"]),
    ]
    weights = [weight("w", numbers(width, width) / 2), weight("v", numbers(width, width) / 2)]
    given = [value("x", [batch, width])]
    net = model(nodes, given, [value("y", [batch, width])], weights)
    net.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return net


def differenced(net, **options):
    with pytest.warns(PertcoreWarning):
        return from_onnx(net, threads=1, finite_differences=True, **options)


@pytest.mark.parametrize("batch", ["N", 1, 3])
@pytest.mark.parametrize(("op", "domain"), [("QuickGelu", MICROSOFT), ("Tanh", "")])
def test_an_operator_is_differenced_alone(op, domain, batch, monkeypatch):
    net = network(batch, op=op, domain=domain)
    exact = from_onnx(net, threads=1)
    with monkeypatch.context() as patch:
        table = registry.LOWERED if domain else registry.RULES
        patch.delitem(table, (domain, op))
        kept.forget()
        with pytest.raises(CapabilityError, match=f"no derivative rule for .*{op}"):
            from_onnx(net, threads=1)
        oracle = differenced(net)
        assert "exact" not in oracle.deterministic().capabilities
    assert isinstance(oracle, OnnxOracle) and oracle.batch != "looped"
    assert oracle.capabilities == {"vjp", "jvp", "take"}
    assert f"{op} 'inner' has no rule" in oracle.notes[0] and "12 runs" in oracle.notes[0]
    x, u, v = numbers(3, 6), numbers(2, 3, 6), numbers(2, 3, 6)
    x[1] = 0
    lin, wanted = oracle.linearize(x), exact.linearize(x)
    np.testing.assert_allclose(lin.value, oracle(x), rtol=1e-5, atol=1e-6)
    for kind, many in (("jvp", u), ("vjp", v)):
        found, known = getattr(lin, kind)(many), getattr(wanted, kind)(many)
        np.testing.assert_allclose(found, known, rtol=1e-3, atol=2e-3)
        np.testing.assert_allclose(getattr(lin, kind)(many[0]), found[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        np.vdot(v[0], lin.jvp(u[0])), np.vdot(lin.vjp(v[0]), u[0]), rtol=1e-4, atol=1e-4
    )
    index = np.array([2, 0])
    np.testing.assert_allclose(
        lin.take(index).vjp(v[0][index]), lin.vjp(v[0])[index], rtol=1e-5, atol=1e-6
    )


def quotient(f, x, u, h=5e-3):
    return (f(x + h * u).astype(np.float64) - f(x - h * u)) / (2 * h)


def unruled(op, given, shape, weights=(), batch="N", **attrs):
    """y = op(tanh(x), ...), an operator that really has no rule."""
    named = [weight(f"w{i}", array) for i, array in enumerate(weights)]
    names = [f"w{g}" if isinstance(g, int) else g for g in given]
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node(op, names, ["y"], "inner", domain=MICROSOFT, **attrs),
    ]
    net = model(nodes, [value("x", [batch, *shape])], [value("y", None)], named)
    net.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return net


REGIONS = (np.array([[0.1, 0.2, 0.8, 0.9]], np.float32), np.zeros(1, np.int32), np.array([3, 2]))
UNRULED = {
    "crop": unruled(
        "CropAndResize",
        ["t", 0, 1, 2],
        (2, 4, 5),
        [*REGIONS[:2], REGIONS[2].astype(np.int32)],
        batch=1,
    ),
    "pool": unruled(
        "MaxpoolWithMask",
        ["t", 0],
        (1, 4, 4),
        [np.ones((1, 1, 4, 4), np.int32)],
        batch=1,
        kernel_shape=[2, 2],
        strides=[2, 2],
    ),
}


@pytest.mark.parametrize("name", UNRULED)
def test_operators_that_really_have_no_rule(name):
    oracle = differenced(UNRULED[name])
    assert isinstance(oracle, OnnxOracle)
    assert "exact" not in oracle.capabilities
    x = RNG.uniform(-1, 1, (2, *oracle.input_shape)).astype(np.float32)
    u = numbers(*x.shape)
    lin = oracle.linearize(x)
    wanted, found = quotient(oracle, x, u), lin.jvp(u)
    assert np.linalg.norm(found - wanted) <= 2e-2 * np.linalg.norm(wanted)
    v = numbers(*lin.value.shape)
    assert np.vdot(lin.vjp(v), u) == pytest.approx(np.vdot(v, found), rel=1e-3, abs=1e-4)


def test_many_inputs_take_the_whole_model(no_rule):
    oracle = differenced(network(width=65))
    assert isinstance(oracle, FunctionOracle) and "central differences" in oracle.notes[0]
    inside = differenced(network(width=64))
    assert isinstance(inside, OnnxOracle)


def test_samples_that_mix_inside_take_the_whole_model(monkeypatch):
    """A running sum over the batch: differences of it, all samples at once, would be wrong."""
    for table in (registry.RULES, registry.LOWERED):
        monkeypatch.delitem(table, ("", "CumSum"), raising=False)
    mixing = [helper.make_node("CumSum", ["g", "zero"], ["m"])]
    net = network(middle=mixing)
    net.graph.initializer.append(weight("zero", np.array(0)))
    assert isinstance(differenced(net), FunctionOracle)


def test_a_layout_of_one_machine_takes_the_whole_model(tmp_path):
    """ONNX Runtime's NCHWc operators have no rule, but ONNX Runtime runs them."""
    laid = optimised(small_net(), tmp_path / "laid.onnx", LEVEL.ORT_ENABLE_ALL)
    if "com.microsoft.nchwc" not in foreign(laid):
        pytest.skip("this machine has no layout of its own")
    oracle = differenced(laid)
    assert isinstance(oracle, FunctionOracle)
    x = numbers(2, 1, 8, 8)
    u = 1e-2 * numbers(2, 1, 8, 8)
    wanted = from_onnx(small_net(), threads=1).linearize(x).jvp(u)
    assert np.median(np.abs(oracle.linearize(x).jvp(u) - wanted)) < 2e-2


def bomb():
    """An operator without a rule before a tensor that would take terabytes."""
    side = weight("s", np.array([2**20, 2**20]))
    spread = [
        helper.make_node("Expand", ["one", "s"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["g", "sum"], ["m"]),
    ]
    net = network(middle=spread)
    net.graph.initializer.extend([side, weight("one", np.ones((1, 1), np.float32))])
    return net


def test_bounds_hold_where_the_model_is_only_run(no_rule):
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"Expand.*at most 2\^28"):
        from_onnx(bomb(), finite_differences=True)
    assert time.monotonic() - began < 5


def test_turns_are_counted_where_the_model_is_only_run(no_rule):
    state = value("s", None)
    body = helper.make_graph(
        [helper.make_node("Identity", [n], [n + "1"]) for n in ("going", "s")],
        "body",
        [value("i", [], TensorProto.INT64), value("going", [], TensorProto.BOOL), state],
        [value("going1", [], TensorProto.BOOL), value("s1", None)],
    )
    loop = helper.make_node("Loop", ["count", "", "g"], ["m"], body=body)
    net = network(middle=[loop])
    net.graph.initializer.append(weight("count", np.array(2**40)))
    with pytest.raises(ModelError, match=r"at most 2\^20 turns"):
        from_onnx(net, finite_differences=True)
