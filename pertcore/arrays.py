"""Arrays at the border: what speaks DLPack comes in as NumPy, or as CuPy where attacks compute on
its device, and goes out as it came.

NumPy's functions and operators follow the arrays they are given (NEP 13, 18), CuPy's among them.
What makes a new array asks `library` for its maker: `library(x).zeros(n)` lies where x lies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pertcore.errors import BackendError, DeviceMemoryError, InputError


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


def on_device(array: Any) -> bool:
    """Whether it is a CuPy array; without CuPy loaded there are none."""
    if type(array) is np.ndarray:
        return False
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def library(array: Any) -> Any:
    """The module that makes arrays of this kind: NumPy or CuPy."""
    return sys.modules["cupy"] if on_device(array) else np


def contiguous(array: Any, dtype: Any = None) -> Any:
    """The array in that dtype, its own by default, and C-contiguous; itself if it is so already."""
    if array.flags.c_contiguous and (dtype is None or array.dtype == dtype):
        return array
    arrays = library(array)
    return arrays.ascontiguousarray(arrays.asarray(array, dtype=dtype))


def beside(x: Any, values: Any) -> Any:
    """The values on the device of x; itself where there is no array to move."""
    return library(x).asarray(values) if getattr(values, "ndim", 0) and on_device(x) else values


def to_host(array: Any) -> Any:
    """The array as NumPy has it, copied from its device; itself if it is one."""
    return array.get() if on_device(array) else array


def lies_on_device(values: Any) -> bool:
    """Whether it is an array on a CUDA device: CuPy's or PyTorch's."""
    return on_device(values) or bool(getattr(values, "is_cuda", False))


def as_cupy(values: Any, name: str) -> tuple[Any, Callable[[Any], Any]]:
    """The memory of an array on a CUDA device as a CuPy array, and the function that turns results
    back to its kind. Raises BackendError where CuPy does not load."""
    try:
        import cupy
    except ImportError as error:
        raise BackendError(f"CuPy does not load ({error}): pip install cupy-cuda13x") from error
    held = values if on_device(values) else cupy.from_dlpack(values.detach())
    if held.dtype.kind not in "biuf":
        raise InputError(f"{name} has dtype {held.dtype}: expected real numbers")
    return held, _restorer(values, name)


@contextmanager
def device_memory() -> Iterator[None]:
    """CuPy's own error for a full device as DeviceMemoryError."""
    try:
        yield
    except MemoryError as error:
        if not type(error).__module__.startswith("cupy"):
            raise
        raise DeviceMemoryError(f"the CUDA device is out of memory ({error})") from error


def taken_apart(batch: Any) -> tuple[Any, tuple[Any, ...]]:
    """x and what comes with it, out of a batch of a loader: (x, y, ...), or x alone.

    Raises InputError for a batch that is neither a tuple nor an array, and for an empty one.
    """
    if isinstance(batch, Mapping | str) or not hasattr(batch, "__len__") or len(batch) == 0:
        raise InputError(
            f"a batch is a {type(batch).__name__}: expected (x, y, ...) or x; bring others to that "
            "form with a generator function over the loader"
        )
    return (batch[0], tuple(batch[1:])) if isinstance(batch, tuple | list) else (batch, ())


def _from_dlpack(values: Any, name: str) -> tuple[NDArray[Any], Callable[[NDArray[Any]], Any]]:
    dtype = getattr(values, "dtype", "?")
    try:
        held = values.detach().cpu() if hasattr(values, "detach") else values
        held = held.get() if hasattr(held, "get") else held
        array = held if isinstance(held, np.ndarray) else np.from_dlpack(held)
    except (RuntimeError, TypeError, BufferError, NotImplementedError) as error:
        raise InputError(
            f"{name} has dtype {dtype}, which NumPy cannot read ({error}): give float32 or float64"
        ) from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} has dtype {dtype}: expected real numbers")
    return np.asarray(array), _restorer(values, name)


def _restorer(values: Any, name: str) -> Callable[[NDArray[Any]], Any]:
    """Turns NumPy results into arrays of the kind, on the device and in the layout of `values`.

    JAX keeps float64 only where jax_enable_x64 is on, and rounds to float32 elsewhere.
    """
    framework, device = _framework(values), getattr(values, "device", None)
    if framework is None:
        raise InputError(f"{name} is a {type(values).__name__}: NumPy, PyTorch, JAX or CuPy arrays")
    if not hasattr(framework, "empty_like") or not hasattr(values, "detach"):
        here = {} if device is None or framework.__name__ == "cupy" else {"device": device}
        return lambda result: framework.asarray(result, **here)

    def restore(result: NDArray[Any]) -> Any:
        there = framework.from_dlpack(contiguous(result))
        if result.shape != tuple(values.shape):
            return there.to(device)
        # The strides of the tensor that came in: channels_last stays channels_last.
        laid = framework.empty_like(values, dtype=there.dtype, requires_grad=False)
        fits = laid.stride() == there.stride() and laid.device == there.device
        return there if fits else laid.copy_(there)

    return restore


def _framework(values: Any) -> Any:
    """The module that makes such arrays: that of the class, or of one it inherits from."""
    for kind in type(values).__mro__:
        top = kind.__module__.partition(".")[0]
        if top in ("torch", "cupy", "numpy"):
            return sys.modules[top]
        if top in ("jax", "jaxlib"):
            return sys.modules["jax"].numpy
    return None
