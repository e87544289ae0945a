"""Samples on which the model itself fails: found by halving, given a row, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from pertcore.errors import BackendError, ModelError
from pertcore.oracle import Array

FAILED = "FAILED"
FAILURES = (ModelError, BackendError, MemoryError)
# What stands in a column of results.parquet where nothing is known, by the kind of its dtype.
UNKNOWN = {"f": np.nan, "i": -1, "u": 0, "b": False, "U": "", "O": ""}

Made = TypeVar("Made")


def surviving(
    rows: slice,
    run: Callable[[slice], Made],
    failures: tuple[type[Exception], ...] = FAILURES,
) -> tuple[list[tuple[slice, Made]], dict[int, str]]:
    """`run` on the samples `rows`, halved where the model fails, and why single samples failed.

    One failing sample among n costs some 2 log2(n) calls more, on ever fewer samples; what memory
    does not hold is halved too.
    """
    try:
        return [(rows, run(rows))], {}
    except failures as error:
        if rows.stop - rows.start <= 1:
            return [], {rows.start: str(error) or type(error).__name__}
    middle = (rows.start + rows.stop) // 2
    made, failed = surviving(slice(rows.start, middle), run, failures)
    more, others = surviving(slice(middle, rows.stop), run, failures)
    return made + more, failed | others


def answered(rows: slice, failed: dict[int, str]) -> Array:
    """(n,) bool: samples `rows` on which the model did not fail."""
    return ~np.isin(np.arange(rows.start, rows.stop), list(failed))


def with_failed(columns: dict[str, Any], rows: slice, failed: dict[int, str]) -> dict[str, Any]:
    """The columns of the samples that were computed, widened by rows of status FAILED."""
    if not failed:
        return columns
    kept = answered(rows, failed)
    index = np.arange(rows.start, rows.stop)
    wide = {
        name: _widened(np.asarray(values), kept, FAILED if name == "status" else None)
        for name, values in columns.items()
    }
    return {**wide, "index": index} if wide else {"index": index, "status": [FAILED] * len(index)}


def _widened(values: Array, kept: Array, other: Any) -> Array:
    fill = UNKNOWN[values.dtype.kind] if other is None else other
    text = values.dtype.kind == "U"
    dtype = np.result_type(values.dtype, np.asarray(fill).dtype) if text else values.dtype
    wide = np.full(len(kept), fill, dtype=dtype)
    wide[kept] = values
    return wide


def told(failed: dict[int, str], shown: int = 3) -> list[str]:
    """The warning about samples that failed, with the first reasons; nothing where none did."""
    if not failed:
        return []
    first: Sequence[int] = sorted(failed)[:shown]
    reasons = "; ".join(f"sample {index}: {failed[index]}" for index in first)
    return [
        f"the model failed on {len(failed)} samples, which have status {FAILED} and count nowhere "
        f"else ({reasons})"
    ]
