"""Compiles the CUDA sources with g++ through shim.hpp, and runs their kernels on the CPU."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.kernels.catalogue import ROWS
from pertcore.kernels.cuda import launch

HERE = Path(__file__).parent
COMPILER = shutil.which("g++")
FLAGS = ("-std=c++20", "-O1", "-ffp-contract=off", "-fno-fast-math", "-shared", "-fPIC", "-w")
WORD = {"float32": "float", "float64": "double"}


def unit(text: str, kernels: list[str], dtype: Any) -> str:
    """The C++ source of a library with a `launch_NAME` for every kernel in the CUDA source."""
    starters = [
        f'extern "C" bool launch_{k}(void** a, const unsigned* grid, unsigned threads, int back) '
        f"{{ return launch({k}, a, grid, threads, back); }}"
        for k in kernels
    ]
    real, shim = WORD[np.dtype(dtype).name], (HERE / "shim.hpp").read_text()
    return "\n".join([f"#define REAL {real}", shim, text, *starters])


def compiled(text: str, kernels: list[str], dtype: Any, folder: Path) -> ctypes.CDLL:
    """The library of this source, from `folder` where it has been compiled before.

    CalledProcessError with g++'s words where it is not C++.
    """
    assert COMPILER is not None
    whole = unit(text, kernels, dtype)
    key = hashlib.sha256((COMPILER + repr(FLAGS) + whole).encode()).hexdigest()[:24]
    library = folder / f"{key}.so"
    if not library.exists():
        fresh = f"{key}-{os.getpid()}"
        source, built = folder / f"{fresh}.cpp", folder / f"{fresh}.so"
        source.write_text(whole)
        command = [COMPILER, *FLAGS, str(source), "-o", str(built)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        source.unlink()
        built.rename(library)
    return ctypes.CDLL(str(library))


class Machine:
    """Stands for a device: NumPy arrays for its memory, libraries kept in `folder`.

    `planted` replaces the source of a family, for faults.
    """

    def __init__(self, folder: Path, planted: dict[str, str] | None = None) -> None:
        self.folder, self.planted = folder, planted or {}
        self.libraries: dict[tuple[str, str], ctypes.CDLL] = {}

    def library(self, family: str, dtype: Any) -> ctypes.CDLL:
        key = family, np.dtype(dtype).name
        if key not in self.libraries:
            text = self.planted.get(family, launch.source(family))
            kernels = launch.kernels_of(family)
            self.libraries[key] = compiled(text, kernels, dtype, self.folder)
        return self.libraries[key]

    def run(self, name: str, *args: Any, backwards: bool = False) -> None:
        """Kernel `name` on NumPy arrays, as the device would be asked to."""

        def start(other: str, *more: Any) -> None:
            self.run(other, *more, backwards=backwards)

        how = launch.prepared(name, args, np, start)
        if how is not None:
            library = self.library(ROWS[name].cuda, how.dtype)
            begin(library, name, how.grid, how.threads, how.args, backwards=backwards)


def begin(
    library: ctypes.CDLL,
    name: str,
    grid: tuple[int, ...],
    threads: int,
    args: tuple[Any, ...],
    *,
    backwards: bool = False,
) -> None:
    """The blocks of this grid, one after the other; numbers have a NumPy dtype, as in CuPy.

    AssertionError where they would never end.
    """
    held = [np.uint64(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in args]
    boxes = [np.atleast_1d(value) for value in held]
    pointers = (ctypes.c_void_p * len(boxes))(*(box.ctypes.data for box in boxes))
    started = getattr(library, f"launch_{name}")
    started.restype = ctypes.c_bool
    fine = started(pointers, (ctypes.c_uint * 2)(*grid), threads, backwards)
    assert fine, f"{name}: threads wait at barriers that not all of them reach"
