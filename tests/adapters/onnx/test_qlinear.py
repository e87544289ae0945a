"""ONNX Runtime's operators on integers, and whole networks that its tools have quantised."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnxruntime import quantization

from pertcore.adapters.onnx import registry
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.describe import describe
from pertcore.demo import CLASSIFIER, digits
from pertcore.errors import CapabilityError
from tests.adapters.onnx.models import model, value, weight

MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(31)
STEP, POINT, GIVEN = 0.02, 120, "q"
MADE = 0.03


def scalar(number, kind=np.float32):
    return np.array(number, kind)


def ints(*shape, kind=np.int8):
    limits = np.iinfo(kind)
    return RNG.integers(limits.min // 2, limits.max // 2, shape).astype(kind)


def bytes_of(*shape):
    return RNG.integers(60, 200, shape).astype(np.uint8)


X = (GIVEN, scalar(STEP), scalar(POINT, np.uint8))
Y = (scalar(MADE), scalar(100, np.uint8))
OTHER = (scalar(0.01), scalar(128, np.uint8))
W = (scalar(0.004), scalar(0, np.int8))
COLUMNS = (np.array([0.004, 0.002, 0.006], np.float32), np.zeros(3, np.int8))
# operator, inputs, attributes, shape of a sample, whether the result is a float.
CASES = [
    ("QLinearAdd", [*X, bytes_of(1, 4), *OTHER, *Y], {}, (4,), False),
    ("QLinearAdd", [*X, *X, *Y], {}, (4,), False),
    ("QLinearMul", [*X, bytes_of(1, 4), *OTHER, *Y], {}, (4,), False),
    ("QLinearSigmoid", [*X, scalar(1 / 256), scalar(0, np.uint8)], {}, (4,), False),
    ("QLinearLeakyRelu", [*X, *Y], {"alpha": 0.3}, (4,), False),
    ("QLinearSoftmax", [*X, scalar(1 / 256), scalar(0, np.uint8)], {"opset": 13}, (4,), False),
    ("QLinearConcat", [*Y, *X, *X], {"axis": 1}, (4,), False),
    ("QLinearAveragePool", [*X, *Y], {"kernel_shape": [2, 2], "pads": [1, 1, 0, 0]}, (2, 4, 4), 0),
    ("QLinearAveragePool", [*X, *Y], {"kernel_shape": [2, 2], "channels_last": 1}, (4, 4, 2), 0),
    ("QLinearGlobalAveragePool", [*X, *Y], {}, (2, 4, 4), False),
    ("QLinearGlobalAveragePool", [*X, *Y], {"channels_last": 1}, (4, 4, 2), False),
    ("NhwcMaxPool", [GIVEN], {"kernel_shape": [2, 2], "strides": [2, 2]}, (4, 4, 2), False),
    (
        "QLinearConv",
        [*X, ints(3, 2, 3, 3), *COLUMNS, *Y, ints(3, kind=np.int16).astype(np.int32)],
        {"channels_last": 1, "pads": [1, 1, 1, 1]},
        (4, 4, 2),
        False,
    ),
    (
        "QLinearWhere",
        [np.array([[True, False, True, True]]), *X, bytes_of(1, 4), *OTHER, *Y],
        {},
        (4,),
        False,
    ),
    ("QGemm", [*X, ints(4, 3), *COLUMNS, ints(3).astype(np.int32), *Y], {}, (4,), False),
    ("QGemm", [*X, ints(3, 4), *W, None], {"transB": 1, "alpha": 0.7}, (4,), True),
    (
        "MatMulIntegerToFloat",
        [GIVEN, ints(4, 3), scalar(STEP), COLUMNS[0], X[2], COLUMNS[1], RNG.random(3, np.float32)],
        {},
        (4,),
        True,
    ),
    (
        "QAttention",
        [
            *(GIVEN, ints(4, 12), RNG.random(12, np.float32), X[1], W[0], None),
            *(X[2], scalar(0, np.int8)),
        ],
        {"num_heads": 2},
        (3, 4),
        True,
    ),
    ("DynamicQuantizeMatMul", ["x", ints(4, 3), *COLUMNS, RNG.random(3, np.float32)], {}, (4,), 1),
    ("QuantizeLinear", ["x", *X[1:]], {}, (4,), False),
]


def network(op, inputs, attrs, shape, real):
    """x -> integers -> the operator -> y."""
    names, weights = [], [weight("s", X[1]), weight("z", X[2])]
    for place, argument in enumerate(inputs):
        if isinstance(argument, str) or argument is None:
            names.append(argument or "")
        else:
            names.append(f"w{place}")
            weights.append(weight(f"w{place}", argument))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node(op, names, ["y" if real else "r"], "node", domain=MICROSOFT, **attrs),
    ]
    if not real:
        last = {"NhwcMaxPool": X[1:], "QuantizeLinear": X[1:], "QLinearConcat": Y}.get(op)
        last = last or inputs[-2:] if op != "QLinearConv" else Y
        last = Y if op == "QGemm" else last
        weights += [weight("t", last[0]), weight("p", last[1])]
        twin = {"domain": MICROSOFT} if op == "QuantizeLinear" else {}
        nodes.append(helper.make_node("DequantizeLinear", ["r", "t", "p"], ["y"], **twin))
    batch = 1 if op == "DynamicQuantizeMatMul" else "N"
    net = model(nodes, [value("x", [batch, *shape])], [value("y", None)], weights, opset=13)
    net.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return net


def test_every_operator_on_integers_has_a_case():
    tested = {op for op, *_ in CASES} | {"DequantizeLinear"}
    known = {op for domain, op in registry.LOWERED if domain == f"straight.{MICROSOFT}"}
    assert known == tested


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_zero_unless_asked_then_the_derivative_of_the_real_values(case):
    net, shape = network(*case), case[3]
    with pytest.raises(CapabilityError, match=r"identically zero.*straight_through=True"):
        from_onnx(net)
    oracle = from_onnx(net, threads=1, straight_through=True)
    assert "exact" not in oracle.capabilities
    x = RNG.uniform(-1.2, 1.2, (1 if case[0].startswith("Dyn") else 3, *shape)).astype(np.float32)
    lin, wanted = oracle.linearize(x), oracle(x)
    # A sum in another order may fall on the other side of a half.
    steps = np.abs(lin.value - wanted) / (1e-5 if case[4] else MADE)
    assert np.mean(steps > 1e-2) <= 0.1 and np.max(steps) < 1.01 + 99 * bool(case[4])
    u = RNG.standard_normal((2, *x.shape)).astype(np.float32)
    v = RNG.standard_normal((2, *wanted.shape)).astype(np.float32)
    pushed, pulled = lin.jvp(u), lin.vjp(v)
    np.testing.assert_allclose(pushed[1], lin.jvp(u[1]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pulled[1], lin.vjp(v[1]), rtol=1e-4, atol=1e-5)
    assert np.vdot(v[0], pushed[0]) == pytest.approx(np.vdot(pulled[0], u[0]), rel=1e-3, abs=1e-4)
    # A difference over many steps of the quantisation follows the estimate.
    long = 0.15
    moved = (oracle(x + long * u[0]) - oracle(x - long * u[0])) / (2 * long)
    assert np.corrcoef(moved.ravel(), pushed[0].ravel())[0, 1] > 0.8


class Calibration(quantization.CalibrationDataReader):
    def __init__(self, name, x):
        self.rows = iter([{name: row[None]} for row in x])

    def get_next(self):
        return next(self.rows, None)


def quantised(folder, name):
    """The demo classifier as onnxruntime.quantization writes it. Weights of seven bits: a CPU
    without VNNI saturates products of eight in 16 bits, so that two graphs of one model differ."""
    target = folder / f"{name}.onnx"
    if name == "dynamic":
        quantization.quantize_dynamic(CLASSIFIER, target, reduce_range=True)
        return target
    formats = quantization.QuantFormat
    quantization.quantize_static(
        CLASSIFIER,
        target,
        Calibration(onnx.load(CLASSIFIER).graph.input[0].name, digits()[0][:50]),
        quant_format=formats.QOperator if name == "qlinear" else formats.QDQ,
        per_channel=name == "channels",
        reduce_range=True,
    )
    return target


def optimised(path):
    """As ONNX Runtime itself writes it after fusing."""
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path.with_suffix(".fused.onnx"))
    options.log_severity_level = 4
    onnxruntime.InferenceSession(path, options)
    return path.with_suffix(".fused.onnx")


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("name", ["qdq", "channels", "qlinear", "dynamic"])
def test_a_quantised_network_moves_as_the_one_of_floats(tmp_path, name, fused):
    path = quantised(tmp_path, name)
    path = optimised(path) if fused else path
    x, y = digits()
    x = x[:64]
    if name != "dynamic":
        with pytest.raises(CapabilityError, match="identically zero"):
            from_onnx(path)
        assert any("identically zero" in note for note in describe(path).notes)
    oracle = from_onnx(path, threads=1, straight_through=True)
    lin = oracle.linearize(x)
    np.testing.assert_array_equal(lin.value, oracle(x))
    v = np.eye(10, dtype=np.float32)[y[:64]]
    found = lin.vjp(v).reshape(64, -1)
    wanted = from_onnx(CLASSIFIER, threads=1).linearize(x).vjp(v).reshape(64, -1)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosines = np.sum(found * wanted, axis=1) / lengths
    assert np.median(cosines) > 0.99 and np.min(cosines) > 0.9
