"""pc.jacobian and its norms: an operator for SciPy, values of a dense SVD, bounds that hold."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, svds

import pertcore as pc
from pertcore.errors import CapabilityError, InputError, PertcoreWarning
from pertcore.solvers import jacobian_norms
from tests.solvers.local_models import LOCAL, convolutions


def network(dims=(90, 40, 80), dtype=np.float64, input_shape=None, seed=3):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in itertools.pairwise(dims)]
    return pc.from_network(
        weights, [np.zeros(b) for b in dims[1:]], activation="tanh", dtype=dtype,
        input_shape=input_shape,
    )  # fmt: skip


def dense(model, x):
    eye = np.eye(int(np.prod(model.input_shape))).reshape(-1, 1, *model.input_shape)
    columns = model.linearize(x[None].astype(model.dtype)).jvp(eye.astype(model.dtype))
    return columns.reshape(len(eye), -1).T.astype(np.float64)


POINT = np.random.default_rng(5).normal(size=90)


def test_the_operator_is_the_jacobian_and_its_adjoint():
    model = network(input_shape=(9, 10))
    x = POINT.reshape(9, 10)
    operator, whole = pc.jacobian(model, x), dense(model, x)
    rng = np.random.default_rng(0)
    assert isinstance(operator, LinearOperator)
    assert operator.shape == (80, 90) and operator.dtype == np.float64
    v, u, many = rng.normal(size=90), rng.normal(size=80), rng.normal(size=(90, 7))
    np.testing.assert_allclose(operator @ v, whole @ v, rtol=1e-10)
    np.testing.assert_allclose(operator.rmatvec(u), whole.T @ u, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(operator @ many, whole @ many, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(operator.H @ u, whole.T @ u, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose((operator.H * operator) @ v, whole.T @ whole @ v, rtol=1e-9)
    np.testing.assert_allclose(operator @ (v + 2j * v), (1 + 2j) * (whole @ v), rtol=1e-9)
    np.testing.assert_array_equal(operator.value, model(x[None])[0])


def test_a_product_with_a_matrix_is_one_batched_call():
    seen = []

    def pushed(x, u):
        seen.append(u.shape)
        return u @ np.eye(6)[:, :4]

    model = pc.from_function(
        lambda x: x @ np.eye(6)[:, :4], vjp=lambda x, v: v @ np.eye(6)[:4], jvp=pushed,
        input_shape=(6,), output_shape=(4,), dtype=np.float64,
    )  # fmt: skip
    operator = pc.jacobian(model, np.zeros(6))
    made = operator @ np.arange(30.0).reshape(6, 5)
    np.testing.assert_array_equal(made, np.arange(30.0).reshape(6, 5)[:4])
    assert operator.jvps == 5 and operator.vjps == 0
    assert (operator @ np.zeros((6, 0))).shape == (4, 0)
    assert "4 outputs by 6 inputs" in repr(operator) and "5 products J v" in repr(operator)


@pytest.mark.parametrize("kind", ["network", "onnx"])
def test_scipy_finds_the_singular_values_of_the_operator(kind):
    if kind == "network":
        model, x = network(), POINT
    else:
        model = convolutions((1, 14, 14), LOCAL["autoencoder"][1])
        x = np.random.default_rng(0).random((1, 14, 14)).astype(np.float32)
    whole = dense(model, x)
    expected = np.linalg.svd(whole, compute_uv=False)[:4]
    u, values, vt = svds(pc.jacobian(model, x), k=4)
    np.testing.assert_allclose(np.sort(values)[::-1], expected, rtol=1e-4)
    np.testing.assert_allclose(whole @ vt.T, u * values, atol=1e-3 * expected[0])


@pytest.mark.parametrize("few", [0, 10**6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_singular_vectors_are_those_of_a_dense_svd(few, dtype, monkeypatch):
    monkeypatch.setattr(jacobian_norms, "FEW", few)
    model = network(dtype=dtype, input_shape=(3, 30))
    x = np.stack([POINT, -0.5 * POINT]).reshape(2, 3, 30)
    found = pc.singular_vectors(model, x, 3)
    assert found.values.shape == (2, 3) and found.right.shape == (2, 3, 3, 30)
    assert found.left.shape == (2, 3, 80) and found.residual.shape == (2, 3)
    for i in range(2):
        whole = dense(model, x[i])
        left, values, right = np.linalg.svd(whole)
        np.testing.assert_allclose(found.values[i], values[:3], rtol=1e-5)
        for r in range(3):
            v, u = found.right[i, r].ravel(), found.left[i, r]
            assert abs(v @ right[r]) > 1 - 1e-4 and abs(u @ left[:, r]) > 1 - 1e-4
            rest = np.linalg.norm(whole.T @ u - found.values[i, r] * v)
            assert abs(rest - found.residual[i, r]) < 1e-5 * values[0]
    assert np.all(found.residual <= 2e-4 * found.values[:, :1])
    assert np.all(found.pairs == 0) == (few > 0)


def test_one_sample_and_a_batch_of_one_say_the_same():
    model = network()
    one, batch = pc.spectral_norm(model, POINT), pc.spectral_norm(model, POINT[None])
    assert np.ndim(one.value) == 0 and batch.value.shape == (1,)
    assert one.value == batch.value[0] and one.vector.shape == (90,)
    vectors = pc.singular_vectors(model, POINT, 2)
    assert vectors.values.shape == (2,) and vectors.right.shape == (2, 90)
    line = str(one)
    assert "\n" not in line and f"{one.value:.6g}" in line and "2 -> 2" in line
    assert str(vectors).startswith(f"singular values {vectors.values[0]:.6g}, ")
    assert "2 singular values of 1 Jacobians" in str(pc.singular_vectors(model, POINT[None], 2))


def test_the_spectral_norm_lies_between_value_and_bound_and_is_reached():
    model = network((300, 200, 250))
    x = np.random.default_rng(1).normal(size=(4, 300))
    found = pc.spectral_norm(model, x)
    assert "wrong with probability 1e-06" in found.kind
    for i in range(4):
        whole = dense(model, x[i])
        truth = np.linalg.norm(whole, 2)
        assert found.value[i] <= truth * (1 + 1e-12) and truth <= found.upper[i]
        assert found.value[i] >= truth * (1 - 1e-5)
        assert found.upper[i] <= 1.08 * found.value[i]
        np.testing.assert_allclose(np.linalg.norm(whole @ found.vector[i]), found.value[i], 1e-9)
    assert np.all((found.pairs >= 30) & (found.pairs <= 60))
    more = pc.spectral_norm(model, x, min_pairs=60)
    assert np.all(more.upper < found.upper) and np.all(more.value >= found.value - 1e-9)


def test_few_rows_or_columns_are_taken_whole_and_exact():
    model = network((90, 40, 10))
    found = pc.spectral_norm(model, POINT)
    truth = np.linalg.norm(dense(model, POINT), 2)
    np.testing.assert_allclose(found.value, truth, rtol=1e-12)
    assert found.kind == "exact up to rounding" and found.pairs == 0
    assert truth <= found.upper <= truth * (1 + 1e-11)
    assert model.calls.vjp == 10


def test_a_low_rank_is_exhausted_and_exact():
    model = pc.from_matrix(np.outer(np.arange(1.0, 81), np.arange(1.0, 91)))
    found = pc.spectral_norm(model, np.zeros(90))
    assert found.kind == "exact up to rounding" and found.pairs <= 3
    np.testing.assert_allclose(found.upper, np.linalg.norm(model.a), rtol=1e-6)


def brute(a, p):
    if p == 1:
        return np.linalg.norm(a, axis=0).max()
    signs = np.array(list(itertools.product([-1, 1], repeat=a.shape[1])))
    return np.linalg.norm(signs @ a.T, axis=1).max()


@pytest.mark.parametrize("p", [1, "inf"])
def test_operator_norms_against_every_vertex(p):
    rng = np.random.default_rng(0)
    for _ in range(5):
        a = rng.normal(size=(7, 10))
        found = pc.operator_norm(pc.from_matrix(a), np.zeros(10), p)
        truth = brute(a, p)
        assert found.value <= truth * (1 + 1e-9) and truth <= found.upper * (1 + 1e-9)
        np.testing.assert_allclose(np.linalg.norm(a @ found.vector), found.value, rtol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(found.vector, float(p)), 1, rtol=1e-6)
        assert found.value >= (1 if p == 1 else 0.97) * truth * (1 - 1e-9)


def test_operator_norms_of_other_orders():
    a = np.random.default_rng(0).normal(size=(7, 10))
    model = pc.from_matrix(a)
    assert pc.operator_norm(model, np.zeros(10), 2).value == pytest.approx(np.linalg.norm(a, 2))
    one, three = (pc.operator_norm(model, np.zeros((2, 10)), p).value for p in (1, 3))
    assert three.shape == (2,) and np.all(three >= one)
    with pytest.raises(InputError, match="q="):
        pc.operator_norm(model, np.zeros(10), 1, 1)
    with pytest.raises(InputError, match="norm="):
        pc.operator_norm(model, np.zeros(10), 0.5)


def test_the_l1_norm_of_a_local_model_is_by_combs():
    shape, layers, _ = LOCAL["denoiser"]
    model = convolutions(shape, layers)
    x = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    found = pc.operator_norm(model, x, 1)
    assert "combs" in found.method and found.kind == "exact up to rounding"
    assert found.vector.shape == x.shape and np.all(np.abs(found.vector).sum(axis=(1, 2, 3)) == 1)
    image = model.linearize(x).jvp(found.vector).reshape(2, -1)
    np.testing.assert_allclose(np.linalg.norm(image, axis=1), found.value, rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(7), r"x has shape \(7,\)"),
        (np.zeros((0, 90)), "x has shape"),
        (np.zeros((2, 2, 90)), "x has shape"),
        (np.zeros(90, int), "x has dtype"),
        (np.full(90, np.nan), "x holds NaN"),
    ],
)
@pytest.mark.parametrize("call", [pc.jacobian, pc.spectral_norm, pc.singular_vectors])
def test_wrong_points(call, x, message):
    with pytest.raises(InputError, match=message):
        call(network(), x)


def test_wrong_calls():
    model = network()
    with pytest.raises(InputError, match="holds 2 samples"):
        pc.jacobian(model, np.zeros((2, 90)))
    with pytest.raises(InputError, match=r"pertcore\.from_onnx"):
        pc.jacobian("model.onnx", POINT)
    for count in (0, 81, 1.5, True):
        with pytest.raises(InputError, match="1 to 80 singular values"):
            pc.singular_vectors(model, POINT, count)
    with pytest.raises(InputError, match="max_memory="):
        pc.spectral_norm(model, POINT, max_memory="lots")
    for wrong in (
        {"max_pairs": 0}, {"max_pairs": 2.5}, {"tolerance": -1.0}, {"tolerance": math.nan},
        {"rng": -1}, {"rng": 1.5},
    ):  # fmt: skip
        for call in (pc.spectral_norm, pc.singular_vectors):
            with pytest.raises(InputError, match=f"{next(iter(wrong))}="):
                call(model, POINT, **wrong)
    assert pc.singular_vectors(model, POINT, np.int64(2)).values.shape == (2,)


def test_a_jacobian_of_nothing_but_nan_has_no_norm_of_any_order():
    model = pc.from_matrix(np.full((80, 90), np.nan))
    for p in (1, 1.5, 2, 3, math.inf):
        with pytest.warns(PertcoreWarning, match="not finite at 2 of 2"):
            found = pc.operator_norm(model, np.zeros((2, 90)), p)
        assert np.all(np.isnan(found.value))


def test_a_model_without_derivatives_is_told_apart():
    blind = network()
    blind.capabilities = frozenset({"vjp"})
    with pytest.raises(CapabilityError, match="jvp"):
        pc.jacobian(blind, POINT)


def test_zero_jacobians_have_zero_norms():
    model = pc.from_matrix(np.zeros((80, 90)))
    found = pc.spectral_norm(model, np.zeros((2, 90)))
    assert np.all(found.value == 0) and np.all(found.upper == 0)


@pytest.mark.parametrize("size", [(80, 90), (5, 6)])
def test_a_jacobian_that_is_not_finite_has_no_norm(size):
    """Only the second of three samples is broken."""
    a = np.random.default_rng(0).normal(size=size)

    def scaled(x, v, matrix):
        return (v @ matrix) * np.where(x[:, :1] > 5, np.nan, 1)

    model = pc.from_function(
        lambda x: x @ a.T, vjp=lambda x, v: scaled(x, v, a), jvp=lambda x, v: scaled(x, v, a.T),
        input_shape=(size[1],), output_shape=(size[0],), dtype=np.float64,
    )  # fmt: skip
    x = np.zeros((3, size[1]))
    x[1, 0] = 9
    for call in (pc.spectral_norm, lambda m, x: pc.operator_norm(m, x, 1)):
        with pytest.warns(PertcoreWarning, match="not finite at 1 of 3 samples"):
            found = call(model, x)
        assert np.isnan(found.value).tolist() == [False, True, False]
        assert np.isnan(found.upper).tolist() == [False, True, False]
    with pytest.warns(PertcoreWarning, match="not finite at 1 of 3 samples"):
        vectors = pc.singular_vectors(model, x, 2)
    truth = np.linalg.svd(a, compute_uv=False)[:2]
    assert np.all(np.isnan(vectors.values[1])) and np.all(np.isnan(vectors.right[1]))
    np.testing.assert_allclose(vectors.values[[0, 2]], [truth, truth], rtol=1e-6)


@pytest.mark.parametrize("wrapped", [lambda m: m, lambda m: pc.normalized(m, 0.0, 1.0)])
@pytest.mark.parametrize("given", ["vjp", "jvp"])
def test_a_model_with_one_kind_of_product_is_swept_with_that(given, wrapped):
    """The other kind would cost K or d of them each: 80 outputs, 90 inputs."""
    a = np.random.default_rng(0).normal(size=(80, 90))
    whole = {"vjp": lambda x, v: v @ a, "jvp": lambda x, v: v @ a.T}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PertcoreWarning)  # of what a gradient will cost
        inner = pc.from_function(
            lambda x: x @ a.T, **{"vjp": None, given: whole[given]},
            input_shape=(90,), output_shape=(80,), dtype=np.float64,
        )  # fmt: skip
    model = wrapped(inner)
    for p, truth in ((1, np.linalg.norm(a, axis=0).max()), (2, np.linalg.norm(a, 2))):
        before = model.calls.copy()
        found = pc.operator_norm(model, np.zeros(90), p)
        spent = model.calls - before
        np.testing.assert_allclose(found.value, truth, rtol=1e-9)
        assert (spent.vjp, spent.jvp) == ((80, 0) if given == "vjp" else (0, 90))
