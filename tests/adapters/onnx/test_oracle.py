"""The oracle of an ONNX model: batches, lifting, looping, counting, kinks, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from pertcore.adapters.onnx import registry
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.describe import describe
from pertcore.errors import CapabilityError, InputError, PertcoreWarning
from pertcore.oracle import Calls, Linearization, Oracle
from pertcore.testing import assert_oracle
from tests.adapters.onnx.models import model, small_net, value, weight

RNG = np.random.default_rng(0)


def points(n, *shape):
    return RNG.standard_normal((n, *shape)).astype(np.float32)


WHOLE, POINTS, COTANGENTS = from_onnx(small_net(), threads=1), points(6, 1, 8, 8), points(6, 3)


def unary(*ops, shape=("N", 3)):
    names = ["x", *[f"t{i}" for i in range(len(ops) - 1)], "y"]
    nodes = [helper.make_node(op, [a], [b]) for op, a, b in zip(ops, names, names[1:])]
    return model(nodes, [value("x", list(shape))], [value("y", None)])


def test_it_is_an_oracle():
    oracle = from_onnx(small_net(), threads=1)
    assert isinstance(oracle, Oracle)
    assert isinstance(oracle.linearize(points(1, 1, 8, 8)), Linearization)
    assert oracle.capabilities == {"vjp", "jvp", "take", "exact"}
    assert (oracle.input_shape, oracle.output_shape, oracle.dtype) == ((1, 8, 8), (3,), np.float32)


@pytest.mark.parametrize("batch", ["N", 1])
def test_it_keeps_the_promises_of_the_protocol(batch):
    assert_oracle(from_onnx(small_net(batch=batch), threads=1), points(3, 1, 8, 8))


def test_a_looped_model_keeps_them_too():
    assert_oracle(from_onnx(mixing(), threads=1), points(3, 2, 3))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_a_batch_is_its_samples(rows):
    lin, single = WHOLE.linearize(POINTS[rows]), [WHOLE.linearize(POINTS[i : i + 1]) for i in rows]
    v = COTANGENTS[rows]
    np.testing.assert_allclose(lin.value, np.concatenate([s.value for s in single]), rtol=1e-5)
    alone = np.concatenate([s.vjp(v[i : i + 1]) for i, s in enumerate(single)])
    np.testing.assert_allclose(lin.vjp(v), alone, rtol=1e-4, atol=1e-5)


def test_calls_are_counted_per_sample():
    oracle = from_onnx(small_net(), threads=1)
    oracle(points(4, 1, 8, 8))
    lin = oracle.linearize(points(2, 1, 8, 8))
    lin.vjp(points(2, 3))
    lin.vjp(np.ones((5, 2, 3), np.float32))
    lin.jvp(points(2, 1, 8, 8))
    lin.take(np.array([1])).vjp(points(1, 3))
    assert oracle.calls == Calls(f=6, vjp=13, jvp=2)


def test_the_linearisation_outlives_changes_to_x():
    oracle = from_onnx(small_net(), threads=1)
    x, v = points(2, 1, 8, 8), points(2, 3)
    lin = oracle.linearize(x)
    before = lin.jvp(x.copy()), lin.vjp(v)
    u = x.copy()
    x[:] = 0
    np.testing.assert_array_equal(lin.jvp(u), before[0])
    np.testing.assert_array_equal(lin.vjp(v), before[1])


def test_empty_batches():
    oracle = from_onnx(small_net(), threads=1)
    lin = oracle.linearize(points(0, 1, 8, 8))
    assert oracle(points(0, 1, 8, 8)).shape == (0, 3)
    assert lin.value.shape == (0, 3)
    assert lin.vjp(points(0, 3)).shape == (0, 1, 8, 8)
    some = oracle.linearize(points(2, 1, 8, 8))
    assert some.take(np.array([], int)).vjp(points(0, 3)).shape == (0, 1, 8, 8)
    assert some.vjp(np.zeros((0, 2, 3), np.float32)).shape == (0, 2, 1, 8, 8)


@pytest.mark.parametrize("shape", [(3, 1, 8, 9), (8, 8)])
def test_wrong_shapes(shape):
    oracle = from_onnx(small_net(), threads=1)
    with pytest.raises(InputError, match="expected"):
        oracle(np.zeros(shape, np.float32))
    lin = oracle.linearize(points(2, 1, 8, 8))
    with pytest.raises(InputError, match=r"vjp: got shape \(3, 3\)"):
        lin.vjp(points(3, 3))


def test_taking_twice_and_by_booleans():
    lin = from_onnx(small_net(), threads=1).linearize(points(5, 1, 8, 8))
    v = points(5, 3)
    whole = lin.vjp(v)
    part = lin.take(np.array([4, 2, 0]))
    np.testing.assert_array_equal(part.vjp(v[[4, 2, 0]]), whole[[4, 2, 0]])
    inner = part.take(np.array([True, False, True]))
    np.testing.assert_array_equal(inner.vjp(v[[4, 0]]), whole[[4, 0]])
    fresh = lin.take(np.array([3, 1, 2])).take(np.array([2, 0]))
    np.testing.assert_array_equal(fresh.vjp(v[[2, 3]]), whole[[2, 3]])


def test_a_batch_of_one_is_lifted():
    oracle = from_onnx(small_net(batch=1), threads=1)
    free = from_onnx(small_net(), threads=1)
    assert oracle.batch == "lifted"
    assert "lifted" in oracle.remarks[0] and oracle.notes == ()
    x, v = points(5, 1, 8, 8), points(5, 3)
    np.testing.assert_allclose(oracle(x), free(x), rtol=1e-5)
    np.testing.assert_allclose(oracle.linearize(x).vjp(v), free.linearize(x).vjp(v), rtol=1e-5)


def mixing():
    """Flatten over the batch too, softmax over everything: right for one sample only."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], axis=0),
        helper.make_node("Softmax", ["f"], ["s"], axis=1),
        helper.make_node("Reshape", ["s", "shape"], ["y"]),
    ]
    shape = weight("shape", np.array([1, 6]))
    return model(nodes, [value("x", [1, 2, 3])], [value("y", [1, 6])], [shape])


