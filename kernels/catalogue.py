"""Every kernel in one table: what it means (NumPy), how it runs (Numba), on what it is tried."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from pertcore.errors import InputError

BACKENDS = ("numba", "numpy")
DEFINITIONS = "pertcore.kernels.definitions."
COMPILED = "pertcore.kernels.compiled."


@dataclass(frozen=True)
class Row:
    """One kernel: `definition` and `numba` are "file:function" below their folders.

    `cases` is "file:function" below tests/kernels/: (rng, n, d, dtype) -> list of (args, outs),
    the arguments and then the result arrays that a version writes; its first entry is timed.
    `moved` is the count of d-sized arrays that must be read or written, for the bandwidth figure.
    `ulps` bounds how far the versions may differ, in units of the last place of the row's
    largest entry; 0 means equal values.
    """

    name: str
    definition: str
    numba: str
    cases: str
    moved: int
    ulps: int = 0


GEOMETRY = (
    Row("dual_step_inf", "steps:dual_step_inf", "steps:dual_step_inf", "cases:gradients", 2),
)
DATA_ROWS: tuple[Row, ...] = ()
ROWS: dict[str, Row] = {row.name: row for row in GEOMETRY + DATA_ROWS}


def kernel(name: str) -> Callable[..., Any]:
    """The kernel's version for the backend in PERTCORE_BACKEND: numba (default) or numpy."""
    return load(name, os.environ.get("PERTCORE_BACKEND", "numba"))


@cache
def load(name: str, backend: str) -> Callable[..., Any]:
    """The version of kernel `name` for `backend`; InputError for an unknown backend."""
    if backend not in BACKENDS:
        raise InputError(f"PERTCORE_BACKEND={backend!r}: allowed are {', '.join(BACKENDS)}")
    row = ROWS[name]
    folder, place = (COMPILED, row.numba) if backend == "numba" else (DEFINITIONS, row.definition)
    file, function = place.split(":")
    return getattr(import_module(folder + file), function)
