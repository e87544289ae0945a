"""The best single subset against all signs of all subsets, with labels and inside a box."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import pertcore as pc
from pertcore.closed_form.sampling import sample_keys
from pertcore.constraints import Partition
from pertcore.solvers.products import Products
from pertcore.solvers.quadratic import Question
from pertcore.solvers.single_subset import best_subset

LABELS = np.array([2, 0, 0, 1, 1, 1, -1, 2, 0, 2, 2])


def asked(rng, *, offset=False, box=False, n=3, max_memory=1 << 30):
    d, outputs = len(LABELS), int(rng.integers(2, 7))
    j = rng.normal(size=(outputs, d)) * rng.lognormal(size=d)
    oracle = pc.from_matrix(j)
    x = rng.uniform(size=(n, d))
    x[0, :4] = (0, 1, 0, 1)
    level = rng.normal(size=(n, outputs)) * 2 if offset else None
    ends = (0.0, 1.0) if box else (-math.inf, math.inf)
    products = Products.at(oracle, oracle.linearize(x))
    eps = rng.uniform(0.1, 0.8, n)
    keys = sample_keys(0, np.arange(n))
    return j, Question(products, level, eps, math.inf, keys, x, *ends, max_memory=max_memory)


def brute_force(j, question):
    low = np.maximum(question.lo - question.x, -question.eps[:, None])
    high = np.minimum(question.hi - question.x, question.eps[:, None])
    best = np.zeros(len(question.x))
    for i in range(len(best)):
        for s in range(3):
            inside = np.flatnonzero(s == LABELS)
            for corner in itertools.product((0, 1), repeat=len(inside)):
                eta = np.zeros(len(LABELS))
                eta[inside] = np.where(corner, high[i, inside], low[i, inside])
                image = j @ eta + (0 if question.offset is None else question.offset[i])
                best[i] = max(best[i], image @ image)
    return best


@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("offset", [False, True])
def test_it_is_the_best_of_all_signs_of_all_subsets(offset, box):
    rng = np.random.default_rng([7, offset, box])
    for _ in range(12):
        j, question = asked(rng, offset=offset, box=box)
        found = best_subset(question, Partition(LABELS, 3), "best")
        best = brute_force(j, question)
        np.testing.assert_allclose(found.value, best, rtol=1e-9)
        image = found.eta @ j.T + (0 if question.offset is None else question.offset)
        np.testing.assert_allclose((image**2).sum(axis=1), best, rtol=1e-9)
        assert np.all(found.upper >= best) and np.all(found.upper <= best * (1 + 1e-6))
        inside = question.x + found.eta
        assert np.all((inside >= question.lo - 1e-12) & (inside <= question.hi + 1e-12))
        assert np.all(found.eta[:, LABELS < 0] == 0)
        for row in found.eta:
            assert len(np.unique(LABELS[np.flatnonzero(row)])) == 1


def test_the_printed_rule_knows_neither_box_nor_labels():
    rng = np.random.default_rng(8)
    _, question = asked(rng, offset=True, box=True)
    found = best_subset(question, Partition(LABELS, 3), "paper")
    sizes = np.abs(found.eta[found.eta != 0])
    assert np.all(np.isin(np.round(sizes, 12), np.round(question.eps, 12)))
    assert np.all(np.isinf(found.upper))
