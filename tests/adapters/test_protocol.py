"""Every adapter's `calls`, products and points satisfy the protocols by isinstance too."""

import numpy as np
import pytest

from pertcore.adapters.ensemble import ensemble
from pertcore.adapters.function import from_function
from pertcore.adapters.matrix import from_matrix
from pertcore.adapters.network import from_network
from pertcore.adapters.normalized import normalized
from pertcore.chunked import chunked
from pertcore.oracle import Linearization, Oracle

MATRIX = from_matrix(np.ones((2, 3)))
ORACLES = {
    "matrix": MATRIX,
    "network": from_network([np.ones((2, 3))], [np.ones(2)]),
    "normalized": normalized(MATRIX, 0, 1),
    "ensemble": ensemble([MATRIX, MATRIX]),
    "chunked": chunked(MATRIX, 4),
    "function": from_function(lambda x: x, lambda x, v: v, input_shape=3),
}


@pytest.mark.parametrize("name", list(ORACLES))
def test_protocols(name):
    oracle = ORACLES[name]
    assert isinstance(oracle, Oracle)
    assert isinstance(oracle.linearize(np.ones((2, 3))), Linearization)


@pytest.mark.parametrize("name", list(ORACLES))
def test_empty_batches(name):
    oracle = ORACLES[name]
    lin, out = oracle.linearize(np.ones((0, 3))), oracle.output_shape
    assert oracle(np.ones((0, 3))).shape == (0, *out)
    assert lin.value.shape == (0, *out)
    assert lin.vjp(np.ones((0, *out))).shape == (0, 3)
    assert lin.vjp(np.ones((2, 0, *out))).shape == (2, 0, 3)
