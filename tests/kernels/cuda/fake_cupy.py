"""What the loader asks of CuPy, in NumPy and the shim: arrays, a module from a source, a start."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from pertcore.kernels.cuda import launch
from tests.kernels.cuda.shim import begin, compiled

WORDS = {"-DREAL=float": np.float32, "-DREAL=double": np.float64}


class Array(np.ndarray):
    """Stands for cupy.ndarray; `number` is that of its device."""

    number = 0

    def __array_finalize__(self, parent: Any) -> None:
        self.number = getattr(parent, "number", 0)

    @property
    def device(self) -> Any:
        return SimpleNamespace(id=self.number)


class FullError(MemoryError):
    """Stands for cupy.cuda.memory.OutOfMemoryError."""


def on(number: int, values: Any) -> Any:
    """The values as an array on the device of this number."""
    array = np.array(values).view(Array)
    array.number = number
    return array


class RawModule:
    def __init__(self, *, code: str, options: tuple[str, ...], folder: Path) -> None:
        (dtype,) = [WORDS[option] for option in options if option in WORDS]
        # All its kernels at once, so that other tests find the library of the source there.
        kernels = re.findall(launch.KERNEL, code)
        self.library = compiled(code, kernels, dtype, folder)

    def get_function(self, name: str) -> Any:
        def start(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
            # CuPy takes arrays and numbers of NumPy's types; a Python number would be guessed at.
            assert all(isinstance(a, Array | np.generic) for a in args), args
            assert all(type(g) is int and 0 < g <= 65535 for g in grid) and len(block) == 1
            begin(self.library, name, grid, block[0], args)

        return start


def module(folder: Path, room: int) -> ModuleType:
    """A module named cupy whose device has room for arrays of at most `room` entries."""
    cupy = ModuleType("cupy")

    def empty(shape: Any, dtype: Any) -> Any:
        if np.prod(shape) > room:
            raise FullError(f"{np.prod(shape)} entries")
        return np.empty(shape, dtype).view(Array)

    cupy.ndarray, cupy.empty = Array, empty
    cupy.argsort, cupy.take_along_axis = np.argsort, np.take_along_axis
    cupy.searchsorted = lambda *a, **k: np.searchsorted(*a, **k).view(Array)
    cupy.arange = lambda stop: np.arange(stop).view(Array)
    cupy.ascontiguousarray = lambda a: np.ascontiguousarray(a).view(Array)
    cupy.RawModule = lambda **given: RawModule(folder=folder, **given)
    cupy.cuda = SimpleNamespace(
        Device=lambda number: contextlib.nullcontext(),
        memory=SimpleNamespace(OutOfMemoryError=FullError),
    )
    return cupy
