"""A stand-in for CuPy over host memory, which counts every copy to or from the host.

Its arrays are no NumPy arrays: what would make one of them in silence raises, as CuPy does, and so
does whatever CuPy refuses of NumPy's protocols: arrays of both kinds in one operation, numbers of
other types than Python's and NumPy's own, functions that it does not have.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from onnxruntime.capi import onnxruntime_pybind11_state as pybind

from pertcore.adapters.onnx import kept, sessions, untouched
from tests.kernels.cuda import fake_cupy, shim

# Functions of NumPy that reach CuPy's of the same name; tests/gpu asks CuPy itself for them.
KNOWN = (
    "all", "allclose", "any", "argwhere", "array_equal", "clip", "concatenate", "count_nonzero",
    "einsum", "empty_like", "flatnonzero", "full_like", "mean", "ptp", "searchsorted", "stack",
    "sum", "where", "zeros_like",
)  # fmt: skip


class Copies:
    """How often the host was reached, and how often for a single number."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.numbers = 0


COPIES = Copies()


class Array(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands for cupy.ndarray: `held` is its memory, `number` that of its device."""

    __module__ = "cupy"

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None) -> None:
        self.number = 0
        if memptr is None:
            self.held = np.empty(shape, dtype)
            return
        size = math.prod(shape) * np.dtype(dtype).itemsize
        there = (ctypes.c_byte * size).from_address(memptr.ptr)
        there.owner = memptr  # views of the array keep its memory
        self.held = np.frombuffer(there, dtype).reshape(shape)

    shape = property(lambda self: self.held.shape)
    dtype = property(lambda self: self.held.dtype)
    ndim = property(lambda self: self.held.ndim)
    size = property(lambda self: self.held.size)
    flags = property(lambda self: self.held.flags)
    device = property(lambda self: SimpleNamespace(id=self.number))
    data = property(lambda self: SimpleNamespace(ptr=self.held.ctypes.data))

    def __len__(self) -> int:
        return len(self.held)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __dlpack__(self, **_: Any) -> Any:
        raise BufferError("the memory of a device is not the host's")

    def __array_ufunc__(self, function: Any, method: str, *given: Any, **more: Any) -> Any:
        if method != "__call__" or not set(more) <= {"out", "dtype"}:
            return NotImplemented
        out = more.pop("out", (None,))[0]
        made = of(np.asarray(function(*map(_operand, given), **more)))
        if out is None:
            return made
        out[...] = made
        return out

    def __array_function__(self, function: Any, types: Any, given: Any, more: Any) -> Any:
        if function.__name__ not in KNOWN or not all(kind is Array for kind in types):
            return NotImplemented
        made = function(*_inside(given), **_inside(more))
        return of(made.copy() if any(made is a for a in _inside(given)) else np.asarray(made))

    def __getitem__(self, index: Any) -> Array:
        return of(self.held[_bare(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.held[_bare(index)] = _operand(value)

    def _number(self) -> Any:
        COPIES.numbers += 1
        return self.held.item()

    def __bool__(self) -> bool:
        return bool(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __float__(self) -> float:
        return float(self._number())

    def get(self) -> Any:
        COPIES.made.append(f"get {self.shape}")
        return self.held.copy()

    def view(self, dtype: Any) -> Array:
        return of(self.held.view(dtype))

    def astype(self, dtype: Any, copy: bool = True) -> Array:
        return of(self.held.astype(dtype, copy=copy))


def _method(name: str) -> Any:
    return lambda self, *given, **more: of(np.asarray(getattr(self.held, name)(*given, **more)))


for _name in (
    "all",
    "any",
    "argmax",
    "argmin",
    "copy",
    "max",
    "mean",
    "min",
    "ravel",
    "reshape",
    "sum",
):
    setattr(Array, _name, _method(_name))


def of(values: Any, number: int = 0) -> Array:
    """An array on the device from one that is there already."""
    made = Array.__new__(Array)
    made.held, made.number = values, number
    return made


def _operand(value: Any) -> Any:
    if isinstance(value, Array):
        return value.held
    if type(value) not in (bool, int, float) and not isinstance(value, np.generic):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def _inside(value: Any) -> Any:
    """The arrays within as NumPy's; anything that CuPy would not take with them raises."""
    if isinstance(value, tuple | list):
        return type(value)(_inside(v) for v in value)
    if isinstance(value, dict):
        return {k: _inside(v) for k, v in value.items()}
    plain = value is None or isinstance(value, type | str | np.dtype)
    return value if plain else _operand(value)


def _bare(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_bare(i) for i in index)
    if isinstance(index, np.ndarray):
        COPIES.made.append("index")
    return index.held if isinstance(index, Array) else index


def asarray(values: Any, dtype: Any = None) -> Array:
    if isinstance(values, Array):
        return values if dtype in (None, values.dtype) else values.astype(dtype)
    COPIES.made.append(f"asarray {np.shape(values)}")
    return of(np.array(values, dtype))


class UnownedMemory:
    def __init__(self, ptr: int, size: int, owner: Any, device_id: int) -> None:
        self.ptr, self.size, self.owner, self.device_id = ptr, size, owner, device_id


class MemoryPointer:
    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset


class RawModule(fake_cupy.RawModule):
    """The kernels of a CUDA source, run by the shim on the memory of arrays."""

    def get_function(self, name: str) -> Any:
        def start(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
            shim.begin(self.library, name, grid, block[0], tuple(map(_operand, args)))

        return start


def _made(function: Any) -> Any:
    return lambda *given, **more: of(function(*_inside(given), **_inside(more)))


def module(folder: Path | None = None) -> ModuleType:
    """What stands in sys.modules["cupy"]; with a folder for g++'s work kernels run, too."""
    cupy = ModuleType("cupy")
    cupy.ndarray, cupy.asarray, cupy.empty = Array, asarray, Array
    for name in ("zeros", "full", "arange"):
        setattr(cupy, name, _made(getattr(np, name)))
    for name in (
        "empty_like",
        "stack",
        "argsort",
        "take_along_axis",
        "searchsorted",
        "concatenate",
    ):
        setattr(cupy, name, _made(getattr(np, name)))
    cupy.take = lambda a, index, axis: of(np.take(a.held, _bare(index), axis=axis))
    cupy.ascontiguousarray = lambda a: of(np.ascontiguousarray(a.held), a.number)
    stream = SimpleNamespace(synchronize=lambda: None)
    cupy.cuda = SimpleNamespace(
        UnownedMemory=UnownedMemory,
        MemoryPointer=MemoryPointer,
        get_current_stream=lambda: stream,
        Device=lambda number: contextlib.nullcontext(),
        memory=SimpleNamespace(OutOfMemoryError=fake_cupy.FullError),
    )
    if folder is not None:
        cupy.RawModule = lambda **given: RawModule(folder=folder, **given)
    return cupy


def installed(monkeypatch: Any, folder: Path | None = None) -> list[str]:
    """Puts the stand-in in CuPy's place and ONNX Runtime's CPU in that of its CUDA provider; the
    list of host copies that are made from then on, ONNX Runtime's among them."""
    monkeypatch.setitem(sys.modules, "cupy", module(folder))
    monkeypatch.setattr(kept, "_KEPT", OrderedDict())
    real, cpu = sessions.open_session, sessions._device("CPUExecutionProvider")
    monkeypatch.setattr(sessions, "_device", lambda provider: cpu)
    for place in (sessions, untouched):
        monkeypatch.setattr(
            place, "open_session", lambda m, t, p, **more: real(m, t, sessions.CPU, **more)
        )
    monkeypatch.setattr(sys.modules[__name__], "COPIES", Copies())
    made = COPIES.made
    numpy, from_numpy = pybind.OrtValue.numpy, pybind.OrtValue.ortvalue_from_numpy
    monkeypatch.setattr(pybind.OrtValue, "numpy", lambda v: made.append("numpy") or numpy(v))
    counted = lambda *a: made.append("placed") or from_numpy(*a)  # noqa: E731
    monkeypatch.setattr(pybind.OrtValue, "ortvalue_from_numpy", staticmethod(counted))
    return made