def test_wrong_lifting_is_noticed_and_looped():
    oracle = from_onnx(mixing(), threads=1)
    assert oracle.batch == "looped"
    assert "one by one" in oracle.remarks[0]
    x = points(4, 2, 3)
    soft = np.exp(x.reshape(4, 6))
    soft /= soft.sum(axis=1, keepdims=True)
    lin = oracle.linearize(x)
    np.testing.assert_allclose(oracle(x), soft, rtol=1e-5)
    np.testing.assert_allclose(lin.value, soft, rtol=1e-5)
    v = points(4, 6)
    exact = soft * (v - (soft * v).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(lin.vjp(v).reshape(4, 6), exact, rtol=1e-4, atol=1e-6)
    many = lin.vjp(np.stack([v, 2 * v]))
    np.testing.assert_allclose(many[1].reshape(4, 6), 2 * exact, rtol=1e-4, atol=1e-6)
    part = lin.take(np.array([2, 0]))
    np.testing.assert_allclose(part.jvp(x[[2, 0]]), lin.jvp(x)[[2, 0]], rtol=1e-5)
    assert lin.take(np.array([], int)).value.shape == (0, 6)


def test_a_batch_that_cannot_be_checked_is_looped():
    """Dead on every random input: a wrong batch would not show."""
    nodes = [helper.make_node("Sub", ["x", "far"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    far = weight("far", np.full(3, 1e6, np.float32))
    oracle = from_onnx(model(nodes, [value("x", [1, 3])], [value("y", None)], [far]), threads=1)
    assert oracle.batch == "looped"
    assert "cannot be checked" in oracle.remarks[0]


def test_samples_that_change_each_other_are_noted():
    norm = helper.make_node("MeanVarianceNormalization", ["x"], ["y"], axes=[0])
    net = model([norm], [value("x", ["N", 4])], [value("y", None)])
    assert "changes with the other samples" in from_onnx(net, threads=1).notes[0]
    assert from_onnx(small_net(), threads=1).notes == ()


def test_lower_ranks_under_a_leading_axis():
    """x loses its batch axis, so its tangent (c, 4) meets (3, 4) with the ranks out of step."""
    nodes = [
        helper.make_node("Squeeze", ["x", "zero"], ["s"]),
        helper.make_node("Mul", ["s", "w"], ["m"]),
        helper.make_node("Max", ["m", "s"], ["q"]),
        helper.make_node("MatMul", ["q", "s"], ["r"]),
        helper.make_node("Unsqueeze", ["r", "zero"], ["y"]),
    ]
    weights = [weight("zero", np.array([0])), weight("w", points(3, 4))]
    net = model(nodes, [value("x", [1, 4])], [value("y", [1, 3])], weights)
    lin = from_onnx(net, threads=1).linearize(points(2, 4))
    u, v = np.stack([points(2, 4), points(2, 4)]), np.stack([points(2, 3), points(2, 3)])
    np.testing.assert_allclose(lin.jvp(u), [lin.jvp(t) for t in u], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(lin.vjp(v), [lin.vjp(c) for c in v], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.sum(lin.jvp(u) * v), np.sum(lin.vjp(v) * u), rtol=1e-4)


def test_gather_elements_at_indices_of_the_sample():
    nodes = [
        helper.make_node("TopK", ["x", "two"], ["top", "at"], axis=1),
        helper.make_node("GatherElements", ["x", "at"], ["y"], axis=1),
    ]
    net = model(nodes, [value("x", ["N", 5])], [value("y", None)], [weight("two", np.array([2]))])
    lin = from_onnx(net, threads=1).linearize(points(3, 5))
    u, v = np.stack([points(3, 5)] * 2), np.stack([points(3, 2)] * 2)
    np.testing.assert_allclose(np.sum(lin.jvp(u) * v), np.sum(lin.vjp(v) * u), rtol=1e-5)
    np.testing.assert_array_equal(lin.vjp(v)[0], lin.vjp(v[0]))


@pytest.fixture
def no_rule_for_det(monkeypatch):
    monkeypatch.delitem(registry.RULES, ("", "Det"))


@pytest.mark.usefixtures("no_rule_for_det")
def test_unknown_operators_are_listed_at_once():
    nodes = [
        helper.make_node("Det", ["x"], ["d"], name="first"),
        helper.make_node("Mystery", ["d"], ["m"], domain="somewhere", name="second"),
        helper.make_node("Relu", ["m"], ["y"]),
    ]
    net = model(nodes, [value("x", ["N", 2, 2])], [value("y", None)])
    net.opset_import.append(helper.make_opsetid("somewhere", 1))
    with pytest.raises(
        CapabilityError, match=r"Det \(first\), somewhere::Mystery \(second\).*finite"
    ):
        from_onnx(net)


@pytest.mark.usefixtures("no_rule_for_det")
def test_finite_differences_stand_in_when_asked():
    nodes = [
        helper.make_node("Det", ["x"], ["d"]),
        helper.make_node("Unsqueeze", ["d", "one"], ["y"]),
    ]
    net = model(
        nodes, [value("x", ["N", 2, 2])], [value("y", None)], [weight("one", np.array([1]))]
    )
    with pytest.raises(CapabilityError, match="Det"):
        from_onnx(net)
    with pytest.warns(PertcoreWarning):
        oracle = from_onnx(net, finite_differences=True, threads=1)
    assert "exact" not in oracle.capabilities
    x = points(2, 2, 2)
    gradient = oracle.linearize(x).vjp(np.ones((2, 1), np.float32))
    adjugate = np.stack([x[:, 1, 1], -x[:, 1, 0], -x[:, 0, 1], x[:, 0, 0]], 1).reshape(2, 2, 2)
    np.testing.assert_allclose(gradient, adjugate, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("ops", [("Sign",), ("Relu", "Round"), ("Floor", "Exp")])
def test_a_gradient_that_is_zero_everywhere(ops):
    with pytest.raises(CapabilityError, match="gradient is identically zero.*" + "|".join(ops)):
        from_onnx(unary(*ops))


def test_a_zero_path_beside_a_live_one_is_fine():
    nodes = [helper.make_node("Sign", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])]
    net = model(nodes, [value("x", ["N", 3])], [value("y", None)])
    x = points(2, 3)
    gradient = from_onnx(net, threads=1).linearize(x).vjp(np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(gradient, np.sign(x))


def test_an_output_that_ignores_the_input():
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Neg", ["w"], ["y"])]
    net = model(nodes, [value("x", ["N", 1])], [value("y", None)], [weight("w", points(1, 1))])
    with pytest.raises(CapabilityError, match="does not depend on"):
        from_onnx(net)


KINKS = [
    ("Relu", {}, [0.0], [0.0]),
    ("Abs", {}, [0.0], [0.0]),
    ("LeakyRelu", {"alpha": 0.25}, [0.0], [0.25]),
    ("Elu", {}, [0.0], [1.0]),
    ("Sqrt", {}, [0.0], [np.inf]),
    ("HardSwish", {}, [3.0, -3.0], [1.0, 0.0]),
    ("HardSigmoid", {"alpha": 0.5, "beta": 0.5}, [1.0, -1.0], [0.0, 0.0]),
]


@pytest.mark.parametrize("op, attrs, at, slope", KINKS, ids=[k[0] for k in KINKS])
def test_kinks(op, attrs, at, slope):
    net = model(
        [helper.make_node(op, ["x"], ["y"], **attrs)],
        [value("x", ["N", len(at)])],
        [value("y", None)],
    )
    lin = from_onnx(net, threads=1).linearize(np.array([at], np.float32))
    np.testing.assert_array_equal(lin.vjp(np.ones((1, len(at)), np.float32)), [slope])
    np.testing.assert_array_equal(lin.jvp(np.ones((1, len(at)), np.float32)), [slope])


def clip_model():
    weights = [weight("lo", np.float32(0.3)), weight("hi", np.float32(6.0))]
    node = helper.make_node("Clip", ["x", "lo", "hi"], ["y"])
    return model([node], [value("x", ["N", 4])], [value("y", None)], weights)


def test_clip_is_flat_at_its_bounds():
    x = np.array([[0.3, np.nextafter(np.float32(0.3), np.float32(1)), 5.999, 6.0]], np.float32)
    lin = from_onnx(clip_model(), threads=1).linearize(x)
    np.testing.assert_array_equal(lin.vjp(np.ones((1, 4), np.float32)), [[0, 1, 1, 0]])


def test_tiny_activations_count_as_positive():
    x = np.array([[1e-37, -1e-37, 3e38]], np.float32)
    lin = from_onnx(unary("Relu"), threads=1).linearize(x)
    np.testing.assert_array_equal(lin.vjp(np.ones((1, 3), np.float32)), [[1, 0, 1]])


@pytest.mark.parametrize(
    "kernel, strides, channels", [([2, 2], [2, 2], 1), ([2, 2], [2, 2], 16), ([3, 3], [1, 1], 1)]
)
def test_max_pool_goes_to_the_first_of_ties(kernel, strides, channels):
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=kernel, strides=strides)
    net = model([pool], [value("x", ["N", channels, 4, 4])], [value("y", None)])
    x = RNG.integers(0, 3, (20, channels, 4, 4)).astype(np.float32)
    lin = from_onnx(net, threads=1).linearize(x)
    gradient = lin.vjp(np.ones_like(lin.value))
    expected = np.zeros_like(x)
    for i in range(0, 4 - kernel[0] + 1, strides[0]):
        for j in range(0, 4 - kernel[1] + 1, strides[1]):
            window = x[:, :, i : i + kernel[0], j : j + kernel[1]].reshape(20, channels, -1)
            down, right = np.divmod(window.argmax(axis=-1), kernel[1])
            n, c = np.indices(down.shape)
            np.add.at(expected, (n, c, i + down, j + right), 1)
    np.testing.assert_array_equal(gradient, expected)


def test_maxima_share_ties():
    nodes = [helper.make_node("ReduceMax", ["x", "one"], ["y"], keepdims=1)]
    net = model(nodes, [value("x", ["N", 4])], [value("y", None)], [weight("one", np.array([1]))])
    lin = from_onnx(net, threads=1).linearize(np.array([[1, 5, 5, 2]], np.float32))
    np.testing.assert_array_equal(lin.vjp(np.ones((1, 1), np.float32)), [[0, 0.5, 0.5, 0]])


def test_float64_models():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    w = RNG.standard_normal((3, 4))
    net = model(nodes, [value("x", ["N", 3], 11)], [value("y", ["N", 4], 11)], [weight("w", w)])
    oracle = from_onnx(net, threads=1)
    x, v = RNG.standard_normal((2, 3)), RNG.standard_normal((2, 4))
    assert oracle.dtype == np.float64
    np.testing.assert_allclose(oracle.linearize(x).vjp(v), (v * (x @ w > 0)) @ w.T, rtol=1e-12)


def test_the_deterministic_version_has_one_thread_and_the_same_values():
    oracle = from_onnx(small_net())
    single = oracle.deterministic()
    x = points(3, 1, 8, 8)
    np.testing.assert_allclose(single(x), oracle(x), rtol=1e-5)
    np.testing.assert_array_equal(single(x), single(x))


@pytest.mark.usefixtures("no_rule_for_det")
def test_describe():
    info = describe(small_net(batch=1))
    assert info.batch == "lifted" and info.exact
    assert [(t.name, t.dtype, t.shape) for t in info.inputs] == [("x", "float32", (1, 1, 8, 8))]
    assert {(o.name, o.count, o.fact) for o in info.operators} >= {("Conv", 1, "rule")}
    assert (info.opset, info.ir_version, info.parameters) == (13, 8, 36 + 4 + 192 + 2)
    steps = describe(unary("Relu", "Sign"))
    assert not steps.exact and "identically zero" in steps.notes[0]
    assert {o.name: o.fact for o in steps.operators} == {"Relu": "rule", "Sign": "zero"}
    assert describe(unary("Relu", "Det", shape=("N", 2, 2))).operators[1].fact == "unknown"
    asks = describe(unary("Relu", shape=("N", "W")))
    assert asks.batch == "free" and "input_shape" in asks.notes[0]
