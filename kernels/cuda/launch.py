"""How a kernel of this folder is started: its source, its arguments, its grid; without a GPU.

A kernel gets the arguments of its definition in the same order, then what is prepared for it, the
room it works in and the sizes of its arrays. Arrays become pointers, numbers float64 or int64, and
each bound of the box a pointer and a number: an entry each where the pointer is not null, else the
number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.kernels.cuda.prepare import (
    Start,
    greedy_order,
    longest,
    ordered_members,
    summed_subsets,
)

FOLDER = Path(__file__).parent
OPTIONS = ("--std=c++17", "--fmad=false", "--diag-suppress=177")
"""No product and sum becomes one rounding: the kernels round as the CPU's versions do. 177 is a
constant of the prelude that a family does not use."""

THREADS = 256
WARP = 32
KERNEL = r"__global__ void (\w+)\("
MOST_SLICES = 4096
PER_THREAD = 8
"""Entries a thread has at least, where a row is cut in slices."""
WARPS = -1
"""Stands in a shape for the number of warps that a sample has."""

SOURCES = {
    "linf": ("prelude.cuh", "linf.cu"),
    "l1": ("prelude.cuh", "balls.cuh", "l1.cu"),
    "l2": ("prelude.cuh", "balls.cuh", "l2.cu"),
    "powers": ("prelude.cuh", "balls.cuh", "powers.cu"),
    "boxed_p": ("prelude.cuh", "balls.cuh", "boxed_p.cu"),
    "losses": ("prelude.cuh", "losses.cu"),
    "sampling": ("prelude.cuh", "streams.cuh", "sampling.cu"),
    "subsets": ("prelude.cuh", "subsets.cu"),
    "quadratic": ("prelude.cuh", "quadratic.cu"),
    "mixing": ("prelude.cuh", "mixing.cu"),
    "gram": ("prelude.cuh", "streams.cuh", "gram.cu"),
    "cones": ("prelude.cuh", "cones.cu"),
    "enumeration": ("prelude.cuh", "enumeration.cu"),
}

Size = tuple[int, int | None]
"""A place among the arguments and an axis of the array there; None is the number there."""


@dataclass(frozen=True)
class Launch:
    """What the catalogue does not say of a kernel.

    `bounds`: the places of lo and hi among the arguments. `sizes`: what the kernel is told of its
    arrays; `across`: which of these sizes the threads of a block share, None for as many as may
    be. `samples`: whose first
    axis is the number of blocks, None for one block. `sliced`: the entries do not depend on each
    other, and a row is cut in slices of blocks; `lanes`: threads an entry has then. `prepared`
    gives arrays that are computed before. `room`: dtypes ("x" that of the data) and shapes
    (samples, *sizes) of the scratch arrays.
    """

    bounds: tuple[int, ...] = ()
    sizes: tuple[Size, ...] = ((0, 1),)
    across: int | None = 0
    samples: int | None = 0
    sliced: bool = False
    lanes: int = 1
    prepared: Callable[..., list[Any]] | None = None
    room: tuple[tuple[Any, ...], ...] = ()


COLUMNS: tuple[Size, ...] = ((0, 1), (0, 2))
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
    "project_box_p": Launch(bounds=(4, 5), room=(("x", (0, 1)),)),
    "margin_loss": Launch(),
    "score_loss": Launch(),
    "cross_entropy_loss": Launch(),
    "dlr_loss": Launch(),
    "squared_error_loss": Launch(),
    "class_differences": Launch(sizes=((0, 1), (4, 0))),
    "random_ball": Launch(sizes=((4, 1),)),
    "random_sphere": Launch(sizes=((4, 1),)),
    "random_order": Launch(sizes=((3, 1),), room=(("int64", (2, None)),)),
    "subset_gains": Launch(
        bounds=(4, 5), sizes=((0, 1), (6, 1)), across=1, prepared=summed_subsets
    ),
    "best_subset": Launch(bounds=(4, 5), sizes=((0, 1), (6, 1)), across=1, prepared=summed_subsets),
    "top_subsets": Launch(sizes=((0, 1), (2, 1))),
    "subset_step": Launch(bounds=(5, 6), sliced=True),
    "column_squares": Launch(sizes=COLUMNS, sliced=True, lanes=WARP),
    "greedy_signs": Launch(
        sizes=COLUMNS, across=1, prepared=greedy_order, room=(("float64", (0, 2)),)
    ),
    "one_opt": Launch(sizes=COLUMNS, across=1, room=(("float64", (0, 2)), ("float64", (0, 1)))),
    "reorthogonalise": Launch(sizes=COLUMNS, across=1, room=(("float64", (0, 1)),)),
    "mixing": Launch(
        sizes=(*COLUMNS, (1, 2)),
        across=None,
        room=(("float64", (1, 2), (0, 2)), ("float64", (0, 1)), ("float64", (1, 2))),
    ),
    "gram_mixing": Launch(sizes=((1, 0), (1, 1)), samples=None, room=(("float64", (1, 1)),)),
    "gram_search": Launch(
        sizes=((2, 1), (1, 1)),
        samples=2,
        room=(("float64", (2, 1)), ("x", (2, 1)), ("float64", (2, 1))),
    ),
    "cone_ascent": Launch(
        sizes=((0, 0), (0, 1), (1, 0), (3, 1)),
        across=1,
        samples=None,
        room=(
            ("float64", (3, 0), (3, 1)),
            ("float64", (1, 0), (1, 0)),
            ("float64", (3, 1), (0, 1)),
            ("float64", (3, 0), (3, 1)),
            ("float64", (1, 0), (3, 1)),
        ),
    ),
    "subset_greedy": Launch(
        sizes=(*COLUMNS, (1, 0), (4, 1)),
        across=3,
        sliced=True,
        lanes=WARP,
        prepared=ordered_members,
        room=(("float64", WARPS, (0, 2)),),
    ),
    "subset_exact": Launch(
        sizes=(*COLUMNS, (1, 0), (4, 1)),
        across=3,
        sliced=True,
        lanes=WARP,
        prepared=longest,
        room=(("float64", WARPS, (5, None), (5, None)),),
    ),
}


@dataclass(frozen=True)
class Started:
    """A kernel with all it needs: its arguments are arrays and NumPy numbers of fixed width."""

    dtype: np.dtype
    grid: tuple[int, int]
    threads: int
    args: tuple[Any, ...]


@cache
def source(family: str) -> str:
    """The text that is compiled for the kernels of SOURCES[family], REAL being undefined in it."""
    return "\n".join((FOLDER / name).read_text(encoding="ascii") for name in SOURCES[family])


def kernels_of(family: str) -> list[str]:
    """The names of the kernels that source defines."""
    return re.findall(KERNEL, source(family))


def prepared(name: str, args: tuple[Any, ...], arrays: Any, start: Start) -> Started | None:
    """How kernel `name` is started on these arguments; None where there is nothing to do.

    `arrays` is the library of the arrays, NumPy or CuPy; `start(name, *args)` runs another kernel.
    Raises InputError for arrays that do not lie together.
    """
    launch = LAUNCHES[name]
    for value in args:
        if _is_array(value) and not value.flags.c_contiguous:
            raise InputError(f"kernel {name} got a strided array {value.shape}: make it contiguous")
    samples = 1 if launch.samples is None else len(args[launch.samples])
    if samples == 0:
        return None
    dtype, given = data_type(args), list(args)
    if launch.prepared is not None:
        given += launch.prepared(arrays, start, args)
    told = [_size(size, given) for size in launch.sizes]
    grid, threads = geometry(launch, samples, told)
    warps = grid[1] * threads // WARP
    room = [
        arrays.empty(
            (samples, *(warps if isinstance(s, int) else _size(s, given) for s in shape)),
            dtype if kind == "x" else np.dtype(kind),
        )
        for kind, *shape in launch.room
    ]
    own = [a for place, value in enumerate(given) for a in _own(launch, place, value, dtype)]
    return Started(dtype, grid, threads, (*own, *room, *(np.int64(size) for size in told)))


def geometry(launch: Launch, samples: int, told: list[int]) -> tuple[tuple[int, int], int]:
    """The grid (samples, slices of a sample) and the threads of a block.

    The threads depend on the row alone, and with them the order of its sums: a sample's result
    does not depend on the batch it is in.
    """
    if launch.across is None:
        return (samples, 1), THREADS
    wanted = told[launch.across] * launch.lanes
    threads = min(THREADS, max(WARP, 1 << max(wanted - 1, 0).bit_length()))
    slices = -(-wanted // (threads * PER_THREAD)) if launch.sliced else 1
    return (samples, min(max(slices, 1), MOST_SLICES)), threads


def data_type(args: tuple[Any, ...]) -> np.dtype:
    """float32 if an array of it is among the arguments, else float64."""
    found = {a.dtype for a in args if _is_array(a)}
    return np.dtype(np.float32 if np.dtype(np.float32) in found else np.float64)


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and getattr(value, "shape", ()) != ()


def _size(size: Size, args: list[Any]) -> int:
    place, axis = size
    return int(args[place] if axis is None else args[place].shape[axis])


def _own(launch: Launch, place: int, value: Any, dtype: np.dtype) -> tuple[Any, ...]:
    """What the kernel is given for this argument."""
    if place in launch.bounds:
        entries = _is_array(value)
        return (value, dtype.type(0)) if entries else (np.uint64(0), dtype.type(value))
    if _is_array(value):
        return (value,)
    return (np.float64(value) if isinstance(value, float) else np.int64(value),)
