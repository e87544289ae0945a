"""Every kernel in one table: what it means (NumPy), how it runs (Numba, CUDA), its test cases."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any

from pertcore.errors import InputError

BACKENDS = ("numba", "numpy")
DEFINITIONS = "pertcore.kernels.definitions."
COMPILED = "pertcore.kernels.compiled."
DEVICE = "pertcore.kernels.cuda.device"


@dataclass(frozen=True)
class Row:
    """One kernel: `definition` and `numba` are "file:function" below their folders.

    `cuda` is the family of kernels/cuda/ whose source has a kernel of the row's name.
    `cases` is "file:function" below tests/kernels/: (rng, n, d, dtype) -> list of (args, outs),
    the arguments and then the result arrays that a version writes; its first entry is timed.
    `moved` is the count of d-sized arrays that must be read or written, for the bandwidth figure.
    `ulps` bounds how far the versions may differ, in units of the last place of the row's
    largest entry; 0 means equal values.
    """

    name: str
    definition: str
    numba: str
    cuda: str
    cases: str
    moved: int
    ulps: int = 0


GEOMETRY = (
    Row(
        "dual_step_inf",
        "steps:dual_step_inf",
        "steps:dual_step_inf",
        "linf",
        "cases:gradients",
        2,
        0,
    ),
    Row("dual_step_1", "steps:dual_step_1", "steps:dual_step_1", "l1", "cases:gradients", 2, 1),
    Row("dual_step_2", "steps:dual_step_2", "steps:dual_step_2", "l2", "cases:gradients", 2, 8),
    Row(
        "dual_step_p",
        "steps:dual_step_p",
        "steps:dual_step_p",
        "powers",
        "cases:gradients_p",
        2,
        32,
    ),
    Row("lmo_box_inf", "steps:lmo_box_inf", "lmo:lmo_box_inf", "linf", "cases:boxed", 3, 1),
    Row("lmo_box_1", "steps:lmo_box_1", "lmo:lmo_box_1", "l1", "cases:boxed", 3, 64),
    Row("lmo_box_2", "steps:lmo_box_2", "lmo:lmo_box_2", "l2", "cases:boxed", 3, 16),
    Row("lmo_box_p", "steps:lmo_box_p", "lmo:lmo_box_p", "powers", "cases:boxed_p", 3, 64),
    Row(
        "hyperplane_1",
        "steps:hyperplane_1",
        "hyperplane:hyperplane_1",
        "l1",
        "cases:levels",
        3,
        512,
    ),
    Row(
        "hyperplane_p",
        "steps:hyperplane_p",
        "hyperplane:hyperplane_p",
        "powers",
        "cases:levels_p",
        3,
        64,
    ),
    Row("pgd_inf", "steps:pgd_inf", "fused:pgd_inf", "linf", "cases:steps_back", 4, 0),
    Row("pgd_2", "steps:pgd_2", "fused:pgd_2", "l2", "cases:steps_back", 4, 64),
    Row(
        "ball_step_inf",
        "steps:ball_step_inf",
        "fused:ball_step_inf",
        "linf",
        "cases:steps_back",
        4,
        0,
    ),
    Row(
        "project_inf",
        "projections:project_inf",
        "projections:project_inf",
        "linf",
        "cases:deltas",
        2,
        0,
    ),
    Row(
        "project_1", "projections:project_1", "projections:project_1", "l1", "cases:deltas", 2, 1024
    ),
    Row("project_2", "projections:project_2", "projections:project_2", "l2", "cases:deltas", 2, 8),
    Row(
        "project_box_1",
        "projections:project_box_1",
        "boxed:project_box_1",
        "l1",
        "cases:points",
        3,
        256,
    ),
    Row(
        "project_box_2",
        "projections:project_box_2",
        "boxed:project_box_2",
        "l2",
        "cases:points",
        3,
        4,
    ),
    Row(
        "project_box_p",
        "projections:project_box_p",
        "boxed_p:project_box_p",
        "boxed_p",
        "cases:points_slow",
        3,
        4096,
    ),
    Row("finish_inf", "exact:finish_inf", "exact:finish_inf", "linf", "cases:points", 3, 0),
    Row("finish_p", "exact:finish_p", "exact:finish_p", "powers", "cases:points_p", 3, 512),
)
DATA_ROWS: tuple[Row, ...] = (
    Row(
        "margin_loss",
        "losses:margin_loss",
        "losses:margin_loss",
        "losses",
        "cases_rows:classified",
        2,
    ),
    Row(
        "score_loss", "losses:score_loss", "losses:score_loss", "losses", "cases_rows:classified", 2
    ),
    Row(
        "cross_entropy_loss",
        "losses:cross_entropy_loss",
        "losses:cross_entropy_loss",
        "losses",
        "cases_rows:classified",
        2,
        4,
    ),
    Row("dlr_loss", "losses:dlr_loss", "losses:dlr_loss", "losses", "cases_rows:classified", 2, 4),
    Row(
        "squared_error_loss",
        "losses:squared_error_loss",
        "losses:squared_error_loss",
        "losses",
        "cases_rows:regressed",
        3,
        4,
    ),
    Row(
        "class_differences",
        "losses:class_differences",
        "losses:class_differences",
        "losses",
        "cases_rows:differences",
        2,
    ),
    Row(
        "random_ball",
        "sampling:random_ball",
        "sampling:random_ball",
        "sampling",
        "cases_rows:random_points",
        1,
        64,
    ),
    Row(
        "random_sphere",
        "sampling:random_sphere",
        "sampling:random_sphere",
        "sampling",
        "cases_rows:random_points",
        1,
        64,
    ),
    Row(
        "random_order",
        "sampling:random_order",
        "sampling:random_order",
        "sampling",
        "cases_rows:orders",
        1,
    ),
    Row(
        "best_subset",
        "subsets:best_subset",
        "subsets:best_subset",
        "subsets",
        "cases_rows:subset_choices",
        2,
    ),
    Row(
        "subset_gains",
        "subsets:subset_gains",
        "subsets:subset_gains",
        "subsets",
        "cases_rows:subset_sums",
        2,
    ),
    Row(
        "top_subsets",
        "subsets:top_subsets",
        "subsets:top_subsets",
        "subsets",
        "cases_rows:subset_tops",
        2,
    ),
    Row(
        "subset_step",
        "subsets:subset_step",
        "subsets:subset_step",
        "subsets",
        "cases_rows:subset_moves",
        3,
    ),
)
QUADRATIC_ROWS: tuple[Row, ...] = (
    Row(
        "column_squares",
        "quadratic:column_squares",
        "quadratic:column_squares",
        "quadratic",
        "cases_quadratic:columns",
        10,
        16,
    ),
    Row(
        "greedy_signs",
        "quadratic:greedy_signs",
        "quadratic:greedy_signs",
        "quadratic",
        "cases_quadratic:columns_for_signs",
        10,
    ),
    Row(
        "one_opt",
        "quadratic:one_opt",
        "quadratic:one_opt",
        "quadratic",
        "cases_quadratic:signed_columns",
        10,
        64,
    ),
    Row(
        "gram_search",
        "quadratic:gram_search",
        "gram:gram_search",
        "gram",
        "cases_quadratic:searched",
        10,
        64,
    ),
    Row(
        "gram_mixing",
        "quadratic:gram_mixing",
        "mixing:gram_mixing",
        "mixing",
        "cases_quadratic:gram_rows",
        10,
        8192,
    ),
    Row(
        "mixing",
        "quadratic:mixing",
        "mixing:mixing",
        "mixing",
        "cases_quadratic:mixed_columns",
        10,
        4096,
    ),
    Row(
        "cone_ascent",
        "cones:cone_ascent",
        "cones:cone_ascent",
        "cones",
        "cases_quadratic:cones",
        10,
        4096,
    ),
    Row(
        "subset_greedy",
        "enumeration:subset_greedy",
        "enumeration:subset_greedy",
        "enumeration",
        "cases_quadratic:grouped_columns",
        10,
        64,
    ),
    Row(
        "subset_exact",
        "enumeration:subset_exact",
        "enumeration:subset_exact",
        "enumeration",
        "cases_quadratic:grouped_columns",
        10,
        64,
    ),
    Row(
        "reorthogonalise",
        "krylov:reorthogonalise",
        "krylov:reorthogonalise",
        "quadratic",
        "cases_quadratic:bases",
        28,
        64,
    ),
)
ROWS: dict[str, Row] = {row.name: row for row in GEOMETRY + DATA_ROWS + QUADRATIC_ROWS}


def kernel(name: str) -> Callable[..., Any]:
    """The kernel's version for the backend in PERTCORE_BACKEND: numba (default) or numpy.

    CuPy arrays among the arguments get the CUDA version, whatever the variable says.
    """
    if (
        sys.modules.get("cupy") is not None
    ):  # else there are no such arrays, and nobody need look for them
        return partial(_where_the_arrays_are, name)
    return load(name, _named())


def _named() -> str:
    return os.environ.get("PERTCORE_BACKEND", "numba")


def _where_the_arrays_are(name: str, *args: Any) -> Any:
    kind = sys.modules["cupy"].ndarray
    arrays = [a for a in args if getattr(a, "shape", ())]
    places = {f"CUDA device {a.device.id}" if isinstance(a, kind) else "the CPU" for a in arrays}
    if len(places) > 1:
        raise InputError(f"kernel {name} got arrays on {' and '.join(sorted(places))}: use one")
    return load(name, _named() if places <= {"the CPU"} else "cuda")(*args)


@cache
def load(name: str, backend: str) -> Callable[..., Any]:
    """The version of kernel `name` for "numba", "numpy" or "cuda"; InputError for others."""
    if backend == "cuda":
        return import_module(DEVICE).version(name)
    if backend not in BACKENDS:
        raise InputError(f"PERTCORE_BACKEND={backend!r}: allowed are {', '.join(BACKENDS)}")
    row = ROWS[name]
    folder, place = (COMPILED, row.numba) if backend == "numba" else (DEFINITIONS, row.definition)
    file, function = place.split(":")
    return getattr(import_module(folder + file), function)
