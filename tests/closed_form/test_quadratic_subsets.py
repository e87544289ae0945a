"""Single subsets of the quadratic, (17) to (20), against brute force."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pertcore.closed_form.quadratic import (
    best_subset_quadratic,
    enumerate_subset,
    greedy_signs,
    one_opt,
    subset_signs,
)
from pertcore.constraints import Partition, parse_partition
from pertcore.errors import InputError

spec = importlib.util.spec_from_file_location(
    "quadratic_cases", Path(__file__).with_name("quadratic_cases.py")
)
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)

DTYPES = [np.float32, np.float64]
PARTITIONS = {
    "channels first": parse_partition("pixels", (3, 2, 5)),
    "channels last": parse_partition("pixels", (5, 2, 3)),
    "coordinates": parse_partition("pixels", (30,)),
    "one": Partition(np.zeros(30, dtype=np.int64), 1),
    "uneven": Partition(np.array([-1] * 3 + [0] * 9 + [1] * 2 + [2] * 1 + [3] * 15), 4),
}


@pytest.fixture(autouse=True, params=["numba", "numpy"])
def backend(request, monkeypatch):
    monkeypatch.setenv("PERTCORE_BACKEND", request.param)
    return request.param


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", cases.NAMES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 9, 13])
def test_enumeration_is_brute_force(size, name, dtype):
    rng = np.random.default_rng(size)
    for width in (1, 7):
        columns = cases.sorts(rng, size, width)[name].astype(dtype)
        signs, value = enumerate_subset(columns)
        assert signs.dtype == dtype and set(np.unique(signs)) <= {-1, 1}
        assert value == pytest.approx(cases.brute_force(columns), rel=1e-12, abs=1e-300)
        assert cases.value_of(columns, signs) == pytest.approx(value, rel=1e-12, abs=1e-300)


def test_twenty_columns_with_a_planted_maximum(backend):
    """Parallel columns: the best signs are those of the columns, among 2^20."""
    if backend == "numpy":
        pytest.skip("the definition lists 2^19 sign vectors: half a minute")
    rng = np.random.default_rng(0)
    size = rng.exponential(size=20) * rng.choice([-1, 1], size=20)
    columns = size[:, None] * np.array([1.0, 2.0])
    signs, value = enumerate_subset(columns)
    assert np.array_equal(signs, np.sign(size) * np.sign(size[0]))
    assert value == pytest.approx(5 * np.abs(size).sum() ** 2)
    plain = rng.normal(size=(20, 9))
    assert enumerate_subset(plain)[1] >= max(
        one_opt(plain, rng.choice([-1.0, 1.0], size=20))[1] for _ in range(300)
    ) * (1 - 1e-12)


def test_equal_signs_are_plus_first():
    assert enumerate_subset(np.zeros((7, 2)))[0].tolist() == [1] * 7
    assert enumerate_subset(np.eye(6))[0].tolist() == [1] * 6
    assert enumerate_subset(-np.ones((6, 1)))[0].tolist() == [1] * 6
    assert enumerate_subset(np.array([[1.0], [0.0], [-1.0]]))[0].tolist() == [1, 1, -1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", PARTITIONS)
@pytest.mark.parametrize("method", ["exact", "paper"])
def test_the_best_subset_is_the_best_of_all(method, kind, dtype):
    rng = np.random.default_rng(9)
    partition = PARTITIONS[kind]
    for name in cases.NAMES:
        columns = cases.sorts(rng, 30, 4)[name].astype(dtype)
        worth = np.empty(partition.count)
        for s in range(partition.count):
            inside = columns[partition.labels == s]
            if method == "paper":
                worth[s] = cases.value_of(inside, greedy_signs(inside))
            elif len(inside) <= 15:
                worth[s] = cases.brute_force(inside)
            else:
                worth[s] = subset_signs(inside, PARTITIONS["one"])[1][0]
        chosen, signs, value = best_subset_quadratic(columns, partition, method=method)
        assert value == pytest.approx(worth.max(), rel=1e-9)
        assert worth[chosen] == pytest.approx(worth.max(), rel=1e-9)
        assert not np.any(worth[:chosen] > worth.max() * (1 - 1e-13))
        inside = partition.labels == chosen
        assert np.all(signs[~inside] == 0) and np.all(np.abs(signs[inside]) == 1)
        assert cases.value_of(columns, signs) == pytest.approx(value, rel=1e-9, abs=1e-300)


def test_taken_subsets_are_left_out_and_equal_ones_go_by_number():
    partition = Partition(np.repeat(np.arange(5), 2), 5)
    columns = np.ones((10, 3))
    taken = np.zeros(5, dtype=bool)
    for expected in (0, 1, 2, 3, 4, -1):
        chosen, signs, value = best_subset_quadratic(columns, partition, taken=taken)
        assert chosen == expected
        assert value == (12 if expected >= 0 else 0) and np.abs(signs).sum() == (chosen >= 0) * 2
        if chosen >= 0:
            taken[chosen] = True


@pytest.mark.parametrize("method", ["exact", "paper"])
def test_a_batch_is_its_samples_at_any_scale(method):
    rng = np.random.default_rng(10)
    batch = rng.normal(size=(3, 30, 5))
    batch[1] *= 2.0**300
    partition, taken = PARTITIONS["channels first"], rng.random((3, 10)) < 0.5
    chosen, signs, values = best_subset_quadratic(batch, partition, method=method, taken=taken)
    for k in range(3):
        one = best_subset_quadratic(batch[k], partition, method=method, taken=taken[k])
        assert one[0] == chosen[k] and np.array_equal(one[1], signs[k]) and one[2] == values[k]


def test_refusals():
    with pytest.raises(InputError, match="21 columns: at most 20 are enumerated"):
        enumerate_subset(np.ones((21, 2)))
    with pytest.raises(InputError, match="allowed are 'exact' and 'paper'"):
        subset_signs(np.ones((30, 2)), PARTITIONS["one"], method="best")
