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
        return _from_dlpack(values)
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(
            f"{name}: expected a rectangular array of numbers, got a ragged list"
        ) from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} has dtype {array.dtype}: expected numbers")
    return array, lambda result: result


def _from_dlpack(values: Any) -> tuple[NDArray[Any], Callable[[NDArray[Any]], Any]]:
    detached = values.detach() if hasattr(values, "detach") else values
    on_host = detached.cpu() if hasattr(detached, "cpu") else detached
    on_host = (
        on_host.get() if hasattr(on_host, "get") and not hasattr(on_host, "detach") else on_host
    )
    framework = sys.modules[type(values).__module__.split(".")[0].removesuffix("lib")]
    device = getattr(values, "device", None)

    def restore(result: NDArray[Any]) -> Any:
        there = framework.from_dlpack(np.ascontiguousarray(result))
        return there.to(device) if hasattr(there, "to") and device is not None else there

    return np.asarray(
        np.from_dlpack(on_host) if not isinstance(on_host, np.ndarray) else on_host
    ), restore
