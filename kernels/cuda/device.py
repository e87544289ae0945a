"""The kernels on a CUDA device, through CuPy: compiled on first use, and kept by CuPy on disk."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from pertcore.errors import BackendError, DeviceMemoryError
from pertcore.kernels.catalogue import ROWS
from pertcore.kernels.cuda.launch import OPTIONS, prepared, source

WORD = {"float32": "float", "float64": "double"}


def version(name: str) -> Any:
    """Kernel `name` for CuPy arrays, which lie together and on one device."""
    return partial(run, name)


def run(name: str, *args: Any) -> None:
    """Starts kernel `name` on the device and on the current stream; returns before it has ended.

    Raises InputError for strided arrays, BackendError where CuPy cannot be imported,
    DeviceMemoryError where the device has no room for what the kernel works in.
    """
    cupy = _cupy()
    first = next(a for a in args if isinstance(a, cupy.ndarray))
    try:
        with cupy.cuda.Device(first.device.id):
            how = prepared(name, args, cupy, run)
            if how is not None:
                kernel = _module(ROWS[name].cuda, how.dtype.name).get_function(name)
                kernel(how.grid, (how.threads,), how.args)
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"kernel {name}: CUDA device {first.device.id} is out of memory ({error}): "
            "give fewer samples at a time"
        ) from error


def _cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise BackendError(f"CuPy does not load ({error}): pip install cupy-cuda13x") from error
    return cupy


@cache
def _module(family: str, dtype: str) -> Any:
    options = (*OPTIONS, f"-DREAL={WORD[dtype]}")
    return _cupy().RawModule(code=source(family), options=options)
