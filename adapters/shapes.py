"""The border of an adapter: batches checked once, and leading axes split from sample axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def checked_dtype(dtype: Any) -> np.dtype[Any]:
    """float32 or float64 as a NumPy dtype; InputError for anything else."""
    found = np.dtype(dtype)
    if found not in DTYPES:
        raise InputError(f"dtype={found}: allowed are float32 and float64")
    return found


def checked_shape(shape: Any, name: str) -> tuple[int, ...]:
    """A sample shape from an int or a sequence of positive ints."""
    sizes = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    if not all(isinstance(s, int | np.integer) and s > 0 for s in sizes):
        raise InputError(f"{name}={shape!r}: expected positive sizes, the batch axis left out")
    return tuple(int(s) for s in sizes)


def as_batch(x: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """x as a C-contiguous (n, *shape) array of `dtype`; InputError for another shape."""
    batch = np.ascontiguousarray(x, dtype=dtype)
    if batch.ndim != len(shape) + 1 or batch.shape[1:] != shape:
        raise InputError(
            f"x has shape {batch.shape}: this model takes (n, {', '.join(map(str, shape))}), "
            "samples along the first axis"
        )
    return batch


def as_many(values: Any, n: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """(Co)tangents (n, *shape) or (c, n, *shape), flattened to (n, m) or (c, n, m)."""
    array = np.asarray(values, dtype=dtype)
    return array.reshape(*leading(array.shape, n, shape), math.prod(shape))


def leading(found: tuple[int, ...], n: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """(n,) or (c, n) of (co)tangents whose shape is `found`; InputError for another shape."""
    lead = found[: len(found) - len(shape)]
    if len(lead) not in (1, 2) or lead[-1] != n or found[len(lead) :] != shape:
        raise InputError(
            f"a (co)tangent has shape {found}: expected {(n, *shape)}, "
            f"or {('c', n, *shape)} for c of them per sample"
        )
    return lead
