"""Arrays at the border: anything that speaks DLPack comes in as NumPy and goes out as it came."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertcore.errors import InputError


def as_numpy(values: Any, name: str) -> tuple[NDArray[Any], Callable[[NDArray[Any]], Any]]:
    """A NumPy view or copy of `values`, and the function that turns results back to its kind.

    Torch, JAX and CuPy arrays are read through DLPack (through their own host copy where they
    live on a device). Raises InputError for strings, objects and ragged lists.
    """
    if not isinstance(values, np.ndarray) and hasattr(values, "__dlpack__"):
        return _from_dlpack(values, name)
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(
            f"{name}: expected a rectangular array of numbers, got a ragged list"
        ) from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} has dtype {array.dtype}: expected numbers")
    return array, lambda result: result


def _from_dlpack(values: Any, name: str) -> tuple[NDArray[Any], Callable[[NDArray[Any]], Any]]:
    held = values.detach().cpu() if hasattr(values, "detach") else values
    held = held.get() if hasattr(held, "get") else held
    try:
        array = held if isinstance(held, np.ndarray) else np.from_dlpack(held)
    except (RuntimeError, TypeError, BufferError) as error:
        dtype = getattr(values, "dtype", "?")
        raise InputError(
            f"{name} has dtype {dtype}, which NumPy cannot read ({error}): give float32 or float64"
        ) from None
    framework = sys.modules[type(values).__module__.split(".")[0].removesuffix("lib")]
    device = getattr(values, "device", None)

    def restore(result: NDArray[Any]) -> Any:
        there = framework.from_dlpack(np.ascontiguousarray(result))
        return there.to(device) if hasattr(there, "to") and device is not None else there

    return np.asarray(array), restore
