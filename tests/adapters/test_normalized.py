"""Mean and standard deviation live in the model; the attack sees raw units."""

import numpy as np
import pytest

from pertcore.adapters.function import from_function
from pertcore.adapters.matrix import from_matrix
from pertcore.adapters.normalized import normalized
from pertcore.errors import InputError, PertcoreWarning
from pertcore.testing import assert_oracle

RNG = np.random.default_rng(5)
A = RNG.standard_normal((4, 12))
X = RNG.random((3, 3, 2, 2))
MEAN, STD = np.array([0.5, 0.4, 0.3]), np.array([0.25, 0.2, 0.1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("mean", "std", "axis"),
    [(0.5, 0.25, 0), (MEAN, STD, 0), (MEAN[:2], STD[:2], -1), (X[0], 1 + X[1], 0), ([0.5], 2, 0)],
)
def test_raw_units(mean, std, axis, dtype):
    inner = from_matrix(A, dtype=dtype, input_shape=(3, 2, 2))
    oracle = normalized(inner, mean, std, channel_axis=axis)
    assert_oracle(oracle, X)
    wide = [np.asarray(v, np.float64) for v in (mean, std)]
    if axis == 0:
        wide = [v.reshape(-1, 1, 1) if v.ndim == 1 else v for v in wide]
    wanted = inner(((X - wide[0]) / wide[1]).astype(dtype))
    np.testing.assert_allclose(oracle(X), wanted, rtol=1e-4, atol=1e-4)


def test_notes_and_capabilities_pass_through():
    with pytest.warns(PertcoreWarning):
        inner = from_function(lambda x: x * x, input_shape=2)
    oracle = normalized(inner, 0, 2)
    assert oracle.notes == inner.notes
    assert oracle.capabilities == inner.capabilities
    assert oracle.deterministic() is oracle


@pytest.mark.parametrize(
    ("mean", "std", "axis", "message"),
    [
        (MEAN[:2], STD, 0, "mean has shape"),
        (MEAN, STD, 3, "mean has shape"),
        (MEAN, [0.1, 0, 0.2], 0, "finite and > 0"),
        (0, np.nan, 0, "finite and > 0"),
    ],
)
def test_wrong_statistics_are_refused(mean, std, axis, message):
    inner = from_matrix(A, input_shape=(3, 2, 2))
    with pytest.raises(InputError, match=message):
        normalized(inner, mean, std, channel_axis=axis)
