"""Greedy signs, single flips, sign ascent and the relaxation against their definitions."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pertcore.closed_form.quadratic import (
    column_norms,
    greedy_signs,
    hyperplane_round,
    mixing,
    one_opt,
    sign_ascent,
)

spec = importlib.util.spec_from_file_location(
    "quadratic_cases", Path(__file__).with_name("quadratic_cases.py")
)
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)

DTYPES = [np.float32, np.float64]
SCALES = [1.0, 1e-30, 1e30]


@pytest.fixture(autouse=True, params=["numba", "numpy"])
def backend(request, monkeypatch):
    monkeypatch.setenv("PERTCORE_BACKEND", request.param)
    return request.param


def greedy_by_hand(columns):
    """(19) word by word, on whole numbers without a rounding."""
    square = (columns * columns).sum(axis=1)
    order = sorted(range(len(columns)), key=lambda i: (-square[i], i))
    signs = np.zeros(len(columns))
    for z, i in enumerate(order):
        total = sum((signs[j] * columns[j] for j in order[:z]), np.zeros(columns.shape[1]))
        signs[i] = 1 if total @ columns[i] >= 0 else -1
    return signs


whole_columns = st.tuples(st.integers(1, 9), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(-3, 3))
)


@given(whole_columns)
@settings(max_examples=150, deadline=None)
def test_greedy_signs_are_those_of_the_paper(columns):
    columns = columns.astype(np.float64)
    expected = greedy_by_hand(columns)
    for dtype in DTYPES:
        assert np.array_equal(greedy_signs(columns.astype(dtype)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 10, 16, 17, 200])
def test_greedy_signs_on_real_numbers(dtype, width):
    rng = np.random.default_rng(width)
    for d in (1, 2, 47, 48, 49, 300):
        columns = rng.normal(size=(d, width)).astype(dtype)
        assert np.array_equal(greedy_signs(columns), greedy_by_hand(columns.astype(np.float64)))


def test_greedy_ties_go_by_index_and_zero_products_are_plus():
    assert greedy_signs(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])).tolist() == [1, 1, -1]
    assert greedy_signs(np.array([[1.0, 0.0], [0.0, 0.0], [-2.0, 0.0]])).tolist() == [-1, 1, 1]
    assert greedy_signs(np.zeros((4, 3), np.float32)).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", cases.NAMES)
def test_single_flips_climb_to_where_none_helps(name, scale, dtype):
    rng = np.random.default_rng(3)
    for d, width in ((1, 1), (1, 5), (7, 1), (20, 4), (33, 40)):
        columns = (cases.sorts(rng, d, width)[name] * scale).astype(dtype)
        start = rng.choice([-1, 1], size=d).astype(dtype)
        before = cases.value_of(columns, start)
        values = [before]
        for sweeps in (1, 2, 50):
            signs, value = one_opt(columns, start, max_sweeps=sweeps)
            assert value == pytest.approx(cases.value_of(columns, signs), rel=1e-10, abs=0)
            values.append(value)
        assert np.all(np.diff(values) >= -1e-12 * max(values))
        assert set(np.unique(signs)) <= {-1, 1} and signs.dtype == dtype
        flipped = np.tile(signs, (d, 1)) * (1 - 2 * np.eye(d))
        assert np.all(cases.value_of(columns, flipped) <= value * (1 + 1e-10))


def test_single_flips_leave_their_start_and_repeat():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(40, 6)).astype(np.float32)
    start = np.ones(40, np.float32)
    start.flags.writeable = columns.flags.writeable = False
    signs, value = one_opt(columns, start)
    assert np.array_equal(start, np.ones(40))
    again, same = one_opt(columns, signs)
    assert np.array_equal(again, signs) and same == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", SCALES)
def test_sign_ascent_rises_to_a_fixed_point(dtype, scale):
    rng = np.random.default_rng(1)
    columns = (rng.normal(size=(60, 9)) * scale).astype(dtype)
    columns[5] = 0
    start = rng.choice([-1, 1], size=60).astype(dtype)
    values = [sign_ascent(columns, start, max_steps=k)[1] for k in range(8)]
    assert values[0] == pytest.approx(cases.value_of(columns, start), rel=1e-5)
    assert np.all(np.diff(values) >= 0) and values[1] > values[0]
    signs, value = sign_ascent(columns, start)
    assert value == pytest.approx(cases.value_of(columns, signs), rel=1e-5)
    assert signs[5] == start[5]
    slope = columns.astype(np.float64) @ (signs.astype(np.float64) @ columns.astype(np.float64))
    assert np.all(signs * slope >= -1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", cases.NAMES)
def test_the_relaxation_rises_and_its_rows_have_unit_norm(name, scale, dtype):
    rng = np.random.default_rng(4)
    for d, width in ((1, 3), (12, 1), (30, 20)):
        columns = (cases.sorts(rng, d, width)[name] * scale).astype(dtype)
        wide = columns.astype(np.float64) / scale
        values = []
        for sweeps in (0, 1, 3, 30):
            rows, image = mixing(columns, rank=5, sweeps=sweeps, keys=7)
            assert rows.shape == (d, 5) and image.shape == (width, 5) and rows.dtype == dtype
            np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
            shape = wide.T @ rows.astype(np.float64)
            np.testing.assert_allclose(
                image / dtype(scale), shape, atol=3e-5 * np.abs(wide).sum() + 1e-300
            )
            values.append((shape * shape).sum())
        assert np.all(np.diff(values) >= -1e-4 * max(values))
        if d <= 12:
            assert values[-1] >= cases.brute_force(wide) * (1 - 1e-3)


def test_the_relaxation_of_orthogonal_and_of_equal_columns_is_exact():
    rows, image = mixing(np.eye(6), sweeps=60, rise=0.0)
    assert (image * image).sum() == pytest.approx(6)
    rows, image = mixing(np.ones((5, 3)), sweeps=60, rise=0.0)
    assert (image * image).sum() == pytest.approx(75)
    np.testing.assert_allclose(rows @ rows.T, 1, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_relaxation_on_a_gram_matrix_takes_the_same_steps(dtype):
    rng = np.random.default_rng(11)
    columns = rng.normal(size=(25, 14)).astype(dtype)
    columns[7] = 0
    for sweeps in (0, 1, 4):
        rows, image = mixing(columns, rank=5, sweeps=sweeps, keys=3, rise=0.0)
        alike, same = mixing(
            columns, rank=5, sweeps=sweeps, keys=3, rise=0.0, gram=columns @ columns.T
        )
        unit = np.finfo(dtype).eps
        np.testing.assert_allclose(alike, rows, atol=2000 * unit)
        np.testing.assert_allclose(same, image, atol=20000 * unit)


def test_hyperplane_rounding_cuts_by_a_plane():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(50, 2))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    signs = hyperplane_round(rows, 2000, 3)
    assert signs.shape == (2000, 50) and set(np.unique(signs)) == {-1, 1}
    angle = np.arccos(np.clip(rows[0] @ rows[1], -1, 1)) / math.pi
    assert np.mean(signs[:, 0] != signs[:, 1]) == pytest.approx(angle, abs=0.05)
    assert np.array_equal(signs, hyperplane_round(rows, 2000, 3))
    assert not np.array_equal(signs, hyperplane_round(rows, 2000, 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_at_every_scale(dtype):
    rng = np.random.default_rng(6)
    top = float(np.finfo(dtype).max) / 100
    for scale in (1.0, top, 1 / top):
        columns = (rng.normal(size=(9, 4)) * scale).astype(dtype)
        expected = [math.hypot(*map(float, c)) for c in columns]
        np.testing.assert_allclose(column_norms(columns), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_batch_is_its_samples_and_a_power_of_two_changes_no_sign(dtype):
    rng = np.random.default_rng(8)
    batch = rng.normal(size=(3, 25, 6)).astype(dtype)
    batch[1] = np.ldexp(batch[1], 90)
    signs = greedy_signs(batch)
    flipped, values = one_opt(batch, signs)
    rows, images = mixing(batch, keys=np.array([4, 5, 6]))
    norms = column_norms(batch)
    for k in range(3):
        assert np.array_equal(signs[k], greedy_signs(batch[k]))
        alone, value = one_opt(batch[k], signs[k])
        assert np.array_equal(flipped[k], alone) and values[k] == value
        row, image = mixing(batch[k], keys=4 + k)
        assert np.array_equal(rows[k], row) and np.array_equal(images[k], image)
        assert np.array_equal(norms[k], column_norms(batch[k]))
        assert np.array_equal(signs[k], greedy_signs(np.ldexp(batch[k], -90)))
