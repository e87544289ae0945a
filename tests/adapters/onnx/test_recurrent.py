"""RNN, GRU and LSTM: values as ONNX Runtime's own kernels, derivatives that keep their promises."""

import numpy as np
import pytest
from onnx import helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import CapabilityError, ModelError
from pertcore.testing import assert_oracle
from tests.adapters.onnx.models import model, value, weight

RNG = np.random.default_rng(11)
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, SIZE, HIDDEN = 4, 3, 2, 3


def numbers(*shape):
    return (0.7 * RNG.standard_normal(shape)).astype(np.float32)


def recurrent(op, *, lengths=None, initial=False, peepholes=False, **attrs):
    """x (3, 4, 2), a batch of its own inside each sample -> y (3, 4, ...) of all steps."""
    ways = 2 if attrs.get("direction") == "bidirectional" else 1
    gates = GATES[op]
    tensors = {
        "w": numbers(ways, gates * HIDDEN, SIZE),
        "r": numbers(ways, gates * HIDDEN, HIDDEN),
        "b": numbers(ways, 2 * gates * HIDDEN),
    }
    if lengths is not None:
        tensors["lengths"] = np.array(lengths, np.int32)
    if initial:
        tensors["h"] = numbers(ways, BATCH, HIDDEN)
        tensors["c"] = numbers(ways, BATCH, HIDDEN)
    if peepholes:
        tensors["p"] = numbers(ways, 3 * HIDDEN)
    order = ["w", "r", "b", "lengths", "h", *(["c", "p"] if op == "LSTM" else [])]
    inputs = [name if name in tensors else "" for name in order]
    weights = [weight(k, v) for k, v in tensors.items() if k in order]
    nodes = [
        helper.make_node("Squeeze", ["x", "zero"], ["s"]),
        helper.make_node(op, ["s", *inputs], ["all", "last"], hidden_size=HIDDEN, **attrs),
        helper.make_node("Unsqueeze", ["last", "zero"], ["more"]),
        helper.make_node("Add", ["all", "more"], ["sum"]),
        helper.make_node("Unsqueeze", ["sum", "zero"], ["y"]),
    ]
    given = [value("x", [1, STEPS, BATCH, SIZE])]
    zero = weight("zero", np.array([0]))
    return model(nodes, given, [value("y", None)], [*weights, zero])


CASES = {
    "rnn": recurrent("RNN"),
    "rnn-relu-backwards": recurrent("RNN", direction="reverse", activations=["Relu"]),
    "gru": recurrent("GRU", initial=True),
    "gru-reset-after": recurrent("GRU", linear_before_reset=1, direction="bidirectional"),
    "lstm": recurrent("LSTM"),
    "lstm-all": recurrent("LSTM", initial=True, peepholes=True, direction="bidirectional"),
    "lstm-lengths": recurrent("LSTM", lengths=[4, 2, 3], direction="bidirectional"),
    "lstm-clip": recurrent("LSTM", clip=0.5),
    "lstm-coupled": recurrent("LSTM", input_forget=1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_promises_hold(name):
    oracle = from_onnx(CASES[name], threads=1)
    x = numbers(2, STEPS, BATCH, SIZE)
    np.testing.assert_allclose(oracle.linearize(x).value, oracle._user(x), rtol=1e-4, atol=1e-5)
    assert_oracle(oracle, x)


@pytest.mark.parametrize(
    "name, alphas, betas",
    [
        ("Affine", [0.6], [0.2]),
        ("ScaledTanh", [1.3], [0.7]),
        ("HardSigmoid", [0.3], [0.4]),
        ("LeakyRelu", [0.2], []),
        ("ThresholdedRelu", [0.1], []),
        ("Elu", [0.7], []),
        ("Softsign", [], []),
        ("Softplus", [], []),
    ],
)
def test_activations_with_parameters(name, alphas, betas):
    attrs = {"activation_alpha": alphas} if alphas else {}
    attrs |= {"activation_beta": betas} if betas else {}
    oracle = from_onnx(recurrent("RNN", activations=[name], **attrs), threads=1)
    x = numbers(2, STEPS, BATCH, SIZE)
    np.testing.assert_allclose(oracle.linearize(x).value, oracle._user(x), rtol=1e-4, atol=1e-5)
    assert_oracle(oracle, x)


def test_parameters_go_to_the_activations_that_take_them():
    names = ["LeakyRelu", "Tanh", "Sigmoid", "HardSigmoid", "Relu", "Elu"]
    attrs = {"activation_alpha": [0.1, 0.3, 0.8], "activation_beta": [0.4]}
    made = recurrent("LSTM", direction="bidirectional", activations=names, **attrs)
    oracle = from_onnx(made, threads=1)
    x = numbers(2, STEPS, BATCH, SIZE)
    np.testing.assert_allclose(oracle.linearize(x).value, oracle._user(x), rtol=1e-4, atol=1e-5)


def test_an_unknown_activation_is_refused():
    odd = recurrent("RNN", activations=["Cubic"])
    with pytest.raises((CapabilityError, ModelError), match=r"RNN .*cubic|Cubic"):
        from_onnx(odd)
