"""The affine oracle is its own definition."""

import numpy as np
import pytest

from pertcore.adapters.matrix import from_matrix
from pertcore.errors import InputError
from pertcore.testing import assert_oracle

RNG = np.random.default_rng(1)
A, B, X = RNG.standard_normal((3, 4)), RNG.standard_normal(3), RNG.standard_normal((5, 4))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_affine_model_in_any_shape(dtype, shape):
    oracle = from_matrix(A, B, dtype=dtype, input_shape=shape)
    x = X.reshape(5, *shape)
    assert_oracle(oracle, x)
    np.testing.assert_allclose(oracle(x), X @ A.T + B, rtol=1e-5, atol=1e-6)
    v = np.eye(3)[:, None].repeat(5, axis=1)
    np.testing.assert_allclose(
        oracle.linearize(x).vjp(v)[:, 0].reshape(3, 4), A.astype(dtype), rtol=1e-6
    )


def test_dtype_follows_the_matrix():
    assert from_matrix(A.astype(np.float32)).dtype == np.float32
    assert from_matrix([[1, 2]]).dtype == np.float64


def test_no_shift_means_zero():
    np.testing.assert_array_equal(from_matrix(A)(np.zeros((2, 4))), 0)


@pytest.mark.parametrize("arguments", [(A[0],), (A, B[:2]), (A, B, (3,))])
def test_shapes_that_do_not_fit_are_refused(arguments):
    a, b, shape = (*arguments, None, None)[:3]
    with pytest.raises(InputError, match="expected"):
        from_matrix(a, b, input_shape=shape)
