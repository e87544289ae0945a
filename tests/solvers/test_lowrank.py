"""A factor of low rank is J itself, found in as many pairs as its rank and a few more."""

from __future__ import annotations

import numpy as np
import pytest

import pertcore as pc
from pertcore.demo import AUTOENCODER, digits
from pertcore.solvers import columns
from pertcore.solvers.lowrank import low_rank
from pertcore.solvers.products import Products
from tests.solvers.local_models import bottleneck, of_matrix


def dense(products):
    return columns.explicit(products).transpose(0, 2, 1).astype(np.float64)


def difference(factor, whole):
    made = np.matmul(factor.left.swapaxes(1, 2).astype(np.float64), factor.right)
    return np.linalg.norm(made - whole, axis=(1, 2)) / np.linalg.norm(whole, axis=(1, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", [1, 7, 30])
def test_a_bottleneck_takes_its_rank_and_three_more_pairs(dtype, rank):
    products = bottleneck(200, rank, dtype=dtype)
    factor = low_rank(products)
    assert np.all(factor.complete)
    assert np.all(factor.rank <= rank + 1)
    assert max(factor.jvps, factor.vjps) <= rank + 3
    assert np.all(difference(factor, dense(products)) < (1e-5 if dtype is np.float32 else 1e-11))


def test_the_bundled_autoencoder():
    model = pc.from_onnx(AUTOENCODER)
    products = Products.at(model, model.linearize(digits()[0][:4]))
    whole = dense(products)
    values = np.linalg.svd(whole, compute_uv=False)
    rank = int(np.count_nonzero(values > 1e-6 * values[:, :1], axis=1).max())
    before = model.calls.copy()
    factor = low_rank(products, max_rank=64)
    spent = model.calls - before
    assert np.all(factor.complete) and np.all(difference(factor, whole) < 1e-5)
    assert max(spent.jvp, spent.vjp) / 4 <= rank + 3
    assert (spent.jvp, spent.vjp) == (4 * factor.jvps, 4 * factor.vjps)


def test_products_and_norms_of_the_factor():
    products = bottleneck(120, 9)
    factor, whole = low_rank(products, max_rank=20), dense(products)
    rng = np.random.default_rng(0)
    v = rng.normal(size=(3, 2, 120)).astype(np.float32)
    assert np.all(factor.complete)
    np.testing.assert_allclose(factor.push(v), products.push(v), atol=1e-4)
    np.testing.assert_allclose(factor.pull(v[0]), products.pull(v[0]), atol=1e-4)
    np.testing.assert_allclose(factor.column_norms(), np.linalg.norm(whole, axis=1), rtol=1e-4)


def test_equal_singular_values_are_all_found():
    """A recurrence alone ends after one direction: a projection has a single non-zero value."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(100, 8)))[0]
    factor = low_rank(of_matrix(basis @ basis.T))
    assert factor.rank.tolist() == [8, 8] and np.all(factor.complete)
    np.testing.assert_allclose(
        np.matmul(factor.left.swapaxes(1, 2), factor.right)[0], basis @ basis.T, atol=1e-12
    )


def test_full_rank_is_given_up_early_and_said():
    products = of_matrix(np.random.default_rng(0).normal(size=(400, 400)), n=1)
    factor = low_rank(products)
    assert not factor.complete[0] and factor.error[0] > 0.5
    assert factor.jvps + factor.vjps <= 40


def test_samples_of_different_rank_leave_one_by_one():
    rng = np.random.default_rng(0)
    first = rng.standard_normal((12, 150))
    model = pc.from_network(
        [first, rng.standard_normal((150, 12))], [np.full(12, -1.0), np.zeros(150)],
        activation="relu", dtype=np.float64,
    )  # fmt: skip
    x = rng.normal(size=(5, 150))
    products = Products.at(model, model.linearize(x))
    active = np.count_nonzero(x @ first.T > 1, axis=1)
    factor = low_rank(products)
    assert len(set(active.tolist())) > 1
    # rounding may ask for one direction more
    assert np.all((factor.rank >= active) & (factor.rank <= active + 1))
    assert len(set(factor.rank.tolist())) > 1 and np.all(factor.complete)
    assert np.all(difference(factor, dense(products)) < 1e-10)
    alone = low_rank(products.take(np.array([2])))
    np.testing.assert_allclose(alone.right[0], factor.right[2, : alone.rank[0]], atol=1e-9)


def test_zero_nan_and_nobody():
    zero = low_rank(of_matrix(np.zeros((80, 90))))
    assert zero.rank.tolist() == [0, 0] and np.all(zero.complete)
    assert np.all(zero.column_norms() == 0)
    broken = low_rank(of_matrix(np.full((80, 90), np.nan)))
    assert not np.any(broken.complete)
    assert low_rank(of_matrix(np.eye(5)).take(np.zeros(2, bool))).left.shape[0] == 0
