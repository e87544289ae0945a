"""Columns of J against the Jacobian itself, inside and outside the memory budget."""

from __future__ import annotations

import numpy as np
import pytest

import pertcore as pc
from pertcore.constraints import parse_partition
from pertcore.errors import InputError
from pertcore.oracle import Array
from pertcore.solvers import columns
from pertcore.solvers.products import Products


def jacobians(
    d: int, outputs: int, n: int = 3, free: Array | None = None
) -> tuple[Products, Array]:
    """Products of a tanh network at n points, and its Jacobians (n, K, d) by the chain rule."""
    rng = np.random.default_rng(d + outputs)
    first, second = rng.normal(size=(7, d)), rng.normal(size=(outputs, 7))
    model = pc.from_network(
        [first, second], [np.zeros(7), np.zeros(outputs)], activation="tanh", dtype=np.float64
    )
    x = rng.normal(size=(n, d))
    slope = 1 - np.tanh(x @ first.T) ** 2
    dense = np.einsum("kh,nh,hd->nkd", second, slope, first)
    products = Products.at(model, model.linearize(x), free)
    return products, dense if free is None else dense * free[:, None, :]


@pytest.mark.parametrize(("d", "outputs"), [(5, 9), (9, 5), (1, 1), (200, 3), (3, 200)])
def test_columns_and_their_norms_are_those_of_the_jacobian(d, outputs):
    products, dense = jacobians(d, outputs)
    calls = products.lin.oracle.calls
    held = columns.explicit(products)
    assert held.shape == (3, d, outputs)
    assert held.flags.c_contiguous
    assert held.dtype == np.float64
    np.testing.assert_allclose(held, dense.transpose(0, 2, 1), rtol=1e-12, atol=1e-13)
    assert (calls.vjp, calls.jvp) == ((3 * outputs, 0) if outputs < d else (0, 3 * d))
    norms = columns.column_norms(products)
    assert norms.dtype == np.float64
    np.testing.assert_allclose(norms, np.linalg.norm(dense, axis=1), rtol=1e-12)
    np.testing.assert_allclose(columns.frobenius(norms), np.linalg.norm(dense, axis=(1, 2)))


def test_frozen_features_have_columns_of_zero():
    free = np.ones((1, 6))
    free[0, [0, 4]] = 0
    products, dense = jacobians(6, 4, free=free)
    held = columns.explicit(products)
    np.testing.assert_allclose(held, dense.transpose(0, 2, 1), atol=1e-13)
    assert np.all(held[:, [0, 4]] == 0)
    assert np.all(columns.column_norms(products)[:, [0, 4]] == 0)


def test_the_budget_is_exact_to_the_byte_and_the_message_says_what_to_do():
    products, _ = jacobians(5, 9)
    needed = 3 * 5 * 9 * 8
    assert columns.size(products) == needed
    columns.explicit(products, max_memory=needed)
    with pytest.raises(InputError, match=rf"{needed} bytes.*raise max_memory.*fewer samples"):
        columns.explicit(products, max_memory=needed - 1)


@pytest.mark.parametrize("budget", [1, 600, 10**9])
def test_blocks_keep_to_the_budget_and_cover_every_column_once(budget):
    products, dense = jacobians(150, 160, n=2)
    seen = np.zeros(150, int)
    for part, block in columns.stream_columns(products, max_memory=budget):
        seen[part] += 1
        assert block.nbytes <= budget or part.stop - part.start == 1
        np.testing.assert_allclose(block, dense[:, :, part].transpose(0, 2, 1), atol=1e-12)
    assert np.all(seen == 1)
    rows = [block for _, block in columns.stream_rows(products, max_memory=budget)]
    np.testing.assert_allclose(np.concatenate(rows, axis=1), dense, atol=1e-12)
    assert max(block.shape[1] for block in rows) <= 64


def test_norms_of_subsets_are_frobenius_norms():
    products, dense = jacobians(12, 5)
    labels = np.array([0, 1, -1, 0, 1, 2, 2, 2, -1, 0, 3, 3])
    found = columns.subset_norms(columns.column_norms(products), parse_partition(labels, (12,)))
    for subset in range(4):
        expected = np.linalg.norm(dense[:, :, labels == subset], axis=(1, 2))
        np.testing.assert_allclose(found[:, subset], expected)


def test_no_sample_has_no_columns():
    products, _ = jacobians(5, 9)
    nobody = products.take(np.zeros(3, bool))
    assert columns.explicit(nobody).shape == (0, 5, 9)
    assert columns.column_norms(nobody).shape == (0, 5)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(1000, 1000), (2e9, 2 * 10**9), ("2GB", 2 * 10**9), (" 512 MiB", 1 << 29), ("1.5kb", 1500)],
)
def test_amounts_of_memory(amount, expected):
    assert columns.parse_memory(amount) == expected


@pytest.mark.parametrize("amount", ["", "GB", "2 parsecs", -1, 0, True, None, float("nan")])
def test_what_is_no_amount_of_memory(amount):
    with pytest.raises(InputError, match="max_memory="):
        columns.parse_memory(amount)
