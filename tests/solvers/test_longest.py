"""The longest column is the longest, whichever way found it, and the way is the cheap one."""

from __future__ import annotations

import numpy as np
import pytest

from pertcore.errors import InputError
from pertcore.solvers import columns, sketch
from pertcore.solvers.longest import largest_column
from tests.solvers.local_models import bottleneck, local, of_matrix


def uneven(d: int = 600) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(d, d)) * np.exp(rng.normal(size=d))


CASES = {
    "columns": lambda: of_matrix(np.random.default_rng(0).normal(size=(300, 320))),
    "combs": lambda: local("denoiser"),
    "low rank": lambda: bottleneck(400, 11),
    "sketch": lambda: of_matrix(uneven()),
}


@pytest.mark.parametrize("name", list(CASES))
def test_the_longest_column_by_the_cheapest_way(name):
    products = CASES[name]()
    calls = getattr(products.lin, "calls", None) or products.lin.oracle.calls
    before = calls.copy()
    found = largest_column(products)
    spent = calls - before
    assert found.method == name
    truth = np.linalg.norm(columns.explicit(products).astype(np.float64), axis=2)
    np.testing.assert_array_equal(found.index, truth.argmax(axis=1))
    np.testing.assert_allclose(found.norm, truth.max(axis=1), rtol=1e-5)
    if found.norms is not None:
        np.testing.assert_allclose(found.norms, truth, rtol=1e-3, atol=1e-4 * truth.max())
    n, plain = len(products), min(products.d, products.outputs)
    assert (spent.jvp + spent.vjp) / n <= found.jvps + found.vjps
    limit = {"columns": 1.35, "combs": 0.06, "low rank": 0.12, "sketch": 0.8}[name]
    assert found.jvps + found.vjps <= limit * plain
    assert found.kind == ("right with probability 1 - 1e-06" if name == "sketch" else "exact")


def test_ways_that_do_not_fit_say_so():
    gauss = CASES["columns"]()
    found = largest_column(gauss)
    assert len(found.notes) == 3
    for method, why in (("combs", "local"), ("low rank", "low rank"), ("sketch", "alike")):
        with pytest.raises(InputError, match=why):
            largest_column(gauss, method=method)
    with pytest.raises(InputError, match="allowed are"):
        largest_column(gauss, method="magic")


def test_ties_go_to_the_lowest_index():
    a = np.zeros((100, 100))
    a[np.arange(100), np.arange(100)] = 1
    a[3, 3] = a[50, 50] = -2
    for method in ("columns", "combs"):
        assert largest_column(of_matrix(a), method=method).index.tolist() == [3, 3]


def test_intervals_of_the_sketch_hold_as_often_as_they_say():
    """With a failure of 0.1 a column, at most that share of longest columns is ruled out."""
    rng = np.random.default_rng(0)
    lengths = np.exp(0.3 * rng.normal(size=50))
    lengths[7] = 1.01 * lengths.max()
    sums = (rng.normal(size=(4000, 40, 50)) ** 2).sum(axis=1) * lengths**2
    left = sketch.survivors(sums, 40, 0.1)
    assert 0.9 <= left[:, 7].mean() <= 0.999
    assert left.mean() < 0.5
    assert sketch.survivors(sums, 40, 1e-6)[:, 7].all()


def test_a_sample_with_fewer_columns_left_does_not_pay_with_a_wrong_answer():
    rng = np.random.default_rng(0)
    products = of_matrix(rng.normal(size=(9, 8)))
    left = np.zeros((2, 8), bool)
    left[0, 5] = left[1, [1, 2, 6]] = True
    index, norm = sketch.longest_of(products, left, 10**6)
    truth = np.linalg.norm(products.lin.oracle.a, axis=0)
    assert index[0] == 5 and index[1] == np.array([1, 2, 6])[truth[[1, 2, 6]].argmax()]
    np.testing.assert_allclose(norm, truth[index])
