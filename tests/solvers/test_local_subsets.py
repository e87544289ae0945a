"""Subsets of a local model: their products without their columns, and the attack they serve."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csc_array

import pertcore as pc
from pertcore.closed_form.quadratic_subsets import best_subset_quadratic
from pertcore.constraints import parse_partition
from pertcore.errors import InputError
from pertcore.solvers import columns, probing
from pertcore.solvers.local_subsets import short_columns, subset_columns, subset_grams
from pertcore.solvers.whole import every_column, every_norm
from tests.solvers.local_models import LOCAL, bottleneck, convolutions, local, of_matrix


def test_grams_of_pixels_are_those_of_their_columns():
    products = local("denoiser", n=1)
    (sparse,) = probing.sparse_columns(probing.Combs.of(products, probing.detect(products)))
    grams, entries = subset_grams(sparse, parse_partition("pixels", (3, 32, 32)))
    dense = columns.explicit(products)[0].astype(np.float64)
    assert grams.shape == (1024, 3, 3)
    for pixel in (0, 500, 1023):
        chosen = dense[entries[pixel]]
        np.testing.assert_allclose(grams[pixel], chosen @ chosen.T, rtol=1e-4, atol=1e-5)


def test_grams_of_uneven_subsets():
    a = np.random.default_rng(1).normal(size=(6, 5))
    labels = np.array([0, -1, 1, 0, 0])
    grams, entries = subset_grams(csc_array(a), parse_partition(labels, (5,)))
    assert entries.tolist() == [[0, 3, 4], [2, -1, -1]]
    np.testing.assert_allclose(grams[0], a[:, [0, 3, 4]].T @ a[:, [0, 3, 4]])
    np.testing.assert_allclose(grams[1], np.diag([a[:, 2] @ a[:, 2], 0, 0]))


def test_short_columns_have_the_products_of_the_long_ones():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 7))
    a[:, 3] = a[:, 2]
    labels = np.array([0, 0, 1, 1, 1, -1, 2])
    grams, entries = subset_grams(csc_array(a), parse_partition(labels, (7,)))
    short = short_columns(grams, entries, 7)
    assert short.shape == (7, 3) and np.all(short[5] == 0)
    for subset in range(3):
        chosen = labels == subset
        np.testing.assert_allclose(
            short[chosen] @ short[chosen].T, a[:, chosen].T @ a[:, chosen], atol=1e-12
        )


def test_the_best_pixel_by_short_columns_is_that_of_the_long_ones():
    products, pixels = local("denoiser"), parse_partition("pixels", (3, 32, 32))
    short = subset_columns(products, pixels)
    assert short.shape == (2, 3072, 3)
    found = best_subset_quadratic(short, pixels)
    truth = best_subset_quadratic(columns.explicit(products), pixels)
    np.testing.assert_array_equal(found[0], truth[0])
    np.testing.assert_array_equal(np.abs(found[1]), np.abs(truth[1]))
    np.testing.assert_allclose(found[2], truth[2], rtol=1e-4)


def test_a_dense_model_has_no_short_columns():
    partition = parse_partition(np.arange(200) // 2, (200,))
    assert subset_columns(bottleneck(200, 9), partition) is None


def test_norms_of_all_columns_take_few_products_of_a_local_model():
    products = local("denoiser")
    norms = every_norm(products)
    np.testing.assert_allclose(norms, columns.column_norms(products), rtol=1e-5, atol=1e-6)
    dense = bottleneck(200, 9)
    np.testing.assert_array_equal(every_norm(dense), columns.column_norms(dense))


def test_all_columns_of_a_local_model_take_few_products():
    products = local("denoiser")
    calls = products.lin.calls
    before = calls.copy()
    held = every_column(products)
    spent = calls - before
    assert (spent.jvp, spent.vjp) == (2 * 157, 0)
    whole = columns.explicit(products)
    np.testing.assert_allclose(held, whole, atol=1e-5 * np.abs(whole).max())
    dense = bottleneck(200, 9)
    np.testing.assert_array_equal(every_column(dense), columns.explicit(dense))
    with pytest.raises(InputError, match="max_memory"):
        every_column(products, max_memory=10**6)


def test_a_far_connection_is_swept_for():
    band = np.eye(90) + np.eye(90, k=1)
    band[80, 20] = 1e-3
    products = of_matrix(band)
    np.testing.assert_array_equal(every_column(products)[0], band.T)
    np.testing.assert_allclose(every_norm(products)[0], np.linalg.norm(band, axis=0))


def test_a_pixel_attack_where_the_columns_do_not_fit():
    """In 20 MB no Jacobian of 3,072 x 3,072 fits; its combs do, and the pixel is the same."""
    shape, layers, _ = LOCAL["denoiser"]
    model = convolutions(shape, layers)
    x = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    settings = {"attack": "quadratic-subset", "partition": "pixels", "eps": 0.1, "bounds": (-9, 9)}
    small = pc.attack(model, x, **settings, max_memory="20MB")
    whole = pc.attack(model, x, **settings, max_memory="1GiB")
    np.testing.assert_array_equal(small.delta != 0, whole.delta != 0)
    np.testing.assert_allclose(small.loss_after, whole.loss_after, rtol=1e-4)
    assert small.calls.jvp <= 2 * 160 and small.calls.vjp == 0
