"""Every kernel, every backend present: the values of its NumPy definition, on its own cases."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pertcore.kernels.catalogue import BACKENDS, ROWS, Row, load

SIZES = (1, 31, 32, 33, 1025)
ROW_COUNT = 5
LONG_ROW_COUNT = 2


@functools.cache
def _file(name: str) -> ModuleType:
    place = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"parity_{name}", place)
    assert spec is not None and spec.loader is not None, f"tests/kernels/{name}.py is missing"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases_of(row: Row, size: int, dtype: Any) -> Any:
    file, function = row.cases.split(":")
    count = ROW_COUNT if size < 1000 else LONG_ROW_COUNT
    return getattr(_file(file), function)(np.random.default_rng(size), count, size, dtype)


def _frozen(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    copy = value.copy()
    copy.flags.writeable = False
    return copy


def check_equal(found: Any, wanted: Any, ulps: float, what: str) -> None:
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted, err_msg=what)
        return
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted), err_msg=f"{what}: NaN")
    rows = wanted.reshape(wanted.shape[0], -1) if wanted.ndim > 1 else wanted[:, None]
    top = np.max(np.abs(np.where(np.isfinite(rows), rows, 0)), axis=1, initial=0)
    unit = np.spacing(top.astype(wanted.dtype)).astype(np.float64)[:, None]
    close = found.reshape(rows.shape)
    same = (close == rows) | np.isnan(rows)
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.where(same, 0, np.abs(close.astype(np.float64) - rows) / unit)
    assert np.all(off <= ulps), f"{what}: {off.max()} units in the last place, allowed {ulps}"


@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_its_two_versions_and_its_cases(name: str) -> None:
    for backend in BACKENDS:
        assert callable(load(name, backend)), f"{name} has no {backend} version"
    file, function = ROWS[name].cases.split(":")
    assert hasattr(_file(file), function), (
        f"kernel {name}: tests/kernels/{file}.py has no {function}"
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ROWS)
def test_the_compiled_version_gives_the_values_of_the_definition(name: str, dtype: Any) -> None:
    row = ROWS[name]
    for size in SIZES:
        for number, (args, outs) in enumerate(cases_of(row, size, dtype)):
            given = tuple(_frozen(a) for a in args)
            wanted = tuple(np.full_like(o, 1) for o in outs)
            load(name, "numpy")(*given, *wanted)
            found = tuple(np.full_like(o, 1) for o in outs)
            load(name, "numba")(*given, *found)
            for place, (a, b) in enumerate(zip(found, wanted, strict=True)):
                check_equal(a, b, row.ulps, f"{name}, size {size}, case {number}, result {place}")


def test_a_planted_difference_is_found() -> None:
    wanted = np.array([[1.0, 2.0], [3.0, np.nan]])
    check_equal(wanted.copy(), wanted, 0, "same")
    for found in (np.nextafter(wanted, 9), np.nan_to_num(wanted)):
        with pytest.raises(AssertionError):
            check_equal(found, wanted, 0, "planted")
