"""Combs find every column of a local model, notice when it is not local, and stay few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pertcore as pc
from pertcore.errors import InputError
from pertcore.solvers import columns, probing
from pertcore.solvers.products import Products
from tests.solvers.local_models import LOCAL, SAME, convolutions, local, of_matrix


@pytest.mark.parametrize("name", list(LOCAL))
def test_combs_hold_every_column_of_a_local_model(name):
    products = local(name)
    reach = probing.detect(products)
    assert reach is not None and reach.combs == LOCAL[name][2]
    combs = probing.Combs.of(products, reach)
    norms = probing.column_norms(combs)
    assert np.all(combs.trusted)
    dense = columns.explicit(products)
    np.testing.assert_allclose(norms, np.linalg.norm(dense, axis=2), rtol=1e-5, atol=1e-6)
    sparse = probing.sparse_columns(probing.Combs.of(products, reach))
    for held, whole in zip(sparse, dense):
        np.testing.assert_allclose(held.toarray().T, whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("side", [32, 48])
def test_a_denoiser_needs_160_products_whatever_the_size_of_its_image(side):
    model = convolutions((3, side, side), LOCAL["denoiser"][1])
    point = model.linearize(np.full((1, 3, side, side), 0.5, np.float32))
    products = Products.at(model, point)
    combs = probing.Combs.of(products, probing.detect(products))
    probing.column_norms(combs)
    assert np.all(combs.trusted)
    assert model.calls.jvp == combs.jvps == 157
    assert model.calls.vjp == 0


def test_a_dense_model_is_not_local_after_two_products():
    products = of_matrix(np.random.default_rng(0).normal(size=(40, 50)), n=1)
    assert probing.detect(products) is None
    assert products.lin.oracle.calls.jvp == 2


def test_a_window_from_the_user_is_used_and_checked():
    products = local("denoiser")
    right = probing.Combs.of(products, probing.given_window(products, 7))
    np.testing.assert_allclose(probing.column_norms(right), columns.column_norms(products), 1e-5)
    assert np.all(right.trusted) and right.jvps == 149
    wrong = probing.Combs.of(products, probing.given_window(products, 5))
    probing.column_norms(wrong)
    assert not np.any(wrong.trusted) and np.all(wrong.error > 1e-3)
    for window in (0, (7,), (7, 7, 7)):
        with pytest.raises(InputError, match="window="):
            probing.given_window(products, window)


@pytest.mark.parametrize("name", ["stride", "larger", "unpadded"])
def test_a_window_from_the_user_serves_other_resolutions_or_is_refused_by_the_check(name):
    products = local(name)
    combs = probing.Combs.of(products, probing.given_window(products, 9))
    norms = probing.column_norms(combs)
    if np.all(combs.trusted):
        np.testing.assert_allclose(norms, columns.column_norms(products), rtol=1e-5, atol=1e-6)
    assert np.all(combs.trusted) == (name != "unpadded")


def test_a_reach_that_was_seen_too_small_is_found_out():
    """A far connection that no probed entry shows: only the random products can tell."""
    band = np.eye(90) + np.eye(90, k=1)
    band[80, 20] = 1e-3
    products = of_matrix(band)
    combs = probing.Combs.of(products, probing.detect(products))
    probing.column_norms(combs)
    assert not np.any(combs.trusted)


def test_frozen_entries_have_no_column():
    products = local("denoiser")
    free = np.ones((1, products.d), np.float32)
    free[0, 100:200] = 0
    frozen = replace(products, free=free)
    combs = probing.Combs.of(frozen, probing.detect(frozen))
    norms = probing.column_norms(combs)
    assert np.all(combs.trusted)
    assert np.all(norms[:, 100:200] == 0)
    np.testing.assert_allclose(norms, columns.column_norms(frozen), rtol=1e-5, atol=1e-6)


def test_values_beyond_the_budget_are_refused_but_norms_are_not():
    products = local("denoiser")
    combs = probing.Combs.of(products, probing.detect(products), max_memory=10**5)
    with pytest.raises(InputError, match=r"bytes.*raise max_memory"):
        probing.sparse_columns(combs)
    probing.column_norms(combs)
    assert np.all(combs.trusted)


def test_a_derivative_by_differences_is_local_too():
    """f(x + h v) - f(x - h v) over 2 h, as an adapter without J u of its own would do."""
    exact = convolutions((1, 20, 20), [("Conv", 4, SAME), ("Conv", 1, SAME)])

    def difference(x, v):
        return (exact(x + np.float32(1e-2) * v) - exact(x - np.float32(1e-2) * v)) / 2e-2

    model = pc.from_function(
        exact, vjp=lambda x, v: exact.linearize(x).vjp(v), jvp=difference,
        input_shape=(1, 20, 20), output_shape=(1, 20, 20), dtype=np.float32,
    )  # fmt: skip
    x = np.random.default_rng(0).random((1, 1, 20, 20), np.float32)
    products = Products.at(model, model.linearize(x))
    combs = probing.Combs.of(products, probing.detect(products))
    norms = probing.column_norms(combs)
    assert combs.reach.combs == 25
    assert not np.any(combs.trusted)
    np.testing.assert_allclose(norms, columns.column_norms(products), rtol=1e-2)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(60, 90), up=st.integers(1, 3), down=st.integers(1, 3),
    before=st.integers(0, 3), after=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_band_of_any_slope_is_found_exactly(size, up, down, before, after, seed):
    """Entry y reaches outputs floor(up * y / down) - before ... + after, some of them not."""
    rng = np.random.default_rng(seed)
    made = max(1, size * up // down)
    a = np.zeros((made, size))
    for y in range(size):
        low = up * y // down - before
        rows = np.arange(max(low, 0), min(low + before + after + 1, made))
        a[rows, y] = rng.normal(size=len(rows))
    products = of_matrix(a, n=1)
    reach = probing.detect(products, most=size)
    assert reach is not None
    combs = probing.Combs.of(products, reach)
    (sparse,) = probing.sparse_columns(combs)
    assert np.all(combs.trusted)
    np.testing.assert_array_equal(sparse.toarray(), a)
    assert reach.combs <= (before + after + 1) * down // up + down + 1
