"""Losses against their definitions, written out row by row, and against difference quotients."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pertcore.closed_form import losses
from pertcore.errors import InputError

CLASSIFIER_LOSSES = ["margin", "score", "cross_entropy", "dlr"]


@pytest.fixture(autouse=True, params=["numba", "numpy"])
def backend(request, monkeypatch):
    monkeypatch.setenv("PERTCORE_BACKEND", request.param)
    return request.param


def written_out(name, row, y, targeted):
    """The value of a loss at one row, from its formula."""
    row = [float(v) for v in row]
    others = [v for j, v in enumerate(row) if j != y]
    down = sorted(row, reverse=True)
    lead = max(others) - row[y] if targeted else row[y] - max(others)
    if name == "margin":
        return lead
    if name == "score":
        return -row[y] if targeted else row[y]
    if name == "cross_entropy":
        entropy = math.log(math.fsum(math.exp(v - down[0]) for v in row)) + down[0] - row[y]
        return entropy if targeted else -entropy
    if len(row) == 2:
        return lead
    low = (down[2] + down[3]) / 2 if targeted and len(row) > 3 else down[2]
    return lead / (down[0] - low + 1e-12)


def quotient(name, f, y, targeted, decision=0.0, step=1e-6):
    slopes = np.zeros_like(f)
    for at in np.ndindex(f.shape[1:]):
        ahead, behind = f.copy(), f.copy()
        ahead[(slice(None), *at)] += step
        behind[(slice(None), *at)] -= step
        values = [
            losses.evaluate(name, point, y, targeted=targeted, decision=decision).value
            for point in (ahead, behind)
        ]
        slopes[(slice(None), *at)] = (values[0] - values[1]) / (2 * step)
    return slopes


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
@pytest.mark.parametrize("count", [2, 3, 4, 5, 10, 131])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_margin_are_the_formula(name, targeted, count, dtype):
    rng = np.random.default_rng(count)
    f = (3 * rng.normal(size=(20, count))).astype(dtype)
    y = rng.integers(0, count, size=20)
    rows = losses.LOSSES[name](f, y, targeted)
    for i in range(20):
        assert rows.value[i] == pytest.approx(written_out(name, f[i], y[i], targeted), rel=1e-12)
        assert rows.margin[i] == written_out("margin", f[i], y[i], targeted)
        others = [j for j in range(count) if j != y[i]]
        assert rows.runner_up[i] == max(others, key=lambda j: f[i, j])
    assert rows.cotangent.dtype == dtype and rows.value.dtype == rows.margin.dtype == np.float64


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", list(losses.LOSSES))
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 17])
def test_cotangent_is_the_slope(name, targeted, count):
    rng = np.random.default_rng(7)
    f = rng.normal(size=(30, count))
    y = rng.integers(0, max(count, 2), size=30)
    if name == "squared_error":
        y = rng.normal(size=f.shape)
    rows = losses.evaluate(name, f, y, targeted=targeted, decision=0.3)
    slopes = quotient(name, f, y, targeted, decision=0.3)
    # The ratio of DLR bends where two leaders are close: rows within a step of a kink are left out.
    gaps = np.diff(np.sort(f, axis=1), axis=1).min(axis=1, initial=np.inf)
    smooth = gaps > 1e-3
    assert smooth.sum() > 15
    np.testing.assert_allclose(rows.cotangent[smooth], slopes[smooth], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
def test_cotangent_of_an_ensemble_is_the_slope_of_the_mean(name):
    rng = np.random.default_rng(3)
    f, y = rng.normal(size=(6, 3, 4)), rng.integers(0, 4, size=6)
    rows = losses.evaluate(name, f, y)
    each = [losses.evaluate(name, f[:, m].copy(), y) for m in range(3)]
    np.testing.assert_allclose(rows.value, np.mean([r.value for r in each], axis=0), rtol=1e-12)
    np.testing.assert_array_equal(rows.margin, np.max([r.margin for r in each], axis=0))
    np.testing.assert_allclose(rows.cotangent, quotient(name, f, y, False), atol=1e-6)


def test_an_ensemble_is_fooled_only_when_every_member_is():
    f = np.array([[[2.0, 1.0], [0.0, 1.0]], [[0.0, 3.0], [0.0, 1.0]], [[np.nan, 1.0], [0.0, 1.0]]])
    margins = losses.evaluate("margin", f, np.array([0, 0, 0])).margin
    assert margins[0] == 1 and margins[1] == -1 and np.isnan(margins[2])


@pytest.mark.parametrize("targeted", [False, True])
def test_a_tie_is_not_fooled_and_the_first_class_carries_it(targeted):
    f = np.array([[1, 1, 1, 0], [0, 2, 1, 2]], dtype=np.float32)
    for name in CLASSIFIER_LOSSES:
        rows = losses.LOSSES[name](f, np.array([1, 3]), targeted)
        assert np.array_equal(rows.margin, [0, 0]) and not np.signbit(np.abs(rows.margin)).any()
        assert np.array_equal(rows.runner_up, [0, 1])
    sign = -1 if targeted else 1
    slopes = losses.margin(f, np.array([1, 3]), targeted).cotangent
    assert np.array_equal(slopes, sign * np.array([[-1, 1, 0, 0], [0, -1, 0, 1]]))


def test_dlr_stays_finite_where_its_denominator_vanishes():
    f = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], dtype=np.float32)
    for targeted in (False, True):
        rows = losses.dlr(f, np.array([3, 2]), targeted)
        assert np.isfinite(rows.value).all() and np.isfinite(rows.cotangent).all()


@pytest.mark.parametrize(("dtype", "rel"), [(np.float32, 2e-7), (np.float64, 1e-13)])
@pytest.mark.parametrize("gap", [1, 20, 40, 80])
@pytest.mark.parametrize("y", [0, 1, 2])
def test_cross_entropy_keeps_its_digits_when_the_model_is_sure(dtype, rel, gap, y):
    getcontext().prec = 80
    f = np.array([[gap, 0.25, -1.5]], dtype=dtype)
    powers = [Decimal(float(v)).exp() for v in f[0]]
    total = sum(powers)
    rows = losses.cross_entropy(f, np.array([y]), False)
    assert rows.value[0] == pytest.approx(float((powers[y] / total).ln()), rel=1e-13, abs=0)
    for j in range(3):
        exact = sum(p for k, p in enumerate(powers) if k != y) if j == y else -powers[j]
        assert rows.cotangent[0, j] == pytest.approx(float(exact / total), rel=rel, abs=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
@pytest.mark.parametrize("targeted", [False, True])
def test_huge_and_tiny_scores_do_not_overflow(dtype, name, targeted):
    big = float(np.finfo(dtype).max) / 8
    f = np.array([[big, -big, 0], [-big, big, big / 2], [1e-30, 0, -1e-30]], dtype=dtype)
    rows = losses.LOSSES[name](f, np.array([0, 0, 1]), targeted)
    assert np.isfinite(rows.value).all() and np.isfinite(rows.cotangent).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
@pytest.mark.parametrize("targeted", [False, True])
def test_a_broken_output_is_never_fooled(bad, place, name, targeted):
    f = np.linspace(-1, 1, 10).reshape(2, 5)
    f[0, place] = bad
    rows = losses.LOSSES[name](f, np.array([1, 1]), targeted)
    assert np.isnan(rows.margin[0]) and np.isnan(rows.value[0]) and rows.runner_up[0] == -1
    assert np.isnan(rows.cotangent[0]).all()
    assert np.isfinite(rows.cotangent[1]).all() and np.isfinite(rows.margin[1])


@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
def test_one_logit_is_two_classes(name):
    z, y = np.array([[0.5], [0.1], [-2.0], [np.nan]], dtype=np.float32), np.array([1, 1, 0, 0])
    rows = losses.evaluate(name, z, y, decision=0.25)
    half = (z.astype(np.float64) - 0.25) / 2
    pair = losses.LOSSES[name](np.hstack([-half, half]), y, False)
    slope = (pair.cotangent[:, 1] - pair.cotangent[:, 0]) / 2
    np.testing.assert_array_equal(rows.value, pair.value)
    np.testing.assert_array_equal(rows.cotangent[:, 0], slope.astype(np.float32))
    np.testing.assert_array_equal(rows.margin, pair.margin)
    assert rows.margin[0] == 0.25 and rows.margin[2] == 2.25
    assert rows.cotangent.shape == (4, 1) and rows.cotangent.dtype == np.float32


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
def test_either_class_of_one_logit_feels_it(name, targeted):
    z, y = np.array([[-1.5], [1.5]], dtype=np.float32), np.array([0, 1])
    slopes = losses.evaluate(name, z, y, targeted=targeted).cotangent[:, 0]
    assert slopes[0] == -slopes[1]
    assert slopes[1] < 0 if targeted else slopes[1] > 0


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("dtype", "gap"), [(np.float32, 90), (np.float32, 5000), (float, 800)])
def test_cross_entropy_keeps_a_direction_when_its_gradient_vanishes(dtype, gap, targeted):
    f = np.array([[0.5, gap, -1.0, 0.25], [gap, gap - 1, 0, 0]], dtype=dtype)
    rows = losses.cross_entropy(f, np.array([1, 0]), targeted)
    shares = np.exp([0.5, -np.inf, -1.0, 0.25])
    wanted = -shares / shares.sum()
    wanted[1] = 1
    sign = -1 if targeted else 1
    np.testing.assert_allclose(rows.cotangent[0], sign * wanted, rtol=1e-6)
    assert abs(rows.value[0]) <= math.exp(-gap + 2)
    assert rows.cotangent[1, 0] == pytest.approx(sign * (1 - 1 / (1 + math.exp(-1))), rel=1e-6)


def test_cross_entropy_changes_scale_and_nothing_else_at_the_threshold():
    f = np.array([[g, 0.0, -1.0] for g in (80, 87.0, 87.5, 88.0, 95.0)], dtype=np.float32)
    slopes = losses.cross_entropy(f, np.zeros(5, dtype=np.int64)).cotangent.astype(np.float64)
    assert slopes[1, 0] < 1e-36 and slopes[-1, 0] == 1
    np.testing.assert_allclose(slopes / slopes[:, :1], slopes[-1:].repeat(5, axis=0), rtol=1e-5)


@pytest.mark.parametrize("z", [50.0, 90.0, 3000.0])
def test_cross_entropy_of_one_sure_logit_keeps_its_sign(z):
    f = np.array([[z], [-z]], dtype=np.float32)
    slopes = losses.evaluate("cross_entropy", f, np.array([1, 0])).cotangent[:, 0]
    assert slopes[0] == -slopes[1] > 0
    assert z == 50 or slopes[0] == 1


def test_a_vanished_member_does_not_drown_the_others():
    f = np.array([[[900.0, 0], [1.0, 0]], [[900.0, 0], [500.0, 0]]], dtype=np.float32)
    slopes = losses.evaluate("cross_entropy", f, np.array([0, 0])).cotangent
    assert not slopes[0, 0].any() and slopes[0, 1, 0] > 0.1
    np.testing.assert_array_equal(slopes[1], np.full((2, 2), [0.5, -0.5]))


def test_the_decision_is_compared_as_written():
    just_above = np.array([[0.1]], dtype=np.float32)
    assert float(just_above[0, 0]) > 0.1
    assert losses.evaluate("margin", just_above, np.array([0]), decision=0.1).margin[0] < 0


def test_squared_error_has_no_margin():
    f, y = np.array([[1.0, 2.0], [0.0, 0.0]], dtype=np.float32), np.array([[0, 0], [3, 4]])
    rows = losses.evaluate("squared_error", f, y)
    assert np.array_equal(rows.value, [-5, -25])
    assert np.array_equal(rows.cotangent, [[-2, -4], [6, 8]])
    assert np.isnan(rows.margin).all() and np.array_equal(rows.runner_up, [-1, -1])
    towards = losses.evaluate("squared_error", f, y, targeted=True)
    assert np.array_equal(towards.value, -rows.value)


def total(f, y):
    return f.sum(axis=1), np.ones_like(f)


def test_a_callable_gets_the_margin_of_the_classifier():
    f, y = np.array([[1.0, 2.0], [0.0, 4.0]]), np.array([0, 1])
    rows = losses.evaluate(total, f, y)
    assert np.array_equal(rows.value, [3, 4]) and np.array_equal(rows.margin, [-1, 4])
    raised = losses.evaluate(total, f, y, goal="maximise")
    assert np.array_equal(raised.value, [-3, -4]) and np.array_equal(
        raised.cotangent, -np.ones_like(f)
    )
    assert np.array_equal(raised.margin, rows.margin)
    assert np.isnan(losses.evaluate(total, f, f).margin).all()
    assert losses.evaluate(total, f[:, :1], y, decision=0.5).margin.tolist() == [-0.5, -0.5]


def test_a_callable_may_carry_its_goal():
    def raised(f, y):
        return total(f, y)

    raised.goal = "maximise"
    f = np.array([[1.0, 2.0]])
    assert losses.evaluate(raised, f, np.array([0])).value[0] == -3
    assert losses.evaluate(raised, f, np.array([0]), goal="minimise").value[0] == 3


def test_wrong_losses_are_named():
    f, y = np.zeros((2, 3)), np.zeros(2, dtype=np.int64)
    with pytest.raises(InputError, match="loss='hinge': allowed are margin, score"):
        losses.evaluate("hinge", f, y)
    with pytest.raises(InputError, match="goal='up': allowed are 'minimise', 'maximise'"):
        losses.evaluate("margin", f, y, goal="up")
    with pytest.raises(InputError, match=r"value \(\) and cotangent \(2, 3\)"):
        losses.evaluate(lambda f, y: (f.sum(), f), f, y)


@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
def test_what_is_no_classification_is_refused(name):
    f = np.zeros((2, 3))
    with pytest.raises(InputError, match=r"outputs \(2, 1\) with labels \(2,\) of float64"):
        losses.evaluate(name, f[:, :1], np.zeros(2))
    with pytest.raises(InputError, match=r"outputs \(2, 3\) with labels \(2, 3\) of int64"):
        losses.evaluate(name, f, np.zeros((2, 3), dtype=np.int64))
    with pytest.raises(InputError, match=r"K >= 2"):
        losses.LOSSES[name](f[:, :1], np.zeros(2, dtype=np.int64), False)


@pytest.mark.parametrize("classes", [1, 2, 5, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_class_differences_are_the_best_others(classes, dtype):
    rng = np.random.default_rng(1)
    f = rng.integers(-2, 3, size=(40, 6)).astype(dtype)
    y = rng.integers(0, 6, size=40)
    cotangents, levels, numbers = losses.class_differences(f, y, classes)
    kept = min(classes, 5)
    assert cotangents.shape == (kept, 40, 6) and cotangents.dtype == dtype
    for i in range(40):
        others = sorted((j for j in range(6) if j != y[i]), key=lambda j: (-f[i, j], j))
        assert numbers[:, i].tolist() == others[:kept]
        for rank, other in enumerate(others[:kept]):
            unit = np.eye(6)
            assert levels[rank, i] == f[i, y[i]] - f[i, other]
            assert np.array_equal(cotangents[rank, i], unit[y[i]] - unit[other])


def test_class_differences_of_one_logit():
    f, y = np.array([[0.5], [2.0]], dtype=np.float32), np.array([1, 0])
    cotangents, levels, numbers = losses.class_differences(f, y, 3, decision=0.25)
    assert cotangents.tolist() == [[[1.0], [-1.0]]] and cotangents.dtype == np.float32
    assert levels.tolist() == [[0.25, -1.75]] and numbers.tolist() == [[0, 1]]


def test_class_differences_rank_nan_last():
    f = np.array([[1.0, np.nan, 0.0, -np.inf]])
    _, levels, numbers = losses.class_differences(f, np.array([0]), 3)
    assert numbers[:, 0].tolist() == [2, 1, 3] and np.isnan(levels[1, 0])


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_a_sample_does_not_see_its_batch(name):
    rng = np.random.default_rng(5)
    f = rng.normal(size=(9, 33)).astype(np.float32)
    y = f[::-1].copy() if name == "squared_error" else rng.integers(0, 33, size=9)
    f.flags.writeable = y.flags.writeable = False
    whole = losses.evaluate(name, f, y)
    for i in range(9):
        one = losses.evaluate(name, f[i : i + 1], y[i : i + 1])
        for field in ("value", "cotangent", "margin", "runner_up"):
            np.testing.assert_array_equal(getattr(one, field)[0], getattr(whole, field)[i])
    assert losses.evaluate(name, f[:0], y[:0]).cotangent.shape == (0, 33)


LOGITS = arrays(np.float64, (3, 5), elements=st.floats(-50, 50, width=32))


@given(f=LOGITS, order=st.permutations(range(5)), shift=st.integers(-64, 64))
@pytest.mark.parametrize("name", CLASSIFIER_LOSSES)
def test_renaming_classes_renames_the_cotangent(name, f, order, shift):
    y, order = np.array([0, 2, 4]), np.array(order)
    rows = losses.evaluate(name, f, y)
    renamed = losses.evaluate(name, np.ascontiguousarray(f[:, order]), np.argsort(order)[y])
    np.testing.assert_allclose(renamed.value, rows.value, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(renamed.margin, rows.margin)
    distinct = np.diff(np.sort(f, axis=1), axis=1).min(axis=1) > 0
    np.testing.assert_allclose(
        renamed.cotangent[distinct], rows.cotangent[distinct][:, order], rtol=1e-9, atol=1e-12
    )
    if name in ("margin", "cross_entropy"):
        moved = losses.evaluate(name, f + shift, y)
        np.testing.assert_allclose(moved.value, rows.value, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(rows.cotangent.sum(axis=1), 0, atol=1e-12)
