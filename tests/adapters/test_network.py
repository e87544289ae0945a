"""The NumPy perceptron: every activation against the protocol's own checks."""

from itertools import pairwise

import numpy as np
import pytest

from pertcore.adapters.network import ACTIVATIONS, from_network
from pertcore.errors import InputError
from pertcore.testing import assert_oracle

RNG = np.random.default_rng(3)
SIZES = (6, 9, 5, 4)
WEIGHTS = [RNG.standard_normal((b, a)) / np.sqrt(a) for a, b in pairwise(SIZES)]
BIASES = [RNG.standard_normal(b) / 4 for b in SIZES[1:]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_every_activation(activation, dtype):
    oracle = from_network(
        WEIGHTS, BIASES, activation=activation, dtype=dtype, input_shape=(1, 2, 3)
    )
    assert_oracle(oracle, RNG.standard_normal((5, 1, 2, 3)))


def test_value_is_the_formula():
    x = RNG.standard_normal((5, 6))
    hidden = np.maximum(x @ WEIGHTS[0].T + BIASES[0], 0)
    hidden = np.maximum(hidden @ WEIGHTS[1].T + BIASES[1], 0)
    oracle = from_network(WEIGHTS, BIASES, dtype=np.float64)
    np.testing.assert_allclose(oracle(x), hidden @ WEIGHTS[2].T + BIASES[2], rtol=1e-13)


def test_one_layer_is_affine():
    oracle = from_network(WEIGHTS[:1], BIASES[:1])
    x = RNG.standard_normal((5, 6)).astype(np.float32)
    assert_oracle(oracle, x)


def test_large_inputs_do_not_overflow():
    for activation in ACTIVATIONS:
        oracle = from_network(WEIGHTS, BIASES, activation=activation)
        lin = oracle.linearize(np.full((2, 6), 1e4))
        assert np.isfinite(lin.value).all()
        assert np.isfinite(lin.vjp(np.ones((2, 4)))).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "swish"}, "allowed are identity, relu"),
        ({"biases": BIASES[:1]}, "for each layer"),
        ({"weights": WEIGHTS[::-1]}, "for each layer"),
        ({"weights": [], "biases": []}, "for each layer"),
        ({"input_shape": (2, 2)}, "first layer takes 6"),
    ],
)
def test_layers_that_do_not_fit_are_refused(options, message):
    call = {"weights": WEIGHTS, "biases": BIASES, **options}
    with pytest.raises(InputError, match=message):
        from_network(call.pop("weights"), call.pop("biases"), **call)
