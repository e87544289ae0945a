"""A stand-in for CuPy over host memory, which counts every copy to or from the host.

Its arrays are no NumPy arrays: what would make one of them in silence raises, as CuPy does.
"""

from __future__ import annotations

import ctypes
import math
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class Copies:
    """How often the host was reached."""

    def __init__(self) -> None:
        self.made: list[str] = []


COPIES = Copies()


class Array:
    """Stands for cupy.ndarray: `held` is its memory, `number` that of its device."""

    def __init__(self, shape: Any, dtype: Any, memptr: Any = None) -> None:
        self.owner, self.number = memptr, 0
        if memptr is None:
            self.held = np.empty(shape, dtype)
            return
        size = math.prod(shape) * np.dtype(dtype).itemsize
        there = (ctypes.c_byte * size).from_address(memptr.ptr)
        self.held = np.frombuffer(there, dtype).reshape(shape)

    shape = property(lambda self: self.held.shape)
    dtype = property(lambda self: self.held.dtype)
    ndim = property(lambda self: self.held.ndim)
    size = property(lambda self: self.held.size)
    device = property(lambda self: SimpleNamespace(id=self.number))
    data = property(lambda self: SimpleNamespace(ptr=self.held.ctypes.data))

    def __len__(self) -> int:
        return len(self.held)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __getitem__(self, index: Any) -> Array:
        return of(self.held[_bare(index)])

    def get(self) -> Any:
        COPIES.made.append("get")
        return self.held.copy()

    def copy(self) -> Array:
        return of(self.held.copy())

    def reshape(self, *shape: Any) -> Array:
        return of(self.held.reshape(*shape))

    def astype(self, dtype: Any, copy: bool = True) -> Array:
        return of(self.held.astype(dtype, copy=copy))


def of(values: Any, number: int = 0) -> Array:
    """An array on the device from one that is there already."""
    made = Array.__new__(Array)
    made.held, made.owner, made.number = values, None, number
    return made


def _bare(value: Any) -> Any:
    return value.held if isinstance(value, Array) else value


def asarray(values: Any, dtype: Any = None) -> Array:
    if isinstance(values, Array):
        return values if dtype in (None, values.dtype) else values.astype(dtype)
    if np.asarray(values).dtype.kind == "f":
        COPIES.made.append("asarray")
    return of(np.array(values, dtype))


class UnownedMemory:
    def __init__(self, ptr: int, size: int, owner: Any, device_id: int) -> None:
        self.ptr, self.size, self.owner, self.device_id = ptr, size, owner, device_id


class MemoryPointer:
    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset


def module() -> ModuleType:
    """What stands in sys.modules["cupy"]."""
    cupy = ModuleType("cupy")
    cupy.ndarray, cupy.asarray, cupy.empty = Array, asarray, Array
    cupy.zeros = lambda shape, dtype: of(np.zeros(shape, dtype))
    cupy.stack = lambda arrays: of(np.stack([a.held for a in arrays]))
    cupy.take = lambda a, index, axis: of(np.take(a.held, _bare(index), axis=axis))
    cupy.ascontiguousarray = lambda a: of(np.ascontiguousarray(a.held), a.number)
    stream = SimpleNamespace(synchronize=lambda: None)
    cupy.cuda = SimpleNamespace(
        UnownedMemory=UnownedMemory,
        MemoryPointer=MemoryPointer,
        get_current_stream=lambda: stream,
    )
    return cupy
