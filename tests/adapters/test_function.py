"""from_function against derivatives written by hand, and what it says about their cost."""

import warnings

import numpy as np
import pytest

from pertcore.adapters.function import from_function
from pertcore.errors import InputError, PertcoreWarning
from pertcore.testing import assert_oracle

RNG = np.random.default_rng(7)
A, B = RNG.standard_normal((3, 6)), RNG.standard_normal((5, 3))
X = RNG.standard_normal((4, 2, 3))


def f(x):
    return np.tanh(x.reshape(len(x), -1) @ A.T.astype(x.dtype)) @ B.T.astype(x.dtype)


def slopes(x):
    return 1 - np.tanh(x.reshape(len(x), -1) @ A.T.astype(x.dtype)) ** 2


def vjp(x, v):
    return ((v @ B.astype(x.dtype)) * slopes(x) @ A.astype(x.dtype)).reshape(x.shape)


def jvp(x, u):
    return (u.reshape(len(x), -1) @ A.T.astype(x.dtype)) * slopes(x) @ B.T.astype(x.dtype)


def quiet(*products, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)
        return from_function(f, *products, input_shape=(2, 3), **options)


def narrow(x):
    return f(x.astype(np.float32)).astype(x.dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_given_derivatives_are_used_as_they_are(dtype):
    oracle = from_function(f, vjp, jvp, input_shape=(2, 3), output_shape=5, dtype=dtype)
    assert oracle.notes == ()
    assert "exact" in oracle.capabilities
    assert_oracle(oracle, X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_missing_vjp_comes_from_jvps_exactly(dtype):
    with pytest.warns(PertcoreWarning, match="exact but costs 6 JVPs"):
        oracle = from_function(f, None, jvp, input_shape=(2, 3), dtype=dtype)
    assert_oracle(oracle, X)
    before = oracle.calls.copy()
    oracle.linearize(X).vjp(np.ones((4, 5)))
    assert (oracle.calls - before).jvp == 4 * 6


def test_missing_jvp_comes_from_vjps_exactly_and_is_said_on_first_use():
    oracle = from_function(f, vjp, input_shape=(2, 3), dtype=np.float64)
    with pytest.warns(PertcoreWarning, match="exact but costs 5 VJPs") as caught:
        assert_oracle(oracle, X)
    assert len(caught) == 1


def test_differences_of_a_float32_oracle_run_in_float64_where_f_keeps_it():
    oracle = quiet()
    assert "exact" not in oracle.capabilities
    assert_oracle(oracle, X)
    x = X.astype(np.float32)
    v = RNG.standard_normal((4, 5)).astype(np.float32)
    exact = vjp(x.astype(np.float64), v)
    np.testing.assert_allclose(oracle.linearize(x).vjp(v), exact, rtol=1e-6, atol=1e-6)


def test_differences_stay_in_float32_where_f_computes_in_it():
    with pytest.warns(PertcoreWarning):
        oracle = from_function(narrow, input_shape=(2, 3))
    lin = oracle.linearize(X)
    got, v = lin.vjp(np.ones((4, 5))), np.ones((4, 5))
    np.testing.assert_allclose(got, vjp(X, v), rtol=2e-2, atol=2e-2)
    assert oracle.wide(X) == np.float32


def test_a_model_that_refuses_float64_is_differenced_in_float32():
    def fussy(x):
        if x.dtype != np.float32:
            raise RuntimeError("tensor(float) expected")
        return f(x)

    with pytest.warns(PertcoreWarning):
        oracle = from_function(fussy, input_shape=(2, 3))
    got = oracle.linearize(X).jvp(np.ones_like(X))
    np.testing.assert_allclose(got, jvp(X, np.ones_like(X)), rtol=1e-2, atol=1e-2)


def test_float64_differences_are_accurate_at_any_scale_of_x():
    oracle = quiet(dtype=np.float64)
    for scale in (1e-6, 1.0, 10.0):
        x = scale * X
        v = np.ones((4, 5))
        got = oracle.linearize(x).vjp(v)
        size = np.abs(vjp(x, v)).max()
        np.testing.assert_allclose(got, vjp(x, v), atol=2e-7 * max(size, 1e-2))


def test_the_warning_says_what_is_approximated_and_what_it_costs():
    with pytest.warns(PertcoreWarning, match="central differences.* 12 model runs per sample"):
        oracle = from_function(f, input_shape=(2, 3))
    assert "12 model runs" in oracle.notes[0]


def test_differences_cost_what_was_said_whatever_the_number_of_cotangents():
    oracle = quiet(dtype=np.float64)
    lin, before = oracle.linearize(X), oracle.calls.copy()
    lin.vjp(np.ones((7, 4, 5)))
    assert (oracle.calls - before).f == 12 * 4


@pytest.mark.parametrize("products", [(), (None, jvp), (vjp,), (vjp, jvp)])
def test_blocks_of_one_row_give_what_one_block_gives(products):
    whole = quiet(*products, dtype=np.float64)
    tiny = quiet(*products, dtype=np.float64, max_memory=1)
    v, u = RNG.standard_normal((2, 4, 5)), RNG.standard_normal((2, 4, 2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)
        for name, w in (("vjp", v), ("jvp", u)):
            a, b = (getattr(o.linearize(X), name)(w) for o in (whole, tiny))
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def test_memory_stays_bounded():
    rows = []

    def wide(x):
        rows.append(len(x))
        return x[:, :2] ** 2

    with pytest.warns(PertcoreWarning):
        oracle = from_function(wide, input_shape=1000, dtype=np.float64, max_memory=1 << 20)
    got = oracle.linearize(np.ones((3, 1000))).vjp(np.ones((3, 2)))
    assert max(rows) * 1000 * 8 <= 1 << 20
    np.testing.assert_allclose(got[:, :2], 2.0, rtol=1e-8)
    np.testing.assert_array_equal(got[:, 2:], 0.0)


def test_error_estimate_follows_the_true_error():
    smooth = quiet(dtype=np.float64).linearize(X).error()
    assert smooth.shape == (4,)
    assert np.all(smooth < 1e-7)
    with pytest.warns(PertcoreWarning):
        rough = from_function(narrow, input_shape=(2, 3)).linearize(X)
    assert np.all(rough.error() > 1e-6)
    assert not np.any(from_function(f, vjp, jvp, input_shape=(2, 3)).linearize(X).error())


def test_zero_tangent_has_zero_slope():
    got = quiet().linearize(X).jvp(np.zeros_like(X))
    np.testing.assert_array_equal(got, 0)


def test_nan_stays_with_its_sample():
    x = X.copy()
    x[1, 0, 0] = np.nan
    got = quiet(dtype=np.float64).linearize(x).vjp(np.ones((4, 5)))
    assert np.isnan(got[1]).all()
    assert np.isfinite(got[[0, 2, 3]]).all()


def test_empty_batch():
    lin = quiet(output_shape=5).linearize(X[:0])
    assert lin.value.shape == (0, 5)
    assert lin.vjp(np.zeros((0, 5))).shape == (0, 2, 3)
    assert lin.jvp(np.zeros((3, 0, 2, 3))).shape == (3, 0, 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_function(lambda x: x.sum(), vjp, input_shape=2), "for one sample"),
        (
            lambda: from_function(lambda x: x[:1], vjp, input_shape=2, output_shape=2)(
                np.ones((3, 2))
            ),
            r"returned shape \(1, 2\) for a batch of 3",
        ),
        (lambda: from_function(f, vjp, input_shape=0), "positive sizes"),
        (lambda: from_function(f, vjp, input_shape=(2, 3), dtype=np.int32), "float32 and float64"),
        (lambda: quiet(vjp, jvp)(np.ones((4, 6))), r"x has shape \(4, 6\)"),
        (lambda: quiet(vjp, jvp).linearize(X).vjp(np.ones((3, 5))), "a .co.tangent has shape"),
        (
            lambda: (
                from_function(f, lambda x, v: v, input_shape=(2, 3))
                .linearize(X)
                .vjp(np.ones((4, 5)))
            ),
            r"vjp or jvp returned shape \(4, 5\)",
        ),
    ],
)
def test_wrong_calls_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
