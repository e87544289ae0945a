"""How a kernel of this folder is started: its source, its arguments, its grid; without a GPU.

A kernel gets the arguments of its definition in the same order, then the room it works in and the
sizes of its arrays. Arrays become pointers, numbers float64 or int64, and each bound of the box a
pointer and a number: an entry each where the pointer is not null, else the number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.errors import CapabilityError

FOLDER = Path(__file__).parent
OPTIONS = ("--std=c++17", "--fmad=false")
"""No product and sum becomes one rounding: the kernels round as the CPU's versions do."""

THREADS = 256
WARP = 32
MOST_SLICES = 4096
PER_THREAD = 8
"""Entries a thread has at least, where a row is cut in slices."""

SOURCES = {
    "linf": ("prelude.cuh", "linf.cu"),
    "l1": ("prelude.cuh", "balls.cuh", "l1.cu"),
    "l2": ("prelude.cuh", "balls.cuh", "l2.cu"),
    "powers": ("prelude.cuh", "balls.cuh", "powers.cu"),
    "losses": ("prelude.cuh", "losses.cu"),
    "sampling": ("prelude.cuh", "sampling.cu"),
}


@dataclass(frozen=True)
class Launch:
    """What the catalogue does not say: `bounds`, the places of lo and hi among the arguments.

    `sliced`: entries do not depend on each other. `sizes`: the places and axes of the sizes
    that the kernel is told. `room`: dtypes ("x" that of the data) and widths of the
    scratch arrays (n, width); a width is a place among the sizes.
    """

    bounds: tuple[int, ...] = ()
    sliced: bool = False
    sizes: tuple[tuple[int, int], ...] = ((0, 1),)
    room: tuple[tuple[str, int], ...] = ()


LAUNCHES = {
    "dual_step_inf": Launch(sliced=True),
    "lmo_box_inf": Launch(bounds=(3, 4), sliced=True),
    "pgd_inf": Launch(bounds=(5, 6), sliced=True),
    "ball_step_inf": Launch(bounds=(5, 6), sliced=True),
    "project_inf": Launch(sliced=True),
    "finish_inf": Launch(bounds=(3, 4), sliced=True),
    "dual_step_2": Launch(),
    "project_2": Launch(),
    "lmo_box_2": Launch(bounds=(3, 4)),
    "project_box_2": Launch(bounds=(3, 4)),
    "pgd_2": Launch(bounds=(5, 6)),
    "dual_step_1": Launch(),
    "lmo_box_1": Launch(bounds=(3, 4)),
    "hyperplane_1": Launch(bounds=(3, 4)),
    "project_1": Launch(),
    "project_box_1": Launch(bounds=(3, 4)),
    "dual_step_p": Launch(),
    "lmo_box_p": Launch(bounds=(4, 5)),
    "hyperplane_p": Launch(bounds=(4, 5)),
    "finish_p": Launch(bounds=(4, 5)),
    "margin_loss": Launch(),
    "score_loss": Launch(),
    "cross_entropy_loss": Launch(),
    "dlr_loss": Launch(),
    "squared_error_loss": Launch(),
    "class_differences": Launch(sizes=((0, 1), (4, 0))),
    "random_ball": Launch(sizes=((4, 1),)),
    "random_sphere": Launch(sizes=((4, 1),)),
}


@cache
def source(family: str) -> str:
    """The text that is compiled for the kernels of SOURCES[family], REAL being undefined in it."""
    return "\n".join((FOLDER / name).read_text(encoding="ascii") for name in SOURCES[family])


def kernels_of(family: str) -> list[str]:
    """The names of the kernels that source defines."""
    return re.findall(r"__global__ void (\w+)\(", source(family))


def geometry(launch: Launch, n: int, d: int) -> tuple[tuple[int, int], int]:
    """The grid (samples, slices of a sample) and the threads of a block.

    The threads depend on the row alone, and with them the order of its sums: a sample's result
    does not depend on the batch it is in.
    """
    threads = min(THREADS, max(WARP, 1 << max(d - 1, 0).bit_length()))
    slices = -(-d // (threads * PER_THREAD)) if launch.sliced else 1
    return (n, min(max(slices, 1), MOST_SLICES)), threads


def sizes(launch: Launch, args: tuple[Any, ...]) -> list[int]:
    """What the kernel is told of its arrays."""
    return [int(args[place].shape[axis]) for place, axis in launch.sizes]


def room(launch: Launch, arrays: Any, dtype: np.dtype, n: int, told: list[int]) -> list[Any]:
    """The arrays a kernel works in, from `arrays`, which is NumPy or CuPy."""
    return [
        arrays.empty((n, told[width]), dtype if kind == "x" else kind)
        for kind, width in launch.room
    ]


def arguments(launch: Launch, args: tuple[Any, ...], dtype: Any, room: list[Any]) -> list[Any]:
    """The kernel's own arguments: arrays as they are, numbers as NumPy scalars of fixed width."""
    given: list[Any] = []
    for place, value in enumerate(args):
        is_array = hasattr(value, "shape") and value.shape != ()
        if place in launch.bounds:
            given += [value, dtype.type(0)] if is_array else [np.uint64(0), dtype.type(value)]
        elif is_array:
            given.append(value)
        else:
            given.append(np.float64(value) if isinstance(value, float) else np.int64(value))
    return [*given, *room, *(np.int64(size) for size in sizes(launch, args))]


def data_type(args: tuple[Any, ...]) -> np.dtype:
    """float32 if an array of it is among the arguments, else float64."""
    found = {a.dtype for a in args if hasattr(a, "dtype") and getattr(a, "shape", ()) != ()}
    return np.dtype(np.float32 if np.dtype(np.float32) in found else np.float64)


def of(name: str) -> Launch:
    """How kernel `name` is started; CapabilityError where it has no CUDA version."""
    if name not in LAUNCHES:
        raise CapabilityError(f"kernel {name} has no CUDA version: use NumPy arrays")
    return LAUNCHES[name]
