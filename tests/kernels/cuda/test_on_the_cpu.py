"""Every CUDA kernel, run on the CPU through shim.hpp: the values of the Numba version."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from pertcore.kernels.catalogue import ROWS, load
from tests.kernels.cuda.bounds import BOUNDS, USUAL, allowed
from tests.kernels.test_parity import SIZES, cases_of, check_equal

FULL = bool(os.environ.get("PERTCORE_FULL"))
LONG = 1000
SLOW = {"mixing": 1, "gram_mixing": 1, "one_opt": 2, "top_subsets": 6, "greedy_signs": 4}
"""How many cases of the longest size are tried unless PERTCORE_FULL is set."""


def tried(name: str, size: int, dtype: Any) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """The row's cases; arrays lie together, as the kernels want them."""
    cases = cases_of(ROWS[name], size, dtype)
    few = len(cases) if FULL or size < LONG else SLOW.get(name, len(cases))
    whole = np.ascontiguousarray
    return [
        (tuple(whole(a) if isinstance(a, np.ndarray) else a for a in args), outs)
        for args, outs in cases[:few]
    ]


def blank(outs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(np.full(o.shape, 1, o.dtype) for o in outs)


def check(machine: Any, name: str, dtype: Any, sizes: tuple[int, ...] = SIZES) -> None:
    """AssertionError where the kernel is not the Numba version within its bound."""
    bound = allowed(name, np.dtype(dtype).name)
    for size in sizes:
        for number, (args, outs) in enumerate(tried(name, size, dtype)):
            found, wanted, defined = blank(outs), blank(outs), blank(outs)
            machine.run(name, *args, *found)
            load(name, "numba")(*args, *wanted)
            what = f"{name}, size {size}, case {number}"
            for a, b in zip(found, wanted, strict=True):
                check_equal(a, b, bound, what)
            if size >= LONG:
                continue
            load(name, "numpy")(*args, *defined)
            for a, b in zip(found, defined, strict=True):
                check_equal(a, b, ROWS[name].ulps, f"{what}, against the definition")


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ROWS)
def test_a_kernel_gives_the_values_of_the_numba_version(machine, name, dtype):
    check(machine, name, dtype)


@pytest.mark.parametrize("name", ROWS)
def test_the_order_of_the_threads_does_not_matter(machine, name):
    """One result for threads in rising and in falling order: no barrier is missing."""
    for size in (33, 1025):
        for args, outs in tried(name, size, np.float32)[: 1 if size > LONG else None]:
            there, back = blank(outs), blank(outs)
            machine.run(name, *args, *there)
            machine.run(name, *args, *back, backwards=True)
            for a, b in zip(there, back, strict=True):
                assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", [name for name in ROWS if name.endswith("_inf")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_kernel_for_p_inf_gives_the_same_bits(machine, name, dtype):
    for size in SIZES:
        for args, outs in tried(name, size, dtype):
            (found,), (wanted,) = blank(outs), blank(outs)
            machine.run(name, *args, found)
            load(name, "numba")(*args, wanted)
            some = ~np.isnan(wanted)
            assert np.array_equal(np.isnan(found), ~some)
            assert found[some].tobytes() == wanted[some].tobytes()


def test_an_exception_has_a_row_and_needs_to_be_one():
    for name, dtype in BOUNDS:
        assert name in ROWS and dtype in ("float32", "float64")
        assert USUAL < allowed(name, dtype) <= max(ROWS[name].ulps, 4500)
