"""Samples from one array: checked once in blocks, scaled and arranged slice by slice."""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.data.inputs import Inputs
from pertcore.data.shapes import Shape, fitted
from pertcore.errors import InputError
from pertcore.oracle import Array

BLOCK = 1 << 22


def read_dense(
    text: str,
    path: Path,
    raw: Array,
    scale: float | None,
    layout: str,
    limit: int | None,
    shape: Shape | None,
    dtype: Any,
) -> Inputs:
    """Samples from an array (n, *stored), memory-mapped or not; see `read_inputs`."""
    if raw.dtype.kind not in "biuf":
        raise InputError(f"--inputs {text}: holds {raw.dtype} values: expected numbers")
    if raw.ndim < 2 or raw.shape[0] == 0 or 0 in raw.shape:
        what = "is an empty data set" if 0 in raw.shape else "has no sample axis"
        raise InputError(
            f"--inputs {text}: shape {raw.shape} {what}: expected (samples, *sample) with at "
            "least one sample"
        )
    if raw.dtype.kind in "biu" and scale is None:
        raise InputError(
            f"--inputs {text}: holds integers ({raw.dtype}): give --scale, 1/255 for pixels in "
            "0..255 and a model of [0, 1], or --scale 1 to take them as they are"
        )
    arrange = fitted(raw.shape[1:], shape, layout, f"--inputs {text}", len(raw))
    count = len(raw) if limit is None else min(limit, len(raw))
    lowest, highest = _survey(raw[:count], text)
    factor = 1.0 if scale is None else scale
    ends = sorted([(lowest[0] * factor, lowest[1]), (highest[0] * factor, highest[1])])

    def read(start: int, stop: int) -> Array:
        block = raw[start:stop]
        scaled = block if scale is None else block * np.float64(scale)
        made = np.array(arrange(scaled), dtype=dtype, order="C")
        _let_go(raw)
        return made

    return Inputs(
        text, arrange(raw[:1]).shape[1:], count, len(raw), read, ends[0], ends[1], (path,)
    )


def _survey(raw: Array, text: str) -> tuple[tuple[float, int], tuple[float, int]]:
    """Smallest and largest value with their samples, in blocks; InputError at NaN or infinity."""
    rows = max(1, BLOCK // math.prod(raw.shape[1:]))
    lowest, highest = (math.inf, -1), (-math.inf, -1)
    for start in range(0, len(raw), rows):
        block = np.asarray(raw[start : start + rows]).reshape(-1, math.prod(raw.shape[1:]))
        low, high = block.min(axis=1), block.max(axis=1)
        finite = np.isfinite(low) & np.isfinite(high)
        if not finite.all():
            bad = int(np.argmin(finite))
            entry = int(np.argmin(np.isfinite(block[bad])))
            raise InputError(
                f"--inputs {text}: sample {start + bad} holds {block[bad, entry]} (entry {entry} "
                "of the flattened sample): every value must be a finite number"
            )
        lowest = min(lowest, (float(low.min()), start + int(low.argmin())))
        highest = max(highest, (float(high.max()), start + int(high.argmax())))
        _let_go(raw)
    return lowest, highest


def _let_go(raw: Array) -> None:
    """A mapped file leaves this process's memory; the system still has it at hand."""
    if isinstance(raw.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        raw.base.madvise(mmap.MADV_DONTNEED)
