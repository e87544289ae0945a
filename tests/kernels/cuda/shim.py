"""Compiles the CUDA sources with g++ through shim.hpp, and runs their kernels on the CPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.kernels.cuda import launch

HERE = Path(__file__).parent
COMPILER = shutil.which("g++")
FLAGS = ("-std=c++20", "-O1", "-ffp-contract=off", "-fno-fast-math", "-shared", "-fPIC", "-w")
THREADS = 64
WORD = {"float32": "float", "float64": "double"}


def unit(text: str, kernels: list[str], dtype: Any) -> str:
    """The C++ source of a library with a `launch_NAME` for every kernel in the CUDA source."""
    starters = [
        f'extern "C" void launch_{k}(void** a, const unsigned* grid, unsigned threads, int back) '
        f"{{ launch({k}, a, grid, threads, back); }}"
        for k in kernels
    ]
    real = WORD[np.dtype(dtype).name]
    return "\n".join([f"#define REAL {real}", '#include "shim.hpp"', text, *starters])


def compiled(text: str, kernels: list[str], dtype: Any, folder: Path) -> ctypes.CDLL:
    """The library of this source; CalledProcessError with g++'s words where it is not C++."""
    assert COMPILER is not None
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{np.dtype(dtype).name}.cpp"
    place.write_text(unit(text, kernels, dtype))
    library = place.with_suffix(".so")
    command = [COMPILER, *FLAGS, "-I", str(HERE), str(place), "-o", str(library)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return ctypes.CDLL(str(library))


def run(library: ctypes.CDLL, name: str, args: tuple[Any, ...], *, backwards: bool = False) -> None:
    """Kernel `name` on NumPy arrays, as the device would be asked to."""
    how = launch.of(name)
    dtype = launch.data_type(args)
    n, told = len(args[0]), launch.sizes(how, args)
    room = launch.room(how, np, dtype, n, told)
    grid, threads = launch.geometry(how, n, max([1, *told[:1]]))
    given = launch.arguments(how, args, dtype, room)
    held = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in given]
    scalars = [h if isinstance(h, ctypes.c_void_p) else np.atleast_1d(h) for h in held]
    addresses = [
        ctypes.addressof(s) if isinstance(s, ctypes.c_void_p) else s.ctypes.data for s in scalars
    ]
    pointers = (ctypes.c_void_p * len(addresses))(*addresses)
    shape = (ctypes.c_uint * 2)(*grid)
    getattr(library, f"launch_{name}")(pointers, shape, min(threads, THREADS), int(backwards))
