"""Margins and their slopes against the definition and difference quotients."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from pertcore.falsification.cases import Cases
from pertcore.falsification.margins import Margins
from pertcore.falsification.vnnlib import parse
from tests.falsification.nets import spec

TERMS = (
    "(<= Y_0 0.25)", "(>= Y_1 (* 2 X_0))", "(< (+ Y_0 Y_1 -1) (* X_0 X_1))", "(> Y_2 Y_0)",
    "(<= (/ Y_0 (+ 3 X_1)) (- Y_2))", "(>= (* Y_0 Y_1 Y_2) (- X_1 X_0 0.5))", "(= Y_1 X_1)",
)  # fmt: skip
EITHER = f"(or {' '.join(f'(and {a} {b})' for a, b in pairwise(TERMS))})"


def brought(seed=0, n=12):
    prop = parse(spec([("-1", "1")] * 2, 3, EITHER))
    cases = list(Cases(prop, np.dtype(np.float64)).listed())
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(cases), size=n)
    chosen = [cases[row] for row in rows]
    return prop, chosen, rng.uniform(-1, 1, (n, 2)), rng.standard_normal((n, 3))


def exact(prop, case, x, y):
    """The definition: the least slack of the case's atoms, in fractions."""
    codes = {**dict(enumerate(x)), **{~i: v for i, v in enumerate(y)}}
    return min(prop.atoms[a].exact(lambda code: Fraction(float(codes[code]))) for a in case.atoms)


@pytest.mark.parametrize("seed", range(5))
def test_margins_are_the_least_slacks(seed):
    prop, cases, x, y = brought(seed)
    margins = Margins(prop, cases)
    slacks = margins.slacks(x, y)
    least = [float(exact(prop, *row)) for row in zip(cases, x, y)]
    np.testing.assert_allclose(margins.least(slacks), least, rtol=1e-12, atol=1e-12)
    own = [np.where(m, np.minimum(s, 0), 0).sum() for m, s in zip(margins.mask, slacks)]
    lacking = np.where(np.array(own) < 0, own, least)
    np.testing.assert_allclose(margins.missing(slacks), lacking)
    assert (np.array(least) > 0).any() or seed
    part = margins.taken(np.array([3, 1]))
    np.testing.assert_array_equal(part.least(slacks[[3, 1]]), margins.least(slacks)[[3, 1]])


@pytest.mark.parametrize("weighted", [0, 1, 2])
def test_slopes_against_difference_quotients(weighted):
    prop, cases, x, y = brought(weighted + 7)
    margins = Margins(prop, cases)
    weights = np.random.default_rng(1).standard_normal(margins.mask.shape)
    if weighted:  # of the sum of what is missing; of the least slack
        weights = margins.weights(margins.slacks(x, y), np.full(len(x), weighted == 1))
    by_x, by_y = margins.pull(weights, x, y)
    h = 1e-6
    for which, slopes in ((x, by_x), (y, by_y)):
        for column in range(which.shape[1]):
            sides = []
            for sign in (1, -1):
                moved = which.copy()
                moved[:, column] += sign * h
                given = (moved, y) if which is x else (x, moved)
                sides.append((weights * margins.slacks(*given)).sum(axis=1))
            quotient = (sides[0] - sides[1]) / (2 * h)
            np.testing.assert_allclose(slopes[:, column], quotient, rtol=1e-5, atol=1e-5)


def test_weights_belong_to_the_own_case_and_its_least_atom():
    prop, cases, x, y = brought(3)
    margins = Margins(prop, cases)
    slacks = margins.slacks(x, y)
    soft = margins.weights(slacks, np.zeros(len(x), bool))
    assert (soft[~margins.mask] == 0).all()
    np.testing.assert_allclose(soft.sum(axis=1), 1)
    own = np.where(margins.mask, slacks, np.inf)
    assert (own[np.arange(len(x)), soft.argmax(axis=1)] == own.min(axis=1)).all()
    summed = margins.weights(slacks, np.ones(len(x), bool))
    lacking = margins.missing(slacks) < 0
    np.testing.assert_array_equal(summed[lacking], (margins.mask & (slacks < 0))[lacking])


def test_what_is_no_number_is_no_margin():
    prop, cases, x, y = brought()
    margins = Margins(prop, cases)
    y[0] = np.nan
    assert margins.least(margins.slacks(x, y))[0] == -np.inf
    by_x, by_y = margins.pull(np.ones(margins.mask.shape), x, y)
    assert np.isfinite(by_x).all() and np.isfinite(by_y).all()
