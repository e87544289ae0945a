"""The largest entry of a row and where it is, in loops that vectorise and see every NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from pertcore.kernels.compiled.elements import strict
from pertcore.oracle import Array

BLOCK = 64
S31, S63 = np.int32(31), np.int64(63)
SINGLE_MAGNITUDE, SINGLE_INFINITY = np.int32(0x7FFFFFFF), np.int32(0x7F800000)
DOUBLE_MAGNITUDE, DOUBLE_INFINITY = np.int64(2**63 - 1), np.int64(0x7FF0000000000000)
# Where -inf sorts: below every finite number, and what a maximum over nothing returns.
SINGLE_LEAST = np.int32(~0x7F800000)
DOUBLE_LEAST = np.int64(~0x7FF0000000000000)


def peak(row: Any) -> Any:
    """The largest entry and whether all are finite; -inf and True of an empty row."""
    raise NotImplementedError("compiled code only")


@overload(peak)
def _peak(row: Any) -> Any:
    # As integers that sort like the numbers: an integer maximum vectorises and sees every NaN.
    def single(row: Any) -> Any:
        words, top, size = row.view(np.int32), SINGLE_LEAST, np.int32(0)
        for j in range(words.shape[0]):
            magnitude = np.int32(words[j] & SINGLE_MAGNITUDE)
            size = magnitude if magnitude > size else size
            sortable = np.int32(words[j] ^ ((words[j] >> S31) & SINGLE_MAGNITUDE))
            top = sortable if sortable > top else top
        back = np.int32(top ^ ((top >> S31) & SINGLE_MAGNITUDE))
        return back.view(np.float32), size < SINGLE_INFINITY

    def double(row: Any) -> Any:
        words, top, size = row.view(np.int64), DOUBLE_LEAST, np.int64(0)
        for j in range(words.shape[0]):
            magnitude = np.int64(words[j] & DOUBLE_MAGNITUDE)
            size = magnitude if magnitude > size else size
            sortable = np.int64(words[j] ^ ((words[j] >> S63) & DOUBLE_MAGNITUDE))
            top = sortable if sortable > top else top
        back = np.int64(top ^ ((top >> S63) & DOUBLE_MAGNITUDE))
        return back.view(np.float64), size < DOUBLE_INFINITY

    return single if row.dtype == types.float32 else double


@strict
def first_equal(row: Array, wanted: float, start: int) -> int:
    """The first index from `start` on of an entry known to be there, skipped to by blocks."""
    while start + BLOCK <= row.shape[0]:
        block, hits = row[start : start + BLOCK], 0
        for j in range(BLOCK):
            hits += block[j] == wanted
        if hits > 0:
            break
        start += BLOCK
    while row[start] != wanted:
        start += 1
    return start
